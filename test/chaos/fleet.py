"""The workers of a run of chaos: each that ends is started again, and how it ended is held against the rules. Standard library only."""
import signal
import time

TERM_LIMIT_S = 8
END_S = 60


class Fleet:
    def __init__(self, stack, size, arguments, env, say, found):
        self.stack, self.size, self.arguments, self.env, self.say, self.found = stack, size, arguments, env, say, found
        self.slowest_term_s = 0
        self.all = []
        self.workers = [self.start() for _ in range(size)]

    def start(self):
        worker = self.stack.start("worker", "st-ingestor", "worker", *self.arguments, env=self.env)
        worker.ending = None  # or why it is to end: "killed", "asked"
        self.all.append(worker)
        return worker

    def at(self, index):
        return self.workers[index]

    def tick(self):
        for index, worker in enumerate(self.workers):
            if worker.ending == "asked":
                self.look_at_term(worker)
            if worker.poll() is not None:
                self.judge(worker)
                self.workers[index] = self.start()

    def look_at_term(self, worker):
        """The platform kills after that: so do we, once it is told."""
        seconds = time.monotonic() - worker.term_at
        self.slowest_term_s = max(self.slowest_term_s, seconds)
        if worker.poll() is None and seconds > TERM_LIMIT_S:
            self.found(f"{worker.log}: SIGTERM, and not ended after {TERM_LIMIT_S} s")
            worker.ending = "killed"
            worker.kill()
            worker.wait()

    def judge(self, worker):
        code = worker.returncode
        if worker.ending == "killed":
            right = code == -signal.SIGKILL
        else:
            right = worker.ending == "asked" and (code == 0 or self.was_too_young(worker))
        if not right:
            self.found(f"{worker.log}: ended with {code} ({worker.ending or 'nobody asked it to'})")

    @staticmethod
    def was_too_young(worker):
        """The signal came before main(): nobody listened yet, and nothing was begun."""
        return worker.returncode == -signal.SIGTERM and worker.log.stat().st_size == 0

    def end(self):
        """All asked to end, nothing being wrong any more."""
        for worker in self.workers:
            if worker.poll() is None and not worker.ending:
                worker.ending, worker.term_at = "asked", time.monotonic()
                worker.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while any(worker.poll() is None for worker in self.workers) and time.monotonic() < deadline:
            for worker in self.workers:
                if worker.ending == "asked":
                    self.look_at_term(worker)
            time.sleep(0.02)
        for worker in self.workers:
            self.judge(worker)
