"""What goes on meanwhile: messages are published, records edited, watermarks watched, each by a thread with a generator of its own. Standard library only."""
import json
import random
import threading
import time

import letters
from stack import ENTITIES, StackError

BACKLOG_MAX = 60  # no more is published while so many messages wait
POISON = [
    b"", b"{", b"null", b"[]", b'"jobs"', b"\xff\xfe\x00", b"[" * 5000, b'{"entity":"job"}', b'{"entity":"jobs","mode":"fulll"}',
    b'{"entity":"jobs","tenant":999}', b'{"entity":"jobs","tenant":-1}', b'{"entity":"jobs","from":"2024-01-01T00:00:00Z"}',
    b'{"entity":"jobs","mode":"backfill"}', b'{"entity":"jobs","mode":"backfill","from":"yesterday","to":"2024-01-01T00:00:00Z"}',
    b'{"entity":"jobs","mode":"backfill","from":"2024-02-01T00:00:00Z","to":"2024-01-01T00:00:00Z"}', b'{"mode":"full"}',
]
KINDS = {"incremental": 10, "everything": 2, "full": 2, "backfill": 3, "twin": 3, "poison": 1}
EDITS = ["create", "edit", "edit", "edit", "deactivate", "reactivate", "merge"]


class Repeating(threading.Thread):
    """Calls step() until it is told to stop. What step() raises ends the run: `failed` says it."""

    def __init__(self, rng, pause_s):
        super().__init__(daemon=True)
        self.rng, self.pause_s = rng, pause_s
        self.over = threading.Event()
        self.failed = None

    def run(self):
        try:
            while not self.over.wait(self.rng.uniform(*self.pause_s)):
                self.step()
        except Exception as error:  # noqa: BLE001 - told by the main thread
            self.failed = f"{type(self).__name__}: {error!r}"

    def end(self):
        self.over.set()
        self.join(60)


class Dispatcher(Repeating):
    """Keeps messages coming. `sent`: {serial: what was sent}, where message ids are known; each carries its serial as an attribute."""

    def __init__(self, seed, stack, tenants):
        super().__init__(random.Random(f"{seed}/messages"), (0.1, 0.9))
        self.stack, self.tenants = stack, tenants
        self.sent = {}
        self.lock = threading.Lock()

    def backlog(self):
        stats = self.stack.pubsub_stats()
        return sum(s["ready"] + s["leased"] + s["delayed"] for s in stats if not s["name"].endswith("-operator"))

    def step(self):
        kind = self.rng.choices(list(KINDS), KINDS.values())[0]
        tasks = [getattr(self, kind)() for _ in range(self.rng.randint(1, 3) if kind == "incremental" else 1)]
        if self.backlog() < BACKLOG_MAX:
            for topic, task in tasks:
                self.send(topic, task, poison=kind == "poison")

    def send(self, topic, task, poison=False):
        """Past the network that is cut: what is tried here is what becomes of messages, not how they come."""
        data = task if poison else json.dumps(task).encode()
        with self.lock:
            serial = str(len(self.sent) + 1)
            self.sent[serial] = {"task": None if poison else task, "data": data, "topic": topic, "poison": poison, "ids": []}
        self.sent[serial]["ids"] += letters.publish(self.stack, [letters.message(data, {"chaos": serial})], topic)

    def named(self, task):
        """Half of the tasks have an id of their own, as those of people and programs do; Cloud Scheduler's have none."""
        number = self.rng.getrandbits(48)
        return dict(task, task_id=f"t-{number:012x}") if number & 1 else task

    def incremental(self):
        task = {"entity": self.rng.choice(ENTITIES), "mode": "incremental", "tenant": self.rng.choice(self.tenants)}
        return "st-ingest", self.named(task)

    def everything(self):
        whole = self.rng.random() < 0.5
        return "st-ingest", self.named({"entity": "all" if whole else self.rng.choice(ENTITIES), "mode": "incremental"})

    def full(self):
        return "st-ingest", self.named({"entity": self.rng.choice(ENTITIES), "mode": "full", "tenant": self.rng.choice(self.tenants)})

    def backfill(self):
        year, month = self.rng.randint(2021, 2025), self.rng.randint(1, 12)
        window = {"from": f"{year}-{month:02}-01T00:00:00Z", "to": f"{year + 1}-{month:02}-01T00:00:00Z"}
        return "st-backfill", self.named({"entity": self.rng.choice(ENTITIES), "mode": "backfill", "tenant": self.rng.choice(self.tenants), **window})

    def twin(self):
        """The same task again, under a new message."""
        number = self.rng.random()
        with self.lock:
            recent = [message for message in list(self.sent.values())[-12:] if not message["poison"]]
        if not recent:
            return self.incremental()
        again = recent[int(number * len(recent))]
        return again["topic"], again["task"]

    def poison(self):
        return self.rng.choice(("st-ingest", "st-backfill")), self.rng.choice(POISON)

    def all_at_once(self, mode):
        """Each entity of each tenant, as messages of their own."""
        for tenant in self.tenants:
            for entity in ENTITIES:
                self.send("st-ingest", {"entity": entity, "mode": mode, "tenant": tenant, "task_id": f"{mode}-{entity}-{tenant}"})


class Editor(Repeating):
    """Keeps creating and editing records of any age."""

    def __init__(self, seed, stack, tenants):
        super().__init__(random.Random(f"{seed}/edits"), (0.05, 0.5))
        self.stack, self.tenants = stack, tenants
        self.count = 0

    def step(self):
        body = {"tenant": self.rng.choice(self.tenants), "entity": self.rng.choice([*ENTITIES, "all"]), "kinds": [self.rng.choice(EDITS)],
                "count": self.rng.choice((1, 1, 2, 5, 20)), "seed": self.rng.getrandbits(30), "sameInstant": self.rng.random() < 0.2}
        if body["entity"] != "all" and body["kinds"][0] not in ("create", "edit"):
            body["entity"] = "all"  # leaves out those entities that have no such edit
        self.count += sum(self.stack.admin("/_admin/edits", body)["applied"].values())


class Watcher(Repeating):
    """Looks at the watermarks as the programs do, and remembers when one is older than it was."""

    SQL = "SELECT tenant_id, entity_type, last_sync_time FROM `{p}.st_logs_v2.sync_state`"

    def __init__(self, stack):
        super().__init__(random.Random(0), (0.5, 1.0))
        self.stack = stack
        self.latest = {}
        self.looks = 0
        self.moved_back = []

    def step(self):
        try:
            rows = self.stack.query(self.SQL)
        except (StackError, OSError, ValueError, KeyError):
            return  # the faults strike this query, too
        self.looks += 1
        seen = {(row["tenant_id"], row["entity_type"]): int(row["last_sync_time"]) for row in rows}
        for key, before in self.latest.items():
            if seen.get(key, 0) < before:
                self.moved_back.append(f"watermark of {key} was {before} and is {seen.get(key)}")
        self.latest.update(seen)
