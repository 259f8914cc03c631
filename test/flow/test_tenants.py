"""Several tenants in one warehouse: a dispatch without a tenant reaches all of them, and none is mixed up with another."""
import json
import unittest

from stack import ENTITIES, ROOT, Stack, log_lines

NORTH, SOUTH = 101, 202


class Tenants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = stack = Stack()
        stack.start_local("--jobs", 300, "--seed", 31, "--tenant", NORTH, "--tenant", SOUTH)
        stack.env.update(RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        cls.south = {f"ST_{name}": stack.env[f"ST_{name}_{SOUTH}"] for name in ("CLIENT_ID", "CLIENT_SECRET", "APP_KEY")}
        config = json.loads((ROOT / "config/config.json").read_text())
        config["tenants"] = [
            {"id": NORTH, "name": "north", "clientIdEnv": "ST_CLIENT_ID", "clientSecretEnv": "ST_CLIENT_SECRET", "appKeyEnv": "ST_APP_KEY"},
            {"id": SOUTH, "name": "south", "clientIdEnv": f"ST_CLIENT_ID_{SOUTH}", "clientSecretEnv": f"ST_CLIENT_SECRET_{SOUTH}", "appKeyEnv": f"ST_APP_KEY_{SOUTH}"},
        ]
        path = stack.data / "tenants.json"
        path.write_text(json.dumps(config))
        cls.config = ("--config", path)
        stack.ingestor("init", *cls.config)

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def sync(self, *what):
        self.stack.ingestor("dispatch", *self.config, *what)
        worker = self.stack.start("worker", "st-ingestor", "worker", "--drain", *self.config)
        self.assertEqual(worker.wait(200), 0, worker.log.read_text()[-1500:])
        lines = log_lines(worker)
        self.assertEqual([], [line for line in lines if line["severity"] in ("ERROR", "FATAL")])
        return sorted((line["tenantId"], line["entityType"]) for line in lines if line["message"] == "Ingestion completed")

    def check(self, tenant, *what):
        saved = dict(self.stack.env)
        self.stack.env.update({"ST_TENANT_ID": str(tenant)}, **(self.south if tenant == SOUTH else {}))
        try:
            return self.stack.check("--sample", 0, *what)
        finally:
            self.stack.env = saved

    def test_1_all_entities_of_all_tenants(self):
        self.assertEqual(self.sync("all", "--mode", "full"), sorted((t, e) for t in (NORTH, SOUTH) for e in ENTITIES))
        for tenant in (NORTH, SOUTH):
            self.assertEqual(self.check(tenant).count("equal"), len(ENTITIES))

    def test_2_one_entity_without_a_tenant(self):
        for tenant in (NORTH, SOUTH):
            self.stack.admin("/_admin/edits", {"tenant": tenant, "entity": "jobs", "count": 20, "seed": tenant})
        self.assertEqual(self.sync("jobs", "--mode", "incremental"), [(NORTH, "jobs"), (SOUTH, "jobs")])
        for tenant in (NORTH, SOUTH):
            self.check(tenant, "--entity", "jobs")

    def test_3_one_tenant_only(self):
        self.assertEqual(self.sync("campaigns", "--mode", "full", "--tenant", str(SOUTH)), [(SOUTH, "campaigns")])


if __name__ == "__main__":
    unittest.main()
