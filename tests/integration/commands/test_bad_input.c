/* test_bad_input.c: what is no record harms nobody: `publish` says which line and field, a drainer
 * keeps the bytes and the reason in blotter.rejects, and both go on with its neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/limits.h"
#include "tests/fixture/bad_entries.h"
#include "tests/fixture/story.h"

#define MEBIBYTE ((size_t)1 << 20)

struct bytes {
    const char *at;
    size_t length;
};
#define BYTES(literal)               \
    {                                \
        literal, sizeof(literal) - 1 \
    }

static struct bytes format_bytes(const char *before, char fill, size_t count, const char *after)
{
    size_t length = strlen(before) + count + strlen(after);
    char *text = fixture_alloc(length + 1);
    memcpy(text, before, strlen(before));
    memset(text + strlen(before), fill, count);
    memcpy(text + strlen(before) + count, after, strlen(after));
    return (struct bytes){text, length};
}

/* --- lines --- */

struct bad_line {
    struct bytes line;
    const char *says; /* behind "line N: " */
};

static const struct bad_line bad_lines[] = {
    {BYTES("this is not JSON"), "not a JSON object"},
    {BYTES("{\"order_id\": \"1\", \"price\": "), "price: not JSON"},
    {BYTES("{\"order_id\": \"1\", \"price\": 1.2.3}"), "price: not JSON"},
    {BYTES("{\"order_id\": \"1\"} {}"), "not JSON"},
    {BYTES("[{\"order_id\": \"1\"}"), "not a JSON object"},
    {BYTES("[\"order_id\", \"1\"]"), "a list of something else than objects"},
    {BYTES("[{\"order_id\": \"1\"}, {}]"), "order_id: required"},
    {BYTES("{}"), "order_id: required"},
    {BYTES("{\"symbol\": \"BTC/USDT\", \"price\": \"1\", \"order_id\": null}"),
     "order_id: required"},
    {BYTES("{\"kind\": \"trade\", \"price\": \"1\", \"quantity\": \"1\"}"), "symbol: required"},
    {BYTES("{\"kind\": \"trade\", \"symbol\": \"A\", \"quantity\": \"1\"}"), "price: required"},
    {BYTES("{\"kind\": \"trade\", \"symbol\": \"A\", \"price\": \"1\"}"), "quantity: required"},
    {BYTES("{\"order_id\": \"1\", \"price\": nan}"), "price: not JSON"},
    {BYTES("{\"order_id\": \"1\", \"quantity\": 1e999999999}"), "quantity: out of range"},
    {BYTES("{\"order_id\": \"1\", \"symbol\": \"caf\xe9\"}"), "symbol: not valid UTF-8"},
    {BYTES("{\"order_id\": \"1\", \"symbol\": \"a\0b\"}"), "symbol: has a NUL byte"},
    {BYTES("{\"order_id\": \"1\", \"account\": \"a\\u0000b\"}"), "account: has a NUL byte"},
    {BYTES("{\"order_id\": \"1\", \"note\": \"a\\u0000b\"}"), "note: has a NUL byte"},
    {BYTES("{\"order_id\": \"1\", \"price\": 1, \"price\": 2}"), "price: given twice"},
    {BYTES("{\"order_id\": \"1\", \"exchange\": \"bitget\"}"), "exchange: not the exchange"},
    {BYTES("{\"order_id\": \"1\", \"kind\": \"quote\"}"), "kind: expected order, trade, cash"},
    {BYTES("{\"order_id\": \"1\", \"x\": [[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]}"),
     "x: nested too deeply"},
    {BYTES("{\"kind\": \"trade\", \"symbol\": \"A\", \"price\": \"NaN\", \"quantity\": 1}"),
     "price: not a finite decimal"},
};
#define BAD_LINES (sizeof bad_lines / sizeof *bad_lines)

/* A good line before each bad one, and one at the end. Returns the file's path. */
static const char *write_lines(const struct bad_line *bad, size_t count)
{
    const char *path = fixture_format("%s/lines", fixture_folder());
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (size_t i = 0; i <= count; i++) {
        fprintf(file, "{\"order_id\": \"good-%zu\", \"price\": \"1.10\"}\n", i);
        if (i < count) {
            fwrite(bad[i].line.at, 1, bad[i].line.length, file);
            fputc('\n', file);
        }
    }
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Publishes them: each bad line is reported by number, the good ones are stored. */
static void assert_reported(const struct bad_line *bad, size_t count)
{
    struct fixture_program *program =
        story_run_program(1, STORY_ARGV("publish", "--exchange", "okx"),
                          &(struct fixture_program_options){.input_file = write_lines(bad, count)});
    const char *errors = fixture_program_stderr(program);
    story_assert_says(fixture_program_stdout(program),
                      fixture_format("\"accepted\": %zu,", count + 1));
    story_assert_says(fixture_program_stdout(program), fixture_format("\"rejected\": %zu,", count));
    for (size_t i = 0; i < count; i++) {
        story_assert_says(fixture_format("\n%s", errors),
                          fixture_format("\nline %zu: %s", 2 * i + 2, bad[i].says));
    }
    size_t reported = 0;
    for (const char *at = errors; (at = strchr(at, '\n')); at++) {
        reported++;
    }
    assert_int_equal(reported, count); /* a line each, and no other */

    story_drain_once();
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events WHERE order_id LIKE "
                               "'good-%%' AND price::text = '1.10'"),
                     count + 1);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), count + 1);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    story_assert_says(story_audit(0), "\ncomplete: ");
}

static void bad_lines_are_reported_by_line_and_field_and_the_others_are_stored(void **state)
{
    (void)state;
    assert_reported(bad_lines, BAD_LINES);
}

static void fields_of_any_length_are_reported_by_line_and_field(void **state)
{
    (void)state;
    const struct bad_line bad[] = {
        {format_bytes("{\"order_id\": \"1\", \"reason\": \"", 'x', 10 * MEBIBYTE, "\"}"),
         "reason: the line is longer"},
        {format_bytes("{\"order_id\": \"", 'x', 1025, "\"}"), "order_id: longer than the limit"},
        {format_bytes("{\"order_id\": \"1\", \"price\": ", '1', 100000, "}"),
         "longer than the limit"},
        {format_bytes("{\"order_id\": \"1\", \"extra\": {\"x\": \"", 'x', 60000, "\"}}"),
         "extra: longer than the limit"},
        {format_bytes("{\"order_id\": \"1\", \"extra\": {\"x\": \"", 'x', 30000, "\"}}"),
         "the record does not fit a slot of the journal"},
        {format_bytes("{\"order_id\": \"1\", \"x\": ", '[', 500000, ""), "x: "},
    };
    assert_reported(bad, sizeof bad / sizeof *bad);
}

static void the_last_line_needs_no_newline_and_empty_ones_are_none(void **state)
{
    (void)state;
    story_publish(0, "okx", "\n  \r\n{\"order_id\": \"1\"}\r\n\n{\"order_id\": \"2\"}");
    story_drain_once();
    assert_string_equal(story_table("SELECT order_id FROM blotter.order_events ORDER BY 1"),
                        "1\n2");
    struct fixture_program *program = story_publish(1, "okx", "\n\n{\"order_id\": ");
    story_assert_says(fixture_program_stderr(program), "line 3: order_id: not JSON");
}

/* --- entries --- */

/* Asserts the reject of that entry: its bytes, of a longer one the first 64 KiB, its place, and
 * why. */
static void assert_rejected(const char *id, const struct bad_entry *bad)
{
    const char *reason = bad->length > LIMIT_RECORD_BYTES ? "a record at most 65536" : bad->reason;
    size_t kept = bad->length < LIMIT_RECORD_BYTES ? bad->length : LIMIT_RECORD_BYTES;
    const char *is = story_table(
        "SELECT encode(kind, 'hex'), exchange, drainer <> '', encode(raw, 'hex'), reason "
        "FROM blotter.rejects WHERE stream = 'blotter:okx' AND entry_id = '%s'",
        id);
    const char *should_be =
        fixture_format("%s okx t %s ", bad_entry_hex(bad->field, strlen(bad->field)),
                       bad_entry_hex(bad->bytes, kept));
    if (strncmp(is, should_be, strlen(should_be)) != 0 ||
        strstr(is + strlen(should_be), reason) == NULL) {
        fail_msg("%.200s ... is rejected for: %s; should be %.200s ... %s", is,
                 strrchr(is, ':') ? strrchr(is, ':') : "?", should_be, bad->reason);
    }
}

/* The entries with a good one before each; loads them; twice. */
static void bad_entries_are_rejected_with_their_bytes_and_the_others_are_stored(void **state)
{
    size_t count;
    const struct bad_entry *bad = bad_entries(&count);
    const char **ids = fixture_alloc(count * sizeof *ids);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        story_add_order("blotter:okx", 7, (int64_t)i + 1, 0,
                        &(struct blotter_order){.order_id = "good", .price = "1.10"});
        ids[i] = story_add("blotter:okx", bad[i].field, bad[i].bytes, bad[i].length);
    }
    for (int time = 0; time < 2; time++) {
        story_drain_once();
        for (size_t i = 0; i < count && time == 0; i++) {
            assert_rejected(ids[i], &bad[i]);
        }
        assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), count);
        assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events WHERE order_id = "
                                   "'good' AND price::text = '1.10'"),
                         count);
        assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), count);
        assert_int_equal(story_int("SELECT count(*) FROM blotter.trades"), 0);
        assert_int_equal(story_pending() + story_waiting(), 0);
        fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers 0");
    }
}

/* An entry with several fields is kept whole, as Redis' protocol writes it. */
/* A wrong value costs no record: it is in `extra`. */
static void odd_entries_are_rows_with_the_value_in_extra(void **state)
{
    size_t count;
    const struct bad_entry *odd = odd_entries(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        story_add("blotter:okx", odd[i].field, odd[i].bytes, odd[i].length);
    }
    story_drain_once();
    assert_string_equal(
        story_table("SELECT left(encode(raw, 'hex'), 80), reason FROM blotter.rejects"), "");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), count);
    for (size_t i = 0; i < count; i++) {
        assert_true(story_int("SELECT count(*) FROM blotter.order_events WHERE extra ? '%s'",
                              odd[i].reason) > 0);
    }
    assert_int_equal(story_pending() + story_waiting(), 0);
}

static void an_entry_with_several_fields_is_rejected_whole(void **state)
{
    (void)state;
    fixture_redis_run(story_redis, "XADD blotter:okx 1-1 order %b note hello",
                      "\x81\xa8order_id\xa1\x31", 12);
    story_add_order("blotter:okx", 7, 1, 0, &(struct blotter_order){.order_id = "good"});
    story_drain_once();
    assert_string_equal(story_table("SELECT entry_id, reason FROM blotter.rejects"),
                        "1-1 the entry has 2 fields, not one");
    static const char raw[] =
        "$5\r\norder\r\n$12\r\n\x81\xa8order_id\xa1\x31\r\n$4\r\nnote\r\n$5\r\nhello\r\n";
    assert_string_equal(story_sql("SELECT encode(raw, 'hex') FROM blotter.rejects"),
                        bad_entry_hex(raw, sizeof raw - 1));
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 1);
    assert_int_equal(story_pending(), 0);
}

/* PostgreSQL alone refuses this record: it is isolated from its batch. */
static void a_record_that_postgresql_refuses_is_rejected_alone(void **state)
{
    (void)state;
    story_sql("ALTER TABLE blotter.order_events ADD CONSTRAINT no_dogs CHECK (symbol <> 'DOGE')");
    for (int i = 1; i <= 20; i++) {
        story_add_order(
            "blotter:okx", 7, i, i,
            &(struct blotter_order){.order_id = "1", .symbol = i == 13 ? "DOGE" : "BTC"});
    }
    story_drain_once();
    assert_string_equal(story_table("SELECT producer_id, seq, sqlstate FROM blotter.rejects"),
                        "7 13 23514");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 19);
    assert_int_equal(story_pending(), 0);
    assert_string_equal(
        story_table("SELECT state, stored, rejected, missing + in_flight FROM blotter.audit"),
        "open 19 1 0");
}

static void rejects_are_listed_and_shown_with_their_bytes(void **state)
{
    (void)state;
    assert_string_equal(fixture_program_stdout(story_run(0, "rejects", "list")), "no rejects\n");
    const char *id = story_add("blotter:okx", "order", "nonsense", 8);
    story_drain_once();
    const char *list = fixture_program_stdout(story_run(0, "rejects", "list"));
    story_assert_says(list, id);
    story_assert_says(list, "not a msgpack map");
    const char *shown = fixture_program_stdout(
        story_run(0, "rejects", "show", story_sql("SELECT id FROM blotter.rejects")));
    story_assert_says(shown, id);
    story_assert_says(shown, "6e 6f 6e 73 65 6e 73 65");
    story_assert_says(shown, "|nonsense|");
    story_run(1, "rejects", "show", "4711");
    story_run(2, "rejects", "show", "x");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(bad_lines_are_reported_by_line_and_field_and_the_others_are_stored),
        TEST(fields_of_any_length_are_reported_by_line_and_field),
        TEST(the_last_line_needs_no_newline_and_empty_ones_are_none),
        TEST(bad_entries_are_rejected_with_their_bytes_and_the_others_are_stored),
        TEST(odd_entries_are_rows_with_the_value_in_extra),
        TEST(an_entry_with_several_fields_is_rejected_whole),
        TEST(a_record_that_postgresql_refuses_is_rejected_alone),
        TEST(rejects_are_listed_and_shown_with_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
