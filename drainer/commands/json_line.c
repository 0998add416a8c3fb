/* json_line.c: see json_line.h.
 *
 * The grammar, UTF-8 and escapes are jansson's to judge. But no C library that is maintained, and
 * that Debian 12 has, hands out a number as it is written: jansson makes int64 or double of it and
 * refuses 27 digits, json-c keeps the digits of doubles but clamps integers at 2^64. So jansson
 * gets a copy of the line in which every number is a 0, with blanks behind it to keep the offsets,
 * and the values are taken from the line itself, which is then known to be well-formed. */
#include "drainer/commands/json_line.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_read.h"

struct slice {
    const char *at;
    size_t length;
};

/* --- scanning: stays within bounds whatever the text is --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at)) {
        at++;
    }
    return at;
}

/* at: the opening quote. Returns what is behind the closing one. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\' && at + 1 < end) {
            at++;
        }
    }
    return at < end ? at + 1 : end;
}

static const char *skip_value(const char *at, const char *end)
{
    unsigned depth = 0;

    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0) {
                return at;
            }
            depth--;
            at++;
        } else if (depth == 0 && (*at == ',' || is_blank(*at))) {
            return at;
        } else {
            at++;
            continue; /* in the middle of a number or a word */
        }
        if (depth == 0) {
            return at;
        }
    }
    return end;
}

struct member {
    struct slice key; /* with its quotes */
    struct slice value;
};

/* Steps to the next member of the object that `at` is in: behind its brace, or behind the member
 * before. */
static const char *next_member(const char *at, const char *end, struct member *member)
{
    at = skip_blanks(at, end);
    if (at < end && *at == ',') {
        at = skip_blanks(at + 1, end);
    }
    if (at == end || *at != '"') {
        return NULL;
    }
    const char *behind = skip_string(at, end);
    member->key = (struct slice){at, (size_t)(behind - at)};
    at = skip_blanks(behind, end);
    if (at < end && *at == ':') {
        at = skip_blanks(at + 1, end);
    }
    behind = skip_value(at, end);
    member->value = (struct slice){at, (size_t)(behind - at)};
    return behind;
}

/* Behind the opening brace, or NULL. */
static const char *enter_object(const char *text, const char *end)
{
    const char *at = skip_blanks(text, end);

    return at < end && *at == '{' ? at + 1 : NULL;
}

/* For messages: the key without its quotes, nothing of it that is not printable. */
static void print_key(struct slice key, char out[64])
{
    size_t used = 0;

    for (size_t i = 1; i < key.length && used < 63 && key.at[i] != '"'; i++) {
        unsigned char c = (unsigned char)key.at[i];
        out[used++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    out[used] = '\0';
}

void json_line_key_at(const char *text, size_t length, size_t offset, char out[64])
{
    const char *end = text + length, *at = enter_object(text, end), *behind = at;
    struct member member = {.key = {"", 0}};

    out[0] = '\0';
    while (behind != NULL && behind < text + offset &&
           (at = next_member(behind, end, &member)) != NULL) {
        behind = at;
    }
    if (behind == NULL) {
        return;
    }
    const char *next = skip_blanks(behind, end);
    bool ended = next < end && *next == '}' && text + offset > behind; /* then it is no member's */
    if (!ended) {
        print_key(member.key, out);
    }
}

/* --- complaints: each returns -1 --- */

static int complain(struct json_line *line, const char *field, const char *what)
{
    snprintf(line->problem, sizeof line->problem, "%s%s%s", field, field[0] == '\0' ? "" : ": ",
             what);
    return -1;
}

static int complain_at(struct json_line *line, const char *text, size_t length, size_t offset,
                       const char *what)
{
    char key[64];

    json_line_key_at(text, length, offset, key);
    return complain(line, key, what);
}

/* --- well-formed?
 * --------------------------------------------------------------------------------------------------------
 */

static size_t digits(const char *at, const char *end)
{
    size_t count = 0;

    while (at + count < end && is_digit(at[count])) {
        count++;
    }
    return count;
}

/* The length of the JSON number at `at`, or 0. */
static size_t number_length(const char *at, const char *end)
{
    const char *first = at;
    size_t count;

    at += at < end && *at == '-';
    count = digits(at, end);
    if (count == 0 || (count > 1 && *at == '0')) {
        return 0;
    }
    at += count;
    if (at < end && *at == '.') {
        count = digits(at + 1, end);
        if (count == 0) {
            return 0;
        }
        at += 1 + count;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *exponent = at + 1;

        exponent += exponent < end && (*exponent == '+' || *exponent == '-');
        count = digits(exponent, end);
        if (count == 0) {
            return 0;
        }
        at = exponent + count;
    }
    return (size_t)(at - first);
}

/* Makes every number 0. What is no number stays, for jansson to refuse. */
static void blank_numbers(char *text, size_t length)
{
    const char *end = text + length;

    for (char *at = text; at < end;) {
        size_t number = 0;

        if (*at == '"') {
            at += skip_string(at, end) - at;
        } else if (*at == '-' || is_digit(*at)) {
            number = number_length(at, end);
            if (number == 0) {
                return; /* refused here: what follows does not matter */
            }
            memset(at, ' ', number);
            *at = '0';
            at += number;
        } else {
            at++;
        }
    }
}

static int explain(struct json_line *line, const char *text, size_t length,
                   const json_error_t *error)
{
    size_t offset = error->position < 0 ? 0 : (size_t)error->position;
    char what[64];

    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        return complain_at(line, text, length, offset, record_fault_text(RECORD_FAULT_NOT_UTF8));
    case json_error_duplicate_key:
        return complain_at(line, text, length, offset, record_fault_text(RECORD_FAULT_DUPLICATE));
    case json_error_stack_overflow:
        return complain_at(line, text, length, offset, record_fault_text(RECORD_FAULT_TOO_DEEP));
    case json_error_null_byte_in_key:
        return complain_at(line, text, length, offset, record_fault_text(RECORD_FAULT_HAS_NUL));
    case json_error_premature_end_of_input:
        return complain_at(line, text, length, offset, "not JSON: the line ends too early");
    default:
        snprintf(what, sizeof what, "not JSON, at byte %zu", offset);
        return complain_at(line, text, length, offset, what);
    }
}

static int check(struct json_line *line, const char *text, size_t length)
{
    const char *nul = memchr(text, '\0', length);
    json_error_t error;

    if (nul != NULL) {
        return complain_at(line, text, length, (size_t)(nul - text),
                           record_fault_text(RECORD_FAULT_HAS_NUL));
    }
    char *copy = line->memory + line->used;
    memcpy(copy, text, length);
    blank_numbers(copy, length);
    json_t *parsed = json_loadb(copy, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    bool object = json_is_object(parsed);
    json_decref(parsed);
    if (parsed == NULL) {
        return explain(line, text, length, &error);
    }
    return object ? 0 : complain(line, "", "not a JSON object");
}

/* --- values
 * --------------------------------------------------------------------------------------------------------------
 */

static bool value_is(struct slice value, const char *word)
{
    return value.length == strlen(word) && memcmp(value.at, word, value.length) == 0;
}

static const char *keep(struct json_line *line, const char *text, size_t length)
{
    char *kept = line->memory + line->used;

    memcpy(kept, text, length);
    kept[length] = '\0';
    line->used += length + 1;
    return kept;
}

/* A string without quotes and escapes, or NULL: it has a NUL. */
static const char *keep_string(struct json_line *line, struct slice quoted)
{
    if (memchr(quoted.at, '\\', quoted.length) == NULL) {
        return keep(line, quoted.at + 1, quoted.length - 2);
    }
    json_t *string = json_loadb(quoted.at, quoted.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const char *text = json_string_value(string), *kept = NULL;
    if (text != NULL && strlen(text) == json_string_length(string)) {
        kept = keep(line, text, json_string_length(string));
    }
    json_decref(string);
    return kept;
}

static int take_string(struct json_line *line, const char *field, struct slice value,
                       const char **out)
{
    *out = keep_string(line, value);
    return *out == NULL ? complain(line, field, record_fault_text(RECORD_FAULT_HAS_NUL)) : 0;
}

static int take_text(struct json_line *line, const char *field, struct slice value,
                     const char **out)
{
    return value.at[0] == '"' ? take_string(line, field, value, out)
                              : complain(line, field, "expected a string");
}

static int take_decimal(struct json_line *line, const char *field, struct slice value,
                        const char **out)
{
    if (value.at[0] == '"') {
        return take_string(line, field, value, out);
    }
    if (value.at[0] != '-' && !is_digit(value.at[0])) {
        return complain(line, field, "expected a number, or a string of digits");
    }
    *out = keep(line, value.at, value.length);
    return 0;
}

static int take_time(struct json_line *line, const char *field, struct slice value, int64_t *out)
{
    size_t sign = value.at[0] == '-';
    char *end;

    errno = 0;
    if (digits(value.at + sign, value.at + value.length) + sign == value.length &&
        value.length > sign) {
        *out = strtoll(keep(line, value.at, value.length), &end, 10);
        if (errno == 0) {
            return 0;
        }
    }
    return complain(line, field, "expected an integer: nanoseconds since 1970");
}

static int take_bool(struct json_line *line, const char *field, struct slice value,
                     enum blotter_bool *out)
{
    if (value_is(value, "true") || value_is(value, "false")) {
        *out = value.at[0] == 't' ? BLOTTER_TRUE : BLOTTER_FALSE;
        return 0;
    }
    return complain(line, field, "expected true or false");
}

static int take_field(struct json_line *line, const struct record_field *field, struct slice value,
                      void *out)
{
    if (value_is(value, "null")) {
        return 0;
    }
    switch (field->kind) {
    case FIELD_TEXT:
        return take_text(line, field->name, value, out);
    case FIELD_DECIMAL:
        return take_decimal(line, field->name, value, out);
    case FIELD_TIME:
    case FIELD_INT:
        return take_time(line, field->name, value, out);
    case FIELD_BOOL:
        return take_bool(line, field->name, value, out);
    case FIELD_AMOUNTS:
        *(const char **)out = keep(line, value.at, value.length);
        return 0;
    case FIELD_JSON:
        break;
    }
    abort(); /* extra is not taken here */
}

/* --- the record
 * ----------------------------------------------------------------------------------------------------------
 */

#define X(name, kind, meaning) offsetof(struct blotter_order, name),
static const size_t order_offsets[] = {BLOTTER_ORDER_FIELDS(X)};
#undef X
#define X(name, kind, meaning) offsetof(struct blotter_trade, name),
static const size_t trade_offsets[] = {BLOTTER_TRADE_FIELDS(X)};
#undef X

/* The index of the field of that name, or -1. The identity is the library's to set: its names are
 * keys like any other. */
static int field_of(const struct record_schema *schema, const char *name)
{
    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        if (strcmp(schema->fields[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool is_envelope(const char *name)
{
    return strcmp(name, "kind") == 0 || strcmp(name, "exchange") == 0;
}

static int take_envelope(struct json_line *line, const char *exchange, const char *name,
                         struct slice value)
{
    const char *text;

    if (!is_envelope(name) || value_is(value, "null")) {
        return 0;
    }
    if (take_text(line, name, value, &text) != 0) {
        return -1;
    }
    if (strcmp(name, "exchange") == 0) {
        return strcmp(text, exchange) == 0
                   ? 0
                   : complain(line, name, "not the exchange that is published (--exchange)");
    }
    int kind = record_kind_of(text, strlen(text));
    if (kind != RECORD_ORDER && kind != RECORD_TRADE) {
        return complain(line, name, "expected order or trade");
    }
    line->kind = (enum record_kind)kind;
    return 0;
}

/* Appends to what will be between the braces of extra. Text that is not an object has been
 * complained of. */
static void add_extra(char *extra, size_t *used, struct slice first, struct slice second)
{
    if (first.length + second.length == 0) {
        return;
    }
    if (*used > 0) {
        extra[(*used)++] = ',';
    }
    memcpy(extra + *used, first.at, first.length);
    *used += first.length;
    if (second.length > 0) {
        extra[(*used)++] = ':';
        memcpy(extra + *used, second.at, second.length);
        *used += second.length;
    }
}

/* One member of the line: into its field, or into extra, of which *extra_used bytes are there. */
static int take_member(struct json_line *line, const struct member *member, char *extra,
                       size_t *extra_used)
{
    const struct record_schema *schema = &record_schemas[line->kind];
    const size_t *offsets = line->kind == RECORD_ORDER ? order_offsets : trade_offsets;
    const char *name = keep_string(line, member->key);
    struct slice inside = {NULL, 0}, nothing = {"", 0};

    if (name == NULL) {
        return complain(line, "", "a key has a NUL byte");
    }
    int index = field_of(schema, name);
    if (is_envelope(name)) {
        return 0;
    }
    if (index < 0) {
        add_extra(extra, extra_used, member->key, member->value);
        return 0;
    }
    if (schema->fields[index].kind != FIELD_JSON) {
        return take_field(line, &schema->fields[index], member->value,
                          (char *)&line->order + offsets[index - RECORD_IDENTITY_FIELDS]);
    }
    if (value_is(member->value, "null")) {
        return 0;
    }
    if (member->value.at[0] != '{') {
        return complain(line, name, "expected an object");
    }
    inside.at = json_read_inside(member->value.at, member->value.length, &inside.length);
    add_extra(extra, extra_used, inside, nothing);
    return 0;
}

static int find_kind(struct json_line *line, const char *exchange, const char *at, const char *end)
{
    struct member member;
    size_t used = line->used;

    line->kind = RECORD_ORDER;
    while ((at = next_member(at, end, &member)) != NULL) {
        const char *name = keep_string(line, member.key);

        if (name != NULL && take_envelope(line, exchange, name, member.value) != 0) {
            return -1;
        }
        line->used = used;
    }
    return 0;
}

/* extra is put together at the front of the memory, where there is room for as much as the line
 * has; the strings follow. */
static int take_members(struct json_line *line, const char *at, const char *end)
{
    char *extra = line->memory + 1;
    size_t extra_used = 0;
    struct member member;

    line->memory[0] = '{';
    line->used = (size_t)(end - at) + 8;
    while ((at = next_member(at, end, &member)) != NULL) {
        if (take_member(line, &member, extra, &extra_used) != 0) {
            return -1;
        }
    }
    if (extra_used > 0) {
        memcpy(extra + extra_used, "}", 2);
        *(line->kind == RECORD_ORDER ? &line->order.extra : &line->trade.extra) = line->memory;
    }
    return 0;
}

/* Room for extra, every string and its NUL, and the copy for jansson. */
static void make_room(struct json_line *line, size_t length)
{
    size_t needed = 3 * length + 1024;

    line->used = 0;
    if (line->capacity < needed) {
        free(line->memory);
        line->memory = malloc(needed);
        line->capacity = needed;
        if (line->memory == NULL) {
            abort();
        }
    }
}

int json_line_parse(struct json_line *line, const char *exchange, const char *text, size_t length)
{
    const char *end = text + length;

    make_room(line, length);
    memset(&line->order, 0, sizeof line->order);
    _Static_assert(sizeof line->trade <= sizeof line->order, "both are cleared");
    line->problem[0] = '\0';
    if (check(line, text, length) != 0) {
        return -1;
    }
    const char *at = enter_object(text, end);
    return find_kind(line, exchange, at, end) != 0 ? -1 : take_members(line, at, end);
}

void json_line_release(struct json_line *line)
{
    free(line->memory);
    *line = (struct json_line){0};
}
