#!/usr/bin/env bash
# Every header compiles alone, with the build's warnings. Arguments: the compiler and its flags.
set -u
bad=0 count=0
while read -r header; do
    count=$((count + 1))
    "$@" -I"$(dirname "$header")" -fsyntax-only -x c "$header" || bad=$((bad + 1))
done < <(find include src -name '*.h' | sort)
echo "headers: $count compile alone, $bad do not"
[ "$bad" -eq 0 ]
