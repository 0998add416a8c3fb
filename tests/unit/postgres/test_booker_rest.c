/* test_booker_rest.c: how long the booker rests, and how much it takes at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drainer/postgres/booker.h"

enum {
    BACKLOG_ROWS = 10000,
    BOOKING_MS = 100,
};

static void a_backlog_is_loaded_first(void **state)
{
    (void)state;
    assert_int_equal(booker_rest_ms(BACKLOG_ROWS, BOOKING_MS, 1000), 15 * BOOKING_MS);
    assert_int_equal(booker_rest_ms(1000, BOOKING_MS, 1000), 2 * BOOKING_MS);
    assert_int_equal(booker_rest_ms(BACKLOG_ROWS, 10000, 1000), 2000);
}

static void small_commits_are_booked_without_a_rest(void **state)
{
    (void)state;
    assert_int_equal(booker_rest_ms(0, BOOKING_MS, 0), 0);
    assert_int_equal(booker_rest_ms(499, BOOKING_MS, 0), 0);
}

/* A fill that comes alone is in the books some milliseconds later; a server that books slowly is
 * not kept busy by it. */
static void a_pause_is_as_short_as_the_booking_allows(void **state)
{
    int64_t last_ms = 0;

    (void)state;
    for (int64_t booking_ms = 0; booking_ms < 100; booking_ms++) {
        int64_t pause_ms = booker_pause_ms(booking_ms);

        assert_true(pause_ms >= last_ms && pause_ms > 0 && pause_ms <= 12);
        assert_true(pause_ms >= 4 * booking_ms || pause_ms == 12);
        last_ms = pause_ms;
    }
    assert_true(booker_pause_ms(1) < 10);
    assert_int_equal(last_ms, 12);
}

static void rests_shrink_as_the_books_fall_behind(void **state)
{
    int64_t last_ms = booker_rest_ms(BACKLOG_ROWS, BOOKING_MS, 0);

    (void)state;
    for (int64_t lag_ms = 0; lag_ms < 60000; lag_ms += 500) {
        int64_t rest_ms = booker_rest_ms(BACKLOG_ROWS, BOOKING_MS, lag_ms);

        assert_true(rest_ms <= last_ms);
        last_ms = rest_ms;
    }
    assert_true(booker_rest_ms(BACKLOG_ROWS, BOOKING_MS, 45000) < 8 * BOOKING_MS);
    assert_int_equal(booker_rest_ms(BACKLOG_ROWS, BOOKING_MS, 60000), 0);
    assert_int_equal(booker_rest_ms(BACKLOG_ROWS, BOOKING_MS, INT64_C(86400000)), 0);
}

/* Returns how far the books are behind after so long a load, each second of which takes needed_ms
 * to book. */
static int64_t lag_after(int64_t seconds, int64_t needed_ms)
{
    int64_t lag_ms = 0;

    for (int64_t i = 0; i < seconds; i++) {
        int64_t rest_ms = booker_rest_ms(BACKLOG_ROWS, BOOKING_MS, lag_ms);
        int64_t booked_ms = 1000 * BOOKING_MS / (BOOKING_MS + rest_ms);

        lag_ms += 1000 - 1000 * booked_ms / needed_ms;
        lag_ms = lag_ms < 0 ? 0 : lag_ms;
    }
    return lag_ms;
}

static void a_load_that_can_be_booked_is_booked_within_a_minute(void **state)
{
    (void)state;
    for (int64_t needed_ms = 100; needed_ms <= 900; needed_ms += 100) {
        assert_true(lag_after(3600, needed_ms) <= 60000);
        assert_true(lag_after(36000, needed_ms) <= 60000);
    }
}

/* Late fills make a booking slow whatever its size: a queue of a million takes some twenty. */
static void slow_bookings_take_more_rows(void **state)
{
    int64_t rows_max = booker_next_rows(0, false, 0), queued = 1000000, smallest = rows_max;
    int bookings = 0;

    (void)state;
    for (; queued > 0; bookings++) {
        queued -= rows_max;
        rows_max = booker_next_rows(rows_max, queued > 0, 5000);
    }
    assert_in_range(bookings, 10, 25);
    assert_int_equal(rows_max, smallest);
    assert_int_equal(booker_next_rows(smallest, true, BOOKING_MS), smallest);
    assert_int_equal(booker_next_rows(2 * smallest, true, BOOKING_MS), 2 * smallest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backlog_is_loaded_first),
        cmocka_unit_test(small_commits_are_booked_without_a_rest),
        cmocka_unit_test(slow_bookings_take_more_rows),
        cmocka_unit_test(a_pause_is_as_short_as_the_booking_allows),
        cmocka_unit_test(rests_shrink_as_the_books_fall_behind),
        cmocka_unit_test(a_load_that_can_be_booked_is_booked_within_a_minute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
