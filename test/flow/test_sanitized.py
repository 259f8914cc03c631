"""The worker under AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer and valgrind: a short run reports nothing.

Only the worker is instrumented here, st-local is the ordinary build, so that this is quick; `make SANITIZE=... test` runs everything
instrumented. Settings of the sanitizers: test/lib/sanitize.c. An error of valgrind is an access beyond an allocation, a decision on
memory that was never set, or a definite leak."""
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest
import urllib.error

from stack import ENTITIES, ROOT, Stack, free_port, log_lines, tail

JOBS = 150
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}
REPORT = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")
VALGRIND = ["valgrind", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=99", "--num-callers=30"]
SOON_S = 120
BACKOFF_S = 10
MAKE_S = 600


def make_worker(sanitizers):
    """Builds the instrumented program; returns its folder. Nothing of an outer make's settings gets in."""
    folder = f"build-{sanitizers.replace(',', '-')}"
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "B", "SANITIZE")}
    words = ["make", "-j2", f"SANITIZE={sanitizers}", f"B={folder}", f"{folder}/st-ingestor"]
    done = subprocess.run(words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=MAKE_S)
    if done.returncode:
        raise AssertionError(f"{' '.join(words)}:\n{done.stdout[-3000:]}")
    return ROOT / folder


class Sanitized(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        if re.search("address|thread", self.stack.build.name):
            self.skipTest("everything is instrumented already")
        self.addCleanup(self.stack.stop)

    def begin(self, jobs, build=None):
        self.stack.start_local("--jobs", jobs, "--seed", 9)
        self.stack.env.update(FAST)
        self.stack.build = pathlib.Path(build or self.stack.build)

    def command(self, *words):
        done = self.stack.ingestor(*words)
        self.assertIsNone(REPORT.search(done.stderr), done.stderr[-4000:])

    def assert_quiet(self, *workers):
        for worker in workers:
            text = worker.log.read_text(errors="replace")
            found = REPORT.search(text)
            self.assertIsNone(found, found and text[max(0, found.start() - 500):found.start() + 4000])
            self.assertEqual(worker.returncode, 0, tail(worker))

    def drain(self, workers, wrapper=(), idle=3):
        """All exit codes are let through: assert_quiet shows the report instead of the log's end."""
        started = self.stack.drain(workers, wrapper=wrapper, codes=range(-64, 256), idle=idle)
        self.assert_quiet(*started)
        return started

    def is_scraped(self, worker):
        try:
            return self.stack.get(worker, "/ready")[0] in (200, 503) and bool(self.stack.metrics(worker))
        except urllib.error.URLError:
            return False  # it does not listen yet

    def stop_in_the_middle(self):
        worker = self.stack.start("worker", "st-ingestor", "worker", env={"WORKER_PORT": str(free_port())})
        deadline = time.monotonic() + SOON_S
        scrapes = 0
        while scrapes < 3 or not any(line["message"] == "Ingestion started" for line in log_lines(worker)):
            self.assertIsNone(worker.poll(), tail(worker))
            self.assertLess(time.monotonic(), deadline, tail(worker))
            scrapes += self.is_scraped(worker)
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        worker.wait(SOON_S)
        self.assert_quiet(worker)

    def sync_under(self, sanitizers, runtime):
        build = make_worker(sanitizers)
        self.assertIn(runtime, (build / "st-ingestor").read_bytes(), "the program is not instrumented")
        self.begin(JOBS, build)
        self.command("init")
        self.command("dispatch", "all", "--mode", "full")
        self.stop_in_the_middle()
        self.drain(2, idle=BACKOFF_S + 2)  # what was given back comes again after the subscription's backoff
        for entity in ENTITIES:
            self.stack.edit(entity, 20, seed=3)
        self.command("dispatch", "all", "--mode", "incremental")
        self.drain(2)
        self.command("status")
        self.assertEqual(self.stack.check("--sample", 0).count("equal"), len(ENTITIES))

    def test_address_and_undefined(self):
        self.sync_under("address,undefined", b"__asan_init")

    def test_thread(self):
        self.sync_under("thread", b"__tsan_init")

    def test_valgrind(self):
        self.begin(60)
        self.stack.ingestor("init")
        for mode in ("full", "incremental"):
            self.stack.ingestor("dispatch", "jobs", "payroll", "--mode", mode)
            worker = self.drain(1, wrapper=VALGRIND)[0]
            self.assertIn("ERROR SUMMARY: 0 errors", worker.log.read_text(errors="replace"))
            done = [line["entityType"] for line in log_lines(worker) if line["message"] == "Ingestion completed"]
            self.assertEqual(sorted(done), ["jobs", "payroll"])
            self.stack.edit("jobs", 10, seed=4)
        # The tests above would pass if valgrind saw nothing: it must have looked for leaks.
        self.assertRegex(worker.log.read_text(errors="replace"), r"definitely lost: 0 bytes|no leaks are possible")


if __name__ == "__main__":
    unittest.main()
