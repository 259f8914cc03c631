"""Piles, lanes and twins: what many messages about the same thing cost, who is served first, and that nothing depends on a run being alone."""
import json
import signal
import time
import unittest

import letters
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
        return letters.publish(self.stack, [letters.message(text) for text in texts], topic)

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

    # ---- Twins ----------------------------------------------------------------------------------------------------------

    def twins(self):
        """Every way of reading the customers, each as the same task twice and as another task."""
        window = {"from": "2001-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
        tasks = [{"mode": "full"}, {"mode": "incremental"}, {"mode": "backfill", **window}]
        return {topic: [json.dumps({"entity": "customers", "task_id": f"{task['mode']}-{name}", **task}) for name in "aab" for task in tasks if (task["mode"] == "backfill") == (topic == BACKFILL)]
                for topic in (LIVE, BACKFILL)}

    def publish_twins(self):
        twins = self.twins()
        for topic, texts in twins.items():
            self.publish(topic, texts)
        return sum(map(len, twins.values()))

    def begin_twins(self):
        """Enough customers that runs of one meet; and rows in the warehouse that all the twins change at once."""
        self.begin("--dml-duration-ms", 300, "--rate", 100_000, jobs=600)
        self.stack.ingestor("dispatch", "customers", "--mode", "full")
        self.stack.drain(1)
        self.stack.edit("customers", 80)

    def watermark(self):
        return int(self.stack.query("SELECT last_sync_time FROM `{p}.st_logs_v2.sync_state` WHERE entity_type = 'customers'")[0]["last_sync_time"])

    def assert_right(self, workers, messages):
        """All ended, one row a key, rows as at the source, and the watermark is that of the run that began last of those that may move it."""
        self.assertEqual(sum(log_lines(worker)[-1]["done"] for worker in workers), messages)
        self.assert_nothing_left()
        self.assert_one_row_per_key("customers")
        runs = self.stack.query("SELECT mode, frame_to, watermark FROM `{p}.st_logs_v2.ingestion_logs` WHERE status = 'success'")
        moved = [int(run["watermark"]) for run in runs if run["mode"] != "backfill"]
        self.assertEqual(self.watermark(), max(moved))
        self.assertTrue(all(int(run["watermark"]) < int(run["frame_to"]) for run in runs if run["mode"] != "backfill"), runs)
        self.stack.ingestor("dispatch", "customers", "--mode", "incremental")
        self.stack.drain(1)
        self.stack.check("--entity", "customers", "--sample", 0)

    def assert_deferred(self, worker):
        """In one process a full or incremental run begins when its like has ended, and so does the same backfill."""
        under_way, met = {}, 0
        for line in log_lines(worker):
            if line["message"] == "Ingestion started":
                like = (line["mode"], line["taskId"] if line["mode"] == "backfill" else "")
                self.assertNotIn(like, under_way.values(), line)
                met += len(under_way) > 0
                under_way[line["runId"]] = like
            elif line["message"] == "Ingestion completed":
                del under_way[line["runId"]]
        self.assertGreater(met, 0)

    def test_twins_in_one_process(self):
        self.begin_twins()
        self.stack.env["WORKER_CONCURRENCY"] = "6"
        messages = self.publish_twins()
        worker = self.stack.drain(1)[0]
        self.assert_deferred(worker)
        self.assertEqual(count([worker], "Task is done already"), 2)  # the second of full-a and of backfill-a
        self.assert_right([worker], messages)

    def test_twins_in_three_processes(self):
        """The first is delivered to two; one is stopped in its request, while the others do the same and more, and ends last, with what it read early."""
        self.begin_twins()
        self.stack.env["WORKER_CONCURRENCY"] = "2"
        workers = [self.stack.start("worker", "st-ingestor", "worker") for _ in range(3)]
        for worker in workers:
            wait_until("a worker", lambda w=worker: count([w], "Worker started"))
        self.stack.hold(method="servicetitan.list.customers", nth=1, where="after")
        twice = self.stack.fault("pubsub.delivery", "duplicate", on="point")
        first = self.publish(LIVE, [self.twins()[LIVE][0]])[0]
        self.stack.wait_for_hold()
        wait_until("the same message in another process", lambda: count(workers, "Ingestion completed", taskId="full-a") == 1)
        self.assertEqual([count([worker], "Ingestion started", messageId=first) for worker in workers].count(1), 2)
        self.assertEqual(len(self.stack.fired(twice)), 1)
        self.stack.edit("customers", 40, seed=8)
        messages = self.publish_twins() + 2
        for mode in ("full", "incremental", "backfill"):
            wait_until(f"a {mode} run", lambda m=mode: count(workers, "Ingestion completed", mode=m))
        before = self.watermark()
        self.stack.release_hold()
        wait_until("the end", lambda: sum(count(workers, said) for said in ("Ingestion completed", "Task is done already")) == messages)
        self.assertGreaterEqual(self.watermark(), before)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        self.assert_right(workers, messages)


if __name__ == "__main__":
    unittest.main()
