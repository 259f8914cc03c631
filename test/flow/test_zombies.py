"""A worker stopped in front of each step for longer than its lease, while two others do its work and newer edits arrive; then it goes on,
and everything it does comes too late: one row per key, the newest version, a watermark that never moves back."""
import signal
import time
import unittest

from stack import Stack, log_lines, tail, unsettled, wait_until

SCALE = 40
SOON_S = 60
EDITS = 100
OVERLAP_S = 60  # as short as the settings allow
LOST = "Lease lost, the message will be delivered again"
GIVEN_UP = "Task not finished; its message is given back and comes again"
DONE = "Ingestion completed"
ENTITY = "campaigns"

# step -> the zombie's request that is held: it takes effect when everybody else is done. Counted from the zombie's start.
STEPS = [
    ("announce", "write.AppendRows", 3),
    ("read changes", "bigquery.jobs.insert", 2),
    ("get job", "bigquery.jobs.get", 7),
    ("find insert", "bigquery.jobs.insert", 3),
    ("merge insert", "bigquery.jobs.insert", 4),
    ("poll", "bigquery.jobs.get", 14),
    ("record", "write.AppendRows", 4),
    ("sync event", "write.AppendRows", 5),
    ("ack", "pubsub.Acknowledge", 1),
]
# A zombie may have ended before it sees that its lease has.
NEARLY_DONE = ("record", "sync event", "ack")


class Zombies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())), SYNC_OVERLAP_SECONDS=str(OVERLAP_S))
        cls.stack.start_local("--jobs", 60, "--seed", 5)
        cls.stack.ingestor("init")
        cls.stack.ingestor("dispatch", ENTITY, "--mode", "full")
        cls.stack.drain(1)

    def worker(self):
        return self.stack.start("worker", "st-ingestor", "worker")

    def sync(self):
        self.stack.ingestor("dispatch", ENTITY, "--mode", "incremental")

    def edit_and_dispatch(self):
        """Most of the records each time: the zombie holds older versions of what the others bring."""
        self.stack.edit(ENTITY, 2, kinds=("create",))
        self.stack.edit(ENTITY, EDITS, kinds=("edit",))
        self.sync()

    def end(self, *workers):
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            self.assertEqual(worker.wait(SOON_S), 0, tail(worker))

    @staticmethod
    def said(worker, *messages):
        return any(line["message"] in messages for line in log_lines(worker))

    def clock(self):
        return int(self.stack.query("SELECT UNIX_MICROS(CURRENT_TIMESTAMP()) AS us")[0]["us"])

    def watermark(self):
        return int(self.stack.query(f"SELECT last_sync_time AS t FROM `{{p}}.st_logs_v2.sync_state` WHERE entity_type = '{ENTITY}'")[0]["t"])

    def test_in_front_of_each_step(self):
        for step, method, nth in STEPS:
            with self.subTest(step):
                try:
                    self.haunt(step, method, nth)
                finally:
                    self.stack.release_hold()
            self.stack.edit(ENTITY, 1, kinds=("create",))
            self.sync()
            self.stack.drain(1)  # merges what the zombie has announced, and reads nothing that could mend what that spoils
            self.stack.check("--entity", ENTITY, "--sample", 0)

    def forget(self):
        """Moves the watermark beyond the edits: from here on nobody reads them again."""
        edited = self.clock()
        wait_until("a time whose watermark is beyond the edits", lambda: self.clock() > edited + (OVERLAP_S + 1) * 1000000)
        self.sync()
        wait_until("the last message's end", lambda: unsettled(self.stack) == 0)

    def haunt(self, step, method, nth):
        self.edit_and_dispatch()
        self.stack.count_from_here()
        self.stack.hold(method=method, nth=nth)
        zombie = self.worker()
        self.stack.wait_for_hold(SOON_S)
        zombie.send_signal(signal.SIGSTOP)
        try:
            others = [self.worker() for _ in range(2)]
            self.edit_and_dispatch()
            wait_until("the end of both messages", lambda: unsettled(self.stack) == 0)
            self.forget()
            for other in others:
                wait_until("its start", lambda: any(line["message"] == "Worker started" for line in log_lines(other)))
            self.end(*others)
            before = self.watermark()
        finally:
            self.stack.release_hold()
            zombie.send_signal(signal.SIGCONT)
        wait_until("its run's end", lambda: self.said(zombie, GIVEN_UP, DONE))
        wait_until("its lease's end", lambda: self.said(zombie, LOST, DONE))  # done: only its ack was open
        self.end(zombie)
        self.assertEqual(log_lines(zombie)[-1]["rejected"], 0)
        if step not in NEARLY_DONE:
            self.assertFalse(self.said(zombie, DONE), tail(zombie))
        self.assertGreaterEqual(self.watermark(), before)
        got = self.stack.query(f"SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `{{p}}.st_raw_v2.raw_{ENTITY}`")[0]
        self.assertEqual(got["n"], got["ids"])


if __name__ == "__main__":
    unittest.main()
