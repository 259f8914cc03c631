"""Every request of an incremental run fails, loses its answer, or is the last one of its worker: the tables come out the same. See test/lib/sweep.py."""
import unittest

from sweep import sweep_case

Incremental = sweep_case("incremental", ("create", "edit"))

if __name__ == "__main__":
    unittest.main()
