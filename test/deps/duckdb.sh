#!/bin/bash
# Fetches the DuckDB shared library that st-local embeds, once, and checks it by hash.
#
# usage: test/deps/duckdb.sh [FOLDER]      (default .deps/duckdb)
#
# DuckDB is no Debian package; its library comes inside the npm package below. Nothing of it is linked into the product.
set -euo pipefail

package=@duckdb/node-bindings-linux-x64@1.5.6-r.1
sha256=3f4962cdd266eab2b479a5b5a4a6d063d279b2954ae814ed00385d553b747633
folder=${1:-.deps/duckdb}
lib=$folder/libduckdb.so

is_good() {
    [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sha256" ]
}

fail() {
    echo "duckdb: $*" >&2
    exit 1
}

if is_good "$lib"; then
    exit 0
fi
[ "$(uname -sm)" = "Linux x86_64" ] || fail "$package is for Linux x86_64 only, this is $(uname -sm)"
command -v npm >/dev/null || fail "npm is needed to fetch $package. Install the Debian package npm and try again"

mkdir -p "$folder"
work=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
npm pack --silent --pack-destination "$work" "$package" >/dev/null || fail "could not fetch $package with npm"
tar -xmzf "$work"/*.tgz -C "$work" package/libduckdb.so package/LICENSE
is_good "$work/package/libduckdb.so" ||
    fail "libduckdb.so of $package has an unexpected sha256 $(sha256sum "$work/package/libduckdb.so" | cut -d' ' -f1), expected $sha256"
mv "$work/package/LICENSE" "$folder/LICENSE"
mv "$work/package/libduckdb.so" "$lib"
echo "duckdb: $package is in $folder"
