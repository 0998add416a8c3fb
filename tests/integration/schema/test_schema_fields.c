/* test_schema_fields.c: what is written in two places agrees: schema/fields.h and the tables of a
 * migrated database; the program's settings and the sample file. And every command explains itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands.h"
#include "tests/fixture/story.h"

static const char *const sql_types[] = {
    [FIELD_TEXT] = "text",
    [FIELD_DECIMAL] = "numeric",
    [FIELD_TIME] = "timestamp with time zone",
    [FIELD_INT] = "bigint",
    [FIELD_BOOL] = "boolean",
    [FIELD_JSON] = "jsonb",
    [FIELD_AMOUNTS] = "jsonb",
};

/* The columns of a table, a line each: name, type. */
static const char *columns_of(const char *sql_schema, const char *table)
{
    return story_table("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE "
                       "attrelid = '%s.%s'::regclass "
                       "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                       sql_schema, table);
}

static void
the_tables_have_the_fields_of_each_kind_in_their_order_and_what_stored_them(void **state)
{
    (void)state;
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        const struct record_schema *schema = &record_schemas[kind];
        const char *expected = "";
        for (unsigned i = 0; i < schema->field_count; i++) {
            expected = fixture_format("%s%s %s\n", expected, schema->fields[i].name,
                                      sql_types[schema->fields[i].kind]);
        }
        assert_string_equal(
            columns_of(schema->sql_schema, schema->table),
            fixture_format("%sstored_at timestamp with time zone\nstored_by xid8", expected));
    }
}

/* Identity first, then exchange and account as part of the key; all the rest in the order of the
 * list. */
static void the_table_of_orders_has_every_field_of_an_order_in_its_order(void **state)
{
    (void)state;
    const struct record_schema *schema = &record_schemas[RECORD_ORDER];
    const char *at = columns_of("blotter", "orders");
    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        const struct record_field *field = &schema->fields[i];
        const char *column = fixture_format("\n%s %s\n", field->name, sql_types[field->kind]);
        if (strcmp(field->name, "account") == 0) {
            continue;
        }
        const char *found = strstr(at, column);
        if (found == NULL) {
            fail_msg("orders has no %s behind the one before it in schema/fields.h", field->name);
        }
        at = found + strlen(column) - 1;
    }
}

static void an_identity_cannot_be_stored_twice(void **state)
{
    (void)state;
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        assert_string_equal(story_table("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE "
                                        "conrelid = '%s.%s'::regclass "
                                        "AND contype = 'p'",
                                        record_schemas[kind].sql_schema,
                                        record_schemas[kind].table),
                            "PRIMARY KEY (recorded_at, producer_id, seq)");
    }
}

static void every_column_of_a_record_is_explained_as_in_the_list(void **state)
{
    (void)state;
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        for (unsigned i = 0; i < record_schemas[kind].field_count; i++) {
            const struct record_field *field = &record_schemas[kind].fields[i];
            assert_string_equal(
                story_table(
                    "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = "
                    "'%s.%s'::regclass AND attname = '%s'",
                    record_schemas[kind].sql_schema, record_schemas[kind].table, field->name),
                field->meaning);
        }
    }
}

static void migrating_again_changes_nothing(void **state)
{
    (void)state;
    const char *before =
        story_table("SELECT version, name FROM blotter_internal.migrations ORDER BY 1");
    story_assert_says(fixture_program_stdout(story_run(0, "migrate")), "nothing to do");
    assert_string_equal(
        story_table("SELECT version, name FROM blotter_internal.migrations ORDER BY 1"), before);
}

static void the_sample_file_is_what_the_program_prints(void **state)
{
    (void)state;
    const char *file = fixture_read_file("deploy/blotter.conf.sample");
    if (!*file) {
        fail_msg("cannot read deploy/blotter.conf.sample; run this test in the repository's root");
    }
    assert_string_equal(fixture_program_stdout(story_run(0, "help", "--sample-config")), file);
}

static void every_command_explains_itself(void **state)
{
    (void)state;
    const char *list = fixture_program_stdout(story_run(0, "help"));
    for (int i = 0; i < COMMAND_COUNT; i++) {
        story_assert_says(list, fixture_format("\n  %s ", commands[i].name));
        const char *usage = fixture_format("blotter %s", commands[i].name);
        const char *help = fixture_program_stdout(story_run(0, commands[i].name, "--help"));
        story_assert_says(help, usage);
        story_assert_says(help, commands[i].text + 1); /* its first letter is a capital there */
        story_assert_says(fixture_program_stdout(story_run(0, "help", commands[i].name)), usage);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_tables_have_the_fields_of_each_kind_in_their_order_and_what_stored_them),
        cmocka_unit_test(the_table_of_orders_has_every_field_of_an_order_in_its_order),
        cmocka_unit_test(an_identity_cannot_be_stored_twice),
        cmocka_unit_test(every_column_of_a_record_is_explained_as_in_the_list),
        cmocka_unit_test(migrating_again_changes_nothing),
        cmocka_unit_test(the_sample_file_is_what_the_program_prints),
        cmocka_unit_test(every_command_explains_itself),
    };
    return cmocka_run_group_tests(tests, story_begin, story_end);
}
