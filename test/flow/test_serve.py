"""The HTTP API of the running binary: every route, parameter and status code, with the brief's examples as cases."""
import json
import signal
import time
import unittest

from service import TIME, UUID, Service, free_port, own_address
from stack import ENTITIES, ROOT, Stack, tail

KNOWN = [*ENTITIES, "appointments", "job_types", "business_units", "technicians"]  # disabled ones too: what they had can be looked at

FAST = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120"}
TOKEN = "correct-horse-battery-staple"
BOOL, INT, TEXT = bool, int, str
ROUTES = ["GET, HEAD /health", "GET, HEAD /ready", "GET, HEAD /metrics", "GET, HEAD /entities", "GET, POST /ingest/:entity", "GET, POST /ingest-all", "POST /full-sync/:entity",
          "GET, HEAD /status/:entity", "GET, HEAD /last-sync/:entity", "GET, HEAD /tasks/:id", "GET, HEAD /runs/:id"]
INGEST_PARAMS = ["tenant", "mode", "wait", "timeout"]
SECONDS = ["a whole number of seconds from 1 to 3600"]
POSITIVE = ["a positive number"]
STOP_S = 8  # what the platform's grace allows


class Case(unittest.TestCase):
    def shape(self, value, **members):
        """Exactly these members, in this order, of these types."""
        self.assertEqual(list(value), list(members), value)
        for name, kind in members.items():
            self.assertIs(type(value[name]), kind, f"{name}: {value}")

    def assert_refused(self, reply, status, code, allowed=None, says=""):
        self.assertEqual(reply.status, status, reply.text)
        body = reply.json
        self.assertIs(body["success"], False)
        self.assertEqual(body["errorCode"], code, body)
        self.assertIn(says, body["error"])
        self.assertEqual(body.get("allowed"), allowed, body)
        self.assertEqual(reply.headers["Content-Type"], "application/json")
        self.assertEqual(reply.headers["Cache-Control"], "no-store")

    def assert_stops(self, service, code=0):
        self.assertEqual(service.process.wait(STOP_S), code, tail(service.process))
        self.assertEqual([], [line for line in service.lines() if line["severity"] in ("ERROR", "FATAL")])


class Served(Case):
    """One tenant, one worker."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start_local("--jobs", 300, "--seed", 5)
        cls.stack.env.update(FAST)
        cls.stack.ingestor("init")
        cls.service = Service(cls.stack)
        cls.before = {entity: cls.service.call(f"/last-sync/{entity}").json for entity in ENTITIES}
        cls.stack.start("worker", "st-ingestor", "worker")

    def call(self, *words, **more):
        return self.service.call(*words, **more)

    # ---- the brief's examples ----

    def test_health(self):
        reply = self.call("/health")
        self.assertEqual(reply.status, 200)
        self.shape(reply.json, status=TEXT, service=TEXT, version=TEXT, timestamp=TEXT)
        self.assertEqual((reply.json["status"], reply.json["service"], reply.json["version"]), ("healthy", "st-v2-ingestor", "2.0.0"))
        self.assertRegex(reply.json["timestamp"], TIME)
        self.assertEqual(self.call(f"/health?tenant={self.stack.env['ST_TENANT_ID']}").status, 200)

    def test_entities(self):
        self.assertEqual(self.call("/entities").json, {"entities": ENTITIES, "count": 8})

    def test_ingest_one(self):
        for method, target, mode in (("GET", "/ingest/jobs?mode=incremental", "incremental"), ("GET", "/ingest/jobs", "incremental"), ("POST", "/ingest/campaigns?mode=full", "full"),
                                     ("GET", f"/ingest/jobs?tenant={self.stack.env['ST_TENANT_ID']}&wait=true&timeout=120", "incremental")):
            reply = self.call(target, method)
            self.assertEqual(reply.status, 200, reply.text)
            self.shape(reply.json, success=BOOL, entity=TEXT, mode=TEXT, recordsProcessed=INT, runId=TEXT, duration=INT)
            self.assertEqual((reply.json["success"], reply.json["mode"]), (True, mode))
            self.assertRegex(reply.json["runId"], UUID)
            run = self.call(f"/runs/{reply.json['runId']}").json
            self.assertEqual((run["status"], run["mode"], run["records_inserted"], run["duration_ms"]),
                             ("success", mode, reply.json["recordsProcessed"], reply.json["duration"]))
        self.assertEqual(self.stack.source_count("campaigns"), self.stack.warehouse_count("campaigns"))

    def test_full_sync(self):
        reply = self.call("/full-sync/customers", "POST")
        self.assertEqual(reply.status, 200, reply.text)
        self.shape(reply.json, success=BOOL, entity=TEXT, mode=TEXT, recordsProcessed=INT, runId=TEXT, duration=INT)
        self.assertEqual((reply.json["mode"], reply.json["recordsProcessed"]), ("full", self.stack.source_count("customers")))

    def test_ingest_all_at_once(self):
        reply = self.call("/ingest-all?mode=full&parallel=true")
        self.assertEqual(reply.status, 200, reply.text)
        body = reply.json
        self.shape(body, success=BOOL, mode=TEXT, parallel=BOOL, results=dict, summary=dict)
        self.assertEqual((body["success"], body["mode"], body["parallel"]), (True, "full", True))
        self.assertEqual(sorted(body["results"]), sorted(ENTITIES))
        for entity, result in body["results"].items():
            self.shape(result, success=BOOL, recordsProcessed=INT, duration=INT)
            self.assertGreaterEqual(result["recordsProcessed"], self.stack.source_count(entity))
        self.assertEqual(body["summary"], {"total": 8, "succeeded": 8, "failed": 0})

    def test_ingest_all_one_after_the_other(self):
        begun = time.time()
        reply = self.call("/ingest-all", "POST")
        self.assertEqual(reply.status, 200, reply.text)
        self.assertEqual((reply.json["mode"], reply.json["parallel"], reply.json["summary"]), ("incremental", False, {"total": 8, "succeeded": 8, "failed": 0}))
        runs = self.stack.query("SELECT entity_type, UNIX_MICROS(start_time) AS a, UNIX_MICROS(end_time) AS z FROM `{p}.st_logs_v2.ingestion_logs` "
                                f"WHERE UNIX_MICROS(start_time) >= {int(begun * 1e6)} ORDER BY start_time")
        config = json.loads((ROOT / "config/config.json").read_text())["entities"]
        self.assertEqual([run["entity_type"] for run in runs], sorted(ENTITIES, key=lambda e: (config[e]["priority"], ENTITIES.index(e))))
        for one, two in zip(runs, runs[1:]):
            self.assertLessEqual(int(one["z"]), int(two["a"]), f"{two['entity_type']} began before {one['entity_type']} had ended")

    def test_status(self):
        for _ in range(11):
            self.assertEqual(self.call("/ingest/locations").status, 200)
        reply = self.call("/status/locations")
        self.shape(reply.json, entity=TEXT, recentRuns=list)
        runs = reply.json["recentRuns"]
        self.assertEqual((reply.json["entity"], len(runs)), ("locations", 10))
        self.assertEqual([run["start_time"] for run in runs], sorted((run["start_time"] for run in runs), reverse=True))
        for run in runs:
            for name, kind in dict(run_id=TEXT, start_time=TEXT, end_time=TEXT, status=TEXT, records_fetched=INT, records_inserted=INT, duration_ms=INT).items():
                self.assertIs(type(run[name]), kind, f"{name}: {run}")
            self.assertRegex(run["start_time"], TIME)
            self.assertRegex(run["end_time"], TIME)
            self.assertEqual(run["status"], "success")

    def test_last_sync(self):
        for entity, body in self.before.items():
            self.assertEqual(body, {"entity": entity, "lastSyncTime": None})
        self.call("/ingest/payments")
        reply = self.call("/last-sync/payments")
        self.shape(reply.json, entity=TEXT, lastSyncTime=TEXT)
        self.assertRegex(reply.json["lastSyncTime"], TIME)

    # ---- what else there is ----

    def test_ready(self):
        self.assertEqual((self.call("/ready").status, self.call("/ready").json), (200, {"status": "ready", "topic": "ok", "warehouse": "ok"}))

    def test_metrics(self):
        self.call("/entities")
        self.call("/nope")
        reply = self.call("/metrics")
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        values = dict(line.rsplit(" ", 1) for line in reply.text.splitlines() if not line.startswith("#"))
        self.assertGreaterEqual(int(values['st_ingestor_http_requests_total{route="/entities",code="200"}']), 1)
        self.assertGreaterEqual(int(values['st_ingestor_http_requests_total{route="other",code="404"}']), 1)
        self.assertEqual(values["st_ingestor_api_waiting_requests"], "0")

    def wait_until_final(self, url):
        deadline = time.monotonic() + 60
        while True:
            reply = self.call(url)
            self.assertEqual(reply.status, 200, reply.text)
            if reply.json["success"] is not None or time.monotonic() > deadline:
                return reply.json

    def test_not_waited_for_and_asked_later(self):
        reply = self.call("/ingest/estimates?wait=false")
        self.assertEqual(reply.status, 202)
        self.shape(reply.json, accepted=BOOL, entity=TEXT, mode=TEXT, message=TEXT, taskIds=list, statusUrl=TEXT)
        self.assertEqual(reply.headers["Location"], reply.json["statusUrl"])
        self.assertEqual(reply.json["statusUrl"], f"/tasks/{reply.json['taskIds'][0]}")
        task = self.wait_until_final(reply.json["statusUrl"])
        self.assertEqual((task["state"], task["success"], len(task["tasks"])), ("success", True, 1))
        self.shape(task["tasks"][0], taskId=TEXT, entity=TEXT, tenant=INT, mode=TEXT, state=TEXT, runId=TEXT, recordsProcessed=INT, startTime=TEXT, endTime=TEXT, duration=INT)
        self.assertEqual(self.call(f"/runs/{task['tasks'][0]['runId']}").json["task_id"], task["taskId"])

    def test_the_parts_of_a_request(self):
        reply = self.call("/ingest-all?wait=false&parallel=true")
        self.assertEqual((reply.status, reply.json["notPublished"], reply.json["results"], reply.json["summary"]),
                         (202, [], {}, {"total": 8, "succeeded": 0, "failed": 0, "pending": 8}))
        whole = self.wait_until_final(reply.json["statusUrl"])
        self.assertEqual(sorted(part["taskId"] for part in whole["tasks"]), sorted(reply.json["taskIds"]))
        part = next(part for part in whole["tasks"] if part["entity"] == "payroll")
        self.assertEqual(self.call("/tasks/" + part["taskId"].replace("/", "%2F")).json["tasks"], [part])
        other = Service(self.stack)  # one that did not publish it finds all parts by the id alone
        found = other.call(reply.json["statusUrl"]).json
        self.assertEqual(sorted(p["taskId"] for p in found["tasks"]), sorted(reply.json["taskIds"]))
        self.assertEqual(other.call(reply.json["statusUrl"] + f"?tenant={self.stack.env['ST_TENANT_ID']}").json["state"], "success")

    def test_head_and_headers(self):
        for target in ("/health", "/ready", "/entities", "/status/jobs", "/last-sync/jobs"):
            reply = self.call(target, "HEAD")
            self.assertEqual((reply.status, reply.text), (200, ""))
            self.assertGreater(int(reply.headers["Content-Length"]), 10)
            self.assertEqual((reply.headers["Content-Type"], reply.headers["Cache-Control"]), ("application/json", "no-store"))

    def test_a_small_body_is_left_unread(self):
        self.assertEqual(self.call("/full-sync/campaigns", "POST", body=b"{}", headers={"Content-Type": "application/json"}).status, 200)

    # ---- refusals ----

    def test_refusals(self):
        tenant = self.stack.env["ST_TENANT_ID"]
        cases = [
            ("GET", "/", 404, "unknown_path", ROUTES), ("GET", "/healthz", 404, "unknown_path", ROUTES), ("GET", "/ingest", 404, "unknown_path", ROUTES),
            ("GET", "/ingest/jobs/now", 404, "unknown_path", ROUTES), ("DELETE", "/nope", 404, "unknown_path", ROUTES),
            ("GET", "/ingest/leads", 404, "unknown_entity", ENTITIES), ("GET", "/ingest/Jobs", 404, "unknown_entity", ENTITIES), ("POST", "/full-sync/leads", 404, "unknown_entity", ENTITIES),
            ("GET", "/ingest/all", 404, "unknown_entity", ENTITIES), ("GET", "/status/leads", 404, "unknown_entity", KNOWN), ("GET", "/last-sync/leads", 404, "unknown_entity", KNOWN),
            ("GET", "/ingest/jobs?mode=delta", 400, "bad_parameter", ["incremental", "full"]), ("GET", "/ingest/jobs?mode=", 400, "bad_parameter", ["incremental", "full"]),
            ("GET", "/ingest-all?mode=all", 400, "bad_parameter", ["incremental", "full"]), ("GET", "/ingest-all?parallel=yes", 400, "bad_parameter", ["true", "false"]),
            ("GET", "/ingest/jobs?wait=1", 400, "bad_parameter", ["true", "false"]), ("GET", "/ingest/jobs?timeout=0", 400, "bad_parameter", SECONDS),
            ("GET", "/ingest/jobs?timeout=3601", 400, "bad_parameter", SECONDS), ("POST", "/full-sync/jobs?timeout=x", 400, "bad_parameter", SECONDS),
            ("GET", "/ingest/jobs?mod=full", 400, "unknown_parameter", INGEST_PARAMS), ("GET", "/ingest/jobs?parallel=true", 400, "unknown_parameter", INGEST_PARAMS),
            ("GET", "/ingest-all?entity=jobs", 400, "unknown_parameter", ["tenant", "mode", "parallel", "wait", "timeout"]), ("GET", "/status/jobs?limit=5", 400, "unknown_parameter", ["tenant"]),
            ("POST", "/full-sync/jobs?mode=full", 400, "unknown_parameter", ["tenant", "wait", "timeout"]), ("GET", "/health?x=1", 400, "unknown_parameter", ["tenant"]),
            ("GET", "/ingest/jobs?mode=full&mode=incremental", 400, "duplicate_parameter", None),
            ("GET", "/ingest-all?wait=false", 400, "bad_parameter", ["parallel=true&wait=false", "wait=true"]),
            ("GET", "/ingest-all?wait=false&parallel=false", 400, "bad_parameter", ["parallel=true&wait=false", "wait=true"]),
            ("GET", "/ingest/%zz", 400, "url_syntax", None), ("GET", "/ingest/jobs?mode=%", 400, "url_syntax", None),
            ("GET", "/tasks/" + "x" * 128, 400, "url_syntax", None), ("GET", "/tasks/unknown", 404, "not_found", None), ("GET", "/runs/unknown", 404, "not_found", None),
            ("POST", "/health", 405, "method_not_allowed", ["GET", "HEAD"]), ("POST", "/entities", 405, "method_not_allowed", ["GET", "HEAD"]),
            ("DELETE", "/ingest/jobs", 405, "method_not_allowed", ["GET", "POST"]), ("PUT", "/ingest-all", 405, "method_not_allowed", ["GET", "POST"]),
            ("OPTIONS", "/ingest-all", 405, "method_not_allowed", ["GET", "POST"]), ("GET", "/full-sync/jobs", 405, "method_not_allowed", ["POST"]),
            ("POST", "/status/jobs", 405, "method_not_allowed", ["GET", "HEAD"]), ("POST", "/tasks/x", 405, "method_not_allowed", ["GET", "HEAD"]),
        ]
        for target in ("/health", "/ready", "/metrics", "/entities", "/ingest/jobs", "/ingest-all", "/status/jobs", "/last-sync/jobs", "/tasks/x", "/runs/x"):
            cases += [("GET", f"{target}?tenant=0", 400, "bad_parameter", POSITIVE), ("GET", f"{target}?tenant=x", 400, "bad_parameter", POSITIVE),
                      ("GET", f"{target}?tenant=99", 404, "unknown_tenant", [tenant])]
        for method, target, status, code, allowed in cases:
            with self.subTest(f"{method} {target}"):
                reply = self.call(target, method)
                self.assert_refused(reply, status, code, allowed)
                self.assertEqual(reply.headers["Allow"], ", ".join(allowed) if status == 405 else None)

    def test_head_starts_nothing(self):
        reply = self.call("/ingest/jobs", "HEAD")
        self.assertEqual((reply.status, reply.headers["Allow"]), (405, "GET, POST"))

    # ---- failures ----

    def test_a_rejected_run(self):
        self.stack.admin("/_admin/faults", {"faults": [{"method": "servicetitan.*", "kind": "status", "status": 403, "path": "/invoices", "count": 1}]})
        reply = self.call("/ingest/invoices")
        self.assertEqual(reply.status, 500, reply.text)
        self.shape(reply.json, success=BOOL, entity=TEXT, mode=TEXT, recordsProcessed=INT, error=TEXT, errorCode=TEXT, runId=TEXT, taskId=TEXT, duration=INT)
        self.assertEqual((reply.json["success"], reply.json["entity"], reply.json["errorCode"]), (False, "invoices", "http_403"))
        task = self.call(f"/tasks/{reply.json['taskId']}").json
        self.assertEqual((task["state"], task["success"], task["tasks"][0]["errorCode"]), ("rejected", False, "http_403"))
        self.assertEqual(self.call(f"/runs/{reply.json['runId']}").json["error_code"], "http_403")
        line = self.service.wait_for_line(lambda line: line.get("status") == 500 and line.get("path") == "/ingest/invoices")[0]
        self.assertEqual((line["severity"], line["errorCode"], line["runId"], line["taskIds"]), ("WARN", "http_403", reply.json["runId"], reply.json["taskId"]))

    def test_one_of_all_fails(self):
        for parallel in ("true", "false"):
            self.stack.admin("/_admin/faults", {"faults": [{"method": "servicetitan.*", "kind": "status", "status": 403, "path": "/estimates", "count": 1}]})
            reply = self.call(f"/ingest-all?parallel={parallel}")
            self.assertEqual(reply.status, 500, reply.text)
            self.assertEqual((reply.json["success"], reply.json["summary"]), (False, {"total": 8, "succeeded": 7, "failed": 1}))
            self.shape(reply.json["results"]["estimates"], success=BOOL, recordsProcessed=INT, duration=INT, error=TEXT, errorCode=TEXT, runId=TEXT, taskId=TEXT)
            self.assertEqual([e for e, r in reply.json["results"].items() if not r["success"]], ["estimates"])

    def test_log_lines(self):
        self.call("/entities?tenant=1")
        self.call("/ingest/jobs")
        refused = self.service.wait_for_line(lambda line: line.get("path") == "/entities" and line.get("status") == 404)[0]
        self.assertEqual((refused["context"], refused["severity"], refused["method"]), ("v2-ingestor:api", "DEBUG", "GET"))
        told = self.service.wait_for_line(lambda line: line.get("path") == "/ingest/jobs" and line.get("status") == 200)[-1]
        self.assertEqual((told["severity"], told["message"]), ("INFO", "Request answered"))
        self.assertRegex(told["runId"], UUID)
        self.assertIs(type(told["durationMs"]), int)


class Unattended(Case):
    """No worker: nothing that is published is ever begun."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start_local("--jobs", 20, "--seed", 6)
        cls.stack.ingestor("init")

    def setUp(self):
        self.service = Service(self.stack)
        self.addCleanup(self.service.process.kill)

    def wait_until_answered(self, path):
        self.service.wait_for_line(lambda line: line.get("path") == path and line.get("status") == 202)

    def wait_until_published(self, count):
        deadline = time.monotonic() + 60
        while sum(line.get("message") == "Tasks published" for line in self.service.lines()) < count:
            self.assertLess(time.monotonic(), deadline, tail(self.service.process))
            time.sleep(0.05)

    def test_the_time_is_over(self):
        reply = self.service.call("/ingest/jobs?timeout=1")
        self.assertEqual(reply.status, 202)
        self.shape(reply.json, accepted=BOOL, entity=TEXT, mode=TEXT, message=TEXT, taskIds=list, statusUrl=TEXT)
        self.assertIn("not ended within the time-out", reply.json["message"])
        task = self.service.call(reply.headers["Location"]).json
        self.assertEqual((task["state"], task["success"], task["tasks"][0]["runId"]), ("queued", None, None))
        other = Service(self.stack)  # has not published it, and nothing stands in the run log
        self.assert_refused(other.call(reply.headers["Location"]), 404, "not_found", says="waits in the queue")
        other.process.kill()

    def test_a_sequence_ends_with_its_request(self):
        reply = self.service.call("/ingest-all?mode=full&timeout=1")
        self.assertEqual(reply.status, 202)
        self.shape(reply.json, accepted=BOOL, mode=TEXT, parallel=BOOL, results=dict, summary=dict, message=TEXT, taskIds=list, statusUrl=TEXT, notPublished=list)
        self.assertEqual(reply.json["notPublished"], ["invoices", "estimates", "payments", "payroll", "customers", "locations", "campaigns"])
        self.assertEqual(len(reply.json["taskIds"]), 1)
        self.assertEqual(reply.json["summary"], {"total": 8, "succeeded": 0, "failed": 0, "pending": 8})

    def test_all_at_once_and_the_time_is_over(self):
        reply = self.service.call("/ingest-all?parallel=true&timeout=1")
        self.assertEqual((reply.status, reply.json["notPublished"], len(reply.json["taskIds"])), (202, [], 8))
        task = self.service.call(reply.json["statusUrl"]).json
        self.assertEqual((task["state"], [part["state"] for part in task["tasks"]]), ("queued", ["queued"] * 8))

    def test_clients_that_go(self):
        gone = self.service.send("/ingest/jobs?timeout=3600")
        half = self.service.send("/ingest/invoices?timeout=3600")
        self.wait_until_published(2)
        gone.close()
        self.wait_until_answered("/ingest/jobs")
        half.shutdown(1)  # ends its own sending only: it gets its ids at once
        self.assertIn(b"202 Accepted", half.recv(4096))
        self.wait_until_answered("/ingest/invoices")
        half.close()

    def test_more_wait_than_may(self):
        waiting = [self.service.send("/ingest/payroll?timeout=3600") for _ in range(256)]
        self.wait_until_published(256)
        self.assertIn("st_ingestor_api_waiting_requests 256\n", self.service.call("/metrics").text)
        reply = self.service.call("/ingest/jobs?wait=false")
        self.assert_refused(reply, 503, "busy", says="nothing was published")
        self.assertEqual(reply.headers["Retry-After"], "10")
        for target in ("/health", "/entities", "/ready", "/status/jobs"):
            self.assertEqual(self.service.call(target).status, 200, target)
        for connection in waiting:
            connection.close()
        deadline = time.monotonic() + 60
        while self.service.call("/ingest/jobs?wait=false").status != 202:
            self.assertLess(time.monotonic(), deadline, "slots of clients that have gone stay taken")

    def test_stopped_while_requests_wait(self):
        waiting = [self.service.send("/ingest-all?parallel=true&timeout=3600") for _ in range(20)] + [self.service.send("/ingest-all?timeout=3600")]
        self.wait_until_published(21)
        unfinished = self.service.connect()  # a request that never becomes whole must not hold up the stop
        unfinished.sendall(b"GET /health HTTP/1.1\r\nX: ")
        self.service.process.send_signal(signal.SIGTERM)
        for connection in waiting:
            answer = connection.makefile("rb").read()
            self.assertIn(b"202 Accepted", answer)
            self.assertIn(b"the server is stopping", answer)
            self.assertIn(b"/tasks/", answer)
        self.assert_stops(self.service)
        unfinished.close()

    def test_before_init(self):
        """Nothing is there yet: each answer says what makes it."""
        stack = Stack()
        self.addCleanup(stack.stop)
        stack.start_local("--jobs", 20)
        service = Service(stack)
        reply = service.call("/ready")
        self.assertEqual(reply.status, 503)
        for part in ("topic", "warehouse"):
            self.assertIn("does not exist; `st-ingestor init` makes it", reply.json[part])
        self.assertEqual(service.call("/health").status, 200)
        reply = service.call("/status/jobs")
        self.assertEqual((reply.status, reply.json["errorCode"]), (502, "notFound"), reply.text)
        self.assertIn("`st-ingestor init` makes what is missing", reply.json["error"])
        reply = service.call("/ingest/jobs")
        self.assertEqual((reply.status, reply.json["success"], reply.json["taskIds"]), (502, False, []), reply.text)
        self.assertIn("could not publish", reply.json["error"])
        self.assertIn("`st-ingestor init` makes what is missing", reply.json["error"])

    def test_no_answer_from_google(self):
        """Requests are under way when the servers are away: readiness says so, and the stop is still in time."""
        stack = Stack()
        self.addCleanup(stack.stop)
        stack.start_local("--jobs", 20)
        stack.ingestor("init")
        service = Service(stack)
        stack.kill_local()
        reply = service.call("/ready")
        self.assertEqual((reply.status, reply.json["status"]), (503, "not ready"))
        self.assertNotIn("ok", (reply.json["topic"], reply.json["warehouse"]))
        self.assertEqual(service.call("/health").status, 200)
        before = service.descriptors()
        asking = [service.send(target) for target in ("/ingest/jobs", "/status/jobs", "/tasks/x")]
        deadline = time.monotonic() + 20
        while service.descriptors() < before + len(asking):
            self.assertLess(time.monotonic(), deadline, "the connections are not taken")
        service.process.send_signal(signal.SIGTERM)
        self.assertEqual(service.process.wait(STOP_S), 0, tail(service.process))
        for connection in asking:
            self.assertIn(connection.makefile("rb").read()[:12], (b"HTTP/1.1 503", b""))  # or it was cut before it was read


class Access(Case):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start_local("--jobs", 20)
        cls.stack.ingestor("init")

    def serve(self, **env):
        service = Service(self.stack, env=env)
        self.addCleanup(service.process.kill)
        return service

    def test_with_a_token(self):
        service = self.serve(API_TOKEN=TOKEN)
        right = {"Authorization": f"Bearer {TOKEN}"}
        for target in ("/health", "/ready"):
            self.assertEqual(service.call(target).status, 200)
            self.assertEqual(service.call(target, headers={"Authorization": "Bearer wrong"}).status, 200)
        for method, target in (("GET", "/entities"), ("GET", "/metrics"), ("GET", "/ingest/jobs?wait=false"), ("GET", "/ingest-all?parallel=true&wait=false"), ("POST", "/full-sync/jobs?wait=false"),
                               ("GET", "/status/jobs"), ("GET", "/last-sync/jobs"), ("GET", "/tasks/x"), ("GET", "/runs/x"), ("GET", "/nope"), ("PUT", "/entities")):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"}):
                reply = service.call(target, method, headers=headers)
                self.assert_refused(reply, 401, "unauthorized")
                self.assertEqual(reply.headers["WWW-Authenticate"], "Bearer")
            self.assertIn(service.call(target, method, headers=right).status, (200, 202, 404, 405))
        self.assertEqual(service.call("/ingest/jobs?wait=false", headers={**right, "X-Forwarded-For": "1.2.3.4", "Host": "st.example"}).status, 202)
        self.assertNotIn(TOKEN, service.process.log.read_text())

    def test_without_a_token(self):
        service = self.serve()
        publish = (("GET", "/ingest/jobs?wait=false"), ("POST", "/ingest-all?parallel=true&wait=false"), ("POST", "/full-sync/jobs?wait=false"))
        for method, target in publish:
            self.assertEqual(service.call(target, method).status, 202)
            for headers, says in (({"X-Forwarded-For": "127.0.0.1"}, "proxy"), ({"Forwarded": "for=127.0.0.1"}, "proxy"), ({"Via": "1.1 x"}, "proxy"),
                                  ({"Origin": "http://localhost"}, "web page"), ({"Referer": "http://evil.example/"}, "web page"),
                                  ({"Sec-Fetch-Site": "cross-site"}, "web page"), ({"Host": "evil.example"}, "another host")):
                self.assert_refused(service.call(target, method, headers=headers), 403, "forbidden", says=says)
        self.assertEqual(service.call("/status/jobs", headers={"X-Forwarded-For": "1.2.3.4"}).status, 200)

    def test_from_another_address(self):
        address = own_address()
        if not address:
            self.skipTest("this machine has no address but loopback")
        self.assert_refused(self.serve().call("/ingest/jobs?wait=false", host=address), 403, "forbidden", says="only this machine")
        self.assertEqual(self.serve().call("/health", host=address).status, 200)
        self.assertEqual(self.serve(API_ALLOW_UNAUTHENTICATED="true").call("/ingest/jobs?wait=false", host=address).status, 202)
        with self.assertRaises(OSError):
            self.serve(API_BIND="127.0.0.1").call("/health", host=address)

    def test_settings_that_cannot_hold(self):
        taken = self.serve()
        for env, code, says in (({"API_TOKEN": "short"}, 2, "at least 16"), ({"API_TOKEN": TOKEN, "API_ALLOW_UNAUTHENTICATED": "true"}, 2, "only one of them"),
                                ({"API_ALLOW_UNAUTHENTICATED": "maybe"}, 2, "true or false"), ({"ST_TENANT_ID": ""}, 2, "no tenant"), ({"BQ_PROJECT_ID": ""}, 2, "BQ_PROJECT_ID"),
                                ({"API_BIND": "localhost"}, 1, "not an IP address"), ({"PORT": str(taken.port)}, 1, "could not listen on port"), ({"PORT": "0"}, 2, "1 to 65535")):
            done = self.stack.run("st-ingestor", "serve", check=False, env={"PORT": str(free_port()), **env}, timeout=60)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (code, 1), done.stderr)
            self.assertIn(says, done.stderr)
            self.assertNotIn(TOKEN, done.stderr)


class Tenants(Case):
    """Two tenants, one disabled entity."""

    NORTH, SOUTH = 101, 202

    @classmethod
    def setUpClass(cls):
        cls.stack = stack = Stack()
        cls.addClassCleanup(stack.stop)
        stack.start_local("--jobs", 60, "--seed", 31, "--tenant", cls.NORTH, "--tenant", cls.SOUTH)
        stack.env.update(FAST)
        config = json.loads((ROOT / "config/config.json").read_text())
        config["tenants"] = [{"id": cls.NORTH, "clientIdEnv": "ST_CLIENT_ID", "clientSecretEnv": "ST_CLIENT_SECRET", "appKeyEnv": "ST_APP_KEY"},
                             {"id": cls.SOUTH, **{f"{n}Env": f"ST_{v}_{cls.SOUTH}" for n, v in (("clientId", "CLIENT_ID"), ("clientSecret", "CLIENT_SECRET"), ("appKey", "APP_KEY"))}}]
        config["entities"]["payroll"]["enabled"] = False
        path = stack.data / "tenants.json"
        path.write_text(json.dumps(config))
        stack.ingestor("init", "--config", path)
        cls.service = Service(stack, "--config", path)
        cls.stack.start("worker", "st-ingestor", "worker", "--config", path)

    def test_one_entity_of_all_tenants(self):
        reply = self.service.call("/ingest/jobs?mode=full")
        self.assertEqual(reply.status, 200, reply.text)
        body = reply.json
        self.assertEqual(list(body), ["success", "entity", "mode", "recordsProcessed", "runId", "duration", "runs"])
        self.assertIsNone(body["runId"])
        self.assertEqual([run["tenant"] for run in body["runs"]], [self.NORTH, self.SOUTH])
        for run in body["runs"]:
            self.shape(run, tenant=INT, success=BOOL, recordsProcessed=INT, runId=TEXT, duration=INT)
        self.assertEqual(body["recordsProcessed"], sum(run["recordsProcessed"] for run in body["runs"]))
        self.assertEqual(body["recordsProcessed"], self.stack.warehouse_count("jobs"))

    def test_1_one_tenant(self):
        reply = self.service.call(f"/ingest/customers?tenant={self.SOUTH}")
        self.shape(reply.json, success=BOOL, entity=TEXT, mode=TEXT, recordsProcessed=INT, runId=TEXT, duration=INT)
        self.assertEqual(self.service.call(f"/runs/{reply.json['runId']}").json["tenant_id"], self.SOUTH)
        self.assert_refused(self.service.call(f"/runs/{reply.json['runId']}?tenant={self.NORTH}"), 404, "not_found")
        self.assertEqual({run["tenant_id"] for run in self.service.call("/status/customers").json["recentRuns"]}, {self.SOUTH})
        self.assertEqual(self.service.call(f"/status/customers?tenant={self.NORTH}").json["recentRuns"], [])

    def test_2_last_sync_is_what_is_complete_everywhere(self):
        self.service.call(f"/ingest/locations?tenant={self.NORTH}")
        body = self.service.call("/last-sync/locations").json
        self.assertEqual((body["lastSyncTime"], [t["tenant"] for t in body["tenants"]], body["tenants"][1]["lastSyncTime"]), (None, [self.NORTH, self.SOUTH], None))
        self.assertRegex(body["tenants"][0]["lastSyncTime"], TIME)
        self.assertEqual(self.service.call(f"/last-sync/locations?tenant={self.NORTH}").json, {"entity": "locations", "lastSyncTime": body["tenants"][0]["lastSyncTime"]})
        self.service.call(f"/ingest/locations?tenant={self.SOUTH}")
        body = self.service.call("/last-sync/locations").json
        self.assertEqual(body["lastSyncTime"], min(t["lastSyncTime"] for t in body["tenants"]))

    def test_3_all_of_all(self):
        body = self.service.call("/ingest-all?parallel=true").json
        self.assertEqual((body["success"], body["summary"]), (True, {"total": 7, "succeeded": 7, "failed": 0}))
        self.assertEqual([run["tenant"] for run in body["results"]["campaigns"]["runs"]], [self.NORTH, self.SOUTH])

    def test_a_disabled_entity(self):
        enabled = [entity for entity in ENTITIES if entity != "payroll"]
        self.assertEqual(self.service.call("/entities").json, {"entities": enabled, "count": 7})
        self.assert_refused(self.service.call("/ingest/payroll"), 409, "entity_disabled", enabled, says="config.json")
        self.assert_refused(self.service.call("/full-sync/payroll", "POST"), 409, "entity_disabled", enabled)
        self.assertEqual(self.service.call("/status/payroll").status, 200)

    def test_an_unknown_tenant(self):
        self.assert_refused(self.service.call("/ingest/jobs?tenant=303"), 404, "unknown_tenant", ["101", "202"])


if __name__ == "__main__":
    unittest.main()
