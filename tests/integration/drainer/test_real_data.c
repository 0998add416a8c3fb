/* test_real_data.c: real exchange messages through the whole path: `publish` for each exchange,
 * then `drain --once`; and then every field of every row is what the line says.
 *
 * The real messages are not part of the repository: a folder of orders.ndjson and trades.ndjson is
 * taken from BLOTTER_REAL_DATA, or
 * ../shared/data. Without it there is the small made-up set in tests/integration/data, which has
 * the same oddities and is always run. What should be stored is worked out by PostgreSQL from the
 * lines as jsonb, whose numbers keep their digits, so that nothing of the code under test is used
 * to judge it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fixture/story.h"

#define MADE_UP "tests/integration/data"
enum { AT_A_TIME = 16 };

/* --- the lines, as PostgreSQL sees them --- */

/* In COPY's text format only backslashes need care: a line has no tabs, and its newline ends the
 * row. */
static void copy_line(PGconn *server, const char *line)
{
    char *escaped = malloc(2 * strlen(line) + 1), *p = escaped;
    for (; *line; line++) {
        if (*line == '\\') {
            *p++ = '\\';
        }
        *p++ = *line;
    }
    assert_int_equal(PQputCopyData(server, escaped, (int)(p - escaped)), 1);
    free(escaped);
}

static void copy_file(PGconn *server, const char *folder, const char *name)
{
    const char *path = fixture_format("%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    if (file == NULL) {
        fail_msg("cannot read %s: %s; run this test in the repository's root", path,
                 strerror(errno));
    }
    while (getline(&line, &size, file) > 0) {
        copy_line(server, line);
    }
    free(line);
    fclose(file);
}

/* Fields of one kind but the identity, quoted for SQL: 'price', 'quantity' … */
static const char *field_names(enum record_kind kind)
{
    const char *names = "'kind', 'exchange'";
    for (unsigned i = RECORD_IDENTITY_FIELDS; i < record_schemas[kind].field_count; i++) {
        names = fixture_format("%s, '%s'", names, record_schemas[kind].fields[i].name);
    }
    return names;
}

/* The names of decimals of one kind, quoted for SQL. */
static const char *decimal_names(enum record_kind kind)
{
    const char *names = "''";
    for (unsigned i = RECORD_IDENTITY_FIELDS; i < record_schemas[kind].field_count; i++) {
        if (record_schemas[kind].fields[i].kind == FIELD_DECIMAL) {
            names = fixture_format("%s, '%s'", names, record_schemas[kind].fields[i].name);
        }
    }
    return names;
}

/* Real data has words like "None" in the place of a decimal: these belong into extra. */
static void create_documents(void)
{
    story_sql(
        "CREATE TABLE documents AS SELECT n, text, CASE WHEN wrong IS NULL THEN doc ELSE "
        "(doc - ARRAY(SELECT jsonb_object_keys(wrong))) || jsonb_build_object('extra', "
        "CASE jsonb_typeof(doc->'extra') WHEN 'object' THEN doc->'extra' ELSE '{}' END || wrong) "
        "END AS doc FROM (SELECT n, text, text::jsonb AS doc FROM lines) AS l, "
        "LATERAL (SELECT jsonb_object_agg(e.key, e.value) AS wrong FROM jsonb_each(doc) AS e "
        "WHERE CASE doc->>'kind' WHEN 'trade' THEN e.key IN (%s) ELSE e.key IN (%s) END "
        "AND jsonb_typeof(e.value) <> 'null' "
        "AND e.value #>> '{}' !~ '^[-+]?[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?$') AS w",
        decimal_names(RECORD_TRADE), decimal_names(RECORD_ORDER));
}

/* line: its number in what is published of its exchange; number: among those that are to be stored.
 */
static void read_lines(const char *folder)
{
    PGconn *server = fixture_postgres_connect(story_postgres);
    PQclear(PQexec(
        server, "CREATE TABLE lines (n bigint GENERATED ALWAYS AS IDENTITY, text text NOT NULL)"));
    PQclear(PQexec(server, "COPY lines (text) FROM STDIN"));
    copy_file(server, folder, "orders.ndjson");
    copy_file(server, folder, "trades.ndjson");
    assert_int_equal(PQputCopyEnd(server, NULL), 1);
    PGresult *result = PQgetResult(server);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s", PQerrorMessage(server));
    }
    PQclear(result);
    PQfinish(server);
    create_documents();
    story_sql(
        "CREATE TABLE parsed AS SELECT n, text, doc->>'exchange' AS exchange, "
        "coalesce(doc->>'kind', 'order') AS kind, doc, "
        "row_number() OVER (PARTITION BY doc->>'exchange' ORDER BY n) AS line, "
        "CASE WHEN doc->>'kind' = 'trade' THEN doc->>'symbol' IS NOT NULL AND doc->>'price' IS NOT "
        "NULL "
        "AND doc->>'quantity' IS NOT NULL "
        "ELSE coalesce(doc->>'order_id', doc->>'client_order_id') IS NOT NULL END AS good "
        "FROM documents");
    story_sql("CREATE TABLE expected AS SELECT *, row_number() OVER (PARTITION BY exchange ORDER "
              "BY line) AS number, "
              "(SELECT jsonb_object_agg(u.key, u.value) FROM (SELECT e.key, e.value FROM "
              "jsonb_each(CASE jsonb_typeof(doc->'extra') "
              "WHEN 'object' THEN doc->'extra' ELSE '{}' END) AS e UNION ALL SELECT d.key, d.value "
              "FROM jsonb_each(doc) AS d "
              "WHERE CASE kind WHEN 'trade' THEN d.key NOT IN (%s) ELSE d.key NOT IN (%s) END) AS "
              "u) AS extra "
              "FROM parsed WHERE good",
              field_names(RECORD_TRADE), field_names(RECORD_ORDER));
}

/* --- publishing --- */

/* The numbers of the lines that stderr reports as refused, "line 7: …", joined by blanks. */
static const char *reported_lines(const char *errors)
{
    const char *numbers = "";
    for (const char *line = errors; line != NULL && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        int length;
        unsigned number;
        const char *kept = strstr(line, ": kept in extra\n"), *end = strchr(line, '\n');
        if (kept != NULL && kept < end) {
            continue;
        }
        if (sscanf(line, "line %u: %n", &number, &length) == 1) {
            numbers = fixture_format("%s%s%u", numbers, *numbers ? " " : "", number);
        }
    }
    return numbers;
}

/* One `publish`, under way. */
struct publishing {
    char exchange[LIMIT_EXCHANGE_BYTES + 1];
    struct fixture_program *program;
};

static void start_publish(struct publishing *publishing, const char *exchange)
{
    const char *lines = story_sql(
        "SELECT string_agg(text, E'\\n' ORDER BY n) || E'\\n' FROM parsed WHERE exchange = '%s'",
        exchange);
    snprintf(publishing->exchange, sizeof publishing->exchange, "%s", exchange);
    publishing->program =
        story_start_program(STORY_ARGV("publish", "--exchange", exchange, "--until", "sent"),
                            &(struct fixture_program_options){.input = lines});
}

/* The lines that cannot be stored are reported by number, and only those. */
static void finish_publish(struct publishing *publishing)
{
    const char *exchange = publishing->exchange;
    const char *refused = story_sql("SELECT string_agg(line::text, ' ' ORDER BY n) FROM parsed "
                                    "WHERE exchange = '%s' AND NOT good",
                                    exchange);
    int status = fixture_program_wait(publishing->program, STORY_TIMEOUT_MS);
    const char *errors = fixture_program_stderr(publishing->program);
    if (status != (*refused ? 1 : 0) || strcmp(reported_lines(errors), refused) != 0) {
        fail_msg("%s: exit status %d, lines \"%s\" should have been refused:\n%s", exchange, status,
                 refused, errors);
    }
    story_assert_says(
        fixture_program_stdout(publishing->program),
        story_sql("SELECT '\"accepted\": ' || count(*) || ',' FROM expected WHERE exchange = '%s'",
                  exchange));
}

/* Some at a time: most of what one takes is waiting for the drainer's word at its end. */
static void publish_all(void)
{
    char *exchanges = strdup(story_table("SELECT DISTINCT exchange FROM parsed ORDER BY 1")),
         *rest = exchanges;
    struct publishing publishing[AT_A_TIME];
    unsigned count = 0;
    for (char *exchange; (exchange = strsep(&rest, "\n"));) {
        start_publish(&publishing[count++], exchange);
        for (unsigned i = 0; i < count && (count == AT_A_TIME || rest == NULL); i++) {
            finish_publish(&publishing[i]);
        }
        count = count == AT_A_TIME ? 0 : count;
    }
    free(exchanges);
}

/* --- comparing --- */

/* A row of VALUES (field, as stored, as it should be) for one field. */
static const char *comparison(const struct record_field *field)
{
    const char *name = field->name;
    switch (field->kind) {
    case FIELD_DECIMAL: /* and, where it is written as PostgreSQL would, the very bytes of the line
                         */
        return fixture_format(
            "('%s', t.%s::text, (doc->>'%s')::numeric::text), ('%s as written', t.%s::text, "
            "CASE WHEN doc->>'%s' ~ '^-?(0|[1-9][0-9]*)(\\.[0-9]+)?$' AND doc->>'%s' !~ '^-[0.]+$' "
            "THEN doc->>'%s' "
            "ELSE t.%s::text END)",
            name, name, name, name, name, name, name, name, name);
    case FIELD_TIME:
        return fixture_format("('%s', trunc(extract(epoch FROM t.%s) * 1000000)::text, "
                              "floor((doc->>'%s')::numeric / 1000)::text)",
                              name, name, name);
    case FIELD_JSON: /* as text: jsonb's = takes 1.10 and 1.1 for equal */
        return fixture_format("('%s', t.%s::text, x.extra::text)", name, name);
    default:
        return fixture_format("('%s', t.%s::text, doc->>'%s')", name, name, name);
    }
}

static void compare(enum record_kind kind)
{
    const struct record_schema *schema = &record_schemas[kind];
    const char *values = "('exchange', t.exchange, doc->>'exchange')";
    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        values = fixture_format("%s, %s", values, comparison(&schema->fields[i]));
    }
    const char *found = story_table(
        "SELECT x.exchange, 'line', x.line, v.field, 'is', v.is_it, 'should be', v.should_be "
        "FROM expected x JOIN stored s USING (exchange, number) JOIN blotter.%s t USING "
        "(producer_id, seq), "
        "LATERAL (VALUES %s) AS v (field, is_it, should_be) "
        "WHERE x.kind = '%s' AND v.is_it IS DISTINCT FROM v.should_be ORDER BY x.n LIMIT 20",
        schema->table, values, schema->name);
    assert_string_equal(found, "");
}

/* Numbers the rows of each exchange, as its one producer did; every line must have a row of its
 * kind, and every row a line. */
static void match_rows_to_lines(void)
{
    story_sql("CREATE TABLE stored AS SELECT e.*, row_number() OVER (PARTITION BY exchange ORDER "
              "BY seq) AS number "
              "FROM (SELECT 'order' AS kind, exchange, producer_id, seq, recorded_at FROM "
              "blotter.order_events "
              "UNION ALL SELECT 'trade', exchange, producer_id, seq, recorded_at FROM "
              "blotter.trades) AS e");
    story_sql("CREATE INDEX ON stored (exchange, number)");
    assert_string_equal(
        story_table("SELECT exchange, x.kind, x.line, s.kind, s.seq FROM expected x FULL JOIN "
                    "stored s USING (exchange, "
                    "number) WHERE x.kind IS DISTINCT FROM s.kind ORDER BY 1, 3 LIMIT 20"),
        "");
    assert_int_equal(story_int("SELECT count(*) FROM (SELECT exchange FROM stored GROUP BY 1 "
                               "HAVING count(DISTINCT producer_id) > 1)"
                               " AS several"),
                     0);
    assert_int_equal(story_int("SELECT count(*) FROM stored WHERE recorded_at NOT BETWEEN now() - "
                               "interval '1 hour' AND now()"),
                     0);
}

static void every_field_is_stored(const char *folder)
{
    read_lines(folder);
    assert_true(story_int("SELECT count(*) FROM expected") > 0);
    publish_all();
    story_drain_once();
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    match_rows_to_lines();
    compare(RECORD_ORDER);
    compare(RECORD_TRADE);
    story_assert_says(story_audit(0), "complete");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.audit WHERE state <> 'complete'"), 0);
    assert_int_equal(story_pending(), 0);
}

/* --- tests --- */

static void every_field_of_a_made_up_set_with_the_oddities_of_real_data_is_stored(void **state)
{
    (void)state;
    every_field_is_stored(MADE_UP);
    assert_true(story_int("SELECT count(*) FROM parsed WHERE NOT good") > 0);
}

static const char *real_data;

static void every_field_of_the_real_data_is_stored(void **state)
{
    (void)state;
    every_field_is_stored(real_data);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            every_field_of_a_made_up_set_with_the_oddities_of_real_data_is_stored, story_begin,
            story_end),
        cmocka_unit_test_setup_teardown(every_field_of_the_real_data_is_stored, story_begin,
                                        story_end),
    };
    const char *given = getenv("BLOTTER_REAL_DATA");
    real_data = given != NULL && *given ? given : "../shared/data";
    if ((given != NULL && *given) || access(real_data, R_OK) == 0) {
        return cmocka_run_group_tests(tests, NULL, NULL);
    }
    fprintf(
        stderr,
        "there is no folder %s, and BLOTTER_REAL_DATA names none: only the made-up set is run\n",
        real_data);
    const struct CMUnitTest without[] = {tests[0]};
    return cmocka_run_group_tests(without, NULL, NULL);
}
