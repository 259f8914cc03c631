"""The way of a message through the real binaries: all eight entities, edits, an identical second full sync, restarts."""
import unittest

from stack import ENTITIES, Stack, log_lines

JOBS = 1200
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}


def fingerprint(stack, entity):
    """Changes with any row of the target."""
    sql = f"""SELECT COUNT(*) AS n, COUNT(DISTINCT _run_id) AS runs, MAX(_ingested_at) AS newest,
STRING_AGG(DISTINCT _run_id, ',' ORDER BY _run_id) AS ids FROM `{{p}}.st_raw_v2.raw_{entity}`"""
    return stack.query(sql)[0]


class Sync(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start_local("--jobs", JOBS, "--seed", 5)
        cls.stack.env.update(FAST)

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def dispatch(self, mode, *entities):
        self.stack.ingestor("dispatch", *(entities or ("all",)), "--mode", mode)

    def assert_balanced(self, workers):
        """Rows read = staged + quarantined, one completed line per run, nothing logged as an error."""
        for worker in workers:
            for line in log_lines(worker):
                self.assertNotIn(line["severity"], ("ERROR", "FATAL"), line)
                if line["message"] == "Ingestion completed":
                    self.assertEqual(line["recordsFetched"], line["recordsInserted"] + line["recordsQuarantined"], line)

    def test_1_init_is_safe_to_repeat(self):
        first = self.stack.ingestor("init").stdout
        second = self.stack.ingestor("init").stdout
        self.assertIn("created", first)
        self.assertRegex(second.splitlines()[-1], r"^\d+ objects, 0 created$")
        self.assertNotIn("differs", second)

    def test_2_full_sync_equals_the_source(self):
        self.dispatch("full")
        workers = self.stack.drain(2)
        self.assert_balanced(workers)
        completed = [line for w in workers for line in log_lines(w) if line["message"] == "Ingestion completed"]
        self.assertEqual(sorted(line["entityType"] for line in completed), sorted(ENTITIES))
        report = self.stack.check("--sample", 0)
        self.assertEqual(report.count("equal"), 8, report)

    def test_3_edits_arrive_with_the_next_incremental(self):
        for entity in ENTITIES:
            self.stack.edit(entity, 25, seed=11)
        self.dispatch("incremental")
        self.assert_balanced(self.stack.drain(1))
        self.stack.check("--sample", 0)

    def test_4_a_second_identical_full_sync_changes_no_row(self):
        self.dispatch("full")
        self.stack.drain(1)
        before = {e: fingerprint(self.stack, e) for e in ENTITIES}
        self.dispatch("full")
        workers = self.stack.drain(2)
        self.assertEqual(before, {e: fingerprint(self.stack, e) for e in ENTITIES})
        changed = [line["rowsChanged"] for w in workers for line in log_lines(w) if line["message"] == "Ingestion completed"]
        self.assertEqual(changed, [0] * 8)

    def test_5_status_and_last_sync_tell_it(self):
        status = self.stack.ingestor("status").stdout
        for entity in ENTITIES:
            self.assertRegex(status, rf"{entity}\s+success")
        self.assertIn('"entity_type":"jobs"', self.stack.ingestor("last-sync", "jobs", "--json").stdout)

    def test_6_the_warehouse_survives_a_kill(self):
        self.stack.kill_local()
        self.stack.start_local("--jobs", JOBS, "--seed", 5)
        self.stack.env.update(FAST)
        for entity in ENTITIES:
            self.assertGreater(self.stack.warehouse_count(entity), 0)
        # Pub/Sub's part is gone with the process: init makes it again, and work goes on.
        self.stack.ingestor("init")
        self.dispatch("incremental", "campaigns")
        self.stack.drain(1)


if __name__ == "__main__":
    unittest.main()
