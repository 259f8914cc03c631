#!/usr/bin/env python3
"""Everything goes wrong at random, and afterwards everything must be right.

    chaos.py --build build [--duration 60] [--seed N] [--workers 3] [--json FILE]

Workers sync all entities of two tenants from a simulated ServiceTitan into a local BigQuery while records are edited, messages come (twins,
full syncs, backfills and poison among them), and every 0.2 to 3 s something happens: kill -9, SIGTERM, SIGSTOP, connections cut or frozen,
faults and hazards of the three services. Then the storm ends, the lanes drain, and source and warehouse are compared. The same seed draws
the same mischief. Exit codes: 0 all is right, 1 something is not (what, where, and the folder of logs are told), 2 wrong use.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
import verify  # noqa: E402
from fleet import Fleet  # noqa: E402
from mischief import Mischief  # noqa: E402
from network import Network  # noqa: E402
from stack import ROOT, Stack, StackError, http, log_lines  # noqa: E402
from traffic import Dispatcher, Editor, Watcher  # noqa: E402

TENANTS = (101, 202)
PROGRESS_S = 10
DRAIN_S = 300
OVERLAP_S = 300
LAG_S = 120  # lists show an edit so late
TOLD_S = 0.05


class ChaosStack(Stack):
    def pubsub_stats(self):
        return http(f"{self.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub")["subscriptions"]


class Chaos:
    def __init__(self, options):
        self.options = options
        self.began = time.monotonic()
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="chaos-"))
        self.problems = []
        self.stack = ChaosStack(options.build, self.data)
        self.marker = f"CHAOS_RUN={self.data}"
        self.diary = open(self.data / "mischief.log", "w")
        self.summary = {"seed": options.seed, "workers": options.workers, "duration_s": options.duration}

    # ---- telling ----
    def tell(self, text):
        print(f"chaos {time.monotonic() - self.began:5.0f} s  {text}", flush=True)

    def note(self, text):
        self.diary.write(f"{time.monotonic() - self.began:8.2f} {text}\n")
        self.diary.flush()

    def found(self, problem):
        self.problems.append(problem)
        self.note(f"VIOLATION {problem}")
        self.tell(f"VIOLATION (seed {self.options.seed}): {problem}")

    # ---- the stage ----
    def begin(self):
        stack, scale = self.stack, self.options.scale
        stack.env.update(ST_CLOCK_SCALE=str(scale), ST_CLOCK_BASE=str(int(time.time())), CHAOS_RUN=str(self.data))
        tenants = [word for tenant in TENANTS for word in ("--tenant", tenant)]
        if self.options.local_build:
            stack.build = (ROOT / self.options.local_build).resolve()
        stack.start_local("--jobs", self.options.jobs, "--seed", self.options.seed % 1000, "--visibility-lag-ms", LAG_S * 1000, *tenants)
        stack.build = (ROOT / self.options.build).resolve()
        stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120", ST_PAGE_SIZE="100", SYNC_OVERLAP_SECONDS=str(OVERLAP_S))
        self.arguments = ("--config", self.write_config())
        self.network = Network({"pubsub": stack.env["PUBSUB_EMULATOR_HOST"], "write": stack.env["BIGQUERY_STORAGE_EMULATOR_HOST"],
                                "bigquery": stack.env["BIGQUERY_EMULATOR_HOST"].removeprefix("http://"),
                                "servicetitan": stack.env["ST_API_URL"].removeprefix("http://")})
        stack.ingestor("init", *self.arguments)
        self.fleet = Fleet(stack, self.options.workers, self.arguments, self.worker_environment(), self.note, self.found)
        self.mischief = Mischief(random.Random(f"{self.options.seed}/mischief"), stack, self.network, self.fleet, scale, self.options.gap, self.note)
        self.dispatcher = Dispatcher(self.options.seed, stack, TENANTS)
        self.editor = Editor(self.options.seed, stack, TENANTS)
        self.watcher = Watcher(stack)

    def write_config(self):
        """All tenants, each by variables of its own."""
        config = json.loads((ROOT / "config/config.json").read_text())
        self.secrets = {}
        config["tenants"] = []
        for tenant in TENANTS:
            suffix = "" if tenant == TENANTS[0] else f"_{tenant}"
            names = {key: f"ST_{name}{suffix}" for key, name in (("clientIdEnv", "CLIENT_ID"), ("clientSecretEnv", "CLIENT_SECRET"), ("appKeyEnv", "APP_KEY"))}
            config["tenants"].append({"id": tenant, "name": f"tenant {tenant}", **names})
            self.secrets[tenant] = {name: self.stack.env[f"{name}{suffix}"] for name in ("ST_CLIENT_ID", "ST_CLIENT_SECRET", "ST_APP_KEY")}
        path = self.data / "config.json"
        path.write_text(json.dumps(config))
        return path

    def worker_environment(self):
        """Workers meet the services through the relays only."""
        at = self.network.address
        return {"PUBSUB_EMULATOR_HOST": at("pubsub"), "BIGQUERY_STORAGE_EMULATOR_HOST": at("write"), "BIGQUERY_EMULATOR_HOST": f"http://{at('bigquery')}",
                "ST_API_URL": f"http://{at('servicetitan')}", "ST_AUTH_URL": f"http://{at('servicetitan')}/connect/token"}

    # ---- the storm, and after it ----
    def storm(self):
        threads = (self.dispatcher, self.editor, self.watcher)
        self.dispatcher.all_at_once("full")
        for thread in threads:
            thread.start()
        ends_at, tells_at = time.monotonic() + self.options.duration, time.monotonic() + PROGRESS_S
        while time.monotonic() < ends_at or sum(self.mischief.counts.values()) < self.options.least:
            self.mischief.tick()
            self.fleet.tick()
            if time.monotonic() >= tells_at:
                tells_at += PROGRESS_S
                self.progress()
            time.sleep(TOLD_S)
        self.summary["faults_fired"] = self.stack.bench("faults").get("firedCount", 0)  # calm() forgets them
        self.mischief.calm()
        for thread in (self.dispatcher, self.editor):
            thread.end()
        self.problems += [thread.failed for thread in threads if thread.failed]

    def progress(self):
        counts = self.mischief.counts
        self.tell(f"{counts['kill']} kills, {counts['term']} SIGTERMs, {counts['stop']} stops, {counts['cut']} cuts, {counts['fault']} faults; "
                  f"{len(self.dispatcher.sent)} messages sent, {self.dispatcher.backlog()} waiting; {self.editor.count} edits")

    def drain(self, what):
        """Until the lanes are empty, within bounds; what hangs is told with the state of the queues."""
        ends_at = tells_at = time.monotonic() + PROGRESS_S
        ends_at += self.options.drain
        while waiting := verify.empty_lanes(self.stack):
            self.mischief.run_due()
            self.fleet.tick()
            if time.monotonic() > ends_at:
                self.found(f"{what}: the lanes did not drain within {self.options.drain} s: {'; '.join(waiting)}")
                return
            if time.monotonic() > tells_at:
                tells_at += PROGRESS_S
                self.tell(f"{what}: {'; '.join(waiting)}")
            time.sleep(0.2)

    def calm(self):
        self.tell("the storm is over; the lanes drain")
        began = time.monotonic()
        self.drain("after the storm")
        self.summary["drained_s"] = round(time.monotonic() - began, 1)
        time.sleep(LAG_S / self.options.scale)  # the last edits show in the lists
        self.dispatcher.all_at_once("incremental")
        self.drain("the last incrementals")
        self.watcher.end()
        self.problems += [self.watcher.failed] if self.watcher.failed else []
        self.fleet.end()

    def check(self):
        self.tell("checking")
        self.count()
        stack, workers = self.stack, self.fleet.all
        lines = [line for worker in workers for line in self.lines(worker)]
        dead = verify.letters(stack, self.arguments)
        self.count_lines(lines, dead)
        checks = [verify.equality(stack, self.secrets), verify.one_row_per_key(stack), verify.messages(stack, self.dispatcher, dead, lines),
                  verify.only_poison(self.dispatcher, dead), verify.watermarks(stack, self.watcher, OVERLAP_S), verify.merged_before(stack),
                  verify.changes(stack), verify.run_log(stack)]
        for problem in sum(checks, []):
            self.found(problem)

    @staticmethod
    def lines(worker):
        """A killed worker's last line may be cut off."""
        try:
            return log_lines(worker)
        except ValueError:
            whole = [line for line in worker.log.read_text(errors="replace").splitlines()[:-1] if line.startswith("{")]
            return [json.loads(line) for line in whole]

    # ---- the numbers ----
    def count(self):
        """Before the checker reads the source itself."""
        source, stats = self.stack.admin("/_admin/stats"), self.stack.pubsub_stats()
        lanes = [s for s in stats if not s["name"].endswith("-operator")]
        distinct = sum(int(self.stack.query(f"SELECT COUNT(DISTINCT CONCAT(CAST(_tenant_id AS STRING), '/', CAST(id AS STRING), '/', CAST(_row_hash AS STRING))) AS n "
                                            f"FROM `{{p}}.st_stage_v2.stage_{entity}`")[0]["n"]) for entity in verify.ENTITIES)
        counts = self.mischief.counts
        self.summary |= {
            "kills": counts["kill"], "sigterms": counts["term"],
            "slowest_sigterm_s": round(self.fleet.slowest_term_s, 1), "stops": counts["stop"], "cuts": counts["cut"] + counts["streams"], "faults": counts["fault"],
            "hazards": counts["hazard"] + counts["latency"], "messages": len(self.dispatcher.sent),
            "edits": self.editor.count, "deliveries": sum(s["acked"] + s["nacked"] + s["expired"] for s in lanes),
            "redeliveries": sum(s["nacked"] + s["expired"] for s in lanes), "source_requests": sum(source["requests"].values()),
            "records_served": source["records"], "records_distinct": distinct, "records_refetched": source["records"] - distinct,
            "merges": int(self.stack.query("SELECT COUNT(DISTINCT CONCAT(target, CAST(change_number AS STRING))) AS n FROM `{p}.st_logs_v2.target_change_events`")[0]["n"]),
            "runs": int(self.stack.query("SELECT COUNT(DISTINCT run_id) AS n FROM `{p}.st_logs_v2.ingestion_log_events`")[0]["n"]),
        }

    def count_lines(self, lines, dead):
        """A resumed run says so in its log: a message with the word, or a member of that name that is not empty."""
        resumed = {line["runId"] for line in lines if "runId" in line and
                   ("resum" in line["message"].lower() or any(name.lower().startswith("resum") and value for name, value in line.items()))}
        again = {line["runId"] for line in lines if line["message"] == "Ingestion started" and line.get("deliveryAttempt", 0) > 1}
        self.summary |= {"runs_of_redeliveries": len(again), "resumed_runs": len(resumed), "dead_letters": len(dead),
                         "twins_skipped": sum(line["message"] == "Task is done already" for line in lines)}

    def end(self):
        """Stops everything; what processes say at their end counts, too."""
        processes = list(self.stack.processes)
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)  # a stopped one does not hear SIGTERM
        self.stack.end(processes)
        self.stack.processes = []
        if hasattr(self, "network"):
            self.network.stop()
        for problem in verify.logs(processes) + verify.orphans(self.marker):
            self.found(problem)
        self.diary.close()

    def report(self):
        self.summary |= {"elapsed_s": round(time.monotonic() - self.began, 1), "violations": self.problems, "verdict": "failed" if self.problems else "passed"}
        for name, value in self.summary.items():
            if name != "violations":
                print(f"  {name:<22} {value}")
        if self.options.json:
            pathlib.Path(self.options.json).write_text(json.dumps(self.summary, indent=1) + "\n")
        if not self.problems and not self.options.keep:
            shutil.rmtree(self.data)
        if not self.problems:
            return 0
        for problem in self.problems:
            print(f"chaos: {problem}")
        print(f"chaos: {len(self.problems)} violations with seed {self.options.seed}; logs are kept in {self.data} (mischief.log tells what happened when)")
        return 1

    def run(self):
        try:
            self.begin()
            self.storm()
            self.calm()
            self.check()
        except (StackError, OSError, KeyError, ValueError) as error:
            self.found(f"the run broke off: {error!r}")
        finally:
            self.end()
        return self.report()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--local-build", help="the folder of st-local, where it is another one")
    parser.add_argument("--duration", type=float, default=60, help="seconds of mischief (60)")
    parser.add_argument("--least", type=int, default=0, metavar="N", help="and until so many things went wrong, however slow the machine is (0)")
    parser.add_argument("--seed", type=int, help="draws everything; default: a random one")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=250, help="jobs per tenant; the other entities follow (250)")
    parser.add_argument("--gap", type=float, nargs=2, default=(0.2, 3.0), metavar=("MIN", "MAX"), help="seconds between two misfortunes (0.2 3.0)")
    parser.add_argument("--scale", type=int, default=20, help="how many times as fast timers run (20)")
    parser.add_argument("--drain", type=float, default=DRAIN_S, help="seconds that the lanes may need to drain afterwards")
    parser.add_argument("--keep", action="store_true", help="keep the folder of logs also when all is right")
    parser.add_argument("--json", help="write the summary into this file")
    options = parser.parse_args()
    if options.workers < 1 or options.duration <= 0 or options.scale < 1 or options.jobs < 1:
        parser.error("--workers, --duration, --scale and --jobs must be positive")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1000000)
    print(f"chaos: seed {options.seed}, {options.workers} workers, {options.duration:g} s", flush=True)
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever ends this ends what it started
    return Chaos(options).run()


if __name__ == "__main__":
    sys.exit(main())
