"""Backfills through the real binaries: slices that equal a full read, kills while publishing, live work meanwhile, failed slices."""
import datetime
import json
import os
import pty
import random
import select
import signal
import subprocess
import time
import unittest

from stack import ROOT, Stack, http, log_lines, tail

JOBS = 400
ENTITIES = ["jobs", "invoices", "payroll"]
SLICES = 60
SLICE_DAYS = 31
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}
SOON_S = 120
KILLS = 10


def day(days_from_today):
    return (datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=days_from_today)).isoformat()


class Backfill(unittest.TestCase):
    def begin(self, *options):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.start_local("--jobs", JOBS, "--seed", 41, *options)
        self.stack.env.update(FAST)
        self.stack.ingestor("init")

    def backfill(self, *words, **more):
        return self.stack.ingestor("backfill", *words, **more)

    def show(self, backfill, *words, code=0):
        done = self.backfill("show", backfill, "--json", *words, check=False, timeout=SOON_S)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout)

    def publish(self, *words, **more):
        return json.loads(self.backfill(*words, "--yes", "--json", **more).stdout)["backfill"]

    def wait_until(self, what, condition):
        deadline = time.monotonic() + SOON_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"{what} did not happen")
            time.sleep(0.05)

    def lane(self, name):
        """What the local Pub/Sub holds for a subscription."""
        for subscription in http(f"{self.stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")["subscriptions"]:
            if subscription["name"].endswith(f"/{name}"):
                return subscription
        self.fail(f"no subscription {name}")

    # ---- Sixty slices of five years -----------------------------------------------------------------------------------

    def test_five_years_in_sixty_slices_equal_a_full_read(self):
        self.begin()
        window = ("--from", day(1 - SLICES * SLICE_DAYS), "--slice", f"{SLICE_DAYS}d")
        shown = json.loads(self.backfill(*ENTITIES, *window, "--dry-run", "--json").stdout)
        self.assertEqual([(e["entity"], e["slices"]) for e in shown["entities"]], [(e, SLICES) for e in ENTITIES])
        self.assertEqual(shown["messages"], SLICES * len(ENTITIES))
        self.assertEqual(shown["records"], sum(self.stack.source_count(e) for e in ENTITIES))
        self.assertEqual(self.lane("st-backfill-worker")["ready"], 0)
        backfill = self.publish(*ENTITIES, *window)
        self.assertEqual(self.lane("st-backfill-worker")["ready"], SLICES * len(ENTITIES))
        workers = self.stack.drain(2)
        for worker in workers:
            self.assertTrue([line for line in log_lines(worker) if line["message"] == "Ingestion completed"], "a worker had nothing to do")
        progress = self.show(backfill)
        self.assertEqual((progress["done"], progress["records"]), (SLICES * len(ENTITIES), shown["records"]))
        report = self.stack.check("--sample", 0, *[w for e in ENTITIES for w in ("--entity", e)])
        self.assertEqual(report.count("equal"), len(ENTITIES), report)
        self.assertEqual(self.stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.sync_state`")[0]["n"], "0", "a backfill moved a watermark")
        # A full read finds every row as it is: the same keys, also of records without one, and the same values.
        ended = json.loads(self.full_read())
        self.assertEqual([(e["entity"], e["state"]) for e in ended], [(e, "success") for e in ENTITIES])
        changed = self.stack.query("SELECT SUM(rows_changed) AS n FROM `{p}.st_logs_v2.ingestion_logs` WHERE mode = 'full' AND status = 'success'")
        self.assertEqual(changed[0]["n"], "0")

    def test_slices_of_equal_work_hold_what_was_counted(self):
        self.begin()
        small = {"RATE_LIMIT_PER_SECOND": "1", "ST_PAGE_SIZE": "2"}  # so few records are minutes of work
        words = ("payroll", "customers", "--from", day(-4000))
        plan = json.loads(self.backfill(*words, "--dry-run", "--json", env=small).stdout)
        for entity in plan["entities"]:
            self.assertGreater(entity["slices"], 1, plan["entities"])
            self.assertEqual(entity["records"], self.stack.source_count(entity["entity"]))
        backfill = self.publish(*words, env=small)
        self.stack.drain(1)
        progress = self.show(backfill)
        self.assertEqual(progress["done"], plan["messages"])
        for planned, done in zip(plan["slices"], progress["slices"]):
            # Rows without identity are read with their whole day, so a slice of payroll may stage a record once more.
            same = self.assertEqual if planned["entity"] == "customers" else self.assertGreaterEqual
            same(done["records"], planned["records"], (planned, done))
        self.stack.check("--entity", "payroll", "--entity", "customers", "--sample", 0)

    def full_read(self):
        worker = self.stack.start("worker", "st-ingestor", "worker")
        done = self.stack.ingestor("dispatch", *ENTITIES, "--mode", "full", "--wait", "--json", timeout=SOON_S)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        return done.stdout

    # ---- Kills --------------------------------------------------------------------------------------------------------

    def kill_in_the_middle(self, words, batches, delay_s):
        """Ends the command after so many batches and a moment; standard error is a terminal, so that it tells each."""
        master, slave = pty.openpty()
        process = subprocess.Popen(self.stack.words(["st-ingestor", *words]), env=self.stack.env, cwd=ROOT, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        seen = b""
        while seen.count(b"published ") < batches and process.poll() is None:
            if select.select([master], [], [], 0.05)[0]:
                try:
                    seen += os.read(master, 65536)
                except OSError:  # the other end is closed
                    break
        time.sleep(delay_s)
        process.kill()
        code = process.wait(SOON_S)
        os.close(master)
        return code

    def test_killed_while_publishing_and_repeated(self):
        self.begin()
        seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
        rng = random.Random(seed)
        # Days without records: their slices cost one request each, so that many can be drained.
        words = ("backfill", "campaigns", "--from", "2001-01-01", "--to", "2005-01-01", "--slice", "2d", "--yes")
        count, killed, points = 731, 0, []
        while killed < KILLS:
            point = (rng.choice((0, 1, 1, 1, 2)), rng.uniform(0, 0.008))
            points.append(point)
            killed += self.kill_in_the_middle(words, *point) == -signal.SIGKILL
            self.assertLess(len(points), 100, "the command is too fast to be killed")
        with self.subTest(seed=seed, points=points):
            heads = self.stack.query("SELECT backfill_id FROM `{p}.st_logs_v2.backfills`")
            done = self.stack.run("st-ingestor", *words)
            self.assertLessEqual(len(heads), 1)
            backfill = self.stack.query("SELECT backfill_id FROM `{p}.st_logs_v2.backfills`")
            self.assertEqual(len(backfill), 1, "a repeated command made another plan")
            backfill = backfill[0]["backfill_id"]
            if heads:
                self.assertIn(backfill, done.stdout)
            progress = self.show(backfill)
            self.assertEqual((progress["count"], progress["unpublished"]), (count, 0))
            published = self.lane("st-backfill-worker")["ready"]
            self.assertGreaterEqual(published, count)
            order = self.stack.query(f"""SELECT MAX(IF(kind = 'slice', event_time, NULL)) AS slices, MIN(IF(kind = 'head', event_time, NULL)) AS head,
MIN(IF(kind = 'published', event_time, NULL)) AS published FROM `{{p}}.st_logs_v2.backfill_events` WHERE backfill_id = '{backfill}'""")[0]
            self.assertTrue(int(order["slices"]) < int(order["head"]) < int(order["published"]), order)
            self.stack.drain(2)
            progress = self.show(backfill)
            self.assertEqual(progress["done"], count)
            runs = self.stack.query("SELECT COUNT(*) AS n, COUNT(DISTINCT task_id) AS tasks FROM `{p}.st_logs_v2.ingestion_log_events` WHERE status IN ('success', 'skipped')")[0]
            self.assertEqual((int(runs["n"]), int(runs["tasks"])), (published, count))
            print(f"seed {seed}: {KILLS} kills, {published} messages for {count} slices", flush=True)
            again = self.stack.run("st-ingestor", *words)
            self.assertIn("all its messages are published", again.stdout)
            self.assertEqual(self.lane("st-backfill-worker")["ready"], 0)

    # ---- On a terminal --------------------------------------------------------------------------------------------------

    def on_terminal(self, words, until, then):
        """The command on a terminal of its own; when the text has come, `then` gets the process and the terminal. Code and all output."""
        master, slave = pty.openpty()
        process = subprocess.Popen(self.stack.words(["st-ingestor", *words]), env=self.stack.env, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        seen, done = b"", False
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    seen += os.read(master, 65536)
                except OSError:  # the other end is closed
                    break
            if not done and until.encode() in seen:
                done = True
                then(process, master)
        code = process.wait(SOON_S)
        os.close(master)
        self.assertTrue(done, seen)
        return code, seen.decode()

    def test_it_asks_before_it_publishes(self):
        self.begin()
        words = ("backfill", "campaigns", "--from", day(-60), "--slice", "30d")
        question = "Publish 3 messages? [y/N] "
        for answer in ("n\n", "\n", "yo\n", "\x04"):
            code, said = self.on_terminal(words, question, lambda _, terminal: os.write(terminal, answer.encode()))
            self.assertEqual(code, 1, said)
            self.assertIn("Nothing was published", said)
        self.assertEqual(self.lane("st-backfill-worker")["ready"], 0)
        self.assertEqual(self.stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.backfill_events`")[0]["n"], "0")
        code, said = self.on_terminal(words, question, lambda _, terminal: os.write(terminal, b"y\n"))
        self.assertEqual(code, 0, said)
        self.assertIn("published 3 of 3 messages", said)
        self.assertEqual(self.lane("st-backfill-worker")["ready"], 3)
        # Ctrl-C leaves it running and says how to look again.
        backfill = json.loads(self.backfill("list", "--json").stdout)[0]["backfill_id"]
        code, said = self.on_terminal((*words, "--watch"), "3 queued", lambda process, _: process.send_signal(signal.SIGINT))
        self.assertEqual(code, 130, said)
        self.assertIn(f"st-ingestor backfill show {backfill} --watch", said)

    # ---- Live work meanwhile --------------------------------------------------------------------------------------------

    def test_an_incremental_is_not_held_up(self):
        """Slots and connections are full of slices that take ten minutes each; one of both is never theirs."""
        self.begin()
        self.stack.env.update(WORKER_CONCURRENCY="3", MAX_CONCURRENT_REQUESTS="2")
        self.stack.admin("/_admin/faults", {"method": "servicetitan.*", "path": "/customers", "kind": "delay", "delayMs": 600000, "count": 1000, "skip": 1})
        backfill = self.publish("customers", "--from", day(-600), "--slice", "100d")
        worker = self.stack.start("worker", "st-ingestor", "worker")
        self.wait_until("two slices", lambda: len([line for line in log_lines(worker) if line["message"] == "Ingestion started"]) == 2)
        ended = json.loads(self.stack.ingestor("dispatch", "jobs", "invoices", "--mode", "incremental", "--sequential", "--json", timeout=SOON_S).stdout)
        self.assertEqual([(e["entity"], e["state"]) for e in ended], [("jobs", "success"), ("invoices", "success")])
        progress = self.show(backfill)
        self.assertEqual((progress["done"], progress["running"], progress["queued"]), (0, 2, 5))
        worker.kill()
        worker.wait()
        self.stack.kill_local()  # its answers to the slices are ten minutes away

    # ---- Failed slices --------------------------------------------------------------------------------------------------

    def test_rejected_slices_are_told_and_published_again(self):
        self.begin()
        window = ("--from", day(-90), "--to", day(-60), "--slice", "10d")
        backfill = self.publish("jobs", *window)
        self.stack.admin("/_admin/faults", {"method": "servicetitan.*", "path": "/jobs", "kind": "status", "status": 403, "count": 1000})
        self.stack.drain(1, codes=(1,))
        progress = self.show(backfill[:6], code=1)
        self.assertEqual((progress["rejected"], progress["done"]), (3, 0))
        self.assertIn("403", progress["slices"][0]["error"])
        text = self.backfill("show", backfill, check=False).stdout
        self.assertIn("3 rejected", text)
        self.assertIn(f"st-ingestor backfill retry {backfill}", text)
        self.assertEqual(self.backfill("jobs", *window, "--yes", "--watch", check=False).returncode, 1)
        self.clear_faults()
        self.assertIn("Published 3 messages", self.backfill("retry", backfill[:6]).stdout)
        self.assertEqual(self.show(backfill)["queued"], 3)
        worker = self.stack.start("worker", "st-ingestor", "worker")
        progress = self.show(backfill, "--watch")
        self.assertEqual(progress["done"], 3)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        self.assertIn("No slice", self.backfill("retry", backfill).stdout)
        self.assertIn(backfill, self.backfill("list").stdout)
        made = self.publish("jobs", *window, "--new")
        self.assertNotEqual(made, backfill)
        listed = json.loads(self.backfill("list", "--json").stdout)
        self.assertEqual([(b["backfill_id"], b["done"], b["queued"]) for b in listed], [(made, 0, 3), (backfill, 3, 0)])

    def clear_faults(self):
        http(f"{self.stack.env['ST_LOCAL_ADMIN_URL']}/_admin/faults", method="DELETE")


if __name__ == "__main__":
    unittest.main()
