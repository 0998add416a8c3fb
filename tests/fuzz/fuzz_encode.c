/* fuzz_encode.c: record_encode, for every kind, of structs that a strategy may have filled with
 * anything, some members bound before, into as much room as there happens to be.
 *
 * Each text, and the room, is allocated to its exact size, so that a sanitizer sees every byte read
 * or written too far. What was encoded is read by msgpack-c, an implementation that has nothing of
 * ours, and compared with the struct: each member that was given is there with its value, or
 * counted as misplaced. And the drainer's own decoder takes it. */
#include <msgpack.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/json_read.h"
#include "schema/record.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXTS = 2 * RECORD_FIELDS_MAX, BYTES_MAX = 64 * 1024 };

struct input {
    const uint8_t *at, *end;
};

static uint64_t take_bytes(struct input *input, size_t count)
{
    uint64_t value = 0;

    for (; count > 0 && input->at < input->end; count--) {
        value = value << 8 | *input->at++;
    }
    return value;
}

/* Any struct of a record, and its texts. */
struct filled {
    union {
        struct blotter_order order;
        struct blotter_trade trade;
        struct blotter_session session;
        struct blotter_cash cash;
        struct blotter_balance balance;
        struct blotter_position position;
        struct blotter_instrument instrument;
        struct blotter_reject reject;
        char bytes[1];
    };
    uint64_t given;
    char *texts[TEXTS];
    unsigned count;
};

/* A text up to a NUL of the input, or as long as its head says; or a double. */
static const char *take_text(struct input *input, struct filled *filled, enum field_kind kind)
{
    size_t length = take_bytes(input, 1);

    length = length == 255 ? take_bytes(input, 2) : length;
    if (length > (size_t)(input->end - input->at)) {
        length = (size_t)(input->end - input->at);
    }
    char *text = malloc(length + 1 + RECORD_DOUBLE_BYTES);
    memcpy(text, input->at, length);
    text[length] = '\0';
    if (kind == FIELD_DECIMAL && length == 8) {
        double value;
        memcpy(&value, input->at, sizeof value);
        record_double(value, text);
    }
    input->at += length;
    char *exact = strdup(text);
    free(text);
    filled->texts[filled->count++] = exact;
    return exact;
}

static void fill(struct input *input, struct filled *filled, enum record_kind kind,
                 struct filled *bound)
{
    const struct record_schema *schema = &record_schemas[kind];

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        const struct record_field *field = &schema->fields[i];
        uint64_t choice = take_bytes(input, 1);
        if (choice % 2 == 0) {
            continue;
        }
        struct filled *into = choice % 8 == 7 ? bound : filled;
        char *member = into->bytes + field->offset;
        if (field->kind == FIELD_BOOL) {
            enum blotter_bool flag = (enum blotter_bool)(1 + take_bytes(input, 1) % 2);
            memcpy(member, &flag, sizeof flag);
        } else if (field->kind == FIELD_TIME || field->kind == FIELD_INT) {
            int64_t number = (int64_t)take_bytes(input, 8);
            memcpy(member, &number, sizeof number);
            if (number == 0) {
                continue;
            }
        } else {
            const char *text = take_text(input, into, field->kind);
            memcpy(member, &text, sizeof text);
        }
        into->given |= UINT64_C(1) << i;
    }
}

static void release(struct filled *filled)
{
    while (filled->count > 0) {
        free(filled->texts[--filled->count]);
    }
}

/* --- what msgpack-c reads --- */

static void check_decimal(const char *given, const msgpack_object *value)
{
    char canonical[LIMIT_DECIMAL_BYTES], digits[RECORD_DOUBLE_BYTES];

    if (given[0] == RECORD_DOUBLE_MARK) {
        CHECK(value->type == MSGPACK_OBJECT_FLOAT64);
        CHECK(strcmp(record_double(value->via.f64, digits), given) == 0);
        return;
    }
    int length = decimal_canonical(given, strlen(given), canonical);
    CHECK(value->type == MSGPACK_OBJECT_STR && length > 0);
    CHECK(value->via.str.size == (uint32_t)length &&
          memcmp(value->via.str.ptr, canonical, (size_t)length) == 0);
}

static void check_member(const struct record_field *field, const char *member,
                         const msgpack_object *value)
{
    const char *text;
    int64_t number;
    enum blotter_bool flag;

    memcpy(&text, member, sizeof text);
    memcpy(&number, member, sizeof number);
    memcpy(&flag, member, sizeof flag);
    switch (field->kind) {
    case FIELD_BOOL:
        CHECK(value->type == MSGPACK_OBJECT_BOOLEAN &&
              value->via.boolean == (flag == BLOTTER_TRUE));
        break;
    case FIELD_TIME:
    case FIELD_INT:
        CHECK(value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
              value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER);
        CHECK(value->via.i64 == number);
        break;
    case FIELD_DECIMAL:
        check_decimal(text, value);
        break;
    case FIELD_TEXT:
    case FIELD_AMOUNTS:
        CHECK(value->type == MSGPACK_OBJECT_STR && value->via.str.size == strlen(text) &&
              memcmp(value->via.str.ptr, text, value->via.str.size) == 0);
        break;
    case FIELD_JSON:
        CHECK(value->type == MSGPACK_OBJECT_STR &&
              json_read_object(value->via.str.ptr, value->via.str.size) == RECORD_FAULT_NONE);
    }
}

static unsigned field_named(const struct record_schema *schema, const msgpack_object *key)
{
    unsigned i = 0;

    CHECK(key->type == MSGPACK_OBJECT_STR);
    while (i < schema->field_count &&
           (schema->fields[i].name_length != key->via.str.size ||
            memcmp(schema->fields[i].name, key->via.str.ptr, key->via.str.size) != 0)) {
        i++;
    }
    CHECK(i < schema->field_count);
    return i;
}

static void check_wire(const unsigned char *wire, size_t length, enum record_kind kind,
                       const struct filled *filled, const struct filled *bound, unsigned fields,
                       unsigned misplaced)
{
    const struct record_schema *schema = &record_schemas[kind];
    uint64_t present = 0, given = filled->given | bound->given;
    uint64_t extra = UINT64_C(1) << (schema->field_count - 1);
    msgpack_unpacked unpacked;
    size_t end = 0;

    msgpack_unpacked_init(&unpacked);
    CHECK(msgpack_unpack_next(&unpacked, (const char *)wire, length, &end) ==
          MSGPACK_UNPACK_SUCCESS);
    CHECK(end == length && unpacked.data.type == MSGPACK_OBJECT_MAP);
    CHECK(unpacked.data.via.map.size == RECORD_HEAD_FIELDS + fields);
    for (uint32_t i = RECORD_HEAD_FIELDS; i < unpacked.data.via.map.size; i++) {
        const msgpack_object_kv *pair = &unpacked.data.via.map.ptr[i];
        unsigned index = field_named(schema, &pair->key);
        uint64_t bit = UINT64_C(1) << index;
        const struct filled *from = (bound->given & bit) != 0 ? bound : filled;
        CHECK((present & bit) == 0 && ((given | extra) & bit) != 0);
        present |= bit;
        check_member(&schema->fields[index], from->bytes + schema->fields[index].offset,
                     &pair->val);
    }
    CHECK((unsigned)__builtin_popcountll(given & ~present & ~extra) <= misplaced);
    CHECK(misplaced > 0 || (given & ~present) == 0);
    msgpack_unpacked_destroy(&unpacked);
}

static void check_decoder(const unsigned char *wire, size_t length, enum record_kind kind)
{
    static char scratch_bytes[RECORD_SCRATCH_BYTES];
    struct record_scratch scratch = {scratch_bytes, sizeof scratch_bytes, 0};
    struct record record;
    struct record_problem problem;

    CHECK(record_decode(kind, NULL, wire, length, &scratch, &record, &problem) == 0);
    CHECK(problem.misplaced == 0);
}

static void encode(struct input *input, enum record_kind kind, const struct filled *filled,
                   const struct filled *constants)
{
    static const struct record_identity identity = {7, 1, LIMIT_RECORDED_AT_MIN_NS, "okx"};
    static const struct filled nothing;
    struct record_problem problem;
    struct record_bound bound = {.kind = kind};
    unsigned fields;
    size_t room = take_bytes(input, 2), capacity = room % 2 == 0 ? BYTES_MAX : room;
    unsigned char *constant_bytes = malloc(BYTES_MAX), *body = malloc(capacity);
    bool binds = constants->given != 0 && record_bind(kind, constants->bytes, constant_bytes,
                                                      BYTES_MAX, &bound, &problem) == 0;
    const struct record_source source = {kind, filled->bytes, binds ? &bound : NULL};
    int length = record_encode_source(&source, body, capacity, &fields, &problem);

    CHECK(length <= (int)capacity && (length >= 0 || problem.fault != RECORD_FAULT_NONE));
    if (length >= 0) {
        unsigned char head[RECORD_HEAD_BYTES_MAX];
        size_t head_length = record_encode_head(&identity, fields, head);
        unsigned char *wire = malloc(head_length + (size_t)length);
        memcpy(wire, head, head_length);
        memcpy(wire + head_length, body, (size_t)length);
        CHECK(head_length + (size_t)length <= LIMIT_RECORD_BYTES);
        check_wire(wire, head_length + (size_t)length, kind, filled, binds ? constants : &nothing,
                   fields, problem.misplaced);
        check_decoder(wire, head_length + (size_t)length, kind);
        free(wire);
    }
    free(body);
    free(constant_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    struct filled filled = {.given = 0}, constants = {.given = 0};
    unsigned kind = (unsigned)take_bytes(&input, 1) % RECORD_WIRE_KINDS;

    if (record_kind_known(kind)) {
        fill(&input, &filled, (enum record_kind)kind, &constants);
        encode(&input, (enum record_kind)kind, &filled, &constants);
    }
    release(&filled);
    release(&constants);
    return 0;
}
