/* test_clock.c: publishers whose clock is wrong by days, or steps back: their records are stored,
 * once, on the days they say, beside those of others. Only what is more than a day in the future is
 * rejected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/fixture/drainers.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

enum { RECORDS = 120 };

static void add(int64_t seq, int64_t at_ms)
{
    story_add_order("blotter:wrong", 7, seq, at_ms,
                    &(struct blotter_order){.order_id = fixture_format("%d", (int)seq)});
}

static void clocks_that_are_wrong_by_days_lose_nothing(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    int64_t at_ms[RECORDS + 1];
    (void)state;
    printf("seed %u\n", seed);
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    for (int i = 1; i <= RECORDS; i++) {
        at_ms[i] = -(int64_t)(rand_r(&seed) % 200) * HOUR_MS +
                   20 * HOUR_MS; /* from a week ago to tomorrow */
        add(i, at_ms[i]);
    }
    for (int i = RECORDS; i >= 1; i--) { /* sent again, the other way round */
        add(i, at_ms[i]);
    }
    load_finish(load);
    assert_string_equal(
        story_table(
            "SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM blotter.order_events "
            "WHERE producer_id = 7"),
        fixture_format("%d %d 1 %d", RECORDS, RECORDS, RECORDS));
    for (int i = 1; i <= RECORDS; i += 17) {
        assert_int_equal(
            story_int("SELECT extract(epoch FROM recorded_at) * 1000 FROM blotter.order_events "
                      "WHERE producer_id = 7 AND seq = %d",
                      i),
            story_time_ns(at_ms[i]) / 1000000);
    }
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    drainer_stop(drainer);
}

static void a_clock_that_is_days_ahead_is_refused_and_nobody_else(void **state)
{
    (void)state;
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    for (int i = 1; i <= RECORDS; i++) {
        add(i, i % 3 == 0 ? (1 + i) * DAY_MS : i);
    }
    load_finish(load);
    assert_int_equal(
        story_int(
            "SELECT count(*) FROM blotter.order_events WHERE producer_id = 7 AND seq %% 3 <> 0"),
        RECORDS - RECORDS / 3);
    assert_int_equal(
        story_int("SELECT count(*) FROM blotter.rejects WHERE producer_id = 7 AND seq %% 3 = 0"),
        RECORDS / 3);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), RECORDS / 3);
    drainer_stop(drainer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(clocks_that_are_wrong_by_days_lose_nothing),
        TEST(a_clock_that_is_days_ahead_is_refused_and_nobody_else),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
