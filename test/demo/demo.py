#!/usr/bin/env python3
"""The whole pipeline in one command: st-local, init, a full sync, edits at the source, an incremental sync, and the proof.

    demo.py --build build [--jobs 10000] [--seed 1] [--data DIR]

Everything runs on loopback; everything that it starts, it stops.
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENTITIES = ["jobs", "invoices", "estimates", "payments", "payroll", "customers", "locations", "campaigns"]
WORKERS = 2
EDITS = [("jobs", 300), ("invoices", 200), ("estimates", 150), ("payments", 150), ("payroll", 200), ("customers", 100), ("locations", 100), ("campaigns", 5)]
QUERIES = {
    "Recent runs": """SELECT entity_type, start_time, status, records_inserted, duration_ms
FROM `{project}.st_logs_v2.ingestion_logs`
WHERE DATE(start_time) = CURRENT_DATE()
ORDER BY start_time DESC
LIMIT 8""",
    "Sync state": """SELECT entity_type, last_sync_time, records_processed
FROM `{project}.st_logs_v2.sync_state`
ORDER BY updated_at DESC""",
    "Invoice totals": """SELECT COUNT(*) AS invoices, SUM(total) AS total
FROM `{project}.st_raw_v2.raw_invoices`""",
}


def fail(message):
    raise SystemExit(f"demo: {message}")


class Stack:
    """The processes of the demo; all of them end with it."""

    def __init__(self, build, data, env):
        self.build, self.data, self.env = build, pathlib.Path(data), env
        self.processes = []

    def start(self, name, *command, env=None):
        log = open(self.data / f"{name}.log", "wb")
        process = subprocess.Popen([str(self.build / command[0]), *command[1:]], stdout=log, stderr=subprocess.STDOUT, env=env or self.env, cwd=ROOT)
        process.name = name
        self.processes.append(process)
        return process

    def run(self, *command):
        done = subprocess.run([str(self.build / command[0]), *command[1:]], env=self.env, cwd=ROOT, text=True, capture_output=True)
        if done.returncode:
            fail(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start_local(stack, args):
    file = stack.data / "env"
    local = stack.start("st-local", "st-local", "--data", str(stack.data / "local"), "--jobs", str(args.jobs), "--seed", str(args.seed), "--env-file", str(file))
    deadline = time.monotonic() + 30
    while not file.exists():
        if local.poll() is not None or time.monotonic() > deadline:
            fail(f"st-local did not start: {(stack.data / 'st-local.log').read_text()[-500:]}")
        time.sleep(0.02)
    for line in file.read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        if name.isidentifier():
            stack.env[name] = value.strip("'\"")


def get(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=120))


def query(env, sql):
    """Rows as dicts of text; times as Unix microseconds."""
    url = f"{env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{env['BQ_PROJECT_ID']}/queries"
    reply = get(url, {"query": sql, "useLegacySql": False, "timeoutMs": 60000, "formatOptions": {"useInt64Timestamp": True}})
    if not reply.get("jobComplete"):
        fail("a query did not end within a minute")
    fields = reply["schema"]["fields"]
    return [{f["name"]: show(f, c["v"]) for f, c in zip(fields, row["f"])} for row in reply.get("rows", [])]


def show(field, value):
    if value is not None and field["type"] == "TIMESTAMP":
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(value) // 1000000))
    return value


class Progress:
    """A line per entity, repainted on a terminal; elsewhere a line per event that ends something."""

    def __init__(self, stack, names, title):
        self.stack, self.logs = stack, [stack.data / f"{n}.log" for n in names]
        self.state = {e: ("waiting", 0, -1, 0) for e in ENTITIES}
        self.offsets = [0] * len(self.logs)
        self.live = sys.stdout.isatty()
        self.painted = False
        print(f"\n{title}")

    def read(self):
        for i, path in enumerate(self.logs):
            with open(path, "rb") as file:
                file.seek(self.offsets[i])
                data = file.read()
            end = data.rfind(b"\n") + 1
            self.offsets[i] += end
            for line in data[:end].splitlines():
                self.event(json.loads(line))

    def event(self, line):
        entity = line.get("entityType")
        if entity not in self.state:
            return
        states = {"Ingestion started": "running", "Ingestion progress": "running", "Ingestion completed": "done"}
        word = states.get(line["message"])
        if not word:
            return
        self.state[entity] = (word, line.get("recordsFetched", 0), line.get("recordsExpected", -1), line.get("durationMs", 0))
        if word == "done" and not self.live:
            print(f"  {entity:<10} {line['recordsFetched']:>8} records in {line['durationMs'] / 1000:.1f} s")

    def paint(self):
        if not self.live:
            return
        if self.painted:
            sys.stdout.write(f"\x1b[{len(ENTITIES)}A")
        for entity in ENTITIES:
            word, records, expected, ms = self.state[entity]
            share = f"{100 * records // expected:>3} %" if expected > 0 and word == "running" else "     "
            rate = f"{records * 1000 // ms:>7}/s" if ms else ""
            sys.stdout.write(f"\x1b[2K  {entity:<10} {word:<8} {records:>8} {share} {rate}\n")
        sys.stdout.flush()
        self.painted = True


def drain(stack, title):
    """Two workers until the subscriptions are empty."""
    started = time.monotonic()
    names = [f"worker-{len(stack.processes)}-{i}" for i in range(WORKERS)]
    workers = [stack.start(n, "st-ingestor", "worker", "--drain") for n in names]
    progress = Progress(stack, names, title)
    while any(w.poll() is None for w in workers):
        progress.read()
        progress.paint()
        time.sleep(0.1)
    progress.read()
    progress.paint()
    for worker in workers:
        if worker.returncode:
            fail(f"{worker.name} ended with {worker.returncode}: {(stack.data / (worker.name + '.log')).read_text()[-800:]}")
    return time.monotonic() - started


def counts(env):
    source = {e: int(get(f"{env['ST_LOCAL_ADMIN_URL']}/_admin/count?tenant={env['ST_TENANT_ID']}&entity={e}")["count"]) for e in ENTITIES}
    warehouse = {}
    for entity in ENTITIES:
        rows = query(env, f"SELECT COUNT(*) AS n FROM `{env['BQ_PROJECT_ID']}.st_raw_v2.raw_{entity}` WHERE _deleted_at IS NULL")
        warehouse[entity] = int(rows[0]["n"])
    return source, warehouse


def last_runs(env):
    sql = f"""SELECT entity_type, records_fetched, rows_changed, duration_ms FROM `{env['BQ_PROJECT_ID']}.st_logs_v2.ingestion_logs`
WHERE mode = 'incremental' AND status = 'success' QUALIFY ROW_NUMBER() OVER (PARTITION BY entity_type ORDER BY start_time DESC) = 1"""
    return {r["entity_type"]: r for r in query(env, sql)}


def print_table(rows):
    names = list(rows[0])
    widths = [max(len(n), *(len(str(r[n])) for r in rows)) for n in names]
    print("  " + "  ".join(n.ljust(w) for n, w in zip(names, widths)))
    for row in rows:
        print("  " + "  ".join(str(row[n]).rjust(w) if str(row[n]).replace(".", "").lstrip("-").isdigit() else str(row[n]).ljust(w) for n, w in zip(names, widths)))


def compare(env, edited):
    source, warehouse = counts(env)
    runs = last_runs(env)
    rows = []
    for entity in ENTITIES:
        run = runs.get(entity, {})
        rows.append({"entity": entity, "source": source[entity], "warehouse": warehouse[entity], "edited": edited.get(entity, 0), "changed": run.get("rows_changed", "-"),
                     "seconds": f"{int(run.get('duration_ms', 0)) / 1000:.1f}", "": "equal" if source[entity] == warehouse[entity] else "DIFFERENT"})
    print("\nSource and warehouse after the incremental sync")
    print_table(rows)
    return source == warehouse


def edit(env):
    for entity, count in EDITS:
        get(f"{env['ST_LOCAL_ADMIN_URL']}/_admin/edits", {"tenant": int(env["ST_TENANT_ID"]), "entity": entity, "count": count, "kinds": ["create", "edit", "deactivate"], "seed": 7})
    return dict(EDITS)


def tell_how_to_go_on(build, data):
    print(f"""
Go on by hand:
  {build}/st-local --data {data}/local --env-file {data}/env &     # the same warehouse again
  set -a; . {data}/env; set +a
  {build}/st-ingestor init; {build}/st-ingestor dispatch all; {build}/st-ingestor worker --drain
  {build}/st-ingestor status
  test/check/check.py                                  # every column of 200 rows per entity, by an independent checker""")


def demo(stack, args):
    start_local(stack, args)
    stack.env.update(RATE_LIMIT_PER_SECOND="50", ST_RATE_BURST="60", LOG_PROGRESS_SECONDS="1")
    made = stack.run("st-ingestor", "init").splitlines()[-1]
    print(f"st-local runs with a company of {args.jobs} jobs; init: {made}")
    stack.run("st-ingestor", "dispatch", "all", "--mode", "full")
    full = drain(stack, f"Full sync of all entities by {WORKERS} workers")
    edited = edit(stack.env)
    stack.run("st-ingestor", "dispatch", "all", "--mode", "incremental")
    incremental = drain(stack, f"{sum(edited.values())} records edited or created at the source; incremental sync")
    equal = compare(stack.env, edited)
    for title, sql in QUERIES.items():
        print(f"\n{title}\n" + "\n".join("    " + line for line in sql.format(project=stack.env["BQ_PROJECT_ID"]).splitlines()))
        print_table(query(stack.env, sql.format(project=stack.env["BQ_PROJECT_ID"])))
    print(f"\nfull sync {full:.1f} s, incremental sync {incremental:.1f} s (each with {3} s of waiting for more messages)")
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", help="folder for the data (default: a new one, kept so that you can go on)")
    args = parser.parse_args()
    data = pathlib.Path(args.data or tempfile.mkdtemp(prefix="st-demo-")).resolve()
    data.mkdir(parents=True, exist_ok=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ST_", "BQ_", "PUBSUB_", "BIGQUERY_", "GOOGLE_"))}
    stack = Stack((ROOT / args.build).resolve(), data, env)
    started = time.monotonic()
    try:
        equal = demo(stack, args)
        tell_how_to_go_on(args.build, data)
        print(f"\n{'All eight entities agree' if equal else 'SOURCE AND WAREHOUSE DIFFER'}; {time.monotonic() - started:.0f} s in all. Data: {data}")
    finally:
        stack.stop()
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
