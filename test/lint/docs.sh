#!/usr/bin/env bash
# What is generated equals what is in the tree: .env.example and the README's option table, and the table of metrics in
# docs/monitoring.md. With --write it is written instead.
set -eu
build=$1 write=${2:-}
# Options need no values here: the printed forms are about the tables alone.
print() { "$build/st-ingestor" config "$1" --env-file /dev/null; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fill NAME FILE TABLE: the file with the table between its marks "<!-- NAME: generated ... -->" and "<!-- NAME: end -->".
fill() {
    awk -v name="$1" -v table="$3" '
        index($0, "<!-- " name ": end -->") { skip = 0 }
        !skip { print }
        index($0, "<!-- " name ": generated") { while ((getline line < table) > 0) print line; skip = 1 }' "$2"
}

print env >"$work/env"
print markdown >"$work/options"
print metrics >"$work/metrics"
fill options README.md "$work/options" >"$work/readme"
fill metrics docs/monitoring.md "$work/metrics" >"$work/monitoring"
if [ "$write" = --write ]; then
    cp "$work/env" .env.example
    cp "$work/readme" README.md
    cp "$work/monitoring" docs/monitoring.md
    exit 0
fi
bad=0
diff -u .env.example "$work/env" || bad=1
diff -u README.md "$work/readme" || bad=1
diff -u docs/monitoring.md "$work/monitoring" || bad=1
[ $bad = 0 ] && echo 'docs: .env.example, README and docs/monitoring.md agree with the tables of options and metrics' || echo 'docs: run `make docs`'
exit $bad
