"""A further entity is an entry: the four that come disabled, and one that this test makes up, by configuration alone."""
import datetime
import json
import shutil
import time
import unittest

from stack import ENTITIES, ROOT, Stack

FIXTURES = ROOT / "test/fixture/servicetitan"
FURTHER = {"appointments": "jpm/appointments", "job_types": "jpm/job-types", "business_units": "settings/business-units", "technicians": "settings/technicians"}
VANS = {  # what a developer writes, see docs/extending.md
    "description": "Vans and who drives them",
    "path": "fleet/v2/tenant/{tenant}/vans",
    "activeFilter": {"param": "active", "value": "Any"},
    "maxPageSize": 500,
    "primaryKey": "id",
    "targetTable": "raw_vans",
    "stageTable": "stage_vans",
    "partitionField": "modifiedOn",
    "clusterFields": ["plate"],
    "columns": [
        {"name": "id", "type": "INT64", "mode": "REQUIRED", "description": "Van id"},
        {"name": "plate", "type": "STRING", "description": "Number plate"},
        {"name": "driverId", "type": "INT64", "source": "driver.id", "description": "Technician who drives it"},
        {"name": "mileage", "type": "NUMERIC", "description": "Miles driven"},
        {"name": "active", "type": "BOOL", "description": "False for vans that were sold"},
        {"name": "createdOn", "type": "TIMESTAMP", "nullable": False, "description": "When the record was made"},
        {"name": "modifiedOn", "type": "TIMESTAMP", "nullable": False, "description": "When the record last changed"},
    ],
}


def van(number, mileage, modified, active=True):
    return {"id": number, "plate": f"V-{number}", "driver": {"id": number + 100}, "mileage": mileage, "active": active, "createdOn": "2024-01-01T00:00:00Z", "modifiedOn": modified}


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Entities(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = stack = Stack()
        cls.addClassCleanup(stack.stop)
        source = stack.data / "source"
        shutil.copytree(FIXTURES, source)
        (source / "fleet").mkdir()
        cls.vans = source / "fleet/vans.json"
        cls.vans.write_text(json.dumps([van(1, 10.5, "2024-01-01T00:00:00Z"), van(2, 20, "2024-01-01T00:00:00Z", active=False), *(van(i, i, "2024-02-01T00:00:00Z") for i in range(1000, 1700))]))
        stack.start_local("--jobs", 20, "--fixtures", source)
        registry = json.loads((ROOT / "config/schema_registry.json").read_text())
        registry["entities"]["vans"] = VANS
        config = json.loads((ROOT / "config/config.json").read_text())
        cls.plain = config
        config = {**config, "entities": {**config["entities"], "vans": {"enabled": True, "schedule": "0 3 * * *", "priority": 6}}}
        for name in FURTHER:
            config["entities"][name] = {**config["entities"][name], "enabled": True}
        for name, value in (("registry", registry), ("config", config)):
            (stack.data / f"{name}.json").write_text(json.dumps(value))
        cls.words = ("--config", stack.data / "config.json", "--registry", stack.data / "registry.json")

    def run_it(self, *words, **more):
        return self.stack.ingestor(*words, *self.words, **more)

    def drain(self):
        worker = self.stack.start("worker", "st-ingestor", "worker", "--drain", "--idle", "1", *self.words)
        self.assertEqual(worker.wait(300), 0, worker.log.read_text()[-2000:])

    def live(self, entity, columns):
        return self.stack.query(f"SELECT {columns} FROM `{{p}}.st_stage_v2.{entity}` ORDER BY id")

    def test_0_without_being_enabled_they_are_not_there(self):
        """The program as it comes."""
        made = self.objects(self.stack.ingestor("init", "--json").stdout)
        for name in ENTITIES:
            self.assertIn(f"table st_raw_v2.raw_{name}", made)
        for name in (*FURTHER, "vans"):
            self.assertFalse([one for one in made if one.endswith((f"_{name}", f".{name}"))], name)
        published = self.stack.ingestor("dispatch", "all", "--mode", "full", "--json").stdout
        self.assertEqual(sorted(name for name in (*ENTITIES, *FURTHER) if f'"{name}"' in published), sorted(ENTITIES))
        for command in (("dispatch", "technicians"), ("backfill", "technicians", "--from", "2024-01-01")):
            refused = self.stack.ingestor(*command, check=False)
            self.assertEqual((refused.returncode, refused.stdout), (2, ""), refused.stderr)
            self.assertIn('entity "technicians" is disabled: set entities.technicians.enabled in config.json', refused.stderr)
        unknown = self.stack.ingestor("dispatch", "vans", check=False)
        self.assertEqual(unknown.returncode, 2)
        self.assertIn('unknown entity "vans": jobs, ', unknown.stderr)
        self.assertNotIn("technicians", unknown.stderr)
        self.stack.drain(1)

    @staticmethod
    def objects(text):
        rows = json.loads(text)
        return {row["object"] for row in (rows["objects"] if isinstance(rows, dict) else rows)}

    def test_1_a_message_for_a_disabled_entity_is_a_dead_letter(self):
        self.run_it("dispatch", "technicians", "--mode", "full")
        self.stack.drain(1, codes=(1,))  # this worker has the program's own configuration
        letters = json.loads(self.stack.ingestor("dlq", "list", "--json").stdout)
        text = json.dumps(letters)
        self.assertIn("technicians", text)
        self.assertIn("entity_disabled", text)
        self.run_it("init")
        self.run_it("dlq", "replay", "--yes")
        self.drain()  # this one knows it
        self.assertEqual([row["id"] for row in self.live("technicians", "id")], ["800", "802", "803"])

    def test_2_they_are_ingested_as_they_are(self):
        made = self.objects(self.run_it("init", "--json").stdout)
        for name in (*FURTHER, "vans"):
            self.assertLessEqual({f"table st_raw_v2.raw_{name}", f"table st_stage_v2.stage_{name}", f"view st_stage_v2.{name}"}, made)
        self.run_it("dispatch", *FURTHER, "vans", "--mode", "full")
        self.drain()
        for name, path in FURTHER.items():
            records = json.loads((FIXTURES / f"{path}.json").read_text())
            self.assertEqual([int(row["id"]) for row in self.live(name, "id")], sorted(record["id"] for record in records), name)
            # Nothing is unknown, nothing is missing: the entry says what the records hold.
            drift = self.stack.query(f"SELECT field, kind FROM `{{p}}.st_logs_v2.schema_drift` WHERE entity_type = '{name}'")
            self.assertEqual(drift, [], name)
            extra = self.stack.query(f"SELECT COUNT(*) AS n FROM `{{p}}.st_raw_v2.raw_{name}` WHERE _extra IS NOT NULL")
            self.assertEqual(extra[0]["n"], "0", name)
        self.assertEqual([(row["status"], row["specialInstructions"], row["active"]) for row in self.live("appointments", "status, specialInstructions, active, id")],
                         [("Done", "Dog in the yard – ring twice", "true"), ("Canceled", None, "false"), ("Scheduled", "", "true")])
        self.assertEqual([row["soldThreshold"] for row in self.live("job_types", "soldThreshold, id")], ["250", None, "0.000000001"])
        self.assertEqual([(row["address_city"], row["tenant_name"], row["trade_name"]) for row in self.live("business_units", "address_city, tenant_name, trade_name, id")],
                         [("Burbank", None, "Plumbing"), (None, "Parent", "Plumbing"), ("Burbank", None, None)])
        self.assertEqual([(row["name"], row["hourlyRate"], row["location_latitude"]) for row in self.live("technicians", "name, hourlyRate, location_latitude, id")],
                         [("Kim Ödegård", "31.25", "34.2"), ("Lee Park", "31.25", None), ("Max Gone", "31.25", None)])

    def test_3_the_made_up_one_too(self):
        rows = self.live("vans", "id, plate, driverId, mileage, active")
        self.assertEqual(len(rows), 702)
        self.assertEqual(rows[:2], [{"id": "1", "plate": "V-1", "driverId": "101", "mileage": "10.5", "active": "true"}, {"id": "2", "plate": "V-2", "driverId": "102", "mileage": "20", "active": "false"}])
        # An edit at the source comes with the next incremental run.
        records = json.loads(self.vans.read_text())
        records[0] = van(1, 11.25, iso(time.time()))
        self.vans.write_text(json.dumps(records))
        self.run_it("dispatch", "vans")
        self.drain()
        self.assertEqual(self.live("vans", "mileage, id")[0]["mileage"], "11.25")
        self.assertEqual(len(self.live("vans", "id")), 702)
        runs = self.stack.query("SELECT mode, status, records_fetched FROM `{p}.st_logs_v2.ingestion_logs` WHERE entity_type = 'vans' ORDER BY start_time")
        self.assertEqual([(run["mode"], run["status"], run["records_fetched"]) for run in runs], [("full", "success", "702"), ("incremental", "success", "1")])

    def test_4_everything_knows_them(self):
        statuses = json.loads(self.run_it("status", "--json").stdout)
        self.assertIn("vans", json.dumps(statuses))
        self.assertTrue(json.loads(self.run_it("last-sync", "vans", "--json").stdout))
        self.assertIn("vans", self.run_it("runs", "vans").stdout)
        shown = {row["entity"]: row for row in json.loads(self.run_it("config", "entities", "--json").stdout)}
        self.assertEqual(shown["vans"], {"entity": "vans", "enabled": True, "sync_mode": "incremental", "schedule": "0 3 * * *", "priority": 6, "description": "Vans and who drives them"})
        terraform = json.loads(self.run_it("schema", "terraform").stdout.replace("${", "{"))
        self.assertLessEqual({"raw_vans", "stage_vans"}, {table["name"] for table in terraform["tables"]})
        sql = {one["name"] for one in json.loads(self.run_it("schema", "sql", "--json").stdout)}
        self.assertLessEqual({"table st_raw_v2.raw_vans", "view st_stage_v2.vans", "merge vans", "find vans", "verify vans"}, sql)
        self.assertIn("CREATE TABLE IF NOT EXISTS `st_raw_v2.raw_vans`", self.run_it("schema", "ddl", "--no-project").stdout)
        self.assertIn("raw_vans", self.run_it("schema", "tables").stdout)

    def test_5_a_wrong_entry_is_refused_with_its_place(self):
        registry = json.loads((self.stack.data / "registry.json").read_text())
        registry["entities"]["vans"]["columns"][3]["type"] = "MONEY"
        path = self.stack.data / "wrong.json"
        path.write_text(json.dumps(registry))
        refused = self.stack.ingestor("init", "--config", self.words[1], "--registry", path, check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("entities.vans.columns[3].type: 'MONEY' is not one of", refused.stderr)


if __name__ == "__main__":
    unittest.main()
