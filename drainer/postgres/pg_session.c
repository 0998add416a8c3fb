/* pg_session.c: see pg_session.h. */
#include "drainer/postgres/pg_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/postgres/pg_result.h"
#include "drainer/settings_table.h"

/* Writes what both kinds of session begin with, and then the rest. */
static char *pg_session_begin_sql(const struct settings *settings, const char *rest)
{
    char *sql = NULL;

    if (asprintf(&sql,
                 "SET lock_timeout = '%ums'; SET TimeZone = 'UTC'; "
                 "SET client_min_messages = warning; SET jit = off; "
                 "SET idle_in_transaction_session_timeout = '%ums'; %s",
                 (unsigned)settings->lock_timeout, (unsigned)settings->postgres_timeout,
                 rest) < 0) {
        abort();
    }
    return sql;
}

char *pg_session_sql(const struct settings *settings)
{
    return pg_session_begin_sql(
        settings, "SELECT blotter_internal.begin_session(false); "
                  "SELECT 'venue', exchange FROM blotter_internal.venues WHERE order_id_scope = "
                  "'symbol'; "
                  "SELECT 'status', status FROM blotter_internal.terminal_statuses");
}

/* Makes the statements of a session that books. The queue is the truth: a booking that a crash
 * takes back is done again. */
char *pg_session_books_sql(const struct settings *settings)
{
    return pg_session_begin_sql(settings, "SET synchronous_commit = off; "
                                          "SELECT blotter_internal.begin_booking()");
}

/* Takes rows that say themselves what they are. */
void pg_session_take(struct pg_session *session, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result) && PQnfields(result) == 2; i++) {
        struct text_set *set = strcmp(pg_result_text(result, i, 0), "venue") == 0
                                   ? &session->venues_by_symbol
                                   : &session->terminal_statuses;

        text_set_add(set, pg_result_text(result, i, 1), (size_t)PQgetlength(result, i, 1));
    }
}

void pg_session_release(struct pg_session *session)
{
    text_set_release(&session->venues_by_symbol);
    text_set_release(&session->terminal_statuses);
}
