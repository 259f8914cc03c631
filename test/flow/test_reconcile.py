"""reconcile: equal where nothing differs, every seeded discrepancy found, what changes meanwhile left alone, repairs."""
import concurrent.futures
import json
import random
import unittest

from stack import Stack, log_lines

JOBS = 800
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120", "ST_PAGE_SIZE": "50"}


class Reconcile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start_local("--jobs", JOBS, "--seed", 3)
        cls.stack.env.update(FAST)
        cls.stack.ingestor("init")
        cls.stack.ingestor("dispatch", "all", "--mode", "full")
        cls.stack.drain(1)

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def reconcile(self, *words, code=0):
        done = self.stack.ingestor("reconcile", *words, "--json", check=False)
        self.assertEqual(done.returncode, code, done.stdout[-1500:] + done.stderr[-1500:])
        return json.loads(done.stdout)

    def jobs(self, *words, code=0):
        return self.reconcile("jobs", *words, code=code)["comparisons"][0]

    def damage(self, missing=0, extra=0, stale=0, value=0, seed=1):
        """Spoils rows of the warehouse; returns {kind: ids}."""
        rows = [int(r["id"]) for r in self.stack.query("SELECT id FROM `{p}.st_raw_v2.raw_jobs` WHERE _deleted_at IS NULL ORDER BY id")]
        chosen = random.Random(seed).sample(rows, missing + extra + stale + value)
        cut = lambda n: [chosen.pop() for _ in range(n)]
        done = {"missing": cut(missing), "stale": cut(stale), "value": cut(value), "extra": []}
        listed = lambda ids: ",".join(map(str, ids)) or "0"
        self.stack.query(f"DELETE FROM `{{p}}.st_raw_v2.raw_jobs` WHERE id IN ({listed(done['missing'])})")
        self.stack.query(f"UPDATE `{{p}}.st_raw_v2.raw_jobs` SET modifiedOn = TIMESTAMP_SUB(modifiedOn, INTERVAL 400 DAY) WHERE id IN ({listed(done['stale'])})")
        self.stack.query(f"UPDATE `{{p}}.st_raw_v2.raw_jobs` SET total = COALESCE(total, 0) + NUMERIC '0.01' WHERE id IN ({listed(done['value'])})")
        for n, like in enumerate(cut(extra)):
            done["extra"].append(900000000 + seed * 1000 + n)
            self.stack.query("INSERT INTO `{p}.st_raw_v2.raw_jobs` (id, createdOn, modifiedOn, _tenant_id, _run_id, _ingested_at, _ingestion_source, _row_hash, _fetched_at) "
                             f"SELECT {done['extra'][-1]}, createdOn, modifiedOn, _tenant_id, _run_id, _ingested_at, _ingestion_source, _row_hash, _fetched_at "
                             f"FROM `{{p}}.st_raw_v2.raw_jobs` WHERE id = {like}")
        return {kind: sorted(ids) for kind, ids in done.items()}

    def found(self, comparison):
        return {kind: sorted(d["id"] for d in comparison["differences"] if d["kind"] == kind) for kind in ("missing", "extra", "stale", "value")}

    def mend(self):
        """The warehouse as it was: an untouched copy from the source."""
        self.stack.query("DELETE FROM `{p}.st_raw_v2.raw_jobs` WHERE TRUE")
        self.stack.ingestor("dispatch", "jobs", "--mode", "full")
        self.stack.drain(1)

    def test_1_an_untouched_copy_is_equal(self):
        found = self.reconcile()["comparisons"]
        self.assertEqual(len(found), 8)
        for comparison in found:
            self.assertEqual(comparison["state"], "equal", comparison)
            self.assertEqual(comparison["sourceCount"], comparison["warehouseCount"])
            self.assertLessEqual(comparison["requests"], 60)
        deep = self.jobs("--deep")
        self.assertEqual((deep["state"], deep["sums"]), ("equal", []))
        self.assertGreater(deep["recordsRead"], 700)

    def test_2_few_differences_are_found_by_few_requests(self):
        damaged = self.damage(missing=1, extra=1, stale=1, seed=2)
        comparison = self.jobs(code=1)
        self.assertEqual(self.found(comparison), damaged)
        self.assertLess(comparison["recordsRead"], JOBS / 4, "it read too much")
        row = self.stack.query("SELECT * FROM `{p}.st_logs_v2.reconciliation` WHERE state = 'different' ORDER BY event_time DESC LIMIT 1")[0]
        self.assertEqual((row["missing_count"], row["surplus_count"], row["stale_count"], row["run_id"]), ("1", "1", "1", comparison["runId"]))
        self.mend()

    def test_2_what_hides_behind_others_is_found(self):
        """A stale row stands at the time of a missing one, and a row too many at the stale one's: both counts by time of change agree."""
        rows = self.stack.query("SELECT id, createdOn, modifiedOn FROM `{p}.st_raw_v2.raw_jobs` WHERE _deleted_at IS NULL ORDER BY createdOn")
        missing, like = rows[len(rows) // 4], rows[len(rows) * 3 // 4]
        stale = max(rows[len(rows) // 3:len(rows) * 2 // 3], key=lambda row: abs(int(row["modifiedOn"]) - int(missing["modifiedOn"])))
        at = lambda us: f"TIMESTAMP_MICROS({us})"
        self.stack.query(f"DELETE FROM `{{p}}.st_raw_v2.raw_jobs` WHERE id = {missing['id']}")
        self.stack.query("INSERT INTO `{p}.st_raw_v2.raw_jobs` (id, createdOn, modifiedOn, _tenant_id, _run_id, _ingested_at, _ingestion_source, _row_hash, _fetched_at) "
                         f"SELECT 900000001, createdOn, {at(stale['modifiedOn'])}, _tenant_id, _run_id, _ingested_at, _ingestion_source, _row_hash, _fetched_at "
                         f"FROM `{{p}}.st_raw_v2.raw_jobs` WHERE id = {like['id']}")
        self.stack.query(f"UPDATE `{{p}}.st_raw_v2.raw_jobs` SET modifiedOn = {at(missing['modifiedOn'])} WHERE id = {stale['id']}")
        comparison = self.jobs(code=1)
        self.assertEqual(self.found(comparison), {"missing": [int(missing["id"])], "extra": [900000001], "stale": [int(stale["id"])], "value": []})
        self.assertLess(comparison["recordsRead"], JOBS / 4, "it read too much")
        self.mend()

    def test_3_many_differences_are_all_found(self):
        damaged = self.damage(missing=33, extra=33, stale=34, seed=3)
        comparison = self.jobs(code=1)
        self.assertEqual(self.found(comparison), damaged)
        self.assertLessEqual(comparison["recordsRead"], JOBS, "it read some of it twice")
        self.mend()

    def test_4_what_only_values_show_is_found_by_the_deep_form(self):
        damaged = self.damage(value=5, stale=2, missing=1, seed=4)
        self.assertEqual(self.found(self.jobs(code=1)), {**damaged, "value": []})
        deep = self.jobs("--deep", code=1)
        self.assertEqual(self.found(deep), damaged)
        self.assertEqual({d["columns"] for d in deep["differences"] if d["kind"] == "value"}, {"total"})
        self.assertTrue(all(s["column"] == "total" for s in deep["sums"]))
        self.assertGreaterEqual(len(deep["sums"]), 1)
        self.mend()

    def test_5_what_changes_meanwhile_is_no_difference(self):
        self.stack.edit("jobs", 200, seed=99)  # since the last sync
        tenant = int(self.stack.env["ST_TENANT_ID"])
        self.stack.admin("/_admin/stream", {"tenant": tenant, "entity": "jobs", "perSecond": 20, "seed": 7})
        try:
            for words in ((), ("--deep",)):
                comparison = self.jobs(*words)
                self.assertEqual(comparison["state"], "equal", comparison)
        finally:
            self.stack.admin("/_admin/stream", {"tenant": tenant, "entity": "jobs", "perSecond": 0, "seed": 7})
        self.assertGreater(self.stack.admin("/_admin/stream")["applied"], 20)

    def test_6_a_range_and_a_table_for_people(self):
        damaged = self.damage(missing=2, seed=6)
        created = self.stack.ingestor("reconcile", "jobs", check=False)
        self.assertEqual(created.returncode, 1)
        self.assertRegex(created.stdout, r"jobs .* 2 .*different")
        for id in damaged["missing"]:
            self.assertIn(f"missing  jobs {id}, created ", created.stdout)
        self.assertEqual(self.jobs("--to", "2001-01-01")["sourceCount"], 0)
        self.stack.ingestor("reconcile", "jobs", "--from", "2031-01-01", "--to", "2030-01-01", check=False)
        for words, says in ((["nothing"], '"nothing"'), (["technicians"], "is disabled"), (["jobs", "--tenant", "9"], "9 is not configured"),
                            (["jobs", "--yes"], "belongs to --repair")):
            wrong = self.stack.run("st-ingestor", "reconcile", *words, check=False)
            self.assertEqual((wrong.returncode, wrong.stdout), (2, ""), words)
            self.assertIn(says, wrong.stderr)

    def test_7_repairs_read_again_what_differs(self):
        report = self.reconcile("jobs", "--repair", "--yes", code=1)
        self.assertEqual(len(report["repairs"]), 2)
        self.assertTrue(all(r["messageId"] for r in report["repairs"]))
        self.stack.drain(1)
        self.assertEqual(self.jobs()["state"], "equal")

    def test_8_a_message_compares_too(self):
        damaged = self.damage(extra=1, seed=8)
        self.stack.ingestor("dispatch", "jobs", "customers", "--mode", "reconcile")
        worker = self.stack.drain(1)[0]
        told = {line["entityType"]: line for line in log_lines(worker) if line["message"] == "Source and warehouse compared"}
        self.assertEqual((told["jobs"]["severity"], told["jobs"]["extra"]), ("WARN", 1))
        self.assertEqual((told["customers"]["severity"], told["customers"]["state"]), ("INFO", "equal"))
        runs = self.stack.query("SELECT entity_type, status FROM `{p}.st_logs_v2.ingestion_logs` WHERE mode = 'reconcile' ORDER BY entity_type")
        self.assertEqual([(r["entity_type"], r["status"]) for r in runs], [("customers", "success"), ("jobs", "success")])
        rows = self.stack.query("SELECT entity_type, state, surplus_count FROM `{p}.st_logs_v2.reconciliation` ORDER BY event_time DESC LIMIT 2")
        self.assertEqual({r["entity_type"]: (r["state"], r["surplus_count"]) for r in rows}, {"jobs": ("different", "1"), "customers": ("equal", "0")})
        self.assertEqual(len(damaged["extra"]), 1)

    def test_9_what_a_run_brings_meanwhile_is_no_difference(self):
        """All is read; then edits, which a run brings into the warehouse; then what was read is compared."""
        self.mend()
        self.stack.hold(method="bigquery.jobs.insert", path="is_missing", nth=1)
        try:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                comparison = pool.submit(self.jobs, "--deep")
                try:
                    self.stack.wait_for_hold()
                    self.stack.edit("jobs", 200, kinds=("edit",), seed=5)
                    self.stack.ingestor("dispatch", "jobs", "--mode", "incremental")
                    self.stack.drain(1)
                finally:
                    self.stack.release_hold()
                self.assertEqual(self.found(comparison.result()), {"missing": [], "extra": [], "stale": [], "value": []})
        finally:
            self.stack.release_hold()


if __name__ == "__main__":
    unittest.main()
