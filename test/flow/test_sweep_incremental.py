"""Every request of an incremental run fails, loses its answer, or is the last one of its worker: the tables come out the same. See test/lib/sweep.py."""
import unittest

from sweep import Sweep


class Incremental(unittest.TestCase):
    def test_every_point(self):
        sweep = Sweep("campaigns", "incremental", ("create", "edit"))
        self.addCleanup(sweep.stack.stop)
        print(sweep.run(), flush=True)


if __name__ == "__main__":
    unittest.main()
