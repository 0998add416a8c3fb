#!/bin/sh
# embed.sh FILE...: writes a C file that holds SQL files, one string each: NNN_name.sql makes tables, from_version_1.sql is what its
# name says, the others are functions and views, in the order given.
set -eu

# text FILE: its lines as C strings
text() {
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/	/\\t/g' -e 's/^/"/' -e 's/$/\\n"/' "$1"
}

# array NAME FILE...
array() {
    name=$1
    shift
    echo "const struct sql_file ${name}[] = {"
    for file; do
        base=${file##*/}
        version=$(expr "$base" : '0*\([1-9][0-9]*\)_') || version=0
        printf '{%s, "%s",\n' "$version" "$base"
        text "$file"
        echo '},'
    done
    echo '};'
    echo "const size_t ${name}_count = sizeof $name / sizeof ${name}[0];"
}

tables='' code='' from=''
for file; do
    case ${file##*/} in
    [0-9]*_*) tables="$tables $file" ;;
    from_version_1.sql) from=$file ;;
    *) code="$code $file" ;;
    esac
done

echo '/* Made by drainer/commands/embed.sh. */'
echo '#include "drainer/postgres/migrations.h"'
# shellcheck disable=SC2086 # lists
array sql_tables $tables
# shellcheck disable=SC2086
array sql_code $code
echo 'const struct sql_file sql_from_version_1 = {0, "from_version_1.sql",'
text "$from"
echo '};'
