/* json.c: checks JSON text, and writes msgpack values as JSON.
 *
 * The check exists so that a bad `extra` is refused where it is made and not by PostgreSQL, in the
 * middle of somebody else's batch: what passes here, jsonb accepts. It is stricter than jsonb at
 * two points: only an object, and only so deep. Numbers are judged by the digits they would have
 * written out, as numeric is what jsonb keeps them in.
 *
 * Both parts recurse, never deeper than LIMIT_NESTING. */
#include "schema/json.h"

#include <math.h>

#include "schema/decimal.h"
#include "schema/text.h"

/* What numeric holds: digits before and behind the point. */
enum {
    NUMERIC_WHOLE_MAX = 131072,
    NUMERIC_SCALE_MAX = 16383,
};

/* --- checking
 * ------------------------------------------------------------------------------------------------------------
 */

struct scan {
    const char *at;
    const char *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end && is_blank(*scan->at)) {
        scan->at++;
    }
}

/* Steps over one character if it is this one. */
static bool accept(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c) {
        return false;
    }
    scan->at++;
    return true;
}

static unsigned skip_digits(struct scan *scan)
{
    const char *first = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        scan->at++;
    }
    return (unsigned)(scan->at - first);
}

/* The value of an exponent's digits, or a number that is too large anyway. */
static long exponent_value(const char *at, const char *end)
{
    long value = 0;

    for (; at < end; at++) {
        if (value <= 2 * NUMERIC_WHOLE_MAX) {
            value = value * 10 + (*at - '0');
        }
    }
    return value;
}

static enum record_fault check_number(struct scan *scan)
{
    long exponent = 0;
    unsigned scale = 0;

    accept(scan, '-');
    const char *first = scan->at;
    unsigned whole = skip_digits(scan);
    if (whole == 0 || (whole > 1 && *first == '0')) {
        return RECORD_FAULT_NOT_JSON;
    }
    if (accept(scan, '.') && (scale = skip_digits(scan)) == 0) {
        return RECORD_FAULT_NOT_JSON;
    }
    if (accept(scan, 'e') || accept(scan, 'E')) {
        bool negative = accept(scan, '-');
        if (!negative) {
            accept(scan, '+');
        }
        const char *digits = scan->at;
        if (skip_digits(scan) == 0) {
            return RECORD_FAULT_NOT_JSON;
        }
        exponent = negative ? -exponent_value(digits, scan->at) : exponent_value(digits, scan->at);
    }
    if ((long)whole + exponent > NUMERIC_WHOLE_MAX || (long)scale - exponent > NUMERIC_SCALE_MAX) {
        return RECORD_FAULT_OUT_OF_RANGE;
    }
    return RECORD_FAULT_NONE;
}

/* Reads the four hex digits of \u, or returns -1. */
static int hex4(struct scan *scan)
{
    int value = 0;

    if (scan->end - scan->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = *scan->at++;
        if (c >= '0' && c <= '9') {
            value = value * 16 + (c - '0');
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            value = value * 16 + ((c | 0x20) - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

static enum record_fault check_escape(struct scan *scan)
{
    if (scan->at == scan->end) {
        return RECORD_FAULT_NOT_JSON;
    }
    char c = *scan->at++;
    if (c != 'u') {
        return c && strchr("\"\\/bfnrt", c) != NULL ? RECORD_FAULT_NONE : RECORD_FAULT_NOT_JSON;
    }
    int unit = hex4(scan);
    if (unit == 0) {
        return RECORD_FAULT_HAS_NUL;
    }
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
        return RECORD_FAULT_NOT_JSON;
    }
    if (unit < 0xd800 || unit > 0xdbff) {
        return RECORD_FAULT_NONE;
    }
    if (!accept(scan, '\\') || !accept(scan, 'u')) {
        return RECORD_FAULT_NOT_JSON;
    }
    unit = hex4(scan);
    return unit >= 0xdc00 && unit <= 0xdfff ? RECORD_FAULT_NONE : RECORD_FAULT_NOT_JSON;
}

/* The opening quote has been read. */
static enum record_fault check_string(struct scan *scan)
{
    while (scan->at < scan->end) {
        unsigned char c = (unsigned char)*scan->at;
        if (c == '"') {
            scan->at++;
            return RECORD_FAULT_NONE;
        }
        if (c == '\\') {
            scan->at++;
            enum record_fault fault = check_escape(scan);
            if (fault) {
                return fault;
            }
            continue;
        }
        if (c < 0x20) {
            return c ? RECORD_FAULT_NOT_JSON : RECORD_FAULT_HAS_NUL;
        }
        unsigned length =
            text_sequence((const unsigned char *)scan->at, (const unsigned char *)scan->end);
        if (!length) {
            return RECORD_FAULT_NOT_UTF8;
        }
        scan->at += length;
    }
    return RECORD_FAULT_NOT_JSON;
}

static enum record_fault check_word(struct scan *scan, const char *word, size_t length)
{
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0) {
        return RECORD_FAULT_NOT_JSON;
    }
    scan->at += length;
    return RECORD_FAULT_NONE;
}

static enum record_fault check_value(struct scan *scan, unsigned depth);

static enum record_fault check_key(struct scan *scan)
{
    skip_blanks(scan);
    if (!accept(scan, '"')) {
        return RECORD_FAULT_NOT_JSON;
    }
    enum record_fault fault = check_string(scan);
    if (fault) {
        return fault;
    }
    skip_blanks(scan);
    return accept(scan, ':') ? RECORD_FAULT_NONE : RECORD_FAULT_NOT_JSON;
}

/* An object or an array, whose opening bracket has been read; depth counts it. */
static enum record_fault check_members(struct scan *scan, bool object, unsigned depth)
{
    char close = object ? '}' : ']';

    if (depth > LIMIT_NESTING) {
        return RECORD_FAULT_TOO_DEEP;
    }
    skip_blanks(scan);
    if (accept(scan, close)) {
        return RECORD_FAULT_NONE;
    }
    do {
        enum record_fault fault = object ? check_key(scan) : RECORD_FAULT_NONE;
        if (!fault) {
            fault = check_value(scan, depth);
        }
        if (fault) {
            return fault;
        }
        skip_blanks(scan);
    } while (accept(scan, ','));
    return accept(scan, close) ? RECORD_FAULT_NONE : RECORD_FAULT_NOT_JSON;
}

static enum record_fault check_value(struct scan *scan, unsigned depth)
{
    skip_blanks(scan);
    if (accept(scan, '"')) {
        return check_string(scan);
    }
    if (accept(scan, '{')) {
        return check_members(scan, true, depth + 1);
    }
    if (accept(scan, '[')) {
        return check_members(scan, false, depth + 1);
    }
    switch (scan->at < scan->end ? *scan->at : '\0') {
    case 't':
        return check_word(scan, "true", 4);
    case 'f':
        return check_word(scan, "false", 5);
    case 'n':
        return check_word(scan, "null", 4);
    default:
        return check_number(scan);
    }
}

enum record_fault json_object_check(const char *text, size_t length)
{
    struct scan scan = {text, text + length};

    if (length > LIMIT_EXTRA_BYTES) {
        return RECORD_FAULT_TOO_LONG;
    }
    skip_blanks(&scan);
    if (!accept(&scan, '{')) {
        return RECORD_FAULT_NOT_JSON;
    }
    enum record_fault fault = check_members(&scan, true, 1);
    if (fault) {
        return fault;
    }
    skip_blanks(&scan);
    return scan.at == scan.end ? RECORD_FAULT_NONE : RECORD_FAULT_NOT_JSON;
}

/* One value of amounts: a number, or a string that holds one. */
static enum record_fault read_amount(struct scan *scan, struct json_writer *out)
{
    char canonical[LIMIT_DECIMAL_BYTES];
    bool quoted = accept(scan, '"');
    const char *first = scan->at;
    enum record_fault fault = quoted ? check_string(scan) : check_number(scan);
    if (fault) {
        return fault == RECORD_FAULT_NOT_JSON ? RECORD_FAULT_NOT_DECIMAL : fault;
    }
    int length = decimal_canonical(first, (size_t)(scan->at - first) - quoted, canonical);
    if (length < 0) {
        return RECORD_FAULT_NOT_DECIMAL;
    }
    if (out != NULL) {
        json_write(out, canonical, (size_t)length);
    }
    return RECORD_FAULT_NONE;
}

static enum record_fault read_amount_member(struct scan *scan, struct json_writer *out)
{
    skip_blanks(scan);
    const char *first = scan->at;
    enum record_fault fault = check_key(scan);
    if (fault) {
        return fault;
    }
    if (out != NULL) {
        json_write(out, first, (size_t)(scan->at - first));
    }
    skip_blanks(scan);
    return read_amount(scan, out);
}

enum record_fault json_amounts(const char *text, size_t length, struct json_writer *out)
{
    struct scan scan = {text, text + length};
    char separator = '{';

    if (length > LIMIT_AMOUNTS_BYTES) {
        return RECORD_FAULT_TOO_LONG;
    }
    skip_blanks(&scan);
    while (accept(&scan, separator)) {
        enum record_fault fault = RECORD_FAULT_NONE;
        if (out != NULL) {
            json_write(out, &separator, 1);
        }
        fault = read_amount_member(&scan, out);
        if (fault) {
            return fault;
        }
        skip_blanks(&scan);
        separator = ',';
    }
    if (separator == '{' || !accept(&scan, '}')) {
        return RECORD_FAULT_NOT_JSON;
    }
    skip_blanks(&scan);
    if (scan.at != scan.end) {
        return RECORD_FAULT_NOT_JSON;
    }
    if (out != NULL) {
        json_write(out, "}", 1);
    }
    return out != NULL && out->full ? RECORD_FAULT_TOO_LONG : RECORD_FAULT_NONE;
}

const char *json_object_inside(const char *text, size_t length, size_t *inside_length)
{
    const char *at = text, *end = text + length;

    while (*at != '{') {
        at++;
    }
    while (end[-1] != '}') {
        end--;
    }
    at++;
    end--;
    while (at < end && is_blank(*at)) {
        at++;
    }
    while (at < end && is_blank(end[-1])) {
        end--;
    }
    *inside_length = (size_t)(end - at);
    return at;
}

/* --- writing
 * -------------------------------------------------------------------------------------------------------------
 */

void json_write(struct json_writer *writer, const char *text, size_t length)
{
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

enum record_fault json_write_string(struct json_writer *writer, const void *text_bytes,
                                    uint64_t length)
{
    const char *text = text_bytes;
    const uint8_t *bytes = text_bytes;
    size_t plain = 0; /* since where nothing needed an escape */

    enum record_fault fault = text_check(text, length);
    if (fault) {
        return fault;
    }
    json_write(writer, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] >= 0x20 && bytes[i] != '"' && bytes[i] != '\\') {
            continue;
        }
        json_write(writer, text + plain, i - plain);
        plain = i + 1;
        if (bytes[i] >= 0x20) {
            json_write(writer, "\\", 1);
            json_write(writer, text + i, 1);
        } else {
            json_write(writer, "\\u00", 4);
            write_hex(writer, bytes[i]);
        }
    }
    json_write(writer, text + plain, length - plain);
    json_write(writer, "\"", 1);
    return RECORD_FAULT_NONE;
}

/* PostgreSQL's hex form of bytes, to the closing quote; the opening one has been written. */
static void write_hex_bytes(struct json_writer *writer, const uint8_t *bytes, uint64_t length)
{
    json_write(writer, "\\\\x", 3);
    for (uint64_t i = 0; i < length && !writer->full; i++) {
        write_hex(writer, bytes[i]);
    }
    json_write(writer, "\"", 1);
}

static void write_integer(struct json_writer *writer, int64_t value)
{
    char digits[DECIMAL_INTEGER_BYTES];
    json_write(writer, digits, (size_t)decimal_from_int64(value, digits));
}

static void write_ext(struct json_writer *writer, const struct unpack_value *value)
{
    int64_t time_ns;

    if (unpack_time_ns(value, &time_ns) == RECORD_FAULT_NONE) {
        write_integer(writer, time_ns);
        return;
    }
    json_write(writer, "\"ext:", 5);
    write_integer(writer, value->ext_type);
    json_write(writer, ":", 1);
    write_hex_bytes(writer, value->bytes, value->length);
}

static enum record_fault write_floating(struct json_writer *writer,
                                        const struct unpack_value *value)
{
    char text[LIMIT_DECIMAL_BYTES];
    bool is_float = value->type == UNPACK_FLOAT;

    if (!isfinite(value->floating)) {
        return RECORD_FAULT_OUT_OF_RANGE;
    }
    int length = is_float ? decimal_from_float((float)value->floating, text)
                          : decimal_from_double(value->floating, text);
    if (length < 0) { /* too many digits without exponent */
        length = decimal_float_digits(value->floating, is_float, text);
    }
    json_write(writer, text, (size_t)length);
    return RECORD_FAULT_NONE;
}

/* Everything but arrays and maps. */
static enum record_fault write_scalar(struct json_writer *writer, const struct unpack_value *value)
{
    char digits[DECIMAL_INTEGER_BYTES];

    switch (value->type) {
    case UNPACK_NIL:
        json_write(writer, "null", 4);
        break;
    case UNPACK_FALSE:
        json_write(writer, "false", 5);
        break;
    case UNPACK_TRUE:
        json_write(writer, "true", 4);
        break;
    case UNPACK_INT:
        write_integer(writer, value->integer);
        break;
    case UNPACK_BIG:
        json_write(writer, digits, (size_t)decimal_from_uint64(value->length, digits));
        break;
    case UNPACK_FLOAT:
    case UNPACK_DOUBLE:
        return write_floating(writer, value);
    case UNPACK_STR:
        return json_write_string(writer, value->bytes, value->length);
    case UNPACK_BIN:
        json_write(writer, "\"", 1);
        write_hex_bytes(writer, value->bytes, value->length);
        break;
    case UNPACK_EXT:
        write_ext(writer, value);
        break;
    default:
        return RECORD_FAULT_WRONG_TYPE;
    }
    return RECORD_FAULT_NONE;
}

static enum record_fault write_elements(struct json_writer *writer, struct unpack_reader *reader,
                                        uint64_t count, unsigned depth)
{
    struct unpack_value element;

    for (uint64_t i = 0; i < count; i++) {
        enum record_fault fault = unpack_next(reader, &element);
        if (!fault && i > 0) {
            json_write(writer, ",", 1);
        }
        if (!fault) {
            fault = json_write_value(writer, reader, &element, depth);
        }
        if (fault) {
            return fault;
        }
    }
    return RECORD_FAULT_NONE;
}

enum record_fault json_write_value(struct json_writer *writer, struct unpack_reader *reader,
                                   const struct unpack_value *value, unsigned depth)
{
    bool map = value->type == UNPACK_MAP, comma = false;
    enum record_fault fault;

    if (!map && value->type != UNPACK_ARRAY) {
        fault = write_scalar(writer, value);
    } else if (depth >= LIMIT_NESTING) {
        fault = RECORD_FAULT_TOO_DEEP;
    } else {
        json_write(writer, map ? "{" : "[", 1);
        fault = map ? json_write_members(writer, reader, value->length, &comma, depth + 1)
                    : write_elements(writer, reader, value->length, depth + 1);
        json_write(writer, map ? "}" : "]", 1);
    }
    return fault ? fault : writer->full ? RECORD_FAULT_TOO_LONG : RECORD_FAULT_NONE;
}

/* A key is a string, so what does not begin with a quote is put between quotes. */
static enum record_fault write_key(struct json_writer *writer, const struct unpack_value *key)
{
    int64_t time_ns;
    bool is_string =
        key->type == UNPACK_STR || key->type == UNPACK_BIN ||
        (key->type == UNPACK_EXT && unpack_time_ns(key, &time_ns) != RECORD_FAULT_NONE);

    if (!is_string) {
        json_write(writer, "\"", 1);
    }
    enum record_fault fault = write_scalar(writer, key);
    if (!is_string) {
        json_write(writer, "\"", 1);
    }
    return fault;
}

enum record_fault json_write_member(struct json_writer *writer, struct unpack_reader *reader,
                                    const struct unpack_value *key, bool *comma, unsigned depth)
{
    struct unpack_value value;

    if (*comma) {
        json_write(writer, ",", 1);
    }
    *comma = true;
    enum record_fault fault = write_key(writer, key);
    json_write(writer, ":", 1);
    if (!fault) {
        fault = unpack_next(reader, &value);
    }
    return fault ? fault : json_write_value(writer, reader, &value, depth);
}

enum record_fault json_write_members(struct json_writer *writer, struct unpack_reader *reader,
                                     uint64_t pairs, bool *comma, unsigned depth)
{
    struct unpack_value key;

    for (uint64_t i = 0; i < pairs; i++) {
        enum record_fault fault = unpack_next(reader, &key);
        if (!fault) {
            fault = json_write_member(writer, reader, &key, comma, depth);
        }
        if (fault) {
            return fault;
        }
    }
    return RECORD_FAULT_NONE;
}
