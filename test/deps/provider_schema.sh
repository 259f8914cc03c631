#!/usr/bin/env bash
# The argument schema of the Google terraform provider as .deps/terraform/provider_schema.json: terraform/ is checked against it.
# The package that publishes it (pinned, checked by hash) has 300 MB unpacked and is needed for a second, so it is not kept.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
source=$root/test/terraform/provider out=$root/.deps/terraform
stamp=$(cat "$source/package-lock.json" "$source/schema.mjs" | sha256sum | cut -d' ' -f1)
[ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ] && [ -s "$out/provider_schema.json" ] && exit 0

echo 'deps: making the schema of the terraform provider'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$source/package.json" "$source/package-lock.json" "$work"
# Its peers are for programs that generate terraform; only its data is read.
(cd "$work" && npm ci --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps)
mkdir -p "$out"
node "$source/schema.mjs" "$work/node_modules/@cdktf/provider-google" "$out/provider_schema.json.part"
mv "$out/provider_schema.json.part" "$out/provider_schema.json"
echo "$stamp" >"$out/.stamp"
