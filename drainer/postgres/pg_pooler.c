/* pg_pooler.c: see pg_pooler.h.
 *
 * Locks of a session, temporary tables and SET mean nothing where the next transaction may run in
 * another session. A pooler shows by a process id that is not the backend's. In session mode an
 * open connection keeps its backend; in transaction mode another connection gets it, or this one
 * gets another. */
#include "drainer/postgres/pg_pooler.h"

#include <poll.h>
#include <stdlib.h>

#include "drainer/log.h"
#include "drainer/postgres/pg_connect.h"
#include "drainer/postgres/pg_result.h"
#include "schema/clock.h"

enum { ROUNDS = 3, ANSWER_TIMEOUT_S = 3 };

/* Returns the backend that answers, or 0: none does in time, or it refuses. */
static int pooler_backend_of(PGconn *connection)
{
    int64_t until = clock_monotonic_ms() + ANSWER_TIMEOUT_S * 1000;
    int backend = 0;

    if (PQsendQuery(connection, "SELECT pg_backend_pid()") != 1) {
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
        backend = atoi(pg_result_text(result, 0, 0));
    }
    return backend;
}

/* Asks each in turn; not both equally often, as a pooler may hand out its backends in turn. */
static enum pg_pooling pooler_round(PGconn *first, PGconn *second, int backend)
{
    PGconn *const turns[] = {second, first, first};

    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        int other = pooler_backend_of(turns[i]);

        if (other == 0) {
            return PG_POOLING_UNKNOWN;
        }
        if ((other == backend) != (turns[i] == first)) {
            return PG_POOLING_BY_TRANSACTION;
        }
    }
    return PG_POOLING_BY_SESSION;
}

enum pg_pooling pg_pooling_of(PGconn *connection, const struct settings *settings)
{
    enum pg_pooling found = PG_POOLING_BY_SESSION;
    int backend = pooler_backend_of(connection);

    if (backend == 0 || backend == PQbackendPID(connection)) {
        return PG_POOLING_NONE;
    }
    PGconn *second = pg_connect(settings);
    for (int round = 0; round < ROUNDS && found == PG_POOLING_BY_SESSION; round++) {
        found = pooler_round(connection, second, backend);
    }
    PQfinish(second);
    if (found == PG_POOLING_UNKNOWN) {
        log_warn("postgres",
                 "the pooler gives a second session no backend within %d s, so whether it pools by "
                 "transaction is not known: its pool is used up (default_pool_size)",
                 ANSWER_TIMEOUT_S);
    }
    return found;
}

int pg_pooler_fail(const struct settings *settings)
{
    return command_fail(
        settings, EXIT_CODE_USAGE,
        "setting postgres: a connection pooler in transaction mode is between here and "
        "PostgreSQL, where locks, settings and temporary tables of a session are lost: set "
        "pool_mode = "
        "session for this database, or connect to PostgreSQL itself");
}
