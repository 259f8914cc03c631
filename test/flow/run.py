#!/usr/bin/env python3
"""Runs the flow tests: whole binaries against st-local. Arguments: the build folder, then tests (module, module.Class, module.Class.test; default: all
modules). Several modules run side by side, each in a process of its own with servers of its own: most of their time is waiting."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
MODULE_S = 1800
SIDE_BY_SIDE = int(os.environ.get("FLOW_JOBS", 3))
LONGEST_FIRST = [
    "test_outages", "test_weather", "test_sweep_full", "test_sweep_incremental", "test_sanitized", "test_backfill", "test_deferred", "test_hostile_source", "test_checkpoint", "test_replay",
    "test_handbook", "test_dlq", "test_serve", "test_sql", "test_reconcile", "test_zombies", "test_shutdown", "test_chaos", "test_lanes", "test_workers",
]


def run_here(build, names):
    """The tests of this process; returns how many passed, failed and were skipped."""
    import stack

    stack.Stack.__init__.__defaults__ = (build, None)
    os.chdir(stack.ROOT)
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=2, failfast=bool(os.environ.get("FAILFAST"))).run(suite)
    failed = len(result.failures) + len(result.errors)
    return result.testsRun - failed - len(result.skipped), failed, len(result.skipped)


def run_module(build, name):
    """The same in a process of its own: its output, and its counts."""
    started = time.monotonic()
    try:
        done = subprocess.run([sys.executable, __file__, build, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=MODULE_S)
        output = done.stdout
    except subprocess.TimeoutExpired as error:
        output = f"{error.stdout or ''}\n{name} did not end within {MODULE_S} s\n"
    counts = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", output, re.M)
    return output, tuple(map(int, counts[-1])) if counts else (0, 1, 0), time.monotonic() - started


def run_modules(build, names):
    totals = [0, 0, 0]
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running = {pool.submit(run_module, build, name): name for name in names}
        for future in concurrent.futures.as_completed(running):
            output, counts, seconds = future.result()
            shown = output if counts[1] else "".join(line for line in output.splitlines(True) if " ... " in line)
            print(f"{shown}{running[future]}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped in {seconds:.0f} s", flush=True)
            totals = [a + b for a, b in zip(totals, counts)]
    return totals


def main():
    build, names = (sys.argv[1] if len(sys.argv) > 1 else "build"), sys.argv[2:]
    if not names:
        names = sorted((p.stem for p in HERE.glob("test_*.py")), key=lambda n: (n not in LONGEST_FIRST, LONGEST_FIRST.index(n) if n in LONGEST_FIRST else 0, n))
    passed, failed, skipped = run_here(build, names) if len(names) == 1 else run_modules(build, names)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or passed + skipped == 0 else 0


sys.exit(main())
