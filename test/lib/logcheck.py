"""What the programs log, held against the brief's form; and what they count, held against itself. Standard library only."""
import json
import pathlib
import re
import signal
import sys

SEVERITIES = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
FIRST_MEMBERS = ["timestamp", "severity", "context", "message"]
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CONTEXT = re.compile(r"v2-ingestor(:[a-z0-9_]+)*")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEXTS = ("runId", "taskId", "entityType", "mode")
RUN = "v2-ingestor:ingestor:"
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


class LogError(Exception):
    pass


def no_repeats(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError(f"a member stands twice: {names}")
    return dict(pairs)


def is_count(value):
    return type(value) is int and value >= 0


def form_problem(text):
    """Why the line does not have the brief's form, or None."""
    try:
        line = json.loads(text, object_pairs_hook=no_repeats)
    except ValueError as error:
        return f"not JSON: {error}"
    if not isinstance(line, dict) or list(line)[:4] != FIRST_MEMBERS:
        return f"does not begin with {FIRST_MEMBERS}"
    if not all(isinstance(line[name], str) and line[name] for name in FIRST_MEMBERS):
        return "timestamp, severity, context and message must be texts"
    if not TIMESTAMP.fullmatch(line["timestamp"]):
        return "timestamp is not like 2025-10-21T10:00:00.000Z"
    if line["severity"] not in SEVERITIES:
        return f"severity is none of {SEVERITIES}"
    if not CONTEXT.fullmatch(line["context"]):
        return "context is not like v2-ingestor:ingestor:jobs"
    return ids_problem(line) or run_problem(line)


def ids_problem(line):
    if any(name in line and not (isinstance(line[name], str) and line[name]) for name in TEXTS):
        return f"{TEXTS} must be texts where they stand"
    if "runId" in line and not UUID.fullmatch(line["runId"]):
        return "runId is no UUID"
    if "tenantId" in line and type(line["tenantId"]) is not int:
        return "tenantId is no number"
    if line["context"].startswith(RUN) and (line.get("entityType") != line["context"][len(RUN):] or "runId" not in line):
        return "the line of a run lacks its runId or entityType"
    if line["context"] == "v2-ingestor:bug":
        return "the program found a mistake in itself"
    return None


def run_problem(line):
    if line["message"] != "Ingestion completed":
        return None
    fetched, inserted, quarantined = (line.get(name) for name in ("recordsFetched", "recordsInserted", "recordsQuarantined"))
    if not all(map(is_count, (fetched, inserted, quarantined, line.get("durationMs")))):
        return "a completed run must tell its counts and durationMs"
    if fetched != inserted + quarantined:
        return "rows read are not rows staged plus rows quarantined"
    return None


def check_lines(title, lines):
    for number, text in enumerate(lines, 1):
        problem = form_problem(text)
        if problem:
            raise LogError(f"{title}, line {number}: {problem}: {text[:800]}")


def check_process(process):
    """All that a program has written. One that was killed may have been cut off in its last line; valgrind's own lines are not ours."""
    if process.returncode and -process.returncode in CRASHES:
        raise LogError(f"{process.log.name}: the program crashed with {signal.Signals(-process.returncode).name}")
    text = process.log.read_text(errors="replace")
    lines = text.splitlines()
    if process.returncode == -signal.SIGKILL and lines and not text.endswith("\n"):
        lines.pop()
    if process.wrapper:
        lines = [line for line in lines if not re.match(r"(==|--)\d+(==|--)", line)]
    check_lines(process.log.name, lines)


# ---- Metrics ---------------------------------------------------------------------------------------------------------
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?[0-9]+(?:\.[0-9]+)?)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def family_of(name, families):
    """The family that a sample belongs to: its own name, or that of a histogram without the suffix."""
    if families.get(name, {}).get("type") in ("counter", "gauge"):
        return name
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and families.get(name[:-len(suffix)], {}).get("type") == "histogram":
            return name[:-len(suffix)]
    raise LogError(f"metric {name} has no HELP and TYPE before it")


def parse_sample(line):
    match = SAMPLE.fullmatch(line)
    if not match:
        raise LogError(f"no sample of the exposition format: {line!r}")
    labels = {name: re.sub(r'\\["\\n]', lambda m: ESCAPES[m.group(0)], value) for name, value in LABEL.findall(match.group(2) or "")}
    return match.group(1), tuple(sorted(labels.items())), float(match.group(3))


def parse_metrics(text):
    """Strictly: {family: {type, help, samples: {(name, labels): value}}}. Families stand together, once, with HELP then TYPE."""
    families, current = {}, None
    if not text.endswith("\n"):
        raise LogError("the last line does not end")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current, _, told = line[7:].partition(" ")
            if current in families or not told:
                raise LogError(f"HELP of {current} stands twice or is empty")
            families[current] = {"help": told, "type": None, "samples": {}}
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            if name != current or families[name]["type"] or kind not in ("counter", "gauge", "histogram"):
                raise LogError(f"TYPE out of place: {line}")
            families[name]["type"] = kind
        else:
            name, labels, value = parse_sample(line)
            family = family_of(name, families)
            if family != current or (name, labels) in families[family]["samples"]:
                raise LogError(f"sample out of place or twice: {line}")
            families[family]["samples"][(name, labels)] = value
    return families


def values(families, name):
    """{label values, in the order of the labels' names: value} of one metric."""
    return {tuple(value for _, value in labels): value_ for (sample, labels), value_ in families[name]["samples"].items() if sample == name}


def check_balance(families):
    read, staged, quarantined = (values(families, f"st_ingestor_records_{what}_total") for what in ("read", "staged", "quarantined"))
    for entity, count in read.items():
        if count != staged[entity] + quarantined[entity]:
            raise LogError(f"{entity}: {count} records read are not {staged[entity]} staged plus {quarantined[entity]} quarantined")
    return sum(read.values())


# ---- As a program: files of log lines --------------------------------------------------------------------------------
def main():
    for name in sys.argv[1:]:
        try:
            check_lines(name, pathlib.Path(name).read_text(errors="replace").splitlines())
        except LogError as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
