/* check_postgres.c: what `blotter check` looks at in PostgreSQL: version, settings, clock, pooling,
 * schema and rights. */
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/check_report.h"
#include "drainer/commands/stalls.h"
#include "drainer/postgres/pg_blocking.h"
#include "schema/clock.h"

static void check_pg_setting(struct check *check, PGconn *connection, const char *name,
                             const char *wanted, enum check_result otherwise, const char *why)
{
    const char *const values[] = {name};
    PGresult *result =
        PQexecParams(connection, "SELECT current_setting($1)", 1, NULL, values, NULL, NULL, 0);
    const char *value =
        PQresultStatus(result) == PGRES_TUPLES_OK ? PQgetvalue(result, 0, 0) : "unknown";
    bool as_wanted = strcmp(value, wanted) == 0;

    check_report(check, as_wanted ? CHECK_FINE : otherwise, "postgres", name, "%s%s%s", value,
                 as_wanted ? "" : "; ", as_wanted ? "" : why);
    PQclear(result);
}

static void check_pg_settings(struct check *check, struct pg *pg)
{
    int version = PQserverVersion(pg->connection);
    PGconn *connection = pg->connection;

    check_report(check, version < 150000 ? CHECK_BAD : CHECK_FINE, "postgres", "version", "%d.%d%s",
                 version / 10000, version % 10000, version < 150000 ? "; needs 15" : "");
    check_pg_setting(check, connection, "fsync", "on", CHECK_BAD,
                     "committed records are lost in a crash of the machine");
    check_pg_setting(check, connection, "full_page_writes", "on", CHECK_BAD,
                     "a crash of the machine may tear pages");
    check_pg_setting(check, connection, "synchronous_commit", "on", CHECK_FINE,
                     "drainers set it themselves; other writers do not");
    check_pg_setting(check, connection, "transaction_read_only", "off", CHECK_BAD,
                     "nothing can be stored: it is a standby, or was set so");
    check_pg_setting(check, connection, "server_encoding", "UTF8", CHECK_BAD, "Blotter needs UTF8");
}

static bool check_pg_clock(struct check *check, struct pg *pg)
{
    int64_t before = clock_wall_ms();
    PGresult *result =
        pg_query(pg, "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint", 0, NULL);

    if (result != NULL) {
        check_report_clock(check, "postgres", before, strtoll(PQgetvalue(result, 0, 0), NULL, 10),
                           clock_wall_ms());
    }
    PQclear(result);
    return result != NULL;
}

static void check_pg_transport(struct check *check, const struct pg *pg)
{
    const char *host = PQhost(pg->connection);

    if (PQsslInUse(pg->connection) == 0 && !check_host_is_local(host) &&
        !check_host_is_local(PQhostaddr(pg->connection))) {
        check_report(check, CHECK_WARNING, "postgres", "transport",
                     "plain text to %s: who can listen reads the records; use sslmode=verify-full",
                     host);
    }
}

static void check_pooling(struct check *check, const struct pg *pg)
{
    static const struct {
        enum check_result result;
        const char *text;
    } findings[] = {
        [PG_POOLING_BY_SESSION] = {CHECK_FINE, "by session"},
        [PG_POOLING_BY_TRANSACTION] =
            {CHECK_BAD, "transactions are pooled (pool_mode=transaction): locks and settings of "
                        "drainers go to whichever session; use pool_mode=session, or none"},
        [PG_POOLING_UNKNOWN] = {CHECK_WARNING, "not known: the pool has no second session to give; "
                                               "raise default_pool_size"},
    };

    if (pg->pooling != PG_POOLING_NONE) {
        check_report(check, findings[pg->pooling].result, "postgres", "pooling", "%s",
                     findings[pg->pooling].text);
    }
}

/* Checks for USAGE on the schema, without which nothing in it can be asked. */
static void check_pg_rights(struct check *check, struct pg *pg)
{
    PGresult *result =
        pg_query(pg,
                 "SELECT CASE WHEN has_schema_privilege('blotter_internal', 'USAGE') THEN '' ELSE "
                 "'USAGE on schema blotter_internal' END, current_user, "
                 "has_schema_privilege('public', 'public', 'CREATE')",
                 0, NULL);

    if (result == NULL) {
        return;
    }
    if (PQgetvalue(result, 0, 2)[0] == 't') {
        check_report(check, CHECK_WARNING, "postgres", "schema public",
                     "everybody may create functions there, which others then call: REVOKE CREATE "
                     "ON SCHEMA public FROM PUBLIC");
    }
    if (PQgetvalue(result, 0, 0)[0] == '\0') {
        PQclear(result);
        result = pg_query(
            pg,
            "SELECT concat_ws(', ', "
            "blotter_internal.missing_rights(current_user, 'blotter_drainer'), CASE WHEN NOT "
            "has_database_privilege(current_database(), 'TEMP') THEN 'TEMPORARY on the database' "
            "END), current_user",
            0, NULL);
    }
    if (result != NULL) {
        const char *missing = PQgetvalue(result, 0, 0);

        check_report(check, missing[0] == '\0' ? CHECK_FINE : CHECK_BAD, "postgres", "rights",
                     "user %s%s%s", PQgetvalue(result, 0, 1),
                     missing[0] == '\0' ? " may load"
                                        : " cannot load; grant blotter_drainer; missing: ",
                     missing);
    }
    PQclear(result);
}

/* Returns whether the schema is there in a version that can be asked. */
static bool check_pg_schema(struct check *check, struct pg *pg)
{
    int version = pg_schema_version(pg), needed = pg_schema_needed();

    if (version <= 0) {
        check_report(check, CHECK_BAD, "postgres", "schema", "%s",
                     version < 0              ? "cannot be read"
                     : pg_holds_version_1(pg) ? "that of version 1; run `blotter migrate`"
                                              : "there is none; run `blotter migrate`");
        return false;
    }
    check_report(check, version < needed ? CHECK_BAD : CHECK_FINE, "postgres", "schema",
                 "version %d, this program needs %d%s", version, needed,
                 version < needed ? "; run `blotter migrate`" : "");
    return version >= needed;
}

bool check_look_at_postgres(struct check *check, struct pg *pg, struct load_facts *facts)
{
    check_pg_settings(check, pg);
    check_pg_transport(check, pg);
    check_pooling(check, pg);
    bool seen = check_pg_clock(check, pg);
    if (seen && check_pg_schema(check, pg)) {
        check_pg_rights(check, pg);
        seen = load_facts_read(facts, pg);
        check->facts_known = seen;
    }
    return seen || PQstatus(pg->connection) == CONNECTION_OK;
}
