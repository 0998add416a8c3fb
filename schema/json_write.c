/* json_write.c: see json_write.h. It recurses, never deeper than LIMIT_NESTING. */
#include "schema/json_write.h"

#include <math.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/text.h"

void json_write(struct json_writer *writer, const void *text, size_t length)
{
    if (length == 0) { /* there may be no pointer */
        return;
    }
    if (writer->full || (size_t)(writer->end - writer->at) < length) {
        writer->full = true;
        return;
    }
    memcpy(writer->at, text, length);
    writer->at += length;
}

static void write_hex(struct json_writer *writer, unsigned byte)
{
    static const char digits[] = "0123456789abcdef";
    char pair[2] = {digits[byte >> 4], digits[byte & 15]};
    json_write(writer, pair, 2);
}

/* Writes PostgreSQL's hex form of bytes, to the closing quote; the opening one has been written. */
static void write_hex_bytes(struct json_writer *writer, const void *bytes, uint64_t length)
{
    const unsigned char *at = bytes;

    json_write(writer, "\\\\x", 3);
    for (uint64_t i = 0; i < length && !writer->full; i++) {
        write_hex(writer, at[i]);
    }
    json_write(writer, "\"", 1);
}

static void write_bytes(struct json_writer *writer, const void *bytes, uint64_t length)
{
    json_write(writer, "\"", 1);
    write_hex_bytes(writer, bytes, length);
}

void json_write_string(struct json_writer *writer, const void *bytes, size_t length)
{
    const unsigned char *text = bytes;
    size_t plain = 0; /* since where nothing needed an escape */

    if (text_check(bytes, length) != RECORD_FAULT_NONE) {
        writer->changed++;
        write_bytes(writer, bytes, length);
        return;
    }
    json_write(writer, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        if (text[i] >= 0x20 && text[i] != '"' && text[i] != '\\') {
            continue;
        }
        json_write(writer, text + plain, i - plain);
        plain = i + 1;
        if (text[i] >= 0x20) {
            json_write(writer, "\\", 1);
            json_write(writer, text + i, 1);
        } else {
            json_write(writer, "\\u00", 4);
            write_hex(writer, text[i]);
        }
    }
    json_write(writer, text + plain, length - plain);
    json_write(writer, "\"", 1);
}

void json_write_integer(struct json_writer *writer, int64_t value)
{
    char digits[DECIMAL_INTEGER_BYTES];
    json_write(writer, digits, (size_t)decimal_from_int64(value, digits));
}

static void write_ext(struct json_writer *writer, const struct unpack_value *value)
{
    int64_t time_ns;

    if (writer->digits && unpack_is_digits(value)) {
        json_write(writer, value->bytes, value->length);
        return;
    }
    if (writer->digits && value->ext_type == UNPACK_SHOWN) {
        json_write_string(writer, value->bytes, value->length);
        return;
    }
    if (unpack_time_ns(value, &time_ns) == RECORD_FAULT_NONE) {
        json_write_integer(writer, time_ns);
        return;
    }
    json_write(writer, "\"ext:", 5);
    json_write_integer(writer, value->ext_type);
    json_write(writer, ":", 1);
    write_hex_bytes(writer, value->bytes, value->length);
}

static void write_floating(struct json_writer *writer, double value, bool is_float)
{
    char text[LIMIT_DECIMAL_BYTES];

    if (!isfinite(value)) {
        const char *name = isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
        writer->changed++;
        json_write(writer, name, strlen(name));
        return;
    }
    int length =
        is_float ? decimal_from_float((float)value, text) : decimal_from_double(value, text);
    if (length < 0) { /* too many digits without exponent */
        length = decimal_float_digits(value, is_float, text);
    }
    json_write(writer, text, (size_t)length);
}

void json_write_double(struct json_writer *writer, double value)
{
    write_floating(writer, value, false);
}

/* Writes everything but arrays and maps. */
static void write_scalar(struct json_writer *writer, const struct unpack_value *value)
{
    char digits[DECIMAL_INTEGER_BYTES];

    switch (value->type) {
    case UNPACK_FALSE:
        json_write(writer, "false", 5);
        break;
    case UNPACK_TRUE:
        json_write(writer, "true", 4);
        break;
    case UNPACK_INT:
        json_write_integer(writer, value->integer);
        break;
    case UNPACK_BIG:
        json_write(writer, digits, (size_t)decimal_from_uint64(value->length, digits));
        break;
    case UNPACK_FLOAT:
    case UNPACK_DOUBLE:
        write_floating(writer, value->floating, value->type == UNPACK_FLOAT);
        break;
    case UNPACK_STR:
        json_write_string(writer, value->bytes, value->length);
        break;
    case UNPACK_BIN:
        write_bytes(writer, value->bytes, value->length);
        break;
    case UNPACK_EXT:
        write_ext(writer, value);
        break;
    default:
        json_write(writer, "null", 4);
    }
}

static enum record_fault write_next(struct json_writer *writer, struct unpack_reader *reader,
                                    unsigned depth)
{
    const unsigned char *first = reader->at;
    struct unpack_value value;

    enum record_fault fault = unpack_next(reader, &value);
    if (fault) {
        return fault;
    }
    if (depth < LIMIT_NESTING || !unpack_is_container(&value)) {
        return json_write_value(writer, reader, &value, depth);
    }
    fault = unpack_skip(reader, &value);
    writer->changed++;
    write_bytes(writer, first, (uint64_t)(reader->at - first));
    return fault;
}

enum record_fault json_write_value(struct json_writer *writer, struct unpack_reader *reader,
                                   const struct unpack_value *value, unsigned depth)
{
    bool map = value->type == UNPACK_MAP, comma = false;
    enum record_fault fault = RECORD_FAULT_NONE;

    if (!unpack_is_container(value)) {
        write_scalar(writer, value);
        return RECORD_FAULT_NONE;
    }
    json_write(writer, map ? "{" : "[", 1);
    if (map) {
        fault = json_write_members(writer, reader, value->length, &comma, depth + 1);
    }
    for (uint64_t i = 0; !map && i < value->length && !fault; i++) {
        json_write(writer, ",", i > 0);
        fault = write_next(writer, reader, depth + 1);
    }
    json_write(writer, map ? "}" : "]", 1);
    return fault;
}

/* Writes a key. It is a string in JSON, so anything else is put between quotes. */
static enum record_fault write_key(struct json_writer *writer, struct unpack_reader *reader,
                                   const unsigned char *first, const struct unpack_value *key)
{
    int64_t time_ns;
    bool is_string =
        key->type == UNPACK_STR || key->type == UNPACK_BIN ||
        (key->type == UNPACK_EXT && unpack_time_ns(key, &time_ns) != RECORD_FAULT_NONE);
    bool is_word = key->type == UNPACK_FLOAT || key->type == UNPACK_DOUBLE
                       ? !isfinite(key->floating)
                       : is_string;

    if (unpack_is_container(key)) {
        enum record_fault fault = unpack_skip(reader, key);
        writer->changed++;
        write_bytes(writer, first, (uint64_t)(reader->at - first));
        return fault;
    }
    json_write(writer, "\"", !is_word);
    write_scalar(writer, key);
    json_write(writer, "\"", !is_word);
    return RECORD_FAULT_NONE;
}

void json_write_comma(struct json_writer *writer, bool *comma)
{
    json_write(writer, ",", *comma);
    *comma = true;
}

/* Says whether to leave out a member, whose key has been read. */
static bool is_pruned(const struct json_writer *writer, const struct unpack_reader *reader,
                      const struct unpack_value *key)
{
    enum { NIL = 0xc0 };
    return writer->prune && !unpack_is_container(key) && reader->at < reader->end &&
           (*reader->at == NIL ||
            (key->type == UNPACK_STR && key->length == 4 && memcmp(key->bytes, "info", 4) == 0));
}

enum record_fault json_write_members(struct json_writer *writer, struct unpack_reader *reader,
                                     uint64_t pairs, bool *comma, unsigned depth)
{
    struct unpack_value key;

    for (uint64_t i = 0; i < pairs; i++) {
        const unsigned char *first = reader->at;
        enum record_fault fault = unpack_next(reader, &key);
        if (!fault && is_pruned(writer, reader, &key)) {
            struct unpack_value value;
            fault = unpack_next(reader, &value);
            if (!fault) {
                fault = unpack_skip(reader, &value);
            }
            if (fault) {
                return fault;
            }
            continue;
        }
        json_write_comma(writer, comma);
        if (!fault) {
            fault = write_key(writer, reader, first, &key);
        }
        json_write(writer, ":", 1);
        if (!fault) {
            fault = write_next(writer, reader, depth);
        }
        if (fault) {
            return fault;
        }
    }
    return RECORD_FAULT_NONE;
}
