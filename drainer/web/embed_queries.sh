#!/bin/sh
# embed_queries.sh: prints a C file that holds drainer/web/queries/NAME.sql for each row of API_QUERIES.
set -eu
echo '/* Made by drainer/web/embed_queries.sh. */'
echo '#include "drainer/web/api.h"'
for file in drainer/web/queries/*.sql; do
    printf 'static const char sql_%s[] =\n' "$(basename "$file" .sql)"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/^/    "/' -e 's/$/\\n"/' "$file"
    echo ';'
done
cat <<'C'
const struct api_query api_queries[] = {
#define X(name, parameters, meaning) {#name, parameters, sql_##name},
    API_QUERIES(X)
#undef X
};
const size_t api_query_count = sizeof api_queries / sizeof api_queries[0];
C
