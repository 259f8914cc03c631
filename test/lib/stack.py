"""Processes of a test or demo: st-local, workers, commands; all on loopback, all ended with the stack. Standard library only."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import logcheck

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENTITIES = ["jobs", "invoices", "estimates", "payments", "payroll", "customers", "locations", "campaigns"]
NO_ACTIVE_FLAG = ("jobs", "payroll")
OURS = ("ST_", "BQ_", "PUBSUB_", "BIGQUERY_", "GOOGLE_", "WORKER_", "LOG_", "LOOKBACK_", "RATE_", "MAX_", "SYNC_", "DEFAULT_MODE", "FULL_SYNC_DAY", "QUARANTINE_", "SCHEDULE_", "PORT", "API_")


class StackError(Exception):
    pass


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(OURS)}


def http(url, body=None, method=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        return json.load(urllib.request.urlopen(request, timeout=300))
    except urllib.error.HTTPError as error:
        raise StackError(f"{url}: {error.code} {error.read().decode(errors='replace')[:800]}") from None


class Stack:
    def __init__(self, build="build", data=None):
        self.build = (ROOT / build).resolve()
        self.data = pathlib.Path(data or tempfile.mkdtemp(prefix="st-")).resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self.env = clean_environment()
        self.processes = []
        self.local = None
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- processes ----
    def words(self, command):
        """The program's path and its words; a developer's own .env stays out of tests."""
        own = ["--env-file", "/dev/null"] if command[0] == "st-ingestor" and len(command) > 1 and "--env-file" not in command else []
        return [str(self.build / command[0]), *map(str, command[1:]), *own]

    def start(self, name, *command, env=None, wrapper=()):
        self.count += 1
        log = self.data / f"{self.count:02}-{name}.log"
        words = [*wrapper, *self.words(command)]
        with open(log, "wb") as out:
            process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**self.env, **(env or {})}, cwd=ROOT)
        process.log = log
        process.title = name
        process.wrapper = wrapper
        process.logs_json = command[0] == "st-ingestor"
        process.port = int((env or {}).get("WORKER_PORT", self.env.get("WORKER_PORT", 0))) if "worker" in command else 0
        self.processes.append(process)
        return process

    def run(self, *command, env=None, check=True, timeout=300):
        done = subprocess.run(self.words(command), env={**self.env, **(env or {})}, cwd=ROOT, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout)
        if command[0] == "st-ingestor":
            logcheck.check_lines(" ".join(map(str, command)), [line for line in done.stderr.splitlines() if line.startswith("{")])
        if check and done.returncode:
            raise StackError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
        return done

    def ingestor(self, *command, **more):
        return self.run("st-ingestor", *command, **more)

    def start_local(self, *options, wrapper=()):
        """Starts st-local (again) on the stack's data folder and takes over what it exports."""
        file = self.data / "env"
        file.unlink(missing_ok=True)
        self.local = self.start("st-local", "st-local", "--data", self.data / "local", "--env-file", file, *options, wrapper=wrapper)
        deadline = time.monotonic() + 60
        while not file.exists():
            if self.local.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"st-local did not start: {tail(self.local)}")
            time.sleep(0.02)
        for line in file.read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            if name.isidentifier():
                self.env[name] = value.strip("'\"")

    def kill_local(self):
        self.local.kill()
        self.local.wait()

    def stop(self):
        """Ends everything, then holds what was logged and counted against the rules; raises what it finds."""
        ended, self.processes = self.processes, []
        try:
            for process in ended:
                if process.port and process.poll() is None:
                    logcheck.check_balance(self.metrics(process))
        finally:
            self.end(ended)
        for process in ended:
            if process.logs_json:
                logcheck.check_process(process)

    @staticmethod
    def end(processes):
        for process in reversed(processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def drain(self, workers=1, env=None, wrapper=(), timeout=600, while_running=None, codes=(0,), idle=1):
        """Workers until the lanes are empty; returns them, all ended with one of the exit codes."""
        started = [self.start("worker", "st-ingestor", "worker", "--drain", "--idle", str(idle), env=env, wrapper=wrapper) for _ in range(workers)]
        deadline = time.monotonic() + timeout
        while any(w.poll() is None for w in started):
            if while_running:
                while_running(started)
            if time.monotonic() > deadline:
                raise StackError(f"workers did not end: {tail(started[0])}")
            time.sleep(0.1)
        for worker in started:
            if worker.returncode not in codes:
                raise StackError(f"{worker.title} ended with {worker.returncode}: {tail(worker)}")
        return started

    # ---- a worker's own server ----
    @staticmethod
    def get(process, path, method="GET"):
        """Status, headers and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{process.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.headers, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def metrics(self, process):
        return logcheck.parse_metrics(self.get(process, "/metrics")[2])

    # ---- the servers ----
    def admin(self, path, body=None):
        return http(f"{self.env['ST_LOCAL_ADMIN_URL']}{path}", body)

    # ---- the fault bench of st-local (GET /_admin describes it) ----
    def bench(self, path, body=None, method=None):
        for name in ("ST_LOCAL_ADMIN_URL", "ST_LOCAL_PUBSUB_ADMIN_URL", "BIGQUERY_EMULATOR_HOST"):
            if name in self.env:
                return http(f"{self.env[name]}/_admin/{path}", body, method)
        raise StackError("st-local has not been started")

    def fault(self, method, kind, **rule):
        """Arms a fault for the next request of the method (a pattern); returns its id, for fired()."""
        return self.bench("faults", {"method": method, "kind": kind, **rule})["ids"][0]

    def fired(self, rule=None):
        """The faults that have happened, in order; of one rule, or of all."""
        return [f for f in self.bench("faults")["fired"] if rule in (None, f["id"])]

    def clear_faults(self):
        self.bench("faults", method="DELETE")

    def hazards(self, **switches):
        return self.bench("hazards", switches)

    def requests(self, since=None):
        """How many came: {"total", "effects", "methods": {name: {"seen", "effects", "failed"}}}; the ones after `since` as "log".

        A test's own query() is a request, too: bigquery.jobs.query, which no program of ours sends."""
        return self.bench("requests" if since is None else f"requests?since={since}")

    def count_from_here(self):
        self.bench("requests", method="DELETE")

    def hold(self, **which):
        """Stops one request: number=k, or method=pattern and nth=k; where="before" or "after" its effect."""
        return self.bench("hold", which)

    def wait_for_hold(self, timeout_s=60):
        """Until that request has come."""
        reply = self.bench(f"hold?timeoutMs={int(timeout_s * 1000)}")
        if not reply["arrived"]:
            raise StackError(f"the request to hold did not come: {reply}")
        return reply

    def release_hold(self, cut=False):
        self.bench(f"hold?cut={'true' if cut else 'false'}", method="DELETE")

    def source_count(self, entity):
        return int(self.admin(f"/_admin/count?tenant={self.env['ST_TENANT_ID']}&entity={entity}")["total"])

    def edit(self, entity, count, kinds=None, seed=7):
        """Edits, creations and, where the entity has an active flag, deactivations, at the source's present."""
        kinds = kinds or ("create", "edit", *(["deactivate"] if entity not in NO_ACTIVE_FLAG else []))
        return self.admin("/_admin/edits", {"tenant": int(self.env["ST_TENANT_ID"]), "entity": entity, "count": count, "kinds": list(kinds), "seed": seed})

    def query(self, sql):
        """Rows as dicts of text (times: Unix microseconds as text)."""
        base = f"{self.env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{self.env['BQ_PROJECT_ID']}/queries"
        reply = http(base, {"query": sql.replace("{p}", self.env["BQ_PROJECT_ID"]), "useLegacySql": False, "timeoutMs": 100000, "formatOptions": {"useInt64Timestamp": True}})
        job = reply["jobReference"]
        while not reply.get("jobComplete"):
            reply = http(f"{base}/{job['jobId']}?location={job.get('location', 'US')}&timeoutMs=100000&formatOptions.useInt64Timestamp=true")
        fields = reply.get("schema", {}).get("fields", [])  # DML has none
        self.fields = fields
        return [{f["name"]: c["v"] for f, c in zip(fields, row["f"])} for row in reply.get("rows", [])]

    def warehouse_count(self, entity):
        return int(self.query(f"SELECT COUNT(*) AS n FROM `{{p}}.st_raw_v2.raw_{entity}` WHERE _deleted_at IS NULL")[0]["n"])

    def check(self, *arguments):
        """The independent checker; raises with its report when anything differs."""
        done = subprocess.run([str(ROOT / "test/check/check.py"), *map(str, arguments)], env=self.env, cwd=ROOT, text=True, capture_output=True)
        if done.returncode:
            raise StackError(f"source and warehouse differ:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
        return done.stdout


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, condition):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        got = condition()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def tail(process, size=1200):
    return process.log.read_text(errors="replace")[-size:]


def log_lines(process):
    """The JSON log lines of a worker."""
    return [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
