#!/bin/sh
# embed.sh FILE...: writes a C file that holds the migrations, one string each. Usage: sh drainer/commands/embed.sh schema/sql/*.sql
set -eu

echo '/* Made by drainer/commands/embed.sh. */'
echo '#include "drainer/commands/migrations.h"'
echo 'const struct migration migrations[] = {'
for file; do
    name=${file##*/}
    version=$(expr "$name" : '0*\([1-9][0-9]*\)_.*\.sql$') || {
        echo "embed.sh: $file is not named NNN_name.sql" >&2
        exit 1
    }
    printf '{%s, "%s",\n' "$version" "$name"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/	/\\t/g' -e 's/^/"/' -e 's/$/\\n"/' "$file"
    echo '},'
done
echo '};'
echo 'const size_t migration_count = sizeof migrations / sizeof migrations[0];'
