/* Times of ISO 8601. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "schema/iso_time.h"

static void assert_time(const char *text, int64_t expected)
{
    int64_t time_ns = 0;
    if (!iso_time_read(text, strlen(text), &time_ns)) {
        fail_msg("%s: not read", text);
    }
    assert_int_equal(time_ns, expected);
}

static void times_are_read_with_fraction_and_zone(void **state)
{
    (void)state;
    assert_time("1970-01-01T00:00:00Z", 0);
    assert_time("2023-11-14T22:13:20Z", INT64_C(1700000000000000000));
    assert_time("2023-11-14 22:13:20.5Z", INT64_C(1700000000500000000));
    assert_time("2023-11-14T22:13:20.123456789Z", INT64_C(1700000000123456789));
    assert_time("2023-11-14T22:13:20.12345678900Z", INT64_C(1700000000123456789));
    assert_time("2023-11-15T03:43:20+05:30", INT64_C(1700000000000000000));
    assert_time("2023-11-14T17:13:20-0500", INT64_C(1700000000000000000));
    assert_time("2016-12-31T23:59:60Z", INT64_C(1483228800000000000));
    assert_time("2000-02-29T00:00:00Z", INT64_C(951782400000000000));
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "Z",
        "yesterday",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "2023-11-14T22:13Z",
        "2023-11-14T22:13:20z",
        "2023-11-14T22:13:20ZZ",
        "2023-11-14T22:13:20+05",
        "2023-11-14T22:13:20.1234567891Z",
        "2023-00-14T22:13:20Z",
        "2023-13-14T22:13:20Z",
        "2023-11-00T22:13:20Z",
        "2023-11-31T22:13:20Z",
        "2023-02-29T22:13:20Z",
        "1900-02-29T22:13:20Z",
        "2023-11-14T24:00:00Z",
        "2023-11-14T22:60:20Z",
        "2023-11-14T22:13:61Z",
        "202-11-14T22:13:20Z",
        "-202-11-14T22:13:20Z",
        "9999-11-14T22:13:20Z",
    };
    int64_t time_ns;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (iso_time_read(texts[i], strlen(texts[i]), &time_ns)) {
            fail_msg("%s: read", texts[i]);
        }
    }
}

static void every_day_is_the_one_that_the_c_library_counts(void **state)
{
    char text[32];
    (void)state;
    for (time_t day = 0; day < 365 * 200; day++) {
        time_t seconds = day * 86400;
        int64_t time_ns;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        assert_true(iso_time_read(text, strlen(text), &time_ns));
        assert_int_equal(time_ns, (int64_t)seconds * 1000000000);
    }
}

/* The reader stops at the end: the next byte may be another page's. */
static void a_text_ends_where_its_length_says(void **state)
{
    static const char text[] = "2023-11-14T22:13:20.123456789+05:30";
    int64_t time_ns;
    (void)state;
    for (size_t length = 0; length < sizeof text - 1; length++) {
        char *exact = memcpy(malloc(length > 0 ? length : 1), text, length);
        assert_false(iso_time_read(exact, length, &time_ns));
        free(exact);
    }
}

static void a_time_is_written_as_it_is_read(void **state)
{
    (void)state;
    const int64_t seconds[] = {-1, 0, 1700000000, INT64_C(4102444799)};
    char text[ISO_TIME_BYTES];
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        iso_time_write(seconds[i], text);
        assert_time(text, seconds[i] * 1000000000);
    }
    iso_time_write(INT64_MAX, text); /* a year that has no place in struct tm */
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_with_fraction_and_zone),
        cmocka_unit_test(a_time_is_written_as_it_is_read),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(every_day_is_the_one_that_the_c_library_counts),
        cmocka_unit_test(a_text_ends_where_its_length_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
