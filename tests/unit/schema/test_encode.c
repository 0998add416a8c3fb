/* Encoding, read back by msgpack-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "schema/decimal.h"
#include "schema/record.h"
#include "tests/unit/random_input.h"

/* A record on the wire, and as msgpack-c reads it. */
static unsigned char wire[LIMIT_RECORD_BYTES + 1024];
static msgpack_unpacked unpacked;

static const struct record_identity identity = {123456789012, 42, INT64_C(1700000000123456789),
                                                "binance"};

static const msgpack_object_map *unpack(size_t length)
{
    size_t offset = 0;

    msgpack_unpacked_destroy(&unpacked);
    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, (char *)wire, length, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, length);
    assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_MAP);
    return &unpacked.data.via.map;
}

/* Puts the head before a body. */
static const msgpack_object_map *unpack_body(const unsigned char *body, int length, unsigned fields)
{
    assert_true(length >= 0);
    size_t head = record_encode_head(&identity, fields, wire);
    assert_true(head <= RECORD_HEAD_BYTES_MAX);
    memcpy(wire + head, body, (size_t)length);
    return unpack(head + (size_t)length);
}

static const msgpack_object_map *encode_order(const struct blotter_order *order)
{
    static unsigned char body[LIMIT_RECORD_BYTES];
    struct record_problem problem;
    unsigned fields;

    int length = record_encode(RECORD_ORDER, order, body, sizeof body, &fields, &problem);
    return unpack_body(body, length, fields);
}

static const msgpack_object *find(const msgpack_object_map *map, const char *name)
{
    const msgpack_object *found = NULL;

    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object_str *key = &map->ptr[i].key.via.str;
        assert_int_equal(map->ptr[i].key.type, MSGPACK_OBJECT_STR);
        if (key->size != strlen(name) || memcmp(key->ptr, name, key->size) != 0) {
            continue;
        }
        assert_null(found);
        found = &map->ptr[i].val;
    }
    return found;
}

static void assert_str(const msgpack_object_map *map, const char *name, const char *expected)
{
    const msgpack_object *value = find(map, name);

    if (expected == NULL) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(value->type, MSGPACK_OBJECT_STR);
    assert_int_equal(value->via.str.size, strlen(expected));
    assert_memory_equal(value->via.str.ptr, expected, strlen(expected));
}

static void assert_int(const msgpack_object_map *map, const char *name, int64_t expected)
{
    const msgpack_object *value = find(map, name);

    if (expected == 0) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_true(value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
                value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER);
    assert_true(value->via.i64 == expected);
}

static void assert_bool(const msgpack_object_map *map, const char *name, enum blotter_bool expected)
{
    const msgpack_object *value = find(map, name);

    if (expected == BLOTTER_ABSENT) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(value->type, MSGPACK_OBJECT_BOOLEAN);
    assert_int_equal(value->via.boolean, expected == BLOTTER_TRUE);
}

static void assert_problem(const struct blotter_order *order, enum record_fault fault,
                           const char *field)
{
    unsigned char body[4096];
    struct record_problem problem;
    unsigned fields;

    assert_int_equal(record_encode(RECORD_ORDER, order, body, sizeof body, &fields, &problem), -1);
    assert_int_equal(problem.fault, fault);
    if (field != NULL) {
        assert_string_equal(problem.field, field);
    } else {
        assert_null(problem.field);
    }
}

/* The value of a field that cannot take it is in `extra`, as `json` says. */
static void assert_misplaced(const struct blotter_order *order, enum record_fault fault,
                             const char *field, const char *json)
{
    unsigned char body[8192];
    struct record_problem problem;
    unsigned fields;

    int length = record_encode(RECORD_ORDER, order, body, sizeof body, &fields, &problem);
    const msgpack_object_map *map = unpack_body(body, length, fields);
    assert_int_equal(problem.fault, fault);
    assert_string_equal(problem.field, field);
    assert_int_equal(problem.misplaced, 1);
    if (strcmp(field, "extra") != 0) {
        assert_null(find(map, field));
    }
    if (json != NULL) {
        assert_str(map, "extra", json);
    } else {
        assert_non_null(find(map, "extra"));
    }
}

/* --- whole records --- */

#define FULL_TEXT "text"
#define FULL_DECIMAL "12.50"
#define FULL_AMOUNTS "{\"USDT\":0.10}"
#define FULL_JSON "{\"a\":1.10}"
#define FULL_TIME INT64_C(1700000000000000001)
#define FULL_INT INT64_C(7)
#define FULL_BOOL BLOTTER_FALSE
#define FULL(name, kind, meaning) .name = FULL_##kind,

#define ASSERT_TEXT assert_str
#define ASSERT_DECIMAL assert_str
#define ASSERT_AMOUNTS assert_str
#define ASSERT_JSON assert_str
#define ASSERT_TIME assert_int
#define ASSERT_INT assert_int
#define ASSERT_BOOL assert_bool
#define ASSERT_FULL(name, kind, meaning) ASSERT_##kind(map, #name, FULL_##kind);

static void assert_identity(const msgpack_object_map *map)
{
    assert_int(map, "producer_id", identity.producer_id);
    assert_int(map, "seq", identity.seq);
    assert_int(map, "recorded_at", identity.recorded_at_ns);
    assert_str(map, "exchange", identity.exchange);
}

static void an_order_with_every_field_is_a_map_of_all(void **state)
{
    const struct blotter_order order = {BLOTTER_ORDER_FIELDS(FULL)};
    const msgpack_object_map *map = encode_order(&order);

    (void)state;
    assert_int_equal(map->size, RECORD_HEAD_FIELDS + ORDER_FIELDS - RECORD_IDENTITY_FIELDS);
    assert_identity(map);
    BLOTTER_ORDER_FIELDS(ASSERT_FULL)
    for (uint32_t i = 0; i < map->size; i++) { /* in the order of the fields, without the lane */
        uint32_t index =
            i < RECORD_HEAD_FIELDS ? i : i + RECORD_IDENTITY_FIELDS - RECORD_HEAD_FIELDS;
        const struct record_field *field = &record_schemas[RECORD_ORDER].fields[index];
        assert_memory_equal(map->ptr[i].key.via.str.ptr, field->name, field->name_length);
    }
}

/* Every kind, with all its fields. */
#define FULL_RECORD(kind, name, sql_schema, table, fields)                 \
    static void full_##name(void)                                          \
    {                                                                      \
        const struct blotter_##name full = {fields(FULL)};                 \
        const msgpack_object_map *map = encode_full(RECORD_##kind, &full); \
        fields(ASSERT_FULL)                                                \
    }
static const msgpack_object_map *encode_full(enum record_kind kind, const void *full)
{
    unsigned char body[4096];
    struct record_problem problem;
    unsigned fields;

    int length = record_encode(kind, full, body, sizeof body, &fields, &problem);
    const msgpack_object_map *map = unpack_body(body, length, fields);
    assert_int_equal(map->size, RECORD_HEAD_FIELDS + record_schemas[kind].field_count -
                                    RECORD_IDENTITY_FIELDS);
    assert_identity(map);
    return map;
}
BLOTTER_RECORD_KINDS(FULL_RECORD)

static void every_kind_with_every_field_is_a_map_of_all(void **state)
{
    (void)state;
#define CALL_FULL(kind, name, sql_schema, table, fields) full_##name();
    BLOTTER_RECORD_KINDS(CALL_FULL)
}

static void absent_fields_are_not_in_the_map(void **state)
{
    const msgpack_object_map *map = encode_order(&(struct blotter_order){.order_id = "7"});

    (void)state;
    assert_int_equal(map->size, RECORD_HEAD_FIELDS + 1);
    assert_str(map, "order_id", "7");
}

static void true_is_true(void **state)
{
    const msgpack_object_map *map =
        encode_order(&(struct blotter_order){.order_id = "7", .post_only = BLOTTER_TRUE});

    (void)state;
    assert_bool(map, "post_only", BLOTTER_TRUE);
    assert_bool(map, "reduce_only", BLOTTER_ABSENT);
}

static void random_orders_read_back(void **state)
{
    static char texts[ORDER_FIELDS][400];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct blotter_order order = {.order_id = "always"};
        const msgpack_object_map *map;
        unsigned n = 0;
        for (unsigned j = 0; j < ORDER_FIELDS; j++) {
            unsigned length = random_below(random_below(4) ? 40 : 400);
            memset(texts[j], 'a' + (int)random_below(26), length);
            texts[j][length] = '\0';
        }
#define RANDOM_TEXT texts[n]
#define RANDOM_DECIMAL "0.0012"
#define RANDOM_AMOUNTS "{\"USDT\":0.10}"
#define RANDOM_JSON "{}"
#define RANDOM_TIME \
    LIMIT_TIME_MIN_NS + (int64_t)(random_next() % (uint64_t)(LIMIT_TIME_END_NS - LIMIT_TIME_MIN_NS))
#define RANDOM_INT (int64_t) random_next()
#define RANDOM_BOOL (enum blotter_bool)(1 + random_below(2))
#define RANDOM(name, kind, meaning) \
    if (n++, random_below(2))       \
        order.name = RANDOM_##kind;
        BLOTTER_ORDER_FIELDS(RANDOM)
        order.order_id = order.order_id != NULL ? order.order_id : "always";
        map = encode_order(&order);
#define ASSERT_SAME(name, kind, meaning) ASSERT_##kind(map, #name, order.name);
        BLOTTER_ORDER_FIELDS(ASSERT_SAME)
    }
}

/* --- the head --- */

static void the_head_counts_identity_and_body(void **state)
{
    unsigned char head[RECORD_HEAD_BYTES_MAX];

    (void)state;
    record_encode_head(&identity, 11, head);
    assert_int_equal(head[0], 0x8f);
    record_encode_head(&identity, 12, head);
    assert_memory_equal(head, "\xde\x00\x10", 3);
    record_encode_head(&identity, 300, head);
    assert_memory_equal(head, "\xde\x01\x30", 3);
}

static void the_longest_head_is_as_long_as_promised(void **state)
{
    const struct record_identity longest = {INT64_MIN, INT64_MAX, -1,
                                            "abcdefghijklmnopqrstuvwxyz012345"};
    unsigned char *head = malloc(RECORD_HEAD_BYTES_MAX);

    (void)state;
    assert_int_equal(record_encode_head(&longest, 12, head), RECORD_HEAD_BYTES_MAX);
    free(head);
}

/* --- limits and faults --- */

static void texts_of_every_length_to_the_limit_are_kept(void **state)
{
    char text[LIMIT_TEXT_BYTES + 2];
    struct blotter_order order = {.order_id = "1", .reason = text};

    (void)state;
    for (size_t length = 0; length <= LIMIT_TEXT_BYTES; length++) {
        for (size_t i = 0; i < length; i++) {
            text[i] = (char)('a' + i % 26);
        }
        text[length] = '\0';
        assert_str(encode_order(&order), "reason", text);
    }
    memset(text, 'a', LIMIT_TEXT_BYTES + 1);
    text[LIMIT_TEXT_BYTES + 1] = '\0';
    assert_misplaced(&order, RECORD_FAULT_TOO_LONG, "reason", NULL);
}

/* Behind them is a page that cannot be read, or, for what watches every byte, memory that nobody
 * has; other bytes lie before them. */
static void texts_may_end_where_memory_ends(void **state)
{
    enum { PAGE = 4096, LENGTHS = 40 };
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
    memset(pages, '5', PAGE);
    for (size_t length = 0; length <= LENGTHS; length++) {
        char *text = pages + PAGE - 1 - length, *heap = malloc(length + 1);
        pages[PAGE - 1] = '\0';
        memcpy(heap, text, length + 1);
        const struct blotter_order order = {.order_id = text,
                                            .price = length > 0 ? text : NULL,
                                            .reason = heap,
                                            .quantity = length > 0 ? heap : NULL};
        const msgpack_object_map *map = encode_order(&order);
        assert_str(map, "order_id", text);
        assert_str(map, "reason", text);
        if (length > 0) {
            assert_str(map, "price", text);
            assert_str(map, "quantity", text);
        }
        free(heap);
    }
    munmap(pages, 2 * PAGE);
}

static void text_beyond_ascii_is_kept_and_invalid_utf8_goes_to_extra_wherever_it_is(void **state)
{
    char text[64];
    struct blotter_order order = {.order_id = "1", .account = text};

    (void)state;
    for (unsigned length = 2; length < 40; length++) {
        for (unsigned at = 0; at + 2 <= length; at++) {
            memset(text, 'x', length);
            text[length] = '\0';
            memcpy(text + at, "\xc3\xa4", 2);
            assert_str(encode_order(&order), "account", text);
            text[at + 1] = 'x';
            assert_misplaced(&order, RECORD_FAULT_NOT_UTF8, "account", NULL);
        }
    }
}

static void required_fields_are_missed(void **state)
{
    unsigned char body[4096];
    struct record_problem problem;
    unsigned fields;
    struct blotter_trade trade = {.symbol = "BTC/USDT", .price = "1", .quantity = "1"};

    (void)state;
    assert_problem(&(struct blotter_order){.symbol = "BTC/USDT"}, RECORD_FAULT_MISSING, "order_id");
    encode_order(&(struct blotter_order){.client_order_id = ""});
    encode_order(&(struct blotter_order){.order_id = ""});
    assert_true(record_encode(RECORD_TRADE, &trade, body, sizeof body, &fields, &problem) > 0);
    assert_int_equal(fields, 3);
    const char **members[] = {&trade.symbol, &trade.price, &trade.quantity};
    static const char *const names[] = {"symbol", "price", "quantity"};
    for (unsigned i = 0; i < 3; i++) {
        const char *given = *members[i];
        *members[i] = NULL;
        assert_int_equal(record_encode(RECORD_TRADE, &trade, body, sizeof body, &fields, &problem),
                         -1);
        assert_int_equal(problem.fault, RECORD_FAULT_MISSING);
        assert_string_equal(problem.field, names[i]);
        *members[i] = given;
    }
    assert_int_equal(record_encode(RECORD_SESSION, &(struct blotter_session){.pid = 1}, body,
                                   sizeof body, &fields, &problem),
                     -1);
    assert_int_equal(problem.fault, RECORD_FAULT_MISSING);
    assert_string_equal(problem.field, "event");
}

static void values_that_a_field_cannot_take_go_to_extra(void **state)
{
#define WITH(member) &(struct blotter_order){.order_id = "1", member}
    (void)state;
    assert_misplaced(WITH(.price = ""), RECORD_FAULT_NOT_DECIMAL, "price", "{\"price\":\"\"}");
    assert_misplaced(WITH(.fee = "NaN"), RECORD_FAULT_NOT_DECIMAL, "fee", "{\"fee\":\"NaN\"}");
    assert_misplaced(WITH(.account = "a\xff"), RECORD_FAULT_NOT_UTF8, "account",
                     "{\"account\":\"\\\\x61ff\"}");
    assert_misplaced(WITH(.extra = "[]"), RECORD_FAULT_NOT_JSON, "extra", "{\"extra\":\"[]\"}");
    assert_misplaced(WITH(.extra = ""), RECORD_FAULT_NOT_JSON, "extra", "{\"extra\":\"\"}");
    assert_misplaced(WITH(.extra = "{\"a\":\"\\u0000\"}"), RECORD_FAULT_HAS_NUL, "extra",
                     "{\"extra\":\"{\\\"a\\\":\\\"\\\\u0000\\\"}\"}");
    assert_misplaced(WITH(.fees = "{\"USDT\":null}"), RECORD_FAULT_NOT_DECIMAL, "fees",
                     "{\"fees\":\"{\\\"USDT\\\":null}\"}");
    assert_misplaced(WITH(.post_only = (enum blotter_bool)3), RECORD_FAULT_OUT_OF_RANGE,
                     "post_only", "{\"post_only\":3}");
    assert_misplaced(WITH(.exchange_time = 1700000000123), RECORD_FAULT_OUT_OF_RANGE,
                     "exchange_time", "{\"exchange_time\":1700000000123}");
    assert_misplaced(WITH(.exchange_time = -1), RECORD_FAULT_OUT_OF_RANGE, "exchange_time",
                     "{\"exchange_time\":-1}");
}

static void misplaced_values_join_the_strategys_own_extra(void **state)
{
    const struct blotter_order order = {
        .order_id = "1", .price = "x", .side = "\xff", .cost = "1", .extra = " { \"a\" : 1.10 } "};
    unsigned char body[4096];
    struct record_problem problem;
    unsigned fields;

    (void)state;
    int length = record_encode(RECORD_ORDER, &order, body, sizeof body, &fields, &problem);
    const msgpack_object_map *map = unpack_body(body, length, fields);
    assert_str(map, "extra", "{\"a\" : 1.10,\"side\":\"\\\\xff\",\"price\":\"x\"}");
    assert_str(map, "cost", "1");
    assert_int_equal(problem.misplaced, 2);
    assert_string_equal(problem.field, "side");
}

/* Whatever the room, the record is written as long as its good values and each key fit. */
static void misplaced_values_never_cost_the_record(void **state)
{
    char text[3000];
    struct blotter_order order = {.order_id = "1", .side = "buy", .reason = text, .price = "x"};
    unsigned fields;

    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        text[i] = (char)(i % 3 ? '"' : 0xff);
    }
    text[sizeof text - 1] = '\0';
    for (size_t capacity = 0; capacity < 400; capacity++) {
        unsigned char *body = malloc(capacity + 1);
        struct record_problem problem;
        body[capacity] = 0x5a;
        int length = record_encode(RECORD_ORDER, &order, body, capacity, &fields, &problem);
        assert_int_equal(body[capacity], 0x5a);
        if (capacity < strlen("_order_id_1_side_buy")) {
            assert_int_equal(length, -1);
        } else if (capacity >= strlen("_order_id_1_side_buy_reason")) {
            const msgpack_object_map *map = unpack_body(body, length, fields);
            assert_str(map, "order_id", "1");
            assert_str(map, "side", "buy");
            assert_int_equal(problem.misplaced, 2);
        }
        free(body);
    }
}

static void a_required_value_that_is_wrong_is_told(void **state)
{
    struct blotter_trade trade = {.symbol = "BTC/USDT", .price = "x", .quantity = "1"};
    unsigned char body[4096];
    struct record_problem problem;
    unsigned fields;

    (void)state;
    assert_problem(&(struct blotter_order){.client_order_id = "\xff"}, RECORD_FAULT_NOT_UTF8,
                   "client_order_id");
    assert_int_equal(record_encode(RECORD_TRADE, &trade, body, sizeof body, &fields, &problem), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_NOT_DECIMAL);
    assert_string_equal(problem.field, "price");
}

static void counters_of_sessions_are_bounded(void **state)
{
    struct blotter_session session = {.event = "closed", .last_seq = RECORD_SEQ_MAX};
    unsigned char body[4096];
    struct record_problem problem;
    unsigned fields;

    (void)state;
    assert_true(record_encode(RECORD_SESSION, &session, body, sizeof body, &fields, &problem) > 0);
    assert_int_equal(problem.misplaced, 0);
    session.last_seq++;
    int length = record_encode(RECORD_SESSION, &session, body, sizeof body, &fields, &problem);
    const msgpack_object_map *map = unpack_body(body, length, fields);
    assert_null(find(map, "last_seq"));
    assert_str(map, "extra", "{\"last_seq\":9007199254740993}");
    assert_int_equal(problem.fault, RECORD_FAULT_OUT_OF_RANGE);
    assert_string_equal(problem.field, "last_seq");
}

/* --- doubles --- */

static void doubles_travel_as_they_are(void **state)
{
    static const double values[] = {0, -0.0, 0.1, -67123.1, 1e99, -1e-99};
    char bytes[RECORD_DOUBLE_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const msgpack_object *value =
            find(encode_order(&(struct blotter_order){.order_id = "1",
                                                      .price = record_double(values[i], bytes)}),
                 "price");
        assert_non_null(value);
        assert_int_equal(value->type, MSGPACK_OBJECT_FLOAT64);
        assert_true(value->via.f64 == values[i]);
    }
    for (size_t length = 1; length <= RECORD_DOUBLE_BYTES;
         length++) { /* text that looks like one */
        char *text = malloc(length + 1);
        memset(text, 0x81, length);
        text[0] = RECORD_DOUBLE_MARK;
        text[length] = '\0';
        if (length != RECORD_DOUBLE_BYTES - 1) {
            assert_misplaced(WITH(.price = text), RECORD_FAULT_NOT_DECIMAL, "price", NULL);
        }
        free(text);
    }
    assert_misplaced(WITH(.price = record_double((double)NAN, bytes)), RECORD_FAULT_NOT_DECIMAL,
                     "price", "{\"price\":\"NaN\"}");
    assert_misplaced(WITH(.price = record_double(-1e100, bytes)), RECORD_FAULT_NOT_DECIMAL, "price",
                     NULL);
    assert_misplaced(WITH(.price = record_double(5e-324, bytes)), RECORD_FAULT_NOT_DECIMAL, "price",
                     NULL); /* the drainer would refuse it */
}

static int encode_bound(const struct record_bound *bound, const void *record, unsigned char *out,
                        size_t capacity, unsigned *fields, struct record_problem *problem)
{
    struct record_source source = {bound->kind, record, bound};
    return record_encode_source(&source, out, capacity, fields, problem);
}

/* --- bound fields --- */

static void bound_fields_are_those_of_every_record(void **state)
{
    const struct blotter_order constants = {
        .account = "main", .strategy = "mm", .symbol = "BTC/USDT", .reduce_only = BLOTTER_TRUE};
    const struct blotter_order varying = {.order_id = "7", .price = "1.5", .extra = "{\"a\":1}"};
    unsigned char bytes[256], body[512];
    struct record_bound bound;
    struct record_problem problem;
    unsigned fields;

    (void)state;
    assert_int_equal(record_bind(RECORD_ORDER, &constants, bytes, sizeof bytes, &bound, &problem),
                     0);
    assert_int_equal(bound.pairs, 4);
    int length = encode_bound(&bound, &varying, body, sizeof body, &fields, &problem);
    const msgpack_object_map *map = unpack_body(body, length, fields);
    assert_int_equal(map->size, RECORD_HEAD_FIELDS + 7);
    assert_str(map, "account", "main");
    assert_str(map, "strategy", "mm");
    assert_str(map, "symbol", "BTC/USDT");
    assert_bool(map, "reduce_only", BLOTTER_TRUE);
    assert_str(map, "order_id", "7");
    assert_str(map, "price", "1.5");
    assert_str(map, "extra", "{\"a\":1}");
    for (int capacity = 0; capacity < length; capacity++) {
        assert_int_equal(encode_bound(&bound, &varying, body, (size_t)capacity, &fields, &problem),
                         -1);
        assert_int_equal(problem.fault, RECORD_FAULT_TOO_LONG);
    }
}

static void a_field_is_bound_or_given(void **state)
{
    unsigned char bytes[256], body[512];
    struct record_bound bound;
    struct record_problem problem;
    unsigned fields;

    (void)state;
    assert_int_equal(record_bind(RECORD_ORDER, &(struct blotter_order){.symbol = "BTC/USDT"}, bytes,
                                 sizeof bytes, &bound, &problem),
                     0);
    assert_int_equal(
        encode_bound(&bound, WITH(.symbol = "BTC/USDT"), body, sizeof body, &fields, &problem), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_DUPLICATE);
    assert_string_equal(problem.field, "symbol");
    assert_int_equal(encode_bound(&bound, &(struct blotter_order){.side = "buy"}, body, sizeof body,
                                  &fields, &problem),
                     -1);
    assert_int_equal(problem.fault, RECORD_FAULT_MISSING);
    assert_string_equal(problem.field, "order_id");
}

static void wrong_constants_are_refused(void **state)
{
    unsigned char bytes[64];
    struct record_bound bound;
    struct record_problem problem;

    (void)state;
    assert_int_equal(record_bind(RECORD_ORDER, &(struct blotter_order){.symbol = "\xff"}, bytes,
                                 sizeof bytes, &bound, &problem),
                     -1);
    assert_int_equal(problem.fault, RECORD_FAULT_NOT_UTF8);
    assert_string_equal(problem.field, "symbol");
    assert_int_equal(record_bind(RECORD_ORDER, &(struct blotter_order){.extra = "{}"}, bytes,
                                 sizeof bytes, &bound, &problem),
                     -1);
    assert_int_equal(problem.fault, RECORD_FAULT_NOT_BOUND);
    assert_int_equal(record_bind(RECORD_ORDER, &(struct blotter_order){.symbol = "BTC/USDT"}, bytes,
                                 10, &bound, &problem),
                     -1);
    assert_int_equal(problem.fault, RECORD_FAULT_TOO_LONG);
}

static void assert_decimal_encoded_as(const char *text)
{
    struct blotter_order order = {.order_id = "1", .price = text};
    char canonical[LIMIT_DECIMAL_BYTES + 1];
    int length = decimal_canonical(text, strlen(text), canonical);

    if (length < 0) {
        assert_misplaced(&order,
                         strlen(text) > LIMIT_DECIMAL_BYTES ? RECORD_FAULT_TOO_LONG
                                                            : RECORD_FAULT_NOT_DECIMAL,
                         "price", NULL);
        return;
    }
    canonical[length] = '\0';
    assert_str(encode_order(&order), "price", canonical);
}

static void decimals_become_canonical(void **state)
{
    static const char *const texts[] = {"0",
                                        "1",
                                        "01",
                                        "00",
                                        "0.",
                                        ".0",
                                        "0.0",
                                        "-0",
                                        "-0.0",
                                        "-1",
                                        "-0.01",
                                        "1E5",
                                        "9.2E-7",
                                        "1.2.3",
                                        ".",
                                        "1.",
                                        "+1",
                                        "12345678",
                                        "1234567.8",
                                        "123456789",
                                        "1234567890123456",
                                        "123456789012345.6",
                                        "1234567890123456.7",
                                        "12345678901234567890123456789012.5",
                                        "0.00000001",
                                        "01234567.8",
                                        "a",
                                        "1a",
                                        "12345678a",
                                        "1/",
                                        "1:",
                                        "\xff",
                                        "1\xff",
                                        "12345678\xae",
                                        "\xaf.1",
                                        "1.\xb9",
                                        "1-1",
                                        "123456789.",
                                        "12345678.1.1",
                                        "1.2345678.9",
                                        ".12345678"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_decimal_encoded_as(texts[i]);
    }
}

static void the_fast_path_for_decimals_agrees_with_the_slow_one(void **state)
{
    static const char marks[] = "...--+eE x:/\xae";
    char text[300];

    (void)state;
    for (int i = 0; i < 300000; i++) {
        unsigned length = random_below(20);
        for (unsigned j = 0; j < length; j++) {
            text[j] = random_below(6) ? (char)('0' + random_below(10))
                                      : marks[random_below(i % 2 ? 3 : sizeof marks - 1)];
        }
        text[length] = '\0';
        assert_decimal_encoded_as(text);
    }
    memset(text, '0', sizeof text);
    text[LIMIT_DECIMAL_BYTES] = '\0';
    assert_decimal_encoded_as(text);
    text[LIMIT_DECIMAL_BYTES] = '0';
    text[LIMIT_DECIMAL_BYTES + 1] = '\0';
    assert_decimal_encoded_as(text);
}

/* Every capacity below what is needed is too small, and what is needed is enough. */
static void assert_exact(const struct blotter_order *order)
{
    unsigned char expected[2048];
    struct record_problem problem;
    unsigned fields;
    int needed = record_encode(RECORD_ORDER, order, expected, sizeof expected, &fields, &problem);

    assert_true(needed > 0);
    for (int capacity = 0; capacity <= needed; capacity++) {
        unsigned char *out = malloc((size_t)capacity + 1);
        out[capacity] = 0x5a;
        int length = record_encode(RECORD_ORDER, order, out, (size_t)capacity, &fields, &problem);
        assert_int_equal(length, capacity == needed ? needed : -1);
        assert_int_equal(out[capacity], 0x5a);
        if (length >= 0) {
            assert_memory_equal(out, expected, (size_t)needed);
        } else {
            assert_int_equal(problem.fault, RECORD_FAULT_TOO_LONG);
            assert_null(problem.field);
        }
        free(out);
    }
}

static void capacity_is_used_to_the_last_byte_and_never_exceeded(void **state)
{
    char long_text[301];

    (void)state;
    memset(long_text, 'z', 300);
    long_text[300] = '\0';
    assert_exact(&(struct blotter_order){BLOTTER_ORDER_FIELDS(FULL)});
    assert_exact(&(struct blotter_order){.order_id = "1", .price = "-1E-8", .reason = long_text});
    assert_exact(&(struct blotter_order){.order_id = long_text,
                                         .cost = "123456789012345678901234567890123.5"});
    assert_exact(&(struct blotter_order){.order_id = "1", .cost = "1"});
    assert_exact(&(struct blotter_order){.order_id = "1", .cost = "12345678.1234567"});
    assert_exact(&(struct blotter_order){.order_id = "1", .reduce_only = BLOTTER_TRUE});
    assert_exact(
        &(struct blotter_order){.exchange_time = LIMIT_TIME_MIN_NS, .order_id = "abcdefgh"});
}

static void a_record_never_exceeds_the_wire_limit(void **state)
{
    static char text[LIMIT_TEXT_BYTES + 1], extra[LIMIT_EXTRA_BYTES + 1];
    static unsigned char body[2 * LIMIT_RECORD_BYTES];
    struct blotter_order order = {.extra = extra};
    struct record_problem problem;
    unsigned fields;

    (void)state;
    memset(text, 'a', LIMIT_TEXT_BYTES);
    memset(extra, ' ', LIMIT_EXTRA_BYTES);
    extra[0] = '{', extra[1] = '}';
    const char **members[] = {
        &order.account,       &order.strategy,  &order.symbol,          &order.market_type,
        &order.order_id,      &order.event,     &order.client_order_id, &order.trade_id,
        &order.side,          &order.type,      &order.position_side,   &order.status,
        &order.time_in_force, &order.liquidity, &order.reason};
    for (unsigned i = 0; i < 15; i++) {
        *members[i] = text;
    }
    int length = record_encode(RECORD_ORDER, &order, body, sizeof body, &fields, &problem);
    assert_true(length > 0 && length <= LIMIT_RECORD_BYTES - RECORD_HEAD_BYTES_MAX);
    order.orig_client_order_id = text;
    order.fee_currency = text;
    assert_int_equal(record_encode(RECORD_ORDER, &order, body, sizeof body, &fields, &problem), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_TOO_LONG);
    assert_null(problem.field);
}

/* --- tables --- */

static void kinds_are_known_by_their_wire_names(void **state)
{
    (void)state;
    assert_int_equal(record_kind_of("order", 5), RECORD_ORDER);
    assert_int_equal(record_kind_of("trade", 5), RECORD_TRADE);
    assert_int_equal(record_kind_of("session", 7), RECORD_SESSION);
    assert_int_equal(record_kind_of("instrument", 10), RECORD_INSTRUMENT);
    assert_int_equal(record_kind_of("reject", 6), RECORD_REJECT);
    assert_null(record_schemas[RECORD_REJECT].table);
    assert_true(record_kind_known(RECORD_REJECT) && !record_kind_known(RECORD_KINDS) &&
                !record_kind_known(RECORD_WIRE_KINDS));
    assert_int_equal(record_kind_of("orders", 6), -1);
    assert_int_equal(record_kind_of("orde", 4), -1);
    assert_int_equal(record_kind_of("", 0), -1);
    assert_int_equal(record_schemas[RECORD_ORDER].field_count, ORDER_FIELDS);
    assert_string_equal(record_schemas[RECORD_ORDER].table, "order_events");
    assert_string_equal(record_schemas[RECORD_ORDER].fields[ORDER_price].name, "price");
    assert_int_equal(record_schemas[RECORD_TRADE].fields[TRADE_price].kind, FIELD_DECIMAL);
    assert_int_equal(record_schemas[RECORD_SESSION].field_count, SESSION_FIELDS);
}

static void every_fault_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(record_fault_text(RECORD_FAULT_NONE), "no fault");
    assert_string_equal(record_fault_text(RECORD_FAULT_UNKNOWN_KIND), "of an unknown kind");
    assert_non_null(record_fault_text((enum record_fault)99));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_with_every_field_is_a_map_of_all),
        cmocka_unit_test(every_kind_with_every_field_is_a_map_of_all),
        cmocka_unit_test(absent_fields_are_not_in_the_map),
        cmocka_unit_test(true_is_true),
        cmocka_unit_test(random_orders_read_back),
        cmocka_unit_test(the_head_counts_identity_and_body),
        cmocka_unit_test(the_longest_head_is_as_long_as_promised),
        cmocka_unit_test(texts_of_every_length_to_the_limit_are_kept),
        cmocka_unit_test(texts_may_end_where_memory_ends),
        cmocka_unit_test(text_beyond_ascii_is_kept_and_invalid_utf8_goes_to_extra_wherever_it_is),
        cmocka_unit_test(required_fields_are_missed),
        cmocka_unit_test(values_that_a_field_cannot_take_go_to_extra),
        cmocka_unit_test(misplaced_values_join_the_strategys_own_extra),
        cmocka_unit_test(misplaced_values_never_cost_the_record),
        cmocka_unit_test(a_required_value_that_is_wrong_is_told),
        cmocka_unit_test(counters_of_sessions_are_bounded),
        cmocka_unit_test(doubles_travel_as_they_are),
        cmocka_unit_test(bound_fields_are_those_of_every_record),
        cmocka_unit_test(a_field_is_bound_or_given),
        cmocka_unit_test(wrong_constants_are_refused),
        cmocka_unit_test(decimals_become_canonical),
        cmocka_unit_test(the_fast_path_for_decimals_agrees_with_the_slow_one),
        cmocka_unit_test(capacity_is_used_to_the_last_byte_and_never_exceeded),
        cmocka_unit_test(a_record_never_exceeds_the_wire_limit),
        cmocka_unit_test(kinds_are_known_by_their_wire_names),
        cmocka_unit_test(every_fault_has_a_text),
    };
    random_begin();
    msgpack_unpacked_init(&unpacked);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    msgpack_unpacked_destroy(&unpacked);
    return failed;
}
