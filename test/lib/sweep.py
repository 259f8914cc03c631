"""A sweep: a reference run's requests are counted, then the run is repeated with each of them failing, its answer lost, its worker killed.

A point is a method (of appends, with the table) and an ordinal: the n-th request of this method since the worker's start. Requests of
several threads interleave differently from run to run; the n-th of one method stays the same step. An *effect* is what st-local marks as
one, a request that changes a server's state: appends, jobs, acks and lease extensions. Each effect is struck in three ways (ACTS); reads
and token requests have no effect that could be lost, so they only fail. The publication of the message is the dispatcher's, not the run's.
Polls, lease extensions and appends (what is ready goes together) come as often as time tells: of appends the lowest number of the
references is swept, of polls as many as there are jobs, of extensions the first, which is sent at once. Pings only keep streams open; a
ping that fails is a stream that ends, and streams are swept.

Nothing is set back between two repetitions: each edits the source anew, and each must leave the warehouse equal to it. Standard library only."""
import fnmatch
import json
import math
import os
import signal
import time
import unittest

import logcheck
from stack import ENTITIES, Stack, StackError, tail, wait_until
from stack import http as call

SCALE = 60
REFERENCES = 3
TRIES = 5
PAGE_SHARE = 1.7  # of the records of a window of equal size: an overfull window is cut into two
OVERLAP_S = 300
CLOCK_GRAIN_S = 2
LANES = ("st-ingest-worker", "st-backfill-worker")
DEAD_LETTERS = "st-dead-letter-operator"
APPEND = "write.AppendRows"
LOG_TABLES = ("ingestion_log_events", "sync_state_events", "staged_run_events", "target_change_events", "checkpoint_events", "schema_drift", "quarantine")
TIMED = ("bigquery.jobs.get", "pubsub.ModifyAckDeadline", APPEND)
LEFT_OUT = ("pubsub.StreamingPull.ping",)
GRPC = ("pubsub.", "write.")
ACTS = ("before", "after", "kill")
LONG = bool(os.environ.get("SWEEP_LONG"))
ONLY = os.environ.get("SWEEP_ONLY", "*")
VERBOSE = LONG or bool(os.environ.get("SWEEP_VERBOSE"))


class SweepError(AssertionError):
    pass


def refusal(method):
    return {"kind": "status", "code": "UNAVAILABLE"} if method.startswith(GRPC) else {"kind": "status", "status": 503}


def rules(method, act):
    """The kinds of failure of an act: a refusal, a cut connection."""
    if act == "after":
        return [{**refusal(method), "after": True}, {"kind": "cut_after"}]
    return [refusal(method), {"kind": "cut_before"}]


def which(method):
    """A point's method, and the table of an append."""
    name, _, table = method.partition(" ")
    return {"method": name, **({"path": table} if table else {})}


class Sweep:
    """One entity in one mode on servers of its own. every_kind: both kinds of failure at every point, else in turns."""

    def __init__(self, entity, mode, kinds, windows=1, jobs=50, every_kind=False):
        self.entity, self.mode, self.kinds, self.every_kind, self.windows = entity, mode, kinds, every_kind, windows
        self.stack = Stack()
        self.stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        self.started = time.monotonic()
        self.stack.start_local("--jobs", jobs, "--seed", 3)
        self.stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        self.stack.ingestor("init")
        self.edits = 0
        self.struck = []

    def now(self):
        """Seconds on the scaled clock, which programs and servers share."""
        base = int(self.stack.env["ST_CLOCK_BASE"])
        return base + (time.time() - base) * SCALE

    # ---- one repetition ----
    def waiting(self, lanes=LANES):
        stats = call(f"{self.stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")["subscriptions"]
        return sum(s["ready"] + s["leased"] + s["delayed"] for s in stats if s["name"].rsplit("/", 1)[1] in lanes)

    def dispatch(self, mode=None):
        """The source is edited and the run asked for; nothing but the worker's requests is counted from here."""
        self.edits += 1
        self.stack.edit(self.entity, 2 * len(self.kinds), self.kinds, seed=self.edits)
        self.began, self.killed = self.now(), False
        self.task = json.loads(self.stack.ingestor("dispatch", self.entity, "--mode", mode or self.mode, "--json").stdout)[0]["taskId"]
        self.stack.clear_faults()
        self.stack.count_from_here()

    def worker(self):
        return self.stack.start("worker", "st-ingestor", "worker")

    def finish(self, worker):
        """Until no message waits any more."""
        def done():
            if worker.poll() is not None:
                raise SweepError(f"the worker ended by itself: {tail(worker)}")
            return self.waiting() == 0
        wait_until("an empty subscription", done)
        counted = self.stack.requests()["methods"]
        self.end(worker, signal.SIGTERM)
        if worker.returncode:
            raise SweepError(f"the worker ended with {worker.returncode}: {tail(worker)}")
        return counted

    def end(self, worker, how):
        worker.send_signal(how)
        worker.wait(60)
        self.stack.processes.remove(worker)
        logcheck.check_process(worker)

    # ---- what must be true afterwards ----
    def check(self):
        if self.waiting((DEAD_LETTERS,)):
            raise SweepError("a message became a dead letter")
        self.check_table()
        self.check_watermark()
        self.check_runs()

    def check_table(self):
        """Keys and values are the source's, one row per key."""
        self.stack.check("--entity", self.entity, "--sample", 0)
        rows = self.stack.query(f"SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `{{p}}.st_raw_v2.raw_{self.entity}`")[0]
        if rows["n"] != rows["ids"]:
            raise SweepError(f"{rows['n']} rows of {rows['ids']} keys")

    def watermark_s(self):
        rows = self.stack.query(f"SELECT last_sync_time AS w FROM `{{p}}.st_logs_v2.sync_state` WHERE entity_type = '{self.entity}'")
        if len(rows) != 1:
            raise SweepError(f"{len(rows)} watermarks")
        return int(rows[0]["w"]) / 1e6

    def check_watermark(self):
        """It is the frame of one of this task's attempts, less the overlap; and no later event lies before an earlier one."""
        events = self.stack.query(f"SELECT last_sync_time AS w FROM `{{p}}.st_logs_v2.sync_state_events` WHERE entity_type = '{self.entity}' ORDER BY event_time")
        marks = [int(e["w"]) / 1e6 for e in events]
        if marks != sorted(marks) or self.watermark_s() != marks[-1]:
            raise SweepError(f"the watermark moved back: {self.watermark_s()} after {marks[-3:]}")
        low, high = self.began - OVERLAP_S - CLOCK_GRAIN_S, self.now() - OVERLAP_S
        if not low <= marks[-1] <= high:
            raise SweepError(f"the watermark {marks[-1]} is not within {low} and {high}")

    def check_runs(self):
        """The task has succeeded; only a run whose worker was killed has no end."""
        runs = self.stack.query(f"SELECT status FROM `{{p}}.st_logs_v2.ingestion_logs` WHERE task_id = '{self.task}' ORDER BY start_time")
        statuses = [r["status"] for r in runs]
        if "success" not in statuses or statuses.count("running") > self.killed:
            raise SweepError(f"the runs of the task: {runs}")

    def check_windows(self):
        run = f"SELECT run_id FROM `{{p}}.st_logs_v2.ingestion_logs` WHERE task_id = '{self.task}'"
        fetches = self.stack.query(f"SELECT COUNT(DISTINCT _fetch_id) AS n FROM `{{p}}.st_stage_v2.stage_{self.entity}` WHERE _run_id = '{self.stack.query(run)[0]['run_id']}'")
        if fetches[0]["n"] != str(self.windows):
            raise SweepError(f"the reference had {fetches[0]['n']} windows, not {self.windows}")

    # ---- the reference ----
    def undisturbed(self, mode=None):
        """How often each method came; appends are told apart by their table."""
        self.dispatch(mode)
        at = {f"{APPEND} {table}": self.stack.fault(APPEND, "delay", path=table, delayMs=0, count=1000) for table in [f"stage_{self.entity}", *LOG_TABLES]}
        counts = self.finish(self.worker())
        fired = [f["id"] for f in self.stack.fired()]
        appends = {name: {"seen": fired.count(rule), "effects": fired.count(rule)} for name, rule in at.items() if rule in fired}
        if sum(a["seen"] for a in appends.values()) != counts.pop(APPEND)["seen"]:
            raise SweepError(f"appends to a table that is not named in LOG_TABLES: {appends}")
        self.check()
        return {**counts, **appends}

    def reference(self):
        """[(method, ordinal, effect)] of an undisturbed run; steps that time does not tell must come equally often each time."""
        if self.windows > 1:
            self.stack.env["ST_PAGE_SIZE"] = str(math.ceil(self.stack.source_count(self.entity) * PAGE_SHARE / self.windows))
        self.undisturbed("full")
        counts = [self.undisturbed() for _ in range(REFERENCES)]
        self.check_windows()
        points = []
        for method in sorted(set().union(*counts)):
            seen = [c.get(method, {}).get("seen", 0) for c in counts]
            if method in LEFT_OUT or not fnmatch.fnmatch(method, ONLY):
                continue
            if not method.startswith(TIMED) and len(set(seen)) != 1:
                raise SweepError(f"{method} came {seen} times in equal runs")
            effect = any(c.get(method, {}).get("effects", 0) for c in counts)
            points += [(method, n, effect) for n in range(1, self.bound(method, min(seen), counts) + 1)]
        return points

    @staticmethod
    def bound(method, lowest, counts):
        """The ordinals that every run has; what comes after them repeats a question, or an extension."""
        if method == "bigquery.jobs.get":
            return min(lowest, counts[0]["bigquery.jobs.insert"]["seen"])
        return min(lowest, 1) if method == "pubsub.ModifyAckDeadline" else lowest

    # ---- the points ----
    def fail(self, method, nth, rule):
        self.dispatch()
        armed = self.stack.fault(skip=nth - 1, **which(method), **rule)
        self.finish(self.worker())
        hit = len(self.stack.fired(armed)) == 1
        self.stack.clear_faults()
        return hit

    def kill(self, method, nth, _):
        """The effect has happened, the worker never hears of it; a fresh one finishes where anything is left. A watermark that has moved by then
        has its data in the table: what the fresh worker does would hide that."""
        self.dispatch()
        self.stack.hold(nth=nth, where="after", **which(method))
        worker = self.worker()
        reached = wait_until("the request to hold, or the end", lambda: self.stack.bench("hold")["arrived"] or (self.waiting() == 0 and "end"))
        self.end(worker, signal.SIGKILL)
        self.killed = True
        self.stack.release_hold(cut=True)
        if self.watermark_s() >= self.began - OVERLAP_S - CLOCK_GRAIN_S:
            self.check_table()
        if self.waiting():
            self.finish(self.worker())
        return reached is True

    def strike(self, number, point, act):
        """One point in one way, once or with each kind; a timed request that did not come this time is waited for again."""
        method, nth, _ = point
        choices = [None] if act == "kill" else rules(method, act) if self.every_kind else [rules(method, act)[number % 2]]
        for rule in choices:
            for _ in range(TRIES):
                hit = (self.kill if act == "kill" else self.fail)(method, nth, rule)
                self.check()
                if hit:
                    break
            else:
                raise SweepError(f"it never came in {TRIES} runs")
            self.struck.append((method, nth, act))

    def run(self):
        """All points; raises with the list of those that failed. Returns what was swept, in words."""
        points, broken = self.reference(), []
        for number, point in enumerate(points):
            for act in ACTS if point[2] else ACTS[:1]:
                if VERBOSE:
                    print(f"{time.monotonic() - self.started:.1f} {point[0]} #{point[1]} {act}", flush=True)
                try:
                    self.strike(number, point, act)
                except (AssertionError, StackError, logcheck.LogError) as error:
                    broken.append(f"{point[0]} #{point[1]} {act}: {str(error)[-1500:]}")
                    self.recover()
        effects = sum(effect for _, _, effect in points)
        told = f"{self.entity} {self.mode}: swept {effects} effects x {len(ACTS)} and {len(points) - effects} reads in {time.monotonic() - self.started:.0f} s"
        if broken:
            raise SweepError("\n".join([told, f"{len(broken)} broken:", *broken, "the reference:", *(f"  {m} #{n}" for m, n, _ in points)]))
        if set(self.struck) != {(m, n, act) for m, n, effect in points for act in (ACTS if effect else ACTS[:1])}:
            raise SweepError("a point of the reference was left out")
        return told

    def recover(self):
        """After a failure: what it left is ended, and an undisturbed run takes it up, so that the next point stands alone."""
        self.stack.clear_faults()
        self.stack.release_hold()
        try:
            for process in [p for p in self.stack.processes if p is not self.stack.local]:
                self.end(process, signal.SIGKILL)
            self.undisturbed()
        except (AssertionError, StackError, logcheck.LogError):
            pass


def sweep_case(mode, kinds, windows=1):
    """The test of one mode. SWEEP_LONG=1: all entities, every kind of failure at every point, one window more."""
    class Case(unittest.TestCase):
        def test_every_point(self):
            for entity in ENTITIES if LONG else ["campaigns"]:
                with self.subTest(entity):
                    sweep = Sweep(entity, mode, kinds, windows + 1 if LONG and windows > 1 else windows, every_kind=LONG)
                    try:
                        print(sweep.run(), flush=True)
                    finally:
                        sweep.stack.stop()

    return Case
