#!/usr/bin/env python3
"""Functions that this project does not use, each with the reason, and sizes: functions beyond 100 lines, files beyond 900."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BANNED = {
    "strcpy": "no bound", "strcat": "no bound", "sprintf": "no bound", "vsprintf": "no bound", "gets": "no bound", "strncpy": "may leave text unterminated",
    "strncat": "its bound is not what it seems", "strtok": "hidden state", "atoi": "no errors", "atol": "no errors", "atof": "locale",
    "strtod": "locale and double", "scanf": "no bounds", "sscanf": "silent overflow", "system": "a shell", "popen": "a shell", "localtime": "local time zone",
    "localtime_r": "local time zone", "mktime": "local time zone", "setlocale": "locale", "gmtime": "hidden state", "asctime": "hidden state", "rand": "weak",
    "tmpnam": "race", "mktemp": "race", "alloca": "no bound", "usleep": "use the clock module", "sleep": "use the clock module", "nanosleep": "use the clock module",
}
# Places that may: the clock itself; FLOAT64 values in the local servers, which never leave the C locale; texts that they wrote themselves;
# the zone of schedules, in short programs that open it before other threads start.
EXEMPT = {
    ("src/dispatch/zone.c", "localtime_r"),
    ("src/local/bq_rest_data.c", "strtod"), ("src/local/bq_value.c", "strtod"), ("src/local/bq_sql_ddl.c", "strtod"), ("src/local/st_export.c", "sscanf"), ("src/local/st_journal.c", "sscanf"),
}
# Test programs sleep on real time where something must be given time to do nothing, compare with libc's number parser, draw
# from a seed that gives the same every time, read what they wrote themselves, and remove their folders. Unbounded copies stay banned.
TESTS_MAY = {"sleep", "usleep", "nanosleep", "strtod", "rand", "sscanf", "system"}
MAX_FUNCTION_LINES, MAX_FILE_LINES = 100, 900
CALL = re.compile(r"(?<![\w.>])(" + "|".join(map(re.escape, BANNED)) + r")\s*\(")


def strip(text):
    """Blanks comments and literals, keeping line breaks."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def long_functions(code):
    start = None
    for number, line in enumerate(code.splitlines(), 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            if number - start - 1 > MAX_FUNCTION_LINES:
                yield start, number - start - 1
            start = None


def main():
    bad = 0
    files = sorted(p for top in ("src", "include", "test") for p in (ROOT / top).rglob("*.[ch]") if "node_modules" not in p.parts)
    for path in files:
        name = str(path.relative_to(ROOT))
        code = strip(path.read_text())
        for number, line in enumerate(code.splitlines(), 1):
            for match in CALL.finditer(line):
                if (name, match.group(1)) not in EXEMPT and not (name.startswith("test/") and match.group(1) in TESTS_MAY):
                    print(f"{name}:{number}: {match.group(1)}() is banned: {BANNED[match.group(1)]}")
                    bad += 1
        for number, lines in long_functions(code):
            print(f"{name}:{number}: a function of {lines} lines; split it (at most {MAX_FUNCTION_LINES})")
            bad += 1
        if code.count("\n") > MAX_FILE_LINES and name.startswith(("src/", "include/")):
            print(f"{name}: {code.count(chr(10))} lines; split it (at most {MAX_FILE_LINES})")
            bad += 1
    print(f"banned: {len(files)} files, {bad} findings")
    return 1 if bad else 0


sys.exit(main())
