"""After the storm: what must be true whatever happened. Each check returns what is wrong, in sentences. Standard library only."""
import collections
import json
import os
import pathlib
import re

import logcheck
from stack import ENTITIES, StackError

LAST_ATTEMPT = 29  # then a worker gives a message up by itself
REPORTS = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|: runtime error: |SUMMARY: \w+Sanitizer")
SHOWN = 5


def some(problems):
    """The first few, and how many there are."""
    return problems[:SHOWN] + ([f"... and {len(problems) - SHOWN} more of the kind"] if len(problems) > SHOWN else [])


def equality(stack, tenants):
    """Key sets and values, by the independent checker."""
    saved = dict(stack.env)
    problems = []
    for tenant, secrets in tenants.items():
        stack.env.update(secrets, ST_TENANT_ID=str(tenant))
        try:
            stack.check("--sample", 0)
        except StackError as error:
            problems.append(f"tenant {tenant}: {error}")
        stack.env = dict(saved)
    return problems


def one_row_per_key(stack):
    problems = []
    for entity in ENTITIES:
        sql = f"SELECT _tenant_id, id, COUNT(*) AS n FROM `{{p}}.st_raw_v2.raw_{entity}` GROUP BY 1, 2 HAVING COUNT(*) > 1"
        problems += [f"raw_{entity}: {row['n']} rows of key ({row['_tenant_id']}, {row['id']})" for row in stack.query(sql)]
    return some(problems)


# ---- Messages --------------------------------------------------------------------------------------------------------

def letters(stack, arguments):
    """Attributes of the dead letters."""
    listed = json.loads(stack.ingestor("dlq", "list", "--json", "--limit", 10000, *arguments).stdout)
    found = []
    for at in range(0, len(listed), 50):
        ids = [letter["message_id"] for letter in listed[at:at + 50]]
        shown = stack.ingestor("dlq", "show", *ids, "--json", *arguments).stdout
        found += [json.loads(line)["attributes"] for line in shown.splitlines() if line.startswith("{")]
    return found


def ended_messages(stack, lines):
    """Ids of the messages whose work is proved: by the run log, or (a skip without task id, a group) by the worker's own words."""
    rows = stack.query("SELECT DISTINCT message_id FROM `{p}.st_logs_v2.ingestion_log_events` WHERE status IN ('success', 'skipped')")
    ended = {row["message_id"] for row in rows}
    return ended | {line.get("messageId") for line in lines if line["message"] == "Task is done already"}


def messages(stack, dispatcher, dead, lines):
    """Each message that was published was acked after its work, or is in the dead-letter topic; poison always is."""
    ended, expanded = ended_messages(stack, lines), {line["taskId"] for line in lines if line["message"] == "Message expanded"}
    lettered = collections.Counter(attributes.get("chaos") for attributes in dead)
    problems = []
    for serial, message in dispatcher.sent.items():
        what = f"message {serial} {message['ids']} {message['data'][:120]!r}"
        if message["poison"]:
            if not lettered[serial]:
                problems.append(f"{what} is poison and not in the dead-letter topic")
            continue
        task = message["task"]
        group = task["entity"] == "all" or "tenant" not in task
        for message_id in message["ids"]:
            done = (task.get("task_id") or message_id) in expanded if group else message_id in ended
            if not done and not lettered[serial]:
                problems.append(f"{what}: acked, but neither a run nor a dead letter tells of {message_id}")
    return some(problems)


def only_poison(dispatcher, dead):
    """Nothing that was only met by misfortune is given up, but at the last attempt."""
    poison = {serial for serial, message in dispatcher.sent.items() if message["poison"]}
    wrong = [a for a in dead if a.get("chaos") not in poison and int(a.get("CloudPubSubDeadLetterSourceDeliveryCount", 0)) < LAST_ATTEMPT]
    return some([f"a good message was given up: {a.get('error_code')}: {a.get('error_message')} (serial {a.get('chaos')}, run {a.get('run_id')})" for a in wrong])


def empty_lanes(stack):
    return [f"{s['name']}: {s['ready']} ready, {s['leased']} leased, {s['delayed']} delayed" for s in stack.pubsub_stats()
            if not s["name"].endswith("-operator") and s["ready"] + s["leased"] + s["delayed"]]


# ---- Watermarks, changes, run log ---------------------------------------------------------------------------------------

def watermarks(stack, watcher, overlap_s):
    """Never older than it was; each from its run's frame, never from records; each after the change that took the run's rows in."""
    problems = list(watcher.moved_back)
    rows = stack.query("""SELECT s.tenant_id, s.entity_type, s.run_id, s.kind, s.last_sync_time, r.frame_to
        FROM `{p}.st_logs_v2.sync_state_events` AS s
        LEFT JOIN (SELECT run_id, MAX(frame_to) AS frame_to FROM `{p}.st_logs_v2.ingestion_log_events` GROUP BY run_id) AS r ON r.run_id = s.run_id""")
    newest = collections.defaultdict(int)
    for row in rows:
        key = (row["tenant_id"], row["entity_type"])
        newest[key] = max(newest[key], int(row["last_sync_time"]))
        if row["kind"] != "advance":
            problems.append(f"watermark of {key}: run {row['run_id']} wrote a {row['kind']}")
        elif row["frame_to"] is None or int(row["last_sync_time"]) != int(row["frame_to"]) - overlap_s * 1000000:
            problems.append(f"watermark of {key}: {row['last_sync_time']} is not the frame {row['frame_to']} of run {row['run_id']} minus {overlap_s} s")
    problems += [f"watermark of {key} was seen at {seen}, and its newest event says {newest[key]}" for key, seen in watcher.latest.items() if seen > newest[key]]
    return some(problems)


def merged_before(stack):
    """A run that says success, or moves the watermark, and had rows, is in a change that succeeded."""
    rows = stack.query("""SELECT DISTINCT a.run_id, a.target FROM `{p}.st_logs_v2.staged_run_events` AS a
        WHERE a.run_id IN (SELECT run_id FROM `{p}.st_logs_v2.ingestion_log_events` WHERE status = 'success'
                           UNION DISTINCT SELECT run_id FROM `{p}.st_logs_v2.sync_state_events`)
        AND a.run_id NOT IN (SELECT r FROM `{p}.st_logs_v2.target_change_events`, UNNEST(run_ids) AS r WHERE state = 'success')""")
    return some([f"run {row['run_id']} claims success, and no change of {row['target']} took its rows" for row in rows])


def changes(stack):
    """Numbers of a target's changes without gaps, each with one end, and a run in one of them."""
    problems = []
    rows = stack.query("SELECT target, change_number, COUNT(DISTINCT CONCAT(state, job_id)) AS ends FROM `{p}.st_logs_v2.target_change_events` GROUP BY 1, 2")
    numbers = collections.defaultdict(list)
    for row in rows:
        numbers[row["target"]].append(int(row["change_number"]))
        if row["ends"] != "1":
            problems.append(f"{row['target']}: change {row['change_number']} has {row['ends']} ends")
    for target, found in numbers.items():
        if max(found) - min(found) + 1 != len(found):
            problems.append(f"{target}: changes {min(found)} to {max(found)}, but {len(found)} of them")
    twice = stack.query("""SELECT target, r, COUNT(DISTINCT change_number) AS n FROM `{p}.st_logs_v2.target_change_events`, UNNEST(run_ids) AS r
        WHERE state = 'success' GROUP BY 1, 2 HAVING COUNT(DISTINCT change_number) > 1""")
    problems += [f"{row['target']}: run {row['r']} is in {row['n']} changes" for row in twice]
    return some(problems)


def run_log(stack):
    """A run ends at most once, and in one way."""
    rows = stack.query("""SELECT run_id, COUNT(DISTINCT status) AS n FROM `{p}.st_logs_v2.ingestion_log_events`
        WHERE status != 'running' GROUP BY 1 HAVING COUNT(DISTINCT status) > 1""")
    return some([f"run {row['run_id']} ended in {row['n']} ways" for row in rows])


# ---- Processes ---------------------------------------------------------------------------------------------------------

def logs(processes):
    problems = []
    for process in processes:
        text = process.log.read_text(errors="replace")
        if REPORTS.search(text):
            problems.append(f"{process.log}: {REPORTS.search(text).group(0)}")
        try:
            if process.logs_json:
                logcheck.check_process(process)
        except logcheck.LogError as error:
            problems.append(str(error))
    return some(problems)


def orphans(marker):
    """Processes that still carry the run's mark in their environment, besides this one."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(f"process {folder.name} is still there: {(folder / 'cmdline').read_bytes()[:120]!r}")
        except OSError:
            continue
    return some(found)
