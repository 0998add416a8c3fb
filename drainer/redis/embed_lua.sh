#!/bin/sh
# embed_lua.sh FILE.lua...: writes a C file that holds each script as `script_NAME`, without its comment lines.
# A line "-- include FILE.lua" is replaced by that file, from the same folder.
set -eu

put() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        '-- include '*) put "${1%/*}/${line#-- include }" ;;
        '--'* | '') ;;
        *) printf '%s\n' "$line" ;;
        esac
    done <"$1"
}

echo '/* Made by drainer/redis/embed_lua.sh. */'
echo '#include "drainer/redis/scripts.h"'
for file; do
    name=${file##*/}
    printf 'const char script_%s[] =\n' "${name%.lua}"
    put "$file" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$/\\n"/'
    echo '    "";'
done
