"""Misfortune at random, in the short form: a fixed seed. `make chaos` is the long one."""
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

from stack import ROOT, Stack

sys.path.insert(0, str(ROOT / "test/chaos"))
from mischief import WEIGHTS, Mischief  # noqa: E402

SEED = 4
STORM_S = 15
MISFORTUNES = 10  # on a slow machine they take longer
BOUND_S = 500


class Chaos(unittest.TestCase):
    def run_chaos(self, *words):
        """Its exit code and what it told. SIGTERM lets it end what it started."""
        with subprocess.Popen([str(ROOT / "test/chaos/chaos.py"), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as chaos:
            try:
                told, _ = chaos.communicate(timeout=BOUND_S)
            except subprocess.TimeoutExpired:
                chaos.terminate()
                told, _ = chaos.communicate()
        return chaos.returncode, told

    def test_after_a_short_storm_everything_is_right(self):
        build = Stack.__init__.__defaults__[0]
        with tempfile.TemporaryDirectory() as folder:
            summary = pathlib.Path(folder) / "summary.json"
            code, told = self.run_chaos("--build", build, "--duration", STORM_S, "--least", MISFORTUNES, "--seed", SEED, "--jobs", 120, "--json", summary)
            self.assertEqual(code, 0, told)
            counts = json.loads(summary.read_text())
        self.assertIn(f"chaos: seed {SEED},", told.splitlines()[0])
        self.assertEqual((counts["seed"], counts["verdict"], counts["violations"]), (SEED, "passed", []))
        for name in ("kills", "faults", "messages", "edits", "redeliveries", "runs", "merges"):
            self.assertGreater(counts[name], 0, counts)

    def draws(self, seed):
        """What is drawn for a fleet that has ended: nothing can be done to it, and the draws must not depend on that."""
        told = []

        class Nothing:
            size, pid, ending, relays = 3, 0, "asked", {"pubsub": None, "write": None}

            def __getattr__(self, name):
                return lambda *words, **more: told.append((name, words[:2], sorted(more.items()))) or {"streams": 0}

            def at(self, index):
                told.append(("worker", index))
                return self

            def poll(self):
                return 0

            def bench(self, *words):
                return {"streams": 0}

        mischief = Mischief(random.Random(seed), Nothing(), Nothing(), Nothing(), 30, (0.2, 3.0), told.append)
        for _ in range(60):
            mischief.next_at = 0
            mischief.tick()
        return told, mischief.counts

    def test_the_same_seed_draws_the_same(self):
        first, counts = self.draws(3)
        self.assertEqual(first, self.draws(3)[0])
        self.assertNotEqual(first, self.draws(4)[0])
        self.assertEqual(sum(counts.values()), 60)
        self.assertEqual([name for name in WEIGHTS if name not in ("kill", "term", "stop") and counts[name] == 0], [])


if __name__ == "__main__":
    unittest.main()
