#!/usr/bin/env bash
# What is generated equals what is in the tree: from the table of options, the list of metrics and the registry.
# With --write it is written instead.
set -eu
build=$1 write=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Nothing of the caller's settings: the printed forms are about the tables alone.
ingestor() { env -i BQ_PROJECT_ID=unused "$build/st-ingestor" "$@" --env-file /dev/null; }
# fill NAME FILE: the file with standard input between its marks "<!-- NAME: generated ... -->" and "<!-- NAME: end -->".
fill() {
    cat >"$work/table"
    awk -v name="$1" -v table="$work/table" '
        index($0, "<!-- " name ": end -->") { skip = 0 }
        !skip { print }
        index($0, "<!-- " name ": generated") { while ((getline line < table) > 0) print line; skip = 1 }' "$2"
}

mkdir -p "$work"/new/{docs,sql}
ingestor config env >"$work/new/.env.example"
ingestor config markdown | fill options README.md >"$work/new/README.md"
ingestor config metrics | fill metrics docs/monitoring.md >"$work/new/docs/monitoring.md"
ingestor schema ddl --no-project >"$work/new/sql/bigquery_schemas.sql"

if [ "$write" = --write ]; then
    cp -r "$work/new/." .
    exit 0
fi
bad=0
(cd "$work/new" && find . -type f | sort) >"$work/list"
while read -r file; do
    diff -u "$file" "$work/new/$file" || bad=1
done <"$work/list"
[ $bad = 0 ] && echo "docs: what is generated agrees ($(tr '\n' ' ' <"$work/list" | sed 's|\./||g; s| $||'))" || echo 'docs: run `make docs`'
exit $bad
