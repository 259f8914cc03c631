#!/usr/bin/env bash
# Sources have the form that .clang-format says (make format gives it to them). Tables that say so are left alone.
set -u
mapfile -t files < <(find src test include -name '*.[ch]' -not -path '*/node_modules/*' | sort)
if findings=$(clang-format --dry-run -Werror "${files[@]}" 2>&1); then
    echo "format: ${#files[@]} files"
else
    grep -oE '^[^: ]+\.[ch]:[0-9]+' <<<"$findings" | cut -d: -f1 | sort | uniq -c
    echo 'format: run `make format`'
    exit 1
fi
