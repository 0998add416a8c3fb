/* Decimals: canonical text, from floating point, to PostgreSQL's numeric, comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "schema/decimal.h"
#include "tests/unit/random_input.h"

/* Every call gets exactly the memory that the contract promises, so that a sanitizer sees a byte
 * too many. */
static char *canonical_of(const char *text, size_t length)
{
    char *exact = malloc(length + (length == 0)), *out = malloc(LIMIT_DECIMAL_BYTES + 1);
    memcpy(exact, text, length);
    int written = decimal_canonical(exact, length, out);
    free(exact);
    if (written < 0) {
        free(out);
        return NULL;
    }
    out[written] = '\0';
    return out;
}

static void assert_canonical(const char *text, const char *expected)
{
    char *got = canonical_of(text, strlen(text));
    if (got == NULL) {
        fail_msg("%s is refused", text);
    }
    assert_string_equal(got, expected);
    assert_true(decimal_is_canonical(got, strlen(got)));
    assert_int_equal(decimal_is_canonical(text, strlen(text)), strcmp(text, expected) == 0);
    free(got);
}

static void assert_refused(const char *text, size_t length)
{
    char *got = canonical_of(text, length);
    if (got != NULL) {
        fail_msg("%.*s is taken as %s", (int)length, text, got);
    }
    assert_false(decimal_is_canonical(text, length));
}

static void canonical_text_is_what_postgresql_prints(void **state)
{
    static const char *const pairs[][2] = {
        {"0", "0"},
        {"1", "1"},
        {"-1", "-1"},
        {"10.100", "10.100"},
        {"0.00", "0.00"},
        {"-0.00", "0.00"},
        {"-0", "0"},
        {"+1", "1"},
        {"+0.5", "0.5"},
        {".5", "0.5"},
        {"-.5", "-0.5"},
        {"5.", "5"},
        {"007.70", "7.70"},
        {"00", "0"},
        {"-00.0", "0.0"},
        {"1E5", "100000"},
        {"1E+3", "1000"},
        {"1e-8", "0.00000001"},
        {"9.2E-7", "0.00000092"},
        {"-5.9e-7", "-0.00000059"},
        {"1.50E3", "1500"},
        {"1.50E1", "15.0"},
        {"1.50E2", "150"},
        {"12E-1", "1.2"},
        {"12E-2", "0.12"},
        {"12E-3", "0.012"},
        {"0E5", "0"},
        {"0E-8", "0.00000000"},
        {"-0E-2", "0.00"},
        {"0.05E1", "0.5"},
        {"0.05E2", "5"},
        {"0.0500E3", "50.0"},
        {"5.E2", "500"},
        {".5E1", "5"},
        {"1E000000000000000000003", "1000"},
        {"0E999999999999", "0"},
        {"123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        assert_canonical(pairs[i][0], pairs[i][1]);
    }
}

static void what_is_no_finite_decimal_is_refused(void **state)
{
    static const char *const texts[] = {
        "",     "-",    "+",     ".",        "-.",  "NaN",   "nan",  "inf",   "Infinity",
        "-inf", "0x10", "1e",    "1e+",      "1E-", "e5",    ".e5",  "1_000", "1,5",
        " 1",   "1 ",   "1\n",   "--1",      "+-1", "1.2.3", "1..2", "1e5.",  "1-",
        "1e5e", "1e 5", "1e+-5", "\xd9\xa1", "1a",  "1/",    "1:",   "/",     ":",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_refused(texts[i], strlen(texts[i]));
    }
    assert_refused("1\0", 2);
    assert_refused("\0", 1);
}

static void exponents_beyond_all_bounds_are_refused_without_overflow(void **state)
{
    static const char *const texts[] = {
        "1E999999999999",  "1E-999999999999", "1E2147483647",
        "1E-2147483648",   "1E4294967296",    "1E18446744073709551616",
        "0E-999999999999", "1E128",           "1E-128"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_refused(texts[i], strlen(texts[i]));
    }
}

static void digits_up_to_the_limit_are_kept_and_one_more_is_refused(void **state)
{
    char text[LIMIT_DECIMAL_BYTES + 8];
    char expected[LIMIT_DECIMAL_BYTES + 8];

    (void)state;
    memset(text, '7', sizeof text);
    text[LIMIT_DECIMAL_DIGITS] = '\0';
    assert_canonical(text, text);
    assert_refused(memset(text, '7', LIMIT_DECIMAL_DIGITS + 1), LIMIT_DECIMAL_DIGITS + 1);
    text[64] = '.';
    text[LIMIT_DECIMAL_DIGITS + 1] = '\0';
    assert_canonical(text, text);
    text[0] = '-';
    assert_true(decimal_is_canonical(text, LIMIT_DECIMAL_DIGITS + 1));

    memset(expected, '0', sizeof expected);
    expected[0] = '1';
    expected[LIMIT_DECIMAL_DIGITS] = '\0';
    assert_canonical("1E127", expected);
    memset(expected, '0', sizeof expected);
    expected[1] = '.';
    expected[LIMIT_DECIMAL_DIGITS] = '1';
    expected[LIMIT_DECIMAL_DIGITS + 1] = '\0';
    assert_canonical("1E-127", expected);
}

static void leading_zeros_do_not_count_as_digits_but_length_is_bounded(void **state)
{
    char text[LIMIT_DECIMAL_BYTES + 2];

    (void)state;
    memset(text, '0', sizeof text);
    text[LIMIT_DECIMAL_BYTES - 1] = '5';
    text[LIMIT_DECIMAL_BYTES] = '\0';
    assert_canonical(text, "5");
    text[LIMIT_DECIMAL_BYTES] = '5';
    assert_refused(text, LIMIT_DECIMAL_BYTES + 1);
}

/* A random decimal as exchanges, or people, might write it. */
static size_t random_decimal(char *out, bool exponent)
{
    char *at = out;
    unsigned whole = random_below(random_below(8) ? 10 : 60),
             fraction = random_below(random_below(8) ? 12 : 60);

    if (random_below(3) == 0) {
        *at++ = "-+"[random_below(2)];
    }
    for (unsigned i = 0; i < whole; i++) {
        *at++ = (char)('0' + (random_below(3) ? random_below(10) : 0));
    }
    if (fraction > 0 || whole == 0 || random_below(8) == 0) {
        *at++ = '.';
    }
    for (unsigned i = 0; i < fraction + (whole == 0); i++) {
        *at++ = (char)('0' + (random_below(3) ? random_below(10) : 0));
    }
    if (exponent && random_below(3) == 0) {
        at += sprintf(at, "%c%d", "eE"[random_below(2)], (int)random_below(80) - 40);
    }
    *at = '\0';
    return (size_t)(at - out);
}

static void canonical_text_is_its_own_canonical_text_and_has_the_same_value(void **state)
{
    char text[LIMIT_DECIMAL_BYTES];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char *once = canonical_of(text, random_decimal(text, true));
        if (once == NULL) {
            continue;
        }
        assert_true(decimal_is_canonical(once, strlen(once)));
        char *twice = canonical_of(once, strlen(once));
        assert_string_equal(once, twice);
        assert_true(strtod(text, NULL) == strtod(once, NULL));
        free(once);
        free(twice);
    }
}

static void integers_become_their_digits(void **state)
{
    char out[DECIMAL_INTEGER_BYTES];

    (void)state;
    assert_int_equal(decimal_from_int64(INT64_MIN, out), 20);
    assert_memory_equal(out, "-9223372036854775808", 20);
    assert_int_equal(decimal_from_int64(INT64_MAX, out), 19);
    assert_memory_equal(out, "9223372036854775807", 19);
    assert_int_equal(decimal_from_uint64(UINT64_MAX, out), 20);
    assert_memory_equal(out, "18446744073709551615", 20);
    assert_int_equal(decimal_from_int64(0, out), 1);
    assert_memory_equal(out, "0", 1);
    assert_int_equal(decimal_from_int64(-10, out), 3);
    assert_memory_equal(out, "-10", 3);
}

static void assert_double(double value, const char *expected)
{
    char out[LIMIT_DECIMAL_BYTES + 1];
    int length = decimal_from_double(value, out);
    assert_true(length > 0);
    out[length] = '\0';
    assert_string_equal(out, expected);
}

static void doubles_become_their_shortest_digits(void **state)
{
    (void)state;
    assert_double(0.0, "0");
    assert_double(-0.0, "0");
    assert_double(0.1, "0.1");
    assert_double(-0.1, "-0.1");
    assert_double(0.1 + 0.2, "0.30000000000000004");
    assert_double(43210.1, "43210.1");
    assert_double(1e-8, "0.00000001");
    assert_double(1500, "1500");
    assert_double(1e15, "1000000000000000");
    assert_double(1e22, "10000000000000000000000");
    assert_double(1e23, "100000000000000000000000");
    assert_double(123456789012345.6, "123456789012345.6");
    assert_double(9007199254740993.0, "9007199254740992");
    assert_double(5e-15, "0.000000000000005");
    assert_double(1.0 / 3, "0.3333333333333333");
    assert_double(2.0 / 3, "0.6666666666666666");
    assert_double(0x1p-44, "0.00000000000005684341886080802"); /* the nearest of 16 digits, ...801,
                                                                  does not read back */
}

static void doubles_that_are_no_decimals_are_refused(void **state)
{
    char out[LIMIT_DECIMAL_BYTES];

    (void)state;
    assert_int_equal(decimal_from_double((double)NAN, out), -1);
    assert_int_equal(decimal_from_double((double)INFINITY, out), -1);
    assert_int_equal(decimal_from_double((double)-INFINITY, out), -1);
    assert_int_equal(decimal_from_double(1e128, out), -1);
    assert_int_equal(decimal_from_double(1e-128, out), -1);
    assert_int_equal(decimal_from_double(DBL_MAX, out), -1);
    assert_int_equal(decimal_from_double(5e-324, out), -1);
    assert_int_equal(decimal_from_float(NAN, out), -1);
    assert_int_equal(decimal_from_float(INFINITY, out), -1);
}

static unsigned significant(const char *text)
{
    unsigned count = 0, zeros = 0;

    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (*text == '0' && count == 0)) {
            continue;
        }
        count++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return count - zeros;
}

static void assert_shortest(double value)
{
    char out[LIMIT_DECIMAL_BYTES + 1], printed[64];
    int length = decimal_from_double(value, out);

    if (length < 0) { /* too many digits */
        return;
    }
    out[length] = '\0';
    assert_true(strtod(out, NULL) == value);
    for (int precision = 0; precision < 17; precision++) {
        snprintf(printed, sizeof printed, "%.*e", precision, value);
        if (strtod(printed, NULL) != value) {
            continue;
        }
        if (significant(out) > significant(printed)) {
            fail_msg("%s is not the shortest: %s", out, printed);
        }
        return;
    }
}

static void random_doubles_read_back_and_none_is_longer_than_need_be(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_next();
        double value;
        if (i % 2) { /* of a size that prices have */
            value = (double)random_below(1u << 30) / (double)(random_below(1000) + 1);
        } else {
            bits = (bits & ~(UINT64_C(0x7ff) << 52)) | (uint64_t)(1023 - 200 + random_below(400))
                                                           << 52;
            memcpy(&value, &bits, sizeof value);
        }
        assert_shortest(value);
    }
}

static void decimals_of_fifteen_digits_survive_a_double(void **state)
{
    char text[64], out[LIMIT_DECIMAL_BYTES + 1];

    (void)state;
    for (int i = 0; i < 100000; i++) {
        unsigned scale = 1 + random_below(14);
        uint64_t whole = random_next() % UINT64_C(1000000000000000);
        whole += whole % 10 == 0; /* no zero at the end */
        double power = 1;
        for (unsigned j = 0; j < scale; j++) {
            power *= 10;
        }
        double value = (double)whole / power;
        char digits[32];
        int count =
            snprintf(digits, sizeof digits, "%0*llu", (int)scale + 1, (unsigned long long)whole);
        snprintf(text, sizeof text, "%.*s.%s", count - (int)scale, digits, digits + count - scale);
        out[decimal_from_double(value, out)] = '\0';
        assert_string_equal(out, text);
    }
}

static void assert_float(float value, const char *expected)
{
    char out[LIMIT_DECIMAL_BYTES + 1];
    int length = decimal_from_float(value, out);
    assert_true(length > 0);
    out[length] = '\0';
    assert_string_equal(out, expected);
}

static void floats_become_the_shortest_digits_of_a_float(void **state)
{
    char out[LIMIT_DECIMAL_BYTES + 1];

    (void)state;
    assert_float(0.0f, "0");
    assert_float(0.1f, "0.1");
    assert_float(-43210.1f, "-43210.1");
    assert_float(16777216.0f, "16777216");
    assert_float(3.4028235e38f, "340282350000000000000000000000000000000");
    assert_float(1e-45f, "0.000000000000000000000000000000000000000000001");
    for (int i = 0; i < 100000; i++) {
        uint32_t bits = (uint32_t)random_next();
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        out[decimal_from_float(value, out)] = '\0';
        assert_true(strtof(out, NULL) == value);
        assert_true(significant(out) <= 9);
    }
}

static void digits_of_doubles_too_large_for_a_decimal_have_an_exponent(void **state)
{
    char out[DECIMAL_FLOAT_BYTES];

    (void)state;
    assert_int_equal(decimal_float_digits(1.5e300, false, out), (int)strlen("15e299"));
    assert_memory_equal(out, "15e299", 6);
    assert_int_equal(decimal_float_digits(5e-324, false, out), (int)strlen("5e-324"));
    assert_memory_equal(out, "5e-324", 6);
    assert_true(decimal_float_digits(-1.7976931348623157e308, false, out) < DECIMAL_FLOAT_BYTES);
    assert_true(decimal_float_digits(-2.2250738585072014e-308, false, out) < DECIMAL_FLOAT_BYTES);
}

static void numeric_is_byte_for_byte_that_of_postgresql(void **state)
{
    /* encode(numeric_send(text::numeric), 'hex') */
    static const char *const pairs[][2] = {
        {"0", "0000000000000000"},
        {"0.00", "0000000000000002"},
        {"1", "00010000000000000001"},
        {"-1", "00010000400000000001"},
        {"10.100", "0002000000000003000a03e8"},
        {"9999", "0001000000000000270f"},
        {"10000", "00010001000000000001"},
        {"10001", "000200010000000000010001"},
        {"123456789.987654321", "0006000200000009000109291a852694153803e8"},
        {"0.0001", "0001ffff000000040001"},
        {"0.00001", "0001fffe0000000503e8"},
        {"-0.00000092", "0001fffe40000008005c"},
        {"100000000", "00010002000000000001"},
        {"0.10000000", "0001ffff0000000803e8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        unsigned char out[DECIMAL_NUMERIC_BYTES_MAX];
        char hex[2 * DECIMAL_NUMERIC_BYTES_MAX + 1] = "";
        size_t length = decimal_to_numeric(pairs[i][0], strlen(pairs[i][0]), out);
        for (size_t j = 0; j < length; j++) {
            sprintf(hex + 2 * j, "%02x", out[j]);
        }
        if (strcmp(hex, pairs[i][1]) != 0) {
            fail_msg("%s is %s, not %s", pairs[i][0], hex, pairs[i][1]);
        }
    }
}

/* Returns the text that numeric_out would print. */
static void text_of_numeric(const unsigned char *numeric, char *out)
{
    int count = numeric[0] << 8 | numeric[1], weight = (int16_t)(numeric[2] << 8 | numeric[3]);
    int scale = numeric[6] << 8 | numeric[7];
    char whole[256] = "", fraction[256] = "", *at;

    for (int group = weight > 0 ? weight : 0; group >= -(scale + 3) / 4; group--) {
        int index = weight - group;
        const unsigned char *digits = numeric + 8 + 2 * index;
        int value = index >= 0 && index < count ? digits[0] << 8 | digits[1] : 0;
        at = group >= 0 ? whole : fraction;
        sprintf(at + strlen(at), "%04d", value);
    }
    for (at = whole; at[0] == '0' && at[1]; at++)
        ;
    sprintf(out, "%s%s%s%.*s", numeric[4] == 0x40 ? "-" : "", at, scale ? "." : "", scale,
            fraction);
}

static void numeric_reads_back_digit_for_digit(void **state)
{
    char text[LIMIT_DECIMAL_BYTES], back[1024];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char *canonical = canonical_of(text, random_decimal(text, true));
        if (canonical == NULL) {
            continue;
        }
        unsigned char *out = malloc(DECIMAL_NUMERIC_BYTES_MAX);
        size_t length = decimal_to_numeric(canonical, strlen(canonical), out);
        int count = out[0] << 8 | out[1];
        assert_int_equal(length, 8 + 2 * count);
        if (count > 0) { /* no groups of zeros at either end */
            assert_true(out[8] || out[9]);
            assert_true(out[length - 1] || out[length - 2]);
        }
        text_of_numeric(out, back);
        assert_string_equal(back, canonical);
        free(out);
        free(canonical);
    }
}

static void the_longest_decimals_fit_a_numeric(void **state)
{
    char text[LIMIT_DECIMAL_BYTES], back[1024];

    (void)state;
    for (unsigned whole = 1; whole <= LIMIT_DECIMAL_DIGITS; whole++) {
        unsigned char *out = malloc(DECIMAL_NUMERIC_BYTES_MAX);
        memset(text, '9', sizeof text);
        text[whole] = whole < LIMIT_DECIMAL_DIGITS ? '.' : '\0';
        text[LIMIT_DECIMAL_DIGITS + 1] = '\0';
        decimal_to_numeric(text, strlen(text), out);
        text_of_numeric(out, back);
        assert_string_equal(back, text);
        free(out);
    }
}

static void assert_order(const char *a, const char *b, int expected)
{
    assert_int_equal(decimal_compare(a, strlen(a), b, strlen(b)), expected);
    assert_int_equal(decimal_compare(b, strlen(b), a, strlen(a)), -expected);
}

static void comparison_is_by_value(void **state)
{
    (void)state;
    assert_order("10.0", "10", 0);
    assert_order("0", "0.00", 0);
    assert_order("10.01", "10", 1);
    assert_order("9", "10", -1);
    assert_order("9.9", "10", -1);
    assert_order("-9", "-10", 1);
    assert_order("-1", "1", -1);
    assert_order("-1", "0", -1);
    assert_order("0.1", "0.09", 1);
    assert_order("0.10", "0.1", 0);
    assert_order("0.101", "0.1", 1);
    assert_order("-0.101", "-0.1", -1);
    assert_order("123", "124", -1);
    assert_order("-123.40", "-123.4", 0);
}

static void comparison_agrees_with_doubles(void **state)
{
    char a[64], b[64], x[LIMIT_DECIMAL_BYTES + 1], y[LIMIT_DECIMAL_BYTES + 1];

    (void)state;
    for (int i = 0; i < 100000; i++) {
        snprintf(a, sizeof a, "%d.%0*d", (int)random_below(2000) - 1000, 1 + (int)random_below(3),
                 (int)random_below(10));
        snprintf(b, sizeof b, "%d.%0*d", (int)random_below(2000) - 1000, 1 + (int)random_below(3),
                 (int)random_below(10));
        int a_length = decimal_canonical(a, strlen(a), x),
            b_length = decimal_canonical(b, strlen(b), y);
        double difference = strtod(a, NULL) - strtod(b, NULL);
        assert_int_equal(decimal_compare(x, (size_t)a_length, y, (size_t)b_length),
                         (difference > 0) - (difference < 0));
    }
}

static void assert_sum(const char *a, const char *b, const char *expected)
{
    char out[LIMIT_DECIMAL_BYTES + 1];
    int length = decimal_add(a, strlen(a), b, strlen(b), out);

    assert_true(length > 0);
    out[length] = '\0';
    assert_string_equal(out, expected);
}

static void sums_are_exact(void **state)
{
    (void)state;
    assert_sum("0", "0", "0");
    assert_sum("0.1", "0.20", "0.30");
    assert_sum("9.99", "0.01", "10.00");
    assert_sum("-1", "1.0", "0.0");
    assert_sum("-1.5", "1", "-0.5");
    assert_sum("1", "-1000", "-999");
    assert_sum("-0.001", "-999.999", "-1000.000");
    assert_sum("12345678901234567890.5", "0.00000001", "12345678901234567890.50000001");
}

static void sums_agree_with_those_of_integers(void **state)
{
    char a[32], b[32], expected[32];

    (void)state;
    for (int i = 0; i < 100000; i++) {
        int64_t x = (int64_t)(random_next() >> (2 + random_below(60))) * (random_below(2) ? 1 : -1);
        int64_t y = (int64_t)(random_next() >> (2 + random_below(60))) * (random_below(2) ? 1 : -1);
        snprintf(a, sizeof a, "%lld", (long long)x);
        snprintf(b, sizeof b, "%lld", (long long)y);
        snprintf(expected, sizeof expected, "%lld", (long long)(x + y));
        assert_sum(a, b, expected);
    }
}

static void sums_of_too_many_digits_are_refused(void **state)
{
    char nines[LIMIT_DECIMAL_DIGITS + 1], small[LIMIT_DECIMAL_DIGITS + 2], out[LIMIT_DECIMAL_BYTES];

    (void)state;
    memset(nines, '9', LIMIT_DECIMAL_DIGITS);
    memset(small, '1', LIMIT_DECIMAL_DIGITS + 1);
    memcpy(small, "0.", 2);
    assert_int_equal(decimal_add(nines, LIMIT_DECIMAL_DIGITS, "1", 1, out), -1);
    assert_int_equal(decimal_add(nines, LIMIT_DECIMAL_DIGITS, small, LIMIT_DECIMAL_DIGITS + 1, out),
                     -1);
    assert_int_equal(decimal_add(nines, LIMIT_DECIMAL_DIGITS, "0", 1, out), LIMIT_DECIMAL_DIGITS);
    assert_int_equal(decimal_add(small, LIMIT_DECIMAL_DIGITS + 1, "-2", 2, out),
                     LIMIT_DECIMAL_DIGITS + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_text_is_what_postgresql_prints),
        cmocka_unit_test(what_is_no_finite_decimal_is_refused),
        cmocka_unit_test(exponents_beyond_all_bounds_are_refused_without_overflow),
        cmocka_unit_test(digits_up_to_the_limit_are_kept_and_one_more_is_refused),
        cmocka_unit_test(leading_zeros_do_not_count_as_digits_but_length_is_bounded),
        cmocka_unit_test(canonical_text_is_its_own_canonical_text_and_has_the_same_value),
        cmocka_unit_test(integers_become_their_digits),
        cmocka_unit_test(doubles_become_their_shortest_digits),
        cmocka_unit_test(doubles_that_are_no_decimals_are_refused),
        cmocka_unit_test(random_doubles_read_back_and_none_is_longer_than_need_be),
        cmocka_unit_test(decimals_of_fifteen_digits_survive_a_double),
        cmocka_unit_test(floats_become_the_shortest_digits_of_a_float),
        cmocka_unit_test(digits_of_doubles_too_large_for_a_decimal_have_an_exponent),
        cmocka_unit_test(numeric_is_byte_for_byte_that_of_postgresql),
        cmocka_unit_test(numeric_reads_back_digit_for_digit),
        cmocka_unit_test(the_longest_decimals_fit_a_numeric),
        cmocka_unit_test(comparison_is_by_value),
        cmocka_unit_test(comparison_agrees_with_doubles),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(sums_agree_with_those_of_integers),
        cmocka_unit_test(sums_of_too_many_digits_are_refused),
    };
    random_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
