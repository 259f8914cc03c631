"""Wrong use gives one clear line and a non-zero exit, and no stack of noise."""
import json
import pathlib
import unittest

from stack import ROOT, Stack, log_lines


SOON = {"ST_CLOCK_SCALE": "20"}  # a minute of retries in seconds


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.stack.start_local("--jobs", 50)
        cls.stack.ingestor("init")

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def refused(self, *command, code=2, says=(), env=None, retried=False):
        done = self.stack.run("st-ingestor", *command, check=False, env=env, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        *retries, _ = done.stderr.splitlines()
        self.assertEqual(len(retries) > 0, retried, done.stderr)
        for line in map(json.loads, retries):
            self.assertRegex(line["message"], r"^API request failed, retrying in \d+ms$")
            self.assertEqual(line["severity"], "WARN")
        self.assertEqual(done.stdout, "")
        for text in says:
            self.assertIn(text, done.stderr)
        return done

    def config(self, change):
        value = json.loads((ROOT / "config/config.json").read_text())
        change(value)
        path = self.stack.data / "config.json"
        path.write_text(json.dumps(value))
        return path

    def test_unknown_command_option_and_argument(self):
        self.refused("frobnicate", says=["unknown command 'frobnicate'"])
        self.refused("dispatch", "--fast", says=["unknown option '--fast'"])
        self.refused("init", "now", says=["unexpected argument 'now'"])
        self.refused("worker", "--idle", "1", says=["goes with --drain"])
        self.refused("worker", "--drain", "--idle", "0", says=['--idle is "0"', "1 to 3600"])

    def test_help_and_version_need_no_settings(self):
        for word, text in (("--version", r"\Ast-ingestor \d+\.\d+\.\d+\n\Z"), ("--help", r"st-ingestor --version")):
            done = self.stack.run("st-ingestor", word)
            self.assertRegex(done.stdout, text)
            self.assertEqual(done.stderr, "")

    def test_one_is_not_a_plural(self):
        done = self.stack.ingestor("backfill", "campaigns", "--from", "2000-01-01", "--dry-run")
        self.assertRegex(done.stdout, r"\n1 message, one per slice; \d+ records?, about \d+ requests?, ")
        self.assertNotRegex(done.stdout, r"\b1 (requests|messages)\b")

    def test_unknown_entity_mode_tenant(self):
        self.refused("dispatch", "job", says=['unknown entity "job"', "jobs, invoices"])
        self.refused("dispatch", "jobs", "--mode", "fulll", says=["fulll", "incremental, full, auto or reconcile"])
        self.refused("dispatch", "jobs", "--tenant", "99", says=["tenant 99 is not configured"])
        self.refused("dispatch", "jobs", "--tenant", "x", says=['--tenant is "x"'])

    def test_the_help_leads_to_the_options(self):
        self.assertIn("`st-ingestor config options` lists them all", self.stack.ingestor("--help").stdout)
        self.assertIn("RATE_LIMIT_PER_SECOND", self.stack.ingestor("config", "options").stdout)

    def test_the_entities_as_they_are_set(self):
        path = self.config(lambda c: c["entities"]["payroll"].update(enabled=False, syncMode="full", schedule="", priority=100, description="paid by the hour"))
        shown = json.loads(self.stack.ingestor("config", "entities", "--config", path, "--json").stdout)
        self.assertEqual(shown[-1], {"entity": "payroll", "enabled": False, "sync_mode": "full", "schedule": None, "priority": 100, "description": "paid by the hour"})
        self.assertIn("paid by the hour", self.stack.ingestor("config", "entities", "--config", path).stdout)
        self.refused("config", "show", "--json", says=["--json goes with entities"])

    def test_broken_config(self):
        path = self.stack.data / "broken.json"
        path.write_text('{"entities": {,}}')
        self.refused("dispatch", "--config", path, says=["broken.json", "line 1"])
        path = self.config(lambda c: c["sync"].update(lookbackDays=0))
        self.refused("dispatch", "--config", path, says=["LOOKBACK_DAYS", '"0"', "1 to 36500"])
        path = self.config(lambda c: c["sync"].update(lookBackDays=7))
        self.refused("dispatch", "--config", path, says=["sync.lookBackDays", "not a known option"])
        path = self.config(lambda c: c["entities"].update(leads={}))
        self.refused("dispatch", "--config", path, says=["entities.leads", "not in the registry"])
        self.refused("dispatch", "--config", "/nowhere/config.json", says=["/nowhere/config.json", "No such file"])

    def test_bad_value_in_the_environment(self):
        self.refused("dispatch", env={"WORKER_CONCURRENCY": "many"}, says=["WORKER_CONCURRENCY", '"many"', "environment", "1 to 64"])
        self.refused("dispatch", env={"ST_API_URL": "http://example.com"}, says=["ST_API_URL", "https://"])
        self.refused("dispatch", env={"LOG_LEVEL": "loud"}, says=["LOG_LEVEL", "debug|info"])

    def test_missing_settings(self):
        self.refused("worker", env={"ST_CLIENT_SECRET": ""}, says=["ST_CLIENT_SECRET", "not set"])
        self.refused("worker", env={"BQ_PROJECT_ID": ""}, says=["BQ_PROJECT_ID", "not set"])
        self.refused("status", env={"BIGQUERY_STORAGE_EMULATOR_HOST": ""}, says=["BIGQUERY_STORAGE_EMULATOR_HOST"])

    def test_a_broken_registry_names_the_place(self):
        value = json.loads((ROOT / "config/schema_registry.json").read_text())
        value["entities"]["jobs"]["columns"][3]["type"] = "MONEY"
        path = self.stack.data / "registry.json"
        path.write_text(json.dumps(value))
        self.refused("dispatch", "--registry", path, says=["registry.json", "jobs", "MONEY"])

    def test_unreachable_endpoints(self):
        self.refused("dispatch", "jobs", code=1, env={"PUBSUB_EMULATOR_HOST": "127.0.0.1:1", **SOON}, says=["127.0.0.1:1"], retried=True)
        self.refused("status", code=1, env={"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1", **SOON}, says=["127.0.0.1"], retried=True)

    def test_a_missing_subscription_says_what_to_do(self):
        done = self.stack.run("st-ingestor", "worker", env={"PUBSUB_SUBSCRIPTION": "nowhere", "LOG_LEVEL": "error"}, check=False, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("nowhere", done.stderr)
        self.assertIn("st-ingestor init", done.stderr)

    def test_a_question_before_init_says_what_to_do(self):
        self.refused("status", code=1, env={"BQ_DATASET_LOGS": "no_such_logs"}, says=["no_such_logs", "st-ingestor init"])

    def test_missing_credentials_file(self):
        env = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json", "PUBSUB_EMULATOR_HOST": ""}
        self.refused("dispatch", "jobs", code=1, env=env, says=["/nowhere/key.json"])

    def test_a_wrong_key_dead_letters_with_the_reason(self):
        self.stack.ingestor("dispatch", "jobs")
        worker = self.stack.drain(1, env={"ST_CLIENT_SECRET": "cs1.wrong"}, codes=(1,))[0]
        errors = [line for line in log_lines(worker) if line["severity"] == "ERROR"]
        self.assertEqual(len(errors), 1, errors)
        self.assertIn("authentication failed", errors[0]["error"])
        self.assertNotIn("cs1.wrong", worker.log.read_text())


if __name__ == "__main__":
    unittest.main()
