"""The HTTP API under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer: requests of all kinds at once, clients that go,
a stop while requests wait; nothing is reported. Only the service is instrumented (test_sanitized.py has the worker)."""
import re
import signal
import threading
import unittest

from service import Service
from stack import Stack, tail
from test_sanitized import REPORT, make_worker

TARGETS = ("/health", "/entities", "/metrics", "/ready", "/status/jobs", "/last-sync/jobs", "/tasks/x", "/runs/x", "/nope", "/ingest/jobs?mod=x", "/ingest/leads", "/ingest/%zz",
           "/ingest/jobs?timeout=60", "/ingest/campaigns?mode=full&timeout=60", "/ingest-all?parallel=true&timeout=60", "/ingest/payroll?wait=false", "/ingest-all?timeout=2")
STATUSES = {200, 202, 400, 404}
ROUNDS, STOP_S = 3, 60  # the instrumented program is slow; test_serve.py has the bound on the stop


class Sanitized(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        if re.search("address|thread", self.stack.build.name):
            self.skipTest("everything is instrumented already")
        self.addCleanup(self.stack.stop)

    def call_all(self, service):
        got = []
        threads = [threading.Thread(target=lambda t=target: got.append(service.call(t).status)) for target in TARGETS * ROUNDS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(got), len(TARGETS) * ROUNDS)
        self.assertLessEqual(set(got), STATUSES)

    def serve_under(self, sanitizers, runtime):
        ordinary, build = self.stack.build, make_worker(sanitizers)
        self.assertIn(runtime, (build / "st-ingestor").read_bytes(), "the program is not instrumented")
        self.stack.start_local("--jobs", 60)
        self.stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        self.stack.ingestor("init")
        worker = self.stack.start("worker", "st-ingestor", "worker")
        self.stack.build = build
        service = Service(self.stack)
        self.stack.build = ordinary
        self.call_all(service)
        worker.send_signal(signal.SIGTERM)
        worker.wait(STOP_S)
        gone = [service.send("/ingest/jobs?timeout=3600") for _ in range(20)]
        waiting = [service.send("/ingest/jobs?timeout=3600") for _ in range(20)]
        for connection in gone:
            connection.close()
        service.wait_for_line(lambda line: line.get("status") == 202 and line.get("path") == "/ingest/jobs")
        service.process.send_signal(signal.SIGTERM)
        self.assertEqual(service.process.wait(STOP_S), 0, tail(service.process))
        for connection in waiting:
            connection.close()
        text = service.process.log.read_text(errors="replace")
        found = REPORT.search(text)
        self.assertIsNone(found, found and text[max(0, found.start() - 500):found.start() + 4000])

    def test_address_and_undefined(self):
        self.serve_under("address,undefined", b"__asan_init")

    def test_thread(self):
        self.serve_under("thread", b"__tsan_init")


if __name__ == "__main__":
    unittest.main()
