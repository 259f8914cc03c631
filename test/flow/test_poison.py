"""Messages that cannot be tasks, among good ones: each ends where it must, with one line in the log, and nothing else happens."""
import gzip
import json
import re
import time
import unittest

import letters
from stack import Stack, log_lines, wait_until

DONE = None  # odd, but a task
TENANT = 77001
SCALE = 12
ENDS = ("Task rejected; its message is in the dead-letter topic", "Task not finished; its message is given back and comes again",
        "Dead letter not published; its message is given back and comes again", "Task deferred; its message is kept until the source answers again",
        "Ingestion completed", "Task is done already", "Message expanded")
REQUEST_MAX = 10_000_000
WINDOW = {"from": "2025-01-01T00:00:00Z", "to": "2025-01-02T00:00:00Z"}


def task(entity="campaigns", mode="incremental", **more):
    return json.dumps({"entity": entity, "mode": mode, **more}, ensure_ascii=False)


def backfill(**window):
    return task(mode="backfill", **window)


def nested(depth, opening="[", closing="]"):
    return '{"entity":"campaigns","x":' + opening * depth + ("1" if opening == "[" else "") + closing * depth + "}"


# Name: data, what becomes of it, attributes.
KINDS = {
    # not JSON
    "empty": ("", "message_syntax"),
    "blanks": (" \t\r\n ", "message_syntax"),
    "a word": ("jobs", "message_syntax"),
    "cut": ('{"entity":"jobs"', "message_syntax"),
    "cut in a text": ('{"entity":"jo', "message_syntax"),
    "single quotes": ("{'entity':'jobs'}", "message_syntax"),
    "no quotes": ("{entity:jobs}", "message_syntax"),
    "trailing comma": ('{"entity":"jobs",}', "message_syntax"),
    "comment": ('{"entity":"jobs"} // nightly', "message_syntax"),
    "two documents": (task() + task(), "message_syntax"),
    "NaN": ('{"entity":"jobs","tenant":NaN}', "bad_tenant"),
    "a number with a plus": ('{"entity":"jobs","tenant":+1}', "message_syntax"),
    "hexadecimal": ('{"entity":"jobs","tenant":0x10}', "message_syntax"),
    "a form": ("entity=jobs&mode=full", "message_syntax"),
    "XML": ("<task><entity>jobs</entity></task>", "message_syntax"),
    "YAML": ("entity: jobs\nmode: full\n", "message_syntax"),
    "byte order mark": (b"\xef\xbb\xbf" + task().encode(), "message_syntax"),
    "UTF-16": (task().encode("utf-16"), "message_syntax"),
    "Latin-1": ('{"entity":"jöbs"}'.encode("latin-1"), "message_syntax"),
    "overlong UTF-8": (b'{"entity":"j\xc0\xafbs"}', "message_syntax"),
    "a surrogate in UTF-8": (b'{"entity":"\xed\xa0\x80"}', "message_syntax"),
    "NUL behind it": (task().encode() + b"\0", "message_syntax"),
    "NUL inside": (b'{"entity":"jo\0bs"}', "message_syntax"),
    "only NUL": (b"\0" * 64, "message_syntax"),
    "compressed": (gzip.compress(task().encode(), mtime=0), "message_syntax"),
    "every byte": (bytes(range(256)), "message_syntax"),
    "deep lists": (nested(5000), "message_syntax"),
    "deep objects": (nested(5000, '{"x":', "}").replace(':}', ":1}", 1), "message_syntax"),
    "ten megabytes": (task(note="x" * 9_900_000), "message_syntax"),
    "a byte too many": (task(note="x" * (65536 - len(task(note="")) + 1)), "message_syntax"),
    # JSON, but no task
    "null": ("null", "message_syntax"),
    "true": ("true", "message_syntax"),
    "a number": ("42", "message_syntax"),
    "a text": ('"jobs"', "message_syntax"),
    "a list": ("[" + task() + "]", "message_syntax"),
    "an empty object": ("{}", "unknown_entity"),
    "entity is null": ('{"entity":null}', "unknown_entity"),
    "entity is empty": (task(entity=""), "unknown_entity"),
    "entity is a number": ('{"entity":7}', "message_syntax"),
    "entity is a list": ('{"entity":["jobs"]}', "message_syntax"),
    "entity is an object": ('{"entity":{"name":"jobs"}}', "message_syntax"),
    "no entity": ('{"mode":"full"}', "unknown_entity"),
    "unknown entity": (task(entity="leads"), "unknown_entity"),
    "entity in capitals": (task(entity="Campaigns"), "unknown_entity"),
    "entity with a blank": (task(entity="campaigns "), "unknown_entity"),
    "entity from a look-alike alphabet": (task(entity="cаmpaigns"), "unknown_entity"),
    "entity is a path": (task(entity="../../../etc/passwd"), "unknown_entity"),
    "entity with a path": (task(entity="jobs/../campaigns"), "unknown_entity"),
    "entity is a URL": (task(entity="http://127.0.0.1:1/"), "unknown_entity"),
    "entity is SQL": (task(entity="jobs`; DROP TABLE x; --"), "unknown_entity"),
    "entity is a format": (task(entity="%s%s%n%n"), "unknown_entity"),
    "entity with an escaped NUL": ('{"entity":"campaigns\\u0000x"}', "message_syntax"),
    "entity with half a pair": ('{"entity":"\\ud800"}', "unknown_entity"),
    "entity is too long": (task(entity="j" * 5000), "message_syntax"),
    "entity with a line break": (task(entity="jobs\n{\"severity\":\"INFO\"}"), "unknown_entity"),
    "unknown mode": (task(mode="everything"), "unknown_mode"),
    "mode in capitals": (task(mode="FULL"), "unknown_mode"),
    "mode is empty": (task(mode=""), "unknown_mode"),
    "mode is a number": (task(mode=1), "message_syntax"),
    "mode is too long": (task(mode="m" * 300), "message_syntax"),
    "tenant is zero": (task(tenant=0), "bad_tenant"),
    "tenant is negative": (task(tenant=-5), "bad_tenant"),
    "tenant is a fraction": (task(tenant=1.5), "bad_tenant"),
    "tenant is a word": (task(tenant="north"), "bad_tenant"),
    "tenant is a list": (task(tenant=[TENANT]), "bad_tenant"),
    "tenant is true": (task(tenant=True), "bad_tenant"),
    "tenant is too large": (task(tenant=10**30), "unknown_tenant"),
    "tenant is too small": (task(tenant=-10**30), "bad_tenant"),
    "tenant is SQL": (task(tenant="1 OR 1=1"), "bad_tenant"),
    "tenant is not configured": (task(tenant=4711), "unknown_tenant"),
    # windows
    "no window": (backfill(), "bad_window"),
    "half a window": (backfill(**{"from": "2025-01-01T00:00:00Z"}), "bad_window"),
    "reversed window": (backfill(**{"from": "2025-01-02T00:00:00Z", "to": "2025-01-01T00:00:00Z"}), "bad_window"),
    "empty window": (backfill(**{"from": "2025-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}), "bad_window"),
    "a day that is none": (backfill(**{"from": "2025-02-30T00:00:00Z", "to": "2025-03-02T00:00:00Z"}), "bad_window"),
    "a month that is none": (backfill(**{"from": "2025-13-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}), "bad_window"),
    "an hour that is none": (backfill(**{"from": "2025-01-01T25:00:00Z", "to": "2025-01-03T00:00:00Z"}), "bad_window"),
    "yesterday": (backfill(**{"from": "yesterday", "to": "today"}), "bad_window"),
    "Unix seconds": (backfill(**{"from": 1735689600, "to": 1735776000}), "message_syntax"),
    "a window far too large": (backfill(**{"from": "0000-00-00T00:00:00Z", "to": "10000-01-01T00:00:00Z"}), "bad_window"),
    "a window with an incremental": (task(**WINDOW), "bad_window"),
    "a window with a full": (task(mode="full", **WINDOW), "bad_window"),
    # ids
    "task_id is too long": (task(task_id="t" * 4000), "message_syntax"),
    "task_id is a number": (task(task_id=5), "message_syntax"),
    "task_id is an object": (task(task_id={"id": 5}), "message_syntax"),
    "requested_by is a list": (task(requested_by=["me"]), "message_syntax"),
    # attributes
    "a hundred large attributes": ("{", "message_syntax", {f"k{i:02}": "v" * 1024 for i in range(99)}),
    "attributes of an earlier dead letter": ("{", "message_syntax", {
        "error_class": "none", "error_code": "ok", "error_message": "all is well", "run_id": "r", "source_message_id": "1",
        "CloudPubSubDeadLetterSourceDeliveryCount": "-1", "CloudPubSubDeadLetterSourceSubscription": "elsewhere", "first_publish_time": "9999-12-31T00:00:00Z"}),
    "only attributes": ("", "message_syntax", {"entity": "jobs", "mode": "full"}),
    "an attribute with line breaks": ("[", "message_syntax", {"note": 'a\r\nb"\\\x1b[2J'}),
    # odd, but tasks
    "duplicate members": ('{"entity":"leads","entity":"campaigns","mode":"incremental"}', DONE),
    "unknown members": (task(version=99, priority="high", nested={"a": [1, 2, {}]}), DONE),
    "members that are null": ('{"entity":"campaigns","mode":null,"tenant":null,"from":null,"to":null,"task_id":null}', DONE),
    "blanks around": ("\n\t " + task() + " \r\n", DONE),
    "escapes": ('{"\\u0065ntity":"c\\u0061mpaigns"}', DONE),
    "the minimal message": ('{"entity":"campaigns","mode":"incremental"}', DONE),
    "tenant as text": (task(tenant=str(TENANT)), DONE),
    "as large as allowed": (task(note="x" * (65536 - len(task(note="")))), DONE),
    "task_id is SQL": (task(task_id="'); DROP TABLE st_logs_v2.sync_state; --"), DONE),
    "task_id is a path": (task(task_id="../../x/%2e%2e/\\..\\"), DONE),
    "task_id with control characters": (task(task_id="a\nb\x1b[31m\x7f\u2028\u202e"), DONE),
    "task_id is a format": (task(task_id="%n%s%p${jndi:x}"), DONE),
    "the last year": (backfill(**{"from": "9998-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}, task_id="y9999"), DONE),
    "attributes that contradict": (task(), DONE, {"entity": "jobs", "mode": "full", "tenant": "1"}),
    "a task_id of attributes that is too long": (task(), DONE, {"task_id": "t" * 500}),
    "a full sync": (task(mode="full"), DONE),
    "content encoding": (task(), DONE, {"Content-Encoding": "gzip", "content-type": "text/html"}),
}
OWN = ("error_class", "error_code", "error_message", "run_id", "task_id", "source_message_id", "first_publish_time", "CloudPubSubDeadLetterSourceDeliveryCount",
       "CloudPubSubDeadLetterSourceSubscription", "CloudPubSubDeadLetterSourceSubscriptionProject", "CloudPubSubDeadLetterSourceTopicPublishTime")
ORDERED = {"an ordering key": (task(), DONE), "an ordering key on nonsense": ("]", "message_syntax")}



class Poison(unittest.TestCase):
    def setUp(self):
        self.stack = stack = Stack()
        self.addCleanup(stack.stop)
        stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        stack.start_local("--jobs", 20, "--seed", 6, "--tenant", TENANT)
        stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        stack.ingestor("init")

    def publish_among_good_ones(self, kinds):
        """Each with its name in an attribute; a good one before each. Returns how many good ones."""
        messages = []
        for number, (name, (data, _, *more)) in enumerate(kinds.items()):
            messages.append(letters.message(task(task_id=f"good-{number}"), {"kind": "good"}))
            messages.append(letters.message(data, {"kind": name, **(more[0] if more else {})}))
        letters.publish(self.stack, messages)
        return len(kinds)

    def ends(self, worker):
        """The lines that tell the end of a message, and none above INFO may tell anything else."""
        lines = [line for line in log_lines(worker) if not line["message"].startswith("Schema drift")]  # that is of the records
        ends = [line for line in lines if line["message"] in ENDS]
        self.assertEqual([line for line in lines if line["severity"] in ("WARN", "ERROR", "FATAL") and line not in ends], [])
        return ends

    def check_letter(self, letter, code, data, attributes):
        a = letter.attributes
        self.assertEqual(letter.data, data.encode() if isinstance(data, str) else data)
        self.assertEqual((a["error_class"], a["error_code"]), ("permanent", code))
        self.assertTrue(a["error_message"])
        self.assertLessEqual(len(a["error_message"].encode()), 1024)
        self.assertEqual(a["CloudPubSubDeadLetterSourceDeliveryCount"], "1")
        self.assertEqual(a["CloudPubSubDeadLetterSourceSubscription"], "st-ingest-worker")
        self.assertEqual(a["CloudPubSubDeadLetterSourceSubscriptionProject"], self.stack.env["PUBSUB_PROJECT_ID"])
        self.assertRegex(a["CloudPubSubDeadLetterSourceTopicPublishTime"], r"^2\d{3}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$")
        self.assertEqual(a["first_publish_time"], a["CloudPubSubDeadLetterSourceTopicPublishTime"])
        self.assertRegex(a["source_message_id"], r"^\d+$")
        others = {key: value for key, value in attributes.items() if key not in OWN}
        self.assertGreaterEqual(len([key for key in others if a.get(key) == others[key]]), min(len(others), 100 - len(OWN)))

    def test_each_kind_ends_where_it_must(self):
        kinds = dict(KINDS)
        self.assertGreaterEqual(len(kinds) + len(ORDERED), 60)
        good = self.publish_among_good_ones(kinds)
        for name, (data, _) in ORDERED.items():
            letters.publish(self.stack, [letters.message(data, {"kind": name}, ordering_key="k")])
        kinds.update(ORDERED)
        worker = self.stack.drain(1, codes=(1,))[0]
        ends = self.ends(worker)
        rejected = {name for name, (_, code, *_) in kinds.items() if code is not DONE}
        held = {letter.attributes["kind"]: letter for letter in letters.held(self.stack)}
        self.assertEqual(set(held), rejected)
        for name in rejected:
            with self.subTest(name):
                data, code, *more = kinds[name]
                letter = held[name]
                self.check_letter(letter, code, data, more[0] if more else {})
                self.assertNotIn("run_id", letter.attributes, "none was begun")
                lines = [line for line in ends if line.get("messageId") == letter.attributes["source_message_id"]]
                self.assertEqual([(line["severity"], line["message"], line["errorCode"]) for line in lines], [("ERROR", ENDS[0], code)])
        done = [line["taskId"] for line in ends if line["message"] in ENDS[4:]]
        self.assertEqual(len(done), len(set(done)))
        self.assertEqual(len(done), good + len(kinds) - len(rejected))
        self.assertLessEqual({f"good-{number}" for number in range(good)}, set(done))
        self.assertEqual(len(ends), len(done) + len(rejected))
        counts = letters.numbers(self.stack, "st-ingest-worker")
        self.assertEqual((counts["nacked"], counts["expired"], counts["acked"]), (0, 0, len(ends)), counts)
        self.stack.check("--entity", "campaigns", "--sample", 0)
        print(f"{len(kinds)} kinds, {len(rejected)} of them dead letters, {good} good ones", flush=True)

    def test_the_largest_message_there_can_be(self):
        """Little or nothing fits beside its data; it is dead-lettered all the same."""
        topic = f"projects/{self.stack.env['PUBSUB_PROJECT_ID']}/topics/{letters.TOPIC}"
        overhead = len(letters.member(1, topic)) + 2 * len(letters.varint(REQUEST_MAX)) + 2
        for short in (200, 1500):
            with self.subTest(short):
                data = b"x" * (REQUEST_MAX - overhead - short)
                letters.publish(self.stack, [letters.message(data)])
                self.stack.drain(1, codes=(1,))
                letter = letters.held(self.stack)[-1]
                self.assertEqual(letter.data, data)
                self.assertEqual(letter.attributes["error_class"], "permanent")
                self.assertEqual(letter.attributes["error_code"], "message_syntax")

    def test_a_dead_letter_that_cannot_be_published_gives_the_message_back(self):
        refusal = self.stack.fault("pubsub.Publish", "status", code="PERMISSION_DENIED", path="st-dead-letter", count=2)
        letters.publish(self.stack, [letters.message("{", {"kind": "cut"}), letters.message(task(task_id="good"))])
        worker = self.stack.drain(1, codes=(1,))[0]
        self.assertEqual(len(self.stack.fired(refusal)), 2)
        told = [(line["message"], line["deliveryAttempt"]) for line in self.ends(worker) if line.get("deliveryAttempt")]
        self.assertEqual(told, [(ENDS[2], 1), (ENDS[2], 2), (ENDS[0], 3)])
        letter, = letters.held(self.stack)
        self.assertEqual((letter.data, letter.attributes["CloudPubSubDeadLetterSourceDeliveryCount"]), (b"{", "3"))
        self.assertIn("message_syntax", [line.get("reasonCode") for line in self.ends(worker)])

    def test_a_replay_keeps_the_first_publish_time(self):
        letters.publish(self.stack, [letters.message("{", {"kind": "cut"})])
        self.stack.drain(1, codes=(1,))
        first = letters.held(self.stack)[0].attributes
        time.sleep(0.05)
        self.stack.ingestor("dlq", "replay", "--yes")
        self.stack.drain(1, codes=(1,))
        again, = (letter.attributes for letter in letters.held(self.stack))
        self.assertEqual(again["first_publish_time"], first["first_publish_time"])
        self.assertGreater(again["CloudPubSubDeadLetterSourceTopicPublishTime"], first["CloudPubSubDeadLetterSourceTopicPublishTime"])
        self.assertEqual(again["replay_count"], "1")


if __name__ == "__main__":
    unittest.main()
