/* msgpack_compare.h: reads bytes with msgpack-c and with schema/unpack.h, and compares. */
#ifndef BLOTTER_TESTS_MSGPACK_COMPARE_H
#define BLOTTER_TESTS_MSGPACK_COMPARE_H

#include <msgpack.h>
#include <stdbool.h>
#include <string.h>

#include "schema/unpack.h"

/* msgpack-c asks for as much memory as a damaged length says; malloc may refuse, also ASan's. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=64";
}

static inline bool msgpack_same_bytes(const struct unpack_value *ours, const char *bytes,
                                      size_t length)
{
    return ours->length == length && (length == 0 || memcmp(ours->bytes, bytes, length) == 0);
}

static inline bool msgpack_same_double(double a, double b)
{
    return a == b || (a != a && b != b);
}

static inline bool msgpack_same_value(struct unpack_reader *reader, const msgpack_object *object);

static inline bool msgpack_same_members(struct unpack_reader *reader, const msgpack_object *object)
{
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        for (uint32_t i = 0; i < object->via.array.size; i++) {
            if (!msgpack_same_value(reader, &object->via.array.ptr[i])) {
                return false;
            }
        }
        return true;
    }
    for (uint32_t i = 0; i < object->via.map.size; i++) {
        if (!msgpack_same_value(reader, &object->via.map.ptr[i].key) ||
            !msgpack_same_value(reader, &object->via.map.ptr[i].val)) {
            return false;
        }
    }
    return true;
}

/* Reads the next value; true if it is what msgpack-c made of it. */
static inline bool msgpack_same_value(struct unpack_reader *reader, const msgpack_object *object)
{
    struct unpack_value value = {0};

    if (unpack_next(reader, &value) != RECORD_FAULT_NONE) {
        return false;
    }
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return value.type == UNPACK_NIL;
    case MSGPACK_OBJECT_BOOLEAN:
        return value.type == (object->via.boolean ? UNPACK_TRUE : UNPACK_FALSE);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return object->via.u64 <= INT64_MAX
                   ? value.type == UNPACK_INT && (uint64_t)value.integer == object->via.u64
                   : value.type == UNPACK_BIG && value.length == object->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return value.type == UNPACK_INT && value.integer == object->via.i64;
    case MSGPACK_OBJECT_FLOAT32:
        return value.type == UNPACK_FLOAT && msgpack_same_double(value.floating, object->via.f64);
    case MSGPACK_OBJECT_FLOAT64:
        return value.type == UNPACK_DOUBLE && msgpack_same_double(value.floating, object->via.f64);
    case MSGPACK_OBJECT_STR:
        return value.type == UNPACK_STR &&
               msgpack_same_bytes(&value, object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return value.type == UNPACK_BIN &&
               msgpack_same_bytes(&value, object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_EXT:
        return value.type == UNPACK_EXT && value.ext_type == object->via.ext.type &&
               msgpack_same_bytes(&value, object->via.ext.ptr, object->via.ext.size);
    case MSGPACK_OBJECT_ARRAY:
        return value.type == UNPACK_ARRAY && value.length == object->via.array.size &&
               msgpack_same_members(reader, object);
    case MSGPACK_OBJECT_MAP:
        return value.type == UNPACK_MAP && value.length == object->via.map.size &&
               msgpack_same_members(reader, object);
    }
    return false;
}

/* Says whether both readers make the same of these bytes: the same value and its end, or none. */
static inline bool msgpack_readers_agree(const unsigned char *bytes, size_t size)
{
    msgpack_unpacked theirs;
    size_t end = 0;
    struct unpack_reader reader = {bytes, bytes + size};
    struct unpack_value value = {0};

    msgpack_unpacked_init(&theirs);
    msgpack_unpack_return result = msgpack_unpack_next(&theirs, (const char *)bytes, size, &end);
    bool same;
    if (result == MSGPACK_UNPACK_SUCCESS) {
        same = msgpack_same_value(&reader, &theirs.data) && reader.at == bytes + end;
    } else if (result == MSGPACK_UNPACK_NOMEM_ERROR) {
        same = true; /* it allocates as much as a head announces, and we do not */
    } else {
        same = unpack_next(&reader, &value) != RECORD_FAULT_NONE ||
               unpack_skip(&reader, &value) != RECORD_FAULT_NONE;
    }
    msgpack_unpacked_destroy(&theirs);
    return same;
}

#endif
