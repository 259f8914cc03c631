"""An hour without a service, or without two: nothing is dead-lettered, everything arrives, nothing arrives twice, no watermark moves back.

The hour passes on a fast clock. OUTAGES=all runs every service with every kind of outage, and every pair; OUTAGES=some (in CI) a part of
them that has each service, each kind and each phase of the work."""
import concurrent.futures
import itertools
import json
import os
import signal
import time
import unittest
import urllib.parse

from gate import Gates
from stack import ROOT, Stack, free_port, http, log_lines, tail, wait_until

SCALE = 150
HOUR_S = 3600 / SCALE
TENANTS = (101, 202)
ENTITIES = ("campaigns", "customers", "jobs")
JOBS = 60
SOON_S = 120
SIDE_BY_SIDE = 5
ATTEMPTS_OF_AN_HOUR = 13  # twelve by backoffs of 10, 20, 40 ... 600 s, and one while a breaker is still open
LAST_ATTEMPT = 29         # an hour of this clock is short for a busy machine, which may lose leases besides
REFUSED = 1000000

# The setting that leads to the service, and the methods it has on the bench.
SERVICES = {
    "st_api": ("ST_API_URL", "servicetitan.list.*"),
    "st_auth": ("ST_AUTH_URL", "servicetitan.token"),
    "pubsub": ("PUBSUB_EMULATOR_HOST", "pubsub.*"),
    "bigquery": ("BIGQUERY_EMULATOR_HOST", "bigquery.*,!bigquery.jobs.query"),  # the test's own looks
    "write": ("BIGQUERY_STORAGE_EMULATOR_HOST", "write.*"),
}
KINDS = ("refuse", "unavailable", "silent", "cut")
PHASES = ("start", "work", "idle")
# What has begun when an outage strikes in the middle of the work.
WORK = {"st_api": "servicetitan.list.*", "st_auth": "servicetitan.list.*", "pubsub": "servicetitan.list.*", "bigquery": "bigquery.jobs.insert", "write": "write.AppendRows"}

SOME = [
    (("st_api",), "unavailable", "work"),
    (("st_auth",), "refuse", "start"),
    (("pubsub",), "silent", "work"),
    (("bigquery",), "refuse", "start"),
    (("bigquery",), "silent", "work"),
    (("write",), "cut", "work"),
    (("pubsub", "write"), "unavailable", "idle"),
    (("bigquery", "write"), "cut", "work"),
    (("st_api", "bigquery"), "silent", "idle"),
]


def all_cases():
    """Each service with each kind, each pair with one; the phases in turn."""
    phases = itertools.cycle(PHASES)
    for service, kind in itertools.product(SERVICES, KINDS):
        yield (service,), kind, next(phases)
    for number, pair in enumerate(itertools.combinations(SERVICES, 2)):
        yield pair, KINDS[number % len(KINDS)], next(phases)


CASES = list(all_cases()) if os.environ.get("OUTAGES") == "all" else SOME


class Site:
    """Servers behind gates, two tenants, and a worker that knows only the gates."""

    def __init__(self):
        self.stack = stack = Stack()
        self.gates = Gates()
        stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        stack.start_local("--jobs", JOBS, "--seed", 11, *itertools.chain(*(("--tenant", t) for t in TENANTS)))
        stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        self.config = ("--config", self.write_config())
        stack.ingestor("init", *self.config)
        self.doors = {name: self.add_gate(name) for name in SERVICES}
        self.worker = None

    def write_config(self):
        config = json.loads((ROOT / "config/config.json").read_text())
        config["tenants"] = [self.tenant_config(t) for t in TENANTS]
        path = self.stack.data / "tenants.json"
        path.write_text(json.dumps(config))
        return path

    @staticmethod
    def tenant_config(tenant):
        suffix = "" if tenant == TENANTS[0] else f"_{tenant}"
        names = {"clientIdEnv": "ST_CLIENT_ID", "clientSecretEnv": "ST_CLIENT_SECRET", "appKeyEnv": "ST_APP_KEY"}
        return {"id": tenant, "name": f"t{tenant}", **{key: name + suffix for key, name in names.items()}}

    def add_gate(self, name):
        at = self.stack.env[SERVICES[name][0]]
        url = urllib.parse.urlsplit(at if "//" in at else f"//{at}")
        # A channel of gRPC lives as long as its connection: on loopback it has no keepalive that would find out.
        return self.gates.add(url.hostname, url.port, to_reset=name in ("pubsub", "write"))

    def way(self, name):
        """The setting that leads through the gate."""
        at = self.stack.env[SERVICES[name][0]]
        url = urllib.parse.urlsplit(at if "//" in at else f"//{at}")
        return at.replace(url.netloc, self.doors[name].address)

    def start_worker(self):
        env = {SERVICES[name][0]: self.way(name) for name in SERVICES}
        env["WORKER_PORT"] = str(free_port())
        self.worker = self.stack.start("worker", "st-ingestor", "worker", *self.config, env=env)

    def status_of(self, path):
        try:
            return self.stack.get(self.worker, path)[0]
        except OSError:
            return None

    def shut(self, services, kind):
        for name in services:
            if kind == "unavailable":
                self.stack.fault(SERVICES[name][1], "status", status=503, count=REFUSED)
                self.stack.bench("streams", {"method": SERVICES[name][1], "act": "close"})
            else:
                self.doors[name].set(kind)

    def open(self, services):
        for name in services:
            self.doors[name].set("open")
        self.stack.clear_faults()

    def dispatch(self, mode):
        for entity in ENTITIES:
            self.stack.ingestor("dispatch", entity, "--mode", mode, *self.config)

    def subscriptions(self):
        stats = http(f"{self.stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")
        return {s["name"].rsplit("/", 1)[1]: s for s in stats["subscriptions"]}

    def waiting(self):
        return sum(s["ready"] + s["leased"] + s["delayed"] for s in self.subscriptions().values())

    def watermarks(self):
        rows = self.stack.query("SELECT tenant_id, entity_type, last_sync_time FROM `{p}.st_logs_v2.sync_state`")
        return {(row["tenant_id"], row["entity_type"]): int(row["last_sync_time"]) for row in rows}

    def seen(self, methods):
        prefix = methods.split("*")[0]
        return sum(n["seen"] for name, n in self.stack.requests()["methods"].items() if name.startswith(prefix))

    def edit(self):
        for tenant, entity in itertools.product(TENANTS, ENTITIES):
            self.stack.admin("/_admin/edits", {"tenant": tenant, "entity": entity, "count": 10, "kinds": ["create", "edit"], "seed": tenant})

    def check(self):
        """Every tenant's tables equal the source."""
        saved = dict(self.stack.env)
        self.stack.admin("/_admin/settings", {"tokenLifeS": 86400})  # the checker does not renew its own
        try:
            for tenant in TENANTS:
                self.stack.env["ST_TENANT_ID"] = str(tenant)
                if tenant != TENANTS[0]:
                    self.stack.env.update({f"ST_{n}": saved[f"ST_{n}_{tenant}"] for n in ("CLIENT_ID", "CLIENT_SECRET", "APP_KEY")})
                self.stack.check("--sample", 0, *itertools.chain(*(("--entity", e) for e in ENTITIES)))
        finally:
            self.stack.env = saved

    def stop(self):
        try:
            self.stack.stop()
        finally:
            self.gates.stop()


def lines_of(worker, message):
    return [line for line in log_lines(worker) if line["message"].startswith(message)]


class Outage:
    """One case, from the first message to the last look."""

    def __init__(self, services, kind, phase):
        self.services, self.kind, self.phase = services, kind, phase
        self.title = f"{'+'.join(services)} {kind} {phase}"

    def run(self):
        self.site = Site()
        try:
            self.begin()
            self.pass_hour()
            self.drain()
            self.judge()
        finally:
            self.site.stop()
        return self.told

    def begin(self):
        site = self.site
        if self.phase == "start":
            site.dispatch("full")
            self.strike()
            site.start_worker()
            return
        site.start_worker()
        wait_until("readiness", lambda: site.status_of("/ready") == 200)
        if self.phase == "idle":
            site.dispatch("full")
            self.await_empty()
            self.strike()
            return
        site.stack.admin("/_admin/settings", {"latencyMs": 8000})  # scaled: a list takes long enough to be in the middle of it
        site.dispatch("full")
        wait_until("the work", lambda: max(site.seen(WORK[name]) for name in self.services) > 0)
        self.strike()
        site.stack.admin("/_admin/settings", {"latencyMs": 0})

    def strike(self):
        self.site.stack.count_from_here()
        self.site.shut(self.services, self.kind)
        self.began = time.monotonic()

    def sleep_until(self, share):
        """The one thing that an outage is made of."""
        time.sleep(max(0, self.began + share * HOUR_S - time.monotonic()))

    def pass_hour(self):
        self.sleep_until(0.5)  # by now a token that was had before has ended
        self.watermarks = [self.site.watermarks()]
        self.site.edit()
        self.publishes_later = "pubsub" in self.services and self.kind == "unavailable"  # the dispatcher's Pub/Sub, too
        if not self.publishes_later:
            self.site.dispatch("incremental")
        self.sleep_until(1)
        self.watermarks.append(self.site.watermarks())
        self.lasted = time.monotonic() - self.began
        worker = self.site.worker
        assert worker.poll() is None, f"the worker ended with {worker.returncode}: {tail(worker)}"
        assert self.site.status_of("/health") == 200, "an outage is no reason to be replaced"
        if "pubsub" in self.services and self.kind != "cut" or self.phase == "start" and "bigquery" in self.services:
            assert self.site.status_of("/ready") == 503, "ready without a service that every message needs"
        methods = self.site.stack.requests()["methods"]
        self.requests = {name: sum(n["seen"] for m, n in methods.items() if m.startswith(SERVICES[name][1].split("*")[0])) for name in self.services}
        self.tries = {name: sum(self.site.doors[name].tries.values()) for name in self.services}

    def await_empty(self):
        deadline = time.monotonic() + SOON_S
        while self.site.waiting():
            assert self.site.worker.poll() is None, tail(self.site.worker)
            assert time.monotonic() < deadline, f"{self.title}: messages are left: {self.site.subscriptions()} {tail(self.site.worker, 3000)}"
            time.sleep(0.1)

    def drain(self):
        self.site.open(self.services)
        opened = time.monotonic()
        if self.publishes_later:
            self.site.dispatch("incremental")
        self.await_empty()
        self.drained = time.monotonic() - opened
        wait_until("readiness", lambda: self.site.status_of("/ready") == 200)
        self.site.worker.send_signal(signal.SIGTERM)
        assert self.site.worker.wait(SOON_S) == 0, tail(self.site.worker)

    def judge(self):
        site, worker = self.site, self.site.worker
        subscriptions = site.subscriptions()
        lost = [line for line in log_lines(worker) if line["severity"] in ("ERROR", "FATAL")]
        assert not [line for line in lost if "dead-letter" in line["message"]], lost
        assert sum(s["deadLettered"] for s in subscriptions.values()) == 0, subscriptions
        assert not lines_of(worker, "Task rejected")
        given_back = lines_of(worker, "Task not finished")
        attempts = max([line["deliveryAttempt"] for line in given_back], default=0)
        nacked, expired = (sum(s[what] for s in subscriptions.values()) for what in ("nacked", "expired"))
        assert attempts <= (ATTEMPTS_OF_AN_HOUR if expired == 0 else LAST_ATTEMPT - 1), f"{attempts} delivery attempts"
        bitten = "pubsub" in self.services or given_back or any(lines_of(worker, word) for word in ("API request failed", "The warehouse does not answer", "Circuit breaker opened", "Task deferred"))
        assert bitten, "the outage was not noticed"
        assert nacked <= len(given_back), f"{nacked} nacks for {len(given_back)} verdicts"
        site.check()
        self.judge_watermarks()
        self.told = (f"{self.title}: lasted {self.lasted:.1f} s, drained in {self.drained:.1f} s; attempts {attempts}, nacks {nacked}, "
                     f"leases lost {expired}; requests {self.requests}, connections {self.tries}")

    def judge_watermarks(self):
        self.watermarks.append(self.site.watermarks())
        for before, after in zip(self.watermarks, self.watermarks[1:]):
            assert all(after[key] >= value for key, value in before.items()), (before, after)
        assert len(self.watermarks[-1]) == len(TENANTS) * len(ENTITIES), self.watermarks


class Outages(unittest.TestCase):
    def test_an_hour_without(self):
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            running = [(case, pool.submit(Outage(*case).run)) for case in CASES]
            for case, future in running:
                with self.subTest(case):
                    print(future.result(), flush=True)


if __name__ == "__main__":
    unittest.main()
