"""The fault bench of st-local: each fault does what it says to each service, and says that it did. What programs make of faults is for other tests."""
import http.client
import json
import socket
import threading
import time
import unittest
import urllib.parse

from stack import Stack, StackError, log_lines, tail
from stack import http as call

SILENT_S = 0.5
SOON_S = 30
SCALE = 60

# What is armed, what the client sees, whether the request had its effect.
HTTP_CASES = [
    ({"kind": "status", "status": 503, "retryAfter": 7}, 503, False),
    ({"kind": "status", "status": 429}, 429, False),
    ({"kind": "status", "status": 502, "body": "html"}, "html", False),
    ({"kind": "status", "status": 500, "body": "empty"}, 500, False),
    ({"kind": "status", "status": 500, "after": True}, 500, True),
    ({"kind": "delay", "delayMs": 20 * SCALE}, 200, True),
    ({"kind": "delay", "delayMs": 20 * SCALE, "after": True}, 200, True),
    ({"kind": "ignore"}, 200, False),
    ({"kind": "cut_before"}, "cut", False),
    ({"kind": "cut_after"}, "cut", True),
    ({"kind": "silence"}, "silent", False),
    ({"kind": "silence", "after": True}, "silent", True),
    ({"kind": "garbage"}, "garbage", True),
    ({"kind": "garbage", "body": "html"}, "html", True),
    ({"kind": "truncate", "bytes": 10}, "partial", True),
    ({"kind": "duplicate"}, 200, True),
]


def ask(url, method="GET", body=None, headers=None, timeout=SOON_S):
    """What a client sees: a status with JSON behind it, or in one word what was wrong; and the reply."""
    at = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(at.netloc, timeout=timeout)
    try:
        connection.request(method, at.path + (f"?{at.query}" if at.query else ""), body, headers or {})
        reply = connection.getresponse()
        text = reply.read()
    except http.client.IncompleteRead:
        return "partial", None
    except (http.client.RemoteDisconnected, ConnectionError):
        return "cut", None
    except (socket.timeout, TimeoutError):
        return "silent", None
    finally:
        connection.close()
    if text.startswith(b"<html"):
        return "html", reply
    try:
        reply.json = json.loads(text) if text else None
    except ValueError:
        return "garbage", reply
    return reply.status, reply


def patience(rule):
    """Only a server that is to say nothing is not waited for."""
    return SILENT_S if rule["kind"] == "silence" else SOON_S


class Bench(unittest.TestCase):
    options = ()
    scale = SCALE

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.env.update(ST_CLOCK_SCALE=str(cls.scale), ST_CLOCK_BASE=str(int(time.time())))
        cls.stack.start_local("--jobs", 50, "--seed", 3, *cls.options)

    def setUp(self):
        self.stack.clear_faults()
        self.stack.bench("hazards", method="DELETE")
        self.stack.count_from_here()

    def assert_fired(self, rule, count=1):
        self.assertEqual(len(self.stack.fired(rule)), count, self.stack.fired())


class ServiceTitan(Bench):
    options = ("--only", "servicetitan")

    def token(self):
        env = self.stack.env
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": env["ST_CLIENT_ID"], "client_secret": env["ST_CLIENT_SECRET"]})
        return ask(env["ST_AUTH_URL"], "POST", form, {"Content-Type": "application/x-www-form-urlencoded"})

    def test_each_kind_on_a_list(self):
        headers = {"Authorization": f"Bearer {self.token()[1].json['access_token']}", "ST-App-Key": self.stack.env["ST_APP_KEY"]}
        url = f"{self.stack.env['ST_API_URL']}/marketing/v2/tenant/{self.stack.env['ST_TENANT_ID']}/campaigns"
        for rule, seen, _ in HTTP_CASES:
            with self.subTest(rule):
                armed = self.stack.fault("servicetitan.list.campaigns", **rule)
                got, reply = ask(url, headers=headers, timeout=patience(rule))
                self.assertEqual(got, seen)
                self.assert_fired(armed)
                if "retryAfter" in rule:
                    self.assertEqual(reply.getheader("Retry-After"), "7")
                self.assertEqual(ask(url, headers=headers)[0], 200)
        counts = self.stack.requests()
        self.assertEqual(counts["methods"]["servicetitan.list.campaigns"]["seen"], 2 * len(HTTP_CASES))
        self.assertEqual(counts["effects"], 0)

    def test_the_token_fails_too(self):
        armed = self.stack.fault("servicetitan.token", "status", status=500)
        self.assertEqual(self.token()[0], 500)
        self.assertEqual(self.token()[0], 200)
        self.assert_fired(armed)

    def test_the_bench_tells_what_it_can_do_and_refuses_the_rest(self):
        at = f"{self.stack.env['ST_LOCAL_ADMIN_URL']}/_admin"
        with self.assertRaisesRegex(StackError, "no such member"):
            self.stack.fault("*", "delay", ms=5)
        self.assertEqual(ask(f"{at}/hold?timeoutMs=x")[0], 400)
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(at).netloc, timeout=SOON_S)
        connection.request("GET", "/_admin")
        text = connection.getresponse().read().decode()
        for word in ("cut_after", "youngTableMs", "/_admin/hold", "bigquery.job.end"):
            self.assertIn(word, text)


class OverHttp(Bench):
    """BigQuery for a client that speaks HTTP."""
    options = ("--only", "bigquery")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = f"{cls.stack.env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/p"

    def datasets(self):
        return {d["datasetReference"]["datasetId"] for d in call(f"{self.base}/datasets?maxResults=1000").get("datasets", [])}

    def insert_dataset(self, name, timeout=SOON_S):
        return ask(f"{self.base}/datasets", "POST", json.dumps({"datasetReference": {"datasetId": name}}), {"Content-Type": "application/json"}, timeout)

    def insert_job(self, job_id, sql, **more):
        body = {"jobReference": {"projectId": "p", "jobId": job_id}, "configuration": {"query": {"query": sql, "useLegacySql": False}, **more}}
        return ask(f"{self.base}/jobs", "POST", json.dumps(body), {"Content-Type": "application/json"})

    def look(self, job_id):
        return ask(f"{self.base}/jobs/{job_id}")

    def wait_until_done(self, job_id):
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            status, reply = self.look(job_id)
            if status == 200 and reply.json["status"]["state"] == "DONE":
                return reply.json
            time.sleep(0.02)
        self.fail(f"job {job_id} did not end")

    def run_sql(self, sql):
        return call(f"{self.base}/queries", {"query": sql, "useLegacySql": False, "timeoutMs": 20000})


class BigQuery(OverHttp):
    def test_each_kind_on_an_effect(self):
        for number, (rule, seen, effect) in enumerate(HTTP_CASES):
            with self.subTest(rule):
                armed = self.stack.fault("bigquery.datasets.insert", **rule)
                got, reply = self.insert_dataset(f"d{number}", patience(rule))
                self.assertEqual(got, seen)
                self.assert_fired(armed)
                if seen in (503, 429):
                    self.assertEqual(reply.json["error"]["errors"][0]["reason"], "backendError" if seen == 503 else "rateLimitExceeded")
                self.assertEqual(f"d{number}" in self.datasets(), effect)
        self.assertEqual(self.stack.requests()["methods"]["bigquery.datasets.insert"]["effects"], len(HTTP_CASES))

    def test_a_duplicate_comes_twice(self):
        self.stack.fault("bigquery.jobs.insert", "duplicate")
        self.assertEqual(ask(f"{self.base}/jobs", "POST", json.dumps({"configuration": {"query": {"query": "SELECT 1", "useLegacySql": False}}}))[0], 200)
        self.assertEqual(len(call(f"{self.base}/jobs")["jobs"]), 2)

    def test_a_job_hides_after_its_insert_and_after_a_409(self):
        self.stack.hazards(jobsHiddenLooks=2)
        self.assertEqual(self.insert_job("hidden", "SELECT 1")[0], 200)
        self.assertEqual([self.look("hidden")[0] for _ in range(3)], [404, 404, 200])
        self.assertEqual(self.insert_job("hidden", "SELECT 1")[0], 409)
        self.assertEqual([self.look("hidden")[0] for _ in range(3)], [404, 404, 200])

    def test_a_job_takes_minutes(self):
        minutes_ms = 120000
        armed = self.stack.fault("bigquery.job.run", "delay", on="point", path="SELECT 'slow'", delayMs=minutes_ms)
        self.insert_job("quick", "SELECT 'quick'")
        self.assertEqual(self.wait_until_done("quick")["status"], {"state": "DONE"})
        self.assertEqual(self.insert_job("slow", "SELECT 'slow'")[0], 200)
        times = self.wait_until_done("slow")["statistics"]
        self.assertGreaterEqual(int(times["endTime"]) - int(times["startTime"]), minutes_ms)
        self.assert_fired(armed)

    def test_a_job_never_ends_until_it_is_cancelled_or_its_time_is_over(self):
        self.stack.fault("bigquery.job.run", "silence", on="point", count=2)
        self.insert_job("endless", "SELECT 1")
        self.insert_job("limited", "SELECT 1", jobTimeoutMs="60000")
        self.assertIn("timed out", self.wait_until_done("limited")["status"]["errorResult"]["message"])
        self.assertEqual(self.look("endless")[1].json["status"]["state"], "RUNNING")
        call(f"{self.base}/jobs/endless/cancel", {})
        self.assertEqual(self.wait_until_done("endless")["status"]["errorResult"]["reason"], "stopped")

    def test_a_job_fails_because_the_bench_says_so(self):
        self.stack.fault("bigquery.job.run", "status", on="point", status=500, reason="internalError")
        self.insert_job("broken", "SELECT 1")
        self.assertEqual(self.wait_until_done("broken")["status"]["errorResult"]["reason"], "internalError")

    def test_old_jobs_are_forgotten(self):
        self.insert_job("old", "SELECT 1")
        self.wait_until_done("old")
        self.stack.hazards(jobsForgottenMs=1, forgottenIdsAreFree=0)
        self.assertEqual((self.look("old")[0], self.insert_job("old", "SELECT 1")[0]), (404, 409))
        self.assertNotIn("old", [job["jobReference"]["jobId"] for job in call(f"{self.base}/jobs?maxResults=1000")["jobs"]])
        self.stack.hazards(forgottenIdsAreFree=1)
        self.assertEqual(self.insert_job("old", "SELECT 2")[0], 200)
        self.stack.hazards(jobsForgottenMs=0)
        self.assertEqual(self.wait_until_done("old")["configuration"]["query"]["query"], "SELECT 2")


class HeldRequests(OverHttp):
    """A kill at a chosen request; the server's own death between the effect of a job and its record."""

    def test_the_nth_request_is_held_before_and_after_its_effect(self):
        for where, there in (("before", False), ("after", True)):
            self.stack.count_from_here()
            self.stack.hold(number=2, where=where)
            self.datasets()
            name = f"held_{where}"
            thread = threading.Thread(target=call, args=(f"{self.base}/datasets", {"datasetReference": {"datasetId": name}}))
            thread.start()
            held = self.stack.wait_for_hold(SOON_S)
            self.assertEqual((held["number"], held["method"]), (2, "bigquery.datasets.insert"))
            self.assertEqual(name in self.datasets(), there)
            self.stack.release_hold()
            thread.join(SOON_S)
            self.assertIn(name, self.datasets())

    def test_a_killed_server_remembers_the_job_whose_rows_are_there(self):
        self.insert_dataset("d")
        self.run_sql("CREATE TABLE d.t (id INT64)")
        self.stack.hold(method="bigquery.job.end", on="point")
        merge = "MERGE d.t T USING (SELECT 1 AS id) S ON T.id = S.id WHEN NOT MATCHED THEN INSERT (id) VALUES (id)"
        self.assertEqual(self.insert_job("change_1", merge)[0], 200)
        self.stack.wait_for_hold(SOON_S)
        self.stack.kill_local()
        self.stack.start_local("--jobs", 50, "--seed", 3, *self.options)
        type(self).base = f"{self.stack.env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/p"
        job = self.wait_until_done("change_1")
        self.assertEqual(job["status"], {"state": "DONE"})
        self.assertEqual(job["statistics"]["query"]["dmlStats"]["insertedRowCount"], "1")
        self.assertEqual(self.run_sql("SELECT COUNT(*) FROM d.t")["rows"], [{"f": [{"v": "1"}]}])
        self.assertEqual(self.insert_job("change_1", merge)[0], 409)


class PubSub(Bench):
    """Through the product's own publisher and worker."""
    scale = 20

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.ingestor("init")

    def messages(self):
        stats = call(f"{self.stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")["subscriptions"]
        return next(s["ready"] + s["leased"] + s["delayed"] for s in stats if s["name"].endswith("/st-ingest-worker"))

    def publish(self):
        before = self.messages()
        done = self.stack.ingestor("dispatch", "campaigns", "--mode", "full", check=False)
        return done.returncode, self.messages() - before

    def test_0_one_bench_on_every_port(self):
        armed = self.stack.fault("pubsub.*", "delay")
        for name in ("ST_LOCAL_ADMIN_URL", "ST_LOCAL_PUBSUB_ADMIN_URL", "BIGQUERY_EMULATOR_HOST"):
            self.assertEqual([f["id"] for f in call(f"{self.stack.env[name]}/_admin/faults")["faults"]], [armed], name)

    def test_1_each_kind_on_publish(self):
        for rule, expected in (
                ({"kind": "status", "code": "UNAVAILABLE"}, (0, 1)),
                ({"kind": "status", "code": "PERMISSION_DENIED"}, (1, 0)),
                ({"kind": "status", "status": 503, "after": True}, (0, 2)),
                ({"kind": "delay", "delayMs": 1000}, (0, 1)),
                ({"kind": "delay", "delayMs": 1000, "after": True}, (0, 1)),
                ({"kind": "cut_before"}, (0, 1)),
                ({"kind": "cut_after"}, (0, 2)),
                ({"kind": "duplicate"}, (0, 2))):
            with self.subTest(rule):
                armed = self.stack.fault("pubsub.Publish", **rule)
                self.assertEqual(self.publish(), expected)
                self.assert_fired(armed)

    def test_2_a_worker_in_a_storm(self):
        """Everything that is left from before, with each of these once; then the tables are right all the same."""
        rules = [("pubsub.StreamingPull", {"kind": "status", "code": "UNAVAILABLE"}),
                 ("pubsub.StreamingPull", {"kind": "duplicate", "on": "response", "skip": 1}),
                 ("pubsub.delivery", {"kind": "duplicate", "on": "point", "delayMs": 2000}),
                 ("pubsub.Acknowledge", {"kind": "cut_after"}),
                 ("pubsub.ModifyAckDeadline", {"kind": "status", "code": "UNAVAILABLE"}),
                 ("write.AppendRows", {"kind": "cut_after", "skip": 1}),
                 ("write.AppendRows", {"kind": "cut_before", "skip": 2}),
                 ("write.AppendRows", {"kind": "duplicate", "skip": 3}),
                 ("bigquery.jobs.insert", {"kind": "cut_after"}),
                 ("bigquery.jobs.get", {"kind": "truncate", "bytes": 20}),
                 ("servicetitan.list.campaigns", {"kind": "garbage"})]
        self.stack.hazards(jobsHiddenLooks=1, youngTableMs=30000)
        armed = [self.stack.fault(method, **rule) for method, rule in rules]
        worker = self.stack.drain(1, timeout=100)[0]
        for rule, (method, _) in zip(armed, rules):
            self.assertEqual([f["method"] for f in self.stack.fired(rule)], [method])
        lines = log_lines(worker)
        self.assertEqual([], [line for line in lines if line["severity"] in ("ERROR", "FATAL")], tail(worker))
        self.assertEqual(self.messages(), 0)
        got = self.stack.query("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `{p}.st_raw_v2.raw_campaigns`")[0]
        self.assertEqual([int(got["n"]), int(got["ids"])], [self.stack.source_count("campaigns")] * 2)

    def test_3_streams_are_closed_and_silenced_at_once(self):
        worker = self.stack.start("worker", "st-ingestor", "worker")
        deadline = time.monotonic() + SOON_S
        while self.stack.requests()["methods"].get("pubsub.StreamingPull", {}).get("seen", 0) < 2:
            self.assertLess(time.monotonic(), deadline, tail(worker))
            time.sleep(0.02)
        self.assertEqual(self.stack.bench("streams", {"method": "pubsub.StreamingPull", "act": "close"})["streams"], 2)
        while self.stack.requests()["methods"]["pubsub.StreamingPull"]["seen"] < 4:
            self.assertLess(time.monotonic(), deadline, tail(worker))
            time.sleep(0.02)
        self.assertEqual(self.stack.bench("streams", {"method": "pubsub.*", "act": "silence"})["streams"], 2)
        answers = self.stack.requests()["methods"]["pubsub.StreamingPull"]["responses"]
        worker.terminate()
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        self.assertEqual(self.stack.requests()["methods"]["pubsub.StreamingPull"]["responses"], answers)

    def test_4_a_worker_is_killed_exactly_where_its_request_is_held(self):
        """The hook of a sweep: the effect of the held request has happened or not, and the worker never hears of it."""
        for where in ("before", "after"):
            self.stack.edit("campaigns", 2, kinds=("create",))
            self.stack.count_from_here()
            self.stack.hold(method="bigquery.jobs.insert", nth=2, where=where)
            self.assertEqual(self.publish(), (0, 1))
            worker = self.stack.start("worker", "st-ingestor", "worker")
            held = self.stack.wait_for_hold(SOON_S)
            worker.kill()
            worker.wait()
            log = self.stack.requests(since=held["number"] - 1)["log"]
            self.assertEqual((log[0]["method"], log[0]["effect"]), ("bigquery.jobs.insert", True))
            self.stack.release_hold(cut=where == "before")
            second = self.stack.start("worker", "st-ingestor", "worker")
            deadline = time.monotonic() + SOON_S
            while self.messages() or self.stack.warehouse_count("campaigns") < self.stack.source_count("campaigns"):
                self.assertLess(time.monotonic(), deadline, tail(second))
                time.sleep(0.1)
            second.terminate()
            self.assertEqual(second.wait(SOON_S), 0, tail(second))
        got = self.stack.query("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `{p}.st_raw_v2.raw_campaigns`")[0]
        self.assertEqual([int(got["n"]), int(got["ids"])], [self.stack.source_count("campaigns")] * 2)


if __name__ == "__main__":
    unittest.main()
