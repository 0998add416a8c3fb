/* Decoding of what msgpack-c packed, of what record_encode_* wrote, and of bytes that nobody should have sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <msgpack.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/record.h"
#include "tests/unit/random_input.h"

static msgpack_sbuffer packed;
static msgpack_packer pack;
static struct record record;
static struct record_problem problem;
static char scratch_bytes[RECORD_SCRATCH_BYTES];
static struct record_scratch scratch = {scratch_bytes, sizeof scratch_bytes, 0};

static int begin_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pack, &packed, msgpack_sbuffer_write);
    return 0;
}

static int end_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_destroy(&packed);
    return 0;
}

/* Decodes from memory that ends where the bytes do. */
static int decode_bytes(enum record_kind kind, const void *bytes, size_t length)
{
    unsigned char *exact = malloc(length + (length == 0));
    static unsigned char *kept; /* what record points into */

    memcpy(exact, bytes, length);
    free(kept);
    kept = exact;
    memset(&record, 0xa5, sizeof record);
    return record_decode(kind, exact, length, &scratch, &record, &problem);
}

static int decode_packed(enum record_kind kind)
{
    int result = decode_bytes(kind, packed.data, packed.size);
    msgpack_sbuffer_clear(&packed);
    return result;
}

static void pack_map(size_t pairs)
{
    msgpack_pack_map(&pack, pairs);
}

static void pack_text(const char *text)
{
    msgpack_pack_str_with_body(&pack, text, strlen(text));
}

/* An order that is complete, and of which one more value follows under this name. */
static void pack_order_with(const char *name)
{
    pack_map(2);
    pack_text(strcmp(name, "order_id") == 0 ? "client_order_id" : "order_id");
    pack_text("1");
    pack_text(name);
}

static void assert_decodes(void)
{
    if (decode_packed(RECORD_ORDER) != 0)
        fail_msg("%s: %s", problem.field ? problem.field : "record", record_fault_text(problem.fault));
    assert_int_equal(problem.fault, RECORD_FAULT_NONE);
}

static void assert_fault(enum record_fault fault, const char *field)
{
    assert_int_equal(decode_packed(RECORD_ORDER), -1);
    assert_int_equal(problem.fault, fault);
    if (field)
        assert_string_equal(problem.field ? problem.field : "(none)", field);
    else
        assert_null(problem.field);
}

static void assert_value(const struct record_value *value, const char *expected)
{
    assert_true(value->present);
    if (value->length != strlen(expected) || memcmp(value->bytes, expected, value->length) != 0)
        fail_msg("%.*s is not %s", (int)value->length, value->bytes, expected);
}

static void assert_price(const char *expected)
{
    assert_decodes();
    assert_value(&record.values[ORDER_price], expected);
}

static void assert_extra(const char *expected)
{
    assert_decodes();
    assert_value(&record.values[ORDER_extra], expected);
    assert_int_equal(json_object_check(record.values[ORDER_extra].bytes, record.values[ORDER_extra].length), RECORD_FAULT_NONE);
}

/* --- round trip ---------------------------------------------------------------------------------------------------------- */

static const struct record_identity identity = {7, 42, INT64_C(1700000000123456789), "binance"};
static unsigned char wire[LIMIT_RECORD_BYTES];

static size_t encode_order(const struct blotter_order *order)
{
    static unsigned char body[LIMIT_RECORD_BYTES];
    unsigned fields;
    int length = record_encode_order(order, body, sizeof body, &fields, &problem);

    assert_true(length >= 0);
    size_t head = record_encode_head(&identity, fields, wire);
    memcpy(wire + head, body, (size_t)length);
    return head + (size_t)length;
}

static void assert_same_text(const struct record_value *value, const char *given)
{
    if (given)
        assert_value(value, given);
    else
        assert_false(value->present);
}

static void assert_same_decimal(const struct record_value *value, const char *given)
{
    char canonical[LIMIT_DECIMAL_BYTES + 1];

    if (given)
        canonical[decimal_canonical(given, strlen(given), canonical)] = '\0';
    assert_same_text(value, given ? canonical : NULL);
}

static void assert_same_integer(const struct record_value *value, int64_t given)
{
    assert_int_equal(value->present, given != 0);
    assert_true(value->integer == given);
}

static void assert_same_bool(const struct record_value *value, enum blotter_bool given)
{
    assert_int_equal(value->present, given != BLOTTER_ABSENT);
    assert_int_equal(value->integer, given == BLOTTER_TRUE);
}

#define SAME_TEXT assert_same_text
#define SAME_DECIMAL assert_same_decimal
#define SAME_JSON assert_same_text
#define SAME_TIME assert_same_integer
#define SAME_INT assert_same_integer
#define SAME_BOOL assert_same_bool

static const char *random_text(void)
{
    static char texts[64][128];
    static unsigned next;
    char *out = texts[next++ % 64];
    unsigned length = random_below(random_below(4) ? 30 : 120);

    memset(out, 0, sizeof texts[0]);
    for (unsigned i = 0; i < length; i++)
        out[i] = (char)(1 + random_below(127));
    if (length > 2 && random_below(4) == 0)
        memcpy(out, "\xc3\xa4", 2);
    return out;
}

static const char *random_decimal(void)
{
    static const char *const texts[] = {"0",  "-0.00", "1E5", "9.2E-7", "43210.10", "0.001", "-12345678901234567890.5",
                                        ".5", "+7."};
    static char numbers[64][32];
    static unsigned next;
    char *out = numbers[next++ % 64];

    if (random_below(3) == 0)
        return texts[random_below(sizeof texts / sizeof texts[0])];
    snprintf(out, sizeof numbers[0], "%u.%0*u", random_below(1000000), 1 + (int)random_below(8), random_below(10));
    return out;
}

static void random_orders_come_back_as_they_were(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct blotter_order order = {0};
#define RANDOM_TEXT random_text()
#define RANDOM_DECIMAL random_decimal()
#define RANDOM_JSON "{ \"a\" : 1.10 }"
#define RANDOM_TIME (int64_t) random_next()
#define RANDOM_INT (int64_t) random_next()
#define RANDOM_BOOL (enum blotter_bool)(1 + random_below(2))
#define RANDOM(name, kind, meaning) \
    if (random_below(2))            \
        order.name = RANDOM_##kind;
        BLOTTER_ORDER_FIELDS(RANDOM)
        if (!order.order_id && !order.client_order_id)
            order.client_order_id = "";
        size_t length = encode_order(&order);
        assert_int_equal(decode_bytes(RECORD_ORDER, wire, length), 0);
        assert_int_equal(record.kind, RECORD_ORDER);
        assert_same_integer(&record.values[IDENTITY_producer_id], identity.producer_id);
        assert_same_integer(&record.values[IDENTITY_seq], identity.seq);
        assert_same_integer(&record.values[IDENTITY_recorded_at], identity.recorded_at_ns);
        assert_same_text(&record.values[IDENTITY_exchange], identity.exchange);
#define SAME(name, kind, meaning) SAME_##kind(&record.values[ORDER_##name], order.name);
        BLOTTER_ORDER_FIELDS(SAME)
    }
}

static void trades_and_sessions_come_back_as_they_were(void **state)
{
    const struct blotter_trade trade = {.symbol = "BTC/USDT", .price = "43210.10", .quantity = "0.5", .trade_id = "t"};
    const struct blotter_session session = {.event = "closed", .last_seq = 99, .pid = 1, .extra = "{}"};
    unsigned fields;

    (void)state;
    size_t head = 3; /* msgpack allows a longer form of the map's head */
    int length = record_encode_trade(&trade, wire + head, sizeof wire - head, &fields, &problem);
    memcpy(wire, (unsigned char[]){0xde, 0, (unsigned char)fields}, 3);
    assert_int_equal(decode_bytes(RECORD_TRADE, wire, head + (size_t)length), 0);
#define SAME_TRADE(name, kind, meaning) SAME_##kind(&record.values[TRADE_##name], trade.name);
    BLOTTER_TRADE_FIELDS(SAME_TRADE)
    length = record_encode_session(&session, wire + head, sizeof wire - head, &fields, &problem);
    memcpy(wire, (unsigned char[]){0xde, 0, (unsigned char)fields}, 3);
    assert_int_equal(decode_bytes(RECORD_SESSION, wire, head + (size_t)length), 0);
#define SAME_SESSION(name, kind, meaning) SAME_##kind(&record.values[SESSION_##name], session.name);
    BLOTTER_SESSION_FIELDS(SAME_SESSION)
}

static void keys_may_come_in_any_order(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        unsigned order[ORDER_FIELDS];
        for (unsigned j = 0; j < ORDER_FIELDS; j++) {
            unsigned other = random_below(j + 1);
            order[j] = order[other];
            order[other] = j;
        }
        pack_map(ORDER_FIELDS);
        for (unsigned j = 0; j < ORDER_FIELDS; j++) {
            pack_text(record_schemas[RECORD_ORDER].fields[order[j]].name);
            if (order[j] == ORDER_order_id)
                pack_text("id");
            else if (order[j] == ORDER_cost)
                pack_text("2.50");
            else
                msgpack_pack_nil(&pack);
        }
        assert_decodes();
        for (unsigned j = 0; j < ORDER_FIELDS; j++)
            assert_int_equal(record.values[j].present, j == ORDER_order_id || j == ORDER_cost);
        assert_value(&record.values[ORDER_order_id], "id");
        assert_value(&record.values[ORDER_cost], "2.50");
    }
}

/* --- values -------------------------------------------------------------------------------------------------------------- */

static void decimals_may_be_text_or_any_number(void **state)
{
    (void)state;
    pack_order_with("price"), pack_text("43210.10"), assert_price("43210.10");
    pack_order_with("price"), pack_text("+1.50E1"), assert_price("15.0");
    pack_order_with("price"), pack_text("-0.0"), assert_price("0.0");
    pack_order_with("price"), msgpack_pack_int(&pack, 5), assert_price("5");
    pack_order_with("price"), msgpack_pack_int64(&pack, INT64_MIN), assert_price("-9223372036854775808");
    pack_order_with("price"), msgpack_pack_uint64(&pack, UINT64_MAX), assert_price("18446744073709551615");
    pack_order_with("price"), msgpack_pack_double(&pack, 0.1), assert_price("0.1");
    pack_order_with("price"), msgpack_pack_double(&pack, 1e22), assert_price("10000000000000000000000");
    pack_order_with("price"), msgpack_pack_double(&pack, -2.5e-7), assert_price("-0.00000025");
    pack_order_with("price"), msgpack_pack_float(&pack, 0.1f), assert_price("0.1");
    pack_order_with("price"), msgpack_pack_double(&pack, (double)0.1f), assert_price("0.10000000149011612");
}

static void what_is_no_decimal_is_refused(void **state)
{
    char text[LIMIT_DECIMAL_BYTES + 2];

    (void)state;
    pack_order_with("price"), pack_text(""), assert_fault(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), pack_text("NaN"), assert_fault(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_double(&pack, (double)NAN), assert_fault(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_double(&pack, (double)INFINITY), assert_fault(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_float(&pack, -INFINITY), assert_fault(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_double(&pack, 1e300), assert_fault(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_true(&pack), assert_fault(RECORD_FAULT_WRONG_TYPE, "price");
    pack_order_with("price"), msgpack_pack_array(&pack, 0), assert_fault(RECORD_FAULT_WRONG_TYPE, "price");
    pack_order_with("price"), msgpack_pack_bin_with_body(&pack, "1", 1), assert_fault(RECORD_FAULT_WRONG_TYPE, "price");
    memset(text, '0', sizeof text);
    text[LIMIT_DECIMAL_BYTES + 1] = '\0';
    pack_order_with("price"), pack_text(text), assert_fault(RECORD_FAULT_TOO_LONG, "price");
}

static void texts_may_be_integers_as_ids_are(void **state)
{
    (void)state;
    pack_order_with("order_id"), msgpack_pack_int64(&pack, 8389765590123456789), assert_decodes();
    assert_value(&record.values[ORDER_order_id], "8389765590123456789");
    pack_order_with("order_id"), msgpack_pack_int64(&pack, -5), assert_decodes();
    assert_value(&record.values[ORDER_order_id], "-5");
    pack_order_with("order_id"), msgpack_pack_uint64(&pack, UINT64_MAX), assert_decodes();
    assert_value(&record.values[ORDER_order_id], "18446744073709551615");
    pack_order_with("order_id"), msgpack_pack_double(&pack, 5), assert_fault(RECORD_FAULT_WRONG_TYPE, "order_id");
    pack_order_with("order_id"), msgpack_pack_bin_with_body(&pack, "a", 1), assert_fault(RECORD_FAULT_WRONG_TYPE, "order_id");
    pack_order_with("order_id"), msgpack_pack_true(&pack), assert_fault(RECORD_FAULT_WRONG_TYPE, "order_id");
    pack_order_with("order_id"), pack_map(0), assert_fault(RECORD_FAULT_WRONG_TYPE, "order_id");
}

static void texts_are_checked(void **state)
{
    char text[LIMIT_TEXT_BYTES + 2];

    (void)state;
    memset(text, 'a', sizeof text);
    pack_order_with("reason"), msgpack_pack_str_with_body(&pack, text, LIMIT_TEXT_BYTES), assert_decodes();
    assert_int_equal(record.values[ORDER_reason].length, LIMIT_TEXT_BYTES);
    pack_order_with("reason"), msgpack_pack_str_with_body(&pack, text, LIMIT_TEXT_BYTES + 1);
    assert_fault(RECORD_FAULT_TOO_LONG, "reason");
    pack_order_with("reason"), pack_text("\xff"), assert_fault(RECORD_FAULT_NOT_UTF8, "reason");
    pack_order_with("reason"), msgpack_pack_str_with_body(&pack, "a\0b", 3), assert_fault(RECORD_FAULT_HAS_NUL, "reason");
}

static void assert_time(int64_t expected)
{
    assert_decodes();
    assert_true(record.values[ORDER_exchange_time].present);
    assert_true(record.values[ORDER_exchange_time].integer == expected);
}

static void pack_timestamp(int64_t seconds, uint32_t nanoseconds)
{
    msgpack_timestamp time = {.tv_sec = seconds, .tv_nsec = nanoseconds};
    msgpack_pack_timestamp(&pack, &time);
}

static void times_may_be_nanoseconds_or_timestamps(void **state)
{
    (void)state;
    pack_order_with("exchange_time"), msgpack_pack_int64(&pack, 1700000000123456789), assert_time(1700000000123456789);
    pack_order_with("exchange_time"), msgpack_pack_int64(&pack, INT64_MIN), assert_time(INT64_MIN);
    pack_order_with("exchange_time"), msgpack_pack_uint64(&pack, INT64_MAX), assert_time(INT64_MAX);
    pack_order_with("exchange_time"), pack_timestamp(1, 0), assert_time(1000000000);
    pack_order_with("exchange_time"), pack_timestamp(UINT32_MAX, 0), assert_time(INT64_C(4294967295000000000));
    pack_order_with("exchange_time"), pack_timestamp(1700000000, 999999999), assert_time(1700000000999999999);
    pack_order_with("exchange_time"), pack_timestamp(-1, 1), assert_time(-999999999);
    pack_order_with("exchange_time"), pack_timestamp(9223372036, 854775807), assert_time(INT64_MAX);
    pack_order_with("exchange_time"), pack_timestamp(-9223372036, 0), assert_time(INT64_C(-9223372036000000000));
}

static void times_beyond_int64_nanoseconds_are_out_of_range(void **state)
{
    (void)state;
    pack_order_with("exchange_time"), pack_timestamp(9223372036, 854775808);
    assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"), pack_timestamp(INT64_MAX, 0);
    assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"), pack_timestamp(INT64_MIN, 0);
    assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"), msgpack_pack_uint64(&pack, UINT64_MAX);
    assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"); /* 2^30 - 1 nanoseconds */
    msgpack_pack_ext_with_body(&pack, "\xff\xff\xff\xfc\x00\x00\x00\x00", 8, -1);
    assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
}

static void other_values_are_no_times(void **state)
{
    (void)state;
    pack_order_with("exchange_time"), msgpack_pack_double(&pack, 1), assert_fault(RECORD_FAULT_WRONG_TYPE, "exchange_time");
    pack_order_with("exchange_time"), pack_text("1"), assert_fault(RECORD_FAULT_WRONG_TYPE, "exchange_time");
    pack_order_with("exchange_time"), msgpack_pack_ext_with_body(&pack, "\0\0\0\1", 4, 1);
    assert_fault(RECORD_FAULT_WRONG_TYPE, "exchange_time");
    pack_order_with("exchange_time"), msgpack_pack_ext_with_body(&pack, "\0\0\0\1\0", 5, -1);
    assert_fault(RECORD_FAULT_WRONG_TYPE, "exchange_time");
}

static void flags_are_bools_only(void **state)
{
    (void)state;
    pack_order_with("post_only"), msgpack_pack_true(&pack), assert_decodes();
    assert_same_bool(&record.values[ORDER_post_only], BLOTTER_TRUE);
    pack_order_with("post_only"), msgpack_pack_false(&pack), assert_decodes();
    assert_same_bool(&record.values[ORDER_post_only], BLOTTER_FALSE);
    pack_order_with("post_only"), msgpack_pack_int(&pack, 1), assert_fault(RECORD_FAULT_WRONG_TYPE, "post_only");
    pack_order_with("post_only"), pack_text("true"), assert_fault(RECORD_FAULT_WRONG_TYPE, "post_only");
}

static void nil_is_absent_for_every_field(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ORDER_FIELDS; i++) {
        pack_order_with(record_schemas[RECORD_ORDER].fields[i].name), msgpack_pack_nil(&pack), assert_decodes();
        assert_false(record.values[i].present);
    }
}

/* --- extra --------------------------------------------------------------------------------------------------------------- */

static void extra_as_text_is_kept_byte_for_byte(void **state)
{
    (void)state;
    pack_order_with("extra"), pack_text(" { \"a\" : 1.10 } "), assert_extra(" { \"a\" : 1.10 } ");
    pack_order_with("extra"), pack_text("{}"), assert_extra("{}");
}

static void extra_as_text_must_be_an_object(void **state)
{
    char *text = malloc(LIMIT_EXTRA_BYTES + 2);

    (void)state;
    pack_order_with("extra"), pack_text("[]"), assert_fault(RECORD_FAULT_NOT_JSON, "extra");
    pack_order_with("extra"), pack_text(""), assert_fault(RECORD_FAULT_NOT_JSON, "extra");
    pack_order_with("extra"), pack_text("{\"a\":\"\\u0000\"}"), assert_fault(RECORD_FAULT_HAS_NUL, "extra");
    memset(text, ' ', LIMIT_EXTRA_BYTES + 1);
    memcpy(text, "{}", 2);
    text[LIMIT_EXTRA_BYTES + 1] = '\0';
    pack_order_with("extra"), pack_text(text), assert_fault(RECORD_FAULT_TOO_LONG, "extra");
    text[LIMIT_EXTRA_BYTES] = '\0';
    pack_order_with("extra"), pack_text(text), assert_extra(text);
    free(text);
    pack_order_with("extra"), msgpack_pack_array(&pack, 0), assert_fault(RECORD_FAULT_WRONG_TYPE, "extra");
    pack_order_with("extra"), msgpack_pack_int(&pack, 1), assert_fault(RECORD_FAULT_WRONG_TYPE, "extra");
    pack_order_with("extra"), msgpack_pack_bin_with_body(&pack, "{}", 2), assert_fault(RECORD_FAULT_WRONG_TYPE, "extra");
}

static void extra_as_map_becomes_json(void **state)
{
    (void)state;
    pack_order_with("extra"), pack_map(0), assert_extra("{}");
    pack_order_with("extra"), pack_map(2), pack_text("a"), msgpack_pack_int(&pack, 1), pack_text("b"), pack_map(1),
        msgpack_pack_int(&pack, 2), msgpack_pack_nil(&pack);
    assert_extra("{\"a\":1,\"b\":{\"2\":null}}");
}

static void unknown_keys_become_members_of_extra(void **state)
{
    (void)state;
    pack_order_with("foo"), msgpack_pack_double(&pack, 1.5), assert_extra("{\"foo\":1.5}");
    pack_order_with(""), msgpack_pack_nil(&pack), assert_extra("{\"\":null}");
    pack_order_with("order_ix"), msgpack_pack_true(&pack), assert_extra("{\"order_ix\":true}");
    pack_order_with("extr\xc3\xa4"), msgpack_pack_array(&pack, 0), assert_extra("{\"extr\xc3\xa4\":[]}");
    pack_order_with("b"), msgpack_pack_bin_with_body(&pack, "\x01", 1), assert_extra("{\"b\":\"\\\\x01\"}");
}

static void unknown_keys_are_merged_with_extra_whichever_comes_first(void **state)
{
    (void)state;
    pack_map(4), pack_text("foo"), pack_text("1"), pack_text("extra"), pack_text(" { \"a\" : 1.10 } "), pack_text("order_id"),
        pack_text("1"), pack_text("bar"), msgpack_pack_int(&pack, 2);
    assert_extra("{\"foo\":\"1\",\"bar\":2,\"a\" : 1.10}");
    pack_map(3), pack_text("foo"), pack_text("1"), pack_text("extra"), pack_text(" { } "), pack_text("order_id"), pack_text("1");
    assert_extra("{\"foo\":\"1\"}");
    pack_map(4), pack_text("foo"), pack_text("1"), pack_text("extra"), pack_map(1), pack_text("a"), pack_text("b"),
        pack_text("order_id"), pack_text("1"), pack_text("bar"), msgpack_pack_int(&pack, 2);
    assert_extra("{\"foo\":\"1\",\"a\":\"b\",\"bar\":2}");
    pack_map(3), pack_text("extra"), msgpack_pack_nil(&pack), pack_text("foo"), pack_text("1"), pack_text("order_id"),
        pack_text("1");
    assert_extra("{\"foo\":\"1\"}");
}

static void values_made_here_do_not_disturb_each_other(void **state)
{
    (void)state;
    pack_map(6), pack_text("u"), pack_text("x"), pack_text("price"), msgpack_pack_double(&pack, 1.25), pack_text("v"),
        pack_text("y"), pack_text("order_id"), msgpack_pack_int(&pack, 77), pack_text("cost"), pack_text("1E2"), pack_text("w"),
        pack_text("z");
    assert_extra("{\"u\":\"x\",\"v\":\"y\",\"w\":\"z\"}");
    assert_value(&record.values[ORDER_price], "1.25");
    assert_value(&record.values[ORDER_order_id], "77");
    assert_value(&record.values[ORDER_cost], "100");
}

static void faults_within_unknown_keys_are_those_of_extra(void **state)
{
    (void)state;
    pack_order_with("foo"), msgpack_pack_double(&pack, (double)NAN), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "extra");
    pack_order_with("foo"), pack_text("\xff"), assert_fault(RECORD_FAULT_NOT_UTF8, "extra");
    pack_order_with("fo\xff"), pack_text("a"), assert_fault(RECORD_FAULT_NOT_UTF8, "extra");
    pack_order_with("foo"), msgpack_pack_str_with_body(&pack, "\0", 1), assert_fault(RECORD_FAULT_HAS_NUL, "extra");
    pack_order_with("foo"), pack_map(1), pack_map(0), msgpack_pack_nil(&pack), assert_fault(RECORD_FAULT_WRONG_TYPE, "extra");
}

static void json_that_grows_beyond_the_limit_is_too_long(void **state)
{
    static char bytes[LIMIT_EXTRA_BYTES];

    (void)state;
    pack_order_with("foo"), msgpack_pack_bin_with_body(&pack, bytes, LIMIT_EXTRA_BYTES / 2);
    assert_fault(RECORD_FAULT_TOO_LONG, "extra");
    pack_order_with("f"), msgpack_pack_bin_with_body(&pack, bytes, LIMIT_EXTRA_BYTES / 2 - 6), assert_decodes();
    assert_int_equal(record.values[ORDER_extra].length, LIMIT_EXTRA_BYTES - 12 + strlen("{\"f\":\"\\\\x\"}"));
    memset(bytes, 1, sizeof bytes); /* six times as long: the scratch is large enough all the same */
    pack_order_with("f"), msgpack_pack_str_with_body(&pack, bytes, sizeof bytes);
    assert_fault(RECORD_FAULT_TOO_LONG, "extra");
}

/* --- the map ------------------------------------------------------------------------------------------------------------- */

static void known_keys_given_twice_are_refused(void **state)
{
    (void)state;
    pack_map(2), pack_text("order_id"), pack_text("1"), pack_text("order_id"), pack_text("1");
    assert_fault(RECORD_FAULT_DUPLICATE, "order_id");
    pack_map(3), pack_text("order_id"), pack_text("1"), pack_text("price"), msgpack_pack_nil(&pack), pack_text("price"),
        pack_text("1");
    assert_fault(RECORD_FAULT_DUPLICATE, "price");
    pack_map(2), pack_text("extra"), pack_map(0), pack_text("extra"), pack_map(0), assert_fault(RECORD_FAULT_DUPLICATE, "extra");
}

static void required_fields_are_missed(void **state)
{
    (void)state;
    pack_map(0), assert_fault(RECORD_FAULT_MISSING, "order_id");
    pack_map(1), pack_text("order_id"), msgpack_pack_nil(&pack), assert_fault(RECORD_FAULT_MISSING, "order_id");
    pack_map(1), pack_text("client_order_id"), pack_text(""), assert_decodes();
    pack_map(2), pack_text("symbol"), pack_text("a"), pack_text("price"), pack_text("1");
    assert_int_equal(decode_packed(RECORD_TRADE), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_MISSING);
    assert_string_equal(problem.field, "quantity");
    pack_map(0);
    assert_int_equal(decode_packed(RECORD_SESSION), -1);
    assert_string_equal(problem.field, "event");
}

/* Packs an order with an identity; 0 leaves a part out. */
static void pack_identity(int64_t producer_id, int64_t seq, int64_t recorded_at)
{
    pack_map(1u + (producer_id != 0) + (seq != 0) + (recorded_at != 0));
    pack_text("order_id"), pack_text("1");
    if (producer_id)
        pack_text("producer_id"), msgpack_pack_int64(&pack, producer_id);
    if (seq)
        pack_text("seq"), msgpack_pack_int64(&pack, seq);
    if (recorded_at)
        pack_text("recorded_at"), msgpack_pack_int64(&pack, recorded_at);
}

static void an_identity_is_given_whole_or_not_at_all(void **state)
{
    const int64_t now = INT64_C(1700000000000000000);

    (void)state;
    pack_identity(0, 0, 0), assert_decodes();
    pack_identity(1, 1, now), assert_decodes();
    pack_identity(0, 1, now), assert_fault(RECORD_FAULT_MISSING, "producer_id");
    pack_identity(1, 0, now), assert_fault(RECORD_FAULT_MISSING, "seq");
    pack_identity(1, 1, 0), assert_fault(RECORD_FAULT_MISSING, "recorded_at");
    pack_identity(-1, 1, now), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "producer_id");
    pack_identity(1, -1, now), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "seq");
    pack_identity(1, 1, LIMIT_RECORDED_AT_MIN_NS), assert_decodes();
    pack_identity(1, 1, LIMIT_RECORDED_AT_MIN_NS - 1), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "recorded_at");
    pack_order_with("seq"), msgpack_pack_int(&pack, 0), assert_fault(RECORD_FAULT_MISSING, "producer_id");
    pack_order_with("seq"), pack_text("1"), assert_fault(RECORD_FAULT_WRONG_TYPE, "seq");
    pack_order_with("seq"), msgpack_pack_double(&pack, 1), assert_fault(RECORD_FAULT_WRONG_TYPE, "seq");
    pack_order_with("seq"), msgpack_pack_uint64(&pack, UINT64_MAX), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "seq");
}

static void an_exchange_is_a_valid_name(void **state)
{
    (void)state;
    pack_order_with("exchange"), pack_text("binance"), assert_decodes();
    pack_order_with("exchange"), pack_text(""), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange");
    pack_order_with("exchange"), pack_text("Binance"), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange");
    pack_order_with("exchange"), pack_text("abcdefghijklmnopqrstuvwxyz0123456"), assert_fault(RECORD_FAULT_TOO_LONG, "exchange");
}

static void what_is_no_map_with_string_keys_is_refused(void **state)
{
    (void)state;
    msgpack_pack_array(&pack, 0), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    msgpack_pack_nil(&pack), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_text("order"), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_map(1), msgpack_pack_int(&pack, 1), msgpack_pack_nil(&pack), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_map(1), msgpack_pack_bin_with_body(&pack, "order_id", 8), pack_text("1"), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    msgpack_sbuffer_write(&packed, "\xc1", 1), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_order_with("price"), msgpack_sbuffer_write(&packed, "\xc1", 1), assert_fault(RECORD_FAULT_NOT_MSGPACK, "price");
    pack_order_with("foo"), msgpack_sbuffer_write(&packed, "\xc1", 1), assert_fault(RECORD_FAULT_NOT_MSGPACK, "extra");
    assert_fault(RECORD_FAULT_TRUNCATED, NULL); /* nothing at all */
}

static void bytes_behind_the_end_are_refused(void **state)
{
    (void)state;
    pack_map(1), pack_text("order_id"), pack_text("1"), msgpack_pack_nil(&pack), assert_fault(RECORD_FAULT_TRAILING, NULL);
}

static void keys_are_counted(void **state)
{
    char name[16];

    (void)state;
    for (unsigned count = LIMIT_KEYS; count <= LIMIT_KEYS + 1; count++) {
        pack_map(count), pack_text("order_id"), pack_text("1");
        for (unsigned i = 1; i < count; i++) {
            snprintf(name, sizeof name, "k%u", i);
            pack_text(name), msgpack_pack_nil(&pack);
        }
        if (count <= LIMIT_KEYS)
            assert_decodes();
        else
            assert_fault(RECORD_FAULT_TOO_MANY, NULL);
    }
}

static void records_longer_than_the_limit_are_refused(void **state)
{
    static unsigned char bytes[LIMIT_RECORD_BYTES + 1];

    (void)state;
    assert_int_equal(decode_bytes(RECORD_ORDER, bytes, sizeof bytes), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_TOO_LONG);
    assert_null(problem.field);
    assert_int_equal(decode_bytes(RECORD_ORDER, bytes, sizeof bytes - 1), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_NOT_MSGPACK);
}

static void nesting_is_allowed_to_the_limit(void **state)
{
    (void)state;
    for (unsigned depth = LIMIT_NESTING - 1; depth <= LIMIT_NESTING; depth++) {
        pack_order_with("foo"); /* a member of extra, which counts */
        for (unsigned i = 0; i < depth; i++)
            msgpack_pack_array(&pack, 1);
        msgpack_pack_nil(&pack);
        if (depth < LIMIT_NESTING)
            assert_extra("{\"foo\":[[[[[[[[[[[[[[[null]]]]]]]]]]]]]]]}");
        else
            assert_fault(RECORD_FAULT_TOO_DEEP, "extra");
    }
    pack_order_with("extra");
    for (unsigned i = 0; i < LIMIT_NESTING; i++)
        pack_map(1), pack_text("a");
    msgpack_pack_nil(&pack), assert_decodes();
    pack_order_with("extra");
    for (unsigned i = 0; i <= LIMIT_NESTING; i++)
        pack_map(1), pack_text("a");
    msgpack_pack_nil(&pack), assert_fault(RECORD_FAULT_TOO_DEEP, "extra");
    for (int i = 0; i < 60000; i++)
        i == 0 ? pack_order_with("foo") : (void)msgpack_pack_array(&pack, 1);
    assert_fault(RECORD_FAULT_TOO_DEEP, "extra");
}

/* --- hostile bytes ------------------------------------------------------------------------------------------------------- */

static void headers_that_announce_more_than_there_is_are_truncated(void **state)
{
    static const char *const heads[] = {"\xdf\xff\xff\xff\xff",
                                        "\xdd\xff\xff\xff\xff",
                                        "\xdb\xff\xff\xff\xff",
                                        "\xc6\xff\xff\xff\xff",
                                        "\xc9\xff\xff\xff\xff\x05",
                                        "\xda\xff\xff",
                                        "\xd9\xff",
                                        "\xc4\xff",
                                        "\xc5\xff\xff",
                                        "\xc7\xff\x01",
                                        "\xc8\xff\xff\x01",
                                        "\xdc\xff\xff",
                                        "\xde\xff\xff",
                                        "\xcf\x01",
                                        "\xcb\x01",
                                        "\xca",
                                        "\xd8\x01\x01",
                                        "\xd3",
                                        "\xbf",
                                        "\x9f"};
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        pack_order_with("foo");
        msgpack_sbuffer_write(&packed, heads[i], strlen(heads[i]));
        assert_fault(RECORD_FAULT_TRUNCATED, "extra");
    }
    msgpack_sbuffer_write(&packed, "\xdf\xff\xff\xff\xff", 5);
    assert_fault(RECORD_FAULT_TOO_MANY, NULL);
    msgpack_sbuffer_write(&packed, "\xdf\x00\x00\x00\x10", 5);
    assert_fault(RECORD_FAULT_TRUNCATED, NULL);
}

/* An order with every kind of value in it. */
static size_t rich_order(void)
{
    pack_map(16);
    pack_text("producer_id"), msgpack_pack_int64(&pack, 123456789012);
    pack_text("seq"), msgpack_pack_int(&pack, 1);
    pack_text("recorded_at"), msgpack_pack_int64(&pack, 1700000000000000000);
    pack_text("exchange"), pack_text("binance");
    pack_text("exchange_time"), pack_timestamp(1700000000, 5);
    pack_text("order_id"), msgpack_pack_uint64(&pack, UINT64_MAX);
    pack_text("symbol"), pack_text("BTC/USDT:USDT with a text that is longer than a fixstr \xe2\x82\xac");
    pack_text("price"), pack_text("1.50E1");
    pack_text("cost"), msgpack_pack_double(&pack, 0.1);
    pack_text("fee"), msgpack_pack_float(&pack, 0.3f);
    pack_text("post_only"), msgpack_pack_true(&pack);
    pack_text("reason"), msgpack_pack_nil(&pack);
    pack_text("foo"), msgpack_pack_array(&pack, 3), msgpack_pack_bin_with_body(&pack, "\x01\x02", 2), pack_map(1),
        msgpack_pack_int(&pack, 1), pack_text("a\"b"), msgpack_pack_ext_with_body(&pack, "abc", 3, 9);
    pack_text("extra"), pack_text("{\"a\":[1,\"\\u20ac\"]}");
    pack_text("quantity"), msgpack_pack_int(&pack, -5);
    pack_text("reduce_only"), msgpack_pack_false(&pack);
    memcpy(wire, packed.data, packed.size);
    size_t length = packed.size;
    msgpack_sbuffer_clear(&packed);
    return length;
}

static bool inside(const void *bytes, uint32_t length, const void *area, size_t size)
{
    return (const char *)bytes >= (const char *)area && (const char *)bytes + length <= (const char *)area + size;
}

/* What holds for every record that was decoded, whatever it was decoded from. */
static void assert_record_is_sound(const unsigned char *bytes, size_t length)
{
    for (unsigned i = 0; i < ORDER_FIELDS; i++) {
        const struct record_value *value = &record.values[i];
        enum field_kind kind = record_schemas[RECORD_ORDER].fields[i].kind;
        if (!value->present || kind == FIELD_TIME || kind == FIELD_INT || kind == FIELD_BOOL)
            continue;
        assert_true(inside(value->bytes, value->length, bytes, length) ||
                    inside(value->bytes, value->length, scratch_bytes, sizeof scratch_bytes));
        if (kind == FIELD_DECIMAL)
            assert_true(decimal_is_canonical(value->bytes, value->length));
        else if (kind == FIELD_JSON)
            assert_int_equal(json_object_check(value->bytes, value->length), RECORD_FAULT_NONE);
        else
            assert_int_equal(text_check(value->bytes, value->length), RECORD_FAULT_NONE);
    }
}

static void every_truncation_is_told_as_such(void **state)
{
    size_t length = rich_order();

    (void)state;
    assert_int_equal(decode_bytes(RECORD_ORDER, wire, length), 0);
    for (size_t cut = 0; cut < length; cut++) {
        assert_int_equal(decode_bytes(RECORD_ORDER, wire, cut), -1);
        assert_int_equal(problem.fault, RECORD_FAULT_TRUNCATED);
    }
}

static void every_flipped_byte_is_survived(void **state)
{
    size_t length = rich_order();

    (void)state;
    for (size_t at = 0; at < length; at++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            unsigned char *bytes = malloc(length);
            memcpy(bytes, wire, length);
            bytes[at] ^= (unsigned char)flip;
            if (record_decode(RECORD_ORDER, bytes, length, &scratch, &record, &problem) == 0)
                assert_record_is_sound(bytes, length);
            else
                assert_int_not_equal(problem.fault, RECORD_FAULT_NONE);
            free(bytes);
        }
    }
}

static void random_bytes_are_survived(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        size_t length = rich_order(), size = 1 + random_below((unsigned)length);
        unsigned char *bytes = malloc(size);
        memcpy(bytes, wire, size);
        for (unsigned changes = random_below(12); changes > 0; changes--)
            bytes[random_below((unsigned)size)] = (unsigned char)random_next();
        if (record_decode(RECORD_ORDER, bytes, size, &scratch, &record, &problem) == 0)
            assert_record_is_sound(bytes, size);
        free(bytes);
    }
}

static void a_small_scratch_is_too_small_and_never_exceeded(void **state)
{
    size_t length = rich_order();
    bool fitted = false;

    (void)state;
    for (size_t capacity = 0; capacity < 400; capacity++) {
        char *bytes = malloc(capacity + 1);
        struct record_scratch small = {bytes, capacity, 0};
        bytes[capacity] = 'x';
        int result = record_decode(RECORD_ORDER, wire, length, &small, &record, &problem);
        assert_true(result == 0 || problem.fault == RECORD_FAULT_TOO_LONG);
        assert_true(result == 0 || !fitted);
        assert_true(small.used <= capacity);
        assert_int_equal(bytes[capacity], 'x');
        fitted = result == 0;
        free(bytes);
    }
    assert_true(fitted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_orders_come_back_as_they_were),
        cmocka_unit_test(trades_and_sessions_come_back_as_they_were),
        cmocka_unit_test(keys_may_come_in_any_order),
        cmocka_unit_test(decimals_may_be_text_or_any_number),
        cmocka_unit_test(what_is_no_decimal_is_refused),
        cmocka_unit_test(texts_may_be_integers_as_ids_are),
        cmocka_unit_test(texts_are_checked),
        cmocka_unit_test(times_may_be_nanoseconds_or_timestamps),
        cmocka_unit_test(times_beyond_int64_nanoseconds_are_out_of_range),
        cmocka_unit_test(other_values_are_no_times),
        cmocka_unit_test(flags_are_bools_only),
        cmocka_unit_test(nil_is_absent_for_every_field),
        cmocka_unit_test(extra_as_text_is_kept_byte_for_byte),
        cmocka_unit_test(extra_as_text_must_be_an_object),
        cmocka_unit_test(extra_as_map_becomes_json),
        cmocka_unit_test(unknown_keys_become_members_of_extra),
        cmocka_unit_test(unknown_keys_are_merged_with_extra_whichever_comes_first),
        cmocka_unit_test(values_made_here_do_not_disturb_each_other),
        cmocka_unit_test(faults_within_unknown_keys_are_those_of_extra),
        cmocka_unit_test(json_that_grows_beyond_the_limit_is_too_long),
        cmocka_unit_test(known_keys_given_twice_are_refused),
        cmocka_unit_test(required_fields_are_missed),
        cmocka_unit_test(an_identity_is_given_whole_or_not_at_all),
        cmocka_unit_test(an_exchange_is_a_valid_name),
        cmocka_unit_test(what_is_no_map_with_string_keys_is_refused),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test(keys_are_counted),
        cmocka_unit_test(records_longer_than_the_limit_are_refused),
        cmocka_unit_test(nesting_is_allowed_to_the_limit),
        cmocka_unit_test(headers_that_announce_more_than_there_is_are_truncated),
        cmocka_unit_test(every_truncation_is_told_as_such),
        cmocka_unit_test(every_flipped_byte_is_survived),
        cmocka_unit_test(random_bytes_are_survived),
        cmocka_unit_test(a_small_scratch_is_too_small_and_never_exceeded),
    };
    random_begin();
    return cmocka_run_group_tests(tests, begin_packing, end_packing);
}
