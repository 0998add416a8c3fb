/* The names of streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "schema/stream.h"

#define LONGEST "abcdefghijklmnopqrstuvwxyz012345"
_Static_assert(sizeof LONGEST - 1 == LIMIT_EXCHANGE_BYTES, "the longest part");

static void names_are_prefix_exchange_and_lane(void **state)
{
    char name[STREAM_NAME_BYTES];

    (void)state;
    stream_name(name, "binance", NULL);
    assert_string_equal(name, "blotter:binance");
    stream_name(name, "binance", "");
    assert_string_equal(name, "blotter:binance");
    stream_name(name, "binance-usdm", "ticks.1");
    assert_string_equal(name, "blotter:binance-usdm:ticks.1");
    stream_name(name, LONGEST, LONGEST);
    assert_string_equal(name, "blotter:" LONGEST ":" LONGEST);
}

static void ack_names_hash_to_the_slot_of_their_stream(void **state)
{
    char name[STREAM_ACK_NAME_BYTES];

    (void)state;
    stream_ack_name(name, "blotter:binance", 42);
    assert_string_equal(name, "blotter-ack:{blotter:binance}:42");
    stream_ack_name(name, "blotter:" LONGEST ":" LONGEST, INT64_MIN);
    assert_string_equal(name, "blotter-ack:{blotter:" LONGEST ":" LONGEST "}:-9223372036854775808");
}

static void parts_are_small_letters_digits_and_three_marks(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool valid = c && strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", c);
        assert_int_equal(stream_name_part_valid((char[]){(char)c}, 1), valid);
        assert_int_equal(stream_name_part_valid((char[]){'a', (char)c}, 2), valid);
    }
    assert_false(stream_name_part_valid("", 0));
    assert_true(stream_name_part_valid(LONGEST, LIMIT_EXCHANGE_BYTES));
    assert_false(stream_name_part_valid(LONGEST "a", LIMIT_EXCHANGE_BYTES + 1));
}

static void a_drawn_id_is_one_and_no_other_text_is(void **state)
{
    char id[STREAM_ID_DIGITS + 1], other[STREAM_ID_DIGITS + 1];

    (void)state;
    assert_true(stream_id_draw(id) && stream_id_draw(other));
    assert_true(stream_id_valid(id, strlen(id)));
    assert_string_not_equal(id, other);
    assert_false(stream_id_valid(id, strlen(id) - 1));
    id[0] = 'g';
    assert_false(stream_id_valid(id, strlen(id)));
}

static bool parses(const char *name, const char *exchange, const char *lane)
{
    char got_exchange[LIMIT_EXCHANGE_BYTES + 1], got_lane[LIMIT_EXCHANGE_BYTES + 1];

    return stream_parse(name, strlen(name), got_exchange, got_lane) &&
           strcmp(got_exchange, exchange) == 0 && strcmp(got_lane, lane) == 0;
}

static void what_was_named_is_parsed(void **state)
{
    (void)state;
    assert_true(parses("blotter:binance", "binance", ""));
    assert_true(parses("blotter:binance:ticks", "binance", "ticks"));
    assert_true(parses("blotter:" LONGEST ":" LONGEST, LONGEST, LONGEST));
}

static void foreign_names_are_not_parsed(void **state)
{
    static const char *const names[] = {"",
                                        "blotter",
                                        "blotter:",
                                        "blotter::",
                                        "blotter:a:",
                                        "blotter::a",
                                        "blotter:a:b:c",
                                        "blotter:A",
                                        "blotter:a b",
                                        "blotter-ack:{blotter:a}:1",
                                        "xblotter:a",
                                        "Blotter:a",
                                        "blotter:" LONGEST "a",
                                        "blotter:a:" LONGEST "a"};
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_false(stream_parse(names[i], strlen(names[i]), exchange, lane));
    }
    assert_false(stream_parse("blotter:a\0b", 11, exchange, lane));
}

static void a_name_ends_where_its_length_says(void **state)
{
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];

    (void)state;
    assert_true(stream_parse("blotter:binance:ticks", 11, exchange, lane));
    assert_string_equal(exchange, "bin");
    assert_string_equal(lane, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_prefix_exchange_and_lane),
        cmocka_unit_test(ack_names_hash_to_the_slot_of_their_stream),
        cmocka_unit_test(parts_are_small_letters_digits_and_three_marks),
        cmocka_unit_test(a_drawn_id_is_one_and_no_other_text_is),
        cmocka_unit_test(what_was_named_is_parsed),
        cmocka_unit_test(foreign_names_are_not_parsed),
        cmocka_unit_test(a_name_ends_where_its_length_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
