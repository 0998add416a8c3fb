#!/usr/bin/env bash
# test_hardening.sh: a build where neither CFLAGS nor LDFLAGS is given has the compiler's protections, seen in what was built.
set -euo pipefail
cd "$(dirname "$0")/../../.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
env -u CFLAGS -u LDFLAGS -u MAKEFLAGS -u MFLAGS -u SANITIZE make -s -j"$(nproc)" BUILD="$folder" "$folder/blotter" "$folder/libblotter.so"

failures=0
expect() { # expect NAME FILE OPTION PATTERN
    # not -q: grep would end first, and readelf's broken pipe count as a failure
    if readelf --wide "$3" "$2" | grep -E -e "$4" >/dev/null; then
        echo "ok $1"
    else
        echo "not ok $1: ${2##*/} has no $4"
        failures=$((failures + 1))
    fi
}

expect "the program is position independent" "$folder/blotter" -h 'Type: +DYN'
for file in "$folder/blotter" "$folder/libblotter.so.0"; do
    expect "no writable table of functions in ${file##*/}" "$file" -d 'BIND_NOW'
    expect "read-only relocations in ${file##*/}" "$file" -l 'GNU_RELRO'
    expect "no executable stack in ${file##*/}" "$file" -l 'GNU_STACK.* RW '
    expect "stack protector in ${file##*/}" "$file" --dyn-syms '__stack_chk_fail'
    expect "checked copies in ${file##*/}" "$file" --dyn-syms '__(memcpy|snprintf|sprintf|vsnprintf|memset)_chk'
done
expect "a library whose threads may outlive a close is never unloaded" "$folder/libblotter.so.0" -d 'NODELETE'
if [[ $(uname -m) == x86_64 ]]; then
    # The linker keeps the mark only where the start files of the C library have it, too.
    expect "branch targets are marked" "$folder/producer/producer.o" -n 'IBT'
fi
((failures == 0))
