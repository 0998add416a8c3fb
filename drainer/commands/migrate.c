/* migrate.c: `blotter migrate`: applies what schema/sql has and the database has not, each file in
 * a transaction of its own, with its line in blotter.migrations. Others that migrate at the same
 * time wait. Nothing is ever taken back. */
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/migrations.h"
#include "drainer/postgres/pg_blocking.h"

/* Any number that nobody else uses; "blotterM" in ASCII. */
#define LOCK_KEY "7092752546453680973"

static bool lock(struct pg *pg)
{
    PGresult *result = pg_query(pg, "SELECT pg_try_advisory_lock(" LOCK_KEY ")", 0, NULL);
    bool locked = result != NULL && strcmp(PQgetvalue(result, 0, 0), "t") == 0;

    PQclear(result);
    if (result == NULL || locked) {
        return locked;
    }
    fprintf(stderr, "blotter migrate: waiting for another one to finish\n");
    return pg_run(pg, "SELECT pg_advisory_lock(" LOCK_KEY ")");
}

/* The newest version applied; 0: none; -1: said. */
static int applied_version(struct pg *pg)
{
    PGresult *result =
        pg_query(pg, "SELECT to_regclass('blotter.migrations') IS NOT NULL", 0, NULL);
    bool there = result != NULL && strcmp(PQgetvalue(result, 0, 0), "t") == 0;

    PQclear(result);
    if (result == NULL || !there) {
        return result == NULL ? -1 : 0;
    }
    result = pg_query(pg, "SELECT coalesce(max(version), 0) FROM blotter.migrations", 0, NULL);
    int version = result == NULL ? -1 : atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    return version;
}

/* The line that an error is at; 0: the server does not say. */
static unsigned error_line(const PGresult *result, const char *sql)
{
    const char *field = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    unsigned line = 1;

    if (field == NULL) {
        return 0;
    }
    for (long at = atol(field); at > 1 && *sql != '\0'; sql++) {
        line += *sql == '\n';
        at -= ((unsigned char)*sql & 0xc0) != 0x80; /* positions count characters, not bytes */
    }
    return line;
}

static bool run_file(struct pg *pg, const struct migration *migration)
{
    PGresult *result = PQexec(pg->connection, migration->sql);
    bool done =
        PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    char doing[256];

    if (!done) {
        snprintf(doing, sizeof doing, "%s, line %u, was not applied", migration->name,
                 error_line(result, migration->sql));
        pg_fail(pg, result, doing);
    }
    PQclear(result);
    return done;
}

static bool record(struct pg *pg, const struct migration *migration)
{
    char version[16];
    const char *const values[] = {version, migration->name};

    snprintf(version, sizeof version, "%d", migration->version);
    PGresult *result =
        pg_query(pg, "INSERT INTO blotter.migrations (version, name) VALUES ($1, $2)", 2, values);
    PQclear(result);
    return result != NULL;
}

static bool apply(struct pg *pg, const struct migration *migration)
{
    if (!pg_run(pg, "BEGIN") || !run_file(pg, migration) || !record(pg, migration) ||
        !pg_run(pg, "COMMIT")) {
        return false;
    }
    printf("applied %s\n", migration->name);
    return true;
}

static bool migrate(struct pg *pg)
{
    int before, after;

    if (!lock(pg) || (before = applied_version(pg)) < 0) {
        return false;
    }
    after = before;
    for (size_t i = 0; i < migration_count; i++) {
        if (migrations[i].version <= before) {
            continue;
        }
        if (!apply(pg, &migrations[i])) {
            return false;
        }
        after = migrations[i].version;
    }
    printf("schema version %d%s\n", after, after == before ? ": nothing to do" : "");
    return true;
}

int command_migrate(const struct settings *settings)
{
    struct pg pg;
    bool done = pg_open(&pg, settings) && migrate(&pg);

    pg_close(&pg);
    return done ? EXIT_CODE_DONE : pg.exit_code;
}
