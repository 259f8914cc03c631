"""Piles, lanes and twins: what many messages about the same thing cost, who is served first, and that nothing depends on a run being alone."""
import json
import signal
import time
import unittest

import publish
from stack import ENTITIES, Stack, free_port, http, log_lines, tail, wait_until

LIVE, BACKFILL = "st-ingest", "st-backfill"
PILE = 1000
BACKLOG = 10_000
MARGIN_S = 125  # run.c takes a message for done that is 120 s older than the last run's frame
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}
SOON_S = 120
RUNS_BEFORE = 4  # the backfill that is under way when the incremental comes


def incremental(entity, **more):
    return json.dumps({"entity": entity, "mode": "incremental", **more})


def backfill(entity, day=1, **more):
    return json.dumps({"entity": entity, "mode": "backfill", "from": f"2001-01-{day:02}T00:00:00Z", "to": f"2001-01-{day + 1:02}T00:00:00Z", **more})


def count(workers, message, **members):
    """How many lines of the workers' logs say so."""
    return sum(line["message"] == message and all(line.get(k) == v for k, v in members.items()) for worker in workers for line in log_lines(worker))


class Lanes(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)

    def begin(self, *options, scale=None, jobs=60):
        if scale:
            self.stack.env.update(ST_CLOCK_SCALE=str(scale), ST_CLOCK_BASE=str(int(time.time())))
        self.stack.start_local("--jobs", jobs, "--seed", 23, *options)
        self.stack.env.update(FAST)
        self.stack.ingestor("init")

    def publish(self, topic, texts):
        return publish.publish(self.stack.env, topic, [(text, {}) for text in texts])

    def lane(self, name):
        """What the local Pub/Sub holds for a subscription."""
        stats = http(f"{self.stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")
        return next(s for s in stats["subscriptions"] if s["name"].endswith(f"/{name}"))

    def assert_nothing_left(self):
        for name in ("st-ingest-worker", "st-backfill-worker", "st-dead-letter-operator"):
            lane = self.lane(name)
            self.assertEqual((lane["ready"], lane["leased"], lane["delayed"]), (0, 0, 0), lane)

    def assert_one_row_per_key(self, *entities):
        for entity in entities:
            got = self.stack.query(f"SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `{{p}}.st_raw_v2.raw_{entity}`")[0]
            self.assertEqual(got["n"], got["ids"], entity)

    # ---- A pile ---------------------------------------------------------------------------------------------------------

    def test_a_pile_of_a_thousand_costs_one_run_or_two(self):
        """One run a worker, however many messages; the others end as done already, each with an end of its own where it has a task."""
        scale, workers = 60, 2
        self.begin(scale=scale)
        self.stack.ingestor("dispatch", "payments", "--mode", "full")
        self.stack.drain(1)
        self.stack.edit("payments", 20)
        tasks = [f"pile-{i}" for i in range(PILE // 2)]
        self.publish(LIVE, [incremental("payments", task_id=task) for task in tasks] + [incremental("payments")] * (PILE - len(tasks)))
        old_enough = time.monotonic() + MARGIN_S / scale
        while time.monotonic() < old_enough:
            time.sleep(old_enough - time.monotonic())
        acked = self.lane("st-ingest-worker")["acked"]
        self.stack.count_from_here()
        done = self.stack.drain(workers)
        runs = count(done, "Ingestion completed", entityType="payments")
        self.assertIn(runs, (1, 2))
        self.assertEqual(count(done, "Task is done already"), PILE - runs)
        self.assertLessEqual(self.stack.requests()["methods"]["servicetitan.list.payments"]["seen"], 2 * workers)
        self.assertEqual(self.lane("st-ingest-worker")["acked"] - acked, PILE)
        self.assert_nothing_left()
        ends = self.stack.query("SELECT task_id FROM `{p}.st_logs_v2.ingestion_log_events` WHERE status IN ('success', 'skipped')")
        self.assertLessEqual(set(tasks), {end["task_id"] for end in ends})
        self.stack.check("--entity", "payments", "--sample", 0)

    # ---- Two lanes ------------------------------------------------------------------------------------------------------

    def begin_backlog(self, slots):
        """A worker that is in the middle of a backfill, with thousands more of them behind; the backfill does not go on before it is let."""
        self.begin("--rate", 100_000)
        self.stack.env.update(WORKER_CONCURRENCY=str(slots), WORKER_PORT=str(free_port()))
        self.publish(BACKFILL, [backfill("campaigns", 1 + i % 27) for i in range(BACKLOG)])
        self.stack.hold(method="servicetitan.list.campaigns", nth=RUNS_BEFORE)
        worker = self.stack.start("worker", "st-ingestor", "worker")
        self.stack.wait_for_hold()
        return worker

    def received(self, worker, lane):
        """How many messages of the lane the worker has in its hands or had."""
        samples = self.stack.metrics(worker)["st_ingestor_messages_received_total"]["samples"]
        return sum(value for (_, labels), value in samples.items() if f'"{lane}"' in str(labels).replace("'", '"'))

    def end_backlog(self, worker):
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        lane = self.lane("st-backfill-worker")
        self.assertGreater(lane["ready"] + lane["leased"] + lane["delayed"], BACKLOG * 9 // 10)
        self.assertEqual(self.lane("st-ingest-worker")["acked"], 1)

    def test_an_incremental_passes_ten_thousand_backfills_when_the_run_under_way_has_ended(self):
        """One slot for both lanes: what the worker begins next, after the run that it is in, is the live message."""
        worker = self.begin_backlog(1)
        self.publish(LIVE, [incremental("customers")])
        wait_until("the live message", lambda: self.received(worker, "live") == 1)
        self.assertGreater(self.received(worker, "backfill"), RUNS_BEFORE)
        self.stack.release_hold()
        wait_until("the incremental", lambda: count([worker], "Ingestion completed", mode="incremental"))
        begun = [line["mode"] for line in log_lines(worker) if line["message"] == "Ingestion started"]
        self.assertEqual(begun.index("incremental"), RUNS_BEFORE, begun)
        self.end_backlog(worker)

    def test_backfills_never_have_the_last_slot(self):
        """Two slots: the incremental does not even wait for the run that is under way."""
        worker = self.begin_backlog(2)
        self.publish(LIVE, [incremental("customers")])
        wait_until("the incremental", lambda: count([worker], "Ingestion completed", mode="incremental"))
        self.assertEqual(count([worker], "Ingestion started", mode="backfill"), RUNS_BEFORE)
        self.assertEqual(count([worker], "Ingestion completed", mode="backfill"), RUNS_BEFORE - 1)
        self.stack.release_hold()
        self.end_backlog(worker)


if __name__ == "__main__":
    unittest.main()
