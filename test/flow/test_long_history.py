"""A company with more days of history than one BigQuery job may modify partitions: the real worker, BigQuery's real limit."""
import signal
import time
import unittest

from stack import Stack, log_lines, tail

JOBS = 12000
YEARS = 17
LIMIT = 4000  # partitions that one job may modify
ENTITIES = ("jobs", "payroll")
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120", "MAX_CONCURRENT_REQUESTS": "8"}
SOON_S = 120


class LongHistory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.env.update(ST_CLOCK_SCALE="40", ST_CLOCK_BASE=str(int(time.time())))
        cls.stack.start_local("--jobs", JOBS, "--seed", 3, "--history-years", YEARS, "--dml-duration-ms", 40000)
        cls.stack.env.update(FAST)
        cls.stack.ingestor("init")

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def dispatch(self):
        for entity in ENTITIES:
            self.stack.ingestor("dispatch", entity, "--mode", "full")

    def changes(self):
        """Of each target: how many partial changes, how many others, how many that failed."""
        sql = """SELECT target, COUNTIF(state = 'success' AND ARRAY_LENGTH(run_ids) = 0) AS parts,
COUNTIF(state = 'success' AND ARRAY_LENGTH(run_ids) > 0) AS merges, COUNTIF(state != 'success') AS failed
FROM `{p}.st_logs_v2.target_changes` GROUP BY target"""
        return {row["target"]: (int(row["parts"]), int(row["merges"]), int(row["failed"])) for row in self.stack.query(sql)}

    def test_1_a_worker_is_killed_between_the_parts_of_the_first_load(self):
        self.dispatch()
        worker = self.stack.start("worker", "st-ingestor", "worker")
        deadline = time.monotonic() + SOON_S
        while not self.changes():
            self.assertIsNone(worker.poll(), tail(worker))
            self.assertLess(time.monotonic(), deadline, tail(worker))
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        worker.wait(SOON_S)
        self.assertEqual(sum(merges for _, merges, _ in self.changes().values()), 0)
        self.stack.drain(2)
        changes = self.changes()
        for entity in ENTITIES:
            parts, merges, failed = changes[f"raw_{entity}"]
            self.assertEqual((parts > 0, merges > 0, failed), (True, True, 0), changes)
            days = self.stack.query(f"SELECT COUNT(DISTINCT DATE(modifiedOn)) AS n FROM `{{p}}.st_raw_v2.raw_{entity}`")
            self.assertGreater(int(days[0]["n"]), LIMIT)
        report = self.stack.check("--sample", 0, "--entity", "jobs", "--entity", "payroll")
        self.assertEqual(report.count("equal"), len(ENTITIES), report)

    def test_2_a_second_full_sync_is_one_change(self):
        before = self.changes()
        self.dispatch()
        workers = self.stack.drain(1)
        ends = [line for w in workers for line in log_lines(w) if line["message"] == "Ingestion completed"]
        self.assertEqual([line["rowsChanged"] for line in ends], [0, 0])
        self.assertEqual(self.changes(), {target: (parts, merges + 1, 0) for target, (parts, merges, _) in before.items()})


if __name__ == "__main__":
    unittest.main()
