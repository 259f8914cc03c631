"""A thousand dead letters, a replay that is killed at ten points and repeated: every task is done, and no letter is left."""
import json
import random
import time
import unittest

import letters
from stack import Stack, http, log_lines, wait_until

SEED = 20261125
LETTERS, LIVE_LETTERS, REAL_LETTERS = 1000, 20, 6
KILLS = 10
SCALE = 20  # the leases of a killed session end after a second
# A batch of letters is published, audited, acknowledged: the points are before and after each of the three.
STEPS = [(method, where) for method in ("pubsub.Publish", "write.AppendRows", "pubsub.Acknowledge") for where in ("before", "after")]


class Replay(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        self.stack.start_local("--jobs", 60, "--seed", 4, "--rate", 100_000)
        self.stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        self.stack.ingestor("init")

    def subscription(self, name):
        stats = http(f"{self.stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")
        return next(s for s in stats["subscriptions"] if s["name"].endswith(f"/{name}"))

    def letters_left(self):
        left = self.subscription("st-dead-letter-operator")
        return left["ready"] + left["leased"] + left["delayed"]

    def letters_are_free(self):
        """The leases of a killed session have ended."""
        left = self.subscription("st-dead-letter-operator")
        return left["leased"] == 0 and left["delayed"] == 0

    # ---- The letters ----------------------------------------------------------------------------------------------------

    @staticmethod
    def task(number, named):
        """A small window each; every other one has its id in an attribute only, as a worker's letter about a plain message has."""
        day = f"{2001 + number % 10}-{1 + number % 12:02}-{1 + number % 28:02}"
        task = {"entity": "campaigns", "mode": "backfill", "from": f"{day}T00:00:00Z", "to": f"{day}T12:00:00Z"}
        if number < LIVE_LETTERS:
            task = {"entity": "campaigns", "mode": "incremental"}
        return json.dumps({**task, "task_id": f"letter-{number}"} if named else task)

    def letter(self, number):
        """As a worker writes it."""
        subscription = "st-ingest-worker" if number < LIVE_LETTERS else "st-backfill-worker"
        return self.task(number, number % 2), {
            "CloudPubSubDeadLetterSourceDeliveryCount": "1", "CloudPubSubDeadLetterSourceSubscription": subscription,
            "CloudPubSubDeadLetterSourceSubscriptionProject": self.stack.env["PUBSUB_PROJECT_ID"],
            "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-01-02T03:04:05.678Z", "error_class": "permanent", "error_code": "http_403",
            "error_message": "denied", "source_message_id": str(number + 1), "task_id": f"letter-{number}"}

    def write_letters(self):
        """Returns the letters' ids and their tasks'; the first few tasks were really rejected."""
        numbers = range(LETTERS - REAL_LETTERS, LETTERS)
        self.stack.fault("servicetitan.*", "status", path="/tenant/", status=403, count=100_000)
        letters.publish(self.stack, [letters.message(self.task(number, True)) for number in numbers], "st-backfill")
        self.stack.drain(1, codes=(1,))
        self.stack.clear_faults()
        ids = {letter["message_id"] for letter in json.loads(self.stack.ingestor("dlq", "list", "--json").stdout)}
        ids |= set(letters.publish(self.stack, [letters.message(*self.letter(number)) for number in range(numbers[0])], "st-dead-letter"))
        self.assertEqual((len(ids), self.letters_left()), (LETTERS, LETTERS))
        return ids, {f"letter-{number}" for number in range(LETTERS)}

    # ---- The replay -----------------------------------------------------------------------------------------------------

    REPLAY = ("dlq", "replay", "--yes", "--rate", "1000")

    def kill_at(self, method, where, nth):
        self.stack.hold(method=method, where=where, nth=nth)
        process = self.stack.start("replay", "st-ingestor", *self.REPLAY)
        self.stack.wait_for_hold()
        process.kill()
        process.wait()
        self.stack.release_hold(cut=True)
        wait_until("the end of the killed session's leases", self.letters_are_free)

    def test_a_thousand_letters_survive_ten_kills(self):
        chance = random.Random(SEED)
        letters, tasks = self.write_letters()
        live, backfill = (self.subscription(name)["acked"] for name in ("st-ingest-worker", "st-backfill-worker"))
        points = STEPS + chance.choices(STEPS, k=KILLS - len(STEPS))
        chance.shuffle(points)
        for method, where in points:
            self.kill_at(method, where, chance.randint(1, 2))
            self.assertGreater(self.letters_left(), 0, "killed too late to prove anything")
        self.stack.ingestor(*self.REPLAY)
        self.assertEqual(self.letters_left(), 0)
        audit = {row["message_id"] for row in self.stack.query("SELECT message_id FROM `{p}.st_logs_v2.dead_letter_audit` WHERE action = 'replayed'")}
        self.assertEqual(audit, letters, f"seed {SEED}")
        worker = self.stack.drain(1)[0]
        completed = [line["taskId"] for line in log_lines(worker) if line["message"] == "Ingestion completed" and line["mode"] == "backfill"]
        ended = {line["taskId"] for line in log_lines(worker) if line["message"] in ("Ingestion completed", "Task is done already")}
        self.assertEqual(ended, tasks, f"seed {SEED}")
        # What was published twice is the same task, so it is done once.
        self.assertEqual(len(completed), LETTERS - LIVE_LETTERS)
        self.assertGreater(log_lines(worker)[-1]["done"], LETTERS)
        self.assertGreaterEqual(self.subscription("st-ingest-worker")["acked"] - live, LIVE_LETTERS)
        self.assertGreaterEqual(self.subscription("st-backfill-worker")["acked"] - backfill, LETTERS - LIVE_LETTERS)
        self.assertEqual(self.letters_left(), 0)


if __name__ == "__main__":
    unittest.main()
