#!/usr/bin/env python3
"""Peak memory and rows per CPU-second of one worker in a full sync of jobs, at one or more sizes in one run.

    full_sync.py [--build build] [SIZE ...]        default: 200000

Memory is the kernel's VmHWM of the worker, CPU its user and system time. The servers run beside it on the same machine.
"""
import argparse
import pathlib
import resource
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from stack import Stack, log_lines  # noqa: E402


def measure(build, jobs):
    with Stack(build) as stack:
        stack.start_local("--jobs", jobs)
        stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120", LOG_PROGRESS_SECONDS="5")
        stack.ingestor("init")
        stack.ingestor("dispatch", "jobs", "--mode", "full")
        peak = {}

        def watch(workers):
            for worker in workers:
                try:
                    status = pathlib.Path(f"/proc/{worker.pid}/status").read_text()
                except OSError:
                    continue
                for line in status.splitlines():
                    if line.startswith("VmHWM:"):
                        peak[worker.pid] = int(line.split()[1])

        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        worker = stack.drain(1, while_running=watch, timeout=3600)[0]
        seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = [line for line in log_lines(worker) if line["message"] == "Ingestion completed"]
        rows = stack.warehouse_count("jobs")
        stack.stop()
    shutil.rmtree(stack.data)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert len(done) == 1 and rows == done[0]["recordsFetched"], (done, rows)
    return {"jobs": jobs, "rows": rows, "seconds": seconds, "requests": done[0]["requests"], "cpu": cpu, "peak_kib": max(peak.values())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("sizes", nargs="*", type=int, default=[200000])
    args = parser.parse_args()
    print(f"{'jobs':>10} {'seconds':>8} {'requests':>8} {'CPU s':>7} {'rows/CPU s':>10} {'peak MiB':>9}")
    for size in args.sizes:
        r = measure(args.build, size)
        print(f"{r['rows']:>10} {r['seconds']:>8.1f} {r['requests']:>8} {r['cpu']:>7.2f} {r['rows'] / r['cpu']:>10.0f} {r['peak_kib'] / 1024:>9.1f}", flush=True)


main()
