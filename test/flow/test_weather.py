"""Bad weather within a run: each append and job broken once in each way, a breaker's probes, and SIGTERM while a service is silent."""
import concurrent.futures
import signal
import time
import unittest
import urllib.parse

import logcheck
from gate import Gates
from stack import Stack, free_port, log_lines, tail, wait_until

JOBS = 60
SOON_S = 120
STOP_S = 8
SIDE_BY_SIDE = 5
REFUSED = 1000000
WAYS = {
    "servicetitan": "ST_API_URL",
    "token": "ST_AUTH_URL",
    "pubsub": "PUBSUB_EMULATOR_HOST",
    "bigquery": "BIGQUERY_EMULATOR_HOST",
    "write": "BIGQUERY_STORAGE_EMULATOR_HOST",
}


def lines_of(worker, message):
    return [line for line in log_lines(worker) if line["message"].startswith(message)]


class Breaks(unittest.TestCase):
    """The worker's appends and jobs, each broken once in each way: one delivery, every row, none twice."""

    # method, what happens to it, or a switch of the hazards
    BREAKS = [
        *(("write.AppendRows", {"kind": "status", "code": code, "inBand": in_band})
          for code in ("ABORTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL") for in_band in (False, True)),
        ("write.AppendRows", {"kind": "status", "code": "UNAVAILABLE", "after": True}),
        ("write.AppendRows", {"kind": "cut_before"}),
        ("write.AppendRows", {"kind": "cut_after"}),
        ("write.AppendRows", {"kind": "silence"}),
        ("write.AppendRows", {"kind": "silence", "after": True}),
        ("write.AppendRows", {"kind": "duplicate"}),
        ("bigquery.jobs.insert", {"kind": "status", "status": 503}),
        ("bigquery.jobs.insert", {"kind": "status", "status": 503, "after": True}),
        ("bigquery.jobs.insert", {"kind": "cut_before"}),
        ("bigquery.jobs.insert", {"kind": "cut_after"}),
        ("bigquery.jobs.insert", {"kind": "silence", "after": True}),
        ("bigquery.jobs.insert", {"kind": "garbage"}),
        ("bigquery.jobs.get", {"kind": "cut_after"}),
        ("bigquery.jobs.get", {"kind": "truncate", "bytes": 20}),
        ("bigquery.jobs.get", {"kind": "silence"}),
        ("bigquery.jobs.get", {"kind": "status", "status": 404}),
        ("bigquery.job.run", {"kind": "status", "status": 503, "reason": "backendError", "on": "point", "path": "MERGE"}),
        ("bigquery.job.run", {"kind": "status", "status": 500, "reason": "internalError", "on": "point", "path": "MERGE"}),
        ("bigquery.job.run", {"kind": "silence", "on": "point", "path": "MERGE"}),  # never ends: its own time limit ends it
    ]
    SCALE = 25  # two minutes of silence are five seconds: a loaded machine still answers
    EDITS = 5

    def setUp(self):
        self.stack = stack = Stack()
        self.addCleanup(stack.stop)
        stack.env.update(ST_CLOCK_SCALE=str(self.SCALE), ST_CLOCK_BASE=str(int(time.time())), BQ_JOB_TIMEOUT_S="60")
        stack.start_local("--jobs", JOBS, "--seed", 12)
        stack.ingestor("init")
        stack.hazards(jobsHiddenLooks=1)  # after each insert, and after each 409: 404

    def sync(self, mode):
        before = self.successes()
        self.stack.ingestor("dispatch", "campaigns", "--mode", mode)
        wait_until("the run's success", lambda: self.successes() > before or self.worker.poll() is not None)

    def successes(self):
        return len(lines_of(self.worker, "Ingestion completed"))

    def test_each_break_is_survived_within_the_run(self):
        self.worker = self.stack.start("worker", "st-ingestor", "worker")
        self.sync("full")
        for method, rule in self.BREAKS:
            with self.subTest(method=method, **rule):
                self.stack.admin("/_admin/edits", {"tenant": int(self.stack.env["ST_TENANT_ID"]), "entity": "campaigns", "count": self.EDITS, "kinds": ["create", "edit"], "seed": 3})
                armed = self.stack.fault(method, **rule)
                self.sync("incremental")
                self.assertEqual(len(self.stack.fired(armed)), 1, tail(self.worker))
        self.worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.wait(SOON_S), 0, tail(self.worker))
        self.assertEqual(lines_of(self.worker, "Task "), [])
        self.stack.check("--sample", 0, "--entity", "campaigns")


class Breaker(unittest.TestCase):
    """What the source sees of a breaker: after it has opened, one request per pause, whoever would like to send."""
    SCALE = 20
    PROBES = 3

    def setUp(self):
        self.stack = stack = Stack()
        self.addCleanup(stack.stop)
        stack.env.update(ST_CLOCK_SCALE=str(self.SCALE), ST_CLOCK_BASE=str(int(time.time())), WORKER_PORT=str(free_port()))
        stack.start_local("--jobs", JOBS, "--seed", 13)
        stack.ingestor("init")

    def changes(self):
        """How often the breaker of the lists came into each state."""
        samples = logcheck.values(self.stack.metrics(self.worker), "st_ingestor_servicetitan_breaker_transitions_total")
        return {state: samples.get(("list", state, self.stack.env["ST_TENANT_ID"]), 0) for state in ("open", "half_open", "closed")}

    def lists(self):
        return sum(n["seen"] for name, n in self.stack.requests()["methods"].items() if name.startswith("servicetitan.list."))

    def settled(self, times):
        """The requests of all time, between two probes: none is under way."""
        def look():
            before = self.changes()
            seen = self.lists()
            after = self.changes()
            return before == after and after["open"] == times and after["half_open"] == times - 1 and [seen]
        return wait_until(f"the breaker open for the {times}. time", look)[0]

    def test_one_probe_of_all_runs_and_threads(self):
        rule = self.stack.fault("servicetitan.list.*", "status", status=503, count=REFUSED)
        self.worker = self.stack.start("worker", "st-ingestor", "worker", env={"WORKER_CONCURRENCY": "4"})
        self.stack.ingestor("dispatch", "all", "--mode", "full")
        wait_until("an open breaker", lambda: self.worker.poll() is None and any(lines_of(self.worker, "Circuit breaker opened")))
        seen = [self.settled(times) for times in range(2, 2 + self.PROBES)]
        self.assertEqual([b - a for a, b in zip(seen, seen[1:])], [1] * (self.PROBES - 1))
        self.assertGreater(len(self.stack.fired(rule)), 0)
        self.stack.clear_faults()
        wait_until("a closed breaker", lambda: self.changes()["closed"] == 1)
        wait_until("all runs", lambda: len(lines_of(self.worker, "Ingestion completed")) == 8)
        self.worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.wait(SOON_S), 0, tail(self.worker))
        opened, tried, closed = (len(lines_of(self.worker, f"Circuit breaker {how}")) for how in ("opened", "lets one request try", "closed"))
        self.assertEqual((opened, closed), (tried, 1))
        self.stack.check("--sample", 0)


class Start(unittest.TestCase):
    """A worker that comes up while BigQuery fails."""
    SCALE = 60

    def setUp(self):
        self.stack = stack = Stack()
        self.addCleanup(stack.stop)
        stack.env.update(ST_CLOCK_SCALE=str(self.SCALE), ST_CLOCK_BASE=str(int(time.time())), WORKER_PORT=str(free_port()))
        stack.start_local("--jobs", JOBS, "--seed", 15)
        stack.ingestor("init")

    def start_in_weather(self, **rule):
        self.stack.fault("bigquery.*", "status", count=REFUSED, **rule)
        return self.stack.start("worker", "st-ingestor", "worker")

    def test_weather_is_waited_for(self):
        worker = self.start_in_weather(status=503)
        wait_until("the worker's word", lambda: len(lines_of(worker, "The warehouse does not answer")) >= 2)
        self.assertEqual([self.stack.get(worker, path)[0] for path in ("/health", "/ready")], [200, 503])
        self.assertEqual(lines_of(worker, "Worker started"), [])
        self.stack.clear_faults()
        wait_until("readiness", lambda: self.stack.get(worker, "/ready")[0] == 200)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))

    def test_a_signal_ends_the_waiting(self):
        worker = self.start_in_weather(status=503)
        wait_until("the worker's word", lambda: lines_of(worker, "The warehouse does not answer"))
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))

    def test_what_does_not_pass_by_itself_ends_the_worker(self):
        worker = self.start_in_weather(status=403, reason="accessDenied")
        self.assertEqual(worker.wait(SOON_S), 1, tail(worker))
        self.assertEqual(lines_of(worker, "The warehouse does not answer"), [])


class Shutdown(unittest.TestCase):
    """SIGTERM while a service is silent, on the real clock."""

    def end_in_silence(self, service):
        stack, gates = Stack(), Gates()
        try:
            stack.start_local("--jobs", JOBS, "--seed", 14)
            stack.ingestor("init")
            name = WAYS[service]
            at = stack.env[name]
            url = urllib.parse.urlsplit(at if "//" in at else f"//{at}")
            gate = gates.add(url.hostname, url.port)
            worker = stack.start("worker", "st-ingestor", "worker", env={name: at.replace(url.netloc, gate.address)})
            wait_until("the start", lambda: lines_of(worker, "Worker started"))
            gate.set("silent")
            stack.ingestor("dispatch", "all", "--mode", "full")
            wait_until("something said into the silence", lambda: service == "pubsub" or gate.swallowed > 0)
            began = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(SOON_S)
            return code, time.monotonic() - began, tail(worker)
        finally:
            try:
                stack.stop()
            finally:
                gates.stop()

    def test_a_silent_service_does_not_delay_the_end(self):
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for service, future in [(s, pool.submit(self.end_in_silence, s)) for s in WAYS]:
                with self.subTest(service):
                    code, seconds, told = future.result()
                    self.assertEqual(code, 0, told)
                    self.assertLess(seconds, STOP_S, told)


if __name__ == "__main__":
    unittest.main()
