"""SIGTERM in every phase of a run, a second signal, SIGHUP: a worker ends within 8 s, and what it leaves is finished by the next one."""
import json
import os
import signal
import time
import unittest

import letters
from stack import ROOT, Stack, free_port, log_lines, tail, unsettled, wait_until

SCALE = 20
WITHIN_S = 8  # promised
SOON_S = 60
PATIENCE_S = 290  # of the fast clock: more would not be waited for in the run, and it is much more than may pass until the end
ENTITY = "campaigns"
LIST = f"servicetitan.list.{ENTITY}"

# phase -> the request that is held when the signal comes: method, which of them (counted from the worker's start), before or after its effect
REQUESTS = [
    ("token", "servicetitan.token", 1, "before"),
    ("is the task done", "bigquery.jobs.insert", 1, "before"),
    ("run log", "write.AppendRows", 1, "before"),
    ("reading", LIST, 1, "before"),
    ("first append", "write.AppendRows", 2, "before"),
    ("append done, its answer open", "write.AppendRows", 2, "after"),
    ("verify query", "bigquery.jobs.insert", 2, "before"),
    ("verify query sent", "bigquery.jobs.insert", 2, "after"),
    ("announcing", "write.AppendRows", 3, "before"),
    ("reading changes", "bigquery.jobs.insert", 3, "before"),
    ("find job", "bigquery.jobs.insert", 4, "before"),
    ("merge insert", "bigquery.jobs.insert", 5, "before"),
    ("merge inserted", "bigquery.jobs.insert", 5, "after"),
    ("merge under way", "bigquery.job.end", 5, "point"),
    ("record change", "write.AppendRows", 4, "before"),
    ("sync event", "write.AppendRows", 5, "before"),
    ("run log, next to last append", "write.AppendRows", 6, "before"),
    ("last append", "write.AppendRows", 7, "before"),
    ("before the ack", "pubsub.Acknowledge", 1, "before"),
]


class Phases(unittest.TestCase):
    """One stack; each phase is a worker that is told to end there, and a second one that finishes."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        cls.stack.start_local("--jobs", 60, "--seed", 11)
        cls.stack.ingestor("init")

    def setUp(self):
        self.stack.clear_faults()
        self.stack.count_from_here()

    def tearDown(self):
        self.stack.release_hold()

    def dispatch(self):
        self.stack.edit(ENTITY, 3, kinds=("create", "edit"))
        self.stack.ingestor("dispatch", ENTITY, "--mode", "full")
        self.stack.count_from_here()

    def end(self, worker):
        """SIGTERM; the worker's last word."""
        started = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        self.assertLess(time.monotonic() - started, WITHIN_S)
        lines = log_lines(worker)
        self.assertEqual([], [l for l in lines if "cut short" in l["message"]])
        return lines[-1]

    def finish(self):
        """By a second worker, until the message is acked; where the ack came through, there is nothing to do."""
        worker = self.stack.start("worker", "st-ingestor", "worker")
        wait_until("its start", lambda: any(line["message"] == "Worker started" for line in log_lines(worker)))
        wait_until("the message's end", lambda: unsettled(self.stack) == 0)
        self.end(worker)
        self.stack.check("--entity", ENTITY, "--sample", 0)

    def test_in_front_of_each_request(self):
        for phase, method, nth, where in REQUESTS:
            with self.subTest(phase):
                self.dispatch()
                self.stack.hold(method=method, nth=nth, **({"on": "point"} if where == "point" else {"where": where}))
                worker = self.stack.start("worker", "st-ingestor", "worker")
                self.stack.wait_for_hold(SOON_S)
                last = self.end(worker)
                self.assertEqual(last["message"], "Worker stopped")
                self.assertEqual(last["done"] + last["retried"], 1, last)
                self.stack.release_hold()
                self.finish()

    def test_idle(self):
        worker = self.stack.start("worker", "st-ingestor", "worker")
        wait_until("the streams", lambda: self.stack.requests()["methods"].get("pubsub.StreamingPull", {}).get("responses", 0) >= 2)
        self.assertEqual(self.end(worker)["messages"], 0)

    def wait_for(self, worker, what, condition):
        wait_until(what, lambda: worker.poll() is not None or condition())
        self.assertIsNone(worker.poll(), tail(worker))

    def test_in_a_retry_wait(self):
        self.dispatch()
        rule = self.stack.fault(LIST, "status", status=503, retryAfter=PATIENCE_S, count=50)
        worker = self.stack.start("worker", "st-ingestor", "worker")
        self.wait_for(worker, "a refusal", lambda: self.stack.fired(rule))
        self.assertEqual(self.end(worker)["retried"], 1)
        self.stack.clear_faults()
        self.finish()

    def test_while_the_breaker_is_open(self):
        self.dispatch()
        rule = self.stack.fault("servicetitan.*", "status", status=503, count=1000)
        worker = self.stack.start("worker", "st-ingestor", "worker")
        self.wait_for(worker, "five failures", lambda: len(self.stack.fired(rule)) >= 5)
        self.end(worker)
        self.stack.clear_faults()
        self.finish()

    def test_while_the_limiter_makes_it_wait(self):
        self.dispatch()
        rule = self.stack.fault(LIST, "status", status=429, retryAfter=PATIENCE_S, count=50)
        worker = self.stack.start("worker", "st-ingestor", "worker", env={"RATE_LIMIT_PER_SECOND": "1", "ST_RATE_BURST": "1"})
        self.wait_for(worker, "a refusal", lambda: self.stack.fired(rule))
        self.assertEqual(self.end(worker)["retried"], 1)
        self.stack.clear_faults()
        self.finish()


class Impatience(unittest.TestCase):
    """In real time, with a Pub/Sub that no longer answers those who want to give something back."""

    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.start_local("--jobs", 1)
        self.stack.ingestor("init")
        for _ in range(6):
            self.stack.ingestor("dispatch", ENTITY, "--mode", "full")
        self.stack.hold(method=LIST, nth=1)
        self.worker = self.stack.start("worker", "st-ingestor", "worker")
        self.stack.wait_for_hold()
        self.stack.fault("pubsub.ModifyAckDeadline", "silence", count=1000)

    def test_an_end_that_nobody_answers_is_cut_short(self):
        """A dead letter that Pub/Sub neither takes nor refuses is waited for, but not for ever."""
        rule = self.stack.fault("pubsub.Publish", "silence", count=1000)
        letters.publish(self.stack, [letters.message(b"no task")])
        wait_until("the dead letter's way", lambda: self.stack.fired(rule))
        started = time.monotonic()
        self.worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.wait(SOON_S), 0, tail(self.worker))
        self.assertLess(time.monotonic() - started, WITHIN_S)
        self.assertIn("cut short", log_lines(self.worker)[-1]["message"])

    def test_a_second_signal_ends_at_once_with_the_signals_own_code(self):
        """Both wait while the process is stopped; the lower number is taken first."""
        self.worker.send_signal(signal.SIGSTOP)
        os.waitpid(self.worker.pid, os.WUNTRACED)  # a signal that comes before it has stopped would be taken at once
        for how in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            self.worker.send_signal(how)
        self.assertEqual(self.worker.wait(SOON_S), 128 + signal.SIGTERM, tail(self.worker))
        self.assertIn("Shutdown asked for", tail(self.worker))
        self.assertNotIn("Worker stopped", tail(self.worker))


class Hangup(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.start_local("--jobs", 1)
        self.stack.ingestor("init")
        self.config = json.loads((ROOT / "config/config.json").read_text())
        self.file = self.stack.data / "config.json"
        self.write()
        self.stack.env["WORKER_PORT"] = str(free_port())

    def write(self, text=None):
        self.file.write_text(text if text is not None else json.dumps(self.config))

    def hang_up(self, worker, message):
        """Everything that is logged from the signal up to the message."""
        before = len(log_lines(worker))
        worker.send_signal(signal.SIGHUP)
        wait_until(message, lambda: any(l["message"] == message for l in log_lines(worker)[before:]))
        return log_lines(worker)[before:]

    def rate(self, worker):
        text = self.stack.get(worker, "/metrics")[2]
        return [line.split()[-1] for line in text.splitlines() if line.startswith("st_ingestor_servicetitan_rate_limit_requests_per_second{")]

    def test_level_and_rates_follow_the_file_and_the_rest_is_named(self):
        worker = self.stack.start("worker", "st-ingestor", "worker", "--config", self.file)
        wait_until("the start", lambda: any(l["message"] == "Worker started" for l in log_lines(worker)))
        self.config["servicetitan"]["rateLimitPerSecond"] = 7
        self.config.setdefault("sync", {})["lookbackDays"] = 9
        self.config["logging"] = {**self.config.get("logging", {}), "level": "debug"}
        self.write()
        lines = self.hang_up(worker, "Settings read again")
        changed = {l["setting"]: (l["from"], l["to"]) for l in lines if l["message"] == "Setting changed"}
        self.assertEqual(changed["LOG_LEVEL"], ("info", "debug"))
        self.assertIn("7/s", changed["RATE_LIMIT_PER_SECOND"][1])
        waits = [l["settings"] for l in lines if "restart" in l["message"]]
        self.assertEqual(waits, ["LOOKBACK_DAYS"])
        self.assertEqual([float(r) for r in self.rate(worker)], [7.0])
        again = self.hang_up(worker, "Settings read again")
        self.assertEqual([l for l in again if l["message"] == "Setting changed"], [])
        for bad in ("{", '{"servicetitan": {"rateLimitPerSecond": 900}}'):
            self.write(bad)
            refused = self.hang_up(worker, "Settings not read again; the old ones stay")
            self.assertEqual([l for l in refused if l["message"] == "Setting changed"], [])
        self.assertEqual([float(r) for r in self.rate(worker)], [7.0])
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))


if __name__ == "__main__":
    unittest.main()
