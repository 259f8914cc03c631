"""The views of st_mart_v2 return what a small company, written by hand, makes them return.

The records below are served by st-local, read by the worker, and looked at through the views. Every expected row is worked out in the
comment beside it. Two tenants have the same records: NORTH lives in Los Angeles, SOUTH is in no settings, so in UTC.
In 2024 Los Angeles was at UTC-8 until March 10, 10:00 UTC, then at UTC-7 until November 3, 09:00 UTC, then at UTC-8 again."""
import datetime
import decimal
import json
import unittest
import zoneinfo

from stack import ROOT, Stack
from test_sql import execute

NORTH, SOUTH = 1001, 2002
LOS_ANGELES = zoneinfo.ZoneInfo("America/Los_Angeles")
D = decimal.Decimal


def day(text):
    """A calendar day as the API writes it."""
    return f"{text}T00:00:00Z"


def today():
    return datetime.datetime.now(LOS_ANGELES).date()


TODAY = today()


def ahead(days):
    return str(TODAY + datetime.timedelta(days=days))


def made(record, created, **more):
    return {**record, **more, "createdOn": created, "modifiedOn": created}


# ---- The company ----

CUSTOMERS = [
    made({"id": 1, "name": "Ada", "type": "Residential", "active": True}, "2024-01-01T07:30:00Z"),  # 2023-12-31, 23:30 there
    made({"id": 2, "name": "Bob", "type": "Residential", "active": False, "mergedToId": 1}, "2024-01-02T12:00:00Z"),
    made({"id": 3, "name": "Cem", "type": "Residential", "active": False, "mergedToId": 2}, "2024-01-03T12:00:00Z"),  # 3 -> 2 -> 1
    made({"id": 4, "name": "Dot", "type": "Residential", "active": False, "mergedToId": 5}, "2024-01-04T12:00:00Z"),  # 4 -> 5 -> 40 -> 4: a circle
    made({"id": 5, "name": "Eve", "type": "Residential", "active": False, "mergedToId": 40}, "2024-01-05T12:00:00Z"),
    made({"id": 40, "name": "Elo", "type": "Residential", "active": False, "mergedToId": 4}, "2024-01-05T12:00:00Z"),
    made({"id": 6, "name": "Fay", "type": "Commercial", "active": True}, "2024-01-06T12:00:00Z"),  # deleted below
    made({"id": 7, "name": "Gus", "type": "Residential", "active": False, "mergedToId": 99}, "2024-01-07T12:00:00Z"),  # 99 was never seen
    made({"id": 8, "name": "Hal", "type": "Residential", "active": False, "mergedToId": 6}, "2024-01-08T12:00:00Z"),
    made({"id": 9, "name": "Ida", "type": "Commercial", "active": True}, "2024-01-09T12:00:00Z"),
]
LOCATIONS = [
    made({"id": 10, "customerId": 1, "name": "Home", "active": True, "address": {"street": "1 A St", "city": "Burbank", "state": "CA", "zip": "91501"}}, "2024-01-01T12:00:00Z"),
    made({"id": 11, "customerId": 3, "name": "Home again", "active": False, "mergedToId": 10, "address": {"street": "1 A Street", "city": "Burbank", "state": "CA", "zip": "91501"}},
         "2024-01-01T12:00:00Z"),
    # 200 -> 201 -> ... -> 221: 21 merges from 200, 20 from 201.
    *[made({"id": i, "customerId": 9, "name": f"Place {i}", "active": i == 221, "mergedToId": i + 1 if i < 221 else None}, "2024-01-01T12:00:00Z") for i in range(200, 222)],
]
CAMPAIGNS = [
    made({"id": 50, "name": "Radio", "active": True, "category": {"id": 5, "name": "Ads", "active": True}}, "2024-01-01T12:00:00Z"),
    made({"id": 51, "name": "Web", "active": True}, "2024-01-01T12:00:00Z"),  # deleted below
]
JOBS = [
    # Sunday, November 3, 23:30 after the end of summer time; completed a day later, Monday, 23:30: Tuesday in UTC.
    made({"id": 101, "jobNumber": "J101", "jobStatus": "Completed", "customerId": 1, "locationId": 10, "campaignId": 50, "invoiceId": 301, "total": 150.00, "businessUnitId": 7},
         "2024-11-04T07:30:00Z", completedOn="2024-11-05T07:30:00Z"),
    # Saturday, November 2, 23:30 in summer time.
    made({"id": 102, "jobNumber": "J102", "jobStatus": "Canceled", "customerId": 3, "locationId": 11, "campaignId": 50, "invoiceId": 305, "total": 50, "businessUnitId": 7}, "2024-11-03T06:30:00Z"),
    # March 10, 23:59 on the day on which summer time began, and two minutes later; its customer gets deleted, its location was never seen.
    made({"id": 103, "jobNumber": "J103", "jobStatus": "Completed", "customerId": 6, "locationId": 12, "campaignId": 0, "invoiceId": 303, "total": 0, "businessUnitId": 7},
         "2024-03-11T06:59:00Z", completedOn="2024-03-11T07:01:00Z"),
    # October 31, 23:59 there: another month than in UTC.
    made({"id": 104, "jobNumber": "J104", "jobStatus": "Scheduled", "customerId": 1, "locationId": 10, "campaignId": 51, "invoiceId": 0, "businessUnitId": 7}, "2024-11-01T06:59:00Z"),
]
ITEM = {"type": "Service", "skuId": 900, "skuName": "A", "displayName": "Alpha", "taxable": True, "isChargeable": True}
NORTHERN = {"id": 7, "name": "North"}


def invoice(number, customer, amounts, job=None, unit=NORTHERN, created="2024-11-10T12:00:00Z", **more):
    before_tax, tax, total, balance = amounts
    return made({"id": number, "referenceNumber": f"I{number}", "active": True, "subTotal": before_tax, "salesTax": tax, "total": total, "balance": balance, "items": [], "businessUnit": unit,
                 "customer": {"id": customer, "name": f"as billed {customer}"}, "job": {"id": job, "number": f"J{job}"} if job else None}, created, **more)


# What Ida owes: days until the invoice is due, and the balance; each sum of balances tells which they were.
AGES = {5: 1, 0: 2, -1: 4, -30: 8, -31: 16, -60: 32, -61: 64, -90: 128, -91: 256}
INVOICES = [
    invoice(301, 1, ("100.10", "9.01", "109.11", "0.00"), job=101, invoiceDate=day("2024-11-04"), dueDate=day("2024-12-04"), paidOn=day("2024-11-06"), items=[
        {**ITEM, "id": 1, "order": 1, "quantity": "1", "price": "60.10", "total": "60.10", "cost": "20.05", "totalCost": "20.05", "technicianId": 800},
        {**ITEM, "id": 2, "order": 2, "quantity": "2", "price": "20.00", "total": "40.00", "cost": "5.00", "totalCost": "10.00", "businessUnit": {"id": 8, "name": "East"}},
    ]),
    invoice(302, 1, ("-30.00", "-2.70", "-32.70", "-32.70"), job=101, invoiceDate=day("2024-11-05"), adjustmentToId=301),
    invoice(303, 6, ("0.00", "0.00", "0.00", "0.00"), job=103, invoiceDate=day("2024-11-04")),
    invoice(304, 1, ("999.99", "0.00", "999.99", "999.99"), job=101, invoiceDate=day("2024-11-04"), active=False, items=[{**ITEM, "id": 3, "order": 1, "total": "999.99", "totalCost": "500.00"}]),
    # No amount before tax, no day, no due day: 54.00 - 4.00, and the day on which it was made: November 3 there.
    invoice(305, 3, (None, "4.00", "54.00", "54.00"), job=102, created="2024-11-04T07:30:00Z"),
    invoice(306, 1, ("10.10", "0.90", "11.00", "11.00"), unit=None, invoiceDate=day(ahead(-100)), dueDate=day(ahead(-95))),
    *[invoice(310 + i, 9, (f"{balance}.00", "0.00", f"{balance}.00", f"{balance}.00"), invoiceDate=day(ahead(days)), dueDate=day(ahead(days))) for i, (days, balance) in enumerate(AGES.items())],
]


def payment(number, customer, total, parts, unapplied="0.00", **more):
    applied = [{"appliedId": i, "appliedTo": to, "appliedAmount": amount, "appliedOn": "2024-11-06T12:00:00Z"} for i, to, amount in parts]
    return made({"id": number, "active": True, "customer": {"id": customer, "name": "who paid"}, "total": total, "unappliedAmount": unapplied, "type": "Check", "date": day("2024-11-06"), "appliedTo": applied},
                "2024-11-06T12:00:00Z", **more)


PAYMENTS = [
    payment(401, 1, "109.11", [(1, 301, "100.00"), (2, 305, "9.11")]),
    payment(402, 1, "-20.00", [(3, 301, "-20.00")], refundedPaymentId=401),
    payment(403, 1, "500.00", [(4, 301, "500.00")], active=False),
    payment(404, 3, "5.00", [], unapplied="5.00"),
    payment(405, 6, "7.00", [(5, 304, "7.00")]),
]


def estimate(number, status, amount, created, job=None, unit=7, **more):
    names = {"Open": 0, "Sold": 1, "Dismissed": 2}
    return made({"id": number, "active": True, "status": {"value": names[status], "name": status}, "subtotal": amount, "tax": 0, "businessUnitId": unit, "businessUnitName": "North" if unit else None,
                 "customerId": 3, "jobId": job, "isChangeOrder": False, "items": []}, created, **more)


OFFER = {"id": 61, "sku": {"id": 900, "name": "A", "displayName": "Alpha", "type": "Service"}, "qty": 2, "unitRate": 75, "total": 150, "unitCost": 20, "totalCost": 40}
ESTIMATES = [
    estimate(501, "Dismissed", 200, "2024-11-01T06:59:00Z", job=101),  # October 31 there
    # Sold long after: on August 19, 2025, 23:30 in summer time. From November 2 that is 365 - (12 + 30 + 31 + 2) = 290 days.
    estimate(502, "Sold", 150, "2024-11-02T12:00:00Z", job=101, soldOn="2025-08-20T06:30:00Z", soldBy=800, items=[OFFER]),
    estimate(503, "Open", 80, "2024-11-10T12:00:00Z"),
    estimate(504, "Sold", 1000, "2024-11-10T12:00:00Z", job=101, soldOn="2024-11-10T13:00:00Z", isChangeOrder=True, items=[{**OFFER, "id": 62}]),
    estimate(505, "Sold", 1000, "2024-11-10T12:00:00Z", job=101, soldOn="2024-11-10T13:00:00Z", active=False, items=[{**OFFER, "id": 63}]),
    estimate(506, "Sold", 33.33, "2024-11-20T12:00:00Z", job=0, unit=None, soldOn="2024-11-21T12:00:00Z"),
    estimate(507, "Open", 10, "2024-11-20T13:00:00Z", job=0, unit=None),
]


def pay(number, employee, job, of, amount, adjustment=None, hours=None):
    return made({"id": number, "employeeId": employee, "employeeType": "Technician" if employee == 800 else "Employee", "payrollId": 1, "jobId": job, "jobNumber": f"J{job}" if job else None,
                 "date": day(of), "amount": amount, "amountAdjustment": adjustment, "paidDurationHours": hours, "grossPayItemType": "TimesheetTime"}, "2024-11-05T12:00:00Z")


PAY_ITEMS = [
    pay(701, 800, 101, "2024-11-03", 40.00, 2.50, 2),
    pay(None, 800, 101, "2024-11-03", 10.00, hours=0.5),  # two items without an id, equal in everything
    pay(None, 800, 101, "2024-11-03", 10.00, hours=0.5),
    pay(702, 801, 0, "2024-11-04", 500.00),
    pay(703, 800, 101, "2024-11-04", -5.00),
    pay(704, 800, 101, "2024-11-04", None, 1.25),  # an adjustment alone
]
LISTS = {
    "crm/customers": CUSTOMERS, "crm/locations": LOCATIONS, "marketing/campaigns": CAMPAIGNS, "jpm/jobs": JOBS, "accounting/invoices": INVOICES, "accounting/payments": PAYMENTS,
    "sales/estimates": ESTIMATES, "payroll/gross-pay-items": PAY_ITEMS,
}
READ_AS = {"INTEGER": int, "NUMERIC": D, "BOOLEAN": lambda text: text == "true"}


def write_lists(folder, lists):
    for name, records in lists.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(records))


def two_tenants(path):
    config = json.loads((ROOT / "config/config.json").read_text())
    config["tenants"] = [{"id": NORTH, "clientIdEnv": "ST_CLIENT_ID", "clientSecretEnv": "ST_CLIENT_SECRET", "appKeyEnv": "ST_APP_KEY"},
                         {"id": SOUTH, "clientIdEnv": f"ST_CLIENT_ID_{SOUTH}", "clientSecretEnv": f"ST_CLIENT_SECRET_{SOUTH}", "appKeyEnv": f"ST_APP_KEY_{SOUTH}"}]
    path.write_text(json.dumps(config))
    return path


class Marts(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.stack = stack = Stack()
        cls.addClassCleanup(stack.stop)
        write_lists(stack.data / "source", LISTS)
        stack.start_local("--fixtures", stack.data / "source", "--jobs", 1, "--tenant", NORTH, "--tenant", SOUTH)
        config = two_tenants(stack.data / "config.json")
        stack.ingestor("init", "--config", config)
        stack.ingestor("dispatch", "all", "--mode", "full", "--config", config)
        worker = stack.start("worker", "st-ingestor", "worker", "--drain", "--idle", "1", "--config", config)
        if worker.wait(300):
            raise AssertionError(worker.log.read_text()[-2000:])
        # Named twice: still one tenant.
        execute(stack, f"INSERT INTO `{{p}}.st_mart_v2.tenant_settings` (tenant_id, time_zone) VALUES ({NORTH}, 'America/Los_Angeles'), ({NORTH}, 'America/Los_Angeles'), ({SOUTH}, '')")
        for table, key in (("customers", 6), ("campaigns", 51)):
            execute(stack, f"UPDATE `{{p}}.st_raw_v2.raw_{table}` SET _deleted_at = CURRENT_TIMESTAMP() WHERE id = {key}")
        # In SOUTH, Bob was not merged: tenants have nothing to do with each other.
        execute(stack, f"UPDATE `{{p}}.st_raw_v2.raw_customers` SET mergedToId = NULL, active = TRUE WHERE id = 2 AND _tenant_id = {SOUTH}")

    def rows(self, view, columns, where="TRUE", tenant=NORTH):
        names = columns.split()
        found = self.stack.query(f"SELECT {', '.join(names)} FROM `{{p}}.st_mart_v2.{view}` WHERE tenant_id = {tenant} AND {where} ORDER BY {', '.join(names[:4])}")
        types = [field["type"] for field in self.stack.fields]
        return [tuple(None if row[n] is None else READ_AS.get(t, str)(row[n]) for n, t in zip(names, types)) for row in found]

    def numeric(self, view, *columns):
        self.rows(view, " ".join(columns), where="FALSE")
        self.assertEqual({field["name"]: field["type"] for field in self.stack.fields}, {name: "NUMERIC" for name in columns})

    def test_every_record_has_arrived(self):
        for name, records in LISTS.items():
            entity = {"gross-pay-items": "payroll"}.get(name.split("/")[1], name.split("/")[1])
            rows = self.stack.query(f"SELECT COUNT(*) AS n FROM `{{p}}.st_raw_v2.raw_{entity}`")
            self.assertEqual(int(rows[0]["n"]), 2 * len(records), entity)

    def test_each_view_says_what_it_holds(self):
        text = json.loads(self.stack.ingestor("schema", "ddl", "--json", "--config", self.stack.data / "config.json").stdout)
        for path in sorted((ROOT / "sql/mart").glob("*.sql")):
            sql = next(one["sql"] for one in text if one["name"] == f"view st_mart_v2.{path.stem}")
            with self.subTest(path.stem):
                self.assertRegex(sql, r"OPTIONS\(description='[A-Z][^\\]*\?\\n\\nGrain: one row per ")
                self.assertRegex(sql, r"\\nRules: ")
                self.assertTrue("\\nTime zone: " in sql or path.stem in ("tenant_time_zones", "customer_survivors", "location_survivors"))
                self.assertNotRegex(sql, r"\\nCost: |Parameters|\$\{|FLOAT64")

    def test_every_view_has_a_test(self):
        tests = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        self.assertLessEqual({path.stem for path in (ROOT / "sql/mart").glob("*.sql")}, tests)

    def test_tenant_time_zones(self):
        self.assertEqual(self.stack.query("SELECT tenant_id, time_zone FROM `{p}.st_mart_v2.tenant_time_zones`"), [{"tenant_id": str(NORTH), "time_zone": "America/Los_Angeles"}])

    def test_customer_survivors(self):
        self.assertEqual(self.rows("customer_survivors", "customer_id survivor_id merge_state merges survivor_name survivor_active"), [
            (1, 1, "not merged", 0, "Ada", True),
            (2, 1, "merged", 1, "Ada", True),
            (3, 1, "merged", 2, "Ada", True),
            (4, 4, "endless", 20, "Dot", False),
            (5, 5, "endless", 20, "Eve", False),
            # 6 is deleted
            (7, 7, "survivor unknown", 0, "Gus", False),
            (8, 8, "survivor unknown", 0, "Hal", False),
            (9, 9, "not merged", 0, "Ida", True),
            (40, 40, "endless", 20, "Elo", False),
        ])
        self.assertEqual(self.rows("customer_survivors", "customer_id survivor_id merge_state merges", where="customer_id < 4", tenant=SOUTH),
                         [(1, 1, "not merged", 0), (2, 2, "not merged", 0), (3, 2, "merged", 1)])

    def test_location_survivors(self):
        self.assertEqual(self.rows("location_survivors", "location_id survivor_id merge_state merges survivor_name survivor_customer_id city"), [
            (10, 10, "not merged", 0, "Home", 1, "Burbank"),
            (11, 10, "merged", 1, "Home", 1, "Burbank"),
            (200, 200, "endless", 20, "Place 200", 9, None),  # one merge too many
            *[(i, 221, "merged", 221 - i, "Place 221", 9, None) for i in range(201, 221)],
            (221, 221, "not merged", 0, "Place 221", 9, None),
        ])

    def test_jobs(self):
        columns = "job_id created_day completed_day customer_id original_customer_id customer_name location_id original_location_id location_name city campaign_id campaign_name campaign_category invoice_id total job_status time_zone"
        la = "America/Los_Angeles"
        self.assertEqual(self.rows("jobs", columns), [
            (101, "2024-11-03", "2024-11-04", 1, 1, "Ada", 10, 10, "Home", "Burbank", 50, "Radio", "Ads", 301, D(150), "Completed", la),
            (102, "2024-11-02", None, 1, 3, "Ada", 10, 11, "Home", "Burbank", 50, "Radio", "Ads", 305, D(50), "Canceled", la),
            (103, "2024-03-10", "2024-03-11", 6, 6, None, 12, 12, None, None, None, None, None, 303, D(0), "Completed", la),
            (104, "2024-10-31", None, 1, 1, "Ada", 10, 10, "Home", "Burbank", 51, None, None, None, None, "Scheduled", la),
        ])
        # The same in UTC.
        self.assertEqual(self.rows("jobs", "job_id created_day completed_day time_zone", tenant=SOUTH), [
            (101, "2024-11-04", "2024-11-05", "UTC"), (102, "2024-11-03", None, "UTC"), (103, "2024-03-11", "2024-03-11", "UTC"), (104, "2024-11-01", None, "UTC")])
        self.numeric("jobs", "total")

    def test_invoices(self):
        columns = "invoice_id invoice_day due_day paid_day customer_id original_customer_id customer_name job_id business_unit_id adjusts_invoice_id revenue sales_tax total balance"
        self.assertEqual(self.rows("invoices", columns, where="invoice_id < 310"), [
            (301, "2024-11-04", "2024-12-04", "2024-11-06", 1, 1, "Ada", 101, 7, None, D("100.10"), D("9.01"), D("109.11"), D(0)),
            (302, "2024-11-05", "2024-11-05", None, 1, 1, "Ada", 101, 7, 301, D(-30), D("-2.7"), D("-32.7"), D("-32.7")),
            (303, "2024-11-04", "2024-11-04", None, 6, 6, "as billed 6", 103, 7, None, D(0), D(0), D(0), D(0)),
            # 304 is inactive
            (305, "2024-11-03", "2024-11-03", None, 1, 3, "Ada", 102, 7, None, D(50), D(4), D(54), D(54)),
            (306, ahead(-100), ahead(-95), None, 1, 1, "Ada", None, None, None, D("10.1"), D("0.9"), D(11), D(11)),
        ])
        self.assertEqual(self.rows("invoices", "invoice_day due_day", where="invoice_id = 305", tenant=SOUTH), [("2024-11-04", "2024-11-04")])
        self.numeric("invoices", "revenue", "sales_tax", "total", "balance")

    def test_invoice_items(self):
        columns = "invoice_id item_id position invoice_day customer_id job_id business_unit_id item_type sku_id sku_name display_name quantity price total cost total_cost technician_id taxable"
        self.assertEqual(self.rows("invoice_items", columns), [  # 302 has no lines, 304 is inactive
            (301, 1, 1, "2024-11-04", 1, 101, 7, "Service", 900, "A", "Alpha", D(1), D("60.1"), D("60.1"), D("20.05"), D("20.05"), 800, True),
            (301, 2, 2, "2024-11-04", 1, 101, 8, "Service", 900, "A", "Alpha", D(2), D(20), D(40), D(5), D(10), None, True),
        ])
        self.numeric("invoice_items", "quantity", "price", "total", "cost", "total_cost")

    def test_estimate_items(self):
        columns = "estimate_id item_id created_day is_sold sold_day sold_by_id job_id customer_id business_unit_id is_change_order sku_id sku_name display_name sku_type quantity unit_rate total unit_cost total_cost"
        self.assertEqual(self.rows("estimate_items", columns), [  # 505 is inactive, the others have no lines
            (502, 61, "2024-11-02", True, "2025-08-19", 800, 101, 1, 7, False, 900, "A", "Alpha", "Service", D(2), D(75), D(150), D(20), D(40)),
            (504, 62, "2024-11-10", True, "2024-11-10", None, 101, 1, 7, True, 900, "A", "Alpha", "Service", D(2), D(75), D(150), D(20), D(40)),
        ])
        self.assertEqual(self.rows("estimate_items", "item_id sold_day", where="item_id = 61", tenant=SOUTH), [(61, "2025-08-20")])
        self.numeric("estimate_items", "quantity", "unit_rate", "total", "unit_cost", "total_cost")

    def test_payment_applications(self):
        columns = "payment_id application_id invoice_id applied_amount payment_day payment_type customer_id is_refund refunded_payment_id payment_total unapplied_amount"
        self.assertEqual(self.rows("payment_applications", columns), [  # 403 is inactive, 404 is not applied
            (401, 1, 301, D(100), "2024-11-06", "Check", 1, False, None, D("109.11"), D(0)),
            (401, 2, 305, D("9.11"), "2024-11-06", "Check", 1, False, None, D("109.11"), D(0)),
            (402, 3, 301, D(-20), "2024-11-06", "Check", 1, True, 401, D(-20), D(0)),
            (405, 5, 304, D(7), "2024-11-06", "Check", 6, False, None, D(7), D(0)),
        ])
        self.numeric("payment_applications", "applied_amount", "payment_total", "unapplied_amount")

    def test_daily_revenue(self):
        columns = "day business_unit_id business_unit_name invoices zero_invoices revenue sales_tax total adjustments"
        self.assertEqual(self.rows("daily_revenue", columns, where="day < '2025-01-01'"), [
            ("2024-11-03", 7, "North", 1, 0, D(50), D(4), D(54), D(0)),  # 305
            ("2024-11-04", 7, "North", 2, 1, D("100.1"), D("9.01"), D("109.11"), D(0)),  # 301 and 303; 304 is inactive
            ("2024-11-05", 7, "North", 1, 0, D(-30), D("-2.7"), D("-32.7"), D(-30)),  # 302
        ])
        self.assertEqual(self.rows("daily_revenue", columns, where="business_unit_id IS NULL"), [(ahead(-100), None, None, 1, 0, D("10.1"), D("0.9"), D(11), D(0))])  # 306
        self.assertEqual(self.rows("daily_revenue", columns, where="day >= '2025-01-01' AND business_unit_id = 7"),
                         sorted((ahead(days), 7, "North", 1, 0, D(balance), D(0), D(balance), D(0)) for days, balance in AGES.items()))
        self.numeric("daily_revenue", "revenue", "sales_tax", "total", "adjustments")

    def test_receivables_by_age(self):
        columns = "customer_id customer_name as_of_day open_invoices owed not_due days_1_to_30 days_31_to_60 days_61_to_90 over_90_days credits oldest_due_day"
        rows = self.rows("receivables_by_age", columns)
        if TODAY != today():
            self.skipTest("midnight passed between two looks")
        self.assertEqual(rows, [
            # 302: -32.70, 305 (Cem's, who is Ada now): 54.00, 306: 11.00; all due more than 90 days ago, 305 first.
            (1, "Ada", str(TODAY), 3, D("32.3"), D(0), D(0), D(0), D(0), D("32.3"), D("-32.7"), "2024-11-03"),
            # 1 + 2 not due, 4 + 8, 16 + 32, 64 + 128, 256.
            (9, "Ida", str(TODAY), 9, D(511), D(3), D(12), D(48), D(192), D(256), D(0), ahead(-91)),
        ])
        self.numeric("receivables_by_age", "owed", "not_due", "days_1_to_30", "days_31_to_60", "days_61_to_90", "over_90_days", "credits")

    def test_estimate_conversion(self):
        columns = "month business_unit_id business_unit_name estimates sold dismissed still_open conversion_percent offered_amount sold_amount average_days_to_sale opportunities opportunities_won close_percent"
        self.assertEqual(self.rows("estimate_conversion", columns), [
            # 501 is the first estimate of job 101, which is won by 502.
            ("2024-10-01", 7, "North", 1, 0, 1, 0, D(0), D(200), D(0), None, 1, 1, D(100)),
            # 506 and 507: job 0 is no job, so these are two opportunities. 33.33 + 10 offered; sold after a day.
            ("2024-11-01", None, None, 2, 1, 0, 1, D(50), D("43.33"), D("33.33"), D(1), 2, 1, D(50)),
            # 502 and 503: 150 + 80. 502's opportunity is October's; 503 is one of its own, and open. 504 and 505 do not count.
            ("2024-11-01", 7, "North", 2, 1, 0, 1, D(50), D(230), D(150), D(290), 1, 0, D(0)),
        ])
        # In UTC 501 was made in November: one opportunity more there.
        self.assertEqual(self.rows("estimate_conversion", "month business_unit_id estimates opportunities opportunities_won close_percent", tenant=SOUTH),
                         [("2024-11-01", None, 2, 2, 1, D(50)), ("2024-11-01", 7, 3, 2, 1, D(50))])
        self.numeric("estimate_conversion", "conversion_percent", "offered_amount", "sold_amount", "average_days_to_sale", "close_percent")

    def test_gross_pay_by_job(self):
        columns = "employee_id job_id day employee_type job_number pay_items paid_hours amount adjustment gross_pay"
        self.assertEqual(self.rows("gross_pay_by_job", columns), [
            (800, 101, "2024-11-03", "Technician", "J101", 3, D(3), D(60), D("2.5"), D("62.5")),  # 40 + 2.50, 10, 10; 2 + 0.5 + 0.5 hours
            (800, 101, "2024-11-04", "Technician", "J101", 2, D(0), D(-5), D("1.25"), D("-3.75")),
            (801, None, "2024-11-04", "Employee", None, 1, D(0), D(500), D(0), D(500)),
        ])
        self.numeric("gross_pay_by_job", "paid_hours", "amount", "adjustment", "gross_pay")

    def test_campaign_return(self):
        columns = "campaign_id month campaign_name campaign_category jobs completed_jobs canceled_jobs customers revenue line_cost gross_pay margin revenue_per_kept_job"
        self.assertEqual(self.rows("campaign_return", columns), [
            (None, "2024-03-01", None, None, 1, 1, 0, 1, D(0), D(0), D(0), D(0), D(0)),  # 103
            # 101: 100.10 - 30.00 revenue over two invoices, 20.05 + 10.00 cost, 62.50 - 3.75 pay, each once; 102: 54.00 - 4.00. Ada and Cem are one.
            # 120.10 - 30.05 - 58.75 = 31.30; one job of two was kept.
            (50, "2024-11-01", "Radio", "Ads", 2, 1, 1, 1, D("120.1"), D("30.05"), D("58.75"), D("31.3"), D("120.1")),
            (51, "2024-10-01", None, None, 1, 0, 0, 1, D(0), D(0), D(0), D(0), D(0)),  # 104; deleted campaign
        ])
        self.assertEqual(self.rows("campaign_return", "campaign_id month", where="campaign_id = 51", tenant=SOUTH), [(51, "2024-11-01")])
        self.numeric("campaign_return", "revenue", "line_cost", "gross_pay", "margin", "revenue_per_kept_job")

    def test_customer_lifetime_value(self):
        columns = "customer_id customer_name customer_since jobs completed_jobs invoices revenue billed paid owed first_day last_day revenue_per_invoice"
        nothing = (0, 0, 0, D(0), D(0), D(0), D(0), None, None, None)
        self.assertEqual(self.rows("customer_lifetime_value", columns), [
            # Jobs 101, 102 (Cem's), 104; invoices 301, 302, 305 (Cem's), 306: 100.10 - 30 + 50 + 10.10 before tax, 109.11 - 32.70 + 54 + 11 with it;
            # paid 109.11 - 20 + 5 (Cem's); owed -32.70 + 54 + 11. 130.20 / 4 = 32.55.
            (1, "Ada", "2023-12-31", 3, 1, 4, D("130.2"), D("141.41"), D("94.11"), D("32.3"), "2024-10-31", ahead(-100), D("32.55")),
            (4, "Dot", "2024-01-04", *nothing),
            (5, "Eve", "2024-01-05", *nothing),
            (6, None, None, 1, 1, 1, D(0), D(0), D(7), D(0), "2024-03-10", "2024-11-04", D(0)),  # deleted; 103, 303, 405
            (7, "Gus", "2024-01-07", *nothing),
            (8, "Hal", "2024-01-08", *nothing),
            (9, "Ida", "2024-01-09", 0, 0, 9, D(511), D(511), D(0), D(511), ahead(-91), ahead(5), D("56.78")),  # 511 / 9 = 56.777...
            (40, "Elo", "2024-01-05", *nothing),
        ])
        self.numeric("customer_lifetime_value", "revenue", "billed", "paid", "owed", "revenue_per_invoice")


class Possible(unittest.TestCase):
    """A view whose entities are disabled is left out, and so are the views that read it; the others are made."""

    def views(self, *disabled):
        config = json.loads((ROOT / "config/config.json").read_text())
        for name in disabled:
            config["entities"][name]["enabled"] = False
        with Stack() as stack:
            path = stack.data / "config.json"
            path.write_text(json.dumps(config))
            ddl = json.loads(stack.ingestor("schema", "ddl", "--json", "--config", path, env={"BQ_PROJECT_ID": "p"}).stdout)
        return {one["name"].removeprefix("view st_mart_v2.") for one in ddl if one["name"].startswith("view st_mart_v2.")}

    def test_what_needs_a_disabled_entity_is_left_out(self):
        all_views = {path.stem for path in (ROOT / "sql/mart").glob("*.sql")}
        self.assertEqual(self.views(), all_views)
        self.assertEqual(all_views - self.views("payroll"), {"gross_pay_by_job", "campaign_return"})
        self.assertEqual(all_views - self.views("campaigns"), {"jobs", "campaign_return", "customer_lifetime_value"})
        self.assertEqual(self.views("customers", "payroll", "estimates"), {"tenant_time_zones", "location_survivors"})


if __name__ == "__main__":
    unittest.main()
