/* migrate.c: `blotter migrate`: brings the database to the program's version, in one transaction.
 *
 *     empty database ──► 010_tables.sql … ──────────────► lists from C ──► code/ ──► noted
 *     older version  ──► code/drop.sql, newer tables ───► lists from C ──► code/ ──► noted
 *     version 1      ──► its schema is renamed, then as for an empty one ──► from_version_1.sql
 *
 * Tables are made once; functions, views and rights are made again whenever the program is newer
 * than the database, or another build of the same version. A newer database is left alone. Others
 * that migrate at the same time wait.
 *
 * Two lists have their only place in C, and travel from here: the kinds of record with the meaning
 * of each field (schema/fields.h), and what to do about each SQLSTATE (sqlstate.h). */
#include <stdlib.h>
#include <string.h>

#include "drainer/postgres/migrations.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/postgres/sql_text.h"
#include "drainer/postgres/sqlstate.h"
#include "schema/record.h"

/* Any number that nobody else uses; "blotterM" in ASCII. */
#define LOCK_KEY "7092752546453680973"

enum { LAST_OF_VERSION_1 = 9 };

struct migration {
    struct pg *pg;
    struct sql_text lists; /* what C knows, as SQL */
    int before;            /* schema version; 0: none */
    bool from_version_1;
    char digest[33], digest_before[33]; /* of lists and code */
};

static bool migrate_lock(struct pg *pg)
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

/* --- the lists from C --- */

/* Adds a string as an SQL literal. The meanings are ours: no backslash is among them. */
static void add_literal(struct sql_text *sql, const char *text)
{
    sql_text_add(sql, "'");
    for (; *text != '\0'; text++) {
        sql_text_add(sql, *text == '\'' ? "''" : "%c", *text);
    }
    sql_text_add(sql, "'");
}

static void add_kinds(struct sql_text *sql)
{
    sql_text_add(sql, "CREATE VIEW blotter_internal.record_kinds (n, kind, \"schema\", \"table\") "
                      "AS VALUES ");
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        const struct record_schema *schema = &record_schemas[kind];

        sql_text_add(sql, "%s(%d, '%s', '%s', '%s')", kind == 0 ? "" : ", ", kind + 1, schema->name,
                     schema->sql_schema, schema->table);
    }
    sql_text_add(
        sql,
        ";\nCOMMENT ON VIEW blotter_internal.record_kinds IS 'The kinds of record.';\n"
        "COMMENT ON COLUMN blotter_internal.record_kinds.n IS 'number of the kind';\n"
        "COMMENT ON COLUMN blotter_internal.record_kinds.kind IS 'its name in Redis';\n"
        "COMMENT ON COLUMN blotter_internal.record_kinds.\"schema\" IS 'schema of its table';\n"
        "COMMENT ON COLUMN blotter_internal.record_kinds.\"table\" IS 'name of its table';\n");
}

static void add_meanings(struct sql_text *sql)
{
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        const struct record_schema *schema = &record_schemas[kind];

        for (unsigned i = 0; i < schema->field_count; i++) {
            sql_text_add(sql, "COMMENT ON COLUMN %s.%s.%s IS ", schema->sql_schema, schema->table,
                         schema->fields[i].name);
            add_literal(sql, schema->fields[i].meaning);
            sql_text_add(sql, ";\n");
        }
    }
}

static void add_sqlstates(struct sql_text *sql)
{
    const char *comma = "";

    sql_text_add(sql, "CREATE VIEW blotter_internal.sqlstate_actions (prefix, action) AS VALUES ");
#define X(prefix, action, why)                                   \
    sql_text_add(sql, "%s('%s', '%s')", comma, prefix, #action); \
    comma = ", ";
    SQLSTATE_ACTIONS(X)
#undef X
    sql_text_add(
        sql,
        ";\nCOMMENT ON VIEW blotter_internal.sqlstate_actions IS 'What a drainer does about an "
        "error: the longest prefix of its SQLSTATE counts, and what is not listed is DATA.';\n"
        "COMMENT ON COLUMN blotter_internal.sqlstate_actions.prefix IS 'how the SQLSTATE begins';\n"
        "COMMENT ON COLUMN blotter_internal.sqlstate_actions.action IS 'RETRY, DOUBT: it may pass "
        "by "
        "itself; DATA: one record is at fault; PERSON: it needs a person';\n");
}

/* --- what the database has --- */

/* Asks for one value; "" where there is none. False: reported. */
static bool read_value(struct pg *pg, const char *sql, char *value, size_t size)
{
    PGresult *result = pg_query(pg, sql, 0, NULL);

    snprintf(value, size, "%s",
             result == NULL || PQntuples(result) == 0 ? "" : PQgetvalue(result, 0, 0));
    PQclear(result);
    return result != NULL;
}

static bool read_before(struct migration *m)
{
    char found[32];

    if (!read_value(m->pg,
                    "SELECT CASE WHEN to_regclass('blotter_internal.migrations') IS NOT NULL THEN "
                    "'blotter_internal' WHEN to_regclass('blotter.migrations') IS NOT NULL THEN "
                    "'blotter' ELSE '' END",
                    found, sizeof found)) {
        return false;
    }
    m->from_version_1 = strcmp(found, "blotter") == 0;
    if (found[0] == '\0') {
        return true;
    }
    if (!m->from_version_1 && !read_value(m->pg, "SELECT digest FROM blotter_internal.code",
                                          m->digest_before, sizeof m->digest_before)) {
        return false;
    }
    if (!read_value(m->pg,
                    m->from_version_1
                        ? "SELECT coalesce(max(version), 0) FROM blotter.migrations"
                        : "SELECT coalesce(max(version), 0) FROM blotter_internal.migrations",
                    found, sizeof found)) {
        return false;
    }
    m->before = atoi(found);
    return true;
}

static bool read_digest(struct migration *m)
{
    struct sql_text all = {0};
    PGresult *result;

    sql_text_add(&all, "%s", m->lists.text);
    for (size_t i = 0; i < sql_code_count; i++) {
        sql_text_add(&all, "%s", sql_code[i].text);
    }
    result = pg_query(m->pg, "SELECT md5($1)", 1, (const char *const[]){all.text});
    snprintf(m->digest, sizeof m->digest, "%s", result == NULL ? "" : PQgetvalue(result, 0, 0));
    PQclear(result);
    sql_text_release(&all);
    return result != NULL;
}

/* --- changing it --- */

/* Returns the line that an error is at; 0: the server does not tell. */
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

static bool run_file(struct pg *pg, const struct sql_file *file)
{
    PGresult *result = PQexec(pg->connection, file->text);
    bool done =
        PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    char doing[256];

    if (!done) {
        snprintf(doing, sizeof doing, "%s, line %u, was not applied", file->name,
                 error_line(result, file->text));
        pg_fail(pg, result, doing);
    }
    PQclear(result);
    return done;
}

static bool note_tables(struct pg *pg, const struct sql_file *file)
{
    char version[16];
    const char *const values[] = {version, file->name};

    snprintf(version, sizeof version, "%d", file->version);
    PGresult *result = pg_query(
        pg, "INSERT INTO blotter_internal.migrations (version, name) VALUES ($1, $2)", 2, values);
    PQclear(result);
    return result != NULL;
}

static bool make_tables(const struct migration *m)
{
    for (size_t i = 0; i < sql_tables_count; i++) {
        const struct sql_file *file = &sql_tables[i];

        if (file->version <= m->before && !m->from_version_1) {
            continue;
        }
        if (!run_file(m->pg, file) || !note_tables(m->pg, file)) {
            return false;
        }
        printf("applied %s\n", file->name);
    }
    return true;
}

/* Notes what this transaction has made, the oldest first: code/drop.sql drops it one day. */
static bool note_code(struct migration *m)
{
    char version[16];
    const char *const values[] = {version, m->digest};

    snprintf(version, sizeof version, "%d", pg_schema_needed());
    PGresult *result = pg_query(
        m->pg,
        "INSERT INTO blotter_internal.code (version, digest, objects) SELECT $1, $2, "
        "coalesce(array_agg(o.object ORDER BY o.oid), '{}') FROM ("
        "SELECT p.oid, 'ROUTINE ' || p.oid::regprocedure AS object, p.xmin, p.pronamespace AS "
        "space "
        "FROM pg_proc p UNION ALL "
        "SELECT c.oid, 'VIEW ' || c.oid::regclass, c.xmin, c.relnamespace FROM pg_class c "
        "WHERE c.relkind = 'v') AS o "
        "WHERE o.xmin = pg_current_xact_id()::xid AND o.space IN ('blotter'::regnamespace, "
        "'blotter_internal'::regnamespace) ON CONFLICT (one_row) DO UPDATE SET version = "
        "excluded.version, digest = excluded.digest, objects = excluded.objects, applied_at = "
        "now()",
        2, values);
    PQclear(result);
    return result != NULL;
}

static bool make_code(struct migration *m)
{
    for (size_t i = 1; i < sql_code_count; i++) {
        if (!run_file(m->pg, &sql_code[i])) {
            return false;
        }
    }
    return note_code(m);
}

static bool check_version_1(const struct migration *m)
{
    if (m->from_version_1 && m->before != LAST_OF_VERSION_1) {
        m->pg->exit_code = command_fail(
            m->pg->settings, EXIT_CODE_USAGE,
            "setting postgres: the schema in the database \"%s\" is an unfinished version 1 "
            "(migration %d of %d): finish it with that version's `blotter migrate` first",
            PQdb(m->pg->connection), m->before, LAST_OF_VERSION_1);
        return false;
    }
    return true;
}

static bool change(struct migration *m)
{
    const struct sql_file lists = {0, "the lists of kinds and errors", m->lists.text};

    if (m->from_version_1 && !pg_run(m->pg, "ALTER SCHEMA blotter RENAME TO blotter_version_1")) {
        return false;
    }
    if (m->before > 0 && !m->from_version_1 && !run_file(m->pg, &sql_code[0])) {
        return false;
    }
    if (!make_tables(m) || !run_file(m->pg, &lists) || !make_code(m)) {
        return false;
    }
    printf("made functions and views\n");
    if (m->from_version_1) {
        if (!run_file(m->pg, &sql_from_version_1)) {
            return false;
        }
        printf("copied everything from version 1\n");
    }
    return true;
}

static bool migrate(struct migration *m)
{
    bool same;

    add_kinds(&m->lists);
    add_meanings(&m->lists);
    add_sqlstates(&m->lists);
    if (!migrate_lock(m->pg) ||
        !pg_run(m->pg, "BEGIN ISOLATION LEVEL READ COMMITTED; "
                       "SET LOCAL search_path = pg_catalog, pg_temp") ||
        !read_before(m) || !read_digest(m) || !check_version_1(m)) {
        return false;
    }
    same = !m->from_version_1 &&
           (m->before > pg_schema_needed() ||
            (m->before == pg_schema_needed() && strcmp(m->digest, m->digest_before) == 0));
    if ((!same && !change(m)) || !pg_run(m->pg, "COMMIT")) {
        return false;
    }
    printf("schema version %d%s\n", same ? m->before : pg_schema_needed(),
           same ? ": nothing to do" : "");
    return true;
}

/* Lets this server take over streams that were loaded into another one, as Redis remembers. */
static bool accept_history(struct pg *pg)
{
    PGresult *result = pg_query(pg, "SELECT blotter_internal.accept_history()", 0, NULL);

    if (result == NULL) {
        return false;
    }
    printf("history %s: streams that were loaded into another server are taken over\n",
           PQgetvalue(result, 0, 0));
    PQclear(result);
    return true;
}

int command_migrate(const struct settings *settings)
{
    struct pg pg;
    struct migration migration = {.pg = &pg};
    bool done = pg_open(&pg, settings) && migrate(&migration) &&
                (!settings->accept_history || accept_history(&pg));

    sql_text_release(&migration.lists);
    pg_close(&pg);
    return done ? EXIT_CODE_DONE : pg.exit_code;
}
