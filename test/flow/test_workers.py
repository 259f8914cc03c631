"""Several workers at once, killed workers, stopped workers: one row per key, and everything arrives."""
import json
import signal
import time
import unittest

from stack import ENTITIES, Stack, log_lines, tail

JOBS = 800
WORKERS = 3
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}
SOON_S = 60


class Workers(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)

    def begin(self, *options, scale=None):
        if scale:
            self.stack.env.update(ST_CLOCK_SCALE=str(scale), ST_CLOCK_BASE=str(int(time.time())))
        self.stack.start_local("--jobs", JOBS, "--seed", 21, *options)
        self.stack.env.update(FAST)
        self.stack.ingestor("init")

    def wait_for(self, worker, message, **members):
        """Until the worker has logged it."""
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            for line in log_lines(worker):
                if line["message"] == message and all(line.get(k) == v for k, v in members.items()):
                    return line
            self.assertIsNone(worker.poll(), tail(worker))
            time.sleep(0.02)
        self.fail(f"{message!r} was not logged: {tail(worker)}")

    def assert_equal(self):
        report = self.stack.check("--sample", 0)
        self.assertEqual(report.count("equal"), len(ENTITIES), report)

    def start_worker(self):
        return self.stack.start("worker", "st-ingestor", "worker")

    def test_overlapping_incrementals_of_one_entity_with_slow_merges(self):
        self.begin("--dml-duration-ms", 500)
        self.stack.env["WORKER_CONCURRENCY"] = "1"
        workers = [self.start_worker() for _ in range(WORKERS)]
        for worker in workers:
            self.wait_for(worker, "Worker started")
        for turn in range(4):
            for _ in range(WORKERS):
                self.stack.ingestor("dispatch", "customers", "--mode", "full" if turn == 0 else "incremental")
            self.stack.edit("customers", 60, seed=turn)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        self.stack.drain(WORKERS)
        busy = [w for w in workers if any(line["message"] == "Ingestion started" for line in log_lines(w))]
        self.assertGreater(len(busy), 1)
        got = self.stack.query("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `{p}.st_raw_v2.raw_customers`")[0]
        self.assertEqual(got["n"], got["ids"])
        self.stack.ingestor("dispatch", "customers", "--mode", "incremental")
        self.stack.drain(1)
        self.stack.check("--entity", "customers", "--sample", 0)

    def end_in_the_middle(self, how):
        """A full sync under slow lists: the worker is ended when at least one run has begun and none of the largest is done."""
        self.stack.admin("/_admin/settings", {"latencyMs": 300})
        self.stack.ingestor("dispatch", "all", "--mode", "full")
        worker = self.start_worker()
        self.wait_for(worker, "Ingestion started", entityType="payroll")
        started = time.monotonic()
        worker.send_signal(how)
        code = worker.wait(SOON_S)
        self.stack.admin("/_admin/settings", {"latencyMs": 0})
        return worker, code, time.monotonic() - started

    def test_a_killed_workers_messages_come_again(self):
        self.begin(scale=10)
        self.end_in_the_middle(signal.SIGKILL)
        self.finish()

    def finish(self):
        """Another worker until all eight runs are there; its messages come when the leases of the first have ended."""
        worker = self.start_worker()
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            rows = self.stack.query("SELECT COUNT(DISTINCT entity_type) AS n FROM `{p}.st_logs_v2.ingestion_logs` WHERE status = 'success'")
            if rows[0]["n"] == str(len(ENTITIES)):
                break
            time.sleep(0.2)
        else:
            self.fail(f"not all entities arrived: {tail(worker)}")
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        self.assert_equal()

    def test_a_pile_of_incrementals_costs_one_run_and_each_task_ends(self):
        """Messages that waited longer than the margin are done by the first one's run; who waits for their tasks is told."""
        pile, scale, margin_s = 6, 60, 125
        self.begin(scale=scale)
        self.stack.env["WORKER_CONCURRENCY"] = "1"
        tasks = [json.loads(self.stack.ingestor("dispatch", "payments", "--json").stdout)[0]["taskId"] for _ in range(pile)]
        old_enough = time.monotonic() + margin_s / scale
        while time.monotonic() < old_enough:
            time.sleep(old_enough - time.monotonic())
        worker = self.stack.drain(1)[0]
        messages = [line["message"] for line in log_lines(worker)]
        self.assertEqual((messages.count("Ingestion completed"), messages.count("Task is done already")), (1, pile - 1))
        ends = self.stack.query("SELECT task_id, status FROM `{p}.st_logs_v2.ingestion_log_events` WHERE status != 'running'")
        self.assertEqual(sorted(end["task_id"] for end in ends), sorted(tasks))
        self.assertEqual([end["status"] for end in ends].count("skipped"), pile - 1)
        self.assertEqual(self.stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.ingestion_logs`")[0]["n"], "1")

    def test_sigterm_gives_the_messages_back(self):
        self.begin(scale=10)
        worker, code, seconds = self.end_in_the_middle(signal.SIGTERM)
        self.assertEqual(code, 0, tail(worker))
        self.assertLess(seconds, 8)
        self.assertGreater(log_lines(worker)[-1]["retried"], 0)
        self.finish()


if __name__ == "__main__":
    unittest.main()
