/* pg_connect.c: see pg_connect.h. */
#include "drainer/postgres/pg_connect.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>

#include "drainer/commands.h"
#include "drainer/memory.h"
#include "drainer/postgres/pg_hosts.h"
#include "schema/clock.h"

/* Drops what comes while connecting: libpq would print what any server says, as it is. */
static void ignore_notice(void *arg, const char *message)
{
    (void)arg, (void)message;
}

/* Begins to connect, to that host first. The connection string may override what stands before
 * dbname, and not what stands behind it. */
static PGconn *pg_connect_start(const struct settings *settings, unsigned first)
{
    char name[64], milliseconds[32];
    struct pg_hosts hosts;

    snprintf(milliseconds, sizeof milliseconds, "%d", (int)settings->connect_timeout + 5000);
    snprintf(name, sizeof name, "blotter %s", commands[settings->command].name);
    pg_hosts_begin_with(&hosts, settings->postgres, first);
    const char *const keywords[] = {"tcp_user_timeout", "dbname", "host",
                                    "hostaddr",         "port",   "client_encoding",
                                    "application_name", NULL};
    const char *const values[] = {
        milliseconds, settings->postgres, hosts.host, hosts.hostaddr, hosts.port, "UTF8", name,
        NULL};
    PGconn *connection = memory_or_abort(PQconnectStartParams(keywords, values, 1));
    pg_hosts_release(&hosts);
    return connection;
}

/* Goes on until the connection is there, or has failed. False: neither in time, whatever the server
 * sends. */
static bool pg_connect_await(PGconn *connection, int64_t timeout_ms)
{
    int64_t until = clock_monotonic_ms() + timeout_ms;
    PostgresPollingStatusType wants =
        PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;

    while (wants == PGRES_POLLING_READING || wants == PGRES_POLLING_WRITING) {
        struct pollfd fd = {.fd = PQsocket(connection),
                            .events = wants == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int64_t left = until - clock_monotonic_ms();

        if (left <= 0 || poll(&fd, 1, (int)left) == 0) {
            return false;
        }
        wants = PQconnectPoll(connection);
    }
    return true;
}

PGconn *pg_connect(const struct settings *settings)
{
    unsigned hosts = pg_hosts_count(settings->postgres);

    for (unsigned first = 0, next;; first = next) {
        PGconn *connection = pg_connect_start(settings, first);

        PQsetNoticeProcessor(connection, ignore_notice, NULL);
        bool settled = pg_connect_await(connection, settings->connect_timeout);
        next = pg_hosts_behind(settings->postgres, first, connection);
        if (settled || next >= hosts) {
            return connection;
        }
        PQfinish(connection);
    }
}
