/* export.c: `blotter export TABLE`: the rows of a table or view of schema blotter as CSV, of any
 * range of time. Decimals keep every digit, times are UTC. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/since.h"
#include "drainer/memory.h"
#include "drainer/postgres/pg_blocking.h"

/* Makes the statement. NULL: on failure, which has been printed. The caller frees it. */
static char *make_copy(struct pg *pg, const char *since, const char *before)
{
    const struct settings *settings = pg->settings;
    const char *const values[] = {settings->arguments[0], settings->exchange,
                                  since[0] == '\0' ? NULL : since,
                                  before[0] == '\0' ? NULL : before};
    PGresult *result =
        pg_query(pg,
                 "SELECT format('COPY (%s) TO STDOUT WITH (FORMAT csv, HEADER)', "
                 "blotter_internal.export_query($1, $2, $3::timestamptz, $4::timestamptz))",
                 4, values);
    char *sql = result == NULL ? NULL : memory_copy(PQgetvalue(result, 0, 0));

    PQclear(result);
    return sql;
}

/* Copies what the server sends to stdout. */
static int copy_out(struct pg *pg, const char *sql)
{
    PGresult *result = PQexec(pg->connection, sql);
    char *line;
    int length;

    if (PQresultStatus(result) != PGRES_COPY_OUT) {
        pg_fail(pg, result, "cannot export");
        PQclear(result);
        return pg->exit_code;
    }
    PQclear(result);
    while ((length = PQgetCopyData(pg->connection, &line, 0)) > 0) {
        bool written = fwrite(line, 1, (size_t)length, stdout) == (size_t)length;

        PQfreemem(line);
        if (!written) {
            return EXIT_CODE_NO; /* main reports it */
        }
    }
    result = PQgetResult(pg->connection);
    int code = EXIT_CODE_DONE;
    if (length != -1 || PQresultStatus(result) != PGRES_COMMAND_OK) {
        code = pg_fail(pg, result, "the export is not complete");
    }
    PQclear(result);
    return code;
}

int command_export(const struct settings *settings)
{
    char since[SINCE_BYTES], before[SINCE_BYTES];
    struct pg pg = {.settings = settings};
    int code = EXIT_CODE_USAGE;

    if (since_parse(settings, "since", settings->since, since) &&
        since_parse(settings, "before", settings->before, before)) {
        char *sql = pg_open_session(&pg, settings) ? make_copy(&pg, since, before) : NULL;

        code = sql == NULL ? pg.exit_code : copy_out(&pg, sql);
        free(sql);
        pg_close(&pg);
    }
    return code;
}
