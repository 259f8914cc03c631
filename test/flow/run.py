#!/usr/bin/env python3
"""Runs the flow tests: whole binaries against st-local. Arguments: the build folder, then test modules or patterns (default: all)."""
import os
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]


def main():
    import stack

    build = sys.argv[1] if len(sys.argv) > 1 else "build"
    stack.Stack.__init__.__defaults__ = (build, None)
    os.chdir(stack.ROOT)
    loader = unittest.TestLoader()
    if len(sys.argv) > 2:
        suite = unittest.TestSuite(loader.loadTestsFromName(name) for name in sys.argv[2:])
    else:
        suite = loader.discover(str(HERE), pattern="test_*.py")
    result = unittest.TextTestRunner(verbosity=2, failfast=bool(os.environ.get("FAILFAST"))).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed - len(result.skipped)} passed, {failed} failed, {len(result.skipped)} skipped", flush=True)
    return 1 if failed or result.testsRun == 0 else 0


sys.exit(main())
