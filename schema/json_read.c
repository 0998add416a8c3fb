/* json_read.c: checks JSON text, and reads what has been checked.
 *
 * The check exists so that a bad `extra` is found where it is made and not by PostgreSQL, in the
 * middle of a batch: what passes here, jsonb accepts. It is stricter than jsonb at two points: only
 * an object, and only so deep. Numbers are judged by the digits they would have written out, as
 * numeric is what jsonb keeps them in.
 *
 * It recurses, never deeper than LIMIT_NESTING, and allocates nothing. */
#include "schema/json_read.h"

#include <string.h>

#include "schema/decimal.h"
#include "schema/text.h"

/* PostgreSQL's numeric holds so many digits before and behind the point. */
enum {
    NUMERIC_WHOLE_MAX = 131072,
    NUMERIC_SCALE_MAX = 16383,
};

static bool json_read_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct json_scan *scan)
{
    while (scan->at < scan->end && json_read_is_blank(*scan->at)) {
        scan->at++;
    }
}

/* Steps over one character if it is this one. */
static bool accept(struct json_scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c) {
        return false;
    }
    scan->at++;
    return true;
}

static unsigned skip_digits(struct json_scan *scan)
{
    const char *first = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        scan->at++;
    }
    return (unsigned)(scan->at - first);
}

/* Returns the value of an exponent's digits, or a number that is too large anyway. */
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

static enum record_fault check_number(struct json_scan *scan)
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
static int hex4(struct json_scan *scan)
{
    int value = 0;

    if (scan->end - scan->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = text_hex_digit(*scan->at++);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static enum record_fault check_escape(struct json_scan *scan)
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

/* Checks a string whose opening quote has been read. */
static enum record_fault check_string(struct json_scan *scan)
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

static enum record_fault check_word(struct json_scan *scan, const char *word, size_t length)
{
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0) {
        return RECORD_FAULT_NOT_JSON;
    }
    scan->at += length;
    return RECORD_FAULT_NONE;
}

static enum record_fault check_value(struct json_scan *scan, unsigned depth);

static enum record_fault check_key(struct json_scan *scan)
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

/* Checks an object or an array whose opening bracket has been read; depth counts it. */
static enum record_fault check_members(struct json_scan *scan, bool object, unsigned depth)
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

static enum record_fault check_value(struct json_scan *scan, unsigned depth)
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

/* Checks the object that the text is, with blanks around it. */
static enum record_fault check_whole_object(struct json_scan *scan)
{
    skip_blanks(scan);
    if (!accept(scan, '{')) {
        return RECORD_FAULT_NOT_JSON;
    }
    enum record_fault fault = check_members(scan, true, 1);
    if (fault) {
        return fault;
    }
    skip_blanks(scan);
    return scan->at == scan->end ? RECORD_FAULT_NONE : RECORD_FAULT_NOT_JSON;
}

enum record_fault json_read_object(const char *text, size_t length)
{
    struct json_scan scan = {text, text + length};

    return length > LIMIT_EXTRA_BYTES ? RECORD_FAULT_TOO_LONG : check_whole_object(&scan);
}

enum record_fault json_read_line(const char *text, size_t length, size_t *offset)
{
    struct json_scan scan = {text, text + length};
    enum record_fault fault = check_whole_object(&scan);

    *offset = (size_t)(scan.at - text);
    return fault;
}

bool json_read_list(const char *text, size_t length, struct json_scan *elements)
{
    struct json_scan scan = {text, text + length};

    skip_blanks(&scan);
    if (!accept(&scan, '[')) {
        return false;
    }
    elements->at = scan.at;
    bool good = check_members(&scan, false, 1) == RECORD_FAULT_NONE;
    elements->end = scan.at - 1;
    skip_blanks(&scan);
    return good && scan.at == scan.end;
}

/* Reads one value of amounts: a number, or a string that holds one. */
static enum record_fault read_amount(struct json_scan *scan, struct json_writer *out)
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

static enum record_fault read_amount_member(struct json_scan *scan, struct json_writer *out)
{
    skip_blanks(scan);
    const char *first = scan->at;
    enum record_fault fault = accept(scan, '"') ? check_string(scan) : RECORD_FAULT_NOT_JSON;
    if (fault) {
        return fault;
    }
    if (out != NULL) {
        json_write(out, first, (size_t)(scan->at - first));
        json_write(out, ":", 1);
    }
    skip_blanks(scan);
    if (!accept(scan, ':')) {
        return RECORD_FAULT_NOT_JSON;
    }
    skip_blanks(scan);
    return read_amount(scan, out);
}

enum record_fault json_read_amounts(const char *text, size_t length, struct json_writer *out)
{
    struct json_scan scan = {text, text + length};
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

/* --- what has been checked --- */

bool json_slice_is(struct json_slice slice, const char *text)
{
    return slice.length == strlen(text) && memcmp(slice.at, text, slice.length) == 0;
}

bool json_slice_is_key(struct json_slice quoted, const char *name)
{
    return quoted.length == strlen(name) + 2 && memcmp(quoted.at + 1, name, quoted.length - 2) == 0;
}

bool json_slice_is_one_of(struct json_slice quoted, const char *const *names)
{
    while (*names != NULL && !json_slice_is_key(quoted, *names)) {
        names++;
    }
    return *names != NULL;
}

const char *json_read_inside(const char *text, size_t length, size_t *inside_length)
{
    const char *at = text, *end = text + length;

    /* It was read before, but may be the memory of a strategy that writes to it meanwhile. */
    while (at < end && *at != '{') {
        at++;
    }
    while (at < end && end[-1] != '}') {
        end--;
    }
    at += at < end;
    end -= at < end;
    while (at < end && json_read_is_blank(*at)) {
        at++;
    }
    while (at < end && json_read_is_blank(end[-1])) {
        end--;
    }
    *inside_length = (size_t)(end - at);
    return at;
}

struct json_scan json_read_members(const char *text, size_t length)
{
    size_t inside_length;
    const char *inside = json_read_inside(text, length, &inside_length);

    return (struct json_scan){inside, inside + inside_length};
}

/* Skips to the next member or element. False: there is none. */
static bool find_next(struct json_scan *scan)
{
    skip_blanks(scan);
    accept(scan, ',');
    skip_blanks(scan);
    return scan->at < scan->end;
}

bool json_read_element(struct json_scan *scan, struct json_slice *value)
{
    if (!find_next(scan)) {
        return false;
    }
    value->at = scan->at;
    check_value(scan, 1);
    value->length = (size_t)(scan->at - value->at);
    return true;
}

bool json_read_member(struct json_scan *scan, struct json_member *member)
{
    if (!find_next(scan)) {
        return false;
    }
    member->key.at = scan->at;
    accept(scan, '"');
    check_string(scan);
    member->key.length = (size_t)(scan->at - member->key.at);
    skip_blanks(scan);
    accept(scan, ':');
    skip_blanks(scan);
    member->value.at = scan->at;
    check_value(scan, 1);
    member->value.length = (size_t)(scan->at - member->value.at);
    return true;
}

bool json_find_member(struct json_slice object, const char *name, const char *alias,
                      struct json_slice *value)
{
    struct json_scan scan = json_read_members(object.at, object.length);
    struct json_member member;

    while (json_read_member(&scan, &member)) {
        if ((json_slice_is_key(member.key, name) || json_slice_is_key(member.key, alias)) &&
            !json_slice_is_absent(member.value)) {
            *value = member.value;
            return true;
        }
    }
    return false;
}

char *json_copy_member(char *out, const struct json_member *member)
{
    out = mempcpy(out, member->key.at, member->key.length);
    *out++ = ':';
    out = mempcpy(out, member->value.at, member->value.length);
    *out++ = ',';
    return out;
}

char *json_copy_value(char *out, const char *name, struct json_slice value)
{
    const struct json_member rest = {{"\"", 1}, value}; /* with the quote behind the name */

    *out++ = '"';
    return json_copy_member(mempcpy(out, name, strlen(name)), &rest);
}

bool json_slice_is_shown(struct json_slice value)
{
    return value.length > 8 && memcmp(value.at, "\"\\u", 3) == 0 &&
           (memcmp(value.at + 3, "00", 2) != 0 || value.at[5] >= '2');
}

bool json_slice_is_absent(struct json_slice value)
{
    bool map = value.at[0] == '{';
    struct json_scan scan = {value.at + 1, value.at + value.length - 1};
    struct json_member member;

    if (!map && value.at[0] != '[') {
        return json_slice_is(value, "null") || json_slice_is(value, "\"\"");
    }
    return !(map ? json_read_member(&scan, &member) : json_read_element(&scan, &member.value));
}

/* Returns the character of an escape whose backslash has been read. */
static unsigned read_escape(struct json_scan *scan)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    char c = *scan->at++;
    const char *letter = strchr(letters, c);

    if (c != 'u') {
        return (unsigned char)(letter != NULL ? meanings[letter - letters] : c);
    }
    unsigned unit = (unsigned)hex4(scan);
    if (unit < 0xd800 || unit > 0xdfff) {
        return unit;
    }
    scan->at += 2; /* the pair's second half */
    return 0x10000 + ((unit - 0xd800) << 10) + ((unsigned)hex4(scan) - 0xdc00);
}

size_t json_read_string(struct json_slice quoted, char *out)
{
    struct json_scan scan = {quoted.at + 1, quoted.at + quoted.length - 1};
    char *at = out;

    while (scan.at < scan.end) {
        if (accept(&scan, '\\')) {
            at = text_put_utf8(at, read_escape(&scan));
        } else {
            *at++ = *scan.at++;
        }
    }
    return (size_t)(at - out);
}
