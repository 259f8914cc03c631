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
BOUND_S = 500


class Chaos(unittest.TestCase):
    def test_after_a_short_storm_everything_is_right(self):
        build = Stack.__init__.__defaults__[0]
        with tempfile.TemporaryDirectory() as folder:
            summary = pathlib.Path(folder) / "summary.json"
            done = subprocess.run([str(ROOT / "test/chaos/chaos.py"), "--build", build, "--duration", str(STORM_S), "--seed", str(SEED), "--jobs", "120", "--json", summary],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BOUND_S)
            self.assertEqual(done.returncode, 0, done.stdout)
            told = json.loads(summary.read_text())
        self.assertIn(f"chaos: seed {SEED},", done.stdout.splitlines()[0])
        self.assertEqual((told["verdict"], told["violations"]), ("passed", []))
        for name in ("kills", "faults", "messages", "edits", "redeliveries", "runs", "merges"):
            self.assertGreater(told[name], 0, told)

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
