/* decoding.h: what the tests of decoding share: pack with msgpack-c, decode, look at a value or at
 * the problem. */
#ifndef BLOTTER_TESTS_DECODING_H
#define BLOTTER_TESTS_DECODING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "schema/json_read.h"
#include "schema/record.h"
#include "tests/unit/random_input.h"

static msgpack_sbuffer packed;
static msgpack_packer pack;
static struct record record;
static struct record_problem problem;
static char scratch_bytes[RECORD_SCRATCH_BYTES];
static struct record_scratch scratch = {scratch_bytes, sizeof scratch_bytes, 0};
static const char *exchange; /* whose stream the record is from */

static inline int begin_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pack, &packed, msgpack_sbuffer_write);
    return 0;
}

static inline int end_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_destroy(&packed);
    return 0;
}

/* Decodes from memory that ends where the bytes do. */
static inline int decode_bytes(enum record_kind kind, const void *bytes, size_t length)
{
    unsigned char *exact = malloc(length + (length == 0));
    static unsigned char *kept; /* what record points into */

    memcpy(exact, bytes, length);
    free(kept);
    kept = exact;
    memset(&record, 0xa5, sizeof record);
    return record_decode(kind, exchange, exact, length, &scratch, &record, &problem);
}

static inline int decode_packed(enum record_kind kind)
{
    int result = decode_bytes(kind, packed.data, packed.size);
    msgpack_sbuffer_clear(&packed);
    return result;
}

static inline void pack_map(size_t pairs)
{
    msgpack_pack_map(&pack, pairs);
}

static inline void pack_text(const char *text)
{
    msgpack_pack_str_with_body(&pack, text, strlen(text));
}

/* An order that is complete, and of which one more value follows under this name. */
static inline void pack_order_with(const char *name)
{
    pack_map(2);
    pack_text(strcmp(name, "order_id") == 0 ? "client_order_id" : "order_id");
    pack_text("1");
    pack_text(name);
}

static inline void assert_decodes(void)
{
    if (decode_packed(RECORD_ORDER) != 0) {
        fail_msg("%s: %s", problem.field ? problem.field : "record",
                 record_fault_text(problem.fault));
    }
    assert_int_equal(problem.fault, RECORD_FAULT_NONE);
}

static inline void assert_fault(enum record_fault fault, const char *field)
{
    assert_int_equal(decode_packed(RECORD_ORDER), -1);
    assert_int_equal(problem.fault, fault);
    if (field != NULL) {
        assert_string_equal(problem.field ? problem.field : "(none)", field);
    } else {
        assert_null(problem.field);
    }
}

/* Decodes an order of which one field cannot take its value: that is in `extra`, and counted. */
static inline void assert_misplaced(enum record_fault fault, const char *field)
{
    char member[64];

    if (decode_packed(RECORD_ORDER) != 0) {
        fail_msg("%s: %s", problem.field ? problem.field : "record",
                 record_fault_text(problem.fault));
    }
    assert_int_equal(problem.fault, fault);
    assert_string_equal(problem.field, field);
    assert_int_equal(problem.misplaced, 1);
    int length = snprintf(member, sizeof member, "{\"%s\":", field);
    const struct record_value *extra = &record.values[ORDER_extra];
    assert_true(extra->present && extra->length > (uint32_t)length);
    assert_memory_equal(extra->bytes, member, (size_t)length);
    assert_int_equal(json_read_object(extra->bytes, extra->length), RECORD_FAULT_NONE);
    for (unsigned i = 0; i < ORDER_extra; i++) {
        assert_true(strcmp(record_schemas[RECORD_ORDER].fields[i].name, field) != 0 ||
                    !record.values[i].present);
    }
}

static inline void assert_value(const struct record_value *value, const char *expected)
{
    assert_true(value->present);
    if (value->length != strlen(expected) || memcmp(value->bytes, expected, value->length) != 0) {
        fail_msg("%.*s is not %s", (int)value->length, value->bytes, expected);
    }
}

static inline void assert_price(const char *expected)
{
    assert_decodes();
    assert_value(&record.values[ORDER_price], expected);
}

static inline void assert_extra(const char *expected)
{
    assert_int_equal(decode_packed(RECORD_ORDER), 0);
    assert_value(&record.values[ORDER_extra], expected);
    assert_int_equal(
        json_read_object(record.values[ORDER_extra].bytes, record.values[ORDER_extra].length),
        RECORD_FAULT_NONE);
}

static inline void pack_timestamp(int64_t seconds, uint32_t nanoseconds)
{
    msgpack_timestamp time = {.tv_sec = seconds, .tv_nsec = nanoseconds};
    msgpack_pack_timestamp(&pack, &time);
}

#endif
