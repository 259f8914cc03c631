"""What can be seen of a worker from outside: probes, metrics, log lines, job labels."""
import json
import os
import pathlib
import re
import signal
import socket
import time
import types
import unittest
import urllib.error

import logcheck
from stack import ENTITIES, ROOT, Stack, free_port, http, log_lines, tail, wait_until

JOBS = 400
FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}
SOON_S = 60


def listening(pid):
    """Addresses that a process listens on (IPv4 and IPv6)."""
    inodes = {os.readlink(link)[8:-1] for link in pathlib.Path(f"/proc/{pid}/fd").iterdir() if os.readlink(link).startswith("socket:")}
    found = []
    for table in ("tcp", "tcp6"):
        for row in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = row.split()
            if words[3] == "0A" and words[9] in inodes:
                address, port = words[1].split(":")
                found.append((socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address, int(port, 16)))
    return found


class Eyes(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)

    def begin(self, *options, **env):
        self.stack.start_local("--jobs", JOBS, "--seed", 31, *options)
        self.stack.env.update(FAST, WORKER_PORT=str(free_port()), **env)

    def start_worker(self, *words, **more):
        return self.stack.start("worker", "st-ingestor", "worker", *words, **more)

    def ready(self, worker):
        """/ready's answer once the worker listens."""
        def ask():
            self.assertIsNone(worker.poll(), tail(worker))
            try:
                return self.stack.get(worker, "/ready")
            except urllib.error.URLError:
                return None
        return wait_until("an answer of /ready", ask)

    def wait_ready(self, worker):
        return wait_until("readiness", lambda: self.ready(worker)[0] == 200)

    def value(self, worker, name, *labels):
        return logcheck.values(self.stack.metrics(worker), name).get(labels, 0)

    def test_a_run_is_seen_while_it_is_under_way_and_all_counters_balance(self):
        self.begin()
        self.stack.ingestor("init")
        started = time.time()
        worker = self.start_worker()
        self.wait_ready(worker)
        self.stack.admin("/_admin/settings", {"latencyMs": 60})
        self.stack.ingestor("dispatch", "all", "--mode", "full")
        seen_busy = seen_partial = scrapes = 0
        deadline = time.monotonic() + SOON_S
        while self.value(worker, "st_ingestor_verdicts_total", "live", "done") < len(ENTITIES):
            self.assertEqual(self.value(worker, "st_ingestor_verdicts_total", "live", "reject"), 0, tail(worker))
            self.assertLess(time.monotonic(), deadline, tail(worker))
            families = self.stack.metrics(worker)
            read = logcheck.check_balance(families)
            busy = logcheck.values(families, "st_ingestor_slots_busy")[()]
            seen_busy += busy > 0
            seen_partial += busy > 0 and read > 0
            scrapes += 1
            self.assertIsNone(worker.poll(), tail(worker))
        self.assertGreater(seen_busy, 0)
        self.assertGreater(seen_partial, 0, f"no scrape of {scrapes} fell into a run")
        self.check_totals(worker, started)

    def check_totals(self, worker, started):
        """After eight full runs: each metric against what the log, the source and the warehouse say."""
        asked = time.time()
        families = self.stack.metrics(worker)
        answered = time.time()
        total = {name: logcheck.values(families, name) for name in families}
        completed = {line["entityType"]: line for line in log_lines(worker) if line["message"] == "Ingestion completed"}
        for entity in ENTITIES:
            line = completed[entity]
            self.assertEqual(total["st_ingestor_records_read_total"][(entity,)], line["recordsFetched"])
            self.assertEqual(line["recordsFetched"], self.stack.source_count(entity))
            self.assertEqual(total["st_ingestor_rows_changed_total"][(entity,)], line["rowsChanged"])
            self.assertEqual(total["st_ingestor_runs_total"][(entity, "full", "success")], 1)
            self.assertGreaterEqual(total["st_ingestor_bigquery_append_rows_total"][(f"stage_{entity}",)], line["recordsInserted"])
            watermark, lag = (total[f"st_ingestor_watermark_{what}_seconds"][(entity, self.stack.env["ST_TENANT_ID"])] for what in ("timestamp", "lag"))
            self.assertTrue(asked - 1 <= watermark + lag <= answered + 1, (watermark, lag))
            self.assertTrue(started - 301 <= watermark <= answered - 299, watermark)
        duration = families["st_ingestor_run_duration_seconds"]["samples"]
        self.assertEqual(duration[("st_ingestor_run_duration_seconds_count", (("entity", "jobs"), ("mode", "full")))], 1)
        self.assertEqual(total["st_ingestor_messages_received_total"][("live",)], len(ENTITIES))
        self.assertEqual(total["st_ingestor_queue_messages"], {("live",): 0, ("backfill",): 0})
        self.assertEqual(total["st_ingestor_pubsub_stream_open"], {("live",): 1, ("backfill",): 1})
        self.assertEqual(total["st_ingestor_servicetitan_breaker_state"], {(self.stack.env["ST_TENANT_ID"],): 0})
        requests = total["st_ingestor_servicetitan_requests_total"]
        self.assertGreaterEqual(requests[("200", "list", self.stack.env["ST_TENANT_ID"])], sum(line["requests"] for line in completed.values()))
        self.assertEqual(total["st_ingestor_bigquery_jobs_total"][("inserted", "merge")], len(ENTITIES))
        self.assertEqual(total["st_ingestor_bigquery_jobs_total"][("inserted", "verify")], len(ENTITIES))
        self.assertGreater(total["process_resident_memory_bytes"][()], 1 << 20)
        self.assertTrue(started - 1 <= total["process_start_time_seconds"][()] <= answered, started)
        self.assertEqual(total["st_ingestor_build_info"], {("2.0.0",): 1})
        self.assertEqual(total["st_ingestor_metrics_dropped_total"], {(): 0})
        self.assertGreaterEqual(total["st_ingestor_log_lines_total"][("INFO",)], 2 * len(ENTITIES))

    def test_ready_before_and_after(self):
        self.begin()
        # The warehouse exists, the subscriptions' server does not answer: alive, but not ready, and it says what is missing.
        self.stack.ingestor("init")
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            worker = self.start_worker(env={"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{deaf.getsockname()[1]}"})
            wait_until("the warehouse", lambda: json.loads(self.ready(worker)[2])["checks"]["warehouse"])
            status, _, body = self.ready(worker)
            self.assertEqual(status, 503)
            self.assertEqual(json.loads(body), {"status": "not ready", "checks": {"liveStream": False, "backfillStream": False, "warehouse": True, "running": True}})
            self.assertEqual(self.stack.get(worker, "/health")[0], 200, "a server that is away comes back: nothing to restart the worker for")
            worker.send_signal(signal.SIGTERM)
            self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        worker = self.start_worker()
        self.wait_ready(worker)
        self.assertEqual(json.loads(self.ready(worker)[2])["status"], "ready")
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        with self.assertRaises(urllib.error.URLError):
            self.stack.get(worker, "/ready")

    def test_health_has_the_brief_s_form_and_wrong_requests_are_told_what_is_right(self):
        self.begin()
        self.stack.ingestor("init")
        worker = self.start_worker()
        self.wait_ready(worker)
        status, headers, body = self.stack.get(worker, "/health")
        health = json.loads(body)
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        self.assertEqual(list(health), ["status", "service", "version", "timestamp"])
        self.assertEqual((health["status"], health["service"], health["version"]), ("healthy", "st-v2-ingestor", "2.0.0"))
        self.assertRegex(health["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        status, headers, body = self.stack.get(worker, "/nowhere")
        self.assertEqual((status, json.loads(body)["paths"]), (404, ["/health", "/ready", "/metrics"]))
        for path in ("/health", "/ready", "/metrics"):
            status, headers, body = self.stack.get(worker, path, "POST")
            self.assertEqual((status, headers["Allow"], json.loads(body)["methods"]), (405, "GET, HEAD", ["GET", "HEAD"]))
        status, headers, _ = self.stack.get(worker, "/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertEqual(self.value(worker, "st_ingestor_http_requests_total", "404", "other"), 1)

    def test_a_busy_port_ends_the_worker_with_one_line(self):
        self.begin()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", int(self.stack.env["WORKER_PORT"])))
            taken.listen()
            done = self.stack.ingestor("worker", check=False, timeout=SOON_S)
        self.assertEqual(done.returncode, 1, done.stderr)
        line, = [json.loads(text) for text in done.stderr.splitlines()]
        self.assertEqual(line["severity"], "FATAL")
        for text in ("WORKER_PORT", self.stack.env["WORKER_PORT"], "Address already in use"):
            self.assertIn(text, line["error"])

    def test_it_listens_on_loopback_unless_told_and_not_at_all_without_a_port(self):
        self.begin()
        self.stack.ingestor("init")
        config = json.loads((ROOT / "config/config.json").read_text())
        del config["worker"]
        path = self.stack.data / "config.json"
        path.write_text(json.dumps(config))
        port = free_port()
        cases = [({"WORKER_PORT": str(port)}, [("127.0.0.1", port)]), ({"WORKER_PORT": str(port), "WORKER_BIND": "0.0.0.0"}, [("0.0.0.0", port)]), ({}, [])]
        del self.stack.env["WORKER_PORT"]
        for env, addresses in cases:
            worker = self.start_worker("--config", path, env=env)
            wait_until("the start", lambda: any(line["message"] == "Worker started" for line in log_lines(worker)))
            self.assertEqual(listening(worker.pid), addresses)
            worker.send_signal(signal.SIGTERM)
            self.assertEqual(worker.wait(SOON_S), 0, tail(worker))

    def test_a_failing_source_opens_the_breaker_and_each_retry_is_a_line_of_its_run(self):
        self.begin()
        self.stack.ingestor("init")
        self.stack.admin("/_admin/faults", {"faults": [{"method": "servicetitan.*", "kind": "status", "path": "/tenant/", "status": 503, "count": 1000000}]})
        worker = self.start_worker()
        self.wait_ready(worker)
        self.stack.ingestor("dispatch", "jobs", "--mode", "full")
        wait_until("an open breaker", lambda: self.value(worker, "st_ingestor_servicetitan_breaker_state", self.stack.env["ST_TENANT_ID"]) == 2)
        families = self.stack.metrics(worker)
        self.assertGreaterEqual(logcheck.values(families, "st_ingestor_servicetitan_requests_total")[("503", "list", self.stack.env["ST_TENANT_ID"])], 5)
        retries = logcheck.values(families, "st_ingestor_servicetitan_retries_total")[(self.stack.env["ST_TENANT_ID"],)]
        lines = [line for line in log_lines(worker) if line["message"].startswith("API request failed")]
        self.assertTrue(lines)
        self.assertLessEqual(len(lines), retries)
        for line in lines:
            self.assertEqual(line["severity"], "WARN")
            self.assertRegex(line["message"], r"^API request failed, retrying in \d+ms$")
            self.assertEqual(line["entityType"], "jobs")
            self.assertEqual(line["mode"], "full")
            self.assertTrue(line["runId"] and line["taskId"] and line["tenantId"])
        self.assertEqual({line["status"] for line in lines if line["errorCode"] == "http_503"}, {503})
        self.assertEqual(len({line["runId"] for line in lines}), 1)

    def test_debug_tells_windows_and_mapping_and_each_line_of_a_run_names_it(self):
        """Also with gRPC at its most talkative, every line has the form (the stack checks that)."""
        self.begin()
        self.stack.ingestor("init")
        self.stack.ingestor("dispatch", "jobs", "payroll", "--mode", "full")
        # Small pages, so that reader threads read too: their lines belong to the run as well.
        worker = self.stack.drain(1, env={"LOG_LEVEL": "debug", "GRPC_VERBOSITY": "debug", "ST_PAGE_SIZE": "50"})[0]
        lines = log_lines(worker)
        self.assertTrue(any(line["context"] == "v2-ingestor:grpc" for line in lines))
        runs = {line["runId"]: line["entityType"] for line in lines if line["message"] == "Ingestion started"}
        self.assertEqual(sorted(runs.values()), ["jobs", "payroll"])
        for message in ("Field mapping", "Window read", "Range read", "Run merged", "Ingestion completed"):
            told = {line["runId"]: line["entityType"] for line in lines if line["message"] == message}
            self.assertEqual(told, runs, message)
        read = [line for line in lines if line["message"] in ("Window read", "Feed read") and line["entityType"] == "jobs"]
        self.assertGreater(len(read), 5)
        completed = next(line for line in lines if line["message"] == "Ingestion completed" and line["entityType"] == "jobs")
        self.assertEqual(sum(line["records"] for line in read), completed["recordsFetched"])

    def test_every_job_carries_its_run_entity_and_tenant(self):
        self.begin()
        self.stack.ingestor("init")
        self.stack.ingestor("dispatch", "jobs", "campaigns", "--mode", "full")
        worker = self.stack.drain(1)[0]
        self.stack.ingestor("dispatch", "jobs", "--mode", "incremental")
        self.stack.drain(1)
        self.stack.ingestor("status", "jobs")
        self.stack.ingestor("dispatch", "--due", "--dry-run")
        self.stack.ingestor("backfill", "list")
        self.stack.ingestor("query", "recent_runs")
        self.start_worker()
        self.stack.ingestor("dispatch", "campaigns", "--mode", "incremental", "--wait")
        by_step = {}
        for job in self.jobs():
            labels = job["configuration"].get("labels", {})
            self.assertEqual(labels.get("app"), "st-ingestor", job["configuration"])
            self.assertIn("st_step", labels, job["configuration"])
            by_step.setdefault(labels["st_step"], []).append(labels)
        self.assertLessEqual({"init", "task_history", "watermark", "verify", "find", "merge", "status", "chain_head", "due", "backfill", "query", "tasks"}, set(by_step))
        runs = {line["runId"]: line for line in log_lines(worker) if line["message"] == "Ingestion completed"}
        tenant = self.stack.env["ST_TENANT_ID"]
        for step in ("task_history", "verify", "find", "merge", "chain_head"):
            for labels in by_step[step]:
                if labels["st_run"] not in runs:
                    continue
                run = runs.pop(labels["st_run"]) if step == "merge" else runs[labels["st_run"]]
                self.assertEqual((labels["st_entity"], labels["st_tenant"], labels["st_mode"]), (run["entityType"], tenant, "full"), labels)
        self.assertEqual(runs, {}, "runs without a merge job of their own")
        for labels in by_step["merge"]:
            self.assertEqual((labels["st_runs"], labels["st_target"]), ("1", f"raw_{labels['st_entity']}"))
        self.assertEqual([(labels["st_entity"], labels["st_tenant"]) for labels in by_step["status"]], [("jobs", "all")])

    def jobs(self):
        base = f"{self.stack.env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{self.stack.env['BQ_PROJECT_ID']}/jobs"
        found, token = [], ""
        while True:
            page = http(f"{base}?projection=full&maxResults=1000{token}")
            found += page.get("jobs", [])
            if not page.get("nextPageToken"):
                return [http(f"{base}/{job['jobReference']['jobId']}?location={job['jobReference'].get('location', 'US')}") for job in found]
            token = f"&pageToken={page['nextPageToken']}"


class LogCheck(unittest.TestCase):
    """The check that every stack makes of its logs fails when there is something to fail for."""
    GOOD = ('{"timestamp":"2025-10-21T10:00:00.000Z","severity":"INFO","context":"v2-ingestor:ingestor:jobs","message":"Ingestion completed",'
            '"runId":"0b0cf0f5-5b70-4e2b-a3f2-2a9f4d3c1e10","entityType":"jobs","tenantId":7,"recordsFetched":3,"recordsInserted":2,"recordsQuarantined":1,"durationMs":5}')
    BAD = {
        "a crash report": lambda good: "==1==ERROR: AddressSanitizer: heap-use-after-free",
        "a cut line": lambda good: good[:80],
        "an empty line": lambda good: "",
        "no object": lambda good: "[1]",
        "seconds only": lambda good: good.replace("00.000Z", "00Z"),
        "local time": lambda good: good.replace("00.000Z", "00.000+01:00"),
        "Cloud Logging's word": lambda good: good.replace('"INFO"', '"WARNING"'),
        "another order": lambda good: good.replace('"severity":"INFO","context"', '"context":"v2-ingestor","severity":"INFO","x"'),
        "no message": lambda good: good.replace('"Ingestion completed"', '""'),
        "a foreign context": lambda good: good.replace("v2-ingestor:ingestor", "ingestor"),
        "no run": lambda good: re.sub(r'"runId":"[^"]*",', "", good),
        "another entity": lambda good: good.replace('"entityType":"jobs"', '"entityType":"invoices"'),
        "a member twice": lambda good: good.replace('"tenantId":7', '"tenantId":7,"tenantId":8'),
        "a tenant as text": lambda good: good.replace('"tenantId":7', '"tenantId":"7"'),
        "an unbalanced run": lambda good: good.replace('"recordsInserted":2', '"recordsInserted":3'),
        "a count that is missing": lambda good: good.replace('"recordsQuarantined":1,', ""),
        "a mistake of the program": lambda good: '{"timestamp":"2025-10-21T10:00:00.000Z","severity":"FATAL","context":"v2-ingestor:bug","message":"internal error: x"}',
    }

    def test_each_bad_line_is_found(self):
        self.assertIsNone(logcheck.form_problem(self.GOOD))
        for name, spoil in self.BAD.items():
            with self.subTest(name):
                self.assertNotEqual(spoil(self.GOOD), self.GOOD)
                self.assertIsNotNone(logcheck.form_problem(spoil(self.GOOD)))

    def test_a_stack_that_stops_fails_for_a_bad_line(self):
        stack = Stack()
        log = stack.data / "01-worker.log"
        log.write_text(self.GOOD + "\nSegmentation fault\n")
        stack.processes.append(types.SimpleNamespace(log=log, returncode=0, wrapper=(), port=0, logs_json=True, poll=lambda: 0, wait=lambda _: 0))
        with self.assertRaisesRegex(logcheck.LogError, "line 2: not JSON.*Segmentation fault"):
            stack.stop()

    def test_only_a_killed_program_may_end_in_the_middle_of_a_line(self):
        log = Stack().data / "worker.log"
        log.write_text(self.GOOD + "\n" + self.GOOD[:50])
        logcheck.check_process(types.SimpleNamespace(log=log, returncode=-signal.SIGKILL, wrapper=()))
        for code in (0, 1, -signal.SIGTERM):
            with self.assertRaises(logcheck.LogError):
                logcheck.check_process(types.SimpleNamespace(log=log, returncode=code, wrapper=()))

    def test_a_crash_is_found_also_when_it_says_nothing(self):
        log = Stack().data / "worker.log"
        log.write_text(self.GOOD + "\n")
        logcheck.check_process(types.SimpleNamespace(log=log, returncode=0, wrapper=()))
        with self.assertRaisesRegex(logcheck.LogError, "SIGSEGV"):
            logcheck.check_process(types.SimpleNamespace(log=log, returncode=-signal.SIGSEGV, wrapper=()))

    def test_counters_that_do_not_balance_are_found(self):
        text = "".join(f'# HELP st_ingestor_records_{what}_total x\n# TYPE st_ingestor_records_{what}_total counter\n'
                       f'st_ingestor_records_{what}_total{{entity="jobs"}} {value}\n' for what, value in (("read", 3), ("staged", 2), ("quarantined", 1)))
        self.assertEqual(logcheck.check_balance(logcheck.parse_metrics(text)), 3)
        with self.assertRaises(logcheck.LogError):
            logcheck.check_balance(logcheck.parse_metrics(text.replace("} 2", "} 1")))

    def test_the_metrics_parser_is_strict(self):
        good = '# HELP m x\n# TYPE m gauge\nm{a="1"} 2\n'
        logcheck.parse_metrics(good)
        for bad in (good[:-1], good + 'm{a="1"} 3\n', good + "n 1\n", good.replace("gauge", "thing"), good.replace('"1"', "1"), good.replace(" 2", " two"), good + good,
                    good.replace("# TYPE m gauge\n", "")):
            with self.assertRaises(logcheck.LogError, msg=bad):
                logcheck.parse_metrics(bad)


if __name__ == "__main__":
    unittest.main()
