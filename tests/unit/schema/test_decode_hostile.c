/* Decoding of maps that are not as they should be, and of bytes that nobody should have sent. */
#include <time.h>

#include "schema/decimal.h"
#include "tests/unit/decoding.h"

static unsigned char wire[LIMIT_RECORD_BYTES];

/* --- the map --- */

static void known_keys_given_twice_are_refused(void **state)
{
    (void)state;
    pack_map(2), pack_text("order_id"), pack_text("1"), pack_text("order_id"), pack_text("1");
    assert_fault(RECORD_FAULT_DUPLICATE, "order_id");
    pack_map(3), pack_text("order_id"), pack_text("1"), pack_text("price"), msgpack_pack_nil(&pack),
        pack_text("price"), pack_text("1");
    assert_fault(RECORD_FAULT_DUPLICATE, "price");
    pack_map(2), pack_text("extra"), pack_map(0), pack_text("extra"), pack_map(0),
        assert_fault(RECORD_FAULT_DUPLICATE, "extra");
}

static void required_fields_are_missed(void **state)
{
    (void)state;
    pack_map(0), assert_fault(RECORD_FAULT_MISSING, "order_id");
    pack_map(1), pack_text("order_id"), msgpack_pack_nil(&pack),
        assert_fault(RECORD_FAULT_MISSING, "order_id");
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
    if (producer_id) {
        pack_text("producer_id"), msgpack_pack_int64(&pack, producer_id);
    }
    if (seq) {
        pack_text("seq"), msgpack_pack_int64(&pack, seq);
    }
    if (recorded_at) {
        pack_text("recorded_at"), msgpack_pack_int64(&pack, recorded_at);
    }
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
    pack_identity(1, 1, LIMIT_RECORDED_AT_MIN_NS - 1),
        assert_fault(RECORD_FAULT_OUT_OF_RANGE, "recorded_at");
    pack_identity(1, RECORD_SEQ_MAX, now), assert_decodes();
    pack_identity(1, RECORD_SEQ_MAX + 1, now), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "seq");
    pack_identity(1, INT64_MAX, now), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "seq");
    pack_order_with("seq"), msgpack_pack_int(&pack, 0),
        assert_fault(RECORD_FAULT_MISSING, "producer_id");
    pack_order_with("seq"), pack_text("1"), assert_fault(RECORD_FAULT_WRONG_TYPE, "seq");
    pack_order_with("seq"), msgpack_pack_double(&pack, 1),
        assert_fault(RECORD_FAULT_WRONG_TYPE, "seq");
    pack_order_with("seq"), msgpack_pack_uint64(&pack, UINT64_MAX),
        assert_fault(RECORD_FAULT_OUT_OF_RANGE, "seq");
}

static void assert_session(const char *counter, int64_t value, enum record_fault fault)
{
    pack_map(2), pack_text("event"), pack_text("closed"), pack_text(counter);
    msgpack_pack_int64(&pack, value);
    assert_int_equal(decode_packed(RECORD_SESSION), fault == RECORD_FAULT_NONE ? 0 : -1);
    assert_int_equal(problem.fault, fault);
    if (fault != RECORD_FAULT_NONE) {
        assert_string_equal(problem.field, counter);
    }
}

static void counters_of_sessions_are_bounded(void **state)
{
    static const char *const counters[] = {"last_seq", "confirmed_seq"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_session(counters[i], 0, RECORD_FAULT_NONE);
        assert_session(counters[i], RECORD_SEQ_MAX, RECORD_FAULT_NONE);
        assert_session(counters[i], RECORD_SEQ_MAX + 1, RECORD_FAULT_OUT_OF_RANGE);
        assert_session(counters[i], INT64_MAX, RECORD_FAULT_OUT_OF_RANGE);
        assert_session(counters[i], -1, RECORD_FAULT_OUT_OF_RANGE);
    }
    assert_session("follows", INT64_MAX, RECORD_FAULT_NONE); /* a producer_id */
    assert_session("follows", 0, RECORD_FAULT_OUT_OF_RANGE);
    pack_map(2), pack_text("event"), pack_text("closed"), pack_text("last_seq"), pack_text("1");
    assert_int_equal(decode_packed(RECORD_SESSION), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_WRONG_TYPE);
}

static void an_exchange_is_a_valid_name(void **state)
{
    (void)state;
    pack_order_with("exchange"), pack_text("binance"), assert_decodes();
    pack_order_with("exchange"), pack_text(""), assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange");
    pack_order_with("exchange"), pack_text("Binance"),
        assert_fault(RECORD_FAULT_OUT_OF_RANGE, "exchange");
    pack_order_with("exchange"), pack_text("abcdefghijklmnopqrstuvwxyz0123456"),
        assert_fault(RECORD_FAULT_TOO_LONG, "exchange");
}

static void what_is_no_map_with_string_keys_is_refused(void **state)
{
    (void)state;
    msgpack_pack_array(&pack, 0), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    msgpack_pack_nil(&pack), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_text("order"), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_map(1), msgpack_pack_int(&pack, 1), msgpack_pack_nil(&pack),
        assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_map(1), msgpack_pack_bin_with_body(&pack, "order_id", 8), pack_text("1"),
        assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    msgpack_sbuffer_write(&packed, "\xc1", 1), assert_fault(RECORD_FAULT_NOT_MSGPACK, NULL);
    pack_order_with("price"), msgpack_sbuffer_write(&packed, "\xc1", 1),
        assert_fault(RECORD_FAULT_NOT_MSGPACK, "price");
    pack_order_with("foo"), msgpack_sbuffer_write(&packed, "\xc1", 1),
        assert_fault(RECORD_FAULT_NOT_MSGPACK, "extra");
    assert_fault(RECORD_FAULT_TRUNCATED, NULL); /* nothing at all */
}

static void bytes_behind_the_end_are_refused(void **state)
{
    (void)state;
    pack_map(1), pack_text("order_id"), pack_text("1"), msgpack_pack_nil(&pack),
        assert_fault(RECORD_FAULT_TRAILING, NULL);
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
        if (count <= LIMIT_KEYS) {
            assert_decodes();
        } else {
            assert_fault(RECORD_FAULT_TOO_MANY, NULL);
        }
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

static void deep_values_are_kept_as_the_bytes_they_came_in(void **state)
{
    (void)state;
    for (unsigned depth = LIMIT_NESTING - 1; depth <= LIMIT_NESTING; depth++) {
        pack_order_with("foo"); /* a member of extra, which counts */
        for (unsigned i = 0; i < depth; i++) {
            msgpack_pack_array(&pack, 1);
        }
        msgpack_pack_nil(&pack);
        assert_extra(depth < LIMIT_NESTING
                         ? "{\"foo\":[[[[[[[[[[[[[[[null]]]]]]]]]]]]]]]}"
                         : "{\"foo\":[[[[[[[[[[[[[[[\"\\\\x91c0\"]]]]]]]]]]]]]]]}");
        assert_int_equal(problem.misplaced, depth == LIMIT_NESTING);
    }
    pack_order_with("extra");
    for (unsigned i = 0; i < LIMIT_NESTING; i++) {
        pack_map(1), pack_text("a");
    }
    msgpack_pack_nil(&pack), assert_decodes();
    assert_int_equal(problem.misplaced, 0);
    pack_order_with("extra");
    for (unsigned i = 0; i <= LIMIT_NESTING; i++) {
        pack_map(1), pack_text("a");
    }
    msgpack_pack_nil(&pack), assert_decodes();
    assert_int_equal(problem.misplaced, 1);
    for (int i = 0; i < 60000; i++) {
        i == 0 ? pack_order_with("foo") : (void)msgpack_pack_array(&pack, 1);
    }
    assert_fault(RECORD_FAULT_TRUNCATED, "extra");
}

/* --- hostile bytes --- */

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
    pack_text("symbol"),
        pack_text("BTC/USDT:USDT with a text that is longer than a fixstr \xe2\x82\xac");
    pack_text("price"), pack_text("1.50E1");
    pack_text("cost"), msgpack_pack_double(&pack, 0.1);
    pack_text("fee"), msgpack_pack_float(&pack, 0.3f);
    pack_text("post_only"), msgpack_pack_true(&pack);
    pack_text("reason"), msgpack_pack_nil(&pack);
    pack_text("foo"), msgpack_pack_array(&pack, 3),
        msgpack_pack_bin_with_body(&pack, "\x01\x02", 2), pack_map(1), msgpack_pack_int(&pack, 1),
        pack_text("a\"b"), msgpack_pack_ext_with_body(&pack, "abc", 3, 9);
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
    return (const char *)bytes >= (const char *)area &&
           (const char *)bytes + length <= (const char *)area + size;
}

/* Asserts the invariants of every decoded record, whatever its bytes were. */
static void assert_record_is_sound(const unsigned char *bytes, size_t length)
{
    for (unsigned i = 0; i < ORDER_FIELDS; i++) {
        const struct record_value *value = &record.values[i];
        enum field_kind kind = record_schemas[RECORD_ORDER].fields[i].kind;
        if (!value->present || kind == FIELD_TIME || kind == FIELD_INT || kind == FIELD_BOOL) {
            continue;
        }
        assert_true(inside(value->bytes, value->length, bytes, length) ||
                    inside(value->bytes, value->length, scratch_bytes, sizeof scratch_bytes));
        if (kind == FIELD_DECIMAL) {
            assert_true(decimal_is_canonical(value->bytes, value->length));
        } else if (kind == FIELD_JSON) {
            assert_int_equal(json_read_object(value->bytes, value->length), RECORD_FAULT_NONE);
        } else {
            assert_int_equal(text_check(value->bytes, value->length), RECORD_FAULT_NONE);
        }
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
            if (record_decode(RECORD_ORDER, NULL, bytes, length, &scratch, &record, &problem) ==
                0) {
                assert_record_is_sound(bytes, length);
            } else {
                assert_int_not_equal(problem.fault, RECORD_FAULT_NONE);
            }
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
        for (unsigned changes = random_below(12); changes > 0; changes--) {
            bytes[random_below((unsigned)size)] = (unsigned char)random_next();
        }
        if (record_decode(RECORD_ORDER, NULL, bytes, size, &scratch, &record, &problem) == 0) {
            assert_record_is_sound(bytes, size);
        }
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
        int result = record_decode(RECORD_ORDER, NULL, wire, length, &small, &record, &problem);
        assert_true(result == 0 || problem.fault == RECORD_FAULT_TOO_LONG);
        assert_true(result == 0 || !fitted);
        assert_true(small.used <= capacity);
        assert_int_equal(bytes[capacity], 'x');
        fitted = result == 0;
        free(bytes);
    }
    assert_true(fitted);
}

/* --- work --- */

/* Decodes an order with a list of fees, and one whose members say nothing but for the last. Returns
 * the processor time. */
static int64_t decode_fees_ns(size_t members, size_t entries)
{
    struct timespec begun, ended;

    pack_map(3), pack_text("order_id"), pack_text("1"), pack_text("fee"), pack_map(members + 1);
    for (size_t i = 0; i < members; i++) {
        pack_text(""), msgpack_pack_nil(&pack);
    }
    pack_text("a"), msgpack_pack_int(&pack, 2);
    pack_text("fees"), msgpack_pack_array(&pack, entries);
    for (size_t i = 0; i < entries; i++) {
        pack_map(1), pack_text("a"), msgpack_pack_int(&pack, 1);
    }
    assert_true(packed.size <= LIMIT_RECORD_BYTES);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
    decode_packed(RECORD_ORDER);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    return (ended.tv_sec - begun.tv_sec) * 1000000000 + ended.tv_nsec - begun.tv_nsec;
}

/* Each look for the fee in the list read all of it: together two seconds for one record. */
static void a_fee_and_a_list_of_fees_cost_what_they_cost_apart(void **state)
{
    (void)state;
    decode_fees_ns(15000, 8000);
    int64_t apart = decode_fees_ns(15000, 1) + decode_fees_ns(1, 8000);
    int64_t together = decode_fees_ns(15000, 8000);
    assert_true(together < 100 * apart);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_keys_given_twice_are_refused),
        cmocka_unit_test(required_fields_are_missed),
        cmocka_unit_test(an_identity_is_given_whole_or_not_at_all),
        cmocka_unit_test(counters_of_sessions_are_bounded),
        cmocka_unit_test(an_exchange_is_a_valid_name),
        cmocka_unit_test(what_is_no_map_with_string_keys_is_refused),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test(keys_are_counted),
        cmocka_unit_test(records_longer_than_the_limit_are_refused),
        cmocka_unit_test(deep_values_are_kept_as_the_bytes_they_came_in),
        cmocka_unit_test(headers_that_announce_more_than_there_is_are_truncated),
        cmocka_unit_test(every_truncation_is_told_as_such),
        cmocka_unit_test(every_flipped_byte_is_survived),
        cmocka_unit_test(random_bytes_are_survived),
        cmocka_unit_test(a_small_scratch_is_too_small_and_never_exceeded),
        cmocka_unit_test(a_fee_and_a_list_of_fees_cost_what_they_cost_apart),
    };
    random_begin();
    return cmocka_run_group_tests(tests, begin_packing, end_packing);
}
