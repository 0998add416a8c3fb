/* test_bad_input.c: what is no record harms nobody: `publish` says which line and field, a drainer keeps the bytes and the reason
 * in blotter.rejects, and both go on with its neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* --- lines ----------------------------------------------------------------------------------------------------------------- */

struct bad_line {
    struct bytes line;
    const char *says; /* behind "line N: " */
};

static const struct bad_line bad_lines[] = {
    {BYTES("this is not JSON"), "not JSON"},
    {BYTES("{\"order_id\": \"1\", \"price\": "), "price: not JSON"},
    {BYTES("{\"order_id\": \"1\", \"price\": 1.2.3}"), "price: not JSON"},
    {BYTES("{\"order_id\": \"1\"} {}"), "not JSON"},
    {BYTES("[{\"order_id\": \"1\"}]"), "not a JSON object"},
    {BYTES("{}"), "order_id: required"},
    {BYTES("{\"symbol\": \"BTC/USDT\", \"price\": \"1\", \"order_id\": null}"), "order_id: required"},
    {BYTES("{\"kind\": \"trade\", \"price\": \"1\", \"quantity\": \"1\"}"), "symbol: required"},
    {BYTES("{\"kind\": \"trade\", \"symbol\": \"A\", \"quantity\": \"1\"}"), "price: required"},
    {BYTES("{\"kind\": \"trade\", \"symbol\": \"A\", \"price\": \"1\"}"), "quantity: required"},
    {BYTES("{\"order_id\": \"1\", \"price\": \"NaN\"}"), "price: not a finite decimal"},
    {BYTES("{\"order_id\": \"1\", \"price\": NaN}"), "price: not JSON"},
    {BYTES("{\"order_id\": \"1\", \"fee\": \"-Infinity\"}"), "fee: not a finite decimal"},
    {BYTES("{\"order_id\": \"1\", \"quantity\": \"1,5\"}"), "quantity: not a finite decimal"},
    {BYTES("{\"order_id\": \"1\", \"quantity\": 1e999999999}"), "quantity: not a finite decimal"},
    {BYTES("{\"order_id\": \"1\", \"quantity\": {}}"), "quantity: expected a number"},
    {BYTES("{\"order_id\": \"1\", \"symbol\": \"caf\xe9\"}"), "symbol: not valid UTF-8"},
    {BYTES("{\"order_id\": \"1\", \"symbol\": \"a\0b\"}"), "symbol: has a NUL byte"},
    {BYTES("{\"order_id\": \"1\", \"account\": \"a\\u0000b\"}"), "account: has a NUL byte"},
    {BYTES("{\"order_id\": \"1\", \"note\": \"a\\u0000b\"}"), "extra: has a NUL byte"},
    {BYTES("{\"order_id\": 17}"), "order_id: expected a string"},
    {BYTES("{\"order_id\": \"1\", \"exchange_time\": \"yesterday\"}"), "exchange_time: expected an integer"},
    {BYTES("{\"order_id\": \"1\", \"post_only\": \"yes\"}"), "post_only: expected true or false"},
    {BYTES("{\"order_id\": \"1\", \"extra\": [1]}"), "extra: expected an object"},
    {BYTES("{\"order_id\": \"1\", \"price\": 1, \"price\": 2}"), "price: given twice"},
    {BYTES("{\"order_id\": \"1\", \"exchange\": \"bitget\"}"), "exchange: not the exchange"},
    {BYTES("{\"order_id\": \"1\", \"kind\": \"quote\"}"), "kind: expected order or trade"},
    {BYTES("{\"order_id\": \"1\", \"x\": [[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]}"), "extra: nested too deeply"},
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
    struct fixture_program *program = story_run_program(1, STORY_ARGV("publish", "--exchange", "okx"),
                                                        &(struct fixture_program_options){.input_file = write_lines(bad, count)});
    const char *errors = fixture_program_stderr(program);
    story_assert_says(fixture_program_stdout(program), fixture_format("\"accepted\": %zu,", count + 1));
    story_assert_says(fixture_program_stdout(program), fixture_format("\"rejected\": %zu,", count));
    for (size_t i = 0; i < count; i++)
        story_assert_says(fixture_format("\n%s", errors), fixture_format("\nline %zu: %s", 2 * i + 2, bad[i].says));
    size_t reported = 0;
    for (const char *at = errors; (at = strchr(at, '\n')); at++)
        reported++;
    assert_int_equal(reported, count); /* a line each, and no other */

    story_drain_once();
    assert_int_equal(
        story_int("SELECT count(*) FROM blotter.order_events WHERE order_id LIKE 'good-%%' AND price::text = '1.10'"), count + 1);
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
        {format_bytes("{\"order_id\": \"1\", \"reason\": \"", 'x', 10 * MEBIBYTE, "\"}"), "reason: the line is longer"},
        {format_bytes("{\"order_id\": \"1\", \"symbol\": \"", 'x', 1025, "\"}"), "symbol: longer than the limit"},
        {format_bytes("{\"order_id\": \"1\", \"price\": ", '1', 129, "}"), "price: not a finite decimal"},
        {format_bytes("{\"order_id\": \"1\", \"price\": ", '1', 100000, "}"), "price: "},
        {format_bytes("{\"order_id\": \"1\", \"extra\": {\"x\": \"", 'x', 60000, "\"}}"), "extra: longer than the limit"},
        {format_bytes("{\"order_id\": \"1\", \"extra\": {\"x\": \"", 'x', 30000, "\"}}"),
         "the record does not fit a place of the journal"},
        {format_bytes("{\"order_id\": \"1\", \"x\": ", '[', 500000, ""), "x: "},
    };
    assert_reported(bad, sizeof bad / sizeof *bad);
}

static void the_last_line_needs_no_newline_and_empty_ones_are_none(void **state)
{
    (void)state;
    story_publish(0, "okx", "\n  \r\n{\"order_id\": \"1\"}\r\n\n{\"order_id\": \"2\"}");
    story_drain_once();
    assert_string_equal(story_table("SELECT order_id FROM blotter.order_events ORDER BY 1"), "1\n2");
    struct fixture_program *program = story_publish(1, "okx", "\n\n{\"order_id\": ");
    story_assert_says(fixture_program_stderr(program), "line 3: order_id: not JSON");
}

/* --- entries --------------------------------------------------------------------------------------------------------------- */

struct bad_entry {
    const char *field;
    struct bytes value;
    const char *reason; /* a part of it */
};

#define ID             \
    "\xa8order_id\xa1" \
    "1" /* "order_id": "1" */
#define IDENTITY(producer, seq, ns) "\xabproducer_id" producer "\xa3seq" seq "\xabrecorded_at" ns

static const struct bad_entry bad_entries[] = {
    {"order", BYTES(""), "ends in the middle"},
    {"order", BYTES("\xc1"), "not a msgpack map"},
    {"order", BYTES("{\"order_id\": \"1\"}"), "not a msgpack map"},
    {"order", BYTES("\x91\x81" ID), "not a msgpack map"},
    {"order", BYTES("\xc0"), "not a msgpack map"},
    {"order", BYTES("\x82" ID), "ends in the middle"},
    {"order", BYTES("\x81\xa8order_i"), "ends in the middle"},
    {"order", BYTES("\x81" ID "more"), "bytes behind its end"},
    {"order", BYTES("\x81\x01\x02"), "string keys"},
    {"order", BYTES("\x81\xa8order_id\xc3"), "order_id: has a value of the wrong type"},
    {"order", BYTES("\x82" ID "\xa5price\xc3"), "price: has a value of the wrong type"},
    {"order", BYTES("\x82" ID "\xa5price\xa3NaN"), "price: not a finite decimal"},
    {"order", BYTES("\x82" ID "\xa5price\xcb\x7f\xf8\0\0\0\0\0\0"), "price: not a finite decimal"},
    {"order", BYTES("\x82" ID "\xa5price\xcb\x7f\xf0\0\0\0\0\0\0"), "price: not a finite decimal"},
    {"order", BYTES("\x82" ID "\xa9post_only\x01"), "post_only: has a value of the wrong type"},
    {"order",
     BYTES("\x82" ID "\xad"
           "exchange_time\xa5today"),
     "exchange_time: has a value of the wrong type"},
    {"order", BYTES("\x82" ID "\xa6symbol\xa2\xff\xfe"), "symbol: not valid UTF-8"},
    {"order",
     BYTES("\x82" ID "\xa6symbol\xa3"
           "a\0b"),
     "symbol: has a NUL byte"},
    {"order",
     BYTES("\x82" ID "\xa5"
           "extra\xdd\xff\xff\xff\xff"),
     "extra: "},
    {"order",
     BYTES("\x82" ID "\xa5"
           "extra\xdf\xff\xff\xff\xff"),
     "extra: "},
    {"order", BYTES("\x82" ID "\xa4note\xdd\xff\xff\xff\xff"), "extra: "},
    {"order", BYTES("\xdf\xff\xff\xff\xff" ID), "too many keys"},
    {"order", BYTES("\x82" ID "\xa6symbol\xdb\xff\xff\xff\xff"), "ends in the middle"},
    {"order", BYTES("\x82" ID ID), "order_id: given twice"},
    {"order", BYTES("\x81\xa6symbol\xa1x"), "order_id: required"},
    {"order",
     BYTES("\x82" ID "\xa8"
           "exchange\xa6"
           "bitget"),
     "exchange: is not that of the stream"},
    {"order", BYTES("\x82" ID "\xa3seq\x01"), "producer_id: required"},
    {"order", BYTES("\x84" ID IDENTITY("\x05", "\x01", "\x01")), "recorded_at: "},
    {"order", BYTES("\x84" ID IDENTITY("\x05", "\x02", "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff")), "recorded_at: "},
    {"trade",
     BYTES("\x82\xa5price\xa1"
           "1\xa8quantity\xa1"
           "1"),
     "symbol: required"},
    {"trade", BYTES("\x81" ID), "symbol: required"},
    {"session", BYTES("\x80"), "event: required"},
    {"ordr", BYTES("\x81" ID), "not the name of a kind"},
    {"", BYTES("\x81" ID), "not the name of a kind"},
};
#define BAD_ENTRIES (sizeof bad_entries / sizeof *bad_entries)

static const char *hex_of(struct bytes bytes)
{
    char *text = fixture_alloc(2 * bytes.length + 1);
    for (size_t i = 0; i < bytes.length; i++)
        sprintf(text + 2 * i, "%02x", (unsigned char)bytes.at[i]);
    return text;
}

/* The reject of that entry: every byte of it, where it was, and why. */
static void assert_rejected(const char *id, const struct bad_entry *bad)
{
    const char *is = story_table("SELECT encode(kind, 'escape'), exchange, drainer <> '', encode(raw, 'hex'), reason "
                                 "FROM blotter.rejects WHERE stream = 'blotter:okx' AND entry_id = '%s'",
                                 id);
    const char *should_be = fixture_format("%s okx t %s ", bad->field, hex_of(bad->value));
    if (strncmp(is, should_be, strlen(should_be)) != 0 || !strstr(is + strlen(should_be), bad->reason))
        fail_msg("%.200s ... is rejected for: %s; should be %.200s ... %s", is, strrchr(is, ':') ? strrchr(is, ':') : "?",
                 should_be, bad->reason);
}

/* The entries with a good one before each; loads them; twice. */
static void assert_all_rejected(const struct bad_entry *bad, size_t count)
{
    const char **ids = fixture_alloc(count * sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        story_add_order("blotter:okx", 7, (int64_t)i + 1, 0, &(struct blotter_order){.order_id = "good", .price = "1.10"});
        ids[i] = story_add("blotter:okx", bad[i].field, bad[i].value.at, bad[i].value.length);
    }
    for (int time = 0; time < 2; time++) {
        story_drain_once();
        for (size_t i = 0; i < count && time == 0; i++)
            assert_rejected(ids[i], &bad[i]);
        assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), count);
        assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events WHERE order_id = 'good' AND price::text = '1.10'"),
                         count);
        assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), count);
        assert_int_equal(story_pending() + story_waiting(), 0);
        fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers 0");
    }
}

static void bad_entries_are_rejected_with_their_bytes_and_the_others_are_stored(void **state)
{
    (void)state;
    assert_all_rejected(bad_entries, BAD_ENTRIES);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.trades"), 0);
}

static void entries_of_any_size_and_depth_are_rejected(void **state)
{
    (void)state;
    const struct bad_entry bad[] = {
        {"order", format_bytes("\x81\xa8order_id\xdb\x01", '\0', MEBIBYTE, ""), "longer than the limit"},
        {"order", format_bytes("", 'x', MEBIBYTE, ""), "longer than the limit"},
        {"order",
         format_bytes("\x82" ID "\xa5"
                      "extra\x81\xa1x",
                      '\x91', 60000, "\x01"),
         "extra: nested too deeply"},
        {"order", format_bytes("\x82" ID "\xa4note", '\x91', 60000, "\x01"), "extra: nested too deeply"},
        {"order", format_bytes("\x82" ID "\xa6symbol\xda\x04\x01", 'x', 1025, ""), "symbol: longer than the limit"},
    };
    assert_all_rejected(bad, sizeof bad / sizeof *bad);
}

/* An entry with several fields is kept whole, as Redis' protocol writes it. */
static void an_entry_with_several_fields_is_rejected_whole(void **state)
{
    (void)state;
    fixture_redis_run(story_redis, "XADD blotter:okx 1-1 order %b note hello", "\x81" ID, sizeof("\x81" ID) - 1);
    story_add_order("blotter:okx", 7, 1, 0, &(struct blotter_order){.order_id = "good"});
    story_drain_once();
    assert_string_equal(story_table("SELECT entry_id, reason FROM blotter.rejects"), "1-1 the entry has 2 fields, not one");
    const struct bytes raw = BYTES("$5\r\norder\r\n$12\r\n\x81" ID "\r\n$4\r\nnote\r\n$5\r\nhello\r\n");
    assert_string_equal(story_sql("SELECT encode(raw, 'hex') FROM blotter.rejects"), hex_of(raw));
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 1);
    assert_int_equal(story_pending(), 0);
}

/* What PostgreSQL refuses, and only it: one record of a batch, isolated. */
static void a_record_that_postgresql_refuses_is_rejected_alone(void **state)
{
    (void)state;
    story_sql("ALTER TABLE blotter.order_events ADD CONSTRAINT no_dogs CHECK (symbol <> 'DOGE')");
    for (int i = 1; i <= 20; i++)
        story_add_order("blotter:okx", 7, i, i, &(struct blotter_order){.order_id = "1", .symbol = i == 13 ? "DOGE" : "BTC"});
    story_drain_once();
    assert_string_equal(story_table("SELECT producer_id, seq, sqlstate FROM blotter.rejects"), "7 13 23514");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 19);
    assert_int_equal(story_pending(), 0);
    assert_string_equal(story_table("SELECT state, stored, rejected, missing + in_flight FROM blotter.audit"), "open 19 1 0");
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
    const char *shown = fixture_program_stdout(story_run(0, "rejects", "show", story_sql("SELECT id FROM blotter.rejects")));
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
        TEST(entries_of_any_size_and_depth_are_rejected),
        TEST(an_entry_with_several_fields_is_rejected_whole),
        TEST(a_record_that_postgresql_refuses_is_rejected_alone),
        TEST(rejects_are_listed_and_shown_with_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
