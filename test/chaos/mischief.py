"""What goes wrong in a run of chaos, drawn from one seeded generator: each draw takes the same numbers, whatever the workers do meanwhile."""
import heapq
import signal
import time

# Faults of the bench: method and rule. Only such as a service has in a bad hour: none of them is a reason to give a task up.
FAULTS = [
    ("servicetitan.*", {"kind": "status", "status": 503}),
    ("servicetitan.list.*", {"kind": "status", "status": 429, "retryAfter": 5}),
    ("servicetitan.list.*", {"kind": "status", "status": 502, "body": "html"}),
    ("servicetitan.*", {"kind": "cut_before"}),
    ("servicetitan.list.*", {"kind": "cut_after"}),
    ("servicetitan.list.*", {"kind": "silence"}),
    ("servicetitan.list.*", {"kind": "garbage"}),
    ("servicetitan.list.*", {"kind": "truncate"}),
    ("servicetitan.list.*", {"kind": "delay", "delayMs": 20000}),
    ("servicetitan.list.*", {"kind": "duplicate_rows", "rows": 2}),
    ("servicetitan.list.*", {"kind": "expire_token"}),
    ("bigquery.*", {"kind": "status", "status": 503}),
    ("bigquery.jobs.insert", {"kind": "status", "status": 503, "after": True}),
    ("bigquery.jobs.insert", {"kind": "cut_before"}),
    ("bigquery.jobs.insert", {"kind": "cut_after"}),
    ("bigquery.jobs.insert", {"kind": "silence", "after": True}),
    ("bigquery.jobs.insert", {"kind": "delay", "delayMs": 30000, "after": True}),
    ("bigquery.jobs.get", {"kind": "cut_before"}),
    ("bigquery.jobs.get", {"kind": "garbage"}),
    ("bigquery.*", {"kind": "silence"}),
    ("bigquery.job.run", {"kind": "delay", "delayMs": 40000, "on": "point"}),
    ("write.AppendRows", {"kind": "status", "code": "UNAVAILABLE"}),
    ("write.AppendRows", {"kind": "status", "code": "INTERNAL", "after": True}),
    ("write.AppendRows", {"kind": "cut_before"}),
    ("write.AppendRows", {"kind": "cut_after"}),
    ("write.AppendRows", {"kind": "silence", "after": True}),
    ("write.AppendRows", {"kind": "duplicate"}),
    ("pubsub.Publish", {"kind": "status", "code": "UNAVAILABLE"}),
    ("pubsub.Publish", {"kind": "cut_before"}),
    ("pubsub.Publish", {"kind": "cut_after"}),
    ("pubsub.Acknowledge", {"kind": "status", "code": "UNAVAILABLE"}),
    ("pubsub.Acknowledge", {"kind": "ignore"}),
    ("pubsub.Acknowledge", {"kind": "cut_after"}),
    ("pubsub.ModifyAckDeadline", {"kind": "status", "code": "UNAVAILABLE"}),
    ("pubsub.ModifyAckDeadline", {"kind": "ignore"}),
    ("pubsub.StreamingPull", {"kind": "cut_before", "on": "response"}),
    ("pubsub.StreamingPull", {"kind": "silence", "on": "response"}),
    ("pubsub.StreamingPull", {"kind": "garbage", "on": "response"}),
    ("write.AppendRows", {"kind": "garbage", "on": "response"}),
    ("pubsub.delivery", {"kind": "duplicate", "delayMs": 5000, "on": "point"}),
]
ONCE = ("expire_token",)  # a second 401 for a fresh token would be a reason
HAZARDS = {"youngTableMs": (0, 20000), "jobsHiddenLooks": (0, 3), "appendIdleMs": (5000, 600000)}
WEIGHTS = {"kill": 4, "term": 3, "stop": 3, "cut": 4, "fault": 8, "streams": 1, "hazard": 1, "latency": 1}
LEASE_S = 60


class Mischief:
    """Called from one thread: tick() as often as one likes. `fleet` starts again what ends."""

    def __init__(self, rng, stack, network, fleet, scale, gap_s, say):
        self.rng, self.stack, self.network, self.fleet = rng, stack, network, fleet
        self.scale, self.gap_s, self.say = scale, gap_s, say
        self.counts = dict.fromkeys((*WEIGHTS, "skipped"), 0)
        self.next_at = time.monotonic() + 1
        self.later = []  # (when, serial, what to do)
        self.serial = 0

    def after(self, seconds, act):
        self.serial += 1
        heapq.heappush(self.later, (time.monotonic() + seconds, self.serial, act))

    def run_due(self):
        while self.later and self.later[0][0] <= time.monotonic():
            heapq.heappop(self.later)[2]()

    def tick(self):
        self.run_due()
        if time.monotonic() < self.next_at:
            return
        self.next_at = time.monotonic() + self.rng.uniform(*self.gap_s)
        what = self.rng.choices(list(WEIGHTS), WEIGHTS.values())[0]
        told = getattr(self, what)()
        self.counts[what if told else "skipped"] += 1
        self.say(f"{what}: {told}" if told else f"{what}: left out, the worker has enough of it already")

    def calm(self):
        """All that is wrong is put right; what is under way ends by itself."""
        while self.later:
            heapq.heappop(self.later)[2]()
        for name in self.network.relays:
            self.network.heal(name)
        self.stack.clear_faults()
        self.stack.bench("hazards", method="DELETE")
        self.stack.admin("/_admin/settings", {"latencyMs": 0})

    # ---- one kind each: draws first, then acts; what it returns is for the log ----
    def a_worker(self):
        return self.fleet.at(self.rng.randrange(self.fleet.size))

    def kill(self):
        worker = self.a_worker()
        if worker.poll() is not None or worker.ending:
            return None
        worker.ending = "killed"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        return worker.log.stem

    def term(self):
        worker = self.a_worker()
        if worker.poll() is not None or worker.ending:
            return None
        worker.ending, worker.term_at = "asked", time.monotonic()
        worker.send_signal(signal.SIGCONT)
        worker.send_signal(signal.SIGTERM)
        return worker.log.stem

    def stop(self):
        worker, seconds = self.a_worker(), self.rng.uniform(0.2, 2 * LEASE_S / self.scale)
        if worker.poll() is not None or worker.ending:
            return None
        worker.send_signal(signal.SIGSTOP)
        self.after(seconds, lambda: worker.poll() is None and worker.send_signal(signal.SIGCONT))
        return f"{worker.log.stem} for {seconds:.1f} s"

    def cut(self):
        name, how = self.rng.choice(list(self.network.relays)), self.rng.choice(("cut", "refuse", "freeze"))
        seconds = self.rng.uniform(0.2, 2.5)
        getattr(self.network, how)(name)
        if how == "cut":
            return f"connections to {name} reset"
        self.after(seconds, lambda: self.network.heal(name))
        return f"{name} {'refuses' if how == 'refuse' else 'is frozen'} for {seconds:.1f} s"

    def fault(self):
        (method, rule), count, skip = self.rng.choice(FAULTS), self.rng.randint(1, 3), self.rng.randint(0, 4)
        count = 1 if rule["kind"] in ONCE else count
        self.stack.fault(method, count=count, skip=skip, **rule)
        return f"{method} {rule} x {count}"

    def streams(self):
        act = self.rng.choice(("close", "silence"))
        method = self.rng.choice(("pubsub.StreamingPull", "write.AppendRows"))
        return f"{self.stack.bench('streams', {'method': method, 'act': act})['streams']} of {method}: {act}"

    def hazard(self):
        name, values = self.rng.choice(list(HAZARDS.items()))
        value = self.rng.randint(*values)
        self.stack.hazards(**{name: value})
        return f"{name} {value}"

    def latency(self):
        milliseconds = self.rng.choice((0, 500, 2000, 10000))
        self.stack.admin("/_admin/settings", {"latencyMs": milliseconds})
        return f"{milliseconds} ms"
