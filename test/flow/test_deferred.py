"""A tenant whose source is down costs the others nothing, and its own messages no delivery attempt (design 8, DEFER)."""
import json
import time
import unittest

import letters
from stack import ROOT, Stack, log_lines, tail, wait_until

DOWN, OTHERS = 101, (202, 303)
MODES = ("incremental", "full")
ENTITIES = ("jobs", "invoices", "estimates", "payments", "customers", "locations", "campaigns")
DEFERRED_MAX = 1024
SCALE = 60
LIVE = "st-ingest-worker"


class Deferred(unittest.TestCase):
    def setUp(self):
        self.stack = stack = Stack()
        self.addCleanup(stack.stop)
        stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        stack.start_local("--jobs", 20, "--seed", 8, *(word for tenant in (DOWN, *OTHERS) for word in ("--tenant", tenant)))
        stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120", LOG_LEVEL="debug")
        config = json.loads((ROOT / "config/config.json").read_text())
        config["tenants"] = [{"id": tenant, "name": f"t{tenant}", **{f"{name}Env": self.variable(variable, tenant) for name, variable in
                              (("clientId", "ST_CLIENT_ID"), ("clientSecret", "ST_CLIENT_SECRET"), ("appKey", "ST_APP_KEY"))}} for tenant in (DOWN, *OTHERS)]
        path = stack.data / "tenants.json"
        path.write_text(json.dumps(config))
        self.config = ("--config", path)
        stack.ingestor("init", *self.config)

    @staticmethod
    def variable(name, tenant):
        return name if tenant == DOWN else f"{name}_{tenant}"

    def publish(self, tenant, count, mode=None):
        made = []
        for i in range(count):
            task = {"entity": ENTITIES[i % len(ENTITIES)], "mode": mode or MODES[i // len(ENTITIES) % 2], "tenant": tenant, "task_id": f"{tenant}-{i}"}
            made.append(letters.message(json.dumps(task)))
        letters.publish(self.stack, made)

    def break_source(self):
        return self.stack.fault("servicetitan.list.*", "status", status=503, path=f"/tenant/{DOWN}/", count=1000000)

    @staticmethod
    def completed(worker):
        return [line for line in log_lines(worker) if line["message"] == "Ingestion completed"]

    def work_beside_an_outage(self, pile):
        """The pile stands before the others' messages; the outage ends only after those are done. Returns the worker."""
        self.break_source()
        self.publish(DOWN, pile)
        for tenant in OTHERS:
            self.publish(tenant, len(ENTITIES), mode="incremental")
        worker = self.stack.start("worker", "st-ingestor", "worker", "--drain", "--idle", "1", *self.config)

        def others_are_done():
            self.assertIsNone(worker.poll(), tail(worker))
            return len(self.completed(worker)) == len(OTHERS) * len(ENTITIES)
        wait_until("the others' work", others_are_done)
        self.assertEqual({line["tenantId"] for line in self.completed(worker)}, set(OTHERS))
        return worker

    def end_outage(self, worker):
        self.stack.clear_faults()
        self.assertEqual(worker.wait(240), 0, tail(worker))
        self.assertEqual(letters.held(self.stack), [])
        done = {line["entityType"] for line in self.completed(worker) if line["tenantId"] == DOWN}
        self.assertEqual(done, set(ENTITIES))
        self.assertEqual(letters.numbers(self.stack, LIVE)["ready"], 0)

    def test_a_pile_waits_without_a_slot_and_without_an_attempt(self):
        pile = 400
        worker = self.work_beside_an_outage(pile)
        self.assertGreater(len([line for line in log_lines(worker) if line["message"].startswith("Task deferred")]), 0)
        self.end_outage(worker)
        counts = letters.numbers(self.stack, LIVE)
        self.assertEqual((counts["nacked"], counts["expired"], counts["acked"]), (0, 0, pile + len(OTHERS) * len(ENTITIES)), counts)
        self.assertEqual([line for line in log_lines(worker) if line.get("deliveryAttempt", 1) != 1], [])
        rooms = [line["messages"] for line in log_lines(worker) if line["message"].startswith("Room for deferred")]
        self.assertEqual(rooms[:3], [16, 128, DEFERRED_MAX])

    def test_more_than_may_wait_is_given_back(self):
        pile = DEFERRED_MAX + 300
        worker = self.work_beside_an_outage(pile)
        given = [line for line in log_lines(worker) if line.get("errorCode") == "deferred"]
        self.assertGreaterEqual(len(given), pile - DEFERRED_MAX - 20)
        self.assertEqual({line["tenantId"] for line in given}, {DOWN})
        self.assertLessEqual(letters.numbers(self.stack, LIVE)["leased"], 2 * DEFERRED_MAX)
        self.end_outage(worker)


if __name__ == "__main__":
    unittest.main()
