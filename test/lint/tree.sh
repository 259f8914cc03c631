#!/usr/bin/env bash
# The top level holds what the layout names, and nothing that a program left behind when it ran there.
set -u
known=' .ci .clang-format .dockerignore .env.example .gitignore Dockerfile Makefile README.md config docs include proto sql src terraform test '
bad=0
while read -r name; do
    [[ $known == *" $name "* ]] || { echo "$name: not of the top level; remove it, or name it in ${0##*/}"; bad=1; }
done < <(git ls-files 2>/dev/null | cut -d/ -f1 | sort -u)
[ "$bad" -eq 0 ] && echo "tree: $(wc -w <<<"$known") names"
exit "$bad"
