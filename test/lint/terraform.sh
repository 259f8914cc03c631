#!/usr/bin/env bash
# What terraform/ reads of the registry and of init equals what is in the tree. With --write it is written instead.
set -eu
build=$1 write=${2:-} file=terraform/generated/init.json
made=$(mktemp)
trap 'rm -f "$made"' EXIT
# No name of a project or dataset is in it; any will do.
BQ_PROJECT_ID=any "$build/st-ingestor" schema terraform --env-file /dev/null >"$made"
if [ "$write" = --write ]; then
    cp "$made" "$file"
elif diff -u "$file" "$made"; then
    echo "docs: $file agrees with the registry and init"
else
    echo 'docs: run `make docs`'
    exit 1
fi
