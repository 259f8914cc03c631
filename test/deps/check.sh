#!/usr/bin/env bash
# Prints the Debian packages that are missing, one a line; nothing when all are there. Fast: run by every make.
# Arguments: sections of packages.txt; without: build and test.
set -u
here=$(cd "$(dirname "$0")" && pwd)

is_there() {
    case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    pc:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pc:}" ;;
    file:*) [ -e "${1#file:}" ] ;;
    esac
}

wanted=" ${*:-build test} "
section=
while read -r package evidence; do
    case $package in
    '' | '#'*) continue ;;
    '['*) section=${package//[\[\]]/} && continue ;;
    esac
    case $wanted in *" $section "*) ;; *) continue ;; esac
    is_there "$evidence" || echo "$package"
done <"$here/packages.txt"
