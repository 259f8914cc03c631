"""A longer overlap than that of the run before: a watermark that was set with another one tells no frame."""
import unittest

from stack import Stack, log_lines


class Overlap(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.start_local("--jobs", 50, "--seed", 9)
        self.stack.ingestor("init")

    def sync(self, overlap_s):
        self.stack.env["SYNC_OVERLAP_SECONDS"] = str(overlap_s)
        self.stack.ingestor("dispatch", "customers", "--mode", "incremental")
        return [line["message"] for worker in self.stack.drain(1) for line in log_lines(worker)]

    def test_a_longer_overlap_skips_nothing(self):
        self.sync(60)
        told = self.sync(3600)
        self.assertNotIn("Task is done already", told)
        self.assertIn("Ingestion completed", told)


if __name__ == "__main__":
    unittest.main()
