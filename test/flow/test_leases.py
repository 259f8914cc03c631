"""A run that lasts longer than many leases: one delivery, one ack, and the ack after the merge."""
import signal
import time
import unittest

import letters
from stack import Stack, log_lines, tail, unsettled, wait_until

SCALE = 120
RUN_S = 30 * 60
ACK_DEADLINE_S = 10  # of the subscription; the shortest there is
ENTITY = "campaigns"
SOON_S = 60


class LongRun(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        self.stack.start_local("--jobs", 60)
        self.stack.ingestor("init")
        name = f"projects/{self.stack.env['PUBSUB_PROJECT_ID']}/subscriptions/st-ingest-worker"
        letters.call(self.stack, f"/ack-deadline?subscription={name}&seconds={ACK_DEADLINE_S}", b"")

    def test_half_an_hour_costs_one_delivery_and_one_ack_after_the_merge(self):
        self.stack.ingestor("dispatch", ENTITY, "--mode", "full")
        self.stack.count_from_here()
        self.stack.fault("bigquery.job.run", "delay", on="point", skip=4, delayMs=RUN_S * 1000)
        worker = self.stack.start("worker", "st-ingestor", "worker")
        wait_until("the ack", lambda: self.stack.requests()["methods"].get("pubsub.Acknowledge"))
        wait_until("its effect", lambda: unsettled(self.stack) == 0)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        lines = log_lines(worker)
        ended = [line for line in lines if line["message"] == "Ingestion completed"]
        self.assertEqual(len(ended), 1)
        self.assertGreaterEqual(ended[0]["durationMs"], RUN_S * 1000)
        self.assertEqual((lines[-1]["messages"], lines[-1]["done"], lines[-1]["retried"]), (1, 1, 0))
        counts = self.stack.requests()
        self.assertEqual(counts["methods"]["pubsub.Acknowledge"]["seen"], 1)
        self.assertGreaterEqual(counts["methods"]["pubsub.ModifyAckDeadline"]["seen"], RUN_S / 60)
        names = [entry["method"] for entry in self.stack.requests(since=0)["log"]]
        self.assertGreater(names.index("pubsub.Acknowledge"), max(i for i, n in enumerate(names) if n == "write.AppendRows"))
        acked = next(line for line in reversed(lines) if line["message"] == "Ingestion completed")
        changes = self.stack.query("SELECT run_ids FROM `{p}.st_logs_v2.target_changes` WHERE state = 'success'")
        self.assertEqual(len(changes), 1)  # one that took too long may have failed before
        self.assertIn(acked["runId"], str(changes[0]["run_ids"]))
        self.stack.check("--entity", ENTITY, "--sample", 0)


if __name__ == "__main__":
    unittest.main()
