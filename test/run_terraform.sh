#!/usr/bin/env bash
# terraform/ against the provider's published schema, against registry, init and config, and by terraform itself where it is
# present. Argument: the build folder.
set -eu
export ST_BUILD="$(realpath "$1")"
cd "$(dirname "$0")/terraform"
exec node --test --test-concurrency=2 ./*.test.mjs
