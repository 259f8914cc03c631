"""The same for a full run of two windows. See test/lib/sweep.py."""
import unittest

from sweep import Sweep


class Full(unittest.TestCase):
    def test_every_point(self):
        sweep = Sweep("campaigns", "full", ("edit",), windows=2)
        self.addCleanup(sweep.stack.stop)
        print(sweep.run(), flush=True)


if __name__ == "__main__":
    unittest.main()
