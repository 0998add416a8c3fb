/* test_bisect.c: where a range of entries is split when its transaction fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "drainer/postgres/bisect.h"
#include "drainer/redis/streams.h"

static struct entry entries[10];
static const struct batch batch = {.entries = entries, .count = 10};
static struct batch_range parts[BISECT_PARTS_MAX];

/* Orders and trades in turn; the order at 4 is a reject. */
static int begin(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        entries[i].kind = i % 2 == 0 ? RECORD_ORDER : RECORD_TRADE;
        entries[i].fate = i == 4 ? ENTRY_REJECTED : ENTRY_ROW;
    }
    return 0;
}

static const char *split(size_t from, size_t to, const char *table, unsigned long row, bool halve)
{
    static char text[128];
    struct pg_failure failure = {.copy_row = row};
    size_t count, length = 0;

    snprintf(failure.copy_table, sizeof failure.copy_table, "%s", table);
    count = bisect_range(&batch, (struct batch_range){from, to}, &failure, halve, parts);
    for (size_t i = 0; i < count; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%zu-%zu",
                                   i == 0 ? "" : " ", parts[i].from, parts[i].to);
    }
    return text;
}

static void entry_that_is_named_is_a_part_by_itself(void **state)
{
    (void)state;
    assert_string_equal(split(0, 10, "order_events", 2, false), "0-2 2-3 3-10");
    assert_string_equal(split(0, 10, "order_events", 3, false),
                        "0-6 6-7 7-10"); /* the one at 4 is not among its rows */
    assert_string_equal(split(0, 10, "trades", 3, false), "0-5 5-6 6-10");
    assert_string_equal(split(3, 10, "trades", 2, false),
                        "3-5 5-6 6-10"); /* rows are counted from the range's first */
    assert_string_equal(split(0, 10, "staged_trades", 1, false), "0-1 1-2 2-10");
}

/* Sorts ten entries of these lanes, numbered in turn. */
static void assert_sorted(struct stream *lanes, const int of[10], const int expected[10])
{
    struct batch shuffled = {.entries = entries, .count = 10};

    for (size_t i = 0; i < 10; i++) {
        entries[i].stream = &lanes[of[i]];
        entries[i].seq = (int64_t)i;
    }
    bisect_sort_exchanges(&shuffled, (struct batch_range){0, 10});
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(entries[i].seq, expected[i]);
        assert_ptr_equal(entries[i].stream, &lanes[of[expected[i]]]);
    }
}

static void exchanges_are_sorted_and_keep_their_order(void **state)
{
    (void)state;
    struct stream lanes[] = {
        {.exchange = "okx"}, {.exchange = "okx", .lane = "b"}, {.exchange = "bin"}};

    assert_sorted(lanes, (const int[]){2, 0, 1, 2, 2, 0, 2, 1, 1, 0},
                  (const int[]){0, 3, 4, 6, 1, 2, 5, 7, 8, 9});
    assert_int_equal(bisect_exchange_end(&batch, (struct batch_range){0, 10}), 4);
    assert_int_equal(bisect_exchange_end(&batch, (struct batch_range){1, 3}), 3);
    assert_int_equal(bisect_exchange_end(&batch, (struct batch_range){4, 10}), 10);
}

static void exchanges_that_have_waited_come_last(void **state)
{
    (void)state;
    struct stream lanes[] = {{.exchange = "okx", .held_times = 3},
                             {.exchange = "bin", .held_times = 1},
                             {.exchange = "bit"},
                             {.exchange = "bit", .lane = "b", .held_times = 7}};

    assert_sorted(lanes, (const int[]){0, 3, 1, 2, 0, 3, 2, 1, 1, 0},
                  (const int[]){1, 3, 5, 6, 2, 7, 8, 0, 4, 9});
}

static void parts_are_never_empty(void **state)
{
    (void)state;
    assert_string_equal(split(0, 10, "order_events", 1, false), "0-1 1-10");
    assert_string_equal(split(0, 10, "trades", 5, false), "0-9 9-10");
    assert_string_equal(split(1, 3, "trades", 1, false), "1-2 2-3");
}

static void range_is_halved_where_no_entry_of_it_is_named(void **state)
{
    (void)state;
    assert_string_equal(split(0, 10, "", 0, false), "0-5 5-10");
    assert_string_equal(split(0, 10, "trades", 6, false), "0-5 5-10");
    assert_string_equal(split(0, 10, "trades", 0, false), "0-5 5-10");
    assert_string_equal(split(0, 10, "orders", 1, false), "0-5 5-10");
    assert_string_equal(split(0, 10, "staged_orders", 1, false), "0-5 5-10");
    assert_string_equal(split(0, 3, "sessions", 1, false), "0-1 1-3");
    assert_string_equal(split(0, 10, "trades", 1, true), "0-5 5-10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(entry_that_is_named_is_a_part_by_itself, begin),
        cmocka_unit_test_setup(exchanges_are_sorted_and_keep_their_order, begin),
        cmocka_unit_test_setup(exchanges_that_have_waited_come_last, begin),
        cmocka_unit_test_setup(parts_are_never_empty, begin),
        cmocka_unit_test_setup(range_is_halved_where_no_entry_of_it_is_named, begin),
    };
    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
