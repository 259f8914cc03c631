#!/usr/bin/env bash
# Runs unit test programs one after the other, each in its own temp folder with a time limit; prints one line per program. What
# they log must have the form of all log lines.
set -u
here=$(pwd)
failed=0
passed=0
: "${UNIT_TIMEOUT:=120}"
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for bin in "$@"; do
    dir=$(mktemp -d)
    program=$(realpath "$bin")
    if (cd "$dir" && ST_ROOT="$here" timeout "$UNIT_TIMEOUT" "$program" >"$dir/out" 2>&1); then
        n=$(grep -c '^\[       OK' "$dir/out"); passed=$((passed + n)); printf 'ok   %-60s %3d cases\n' "$bin" "$n"
    else
        failed=$((failed + 1)); printf 'FAIL %s\n' "$bin"; tail -n 40 "$dir/out"
    fi
    grep -a '^{"timestamp"' "$dir/out" >>"$lines"
    rm -rf "$dir"
done
python3 test/lib/logcheck.py "$lines" || failed=$((failed + 1))
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
