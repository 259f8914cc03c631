"""dispatch in its further ways: one entity after the other, all at once with a wait, and by the schedules of config.json."""
import datetime
import json
import signal
import subprocess
import time
import unittest

from stack import ROOT, Stack, http, tail

NORTH, SOUTH = 301, 302
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}
SOON_S = 120
CLOCK_SCALE = 10


def clock_at(text, scale=CLOCK_SCALE):
    """Settings under which a program that starts now finds it that late; its clock then runs fast, and no slot is near."""
    wanted, real = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp(), time.time()
    return {"ST_CLOCK_SCALE": str(scale), "ST_CLOCK_BASE": f"{(scale * real - wanted) / (scale - 1):.6f}"}


class WithStack(unittest.TestCase):
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start_local("--jobs", 150, "--seed", 61, *cls.OPTIONS)
        cls.stack.env.update(FAST)
        cls.config = json.loads((ROOT / "config/config.json").read_text())
        cls.prepare()
        path = cls.stack.data / "config.json"
        path.write_text(json.dumps(cls.config))
        cls.words = ("--config", path)
        cls.stack.ingestor("init", *cls.words)

    @classmethod
    def prepare(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def dispatch(self, *words, code=0, env=None):
        done = self.stack.ingestor("dispatch", *words, *self.words, env=env, check=False, timeout=SOON_S)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def messages(self):
        for subscription in http(f"{self.stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")["subscriptions"]:
            if subscription["name"].endswith("/st-ingest-worker"):
                return subscription["ready"]
        return 0


class Waiting(WithStack):
    OPTIONS = ("--tenant", NORTH, "--tenant", SOUTH)

    @classmethod
    def prepare(cls):
        cls.config["tenants"] = [
            {"id": NORTH, "clientIdEnv": "ST_CLIENT_ID", "clientSecretEnv": "ST_CLIENT_SECRET", "appKeyEnv": "ST_APP_KEY"},
            {"id": SOUTH, "clientIdEnv": f"ST_CLIENT_ID_{SOUTH}", "clientSecretEnv": f"ST_CLIENT_SECRET_{SOUTH}", "appKeyEnv": f"ST_APP_KEY_{SOUTH}"},
        ]
        for name, entity in cls.config["entities"].items():
            entity["enabled"] = name in ("jobs", "invoices", "campaigns", "customers")

    def setUp(self):
        self.worker = self.stack.start("worker", "st-ingestor", "worker", *self.words)
        deadline = time.monotonic() + SOON_S
        while "Worker started" not in self.worker.log.read_text():
            self.assertTrue(self.worker.poll() is None and time.monotonic() < deadline, tail(self.worker))
            time.sleep(0.02)

    def tearDown(self):
        if self.worker.poll() is None:
            self.worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.wait(SOON_S), 0, tail(self.worker))

    def runs(self, since):
        return self.stack.query(f"""SELECT entity_type, tenant_id, start_time, end_time FROM `{{p}}.st_logs_v2.ingestion_logs`
WHERE start_time >= TIMESTAMP_MICROS({since}) AND status = 'success' ORDER BY start_time""")

    def test_sequential_goes_by_priority_and_one_entity_at_a_time(self):
        since = int(time.time() * 1e6)
        done = self.dispatch("--sequential", "--mode", "full")
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        order = ["jobs", "invoices", "customers", "campaigns"]
        self.assertEqual([(r[0], int(r[2]), r[3]) for r in rows], [(e, t, "success") for e in order for t in (NORTH, SOUTH)])
        runs = self.runs(since)
        self.assertEqual(len(runs), 8)
        for earlier, later in zip(order, order[1:]):
            ended = max(int(r["end_time"]) for r in runs if r["entity_type"] == earlier)
            self.assertGreaterEqual(min(int(r["start_time"]) for r in runs if r["entity_type"] == later), ended, (earlier, later))

    def test_a_rejected_entity_does_not_stop_the_next(self):
        self.stack.admin("/_admin/faults", {"method": "servicetitan.*", "path": "/invoices", "kind": "status", "status": 403, "count": 1000})
        done = self.dispatch("invoices", "campaigns", "jobs", "--sequential", "--mode", "full", "--json", "--tenant", str(NORTH), code=1)
        http(f"{self.stack.env['ST_LOCAL_ADMIN_URL']}/_admin/faults", method="DELETE")
        ended = json.loads(done.stdout)
        self.assertEqual([(e["entity"], e["state"]) for e in ended], [("invoices", "rejected"), ("campaigns", "success"), ("jobs", "success")])
        self.assertIn("403", ended[0]["error"])

    def test_wait_publishes_all_at_once(self):
        ended = json.loads(self.dispatch("jobs", "campaigns", "--wait", "--mode", "full", "--json").stdout)
        self.assertEqual(sorted((e["entity"], e["tenant"], e["state"]) for e in ended), sorted((e, t, "success") for e in ("jobs", "campaigns") for t in (NORTH, SOUTH)))

    def test_a_backfill_has_slices_of_all_tenants_in_turn(self):
        plan = json.loads(self.stack.ingestor("backfill", "jobs", "campaigns", "--from", "2001-01-01", "--slice", "3650d", "--dry-run", "--json", *self.words).stdout)
        counts = {(t, e): int(self.stack.admin(f"/_admin/count?tenant={t}&entity={e}")["total"]) for t in (NORTH, SOUTH) for e in ("jobs", "campaigns")}
        self.assertEqual({(e["tenant"], e["entity"]): e["records"] for e in plan["entities"]}, counts)
        self.assertEqual([(s["entity"], s["tenant"]) for s in plan["slices"]], [(e, t) for e in ("jobs", "campaigns") for _ in range(3) for t in (NORTH, SOUTH)])
        one = json.loads(self.stack.ingestor("backfill", "all", "--from", "2001-01-01", "--tenant", SOUTH, "--dry-run", "--json", *self.words).stdout)
        self.assertEqual({s["tenant"] for s in one["slices"]}, {SOUTH})

    def test_a_wait_has_an_end(self):
        self.tearDown()
        done = self.dispatch("jobs", "campaigns", "--sequential", "--tenant", str(NORTH), "--timeout", "1", "--json", code=1)
        self.assertEqual([(e["entity"], e["state"]) for e in json.loads(done.stdout)], [("jobs", "queued"), ("campaigns", "queued")])
        rest = self.stack.start("worker", "st-ingestor", "worker", "--drain", *self.words)
        self.assertEqual(rest.wait(SOON_S), 0, tail(rest))
        self.setUp()


class Due(WithStack):
    @classmethod
    def prepare(cls):
        schedules = {"jobs": "0 */2 * * *", "invoices": "30 1 * * *", "campaigns": "0 5 * * mon"}
        for name, entity in cls.config["entities"].items():
            entity.update(enabled=name in schedules, schedule=schedules.get(name, ""))

    # In Los Angeles; 14 March 2027 has no 2:00 to 3:00.
    STEPS = [
        ("2027-03-13T20:05:00Z", ["jobs", "invoices", "campaigns"]),  # never dispatched
        ("2027-03-13T20:10:00Z", []),
        ("2027-03-13T22:05:00Z", ["jobs"]),
        ("2027-03-14T09:50:00Z", ["jobs", "invoices"]),  # 16:00 to 0:00 cost one message
        ("2027-03-14T10:05:00Z", ["jobs"]),  # the skipped slot of 2:00, right after the skip
        ("2027-03-14T10:20:00Z", []),
        ("2027-03-14T11:05:00Z", ["jobs"]),
        ("2027-03-15T11:55:00Z", ["jobs", "invoices"]),
        ("2027-03-15T12:05:00Z", ["campaigns"]),  # Monday 5:00
    ]

    def test_1_each_slot_is_served_once(self):
        for at, wanted in self.STEPS:
            before = self.messages()
            shown = json.loads(self.dispatch("--due", "--dry-run", "--json", env=clock_at(at)).stdout)
            self.assertEqual(sorted(e["entity"] for e in shown if e["due"]), sorted(wanted), at)
            self.assertEqual(self.messages(), before, "a dry run published")
            done = self.dispatch("--due", env=clock_at(at))
            self.assertEqual([line.split()[0] for line in done.stdout.splitlines()[1:]], wanted, at)
            self.assertEqual(self.messages() - before, len(wanted), at)
            self.assertEqual(done.stdout == "", not wanted, "a crontab line without work has to be quiet")
            self.assertEqual(done.stderr, "")

    def test_2_two_at_once_are_harmless(self):
        at = clock_at("2027-03-15T14:05:00Z")
        before = self.messages()
        both = [subprocess.Popen(self.stack.words(["st-ingestor", "dispatch", "--due", *self.words]), env={**self.stack.env, **at}, cwd=ROOT,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
        for process in both:
            _, errors = process.communicate(timeout=SOON_S)
            self.assertEqual(process.returncode, 0, errors)
        self.assertIn(self.messages() - before, (1, 2))
        self.assertEqual(self.dispatch("--due", env=clock_at("2027-03-15T14:20:00Z")).stdout, "")

    def test_3_what_was_published_and_not_recorded_is_published_again(self):
        before = self.messages()
        # Nobody listens there; the patience of five minutes is a moment of this clock.
        self.dispatch("--due", env={**clock_at("2027-03-15T16:05:00Z", 200), "BIGQUERY_STORAGE_EMULATOR_HOST": "127.0.0.1:9"}, code=1)
        self.assertEqual(self.messages() - before, 1)
        self.dispatch("--due", env=clock_at("2027-03-15T16:10:00Z"))
        self.assertEqual(self.messages() - before, 2)

    def test_4_names_choose(self):
        at = clock_at("2027-03-16T10:05:00Z")
        done = self.dispatch("invoices", "--due", "--mode", "full", env=at)
        self.assertRegex(done.stdout.splitlines()[1], r"^invoices +full ")
        self.assertEqual(json.loads(self.dispatch("--due", "--json", env=at).stdout)[0]["entity"], "jobs")


class BadInput(WithStack):
    def refused(self, *command, says=(), env=None):
        done = self.stack.ingestor(*command, *self.words, check=False, env=env, timeout=SOON_S)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)

    def test_dispatch(self):
        self.refused("dispatch", "--sequential", "--timeout", "soon", says=['--timeout is "soon"'])
        self.refused("dispatch", "--timeout", "5", says=["--timeout belongs to --sequential or --wait"])
        self.refused("dispatch", "jobs", "--dry-run", says=["--dry-run belongs to --due"])
        self.refused("dispatch", "--due", "--tenant", "5", says=["--due takes no --tenant"])
        self.refused("dispatch", "--due", "job", says=['unknown entity "job"'])
        self.refused("dispatch", "--due", env={"SCHEDULE_TIME_ZONE": "Mars/Olympus"}, says=["SCHEDULE_TIME_ZONE", "Mars/Olympus"])
        self.refused("dispatch", "--due", env={"SCHEDULE_TIME_ZONE": "../../etc/passwd"}, says=["SCHEDULE_TIME_ZONE"])
        self.refused("dispatch", "--wait", env={"BQ_PROJECT_ID": ""}, says=["BQ_PROJECT_ID", "not set"])

    def test_backfill(self):
        self.refused("backfill", says=["say what to read again"])
        self.refused("backfill", "jobs", says=["--from is missing"])
        self.refused("backfill", "job", "--from", "2021-01-01", "--yes", says=['unknown entity "job"'])
        self.refused("backfill", "jobs", "--from", "Monday", "--yes", says=['--from is "Monday"', "2021-01-31"])
        self.refused("backfill", "jobs", "--from", "2021-01-01", "--to", "2020-01-01", says=["--from is not before --to"])
        self.refused("backfill", "jobs", "--from", "2021-01-01", "--slice", "fast", says=['--slice is "fast"'])
        self.refused("backfill", "jobs", "--from", "1000-01-01", "--slice", "1m", "--yes", says=["more than 20000 slices"])
        self.refused("backfill", "jobs", "--from", "2021-01-01", "--tenant", "9", "--yes", says=["tenant 9 is not configured"])
        self.refused("backfill", "jobs", "--from", "2021-01-01", says=["--yes", "--dry-run"])
        self.refused("backfill", "jobs", "--from", "2021-01-01", "--fast", says=["unknown option '--fast'"])
        self.refused("backfill", "jobs", "--from", "2021-01-01", "--yes", env={"ST_CLIENT_SECRET": ""}, says=["ST_CLIENT_SECRET"])
        self.refused("backfill", "show", says=["show needs the id"])
        self.refused("backfill", "show", "nope", says=['no backfill "nope"'])
        self.refused("backfill", "retry", "nope", says=['no backfill "nope"'])
        self.refused("backfill", "list", "--limit", "0", says=['--limit is "0"'])
        self.refused("backfill", "list", "jobs", says=["unexpected argument 'jobs'"])
        self.assertEqual(self.stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.backfill_events`")[0]["n"], "0")


del WithStack  # not a test of its own

if __name__ == "__main__":
    unittest.main()
