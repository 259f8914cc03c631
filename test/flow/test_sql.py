"""The files in sql/: the schema script makes what init makes; each query gives the rows that are known beforehand."""
import datetime
import http.server
import json
import pathlib
import re
import threading
import time
import unittest

from stack import ENTITIES, ROOT, Stack, StackError, http as call, log_lines
from test_hostile_source import Mangler

SQL = ROOT / "sql"
QUERIES = sorted(SQL.glob("*/*.sql"))
VOLATILE = {"etag", "creationTime", "lastModifiedTime", "selfLink", "numRows", "numBytes"}
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}


def rest(stack, path, body=None):
    return call(f"{stack.env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{stack.env['BQ_PROJECT_ID']}{path}", body)


def run_as_bq(stack, sql):
    """As `bq query` does it: one query job without a default dataset, polled until it is done."""
    job = rest(stack, "/jobs", {"configuration": {"query": {"query": sql, "useLegacySql": False}}})
    deadline = time.monotonic() + 120
    while job["status"]["state"] != "DONE" and time.monotonic() < deadline:
        time.sleep(0.05)
        job = rest(stack, f"/jobs/{job['jobReference']['jobId']}?location=US")
    return job


def execute(stack, sql):
    """A statement without rows; {p} is the project."""
    job = run_as_bq(stack, sql.replace("{p}", stack.env["BQ_PROJECT_ID"]))
    if "errorResult" in job["status"]:
        raise StackError(job["status"]["errorResult"]["message"])


def plain(resource, project):
    """A resource without what differs from one making to the next; a view's text without the project."""
    kept = {k: v for k, v in resource.items() if k not in VOLATILE and not k.startswith("num")}
    if "view" in kept:
        kept["view"] = {**kept["view"], "query": kept["view"]["query"].replace(f"`{project}.", "`")}
    return kept


def warehouse(stack):
    """Every dataset, table and view with all that REST says of it."""
    project, objects = stack.env["BQ_PROJECT_ID"], {}
    for dataset in rest(stack, "/datasets").get("datasets", []):
        name = dataset["datasetReference"]["datasetId"]
        objects[name] = plain(rest(stack, f"/datasets/{name}"), project)
        for table in rest(stack, f"/datasets/{name}/tables?maxResults=1000").get("tables", []):
            table_name = table["tableReference"]["tableId"]
            objects[f"{name}.{table_name}"] = plain(rest(stack, f"/datasets/{name}/tables/{table_name}"), project)
    return objects


class Schemas(unittest.TestCase):
    def empty(self):
        stack = Stack()
        self.addCleanup(stack.stop)
        stack.start_local("--jobs", 50)
        self.assertEqual(warehouse(stack), {})
        return stack

    def assert_init_has_nothing_to_do(self, stack):
        rows = json.loads(stack.ingestor("init", "--json").stdout)
        rows = rows["objects"] if isinstance(rows, dict) else rows
        of_bigquery = [row for row in rows if row["object"].split()[0] in ("dataset", "table", "view")]
        self.assertGreater(len(of_bigquery), 40)
        self.assertEqual({row["state"] for row in of_bigquery}, {"exists"}, of_bigquery)

    def test_the_script_makes_what_init_makes(self):
        by_init, by_script, by_statement = self.empty(), self.empty(), self.empty()
        by_init.ingestor("init")
        text = (SQL / "bigquery_schemas.sql").read_text()
        self.assertNotIn(by_init.env["BQ_PROJECT_ID"], text)
        job = run_as_bq(by_script, text)
        self.assertNotIn("errorResult", job["status"])
        statements = [s for s in re.split(r";\s*\n", text) if re.sub(r"--.*", "", s).strip()]
        self.assertEqual(job["statistics"]["query"]["statementType"], "SCRIPT")
        self.assertEqual(int(job["statistics"]["numChildJobs"]), len(statements))
        for statement in statements:
            self.assertNotIn("errorResult", run_as_bq(by_statement, statement)["status"], statement)
        made = warehouse(by_init)
        self.assertEqual(len(made), len(statements))
        for other in by_script, by_statement:
            there = warehouse(other)
            self.assertEqual(sorted(made), sorted(there))
            for name, resource in made.items():
                self.assertEqual(resource, there[name], name)
            self.assert_init_has_nothing_to_do(other)
            self.assertEqual(there, warehouse(other))

    def test_it_may_be_repeated(self):
        stack = self.empty()
        stack.ingestor("init")
        execute(stack, "INSERT INTO `{p}.st_logs_v2.schema_drift` (run_id, entity_type, field, kind) VALUES ('r', 'jobs', 'f', 'k')")
        before = warehouse(stack)
        self.assertNotIn("errorResult", run_as_bq(stack, (SQL / "bigquery_schemas.sql").read_text())["status"])
        self.assertEqual(before, warehouse(stack))
        self.assertEqual(stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.schema_drift`")[0]["n"], "1")
        self.assert_init_has_nothing_to_do(stack)

    def test_an_error_in_a_script_says_where(self):
        job = run_as_bq(self.empty(), "CREATE SCHEMA a;\nCREATE SCHEMA b;\n  CREATE SCHEMA a;\nCREATE SCHEMA c;")
        self.assertEqual(job["status"]["errorResult"]["reason"], "duplicate")
        self.assertRegex(job["status"]["errorResult"]["message"], r"Already Exists: Dataset .*:a at \[3:3\]$")

    def test_a_view_of_another_text_is_still_replaced(self):
        stack = self.empty()
        stack.ingestor("init")
        before = warehouse(stack)
        execute(stack, "CREATE OR REPLACE VIEW `{p}.st_stage_v2.jobs` AS SELECT 1 AS x FROM `{p}.st_raw_v2.raw_jobs`")
        self.assertIn(" 1 created", stack.ingestor("init").stdout.splitlines()[-1])
        self.assertEqual(before, warehouse(stack))

    def test_other_names_than_the_defaults(self):
        stack = Stack()
        env = {"BQ_PROJECT_ID": "some-project", "BQ_DATASET_RAW": "other_raw"}
        text = stack.ingestor("schema", "ddl", "--no-project", env=env).stdout
        self.assertIn("CREATE TABLE IF NOT EXISTS `other_raw.raw_jobs`", text)
        self.assertNotIn("some-project", text)
        refused = stack.ingestor("schema", "tables", "--no-project", env=env, check=False)
        self.assertEqual((refused.returncode, refused.stdout), (2, ""))


class Heads(unittest.TestCase):
    def test_each_query_says_what_it_needs_to_be_known(self):
        self.assertGreaterEqual(len(QUERIES), 16)
        for path in QUERIES:
            text = path.read_text()
            head, _, body = text.partition("\nSELECT") if "\nWITH" not in text else text.partition("\nWITH")
            with self.subTest(path.name):
                self.assertRegex(head, r"^-- [A-Z].*\?\n--\n-- Grain: ")
                self.assertRegex(head, r"\n-- Cost: ")
                said = re.search(r"\n-- Parameters: ([A-Z0-9_, ]+)\.$", head).group(1).split(", ")
                self.assertEqual(sorted(said), sorted(set(re.findall(r"\$\{(\w+)\}", body))))
                # In a quoted name a value can be nothing but a name.
                self.assertEqual(body.count("${"), sum(name.count("${") for name in body.split("`")[1::2]))
                self.assertNotIn("${", head)


class Queries(unittest.TestCase):
    """One history for all queries: a full sync, created jobs, a failed run, a quarantined record, a killed worker, dead letters."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stack = Stack()
        cls.addClassCleanup(stack.stop)
        stack.start_local("--jobs", 400, "--seed", 23)
        stack.env.update(FAST)
        stack.ingestor("init")
        cls.tenant = int(stack.env["ST_TENANT_ID"])
        cls.counts = {e: stack.source_count(e) for e in ENTITIES}
        cls.logs = []
        cls.sync("all", "full")
        stack.edit("jobs", 10, kinds=["create"])
        cls.sync("jobs", "incremental")
        cls.deny("campaigns")
        cls.quarantine("customers")
        cls.kill_in("payments")
        cls.dead_letters()
        cls.long_ago()
        cls.make_v1()

    @classmethod
    def sync(cls, what, mode, env=None, codes=(0,)):
        cls.stack.ingestor("dispatch", what, "--mode", mode)
        cls.logs += [line for worker in cls.stack.drain(1, env=env, codes=codes) for line in log_lines(worker)]

    @classmethod
    def deny(cls, entity):
        """The API denies this entity."""
        cls.stack.admin("/_admin/faults", {"faults": [{"method": "servicetitan.*", "kind": "status", "status": 403, "path": f"/{entity}", "count": 1000}]})
        cls.sync(entity, "incremental", codes=(1,))
        call(f"{cls.stack.env['ST_LOCAL_ADMIN_URL']}/_admin/faults", method="DELETE")

    @classmethod
    def quarantine(cls, entity):
        """One record of the page comes with an id that is none."""
        Mangler.upstream = cls.stack.env["ST_API_URL"]
        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mangler)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        cls.sync(entity, "full", env={"ST_API_URL": f"http://127.0.0.1:{proxy.server_address[1]}"})
        proxy.shutdown()
        proxy.server_close()

    @classmethod
    def kill_in(cls, entity):
        stack = cls.stack
        stack.admin("/_admin/settings", {"latencyMs": 60000})
        stack.ingestor("dispatch", entity, "--mode", "full")
        worker = stack.start("killed", "st-ingestor", "worker")
        deadline = time.monotonic() + 60
        while not stack.query("SELECT run_id FROM `{p}.st_logs_v2.ingestion_logs` WHERE status = 'running'"):
            if time.monotonic() > deadline:
                raise StackError("no run began")
            time.sleep(0.1)
        worker.kill()
        worker.wait()

    @classmethod
    def dead_letters(cls):
        execute(cls.stack, """INSERT INTO `{p}.st_logs_v2.dead_letter_audit` (event_time, action, message_id, entity_type, reason, actor) VALUES
(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 2 DAY), 'dead_lettered', 'm1', 'jobs', 'why', 'worker'),
(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY), 'replayed', 'm1', 'jobs', 'why', 'operator'),
(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 40 DAY), 'dead_lettered', 'm0', 'jobs', 'long ago', 'worker')""")

    @classmethod
    def long_ago(cls):
        """What lies before the time that any query asks for."""
        ago = {days: f"TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {days} DAY)" for days in (2, 9, 40)}
        run = f"'campaigns', {cls.tenant}, 'full'"
        execute(cls.stack, f"""INSERT INTO `{{p}}.st_logs_v2.ingestion_log_events`
(run_id, entity_type, tenant_id, mode, status, start_time, end_time, duration_ms, records_fetched, records_inserted, rows_changed, event_time) VALUES
('old-2', {run}, 'failed', {ago[2]}, {ago[2]}, 1, 7, 7, 7, {ago[2]}),
('old-9', {run}, 'failed', {ago[9]}, {ago[9]}, 999999, 7, 7, 7, {ago[9]}),
('old-success', {run}, 'success', {ago[9]}, {ago[9]}, 999999, 7, 7, 7, {ago[9]})""")
        execute(cls.stack, f"""INSERT INTO `{{p}}.st_logs_v2.target_change_events`
(target, change_number, state, started_at, ended_at, rows_inserted, rows_updated, rows_deleted, bytes_billed, run_ids, event_time) VALUES
('raw_jobs', 900, 'failed', {ago[40]}, {ago[40]}, 7, 7, 7, 7, ['old'], {ago[40]})""")
        execute(cls.stack, f"""INSERT INTO `{{p}}.st_logs_v2.schema_drift` (run_id, entity_type, field, kind, occurrences, event_time)
VALUES ('old', 'jobs', 'old', 'unknown_field', 7, {ago[9]})""")
        execute(cls.stack, f"""INSERT INTO `{{p}}.st_logs_v2.quarantine` (run_id, entity_type, reason, payload_encoding, payload_bytes, event_time)
VALUES ('old', 'jobs', 'old', 'utf8', 0, {ago[9]})""")

    @classmethod
    def make_v1(cls):
        """v1's invoices: text keys, amounts as floats; one invoice of v2 is missing, one is dearer by 10, one is v1's own."""
        stack = cls.stack
        cls.missing, cls.dearer = [row["id"] for row in stack.query(
            "SELECT id FROM `{p}.st_raw_v2.raw_invoices` WHERE total IS NOT NULL AND invoiceDate IS NOT NULL ORDER BY id LIMIT 2")]
        execute(stack, "CREATE SCHEMA `{p}.st_raw`")
        execute(stack, f"""CREATE TABLE `{{p}}.st_raw.raw_daily_wbr_v2` AS
SELECT CAST(id AS STRING) AS invoice_id, CAST(invoiceDate AS DATE) AS day, CAST(total AS FLOAT64) + IF(id = {cls.dearer}, 10, 0) AS total
FROM `{{p}}.st_raw_v2.raw_invoices` WHERE id != {cls.missing}
UNION ALL SELECT 'only-v1', DATE '2001-02-03', 1.5""")

    def run_query(self, name, **params):
        words = [word for item in params.items() for word in ("--param", "=".join(item))]
        rows = json.loads(self.stack.ingestor("query", name, "--json", *words).stdout)
        table = self.stack.ingestor("query", name, *words).stdout.splitlines()
        if rows:
            self.assertEqual(table[0].split(), list(rows[0]))
            self.assertEqual(len(table), len(rows) + 1)
        else:
            self.assertEqual(table[-1], "(no rows)")
        return rows

    def completed(self, **members):
        lines = [line for line in self.logs if line["message"] == "Ingestion completed"]
        return [line for line in lines if all(line[k] == v for k, v in members.items())]

    def failed_run(self):
        """The run that the log tells of as failed."""
        runs = {line["runId"] for line in self.logs if line.get("entityType") == "campaigns" and "runId" in line}
        return (runs - {line["runId"] for line in self.completed()}).pop()

    def test_recent_runs(self):
        first = datetime.datetime.now(datetime.timezone.utc).date()
        rows = self.run_query("recent_runs")
        if first != datetime.datetime.now(datetime.timezone.utc).date():
            self.skipTest("midnight passed between two looks")
        events = self.stack.query("SELECT run_id, MIN(start_time) AS began FROM `{p}.st_logs_v2.ingestion_log_events` GROUP BY run_id")
        today = {e["run_id"] for e in events if datetime.datetime.fromtimestamp(int(e["began"]) / 1e6, datetime.timezone.utc).date() == first}
        self.assertEqual(len(events), len(ENTITIES) + 4 + 3)
        self.assertEqual({row["run_id"] for row in rows}, today)
        self.assertEqual([row["start_time"] for row in rows], sorted((row["start_time"] for row in rows), reverse=True))
        by_run = {row["run_id"]: row for row in rows}
        for line in self.completed():
            row = by_run.get(line["runId"])
            if row:
                self.assertEqual((row["entity_type"], row["mode"], row["status"], row["tenant_id"]), (line["entityType"], line["mode"], "success", self.tenant))
                self.assertEqual((row["records_fetched"], row["records_inserted"]), (line["recordsFetched"], line["recordsInserted"]))

    def test_failed_runs(self):
        rows = self.run_query("failed_runs")
        self.assertEqual([(row["run_id"], row["tenant_id"], row["entity_type"], row["mode"], row["error_class"]) for row in rows],
                         [(self.failed_run(), self.tenant, "campaigns", "incremental", "permanent")])
        self.assertIn("403", rows[0]["error_message"])

    def test_unfinished_runs(self):
        rows = self.run_query("unfinished_runs")
        self.assertEqual([(row["entity_type"], row["mode"], row["later_runs_of_the_task"]) for row in rows], [("payments", "full", 0)])
        self.assertIn(rows[0]["minutes"], range(0, 60))

    def test_sync_state(self):
        rows = {row["entity_type"]: row for row in self.run_query("sync_state")}
        self.assertEqual(sorted(rows), sorted(ENTITIES))
        for entity, row in rows.items():
            newest = self.completed(entityType=entity)[-1]
            self.assertEqual((row["run_id"], row["mode"], row["records_processed"]), (newest["runId"], newest["mode"], newest["recordsInserted"]))
        last = json.loads(self.stack.ingestor("last-sync", "--json").stdout)
        self.assertEqual({r["entity_type"]: r["last_sync_time"] for r in last}, {e: r["last_sync_time"] for e, r in rows.items()})

    def test_watermark_lag(self):
        rows = {row["entity_type"]: row for row in self.run_query("watermark_lag")}
        self.assertEqual(sorted(rows), sorted(ENTITIES))
        for entity, row in rows.items():
            self.assertIn(row["lag_minutes"], range(5, 65), entity)  # the overlap, and the time that this test takes
            self.assertEqual(row["failures_24h"], 1 if entity == "campaigns" else 0, entity)
            self.assertEqual(row["last_failure"] is not None, entity == "campaigns", entity)
            self.assertIsNotNone(row["last_success"], entity)
        lags = [row["lag_minutes"] for row in rows.values()]
        self.assertEqual(lags, sorted(lags, reverse=True))

    def test_watermark_lag_shows_what_never_succeeded(self):
        self.addCleanup(execute, self.stack, "DELETE FROM `{p}.st_logs_v2.ingestion_log_events` WHERE run_id = 'never'")
        execute(self.stack, """INSERT INTO `{p}.st_logs_v2.ingestion_log_events` (run_id, entity_type, tenant_id, status, start_time, event_time)
VALUES ('never', 'jobs', 99, 'failed', TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 3 DAY), TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 3 DAY))""")
        row = self.run_query("watermark_lag")[0]
        self.assertEqual((row["tenant_id"], row["lag_minutes"], row["last_success"], row["failures_24h"]), (99, None, None, 0))
        self.assertIsNotNone(row["last_failure"])

    def test_slowest_runs(self):
        rows = self.run_query("slowest_runs")
        took = {e["run_id"]: int(e["duration_ms"]) for e in self.stack.query(
            "SELECT run_id, duration_ms FROM `{p}.st_logs_v2.ingestion_log_events` WHERE end_time IS NOT NULL AND run_id NOT IN ('old-9', 'old-success')")}
        self.assertEqual(len(rows), len(self.completed()) + 2)
        self.assertEqual({row["run_id"] for row in rows}, set(took))
        self.assertEqual([row["status"] for row in rows].count("failed"), 2)
        order = [took[row["run_id"]] for row in rows]
        self.assertEqual(order, sorted(order, reverse=True))
        for row in rows:
            self.assertAlmostEqual(float(row["seconds"]), took[row["run_id"]] / 1000, delta=0.0501)
        by_run = {row["run_id"]: row for row in rows}
        for line in self.completed():
            self.assertAlmostEqual(by_run[line["runId"]]["records_per_second"], line["recordsFetched"] * 1000 / took[line["runId"]], delta=0.501)

    def test_rows_changed(self):
        rows = {(row["entity_type"], row["mode"]): row for row in self.run_query("rows_changed")}
        self.assertEqual(sorted(rows), sorted([*((e, "full") for e in ENTITIES), ("jobs", "incremental")]))
        for entity in set(ENTITIES) - {"customers"}:
            row, n = rows[entity, "full"], self.counts[entity]
            self.assertEqual((row["runs"], row["records_fetched"], row["rows_changed"], float(row["changed_percent"])), (1, n, n, 100), entity)
        row, n = rows["customers", "full"], self.counts["customers"]
        self.assertEqual((row["runs"], row["runs_without_change"], row["records_fetched"], row["records_quarantined"]), (2, 1, 2 * n, 1))
        self.assertEqual((row["records_inserted"], row["rows_changed"]), (2 * n - 1, n))
        self.assertEqual(rows["jobs", "incremental"]["rows_changed"], 10)

    def chain_bytes(self, target):
        """What the jobs of a target's chain say that they were billed for."""
        total = 0
        for number in range(1, 10):
            try:
                job = rest(self.stack, f"/jobs/st_st_raw_v2_{target}_{number}?location=US")
            except StackError:
                return total, number - 1
            total += int(job["statistics"]["query"]["totalBytesBilled"])
        return None

    def test_bytes_billed(self):
        totals, changes = {}, {}
        for row in self.run_query("bytes_billed"):
            totals[row["target"]] = totals.get(row["target"], 0) + row["bytes_billed"]
            changes[row["target"]] = changes.get(row["target"], 0) + row["changes"]
            self.assertAlmostEqual(float(row["gib_billed"]), row["bytes_billed"] / 2**30, places=3)
        self.assertEqual(sorted(totals), sorted(f"raw_{e}" for e in ENTITIES))
        for target, total in totals.items():
            self.assertEqual((total, changes[target]), self.chain_bytes(target), target)
            self.assertGreater(total, 0)

    def test_target_changes(self):
        rows = {row["target"]: row for row in self.run_query("target_changes")}
        self.assertEqual(sorted(rows), sorted(f"raw_{e}" for e in ENTITIES))
        for entity in ENTITIES:
            row = rows[f"raw_{entity}"]
            changes = {"jobs": 2, "customers": 2}.get(entity, 1)
            self.assertEqual((row["changes"], row["failed"], row["runs"], row["last_change"]), (changes, 0, changes, changes), entity)
            self.assertEqual((row["rows_inserted"], row["rows_updated"], row["rows_deleted"]), (self.counts[entity] + (10 if entity == "jobs" else 0), 0, 0), entity)

    def test_schema_drift(self):
        rows = self.run_query("schema_drift")
        raw = self.stack.query("SELECT entity_type, field, kind, run_id, occurrences FROM `{p}.st_logs_v2.schema_drift` WHERE run_id != 'old'")
        expected = {}
        for event in raw:
            key = event["entity_type"], event["field"], event["kind"]
            times, runs = expected.setdefault(key, [0, set()])
            expected[key][0] = times + int(event["occurrences"])
            runs.add(event["run_id"])
        self.assertGreater(len(expected), 1)
        self.assertEqual({(r["entity_type"], r["field"], r["kind"]): (r["occurrences"], r["runs"]) for r in rows},
                         {key: (times, len(runs)) for key, (times, runs) in expected.items()})

    def test_quarantine(self):
        rows = self.run_query("quarantine")
        self.assertEqual([(row["tenant_id"], row["entity_type"], row["times"], row["runs"]) for row in rows], [(self.tenant, "customers", 1, 1)])
        self.assertIn('"perhaps"', rows[0]["reason"])

    def test_dead_letters(self):
        rows = self.run_query("dead_letters")
        self.assertEqual([(row["action"], row["message_id"], row["actor"]) for row in rows],
                         [("replayed", "m1", "operator"), ("dead_lettered", "m1", "worker")])

    # ---- validation ----
    V1 = {"V1_DATASET_RAW": "st_raw", "V1_TABLE": "raw_daily_wbr_v2", "V2_TABLE": "raw_invoices"}

    def validate(self, name, **params):
        return self.run_query(name, V1_PROJECT_ID=self.stack.env["BQ_PROJECT_ID"], **self.V1, **params)

    def invoice(self, key):
        row = self.stack.query(f"SELECT CAST(total AS STRING) AS total, CAST(CAST(invoiceDate AS DATE) AS STRING) AS day FROM `{{p}}.st_raw_v2.raw_invoices` WHERE id = {key}")[0]
        return float(row["total"]), row["day"]

    def test_row_counts(self):
        n = self.counts["invoices"]
        self.assertEqual(self.validate("row_counts"), [{"v1_rows": n, "v2_rows": n, "difference": 0}])

    def test_totals(self):
        row = self.validate("totals", V1_COLUMN="total", V2_COLUMN="total")[0]
        whole = float(self.stack.query("SELECT CAST(SUM(total) AS STRING) AS n FROM `{p}.st_raw_v2.raw_invoices`")[0]["n"])
        missing = self.invoice(self.missing)[0]
        self.assertAlmostEqual(float(row["v2_total"]), whole, places=2)
        self.assertAlmostEqual(float(row["v1_total"]), whole - missing + 10 + 1.5, places=2)
        self.assertAlmostEqual(float(row["difference"]), missing - 11.5, places=2)

    def test_totals_by_day(self):
        rows = self.validate("totals_by_day", V1_DATE="day", V1_COLUMN="total", V2_DATE="invoiceDate", V2_COLUMN="total")
        expected = {"2001-02-03": -1.5}
        for key, more in ((self.missing, self.invoice(self.missing)[0]), (self.dearer, -10)):
            day = self.invoice(key)[1]
            expected[day] = expected.get(day, 0) + more
        self.assertEqual({row["day"]: round(float(row["difference"]), 2) for row in rows}, {day: round(v, 2) for day, v in expected.items()})
        self.assertEqual([row["day"] for row in rows], sorted(expected, reverse=True))
        self.assertEqual((rows[-1]["v1_rows"], rows[-1]["v2_rows"]), (1, None))

    def test_missing_keys(self):
        rows = self.validate("missing_keys", V1_KEY="invoice_id", V2_KEY="id")
        self.assertEqual(rows, [{"only_in": "v1", "key": "only-v1"}, {"only_in": "v2", "key": self.missing}])

    # ---- the verb ----
    def test_every_file_has_a_test(self):
        tests = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        self.assertLessEqual({path.stem for path in QUERIES if path.parent.name != "mart"}, tests)  # the others: test_marts.py

    def test_the_list(self):
        listed = json.loads(self.stack.ingestor("query", "--json").stdout)
        self.assertEqual([(f["folder"], f["name"]) for f in listed], [(p.parent.name, p.stem) for p in QUERIES])
        text = self.stack.ingestor("query", env={"BQ_PROJECT_ID": ""}).stdout  # the list needs no settings
        for path in QUERIES:
            self.assertIn(f"  {path.stem:24} {path.read_text().splitlines()[0].removeprefix('-- ')}\n", text)

    def test_a_dry_run_prints_what_envsubst_would_make(self):
        env = {"BQ_PROJECT_ID": self.stack.env["BQ_PROJECT_ID"], "BQ_DATASET_LOGS": "st_logs_v2"}
        text = (SQL / "monitoring/recent_runs.sql").read_text()
        filled = re.sub(r"\$\{(\w+)\}", lambda found: env[found.group(1)], text)
        printed = self.stack.ingestor("query", "recent_runs", "--dry-run").stdout
        self.assertRegex(printed.removeprefix(filled), r"^-- would read [1-9]\d* bytes\n$")
        self.assertNotIn("errorResult", run_as_bq(self.stack, printed)["status"])
        self.assertEqual(json.loads(self.stack.ingestor("query", "recent_runs", "--dry-run", "--json").stdout)["sql"], filled)

    def refused(self, *words, says, code=2):
        done = self.stack.ingestor("query", *words, check=False)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(says, done.stderr)

    def file(self, text):
        path = pathlib.Path(self.stack.data) / "asked.sql"
        path.write_text(text)
        return path

    def test_a_file_of_ones_own(self):
        path = self.file("# mine\n(SELECT COUNT(*) AS n FROM `${BQ_DATASET_RAW}.${T}`)")
        self.assertEqual(json.loads(self.stack.ingestor("query", path, "--param", "T=raw_jobs", "--json").stdout), [{"n": self.counts["jobs"] + 10}])

    def test_it_only_reads(self):
        before = self.stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.dead_letter_audit`")
        delete = "DELETE FROM `st_logs_v2.dead_letter_audit` WHERE TRUE"
        self.refused(self.file(delete), says="begins with neither SELECT nor WITH")
        self.refused(self.file(f"/* SELECT */ {delete}"), says="begins with neither SELECT nor WITH")
        self.refused(self.file(f"SELECT 1;\n{delete}"), says="takes it for SCRIPT")
        self.refused(self.file("SELECT `${T}`"), "--param", f"T=1`; {delete}; SELECT `1", says='only letters, digits')
        self.assertEqual(before, self.stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.dead_letter_audit`"))

    def test_wrong_use(self):
        unset = self.stack.ingestor("query", "recent_runs", env={"BQ_PROJECT_ID": ""}, check=False)
        self.assertEqual(unset.returncode, 2)
        self.assertIn("not set: BQ_PROJECT_ID", unset.stderr)
        self.refused("resent_runs", says="no query 'resent_runs'")
        self.refused("totals", says="there is no value for ${V1_COLUMN}; give it with --param V1_COLUMN=VALUE")
        self.refused("recent_runs", "--param", "V1_TABLE=x", says="no placeholder ${V1_TABLE}")
        self.refused("recent_runs", "--param", "V1_TABLE", says="NAME=VALUE is needed")
        self.refused("recent_runs", "failed_runs", says="unexpected argument 'failed_runs'")
        self.refused("--dry-run", says="say which query")
        self.refused(self.file("SELECT '${"), says='"${" is not followed by NAME}')
        self.refused(self.stack.data / "none.sql", says="cannot open", code=1)
        self.refused(self.file("SELECT nope"), says="Unrecognized name: nope", code=1)
        self.refused(self.file("SELECT * FROM `nope.t`"), says="`st-ingestor init` makes what is missing", code=1)


if __name__ == "__main__":
    unittest.main()
