"""Dead letters for operators: looking leaves no trace, and replays carry the task on. (Killed replays: test_replay.py.)"""
import json
import unittest

from stack import Stack, log_lines


class DeadLetters(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.start_local("--jobs", 60, "--seed", 4)
        self.stack.ingestor("init")

    def dlq(self, *words, **more):
        return self.stack.ingestor("dlq", *words, **more)

    def letters(self, *words):
        return json.loads(self.dlq("list", "--json", *words).stdout)

    def reject(self, *entities, mode="incremental"):
        """Tasks that end in the dead-letter topic: the source denies everything."""
        self.stack.admin("/_admin/faults", {"method": "servicetitan.*", "path": "/tenant/", "kind": "status", "status": 403, "count": 100000})
        for entity in entities:
            self.stack.ingestor("dispatch", entity, "--mode", mode)
        self.stack.drain(1, codes=(1,))
        self.stack.clear_faults()

    def audit(self):
        return self.stack.query("SELECT * FROM `{p}.st_logs_v2.dead_letter_audit` ORDER BY event_time")

    def test_looking_leaves_everything_as_it_was(self):
        self.reject("jobs", "customers", "campaigns", mode="full")
        first = self.letters()
        self.assertEqual(sorted(letter["entity"] for letter in first), ["campaigns", "customers", "jobs"])
        for letter in first:
            self.assertEqual((letter["mode"], letter["lane"], letter["error_code"], letter["replays"]), ("full", "live", "http_403", 0))
            self.assertEqual(letter["attempts"], 1)
        for _ in range(2):
            self.assertEqual(self.letters(), first)
        self.assertIn("http_403", self.dlq("list").stdout)
        shown = json.loads(self.dlq("show", first[0]["message_id"], "--json").stdout)
        self.assertEqual(json.loads(shown["data"])["entity"], first[0]["entity"])
        self.assertEqual(shown["attributes"]["CloudPubSubDeadLetterSourceDeliveryCount"], "1")
        self.assertIn("3 dead letters", self.dlq("stats").stdout)
        self.assertEqual([group["letters"] for group in json.loads(self.dlq("stats", "--json").stdout)], [1, 1, 1])
        gone = self.dlq("show", "999999", check=False)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("1 of 1 dead letters are not there", gone.stderr)
        self.assertEqual(self.letters(), first)
        self.assertEqual(self.audit(), [])

    def test_filters_reach_the_letters(self):
        self.reject("jobs", "customers", mode="full")
        cases = {("--entity", "jobs"): 1, ("--mode", "incremental"): 0, ("--until", "2100-01-01", "--limit", "1"): 1}
        for words, count in cases.items():
            self.assertEqual(len(self.letters(*words)), count, words)

    def test_a_replay_is_the_same_task_and_is_audited(self):
        self.reject("customers", mode="full")
        letter = self.letters()[0]
        preview = self.dlq("replay")
        self.assertIn("Nothing was done", preview.stderr)
        self.assertEqual(self.letters(), [letter])
        gone = self.dlq("replay", "999999", "--yes", check=False)
        self.assertEqual((gone.returncode, gone.stdout), (1, "(no dead letters that fit)\n"))
        self.assertIn("1 of 1 dead letters are not there", gone.stderr)
        done = self.dlq("replay", letter["message_id"], "--yes")
        self.assertIn("1 dead letters replayed", done.stdout)
        self.assertEqual(self.letters(), [])
        worker = self.stack.drain(1)[0]
        completed = [line for line in log_lines(worker) if line["message"] == "Ingestion completed"]
        rows = self.stack.query("SELECT task_id, status FROM `{p}.st_logs_v2.ingestion_logs` ORDER BY start_time")
        self.assertEqual([row["status"] for row in rows], ["failed", "success"])
        self.assertEqual(len({row["task_id"] for row in rows}), 1)
        self.assertEqual(completed[0]["taskId"], rows[0]["task_id"])
        audit = self.audit()
        self.assertEqual([(a["action"], a["message_id"], a["entity_type"], a["mode"], a["error_code"]) for a in audit],
                         [("replayed", letter["message_id"], "customers", "full", "http_403")])
        self.assertTrue(audit[0]["new_message_id"])
        self.assertIn(" on ", audit[0]["actor"])

    def test_the_fourth_replay_needs_force(self):
        self.reject("jobs")
        for turn in range(3):
            self.assertEqual(self.letters()[0]["replays"], turn)
            self.stack.admin("/_admin/faults", {"method": "servicetitan.*", "path": "/tenant/", "kind": "status", "status": 403, "count": 100000})
            self.dlq("replay", "--yes")
            self.stack.drain(1, codes=(1,))
            self.stack.clear_faults()
        self.assertEqual(self.letters()[0]["replays"], 3)
        refused = self.dlq("replay", "--yes", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("--force", refused.stderr)
        self.assertEqual(len(self.letters()), 1)
        self.dlq("replay", "--yes", "--force")
        self.stack.drain(1)
        self.assertEqual(self.letters(), [])

    def test_a_discard_is_for_good_and_says_so(self):
        self.reject("jobs", "customers")
        refused = self.dlq("discard", "--yes", check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("every dead letter", refused.stderr)
        self.dlq("discard", "--entity", "jobs", "--yes")
        self.assertEqual([letter["entity"] for letter in self.letters()], ["customers"])
        self.assertEqual([a["action"] for a in self.audit()], ["discarded"])
        self.stack.drain(1)
        self.assertEqual(len(self.letters()), 1)

    def test_wrong_use(self):
        for words, says in ((["look"], "say what to do"), ([], "say what to do"), (["show"], "needs a message id"), (["list", "7"], "unexpected argument"),
                            (["list", "--yes"], "takes no --yes"), (["replay", "--yes", "--dry-run"], "opposites"), (["list", "--since", "soon"], '"soon"'),
                            (["list", "--mode", "fast"], '"fast"'), (["list", "--error-class", "final"], '"final"'), (["list", "--entity", "leads"], "leads"), (["replay", "--rate", "0"], "1 to 1000")):
            done = self.dlq(*words, check=False)
            self.assertEqual(done.returncode, 2, (words, done.stderr))
            self.assertIn(says, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
