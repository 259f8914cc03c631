#!/usr/bin/env bash
# What is generated equals what is in the tree: .env.example and the README's table from the option table,
# sql/bigquery_schemas.sql from the registry.
# With --write it is written instead.
set -eu
build=$1 write=${2:-}
# Options need no values here: the printed forms are about the table alone.
print() { "$build/st-ingestor" config "$1" --env-file /dev/null; }
# The default names, whatever the caller's environment says; the project is needed by the command, not by the text.
schemas() { env -i BQ_PROJECT_ID=unused "$build/st-ingestor" schema ddl --no-project --env-file /dev/null; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

print env >"$work/env"
print markdown >"$work/table"
schemas >"$work/schemas"
awk -v table="$work/table" '
    /<!-- options: end -->/ { skip = 0 }
    !skip { print }
    /<!-- options: generated/ { while ((getline line < table) > 0) print line; skip = 1 }' README.md >"$work/readme"
if [ "$write" = --write ]; then
    cp "$work/env" .env.example
    mkdir -p sql
    cp "$work/schemas" sql/bigquery_schemas.sql
    cp "$work/readme" README.md
    exit 0
fi
bad=0
diff -u .env.example "$work/env" || bad=1
diff -u README.md "$work/readme" || bad=1
diff -u sql/bigquery_schemas.sql "$work/schemas" || bad=1
[ $bad = 0 ] && echo 'docs: .env.example, README and sql/bigquery_schemas.sql agree with options and registry' || echo 'docs: run `make docs`'
exit $bad
