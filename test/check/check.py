#!/usr/bin/env python3
"""Compares the warehouse with the source, value for value. It shares neither registry nor encoder with the program.

Source: the ServiceTitan API, read page by page while nothing is edited. Warehouse: BigQuery's REST API. What stands below about
columns was written from the brief: a column has the name of the API's field, apart from the few in DERIVED.

    check.py [--entity NAME ...] [--sample 200] [--seed 1] [--json]

Reads ST_*, BQ_* and BIGQUERY_EMULATOR_HOST from the environment. Exit code 0 when everything is equal.
"""
import argparse
import collections
import datetime
import decimal
import json
import os
import random
import re
import sys
import urllib.parse
import urllib.request

ENTITIES = {
    "jobs": ("jpm/v2/tenant/{}/jobs", {}),
    "invoices": ("accounting/v2/tenant/{}/invoices", {"activeState": "All"}),
    "estimates": ("sales/v2/tenant/{}/estimates", {"active": "Any"}),
    "payments": ("accounting/v2/tenant/{}/payments", {"activeState": "All"}),
    "payroll": ("payroll/v2/tenant/{}/gross-pay-items", {}),
    "customers": ("crm/v2/tenant/{}/customers", {"active": "Any"}),
    "locations": ("crm/v2/tenant/{}/locations", {"active": "Any"}),
    "campaigns": ("marketing/v2/tenant/{}/campaigns", {"active": "Any"}),
}
# Columns that are not a field of the same name: how the brief's columns are found in the API's records.
DERIVED = {
    "invoices": {"businessUnitId": "businessUnit.id", "jobId": "job.id", "status": "syncStatus"},
    "payments": {"invoiceId": "appliedTo.0.appliedTo", "paymentTypeId": "typeId", "status": "syncStatus"},
    "payroll": {"paidDate": "date"},
    "estimates": {"status": "status.name", "statusValue": "status.value"},
    "campaigns": {"categoryId": "category.id"},
}
NINE = decimal.Decimal("1e-9")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
decimal.getcontext().prec = 80


class Number(str):
    """A JSON number by its literal text."""


def loads(text):
    return json.loads(text, parse_float=Number, parse_int=Number)


# ---- Source -------------------------------------------------------------------------------------------------------

class Source:
    def __init__(self, tenant):
        self.base = os.environ["ST_API_URL"].rstrip("/")
        self.tenant = tenant
        form = {"grant_type": "client_credentials", "client_id": os.environ["ST_CLIENT_ID"], "client_secret": os.environ["ST_CLIENT_SECRET"]}
        reply = urllib.request.urlopen(os.environ["ST_AUTH_URL"], urllib.parse.urlencode(form).encode(), timeout=60)
        self.token = json.load(reply)["access_token"]

    def get(self, path, **query):
        url = f"{self.base}/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}", "ST-App-Key": os.environ["ST_APP_KEY"]})
        return loads(urllib.request.urlopen(request, timeout=120).read().decode())

    def records(self, entity):
        path, filters = ENTITIES[entity]
        page = 1
        while True:
            reply = self.get(path.format(self.tenant), page=page, pageSize=5000, includeTotal="true", **filters)
            yield from reply["data"]
            if not reply["hasMore"]:
                return
            page += 1


# ---- Warehouse ----------------------------------------------------------------------------------------------------

class Warehouse:
    def __init__(self):
        self.base = os.environ["BIGQUERY_EMULATOR_HOST"].rstrip("/") + "/bigquery/v2"
        self.project = os.environ["BQ_PROJECT_ID"]
        self.raw = os.environ.get("BQ_DATASET_RAW", "st_raw_v2")

    def call(self, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.base}/projects/{self.project}/{path}", data, {"Content-Type": "application/json"})
        try:
            return json.load(urllib.request.urlopen(request, timeout=300))
        except urllib.error.HTTPError as error:
            raise SystemExit(f"check: {path}: {error.code} {error.read().decode()[:400]}")

    def fields(self, table):
        return self.call(f"datasets/{self.raw}/tables/{table}")["schema"]["fields"]

    def query(self, sql):
        """Rows of Python values by the result's schema."""
        body = {"query": sql, "useLegacySql": False, "formatOptions": {"useInt64Timestamp": True}, "maxResults": 5000}
        reply = self.call("queries", body)
        job = reply["jobReference"]["jobId"]
        location = reply["jobReference"].get("location", "US")
        while not reply.get("jobComplete"):
            reply = self.call(f"queries/{job}?location={location}&formatOptions.useInt64Timestamp=true&maxResults=5000")
        fields = reply["schema"]["fields"]
        while True:
            for row in reply.get("rows", []):
                yield {f["name"]: cell_value(f, c["v"]) for f, c in zip(fields, row["f"])}
            if not reply.get("pageToken"):
                return
            token = urllib.parse.quote(reply["pageToken"])
            reply = self.call(f"queries/{job}?location={location}&formatOptions.useInt64Timestamp=true&maxResults=5000&pageToken={token}")


def cell_value(field, value):
    """A REST cell as a comparable value."""
    if field.get("mode") == "REPEATED":
        inner = dict(field, mode="NULLABLE")
        return tuple(cell_value(inner, item["v"]) for item in value or [])
    if value is None:
        return None
    kind = field["type"]
    if kind in ("RECORD", "STRUCT"):
        return tuple((f["name"], cell_value(f, c["v"])) for f, c in zip(field["fields"], value["f"]))
    if kind in ("INTEGER", "INT64", "TIMESTAMP"):
        return int(value)
    if kind == "NUMERIC":
        return decimal.Decimal(value)
    if kind in ("FLOAT", "FLOAT64"):
        return float(value)
    if kind in ("BOOLEAN", "BOOL"):
        return value == "true"
    if kind == "DATE":
        return value
    if kind == "JSON":
        return json.dumps(loads(value), sort_keys=True)
    return value


# ---- What a source value should look like --------------------------------------------------------------------------

def microseconds(text):
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", text)
    base = datetime.datetime.fromisoformat(match.group(1) + "+00:00")
    offset = 0
    if match.group(3) and match.group(3) != "Z":
        hours, minutes = match.group(3)[1:].split(":")
        offset = (int(hours) * 60 + int(minutes)) * (-1 if match.group(3)[0] == "-" else 1)
    delta = base - EPOCH
    whole = delta.days * 86400 + delta.seconds - offset * 60
    return whole * 1000000 + int((match.group(2) or "").ljust(6, "0")[:6] or 0)


def expected(field, value):
    """The API's value as the column should hold it."""
    if field.get("mode") == "REPEATED":
        inner = dict(field, mode="NULLABLE")
        return tuple(expected(inner, item) for item in value or [] if item is not None)
    if value is None:
        return None
    kind = field["type"]
    if kind in ("RECORD", "STRUCT"):
        return tuple((f["name"], expected(f, value.get(f["name"]))) for f in field["fields"])
    if kind in ("INTEGER", "INT64"):
        return int(value)
    if kind == "TIMESTAMP":
        return microseconds(value)
    if kind == "DATE":
        return value[:10]
    if kind == "NUMERIC":
        return decimal.Decimal(value).quantize(NINE, rounding=decimal.ROUND_HALF_EVEN)
    if kind in ("FLOAT", "FLOAT64"):
        return float(value)
    if kind in ("BOOLEAN", "BOOL"):
        return value is True
    if kind == "JSON":
        return json.dumps(value, sort_keys=True)
    return str(value)


def find(record, path):
    at = record
    for part in path.split("."):
        if at is None:
            return None
        if isinstance(at, list):
            at = at[int(part)] if len(at) > int(part) else None
        else:
            at = at.get(part)
    return at


def columns_of(entity, fields):
    derived = DERIVED.get(entity, {})
    return [(f, derived.get(f["name"], f["name"])) for f in fields if not f["name"].startswith("_")]


def check_coverage(entity, fields, records):
    """Every member that the source has stands in a column."""
    columns = {path.split(".")[0] for _, path in columns_of(entity, fields)}
    seen = {name for record in records for name in record}
    return [f"{entity}: member {name} has no column" for name in sorted(seen - columns)]


def compare_record(entity, columns, record, row, skip=()):
    for field, path in columns:
        if field["name"] in skip:
            continue
        want, have = expected(field, find(record, path)), row[field["name"]]
        if want != have:
            yield f"{entity} {row['id']}: {field['name']} is {have!r}, the source has {want!r}"


def as_key(columns, values):
    return tuple((f["name"], values(f, path)) for f, path in columns if f["name"] != "id")


def compare_without_identity(entity, columns, records, rows):
    """Rows without id: equal as multisets of all their values."""
    want = collections.Counter(as_key(columns, lambda f, path, r=r: expected(f, find(r, path))) for r in records)
    have = collections.Counter(as_key(columns, lambda f, path, r=r: r[f["name"]]) for r in rows)
    for key, count in ((want - have) + collections.Counter()).items():
        yield f"{entity}: {count} rows without id are missing, e.g. {dict(key)}"[:600]
    for key, count in ((have - want) + collections.Counter()).items():
        yield f"{entity}: {count} rows without id are too many, e.g. {dict(key)}"[:600]


def check_entity(entity, source, warehouse, sample, rng):
    table = f"raw_{entity}"
    fields = warehouse.fields(table)
    columns = columns_of(entity, fields)
    records = list(source.records(entity))
    name = f"`{warehouse.project}.{warehouse.raw}.{table}`"
    live = f"_tenant_id = {source.tenant} AND _deleted_at IS NULL"
    keys = collections.Counter(row["id"] for row in warehouse.query(f"SELECT id FROM {name} WHERE {live}"))
    with_id = {int(r["id"]): r for r in records if r["id"] is not None}
    without_id = [r for r in records if r["id"] is None]
    real = {k for k in keys if k >= 0}
    problems = check_coverage(entity, fields, records)
    problems += [f"{entity} {k}: {n} rows of one key" for k, n in keys.items() if n > 1]
    problems += [f"{entity} {k}: missing in the warehouse" for k in sorted(set(with_id) - real)[:20]]
    problems += [f"{entity} {k}: not in the source" for k in sorted(real - set(with_id))[:20]]
    common = sorted(real & set(with_id))
    chosen = sorted(rng.sample(common, min(sample, len(common)))) if sample else common
    compared = 0
    for start in range(0, len(chosen), 500):
        ids = ",".join(map(str, chosen[start:start + 500]))
        for row in warehouse.query(f"SELECT * FROM {name} WHERE {live} AND id IN ({ids})"):
            problems += compare_record(entity, columns, with_id[row["id"]], row)
            compared += 1
    if compared != len(chosen):
        problems.append(f"{entity}: {compared} rows came for {len(chosen)} keys")
    if without_id or any(k < 0 for k in keys):
        rows = list(warehouse.query(f"SELECT * FROM {name} WHERE {live} AND id < 0"))
        problems += compare_without_identity(entity, columns, without_id, rows)
        compared += len(rows)
    return {"entity": entity, "source": len(records), "warehouse": sum(keys.values()), "compared": compared,
            "columns": len(columns), "problems": problems}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entity", action="append", choices=sorted(ENTITIES))
    parser.add_argument("--sample", type=int, default=200, help="rows compared per entity; 0 = all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    source, warehouse = Source(int(os.environ["ST_TENANT_ID"])), Warehouse()
    rng = random.Random(args.seed)
    results = [check_entity(e, source, warehouse, args.sample, rng) for e in args.entity or ENTITIES]
    if args.json:
        print(json.dumps(results))
    else:
        for r in results:
            print(f"{r['entity']:<10} source {r['source']:>8}  warehouse {r['warehouse']:>8}  compared {r['compared']:>6} rows x {r['columns']} columns  "
                  f"{'equal' if not r['problems'] else str(len(r['problems'])) + ' differences'}")
            for problem in r["problems"][:10]:
                print("   ", problem)
    return 1 if any(r["problems"] for r in results) else 0


sys.exit(main())
