"""The same for a full run of two windows. See test/lib/sweep.py."""
import unittest

from sweep import sweep_case

Full = sweep_case("full", ("edit",), windows=2)

if __name__ == "__main__":
    unittest.main()
