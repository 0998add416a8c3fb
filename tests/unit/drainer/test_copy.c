/* test_copy.c: rows of COPY BINARY. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/copy.h"
#include "schema/decimal.h"
#include "tests/unit/random_input.h"

static uint32_t columns[RECORD_FIELDS_MAX]; /* of the row put last */

static struct record_value text(const char *bytes)
{
    return (struct record_value){
        .bytes = bytes, .length = (uint32_t)strlen(bytes), .present = true};
}

static struct record_value number(int64_t value)
{
    return (struct record_value){.integer = value, .present = true};
}

/* --- the format --- */

#define ABSENT 0xff, 0xff, 0xff, 0xff

static void record_becomes_the_bytes_of_the_manual(void **state)
{
    struct record record = {.kind = RECORD_TRADE};
    struct copy_buffer buffer = {0};
    static const unsigned char
        expected
            [] =
                {
                    0,      26, /* columns */
                    0,      0,      0,      8,      0,    0,    0,    0,
                    0,      0,      0,      7, /* producer_id 7 */
                    0,      0,      0,      8,      0,    0,    0,    0,
                    0,      0,      0x01,   0x02, /* seq 258 */
                    0,      0,      0,      8,      0,    0,    0,    0,
                    0,      0,      0,      1, /* recorded_at 2000-01-01 00:00:00.000001 */
                    0,      0,      0,      3,      'o',  'k',  'x', /* exchange */
                    ABSENT,                                          /* lane */
                    0,      0,      0,      8,      0xff, 0xff, 0xff, 0xff,
                    0xff,   0xff,   0xff,   0xff, /* exchange_time 1999-12-31 23:59:59.999999 */
                    ABSENT, ABSENT,               /* account, strategy */
                    0,      0,      0,      4,      'B',  0xc3, 0x9f, 'T', /* symbol */
                    ABSENT, ABSENT, ABSENT, ABSENT, /* market_type ... trade_id */
                    0,      0,      0,      0,      /* side: given, empty */
                    ABSENT,                         /* position_side */
                    0,      0,      0,      14,     0,    3,    0,    1,
                    0,      0,      0,      3, /* price 12345.678: 3 digits, weight 1, scale 3 */
                    0,      1,      0x09,   0x29,   0x1a, 0x7c, /* 0001 2345 6780 */
                    0,      0,      0,      10,     0,    1,    0xff, 0xff,
                    0x40,   0,      0,      1,      /* quantity -0.5 */
                    0x13,   0x88,                   /* 5000 */
                    ABSENT, ABSENT, ABSENT, ABSENT, /* cost ... fee_rate */
                    0,      0,      0,      10,     1,    '{',  '"',  'B',
                    'T',    'C',    '"',    ':',    '0',  '}',       /* fees */
                    ABSENT, ABSENT, ABSENT,                          /* liquidity ... origin */
                    0,      0,      0,      3,      1,    '{',  '}', /* extra: version 1, then the
                                                                        text */
                };

    (void)state;
    record.values[IDENTITY_producer_id] = number(7);
    record.values[IDENTITY_seq] = number(258);
    record.values[IDENTITY_recorded_at] = number(INT64_C(946684800000001000));
    record.values[IDENTITY_exchange] = text("okx");
    record.values[TRADE_exchange_time] = number(INT64_C(946684799999999000));
    record.values[TRADE_symbol] = text("B\xc3\x9fT");
    record.values[TRADE_side] = text("");
    record.values[TRADE_price] = text("12345.678");
    record.values[TRADE_quantity] = text("-0.5");
    record.values[TRADE_fees] = text("{\"BTC\":0}");
    record.values[TRADE_extra] = text("{}");
    copy_put_record(&buffer, &record, columns);
    assert_int_equal(buffer.length, sizeof expected);
    assert_memory_equal(buffer.bytes, expected, sizeof expected);
    copy_buffer_release(&buffer);
}

static void truth_values_are_one_byte(void **state)
{
    struct record record = {.kind = RECORD_ORDER};
    struct copy_buffer buffer = {0};
    struct copy_field fields[ORDER_FIELDS];

    (void)state;
    record.values[ORDER_post_only] = number(1);
    record.values[ORDER_reduce_only] = number(0);
    copy_put_record(&buffer, &record, columns);
    copy_split_row(buffer.bytes, fields, ORDER_FIELDS);
    assert_int_equal(fields[ORDER_post_only].length, 1);
    assert_int_equal(fields[ORDER_post_only].bytes[0], 1);
    assert_int_equal(fields[ORDER_reduce_only].length, 1);
    assert_int_equal(fields[ORDER_reduce_only].bytes[0], 0);
    assert_int_equal(fields[ORDER_extra].length, -1);
    copy_buffer_release(&buffer);
}

static void single_columns_become_the_bytes_of_the_manual(void **state)
{
    struct copy_buffer buffer = {0};
    static const unsigned char expected[] = {
        0,    13,   ABSENT, 0, 0, 0, 2, 0xff, 0, 0, 0, 0, 1, 'x', ABSENT, 0, 0, 0, 4, 0xff,
        0xff, 0xff, 0xfe,   0, 0, 0, 8, 0x80, 0, 0, 0, 0, 0, 0,   0,      0, 0, 0, 1, 1};

    (void)state;
    copy_put_row_head(&buffer, 13);
    copy_put_null(&buffer);
    copy_put_bytes(&buffer, "\xff\0", 2);
    copy_put_text(&buffer, "x");
    copy_put_text(&buffer, NULL);
    copy_put_int32(&buffer, -2);
    copy_put_int64(&buffer, INT64_MIN);
    copy_put_bool(&buffer, 42);
    assert_int_equal(buffer.length, sizeof expected);
    assert_memory_equal(buffer.bytes, expected, sizeof expected);
    copy_buffer_release(&buffer);
}

static void head_and_tail_are_those_of_the_manual(void **state)
{
    (void)state;
    assert_memory_equal(copy_head, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", COPY_HEAD_BYTES);
    assert_memory_equal(copy_tail, "\377\377", COPY_TAIL_BYTES);
}

/* --- times --- */

static void times_are_microseconds_since_2000(void **state)
{
    (void)state;
    assert_true(copy_timestamp(INT64_C(946684800000000000)) == 0);
    assert_true(copy_timestamp(0) == -INT64_C(946684800000000));
    assert_true(copy_timestamp(INT64_C(1767225600123456789)) == INT64_C(820540800123456));
}

static void part_of_a_microsecond_is_cut_towards_the_past(void **state)
{
    (void)state;
    assert_true(copy_timestamp(INT64_C(946684800000000999)) == 0);
    assert_true(copy_timestamp(INT64_C(946684799999999999)) == -1);
    assert_true(copy_timestamp(999) == copy_timestamp(0));
    assert_true(copy_timestamp(-1) == copy_timestamp(0) - 1);
    assert_true(copy_timestamp(-1000) == copy_timestamp(0) - 1);
    assert_true(copy_timestamp(-1001) == copy_timestamp(0) - 2);
}

static void largest_and_smallest_times_do_not_overflow(void **state)
{
    (void)state;
    assert_true(copy_timestamp(INT64_MAX) == INT64_C(9223372036854775) - INT64_C(946684800000000));
    assert_true(copy_timestamp(INT64_MIN) == -INT64_C(9223372036854776) - INT64_C(946684800000000));
}

static void later_time_is_never_the_smaller_timestamp(void **state)
{
    (void)state;
    random_begin();
    for (int i = 0; i < 100000; i++) {
        int64_t ns = (int64_t)random_next();

        assert_true(ns == INT64_MAX || copy_timestamp(ns) <= copy_timestamp(ns + 1));
        assert_true(ns > INT64_MAX - 1000 || copy_timestamp(ns) + 1 == copy_timestamp(ns + 1000));
    }
}

/* --- numerics --- */

/* Few different digits and scales, so that equal and nearly equal pairs come up. */
static size_t random_decimal(char *out)
{
    char raw[128];
    size_t length = 0;
    unsigned whole = random_below(random_below(8) == 0 ? 40 : 6),
             fraction = random_below(random_below(8) == 0 ? 40 : 6);

    if (random_below(2)) {
        raw[length++] = '-';
    }
    for (unsigned i = 0; i < whole; i++) {
        raw[length++] = "0019"[random_below(4)];
    }
    raw[length++] = (char)('0' + random_below(2));
    raw[length++] = '.';
    for (unsigned i = 0; i < fraction; i++) {
        raw[length++] = "0019"[random_below(4)];
    }
    int made = decimal_canonical(raw, length, out);

    assert_true(made > 0);
    return (size_t)made;
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void binary_numerics_compare_as_their_decimals_do(void **state)
{
    (void)state;
    random_begin();
    for (int i = 0; i < 300000; i++) {
        char a[LIMIT_DECIMAL_BYTES], b[LIMIT_DECIMAL_BYTES];
        unsigned char a_bytes[DECIMAL_NUMERIC_BYTES_MAX], b_bytes[DECIMAL_NUMERIC_BYTES_MAX];
        size_t a_length = random_decimal(a), b_length = random_decimal(b);
        struct copy_field x = {a_bytes, (int32_t)decimal_to_numeric(a, a_length, a_bytes)};
        struct copy_field y = {b_bytes, (int32_t)decimal_to_numeric(b, b_length, b_bytes)};
        int expected = sign(decimal_compare(a, a_length, b, b_length));

        if (sign(copy_numeric_compare(&x, &y)) != expected ||
            sign(copy_numeric_compare(&y, &x)) != -expected) {
            fail_msg("%.*s and %.*s", (int)a_length, a, (int)b_length, b);
        }
    }
}

/* --- reading rows back --- */

static void split_row_gives_back_what_was_written(void **state)
{
    static char names[RECORD_FIELDS_MAX][300];
    struct copy_buffer buffer = {0};

    (void)state;
    random_begin();
    for (int round = 0; round < 2000; round++) {
        struct record record = {.kind = (enum record_kind)random_below(RECORD_KINDS)};
        const struct record_schema *schema = &record_schemas[record.kind];
        struct copy_field fields[RECORD_FIELDS_MAX];
        size_t before = buffer.length;

        for (unsigned i = 0; i < schema->field_count; i++) {
            if (random_below(3) == 0) {
                continue;
            }
            switch (schema->fields[i].kind) {
            case FIELD_TEXT:
            case FIELD_JSON:
                record.values[i] = (struct record_value){
                    .bytes = names[i], .length = random_below(300), .present = true};
                memset(names[i], 'a' + (int)random_below(26), record.values[i].length);
                break;
            case FIELD_DECIMAL:
                record.values[i] = text("-17.250");
                break;
            default:
                record.values[i] = number((int64_t)random_next());
            }
        }
        copy_put_record(&buffer, &record, columns);
        copy_split_row(buffer.bytes + before, fields, schema->field_count);
        for (unsigned i = 0; i < schema->field_count; i++) {
            const struct record_value *value = &record.values[i];

            assert_ptr_equal(buffer.bytes + columns[i] + 4, fields[i].bytes);
            if (!value->present) {
                assert_int_equal(fields[i].length, -1);
            } else if (schema->fields[i].kind == FIELD_TEXT) {
                assert_int_equal(fields[i].length, value->length);
                assert_memory_equal(fields[i].bytes, value->bytes, value->length);
            } else if (schema->fields[i].kind == FIELD_INT) {
                assert_true(copy_field_int64(&fields[i]) == value->integer);
            } else if (schema->fields[i].kind == FIELD_TIME) {
                assert_true(copy_field_int64(&fields[i]) == copy_timestamp(value->integer));
            }
        }
        const struct copy_field *last = &fields[schema->field_count - 1];
        assert_ptr_equal(last->bytes + (last->length > 0 ? last->length : 0),
                         buffer.bytes + buffer.length);
    }
    copy_buffer_release(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_becomes_the_bytes_of_the_manual),
        cmocka_unit_test(truth_values_are_one_byte),
        cmocka_unit_test(single_columns_become_the_bytes_of_the_manual),
        cmocka_unit_test(head_and_tail_are_those_of_the_manual),
        cmocka_unit_test(times_are_microseconds_since_2000),
        cmocka_unit_test(part_of_a_microsecond_is_cut_towards_the_past),
        cmocka_unit_test(largest_and_smallest_times_do_not_overflow),
        cmocka_unit_test(later_time_is_never_the_smaller_timestamp),
        cmocka_unit_test(binary_numerics_compare_as_their_decimals_do),
        cmocka_unit_test(split_row_gives_back_what_was_written),
    };
    return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
