#!/usr/bin/env bash
# The wire: Google's own clients against st-local, our clients against it, the protocol files against Google's, and every SQL text
# against Google's analyzer. Argument: the build folder, then (optionally) the wire test programs.
set -u
build=$1
shift
work=$(mktemp -d)
failed=0
stop() {
    [ -n "${local_pid:-}" ] && kill "$local_pid" 2>/dev/null && wait "$local_pid" 2>/dev/null
    rm -rf "$work"
}
trap stop EXIT

"$build/st-local" --data "$work/data" --jobs 200 --env-file "$work/env" >"$work/local.log" 2>&1 &
local_pid=$!
for _ in $(seq 600); do
    [ -s "$work/env" ] && break
    kill -0 "$local_pid" 2>/dev/null || break
    read -rt 0.1 <> <(:) || true
done
[ -s "$work/env" ] || { echo "wire: st-local did not start"; cat "$work/local.log"; exit 1; }
. "$work/env"
export METADATA_SERVER_DETECTION=none ST_BUILD="$(realpath "$build")"

(cd test/wire/node && node --test --test-concurrency=1 ./*.test.mjs) || failed=1
[ $# -eq 0 ] || test/run_units.sh "$@" || failed=1
exit $failed
