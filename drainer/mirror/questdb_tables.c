/* questdb_tables.c: see questdb_tables.h. One statement after the other: CREATE TABLE IF NOT
 * EXISTS, a look at the columns that are there, ALTER TABLE for each that is missing; then the next
 * table.
 */
#include "drainer/mirror/questdb_tables.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"

enum {
    TABLES = RECORD_KINDS + 1, /* those of the kinds, and the rejects */
    MISSING_MAX = RECORD_FIELDS_MAX * 2,
    STATEMENT_BYTES = 256,
    DECIMALS_SINCE = 3, /* version of the line protocol that has decimals */
};

struct questdb_tables {
    struct questdb_link *link;
    struct ilp_form *form;
    questdb_reply *done;
    void *owner;
    unsigned table; /* that is being prepared: a kind, or RECORD_KINDS */
    bool decimals;  /* the server has them: for tables that are made now */
    char missing[MISSING_MAX][STATEMENT_BYTES]; /* statements that add columns */
    size_t missing_count;
};

static const char rejects_columns[] =
    ", stream SYMBOL, entry_id VARCHAR, exchange SYMBOL, lane SYMBOL, kind VARCHAR, "
    "producer_id LONG, seq LONG, reason VARCHAR, raw VARCHAR, raw_length LONG, raw_sha256 VARCHAR, "
    "state SYMBOL";

static const char *table_name(const struct questdb_tables *tables)
{
    return tables->table == RECORD_KINDS ? QUESTDB_REJECTS : record_schemas[tables->table].table;
}

/* Returns the timestamp by which a table is partitioned; table_keys(), what makes a record one row.
 */
static const char *table_time(const struct questdb_tables *tables)
{
    return tables->table == RECORD_KINDS ? "received_at" : "recorded_at";
}

static const char *table_keys(const struct questdb_tables *tables)
{
    return tables->table == RECORD_KINDS ? "stream, entry_id" : "producer_id, seq";
}

static void tables_finish(struct questdb_tables *tables, const struct questdb_answer *answer)
{
    tables->done(tables->owner, answer);
}

/* Ends with what the server said to a statement about the table. */
static void tables_fail(struct questdb_tables *tables, const char *what,
                        const struct questdb_answer *said)
{
    struct questdb_answer answer = {.action = said->action, .code = said->code, .body = ""};

    if (answer.action == QUESTDB_RECORD) {
        answer.action = QUESTDB_PERSON;
    }
    snprintf(answer.message, sizeof answer.message, "cannot %s table %s: %.400s", what,
             table_name(tables), said->message);
    tables_finish(tables, &answer);
}

/* Ends because the table would store a record as often as it comes. */
static void refuse_table(struct questdb_tables *tables)
{
    struct questdb_answer answer = {.action = QUESTDB_PERSON, .code = 200, .body = ""};

    snprintf(answer.message, sizeof answer.message,
             "table %s is not one of the mirror's: without TIMESTAMP(%s) and DEDUP UPSERT KEYS(%s, "
             "%s) a record could be stored twice; rename that table",
             table_name(tables), table_time(tables), table_time(tables), table_keys(tables));
    tables_finish(tables, &answer);
}

static void create_table(struct questdb_tables *tables);
static void add_next_column(struct questdb_tables *tables);

/* --- the columns that are there --- */

/* Finds the row of a column in the answer; NULL: it is missing. */
static json_t *find_row(json_t *rows, const char *name)
{
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        const char *column = json_string_value(json_array_get(row, 0));

        if (column != NULL && strcmp(column, name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* Says whether it is one of the columns by which a row is told from others. */
static bool is_key(json_t *rows, const char *name)
{
    return json_is_true(json_array_get(find_row(rows, name), 3));
}

/* Checks that a record that comes twice is stored once. */
static bool table_is_ours(const struct questdb_tables *tables, json_t *rows)
{
    bool designated = json_is_true(json_array_get(find_row(rows, table_time(tables)), 2));

    return tables->table == RECORD_KINDS
               ? designated && is_key(rows, "stream") && is_key(rows, "entry_id")
               : designated && is_key(rows, "producer_id") && is_key(rows, "seq");
}

static void note_missing(struct questdb_tables *tables, const char *name, const char *suffix,
                         const char *type)
{
    snprintf(tables->missing[tables->missing_count++], STATEMENT_BYTES,
             "ALTER TABLE '%s' ADD COLUMN IF NOT EXISTS \"%s%s\" %s", table_name(tables), name,
             suffix, type);
}

/* Compares the columns with the kind's fields. */
static void look_at_fields(struct questdb_tables *tables, json_t *rows)
{
    enum record_kind kind = (enum record_kind)tables->table;

    for (unsigned i = 0; i < record_schemas[kind].field_count; i++) {
        const struct record_field *field = &record_schemas[kind].fields[i];
        json_t *row = find_row(rows, field->name);
        const char *type = json_string_value(json_array_get(row, 1));
        bool *as_double = &tables->form->as_double[kind][i];
        char text_name[96];

        *as_double = field->kind == FIELD_DECIMAL &&
                     (type == NULL ? !tables->decimals : strncmp(type, "DECIMAL", 7) != 0);
        if (row == NULL) {
            note_missing(tables, field->name, "", ilp_column_type(kind, i, *as_double));
        }
        snprintf(text_name, sizeof text_name, "%s_text", field->name);
        if (*as_double && find_row(rows, text_name) == NULL) {
            note_missing(tables, field->name, "_text", "VARCHAR");
        }
    }
}

static void on_columns(void *owner, const struct questdb_answer *answer)
{
    struct questdb_tables *tables = owner;
    json_t *json =
        answer->action == QUESTDB_DONE ? json_loadb(answer->body, answer->length, 0, NULL) : NULL;
    json_t *rows = json_object_get(json, "dataset");

    if (answer->action != QUESTDB_DONE) {
        tables_fail(tables, "look at", answer);
    } else if (!table_is_ours(tables, rows)) {
        refuse_table(tables);
    } else {
        tables->missing_count = 0;
        if (tables->table < RECORD_KINDS) {
            look_at_fields(tables, rows);
        }
        add_next_column(tables);
    }
    json_decref(json);
}

/* --- statements --- */

static void on_column_added(void *owner, const struct questdb_answer *answer)
{
    struct questdb_tables *tables = owner;

    if (answer->action != QUESTDB_DONE) {
        tables_fail(tables, "add a column to", answer);
    } else {
        add_next_column(tables);
    }
}

static void add_next_column(struct questdb_tables *tables)
{
    if (tables->missing_count > 0) {
        const char *sql = tables->missing[--tables->missing_count];

        log_info("questdb", "%s", sql);
        questdb_exec(tables->link, sql, on_column_added, tables);
    } else if (++tables->table < TABLES) {
        create_table(tables);
    } else {
        tables->table = 0;
        tables_finish(tables, &(struct questdb_answer){.action = QUESTDB_DONE, .body = ""});
    }
}

static void on_created(void *owner, const struct questdb_answer *answer)
{
    struct questdb_tables *tables = owner;
    char sql[STATEMENT_BYTES];

    if (answer->action != QUESTDB_DONE) {
        tables_fail(tables, "create", answer);
        return;
    }
    snprintf(sql, sizeof sql,
             "SELECT \"column\", type, designated, upsertKey FROM table_columns('%s')",
             table_name(tables));
    questdb_exec(tables->link, sql, on_columns, tables);
}

static void put_sql(struct copy_buffer *out, const char *text)
{
    copy_put_raw(out, text, strlen(text));
}

static void create_table(struct questdb_tables *tables)
{
    struct copy_buffer sql = {0};
    char end[STATEMENT_BYTES];

    put_sql(&sql, "CREATE TABLE IF NOT EXISTS '");
    put_sql(&sql, table_name(tables));
    put_sql(&sql, "' (");
    put_sql(&sql, table_time(tables));
    put_sql(&sql, " TIMESTAMP");
    if (tables->table == RECORD_KINDS) {
        put_sql(&sql, rejects_columns);
    } else {
        ilp_put_columns(&sql, (enum record_kind)tables->table, !tables->decimals);
    }
    snprintf(end, sizeof end, ") TIMESTAMP(%s) PARTITION BY DAY WAL DEDUP UPSERT KEYS(%s, %s)",
             table_time(tables), table_time(tables), table_keys(tables));
    copy_put_raw(&sql, end, strlen(end) + 1);
    questdb_exec(tables->link, (const char *)sql.bytes, on_created, tables);
    copy_buffer_release(&sql);
}

/* --- the server --- */

/* Says whether the server has decimals: one without the page is older. */
static bool has_decimals(const struct questdb_answer *answer)
{
    json_t *json =
        answer->action == QUESTDB_DONE ? json_loadb(answer->body, answer->length, 0, NULL) : NULL;
    json_t *config = json_object_get(json, "config"), *version;
    json_t *versions =
        json_object_get(config == NULL ? json : config, "line.proto.support.versions");
    size_t i;
    bool found = false;

    json_array_foreach(versions, i, version)
    {
        found = found || json_integer_value(version) >= DECIMALS_SINCE;
    }
    json_decref(json);
    return found;
}

static void on_server(void *owner, const struct questdb_answer *answer)
{
    struct questdb_tables *tables = owner;

    if (answer->action == QUESTDB_RETRY || answer->code == 401 || answer->code == 403) {
        tables_finish(tables, answer);
        return;
    }
    tables->decimals = has_decimals(answer);
    create_table(tables);
}

void questdb_tables_prepare(struct questdb_tables *tables, questdb_reply *done, void *owner)
{
    tables->done = done;
    tables->owner = owner;
    tables->table = 0;
    questdb_get(tables->link, "/settings", on_server, tables);
}

struct questdb_tables *questdb_tables_create(struct questdb_link *link, struct ilp_form *form)
{
    struct questdb_tables *tables = memory_or_abort(calloc(1, sizeof *tables));

    tables->link = link;
    tables->form = form;
    return tables;
}

void questdb_tables_destroy(struct questdb_tables *tables)
{
    free(tables);
}
