"""A full or backfill run that dies goes on where it ended: with the frame of its first attempt, at the windows that it had not read."""
import datetime
import signal
import time
import unittest

from stack import Stack, free_port, log_lines, tail, wait_until

JOBS = 900
PAGE = 100
SCALE = 40
SLOW_MS = 1500  # of the fast clock: so that a window takes longer than the time between two writes of the checkpoint
STEP = 3
LIST = "servicetitan.list.{}"
SOON_S = 120
OVERLAP_S = 60
# One thing at a time, so that a kill has one place in a run.
ONE_AT_A_TIME = {"RATE_LIMIT_PER_SECOND": "60", "ST_RATE_BURST": "120", "ST_PAGE_SIZE": str(PAGE), "WORKER_CONCURRENCY": "1", "MAX_CONCURRENT_REQUESTS": "1",
                 "SYNC_OVERLAP_SECONDS": str(OVERLAP_S)}
RESUMES = "Ingestion resumes an earlier attempt"
DONE = "Ingestion completed"


def bounds(window):
    """As numbers; no bound is infinity."""
    low, high = window["window_from"], window["window_to"]
    return float("-inf") if low is None else int(low), float("inf") if high is None else int(high)


class Checkpoint(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)
        self.stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        self.stack.start_local("--jobs", JOBS, "--seed", 5)
        self.stack.env.update(ONE_AT_A_TIME)
        self.stack.ingestor("init")

    # ---- Acts ----
    def start(self):
        return self.stack.start("worker", "st-ingestor", "worker")

    def dispatch(self, entity, mode="full"):
        self.stack.ingestor("dispatch", entity, "--mode", mode)

    def slow(self, ms):
        self.stack.admin("/_admin/settings", {"latencyMs": ms})

    def hold_when(self, entity, share):
        """Stops the run in front of a request, when so much of the source is in its task's checkpoint."""
        goal = share * self.stack.source_count(entity)
        while True:
            self.stack.hold(method=LIST.format(entity), nth=STEP)
            self.stack.wait_for_hold(SOON_S)
            if sum(int(window["row_count"]) for window in self.windows(entity)) >= goal:
                return

    def begin_and_hold(self, entity="jobs", share=0.4):
        self.slow(SLOW_MS)
        worker = self.start()
        self.hold_when(entity, share)
        return worker

    def go_on(self):
        self.stack.release_hold(cut=True)
        self.slow(0)

    def kill(self, worker):
        worker.kill()
        worker.wait(SOON_S)
        self.go_on()
        self.stack.count_from_here()

    def killed_at_half(self, entity="jobs", share=0.4):
        self.kill(self.begin_and_hold(entity, share))
        return self.windows(entity)

    def finish(self, worker=None, runs=1):
        """Until so many runs are done, by a worker that may be there already."""
        worker = worker or self.start()
        wait_until("the end of the run", lambda: worker.poll() is not None or len(self.told(worker, DONE)) >= runs)
        self.assertIsNone(worker.poll(), tail(worker))
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(SOON_S), 0, tail(worker))
        return worker

    # ---- Looks ----
    def told(self, worker, message):
        return [line for line in log_lines(worker) if line["message"] == message]

    def windows(self, entity="jobs"):
        return self.stack.query(f"SELECT run_id, window_from, window_to, fetch_id, row_count, task_id FROM `{{p}}.st_logs_v2.checkpoints` "
                                f"WHERE kind = 'fetch' AND entity_type = '{entity}' ORDER BY window_from")

    def clock(self):
        return int(self.stack.query("SELECT UNIX_MICROS(CURRENT_TIMESTAMP()) AS us")[0]["us"])

    def lists(self, entity="jobs"):
        return self.stack.requests()["methods"].get(LIST.format(entity), {"seen": 0})["seen"]

    def assert_equal(self, *entities):
        self.stack.check("--sample", 0, *[word for entity in entities or ("jobs",) for word in ("--entity", entity)])

    def assert_not_read_again(self, kept, entity="jobs"):
        """What later runs have read lies beside these windows, and nothing is missing."""
        runs = {window["run_id"] for window in kept}
        later = [window for window in self.windows(entity) if window["run_id"] not in runs]
        self.assertTrue(later, "nothing was left to read")
        for low, high in map(bounds, later):
            for from_us, to_us in map(bounds, kept):
                self.assertTrue(high <= from_us or to_us <= low, f"{low} to {high} was read already")
        return later

    def resumed(self, worker):
        lines = self.told(worker, RESUMES)
        self.assertEqual(len(lines), 1, tail(worker, 4000))
        return lines[0]

    # ---- Tests ----
    def test_a_killed_full_run_reads_only_what_is_missing(self):
        self.stack.env["WORKER_PORT"] = str(free_port())
        self.dispatch("jobs")
        kept = self.killed_at_half()
        worker = self.start()
        wait_until("the end of the run", lambda: self.told(worker, DONE))
        metrics = self.stack.metrics(worker)
        self.finish(worker)
        line, rows = self.resumed(worker), sum(int(window["row_count"]) for window in kept)
        self.assertEqual((line["earlierRuns"], line["windowsKept"], line["windowsReread"], line["recordsKept"]), (kept[0]["run_id"], len(kept), 0, rows))
        later = self.assert_not_read_again(kept)
        done = self.told(worker, DONE)[0]
        self.assertEqual(done["recordsInserted"], self.stack.source_count("jobs"))
        self.assertEqual(done["recordsInserted"], rows + sum(int(window["row_count"]) for window in later))
        samples = {name: sum(metrics[name]["samples"].values()) for name in ("st_ingestor_runs_resumed_total", "st_ingestor_windows_resumed_total",
                                                                             "st_ingestor_records_read_total")}
        self.assertEqual(list(samples.values()), [1, len(kept), done["recordsInserted"] - rows])
        self.assert_equal()
        ids = self.stack.query("SELECT DISTINCT _run_id FROM `{p}.st_raw_v2.raw_jobs`")
        self.assertEqual([row["_run_id"] for row in ids], [done["runId"]], "rows of the earlier attempt are this run's")

    def test_the_frame_of_the_first_attempt_is_kept(self):
        """Early records are edited after they were read: only the first attempt's watermark lets the next run see that.

        Customers: a full run of jobs reads the export feed as well, which would show the edits at once."""
        self.dispatch("customers")
        self.killed_at_half("customers")
        self.stack.edit("customers", 400, kinds=("edit",))
        edited = self.clock()
        wait_until("a time whose watermark is beyond the edits", lambda: self.clock() > edited + 2 * OVERLAP_S * 1000000)
        frames = "SELECT run_id, frame_to, watermark FROM `{p}.st_logs_v2.checkpoints` WHERE kind = 'frame'"
        frame = self.stack.query(frames)
        worker = self.finish()
        self.assertGreater(self.resumed(worker)["windowsKept"], 0)
        state = self.stack.query("SELECT last_sync_time FROM `{p}.st_logs_v2.sync_state`")
        with self.assertRaises(Exception, msg="no edit fell into a window that was kept: the test shows nothing"):
            self.assert_equal("customers")
        self.dispatch("customers", "incremental")
        self.finish()
        self.assert_equal("customers")
        self.assertEqual(state[0]["last_sync_time"], frame[0]["watermark"])
        self.assertEqual(self.stack.query(frames), frame)

    def test_staged_rows_that_are_gone_are_read_again(self):
        self.dispatch("jobs")
        kept = self.killed_at_half()
        gone, cut = [window for window in kept if window["row_count"] != "0"][:2]
        stage = f"`{{p}}.st_stage_v2.stage_jobs` WHERE _run_id = '{gone['run_id']}'"
        self.stack.query(f"DELETE FROM {stage} AND _fetch_id = {gone['fetch_id']}")
        self.stack.query(f"DELETE FROM {stage} AND _fetch_id = {cut['fetch_id']} AND _row_number = 1")
        worker = self.finish()
        line = self.resumed(worker)
        self.assertEqual((line["windowsKept"], line["windowsReread"]), (len(kept) - 2, 2))
        whole = [window for window in kept if window not in (gone, cut)]
        self.assert_not_read_again(whole)
        self.assertEqual(self.told(worker, DONE)[0]["recordsInserted"], self.stack.source_count("jobs"))
        self.assert_equal()

    def test_a_second_kill(self):
        self.dispatch("jobs")
        first = self.killed_at_half(share=0.2)
        kept = self.killed_at_half(share=0.6)
        self.assertEqual(len({window["run_id"] for window in kept}), 2)
        self.assertGreater(len(kept), len(first))
        worker = self.finish()
        line = self.resumed(worker)
        self.assertEqual((line["windowsKept"], len(line["earlierRuns"].split())), (len(kept), 2))
        self.assert_not_read_again(kept)
        self.assert_equal()

    def test_rows_without_identity(self):
        """Groups that were read in two attempts; in between an incremental run has read some of them anew."""
        self.dispatch("payroll")
        kept = self.killed_at_half("payroll")
        self.stack.edit("payroll", 60)
        self.stack.ingestor("dispatch", "payroll", "--mode", "incremental")
        worker = self.finish(runs=2)
        self.assertEqual(self.resumed(worker)["windowsKept"], len(kept))
        self.dispatch("payroll", "incremental")
        self.finish()
        self.assert_equal("payroll")

    def backfill(self, entity):
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = ((now - datetime.timedelta(days=days)).strftime("%Y-%m-%d") for days in (3600, 30))
        self.stack.ingestor("backfill", entity, "--from", begin, "--to", end, "--slice", "3650d", "--yes")

    def test_a_killed_backfill(self):
        for entity in ("customers", "payroll"):
            with self.subTest(entity):
                self.backfill(entity)
                kept = self.killed_at_half(entity)
                self.assertEqual(self.resumed(self.finish())["windowsKept"], len(kept))
                self.assert_not_read_again(kept, entity)
        self.assertEqual(self.stack.query("SELECT COUNT(*) AS n FROM `{p}.st_logs_v2.sync_state`")[0]["n"], "0")
        for entity in ("customers", "payroll"):  # what is younger than the window
            self.dispatch(entity)
        self.finish(runs=2)
        self.assert_equal("customers", "payroll")

    def overtake(self, zombie):
        """Another worker finishes the stopped one's run, and one after it."""
        zombie.send_signal(signal.SIGSTOP)
        self.slow(0)
        kept = self.windows()
        self.assertEqual(self.resumed(self.finish())["windowsKept"], len(kept))
        self.stack.edit("jobs", 100, kinds=("edit",))
        self.dispatch("jobs", "incremental")
        self.finish()

    def awaken(self, zombie):
        self.stack.release_hold()
        zombie.send_signal(signal.SIGCONT)
        self.stack.drain(1)
        zombie.send_signal(signal.SIGTERM)
        self.assertEqual(zombie.wait(SOON_S), 0, tail(zombie))
        self.assert_equal()
        rows = self.stack.query("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `{p}.st_raw_v2.raw_jobs`")[0]
        self.assertEqual(rows["n"], rows["ids"])

    def test_a_zombie_in_the_middle_of_its_windows(self):
        self.dispatch("jobs")
        zombie = self.begin_and_hold()
        self.overtake(zombie)
        self.awaken(zombie)

    def test_a_zombie_that_announces_what_another_has_merged(self):
        """It stands in front of its announcement, which arrives when its rows have been merged under another run's id, and edited since."""
        self.dispatch("jobs")
        self.slow(SLOW_MS)
        self.stack.hold(method="write.AppendRows", path="staged_run_events", nth=1)
        zombie = self.start()
        self.stack.wait_for_hold(SOON_S)
        self.overtake(zombie)
        self.awaken(zombie)
        self.dispatch("jobs", "incremental")  # whoever changes the target next merges what was announced
        self.finish()
        self.assert_equal()
        run = self.told(zombie, "Ingestion started")[0]["runId"]
        self.assertEqual(self.stack.query(f"SELECT COUNT(*) AS n FROM `{{p}}.st_logs_v2.staged_runs` WHERE run_id = '{run}'")[0]["n"], "1")

    def test_a_done_task_is_acknowledged_without_work(self):
        """The worker dies between its last write and the acknowledgement."""
        self.dispatch("jobs")
        self.stack.hold(method="pubsub.Acknowledge", nth=1)
        worker = self.start()
        self.stack.wait_for_hold(SOON_S)
        self.assertEqual(len(self.told(worker, DONE)), 1)
        self.kill(worker)
        again = self.start()
        wait_until("the acknowledgement", lambda: self.told(again, "Task is done already"))
        again.send_signal(signal.SIGTERM)
        self.assertEqual(again.wait(SOON_S), 0, tail(again))
        self.assertEqual(self.lists(), 0)


if __name__ == "__main__":
    unittest.main()
