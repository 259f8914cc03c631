#!/usr/bin/env bash
# Installs what the build and the tests need and is not there yet: Debian packages (root or sudo), DuckDB and the
# npm packages of the tests. Everything that is not from the distribution is pinned and checked by hash.
# Arguments: sections of packages.txt, to install these packages alone.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"

fail() {
    echo "deps: $*" >&2
    exit 1
}

install_packages() {
    local sudo=''
    [ "$(id -u)" = 0 ] || sudo='sudo'
    [ -z "$sudo" ] || command -v sudo >/dev/null || fail "these packages are missing and need root: $*"
    command -v apt-get >/dev/null || fail "these packages are missing and this is no Debian: $*"
    echo "deps: installing $*"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

install_node_modules() {
    local folder=$1 lock=node_modules/.lock-sha256 sum
    sum=$(sha256sum "$folder/package-lock.json" | cut -d' ' -f1)
    [ "$(cat "$folder/$lock" 2>/dev/null)" = "$sum" ] && return
    echo "deps: installing the npm packages of $folder"
    (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts)
    echo "$sum" >"$folder/$lock"
}

mapfile -t missing < <(bash test/deps/check.sh "$@")
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
mapfile -t missing < <(bash test/deps/check.sh "$@")
[ ${#missing[@]} -eq 0 ] || fail "still missing: ${missing[*]}"
[ $# -eq 0 ] || exit 0
test/deps/duckdb.sh
install_node_modules test/wire/node
install_node_modules test/terraform
test/deps/provider_schema.sh
