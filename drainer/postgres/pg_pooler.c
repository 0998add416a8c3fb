/* pg_pooler.c: see pg_pooler.h.
 *
 * Locks of a session, temporary tables and SET mean nothing where the next transaction may run in
 * another session. A pooler shows by a process id that is not the backend's. In session mode an
 * open connection keeps its backend; in transaction mode another connection gets it, or this one
 * gets another, once somebody else is in a transaction. */
#include "drainer/postgres/pg_pooler.h"

#include <poll.h>
#include <stdlib.h>

#include "drainer/postgres/pg_result.h"
#include "schema/clock.h"

enum { ROUNDS = 3, ANSWER_TIMEOUT_MS = 3000 };

/* Returns the backend that answers, or 0: none does in time, or it refuses. */
static int pooler_backend_of(PGconn *connection, const char *sql)
{
    int64_t until = clock_monotonic_ms() + ANSWER_TIMEOUT_MS;
    int backend = 0;

    if (PQsendQuery(connection, sql) != 1) {
        return 0;
    }
    while (PQisBusy(connection)) {
        struct pollfd fd = {.fd = PQsocket(connection), .events = POLLIN};
        int64_t left = until - clock_monotonic_ms();

        if (left <= 0 || poll(&fd, 1, (int)left) <= 0 || PQconsumeInput(connection) != 1) {
            return 0;
        }
    }
    for (PGresult *result; (result = PQgetResult(connection)) != NULL; PQclear(result)) {
        if (pg_result_begins_copy(result)) {
            PQclear(result);
            return 0;
        }
        if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
            backend = atoi(pg_result_text(result, 0, 0));
        }
    }
    return backend;
}

/* Says whether one round shows a backend that both connections use. 0 from the second: it gets none
 * while the first one is open, so the pool is used up, by sessions. */
static bool pooler_shares(PGconn *first, PGconn *second)
{
    int mine = pooler_backend_of(first, "SELECT pg_backend_pid()");
    int other = pooler_backend_of(second, "BEGIN; SELECT pg_backend_pid()");
    bool shares = other != 0 &&
                  (other == mine || pooler_backend_of(first, "SELECT pg_backend_pid()") != mine);

    PQclear(PQexec(second, "ROLLBACK"));
    return shares;
}

static bool pg_is_pooled_by_transaction(struct pg *pg)
{
    int backend = pooler_backend_of(pg->connection, "SELECT pg_backend_pid()");
    bool shares = false;

    if (backend == 0 || backend == PQbackendPID(pg->connection)) {
        return false;
    }
    PGconn *second = pg_connect(pg->settings);
    for (int round = 0; round < ROUNDS && !shares && PQstatus(second) == CONNECTION_OK; round++) {
        shares = pooler_shares(pg->connection, second);
    }
    PQfinish(second);
    return shares;
}

bool pg_refuse_pooler(struct pg *pg)
{
    if (!pg_is_pooled_by_transaction(pg)) {
        return true;
    }
    pg->exit_code = command_fail(
        pg->settings, EXIT_CODE_USAGE,
        "setting postgres: a connection pooler in transaction mode is between here and "
        "PostgreSQL, where locks, settings and temporary tables of a session are lost: set "
        "pool_mode = "
        "session for this database, or connect to PostgreSQL itself");
    return false;
}

bool pg_open_session(struct pg *pg, const struct settings *settings)
{
    return pg_open(pg, settings) && pg_refuse_pooler(pg) && pg_check_schema(pg);
}
