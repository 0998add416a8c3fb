/* Decoding: values of every kind, and `extra`, as msgpack-c packed them or as record_encode_* wrote
 * them. */
#include <math.h>

#include "schema/decimal.h"
#include "tests/unit/decoding.h"

/* --- round trip --- */

static const struct record_identity identity = {7, 42, INT64_C(1700000000123456789), "binance"};
static unsigned char wire[LIMIT_RECORD_BYTES];

static size_t encode_order(const struct blotter_order *order)
{
    static unsigned char body[LIMIT_RECORD_BYTES];
    unsigned fields;
    int length = record_encode(RECORD_ORDER, order, body, sizeof body, &fields, &problem);

    assert_true(length >= 0);
    size_t head = record_encode_head(&identity, fields, wire);
    memcpy(wire + head, body, (size_t)length);
    return head + (size_t)length;
}

static void assert_same_text(const struct record_value *value, const char *given)
{
    if (given != NULL) {
        assert_value(value, given);
    } else {
        assert_false(value->present);
    }
}

static void assert_same_decimal(const struct record_value *value, const char *given)
{
    char canonical[LIMIT_DECIMAL_BYTES + 1];

    if (given != NULL) {
        canonical[decimal_canonical(given, strlen(given), canonical)] = '\0';
    }
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
#define SAME_AMOUNTS assert_same_text
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
    for (unsigned i = 0; i < length; i++) {
        out[i] = (char)(1 + random_below(127));
    }
    if (length > 2 && random_below(4) == 0) {
        memcpy(out, "\xc3\xa4", 2);
    }
    return out;
}

static const char *random_decimal(void)
{
    static const char *const texts[] = {
        "0", "-0.00", "1E5", "9.2E-7", "43210.10", "0.001", "-12345678901234567890.5", ".5", "+7."};
    static char numbers[64][32];
    static unsigned next;
    char *out = numbers[next++ % 64];

    if (random_below(3) == 0) {
        return texts[random_below(sizeof texts / sizeof texts[0])];
    }
    snprintf(out, sizeof numbers[0], "%u.%0*u", random_below(1000000), 1 + (int)random_below(8),
             random_below(10));
    return out;
}

static void random_orders_come_back_as_they_were(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct blotter_order order = {0};
#define RANDOM_TEXT random_text()
#define RANDOM_DECIMAL random_decimal()
#define RANDOM_AMOUNTS "{\"USDT\":0.10,\"BNB\":-1}"
#define RANDOM_JSON "{ \"a\" : 1.10 }"
#define RANDOM_TIME \
    LIMIT_TIME_MIN_NS + (int64_t)(random_next() % (uint64_t)(LIMIT_TIME_END_NS - LIMIT_TIME_MIN_NS))
#define RANDOM_INT (int64_t) random_next()
#define RANDOM_BOOL (enum blotter_bool)(1 + random_below(2))
#define RANDOM(name, kind, meaning) \
    if (random_below(2))            \
        order.name = RANDOM_##kind;
        BLOTTER_ORDER_FIELDS(RANDOM)
        if (order.order_id == NULL && order.client_order_id == NULL) {
            order.client_order_id = "";
        }
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
    const struct blotter_trade trade = {
        .symbol = "BTC/USDT", .price = "43210.10", .quantity = "0.5", .trade_id = "t"};
    const struct blotter_session session = {
        .event = "closed", .last_seq = 99, .pid = 1, .extra = "{}"};
    unsigned fields;

    (void)state;
    size_t head = 3; /* msgpack allows a longer form of the map's head */
    int length =
        record_encode(RECORD_TRADE, &trade, wire + head, sizeof wire - head, &fields, &problem);
    memcpy(wire, (unsigned char[]){0xde, 0, (unsigned char)fields}, 3);
    assert_int_equal(decode_bytes(RECORD_TRADE, wire, head + (size_t)length), 0);
#define SAME_TRADE(name, kind, meaning) SAME_##kind(&record.values[TRADE_##name], trade.name);
    BLOTTER_TRADE_FIELDS(SAME_TRADE)
    length =
        record_encode(RECORD_SESSION, &session, wire + head, sizeof wire - head, &fields, &problem);
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
            if (order[j] == ORDER_order_id) {
                pack_text("id");
            } else if (order[j] == ORDER_cost) {
                pack_text("2.50");
            } else {
                msgpack_pack_nil(&pack);
            }
        }
        assert_decodes();
        for (unsigned j = 0; j < ORDER_FIELDS; j++) {
            assert_int_equal(record.values[j].present, j == ORDER_order_id || j == ORDER_cost);
        }
        assert_value(&record.values[ORDER_order_id], "id");
        assert_value(&record.values[ORDER_cost], "2.50");
    }
}

/* --- values --- */

static void decimals_may_be_text_or_any_number(void **state)
{
    (void)state;
    pack_order_with("price"), pack_text("43210.10"), assert_price("43210.10");
    pack_order_with("price"), pack_text("+1.50E1"), assert_price("15.0");
    pack_order_with("price"), pack_text("-0.0"), assert_price("0.0");
    pack_order_with("price"), msgpack_pack_int(&pack, 5), assert_price("5");
    pack_order_with("price"), msgpack_pack_int64(&pack, INT64_MIN),
        assert_price("-9223372036854775808");
    pack_order_with("price"), msgpack_pack_uint64(&pack, UINT64_MAX),
        assert_price("18446744073709551615");
    pack_order_with("price"), msgpack_pack_double(&pack, 0.1), assert_price("0.1");
    pack_order_with("price"), msgpack_pack_double(&pack, 1e22),
        assert_price("10000000000000000000000");
    pack_order_with("price"), msgpack_pack_double(&pack, -2.5e-7), assert_price("-0.00000025");
    pack_order_with("price"), msgpack_pack_float(&pack, 0.1f), assert_price("0.1");
    pack_order_with("price"), msgpack_pack_double(&pack, (double)0.1f),
        assert_price("0.10000000149011612");
}

static void values_that_are_no_decimals_go_to_extra(void **state)
{
    char text[LIMIT_DECIMAL_BYTES + 2];

    (void)state;
    pack_order_with("price"), pack_text(""), assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), pack_text("NaN"), assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_double(&pack, (double)NAN),
        assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_double(&pack, (double)INFINITY),
        assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_float(&pack, -INFINITY),
        assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_double(&pack, 1e300),
        assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "price");
    pack_order_with("price"), msgpack_pack_true(&pack),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "price");
    pack_order_with("price"), msgpack_pack_array(&pack, 0),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "price");
    pack_order_with("price"), msgpack_pack_bin_with_body(&pack, "1", 1),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "price");
    memset(text, '0', sizeof text);
    text[LIMIT_DECIMAL_BYTES + 1] = '\0';
    pack_order_with("price"), pack_text(text), assert_misplaced(RECORD_FAULT_TOO_LONG, "price");
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
    pack_order_with("order_id"), msgpack_pack_uint64(&pack, UINT64_C(1) << 63), assert_decodes();
    assert_value(&record.values[ORDER_order_id], "9223372036854775808");
    pack_order_with("order_id"), msgpack_pack_double(&pack, 5), assert_decodes();
    assert_value(&record.values[ORDER_order_id], "5");
    pack_order_with("order_id"), msgpack_pack_double(&pack, 5.5),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "order_id");
    pack_order_with("order_id"), msgpack_pack_bin_with_body(&pack, "a", 1),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "order_id");
    pack_order_with("order_id"), msgpack_pack_true(&pack),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "order_id");
    pack_order_with("order_id"), pack_map(0), assert_misplaced(RECORD_FAULT_WRONG_TYPE, "order_id");
}

static void texts_are_checked(void **state)
{
    char text[LIMIT_TEXT_BYTES + 2];

    (void)state;
    memset(text, 'a', sizeof text);
    pack_order_with("reason"), msgpack_pack_str_with_body(&pack, text, LIMIT_TEXT_BYTES),
        assert_decodes();
    assert_int_equal(record.values[ORDER_reason].length, LIMIT_TEXT_BYTES);
    pack_order_with("reason"), msgpack_pack_str_with_body(&pack, text, LIMIT_TEXT_BYTES + 1);
    assert_misplaced(RECORD_FAULT_TOO_LONG, "reason");
    pack_order_with("reason"), pack_text("\xff"), assert_misplaced(RECORD_FAULT_NOT_UTF8, "reason");
    pack_order_with("reason"), msgpack_pack_str_with_body(&pack, "a\0b", 3),
        assert_misplaced(RECORD_FAULT_HAS_NUL, "reason");
}

static void assert_time(int64_t expected)
{
    assert_decodes();
    assert_true(record.values[ORDER_exchange_time].present);
    assert_true(record.values[ORDER_exchange_time].integer == expected);
}

static void times_may_be_nanoseconds_or_timestamps(void **state)
{
    (void)state;
    pack_order_with("exchange_time"), msgpack_pack_int64(&pack, 1700000000123456789),
        assert_time(1700000000123456789);
    pack_order_with("exchange_time"), msgpack_pack_int64(&pack, LIMIT_TIME_MIN_NS),
        assert_time(LIMIT_TIME_MIN_NS);
    pack_order_with("exchange_time"), msgpack_pack_int64(&pack, LIMIT_TIME_END_NS - 1),
        assert_time(LIMIT_TIME_END_NS - 1);
    pack_order_with("exchange_time"), pack_timestamp(1000000000, 0), assert_time(LIMIT_TIME_MIN_NS);
    pack_order_with("exchange_time"), pack_timestamp(1700000000, 999999999),
        assert_time(1700000000999999999);
}

/* A time out of range is one in seconds, milliseconds or microseconds. */
static void times_in_another_unit_are_out_of_range(void **state)
{
    static const int64_t times[] = {
        1700000000,        1700000000123,        1700000000123456, LIMIT_TIME_MIN_NS - 1,
        LIMIT_TIME_END_NS, -1700000000123456789, INT64_MAX,        INT64_MIN};

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        pack_order_with("exchange_time"), msgpack_pack_int64(&pack, times[i]);
        assert_misplaced(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    }
    pack_order_with("exchange_time"), pack_timestamp(-1, 1);
    assert_misplaced(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
}

static void times_beyond_int64_nanoseconds_are_out_of_range(void **state)
{
    (void)state;
    pack_order_with("exchange_time"), pack_timestamp(9223372036, 854775808);
    assert_misplaced(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"), pack_timestamp(INT64_MAX, 0);
    assert_misplaced(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"), pack_timestamp(INT64_MIN, 0);
    assert_misplaced(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"), msgpack_pack_uint64(&pack, UINT64_MAX);
    assert_misplaced(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
    pack_order_with("exchange_time"); /* 2^30 - 1 nanoseconds */
    msgpack_pack_ext_with_body(&pack, "\xff\xff\xff\xfc\x00\x00\x00\x00", 8, -1);
    assert_misplaced(RECORD_FAULT_OUT_OF_RANGE, "exchange_time");
}

static void other_values_are_no_times(void **state)
{
    (void)state;
    pack_order_with("exchange_time"), msgpack_pack_double(&pack, 1),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "exchange_time");
    pack_order_with("exchange_time"), pack_text("1"),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "exchange_time");
    pack_order_with("exchange_time"), msgpack_pack_ext_with_body(&pack, "\0\0\0\1", 4, 1);
    assert_misplaced(RECORD_FAULT_WRONG_TYPE, "exchange_time");
    pack_order_with("exchange_time"), msgpack_pack_ext_with_body(&pack, "\0\0\0\1\0", 5, -1);
    assert_misplaced(RECORD_FAULT_WRONG_TYPE, "exchange_time");
}

static void flags_are_bools_only(void **state)
{
    (void)state;
    pack_order_with("post_only"), msgpack_pack_true(&pack), assert_decodes();
    assert_same_bool(&record.values[ORDER_post_only], BLOTTER_TRUE);
    pack_order_with("post_only"), msgpack_pack_false(&pack), assert_decodes();
    assert_same_bool(&record.values[ORDER_post_only], BLOTTER_FALSE);
    pack_order_with("post_only"), msgpack_pack_int(&pack, 1),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "post_only");
    pack_order_with("post_only"), pack_text("true"),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "post_only");
}

static void nil_is_absent_for_every_field(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ORDER_FIELDS; i++) {
        pack_order_with(record_schemas[RECORD_ORDER].fields[i].name), msgpack_pack_nil(&pack),
            assert_decodes();
        assert_false(record.values[i].present);
    }
}

/* --- extra --- */

static void extra_as_text_is_kept_byte_for_byte(void **state)
{
    (void)state;
    pack_order_with("extra"), pack_text(" { \"a\" : 1.10 } "), assert_extra(" { \"a\" : 1.10 } ");
    pack_order_with("extra"), pack_text("{}"), assert_extra("{}");
}

static void extra_that_is_no_object_becomes_a_member_of_it(void **state)
{
    char *text = malloc(LIMIT_EXTRA_BYTES + 2);

    (void)state;
    pack_order_with("extra"), pack_text("[]"), assert_misplaced(RECORD_FAULT_NOT_JSON, "extra");
    pack_order_with("extra"), pack_text(""), assert_misplaced(RECORD_FAULT_NOT_JSON, "extra");
    pack_order_with("extra"), pack_text("{\"a\":\"\\u0000\"}"),
        assert_misplaced(RECORD_FAULT_HAS_NUL, "extra");
    memset(text, ' ', LIMIT_EXTRA_BYTES + 1);
    memcpy(text, "{}", 2);
    text[LIMIT_EXTRA_BYTES + 1] = '\0';
    pack_order_with("extra"), pack_text(text), assert_fault(RECORD_FAULT_TOO_LONG, "extra");
    text[LIMIT_EXTRA_BYTES] = '\0';
    pack_order_with("extra"), pack_text(text), assert_extra(text);
    free(text);
    pack_order_with("extra"), msgpack_pack_array(&pack, 0),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "extra");
    pack_order_with("extra"), msgpack_pack_int(&pack, 1),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "extra");
    pack_order_with("extra"), msgpack_pack_bin_with_body(&pack, "{}", 2),
        assert_misplaced(RECORD_FAULT_WRONG_TYPE, "extra");
}

static void extra_as_map_becomes_json(void **state)
{
    (void)state;
    pack_order_with("extra"), pack_map(0), assert_extra("{}");
    pack_order_with("extra"), pack_map(2), pack_text("a"), msgpack_pack_int(&pack, 1),
        pack_text("b"), pack_map(1), msgpack_pack_int(&pack, 2), msgpack_pack_nil(&pack);
    assert_extra("{\"a\":1,\"b\":{\"2\":null}}");
}

static void unknown_keys_become_members_of_extra(void **state)
{
    (void)state;
    pack_order_with("foo"), msgpack_pack_double(&pack, 1.5), assert_extra("{\"foo\":1.5}");
    pack_order_with(""), msgpack_pack_nil(&pack), assert_extra("{\"\":null}");
    pack_order_with("order_ix"), msgpack_pack_true(&pack), assert_extra("{\"order_ix\":true}");
    pack_order_with("extr\xc3\xa4"), msgpack_pack_array(&pack, 0),
        assert_extra("{\"extr\xc3\xa4\":[]}");
    pack_order_with("b"), msgpack_pack_bin_with_body(&pack, "\x01", 1),
        assert_extra("{\"b\":\"\\\\x01\"}");
}

static void unknown_keys_are_merged_with_extra_whichever_comes_first(void **state)
{
    (void)state;
    pack_map(4), pack_text("foo"), pack_text("1"), pack_text("extra"),
        pack_text(" { \"a\" : 1.10 } "), pack_text("order_id"), pack_text("1"), pack_text("bar"),
        msgpack_pack_int(&pack, 2);
    assert_extra("{\"foo\":\"1\",\"bar\":2,\"a\" : 1.10}");
    pack_map(3), pack_text("foo"), pack_text("1"), pack_text("extra"), pack_text(" { } "),
        pack_text("order_id"), pack_text("1");
    assert_extra("{\"foo\":\"1\"}");
    pack_map(4), pack_text("foo"), pack_text("1"), pack_text("extra"), pack_map(1), pack_text("a"),
        pack_text("b"), pack_text("order_id"), pack_text("1"), pack_text("bar"),
        msgpack_pack_int(&pack, 2);
    assert_extra("{\"foo\":\"1\",\"a\":\"b\",\"bar\":2}");
    pack_map(3), pack_text("extra"), msgpack_pack_nil(&pack), pack_text("foo"), pack_text("1"),
        pack_text("order_id"), pack_text("1");
    assert_extra("{\"foo\":\"1\"}");
}

static void values_made_here_do_not_disturb_each_other(void **state)
{
    (void)state;
    pack_map(6), pack_text("u"), pack_text("x"), pack_text("price"),
        msgpack_pack_double(&pack, 1.25), pack_text("v"), pack_text("y"), pack_text("order_id"),
        msgpack_pack_int(&pack, 77), pack_text("cost"), pack_text("1E2"), pack_text("w"),
        pack_text("z");
    assert_extra("{\"u\":\"x\",\"v\":\"y\",\"w\":\"z\"}");
    assert_value(&record.values[ORDER_price], "1.25");
    assert_value(&record.values[ORDER_order_id], "77");
    assert_value(&record.values[ORDER_cost], "100");
}

static void assert_changed(const char *expected)
{
    assert_extra(expected);
    assert_int_equal(problem.misplaced, 1);
}

static void unknown_values_that_json_cannot_say_are_kept_as_strings(void **state)
{
    (void)state;
    pack_order_with("foo"), msgpack_pack_double(&pack, (double)NAN);
    assert_changed("{\"foo\":\"NaN\"}");
    pack_order_with("foo"), pack_text("\xff"), assert_changed("{\"foo\":\"\\\\xff\"}");
    pack_order_with("fo\xff"), pack_text("a"), assert_changed("{\"\\\\x666fff\":\"a\"}");
    pack_order_with("foo"), msgpack_pack_str_with_body(&pack, "\0", 1);
    assert_changed("{\"foo\":\"\\\\x00\"}");
    pack_order_with("foo"), pack_map(1), pack_map(0), msgpack_pack_nil(&pack);
    assert_changed("{\"foo\":{\"\\\\x80\":null}}");
}

static void misplaced_values_are_as_they_came(void **state)
{
    (void)state;
    pack_order_with("price"), msgpack_pack_double(&pack, (double)NAN);
    assert_changed("{\"price\":\"NaN\"}");
    pack_order_with("price"), pack_text("1,5"), assert_changed("{\"price\":\"1,5\"}");
    pack_order_with("exchange_time"), msgpack_pack_int64(&pack, 1700000000123);
    assert_changed("{\"exchange_time\":1700000000123}");
    pack_order_with("liquidity"), msgpack_pack_false(&pack);
    assert_changed("{\"liquidity\":false}");
    pack_order_with("fees"), msgpack_pack_array(&pack, 1), pack_text("x");
    assert_changed("{\"fees\":[\"x\"]}");
    pack_order_with("extra"), pack_text("{"), assert_changed("{\"extra\":\"{\"}");
}

/* The field that is missed is named, and why it is not there. */
static void a_required_value_that_is_wrong_is_told(void **state)
{
    (void)state;
    pack_map(1), pack_text("order_id"), msgpack_pack_true(&pack);
    assert_fault(RECORD_FAULT_WRONG_TYPE, "order_id");
    pack_map(1), pack_text("client_order_id"), pack_text("\xff");
    assert_fault(RECORD_FAULT_NOT_UTF8, "client_order_id");
    pack_map(3), pack_text("symbol"), pack_text("BTC/USDT"), pack_text("quantity"), pack_text("1"),
        pack_text("price"), pack_text("x");
    assert_int_equal(decode_packed(RECORD_TRADE), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_NOT_DECIMAL);
    assert_string_equal(problem.field, "price");
}

static void several_misplaced_values_are_all_kept_and_counted(void **state)
{
    (void)state;
    pack_map(5), pack_text("order_id"), pack_text("1"), pack_text("price"), pack_text("x"),
        pack_text("extra"), pack_text("{\"a\":1}"), pack_text("side"), msgpack_pack_true(&pack),
        pack_text("cost"), msgpack_pack_double(&pack, (double)INFINITY);
    assert_extra("{\"price\":\"x\",\"side\":true,\"cost\":\"Infinity\",\"a\":1}");
    assert_int_equal(problem.misplaced, 3);
    assert_int_equal(problem.fault, RECORD_FAULT_WRONG_TYPE); /* of the first field: side */
    assert_string_equal(problem.field, "side");
}

static void amounts_may_be_a_map_or_json(void **state)
{
    static const char expected[] = "{\"USDT\":0.10,\"BNB\":-1,\"X\":0.5}";

    (void)state;
    pack_order_with("fees"), pack_text(" { \"USDT\" : \"0.10\", \"BNB\":-1 ,\"X\": 5E-1}");
    assert_decodes(), assert_value(&record.values[ORDER_fees], expected);
    pack_order_with("fees"), pack_map(3), pack_text("USDT"), pack_text("0.10"), pack_text("BNB"),
        msgpack_pack_int(&pack, -1), pack_text("X"), msgpack_pack_double(&pack, 0.5);
    assert_decodes(), assert_value(&record.values[ORDER_fees], expected);
    pack_order_with("fees"), pack_map(1), pack_text("a\"b"), pack_text("+.5");
    assert_decodes(), assert_value(&record.values[ORDER_fees], "{\"a\\\"b\":0.5}");
    pack_order_with("fees"), pack_map(1), pack_text("USDT"), pack_text("x");
    assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "fees");
    pack_order_with("fees"), pack_map(1), pack_text("USDT"), msgpack_pack_nil(&pack);
    assert_misplaced(RECORD_FAULT_WRONG_TYPE, "fees");
    pack_order_with("fees"), pack_map(1), msgpack_pack_int(&pack, 1), msgpack_pack_int(&pack, 1);
    assert_misplaced(RECORD_FAULT_WRONG_TYPE, "fees");
    pack_order_with("fees"), pack_map(0), assert_misplaced(RECORD_FAULT_WRONG_TYPE, "fees");
    pack_order_with("fees"), pack_text("{}"), assert_misplaced(RECORD_FAULT_NOT_JSON, "fees");
    pack_order_with("fees"), pack_text("{\"A\":1,}"),
        assert_misplaced(RECORD_FAULT_NOT_JSON, "fees");
    pack_order_with("fees"), pack_text("{\"A\":true}"),
        assert_misplaced(RECORD_FAULT_NOT_DECIMAL, "fees");
}

static void json_that_grows_beyond_the_limit_is_too_long(void **state)
{
    static char bytes[LIMIT_EXTRA_BYTES];

    (void)state;
    pack_order_with("foo"), msgpack_pack_bin_with_body(&pack, bytes, LIMIT_EXTRA_BYTES / 2);
    assert_fault(RECORD_FAULT_TOO_LONG, "extra");
    pack_order_with("f"), msgpack_pack_bin_with_body(&pack, bytes, LIMIT_EXTRA_BYTES / 2 - 6),
        assert_decodes();
    assert_int_equal(record.values[ORDER_extra].length,
                     LIMIT_EXTRA_BYTES - 12 + strlen("{\"f\":\"\\\\x\"}"));
    memset(bytes, 1,
           sizeof bytes); /* six times as long: the scratch is large enough all the same */
    pack_order_with("f"), msgpack_pack_str_with_body(&pack, bytes, sizeof bytes);
    assert_fault(RECORD_FAULT_TOO_LONG, "extra");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_orders_come_back_as_they_were),
        cmocka_unit_test(trades_and_sessions_come_back_as_they_were),
        cmocka_unit_test(keys_may_come_in_any_order),
        cmocka_unit_test(decimals_may_be_text_or_any_number),
        cmocka_unit_test(values_that_are_no_decimals_go_to_extra),
        cmocka_unit_test(texts_may_be_integers_as_ids_are),
        cmocka_unit_test(texts_are_checked),
        cmocka_unit_test(times_may_be_nanoseconds_or_timestamps),
        cmocka_unit_test(times_in_another_unit_are_out_of_range),
        cmocka_unit_test(times_beyond_int64_nanoseconds_are_out_of_range),
        cmocka_unit_test(other_values_are_no_times),
        cmocka_unit_test(flags_are_bools_only),
        cmocka_unit_test(nil_is_absent_for_every_field),
        cmocka_unit_test(extra_as_text_is_kept_byte_for_byte),
        cmocka_unit_test(extra_that_is_no_object_becomes_a_member_of_it),
        cmocka_unit_test(extra_as_map_becomes_json),
        cmocka_unit_test(unknown_keys_become_members_of_extra),
        cmocka_unit_test(unknown_keys_are_merged_with_extra_whichever_comes_first),
        cmocka_unit_test(values_made_here_do_not_disturb_each_other),
        cmocka_unit_test(unknown_values_that_json_cannot_say_are_kept_as_strings),
        cmocka_unit_test(misplaced_values_are_as_they_came),
        cmocka_unit_test(a_required_value_that_is_wrong_is_told),
        cmocka_unit_test(several_misplaced_values_are_all_kept_and_counted),
        cmocka_unit_test(amounts_may_be_a_map_or_json),
        cmocka_unit_test(json_that_grows_beyond_the_limit_is_too_long),
    };
    random_begin();
    return cmocka_run_group_tests(tests, begin_packing, end_packing);
}
