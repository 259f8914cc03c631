"""The source is edited all the time and behaves badly; when the edits have stopped, one more incremental makes everything equal."""
import http.server
import re
import threading
import time
import unittest
import urllib.request

from stack import ENTITIES, Stack, log_lines
from stack import http as call

JOBS = 500
KINDS = ["create", "edit", "deactivate", "reactivate"]
PER_SECOND = 5


def list_fault(kind, **members):
    return {"kind": kind, "path": "/tenant/", **members}


class HostileSource(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)

    def begin(self, seed, settings=None, faults=()):
        # History ends before the clock of a server that is behind: a source has no records of its own future.
        behind_s = max(0, -(settings or {}).get("clockSkewMs", 0)) // 1000
        self.stack.start_local("--jobs", JOBS, "--seed", seed, "--base-time", int(time.time()) - behind_s)
        self.stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        self.stack.ingestor("init")
        self.stack.admin("/_admin/settings", settings or {})
        if faults:
            self.stack.admin("/_admin/faults", {"faults": list(faults)})

    def edit_all_the_time(self, per_second, seed=1):
        return self.stack.admin("/_admin/stream", {"entity": "all", "kinds": KINDS, "perSecond": per_second, "seed": seed})

    def sync(self, mode, workers=1):
        self.stack.ingestor("dispatch", "all", "--mode", mode)
        ended = self.stack.drain(workers)
        lines = [line for worker in ended for line in log_lines(worker)]
        self.assertEqual([], [line for line in lines if line["severity"] in ("ERROR", "FATAL")])
        return lines

    def calm_down(self):
        call(f"{self.stack.env['ST_LOCAL_ADMIN_URL']}/_admin/faults", method="DELETE")
        self.stack.admin("/_admin/settings", {"latencyMs": 0, "ratePerSecond": 1000})

    def assert_equal_after_edits(self, seed, settings=None, faults=(), lag_s=0):
        self.begin(seed, settings, faults)
        self.edit_all_the_time(PER_SECOND, seed)
        full = self.sync("full", workers=2)
        self.sync("incremental", workers=2)
        self.assertGreater(self.edit_all_the_time(0)["applied"], 100)
        time.sleep(lag_s)  # the lists' own lag: what a source does, not what a test hopes for
        self.sync("incremental")
        self.calm_down()
        report = self.stack.check("--sample", 0)
        self.assertEqual(report.count("equal"), len(ENTITIES), report)
        return full

    def test_small_pages_and_shuffled_order(self):
        self.assert_equal_after_edits(11, {"shuffle": True, "clampPageSize": True}, [list_fault("page_cap", rows=120, count=1000000)])

    def test_repeated_rows_and_cut_bodies(self):
        faults = [list_fault("duplicate_rows", rows=5, count=10), list_fault("cut_body", skip=3, count=2),
                  list_fault("status", status=503, body="html", skip=6, count=2), list_fault("cut_before", skip=9), list_fault("expire_token", skip=12)]
        self.assert_equal_after_edits(12, {"shuffle": True}, faults)

    def test_throttled_and_slow_with_late_lists(self):
        lines = self.assert_equal_after_edits(13, {"ratePerSecond": 4, "latencyMs": 200, "visibilityLagMs": 2000}, lag_s=2.2)
        self.assertTrue(any(line.get("errorCode") == "http_429" for line in lines))

    def test_the_servers_clock_is_hours_ahead(self):
        """A message published now must not be taken for done because the last frame is, by the server's clock, in our future."""
        self.assert_equal_after_edits(14, {"clockSkewMs": 3 * 3600 * 1000})

    def test_the_servers_clock_is_hours_behind(self):
        self.assert_equal_after_edits(15, {"clockSkewMs": -5 * 3600 * 1000})

    def test_an_unknown_member_lands_in_extra_and_in_drift(self):
        self.begin(16, faults=[list_fault("extra_field", count=1000000)])
        self.sync("full")
        for entity in ENTITIES:
            got = self.stack.query(f"SELECT COUNT(*) AS n, COUNTIF(_extra IS NULL) AS bare FROM `{{p}}.st_raw_v2.raw_{entity}`")[0]
            self.assertGreater(int(got["n"]), 0)
            self.assertEqual(got["bare"], "0", entity)
        drift = self.stack.query("SELECT DISTINCT entity_type, field FROM `{p}.st_logs_v2.schema_drift` WHERE kind = 'unknown_field'")
        self.assertEqual(sorted(row["entity_type"] for row in drift), sorted(ENTITIES), drift)


class Mangler(http.server.BaseHTTPRequestHandler):
    """A proxy before the source that takes the key from the first record of every page."""
    upstream = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        headers = {k: v for k, v in self.headers.items() if k.lower() in ("authorization", "st-app-key")}
        with urllib.request.urlopen(urllib.request.Request(self.upstream + self.path, headers=headers), timeout=60) as reply:
            body = re.sub(rb'"id":\s*\d+', b'"id":"perhaps"', reply.read(), count=1)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class BrokenRecords(unittest.TestCase):
    def test_a_record_that_breaks_its_schema_goes_to_quarantine(self):
        stack = Stack()
        self.addCleanup(stack.stop)
        stack.start_local("--jobs", JOBS, "--seed", 17)
        Mangler.upstream = stack.env["ST_API_URL"]
        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mangler)
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        stack.ingestor("init")
        stack.ingestor("dispatch", "customers", "--mode", "full")
        worker = stack.drain(1, env={"ST_API_URL": f"http://127.0.0.1:{proxy.server_address[1]}"})[0]
        done = [line for line in log_lines(worker) if line["message"] == "Ingestion completed"][0]
        self.assertGreater(done["recordsQuarantined"], 0)
        told = [line for line in log_lines(worker) if line["message"].startswith("Schema validation failed: the key is not an int64")]
        self.assertEqual(sum(line["recordsQuarantined"] for line in told), done["recordsQuarantined"])
        self.assertEqual({(line["severity"], line["runId"]) for line in told}, {("WARN", done["runId"])})
        self.assertEqual(done["recordsFetched"], stack.source_count("customers"))
        self.assertEqual(stack.warehouse_count("customers"), done["recordsFetched"] - done["recordsQuarantined"])
        kept = stack.query("SELECT entity_type, payload FROM `{p}.st_logs_v2.quarantine`")
        self.assertEqual(len(kept), done["recordsQuarantined"])
        self.assertTrue(all("perhaps" in row["payload"] for row in kept), kept)


if __name__ == "__main__":
    unittest.main()
