#!/usr/bin/env python3
"""Builds the image and tests it, where that is possible; elsewhere says why not. Argument: the build folder, for st-local."""
import os
import pathlib
import signal
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]


def run_tests(test_image):
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(test_image))
    times = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in test_image.builder.seconds.items())
    print(f"container: {test_image.builder.megabytes_above_base():.1f} MB above the base; {times}")
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed - len(result.skipped)} passed, {failed} failed, {len(result.skipped)} skipped", flush=True)
    return 1 if failed or result.testsRun == 0 else 0


def main():
    import builder
    import stack
    import test_image

    stack.Stack.__init__.__defaults__ = (sys.argv[1] if len(sys.argv) > 1 else "build", None)
    os.chdir(stack.ROOT)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # what was made is removed then, too
    try:
        test_image.build()
        return run_tests(test_image)
    except builder.NoBuilder as reason:
        print(f"container: not built: {reason}", flush=True)
        return 0
    except builder.BuildFailed as error:
        print(f"container: {error}", flush=True)
        return 1
    except KeyboardInterrupt:
        print("container: stopped", flush=True)
        return 130
    finally:
        test_image.close()


sys.exit(main())
