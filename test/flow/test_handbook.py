"""The handbook's commands work as written.

Fences say how a block is tried:  ```sh        run here, all blocks of a page in order, in one shell
                                  ```sh make   targets that CI runs itself, or that take long: each must exist
                                  ```sh cloud  needs the cloud: it must be well-formed, and what it asks of st-ingestor must exist
"""
import os
import pathlib
import re
import shlex
import subprocess
import textwrap
import unittest

from stack import OURS, ROOT, Stack

PAGES = [ROOT / "README.md", ROOT / "terraform/README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^ *```sh *(\w*)\n(.*?)^ *```$", re.M | re.S)
KINDS = ("", "make", "cloud")
PAGE_S = 300


def blocks(page, kind):
    return [textwrap.dedent(text) for found, text in FENCE.findall(page.read_text()) if found == kind]


def commands(script):
    """The simple commands of a script: continuation lines joined, pipes and lists taken apart."""
    joined = script.replace("\\\n", " ")
    for line in joined.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
        lexer.whitespace_split = True
        words = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|;&()"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


class Handbook(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.env = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        cls.env["PATH"] = f"{cls.stack.build}:{cls.env['PATH']}"

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def help_of(self, verb):
        done = subprocess.run(["st-ingestor", verb, "--help"], env=self.env, text=True, capture_output=True, cwd=ROOT)
        self.assertEqual(done.returncode, 0, f"st-ingestor {verb}: {done.stderr}")
        return done.stdout

    def check_ingestor(self, page, words):
        """Verb and options exist. Options that stand for all verbs are in every help."""
        if len(words) < 2 or words[1].startswith("$"):
            return
        text = self.help_of(words[1])
        for word in words[2:]:
            if word.startswith("--"):
                self.assertIn(word.split("=")[0], text, f"{page.name}: {' '.join(words)}")

    def test_every_block_says_what_it_is(self):
        for page in PAGES:
            text = page.read_text()
            self.assertEqual(text.count("```") % 2, 0, page.name)
            for kind, _ in FENCE.findall(text):
                self.assertIn(kind, KINDS, page.name)

    def test_blocks_run_as_written(self):
        for page in PAGES:
            script = "\n".join(blocks(page, ""))
            if not script:
                continue
            with self.subTest(page=page.name):
                whole = f"set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{script}"
                done = subprocess.run(["bash", "-c", whole], env=self.env, cwd=ROOT, text=True, capture_output=True, timeout=PAGE_S)
                self.assertEqual(done.returncode, 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}")

    def test_make_targets_exist(self):
        for page in PAGES:
            for block in blocks(page, "make"):
                for words in commands(block):
                    self.assertEqual(words[0], "make", f"{page.name}: {block}")
                    targets = [w for w in words[1:] if "=" not in w]
                    done = subprocess.run(["make", "-n", "-q", *targets], cwd=ROOT, env={**self.env, "MAKEFLAGS": ""}, capture_output=True, text=True)
                    self.assertNotIn("No rule to make target", done.stderr, f"{page.name}: {block}")

    def test_cloud_blocks_are_well_formed(self):
        for page in PAGES:
            for block in blocks(page, "cloud"):
                done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
                self.assertEqual(done.returncode, 0, f"{page.name}: {block}\n{done.stderr}")
                for words in commands(block):
                    while words and re.fullmatch(r"\w+=.*", words[0], re.S):
                        words = words[1:]
                    if words and pathlib.Path(words[0]).name == "st-ingestor":
                        self.check_ingestor(page, words)

    def test_run_blocks_ask_for_nothing_that_is_not_there(self):
        for page in PAGES:
            for block in blocks(page, ""):
                for words in commands(block):
                    if pathlib.Path(words[0]).name == "st-ingestor":
                        self.check_ingestor(page, words)

    def test_symptoms_are_words_that_the_program_says(self):
        """Messages of the troubleshooting table stand in the sources; numbers stand for conversions."""
        told = "\n".join(re.sub(r'"\s*\n\s*"', "", path.read_text()) for path in (ROOT / "src").rglob("*.c") if "local" not in path.parts)
        table = (ROOT / "docs/operations.md").read_text().split("## When something is wrong")[1].split("\n## ")[0]
        symptoms = [phrase for row in re.findall(r"^\| (.*?) \|", table, re.M) for phrase in re.findall(r"`([^`]+)`", row)]
        self.assertGreater(len(symptoms), 10)
        for phrase in symptoms:
            self.assertRegex(told, re.sub(r"\d+", r"(?:\\d+|%(?:ll)?d)", re.escape(phrase)), phrase)

    def test_rights_are_those_that_terraform_gives(self):
        iam = (ROOT / "terraform/iam.tf").read_text()
        both = set(re.findall(r'"(roles/[\w.]+)"', iam.split("program_roles = {")[1].split("\n  }")[0]))
        given = {who: both | set(re.findall(r'role += "(roles/[\w.]+)"\n +member += google_service_account\.' + who + r"\.", iam)) for who in ("worker", "serve")}
        told, who = {}, None
        for first, roles in re.findall(r"^\| (.*?) ?\| (`roles/.*?) \|", (ROOT / "docs/security.md").read_text(), re.M):
            who = first or who
            told.setdefault(who, set()).update(re.findall(r"roles/[\w.]+", roles))
        self.assertEqual({name: told[name] for name in given}, given)

    def test_both_ways_of_deployment_use_the_same_names(self):
        by_hand = (ROOT / "docs/deployment.md").read_text()
        terraform = "".join(path.read_text() for path in (ROOT / "terraform").glob("*.tf"))
        accounts = re.findall(r'account_id +=? *"([\w-]+)"', terraform)
        pool = re.search(r'variable "worker_name" \{.*?default += "([\w-]+)"', terraform, re.S).group(1)
        service = re.search(r'variable "service_name" \{.*?default += "([\w-]+)"', terraform, re.S).group(1)
        self.assertEqual(re.findall(r"service-accounts create ([\w-]+)", by_hand), accounts)
        named = dict(re.findall(r'^(\w+)="([\w-]+)@', by_hand, re.M))
        self.assertEqual([named[variable] for variable in re.findall(r'--service-account "\$(\w+)"', by_hand)], accounts)
        self.assertEqual((re.findall(r"worker-pools deploy ([\w-]+)", by_hand), re.findall(r"run deploy ([\w-]+)", by_hand)), ([pool], [service]))

    def test_the_changelog_tells_of_this_version(self):
        version = self.stack.ingestor("--version").stdout.split()[1]
        newest = re.search(r"^## (\S+)", (ROOT / "docs/changelog.md").read_text(), re.M).group(1)
        self.assertEqual(newest, version)

    def test_links_between_pages_hold(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")


if __name__ == "__main__":
    unittest.main()
