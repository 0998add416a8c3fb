/* pg_blocking.c: see pg_blocking.h. */
#include "drainer/postgres/pg_blocking.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "drainer/log.h"
#include "drainer/postgres/migrations.h"
#include "drainer/postgres/pg_connect.h"
#include "drainer/postgres/pg_result.h"
#include "drainer/postgres/sqlstate.h"
#include "schema/text.h"

enum { MESSAGE_BYTES = 512, NOTICES_MAX = 10000 };

static enum exit_code pg_exit_code_of(PGconn *connection, const char *sqlstate)
{
    if (PQstatus(connection) != CONNECTION_OK || sqlstate == NULL) {
        return EXIT_CODE_UNREACHABLE;
    }
    switch (sqlstate_hint(sqlstate, NULL)) {
    case SQLSTATE_UNREACHABLE:
        return EXIT_CODE_UNREACHABLE;
    case SQLSTATE_MIGRATE:
    case SQLSTATE_RIGHTS:
        return EXIT_CODE_USAGE;
    default:
        return EXIT_CODE_NO;
    }
}

void pg_one_line(const char *message, char *out, size_t size)
{
    size_t length = 0;

    for (; *message != '\0' && length + 2 < size; message++) {
        bool blank = *message == '\n' || *message == '\t' || *message == ' ';

        if (!blank) {
            out[length++] = *message;
        } else if (length > 0 && out[length - 1] != ' ') {
            out[length++] = ' ';
        }
    }
    while (length > 0 && out[length - 1] == ' ') {
        length--;
    }
    out[length] = '\0';
    text_clean(out);
}

int pg_fail(struct pg *pg, const PGresult *result, const char *doing)
{
    const char *sqlstate = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary =
        result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char message[MESSAGE_BYTES];
    const char *hint;

    sqlstate_hint(sqlstate, &hint);
    pg_one_line(primary == NULL ? PQerrorMessage(pg->connection) : primary, message,
                sizeof message);
    pg->exit_code = pg_exit_code_of(pg->connection, sqlstate);
    return command_fail(pg->settings, (enum exit_code)pg->exit_code,
                        "setting postgres: %s: %s%s%s%s%s", doing, message,
                        sqlstate == NULL ? "" : " (SQLSTATE ", sqlstate == NULL ? "" : sqlstate,
                        sqlstate == NULL ? "" : ")", hint);
}

/* Logs a notice. A server that never stops sending them is left: libpq itself would read them for
 * ever. */
static void on_notice(void *arg, const PGresult *result)
{
    struct pg *pg = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (++pg->notices > NOTICES_MAX) {
        shutdown(PQsocket(pg->connection), SHUT_RDWR);
    } else if (text != NULL && severity != NULL && strcmp(severity, "WARNING") == 0) {
        log_warn("postgres", "%s", text);
    } else if (text != NULL) {
        log_info("postgres", "%s", text);
    }
}

/* libpq takes a string without '=' for a database's name. Its own words about a malformed one may
 * repeat a password. */
/* Tells whether libpq cannot read the string. problem gets libpq's reason, unless that could hold a
 * piece of a password. */
static bool conninfo_is_malformed(const char *conninfo, char *problem, size_t problem_size)
{
    bool plain_name = strchr(conninfo, '=') == NULL && strstr(conninfo, "://") == NULL;
    char *error = NULL;
    PQconninfoOption *options = plain_name ? NULL : PQconninfoParse(conninfo, &error);
    bool is_safe =
        error != NULL && strstr(conninfo, "pass") == NULL && strchr(conninfo, '@') == NULL;

    snprintf(problem, problem_size, "%.*s", is_safe ? (int)strcspn(error, "\n") : 9,
             is_safe ? error : "malformed");
    PQfreemem(error);
    PQconninfoFree(options);
    return !plain_name && options == NULL;
}

bool pg_open(struct pg *pg, const struct settings *settings)
{
    *pg = (struct pg){.settings = settings, .exit_code = EXIT_CODE_USAGE};
    char problem[160];
    if (conninfo_is_malformed(settings->postgres, problem, sizeof problem)) {
        command_fail(settings, EXIT_CODE_USAGE,
                     "setting postgres: %s; expected a libpq connection string (host=... "
                     "dbname=... user=...) or URL",
                     problem);
        return false;
    }
    pg->connection = pg_connect(settings);
    if (PQstatus(pg->connection) == CONNECTION_BAD) {
        pg_fail(pg, NULL, "cannot connect");
        return false;
    }
    if (PQstatus(pg->connection) != CONNECTION_OK) {
        pg->exit_code = command_fail(settings, EXIT_CODE_UNREACHABLE,
                                     "setting postgres: cannot connect: no answer in the time "
                                     "given by the setting connect_timeout");
        return false;
    }
    PQsetNoticeReceiver(pg->connection, on_notice, pg);
    const char *encoding = PQparameterStatus(pg->connection, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0) {
        command_fail(settings, EXIT_CODE_USAGE,
                     "setting postgres: the database \"%s\" has encoding %s; Blotter needs UTF8 "
                     "(createdb -E UTF8 -T template0)",
                     PQdb(pg->connection), encoding == NULL ? "unknown" : encoding);
        return false;
    }
    pg->pooling = pg_pooling_of(pg->connection, settings);
    if (pg->pooling == PG_POOLING_BY_TRANSACTION && settings->command != COMMAND_CHECK) {
        pg->exit_code = pg_pooler_fail(settings);
        return false;
    }
    return pg_run(pg, "SET search_path = pg_catalog, pg_temp; SET TimeZone = 'UTC'; SET DateStyle "
                      "= 'ISO'; SET client_min_messages = warning");
}

void pg_close(struct pg *pg)
{
    PQfinish(pg->connection);
    pg->connection = NULL;
}

PGresult *pg_query(struct pg *pg, const char *sql, int parameters, const char *const *values)
{
    PGresult *result = parameters == 0 ? PQexec(pg->connection, sql)
                                       : PQexecParams(pg->connection, sql, parameters, NULL, values,
                                                      NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        return result;
    }
    pg_fail(pg, result, "a query failed");
    PQclear(result);
    return NULL;
}

bool pg_run(struct pg *pg, const char *sql)
{
    PGresult *result = pg_query(pg, sql, 0, NULL);

    PQclear(result);
    return result != NULL;
}

int pg_schema_needed(void)
{
    return sql_tables[sql_tables_count - 1].version;
}

int pg_schema_version(struct pg *pg)
{
    PGresult *result = PQexec(pg->connection, "SELECT blotter_internal.schema_version()");
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    int version = -1;

    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        version = atoi(pg_result_text(result, 0, 0));
    } else if (sqlstate_hint(sqlstate, NULL) == SQLSTATE_MIGRATE) {
        version = 0;
    } else {
        pg_fail(pg, result, "the version of the schema cannot be read");
    }
    PQclear(result);
    return version;
}

bool pg_holds_version_1(struct pg *pg)
{
    PGresult *result =
        PQexec(pg->connection, "SELECT to_regclass('blotter.migrations') IS NOT NULL");
    bool holds = PQresultStatus(result) == PGRES_TUPLES_OK && PQgetvalue(result, 0, 0)[0] == 't';

    PQclear(result);
    return holds;
}

bool pg_check_schema(struct pg *pg)
{
    int version = pg_schema_version(pg);

    if (version == 0 && pg_holds_version_1(pg)) {
        pg->exit_code = command_fail(pg->settings, EXIT_CODE_USAGE,
                                     "setting postgres: the database \"%s\" holds the schema of "
                                     "version 1: run `blotter migrate`, which copies everything",
                                     PQdb(pg->connection));
    } else if (version >= 0 && version < pg_schema_needed()) {
        pg->exit_code =
            command_fail(pg->settings, EXIT_CODE_USAGE,
                         "setting postgres: the schema in the database \"%s\" has version %d%s, "
                         "this program needs %d: "
                         "run `blotter migrate`",
                         PQdb(pg->connection), version, version == 0 ? " (there is none yet)" : "",
                         pg_schema_needed());
    }
    return version >= pg_schema_needed();
}

bool pg_open_session(struct pg *pg, const struct settings *settings)
{
    return pg_open(pg, settings) && pg_check_schema(pg);
}
