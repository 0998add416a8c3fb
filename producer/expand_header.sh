#!/bin/sh
# expand_header.sh SCHEMA_FOLDER BLOTTER_H: prints blotter.h as it is installed: it stands alone, and has the
# members of the records written out, each with its meaning, for readers and editors that do not expand macros.
set -eu
schema=$1 header=$2

# Puts each row of a list on one line: its meaning may stand on lines of its own.
join_rows() {
    awk '{ line = $0; sub(/ *\\$/, "", line) }
    line ~ /^ +"/ { sub(/^ +/, "", line); row = row " " line; sub(/" "/, "", row); next }
    row != "" { print row; row = "" }
    line ~ /^ *X\(/ { row = line; next }
    { print }
    END { if (row != "") print row }' "$schema/fields.h"
}

expand_structs() {
    echo '#ifndef BLOTTER_SCHEMA_RECORD_STRUCTS_H'
    echo '#define BLOTTER_SCHEMA_RECORD_STRUCTS_H'
    join_rows | awk '
    # fields.h: the members of each list
    FNR == NR && /^#define BLOTTER_[A-Z]*_FIELDS\(X\)/ { split($2, part, "("); list = part[1]; next }
    FNR == NR && /^ *X\(/ && list != "" {
        line = $0
        sub(/^ *X\(/, "", line); sub(/\) *\\?$/, "", line)
        name = line; sub(/,.*/, "", name)
        kind = line; sub(/^[^,]*, */, "", kind); sub(/,.*/, "", kind)
        meaning = line; sub(/^[^"]*"/, "", meaning); sub(/"$/, "", meaning)
        members[list] = members[list] kind "\t" name "\t" meaning "\n"
        next
    }
    FNR == NR { if ($0 !~ /^ *X\(/) list = ""; next }
    # record_structs.h: the types of the kinds, and where the lists belong
    /^#define BLOTTER_C_TYPE_/ { kind = $2; sub(/BLOTTER_C_TYPE_/, "", kind); type = $0
        sub(/^#define [A-Z_]* /, "", type); types[kind] = type (type ~ /\*$/ ? "" : " "); next }
    /^#/ || /^\/\* record_structs/ || /^ \* includes/ { next }
    /BLOTTER_MEMBER\)/ {
        list = $1; sub(/\(.*/, "", list)
        count = split(members[list], lines, "\n")
        for (i = 1; i < count; i++) {
            split(lines[i], part, "\t")
            printf "    %s%s; /* %s */\n", types[part[1]], part[2], part[3]
        }
        next
    }
    NF > 0 || blank == 0 { print }
    { blank = NF == 0 }' - "$schema/record_structs.h"
    echo '#endif'
}

while IFS= read -r line; do
    case $line in
    '#include "schema/record_structs.h"') expand_structs ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$header"
