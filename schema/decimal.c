/* decimal.c: decimals as text, and as PostgreSQL's binary numeric.
 *
 * Exchanges send prices as text, and text is what is kept: digits are moved, never computed. A
 * number is read into its significant digits and the place of its point, and written out again; an
 * exponent only moves the point. The result is what PostgreSQL prints for the numeric of the same
 * text: 1E5 is 100000, 1.50E1 is 15.0, 0E-3 is 0.000, -0.0 is 0.0.
 *
 * Where a number does arrive in binary floating point, its shortest digits that read back as the
 * same value are taken. Those of most prices are found by arithmetic that is exact; the rest by
 * printing and reading back. Neither depends on the locale. */
#include "schema/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* --- canonical text --- */

/* 0.digits × 10^point, with `scale` digits behind the point once written without exponent. */
struct number {
    bool negative;
    int digit_count; /* without leading zeros; none: the number is zero */
    int point;
    int scale;
    char digits[LIMIT_DECIMAL_BYTES];
};

/* Far beyond what LIMIT_DECIMAL_DIGITS lets through, and far from overflow. */
enum { EXPONENT_MAX = 100000 };

/* Reads the `E-7` of 9.2E-7, or nothing. Returns false where there is something else. */
static bool parse_exponent(const char *at, const char *end, int *exponent)
{
    *exponent = 0;
    if (at == end) {
        return true;
    }
    if (*at != 'e' && *at != 'E') {
        return false;
    }
    at++;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) {
        at++;
    }
    if (at == end) {
        return false;
    }
    for (; at < end; at++) {
        if (!is_digit(*at)) {
            return false;
        }
        if (*exponent < EXPONENT_MAX) {
            *exponent = *exponent * 10 + (*at - '0');
        }
    }
    if (negative) {
        *exponent = -*exponent;
    }
    return true;
}

static bool parse_number(const char *at, const char *end, struct number *number)
{
    int seen = 0, behind_point = 0, exponent;
    bool point_seen = false;

    number->digit_count = 0;
    number->negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) {
        at++;
    }
    for (; at < end && (is_digit(*at) || (*at == '.' && !point_seen)); at++) {
        if (*at == '.') {
            point_seen = true;
            continue;
        }
        seen++;
        behind_point += point_seen;
        if (*at != '0' || number->digit_count > 0) {
            number->digits[number->digit_count++] = *at;
        }
    }
    if (seen == 0 || !parse_exponent(at, end, &exponent)) {
        return false;
    }
    number->scale = behind_point > exponent ? behind_point - exponent : 0;
    number->point = number->digit_count > 0 ? number->digit_count - behind_point + exponent : 0;
    return true;
}

/* Returns the digit `position` places right of where the digits begin; zeros lie on both sides of
 * them. */
static char digit_at(const struct number *number, int position)
{
    return position >= 0 && position < number->digit_count ? number->digits[position] : '0';
}

int decimal_canonical(const char *text, size_t length, char *out)
{
    struct number number;
    char *at = out;

    if (length > LIMIT_DECIMAL_BYTES || !parse_number(text, text + length, &number)) {
        return -1;
    }
    int before_point = number.point > 0 ? number.point : 1;
    if (before_point + number.scale > LIMIT_DECIMAL_DIGITS) {
        return -1;
    }
    if (number.negative && number.digit_count > 0) {
        *at++ = '-';
    }
    for (int i = number.point - before_point; i < number.point; i++) {
        *at++ = digit_at(&number, i);
    }
    if (number.scale > 0) {
        *at++ = '.';
    }
    for (int i = number.point; i < number.point + number.scale; i++) {
        *at++ = digit_at(&number, i);
    }
    return (int)(at - out);
}

bool decimal_is_canonical(const char *text, size_t length)
{
    const char *at = text, *end = text + length;
    bool negative = at < end && *at == '-';
    bool not_zero = false;

    const char *first = at += negative;
    for (; at < end && is_digit(*at); at++) {
        not_zero |= *at != '0';
    }
    if (at == first || (*first == '0' && at > first + 1)) {
        return false;
    }
    size_t digits = (size_t)(at - first);
    if (at < end && *at == '.') {
        const char *point = at++;
        for (; at < end && is_digit(*at); at++) {
            not_zero |= *at != '0';
        }
        digits += (size_t)(at - point - 1);
        if (at == point + 1) {
            return false;
        }
    }
    return at == end && digits <= LIMIT_DECIMAL_DIGITS && (not_zero || !negative);
}

/* --- from numbers --- */

int decimal_from_uint64(uint64_t value, char *out)
{
    char digits[DECIMAL_INTEGER_BYTES], *at = digits + sizeof digits;

    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    int count = (int)(digits + sizeof digits - at);
    memcpy(out, at, (size_t)count);
    return count;
}

int decimal_from_int64(int64_t value, char *out)
{
    if (value >= 0) {
        return decimal_from_uint64((uint64_t)value, out);
    }
    out[0] = '-';
    return 1 + decimal_from_uint64(-(uint64_t)value, out + 1);
}

/* Appends e<exponent> and a NUL to the digits that end at `at`. Returns the whole length. */
static int append_exponent(char *out, char *at, int exponent)
{
    *at++ = 'e';
    at += decimal_from_int64(exponent, at);
    *at = '\0';
    return (int)(at - out);
}

/* Finds the digits of a double that has at most 15 of them and at most 15 behind the point, else
 * returns 0. Integers to 10^15 and powers of ten to 10^15 are exact and a division rounds
 * correctly, so whole / power is what reading the decimal would give; and of 15 digits or fewer
 * only one decimal gives this double. */
static int few_digits(double value, char *out)
{
    double power = 1;

    for (int scale = 0; scale <= 15; scale++, power *= 10) {
        double shifted = value * power;
        if (!(fabs(shifted) < 1e15)) {
            return 0;
        }
        int64_t whole = (int64_t)(shifted < 0 ? shifted - 0.5 : shifted + 0.5);
        if ((double)whole / power == value) {
            return append_exponent(out, out + decimal_from_int64(whole, out), -scale);
        }
    }
    return 0;
}

/* Writes `precision` significant digits of the value, without a point as the locale has a say in
 * that. */
static int print_digits(double value, int precision, char *out)
{
    char printed[64], *at = out;
    const char *from = printed;

    snprintf(printed, sizeof printed, "%.*e", precision - 1, value);
    if (*from == '-') {
        *at++ = *from++;
    }
    for (; *from != 'e'; from++) {
        if (is_digit(*from)) {
            *at++ = *from;
        }
    }
    int exponent = atoi(from + 1) - (precision - 1);
    for (; at[-1] == '0' && at - 1 > out && is_digit(at[-2]); at--) {
        exponent++;
    }
    return append_exponent(out, at, exponent);
}

static bool reads_back(const char *text, double value, bool is_float)
{
    return is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value;
}

/* Tries the next decimal up from the nearest: at a power of two the doubles above are twice as far
 * apart as those below, and it may be the one that reads back. */
static bool next_reads_back(char *text, double value, bool is_float)
{
    char *last = strchr(text, 'e') - 1;

    if (*last == '9') {
        return false;
    }
    ++*last;
    return reads_back(text, value, is_float);
}

int decimal_float_digits(double value, bool is_float, char *out)
{
    /* Below the smallest normal number precision fades, so that one digit may do. */
    bool normal = fabs(value) >= (is_float ? (double)1.17549435e-38F : 2.2250738585072014e-308);
    int precision = !normal ? 1 : is_float ? 6 : 15;
    int enough = is_float ? 9 : 17;
    int length = is_float ? 0 : few_digits(value, out);

    if (length > 0) {
        return length;
    }
    for (;; precision++) {
        length = print_digits(value, precision, out);
        if (precision == enough || reads_back(out, value, is_float) ||
            next_reads_back(out, value, is_float)) {
            return length;
        }
    }
}

static int from_floating(double value, bool is_float, char *out)
{
    char digits[DECIMAL_FLOAT_BYTES];

    if (!isfinite(value)) {
        return -1;
    }
    return decimal_canonical(digits, (size_t)decimal_float_digits(value, is_float, digits), out);
}

int decimal_from_double(double value, char *out)
{
    return from_floating(value, false, out);
}

int decimal_from_float(float value, char *out)
{
    return from_floating((double)value, true, out);
}

/* --- PostgreSQL's numeric --- */

/* int16 group count, int16 weight of the first group, uint16 sign, uint16 scale, then the groups:
 * four decimal digits each, aligned at the point, without groups of zeros at either end. */
enum { NUMERIC_HEAD_BYTES = 8 };
#define NUMERIC_NEGATIVE 0x4000

static void put_uint16(unsigned char *out, unsigned value)
{
    out[0] = (unsigned char)(value >> 8);
    out[1] = (unsigned char)value;
}

struct groups {
    unsigned char *out; /* where the first group goes */
    unsigned count;
    unsigned skipped; /* groups of zeros before the first other */
};

static void add_group(struct groups *groups, unsigned value)
{
    if (groups->count > 0 || value > 0) {
        put_uint16(groups->out + 2 * groups->count++, value);
    } else {
        groups->skipped++;
    }
}

/* Returns the value of up to four digits. */
static unsigned digits_value(const char *at, unsigned count)
{
    unsigned value = 0;

    for (unsigned i = 0; i < count; i++) {
        value = value * 10 + (unsigned)(at[i] - '0');
    }
    return value;
}

/* Adds groups of the digits before the point: the first has what is over. */
static void add_whole(struct groups *groups, const char *at, unsigned count)
{
    for (unsigned digits = (count + 3) % 4 + 1; count > 0; digits = 4) {
        add_group(groups, digits_value(at, digits));
        at += digits;
        count -= digits;
    }
}

/* Adds the digits behind the point: the last group is filled up with zeros. */
static void add_fraction(struct groups *groups, const char *at, unsigned count)
{
    static const unsigned filling[] = {0, 1000, 100, 10};
    unsigned over = count % 4;

    for (const char *last = at + count - over; at < last; at += 4) {
        add_group(groups, digits_value(at, 4));
    }
    if (over > 0) {
        add_group(groups, digits_value(at, over) * filling[over]);
    }
}

size_t decimal_to_numeric(const char *canonical, size_t length, unsigned char *out)
{
    const char *at = canonical, *end = canonical + length;
    bool negative = at < end && *at == '-';
    at += negative;
    const char *point = at;
    while (point < end && *point != '.') {
        point++;
    }
    unsigned whole = (unsigned)(point - at);
    unsigned scale = point < end ? (unsigned)(end - point - 1) : 0;
    struct groups groups = {.out = out + NUMERIC_HEAD_BYTES};

    add_whole(&groups, at, whole);
    add_fraction(&groups, end - scale, scale);
    while (groups.count > 0 && !groups.out[2 * groups.count - 2] &&
           !groups.out[2 * groups.count - 1]) {
        groups.count--;
    }
    put_uint16(out, groups.count);
    put_uint16(out + 2, groups.count > 0 ? (whole + 3) / 4 - 1 - groups.skipped : 0);
    put_uint16(out + 4, negative ? NUMERIC_NEGATIVE : 0); /* no canonical zero is negative */
    put_uint16(out + 6, scale);
    return NUMERIC_HEAD_BYTES + 2 * groups.count;
}

/* --- sums --- */

enum { SUM_PLACES = LIMIT_DECIMAL_DIGITS + 1 }; /* on either side of the point */

/* Adds the digits of a canonical decimal to those of a sum, whose point is in the middle; each
 * keeps its own sign. Returns the scale. */
static int add_digits(int8_t sum[2 * SUM_PLACES], const char *text, size_t length)
{
    int sign = text[0] == '-' ? -1 : 1;
    const char *at = text + (sign < 0), *end = text + length;
    const char *point = memchr(at, '.', (size_t)(end - at));
    int place = SUM_PLACES - (int)((point != NULL ? point : end) - at);

    for (; at < end; at++) {
        if (at != point) {
            sum[place++] += (int8_t)(sign * (*at - '0'));
        }
    }
    return place - SUM_PLACES;
}

/* Makes digits from 0 to 9 of those from -18 to 18. Returns false, with all signs turned, if the
 * sum is negative. */
static bool carry_digits(int8_t sum[2 * SUM_PLACES])
{
    int first = 0;
    while (first < 2 * SUM_PLACES - 1 && sum[first] == 0) {
        first++;
    }
    bool positive = sum[first] >= 0;
    for (int i = 2 * SUM_PLACES - 1; i >= 0 && !positive; i--) {
        sum[i] = (int8_t)-sum[i];
    }
    for (int i = 2 * SUM_PLACES - 1; i > 0; i--) {
        int carry = sum[i] < 0 ? -((9 - sum[i]) / 10) : sum[i] / 10;
        sum[i] = (int8_t)(sum[i] - 10 * carry);
        sum[i - 1] = (int8_t)(sum[i - 1] + carry);
    }
    return positive;
}

int decimal_add(const char *a, size_t a_length, const char *b, size_t b_length, char *out)
{
    int8_t sum[2 * SUM_PLACES] = {0};
    int a_scale = add_digits(sum, a, a_length), b_scale = add_digits(sum, b, b_length);
    int scale = a_scale > b_scale ? a_scale : b_scale, first = 0;
    char *at = out;

    bool positive = carry_digits(sum);
    while (first < SUM_PLACES - 1 && sum[first] == 0) {
        first++;
    }
    if (SUM_PLACES - first + scale > LIMIT_DECIMAL_DIGITS) {
        return -1;
    }
    if (!positive) {
        *at++ = '-';
    }
    for (int place = first; place < SUM_PLACES + scale; place++) {
        if (place == SUM_PLACES) {
            *at++ = '.';
        }
        *at++ = (char)('0' + sum[place]);
    }
    return (int)(at - out);
}

/* --- comparison --- */

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

/* Gives the end of the whole part. */
static const char *point_or_end(const char *at, const char *end)
{
    const char *point = memchr(at, '.', (size_t)(end - at));
    return point != NULL ? point : end;
}

static int compare_fractions(const char *a, const char *a_end, const char *b, const char *b_end)
{
    for (ptrdiff_t i = 0; i < a_end - a || i < b_end - b; i++) {
        int difference = (i < a_end - a ? a[i] : '0') - (i < b_end - b ? b[i] : '0');
        if (difference) {
            return sign(difference);
        }
    }
    return 0;
}

static int compare_magnitudes(const char *a, const char *a_end, const char *b, const char *b_end)
{
    const char *a_point = point_or_end(a, a_end), *b_point = point_or_end(b, b_end);

    if (a_point - a != b_point - b) { /* no leading zeros: more digits are more */
        return a_point - a > b_point - b ? 1 : -1;
    }
    int order = memcmp(a, b, (size_t)(a_point - a));
    if (order) {
        return sign(order);
    }
    return compare_fractions(a_point + (a_point < a_end), a_end, b_point + (b_point < b_end),
                             b_end);
}

int decimal_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    bool a_negative = a[0] == '-', b_negative = b[0] == '-';

    if (a_negative != b_negative) { /* there is no negative zero */
        return a_negative ? -1 : 1;
    }
    int order = compare_magnitudes(a + a_negative, a + a_length, b + b_negative, b + b_length);
    return a_negative ? -order : order;
}
