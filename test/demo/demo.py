#!/usr/bin/env python3
"""The whole pipeline in one command: st-local, init, a full sync, edits at the source, an incremental sync, and the proof.

    demo.py --build build [--jobs 10000] [--seed 1] [--data DIR]

Everything runs on loopback; everything that it starts, it stops.
"""
import argparse
import json
import pathlib
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from stack import ENTITIES, Stack, StackError  # noqa: E402

WORKERS = 2
EDITS = [("jobs", 300), ("invoices", 200), ("estimates", 150), ("payments", 150), ("payroll", 200), ("customers", 100), ("locations", 100), ("campaigns", 5)]
QUERIES = {
    "Recent runs": """SELECT entity_type, start_time, status, records_inserted, duration_ms
FROM `{p}.st_logs_v2.ingestion_logs`
WHERE DATE(start_time) = CURRENT_DATE()
ORDER BY start_time DESC
LIMIT 8""",
    "Sync state": """SELECT entity_type, last_sync_time, records_processed
FROM `{p}.st_logs_v2.sync_state`
ORDER BY updated_at DESC""",
    "Invoice totals": """SELECT COUNT(*) AS invoices, SUM(total) AS total
FROM `{p}.st_raw_v2.raw_invoices`""",
}


def rows(stack, sql):
    """Rows as dicts of text, times as people read them."""
    found = stack.query(sql)
    times = [f["name"] for f in stack.fields if f["type"] == "TIMESTAMP"]
    for row in found:
        for name in times:
            row[name] = row[name] and time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(row[name]) // 1000000))
    return found


class Progress:
    """A line per entity, repainted on a terminal; elsewhere a line per entity that is done."""

    def __init__(self, title):
        self.state = {e: ("waiting", 0, -1, 0) for e in ENTITIES}
        self.offsets = {}
        self.live = sys.stdout.isatty()
        self.painted = False
        print(f"\n{title}")

    def update(self, workers):
        for worker in workers:
            self.read(worker.log)
        self.paint()

    def read(self, path):
        with open(path, "rb") as file:
            file.seek(self.offsets.get(path, 0))
            data = file.read()
        end = data.rfind(b"\n") + 1
        self.offsets[path] = self.offsets.get(path, 0) + end
        for line in data[:end].splitlines():
            if line.startswith(b"{"):
                self.event(json.loads(line))

    def event(self, line):
        entity = line.get("entityType")
        states = {"Ingestion started": "running", "Ingestion progress": "running", "Ingestion completed": "done"}
        word = states.get(line["message"])
        if entity not in self.state or not word:
            return
        self.state[entity] = (word, line.get("recordsFetched", 0), line.get("recordsExpected", -1), line.get("durationMs", 0))
        if word == "done" and not self.live:
            print(f"  {entity:<10} {line['recordsFetched']:>8} records in {line['durationMs'] / 1000:.1f} s", flush=True)

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
    progress = Progress(title)
    progress.update(stack.drain(WORKERS, while_running=progress.update))
    return time.monotonic() - started


def last_runs(stack):
    sql = """SELECT entity_type, rows_changed, duration_ms FROM `{p}.st_logs_v2.ingestion_logs`
WHERE mode = 'incremental' AND status = 'success' QUALIFY ROW_NUMBER() OVER (PARTITION BY entity_type ORDER BY start_time DESC) = 1"""
    return {r["entity_type"]: r for r in stack.query(sql)}


def print_table(table):
    if not table:
        print("  (no rows)")
        return
    names = list(table[0])
    widths = [max(len(n), *(len(str(r[n])) for r in table)) for n in names]
    print("  " + "  ".join(n.ljust(w) for n, w in zip(names, widths)))
    for row in table:
        print("  " + "  ".join(str(row[n]).rjust(w) if str(row[n]).replace(".", "").lstrip("-").isdigit() else str(row[n]).ljust(w) for n, w in zip(names, widths)))


def compare(stack, edited):
    runs, table, equal = last_runs(stack), [], True
    for entity in ENTITIES:
        run, source, warehouse = runs.get(entity, {}), stack.source_count(entity), stack.warehouse_count(entity)
        equal = equal and source == warehouse
        table.append({"entity": entity, "source": source, "warehouse": warehouse, "edited": edited.get(entity, 0), "changed": run.get("rows_changed", "-"),
                      "seconds": f"{int(run.get('duration_ms', 0)) / 1000:.1f}", "": "equal" if source == warehouse else "DIFFERENT"})
    print("\nSource and warehouse after the incremental sync")
    print_table(table)
    return equal


def tell_how_to_go_on(build, data):
    print(f"""
Go on by hand:
  {build}/st-local --data {data}/local --env-file {data}/env &   # the same warehouse again
  sleep 1; until [ -s {data}/env ]; do sleep 0.2; done; . {data}/env
  {build}/st-ingestor init; {build}/st-ingestor dispatch all; {build}/st-ingestor worker --drain
  {build}/st-ingestor status
  test/check/check.py                                  # every column of 200 rows per entity, by an independent checker""")


def demo(stack, args):
    stack.start_local("--jobs", args.jobs, "--seed", args.seed)
    stack.env.update(RATE_LIMIT_PER_SECOND="50", ST_RATE_BURST="60", LOG_PROGRESS_SECONDS="1", WORKER_CONCURRENCY="4")
    made = stack.ingestor("init").stdout.splitlines()[-1]
    print(f"st-local runs with a company of {args.jobs} jobs; init: {made}")
    stack.ingestor("dispatch", "all", "--mode", "full")
    full = drain(stack, f"Full sync of all entities by {WORKERS} workers")
    for entity, count in EDITS:
        stack.edit(entity, count)
    stack.ingestor("dispatch", "all", "--mode", "incremental")
    incremental = drain(stack, f"{sum(dict(EDITS).values())} records edited or created at the source; incremental sync")
    equal = compare(stack, dict(EDITS))
    for title, sql in QUERIES.items():
        print(f"\n{title}\n" + "\n".join("    " + line for line in sql.replace("{p}", stack.env["BQ_PROJECT_ID"]).splitlines()))
        print_table(rows(stack, sql))
    print(f"\nfull sync {full:.1f} s, incremental sync {incremental:.1f} s, each with some seconds of waiting for further messages")
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", help="folder for the data (default: a new one, kept so that you can go on)")
    args = parser.parse_args()
    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # what was started is stopped then, too
    with Stack(args.build, args.data) as stack:
        try:
            equal = demo(stack, args)
        except StackError as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\ndemo: stopped", file=sys.stderr)
            return 130
        tell_how_to_go_on(args.build, stack.data)
        print(f"\n{'All eight entities agree' if equal else 'SOURCE AND WAREHOUSE DIFFER'}; {time.monotonic() - started:.0f} s in all. Data: {stack.data}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
