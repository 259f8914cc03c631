"""st-local as a program: one per folder, the folder's company again, clear refusals."""
import unittest

from stack import Stack


class Local(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)

    def refused(self, *options, says, code=1):
        done = self.stack.run("st-local", "--data", self.stack.data / "local", *options, check=False, timeout=30)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)

    def restart(self, *options):
        self.stack.local.terminate()
        self.assertEqual(self.stack.local.wait(20), 0)
        self.stack.start_local(*options)

    def test_the_same_company_without_options(self):
        self.stack.start_local("--jobs", 120, "--seed", 9)
        self.stack.edit("jobs", 10)
        before = self.stack.admin("/_admin/count?entity=jobs"), self.stack.admin("/_admin/record?entity=jobs&index=5")
        self.restart()
        self.assertEqual(before, (self.stack.admin("/_admin/count?entity=jobs"), self.stack.admin("/_admin/record?entity=jobs&index=5")))
        self.restart("--jobs", 120, "--seed", 9)
        self.assertEqual(before[0], self.stack.admin("/_admin/count?entity=jobs"))
        self.stack.kill_local()
        self.refused("--jobs", "121", says=["jobs 121", "made with 120", "leave the option out"])
        self.refused("--seed", "1", says=["seed 1", "made with 9"])
        self.refused("--base-time", "1600000000", says=["base time 1600000000"])

    def test_one_server_per_folder_and_port(self):
        self.stack.start_local("--jobs", 50)
        for services in ("pubsub,bigquery,servicetitan", "servicetitan"):
            self.refused("--only", services, says=["in use by another st-local", "take another folder"])
        port = self.stack.env["PUBSUB_EMULATOR_HOST"].split(":")[1]
        self.refused("--only", "pubsub", "--pubsub-port", port, says=[port, "in use", "another"])

    def test_old_settings_are_gone_while_it_starts(self):
        """Who starts it again and waits for the file must not read the ports of the last start; a refused start leaves the file alone."""
        self.stack.start_local("--jobs", 50)
        file = self.stack.data / "env"
        self.refused("--env-file", file, says=["in use by another st-local"])
        self.assertTrue(file.exists())
        port = self.stack.env["PUBSUB_EMULATOR_HOST"].split(":")[1]
        other = ("--data", self.stack.data / "other", "--env-file", file, "--pubsub-port", port)
        self.assertEqual(self.stack.run("st-local", *other, check=False, timeout=30).returncode, 1)
        self.assertFalse(file.exists())

    def test_help_and_wrong_use(self):
        help_text = self.stack.run("st-local", "--help").stdout
        self.assertIn("--dml-duration-ms", help_text)
        self.refused("--frob", says=["unknown option"], code=2)
        self.refused("--jobs", "0", says=["--jobs", "1 to"], code=2)
        self.refused("--jobs", says=["needs a value"], code=2)
        self.refused("--only", "spanner", says=["spanner", "--only"], code=2)


if __name__ == "__main__":
    unittest.main()
