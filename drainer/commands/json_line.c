/* json_line.c: see json_line.h.
 *
 * A line is checked as a whole, by the scanner that also checks `extra`. Then the members that are
 * fields, by our names or ccxt's, are packed as msgpack, and decoded as the drainer decodes what
 * others send: so a line means the same as an entry, and there is one set of rules. Members that
 * are no fields never become anything but text. */
#include "drainer/commands/json_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/nested_trades.h"
#include "schema/decoder.h"
#include "schema/json_read.h"
#include "schema/pack.h"

enum { KEY_SHOWN_BYTES = 64 };

/* Parts of the memory of a line that is being read. */
struct json_draft {
    struct json_line *line;
    unsigned char *packed, *packed_end; /* pairs of fields as msgpack */
    unsigned pairs;
    char *extra; /* what goes between the braces of `extra` */
    size_t extra_length;
    char *string;     /* room for a string without its escapes */
    uint64_t marks;   /* keys that tell what kind of object it is */
    unsigned unknown; /* keys that are no field's */
};

/* --- problems: each returns -1 --- */

static int json_line_complain(struct json_line *line, const char *field, const char *what)
{
    snprintf(line->problem, sizeof line->problem, "%s%s%s", field, field[0] == '\0' ? "" : ": ",
             what);
    return -1;
}

/* Copies a key for a message: nothing of it that is not printable. */
static void print_key(const char *at, const char *end, char out[KEY_SHOWN_BYTES])
{
    size_t used = 0;

    for (; at < end && used < KEY_SHOWN_BYTES - 1 && *at != '"'; at++) {
        unsigned char c = (unsigned char)*at;
        out[used++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    out[used] = '\0';
}

/* The end of a string whose opening quote has been read, behind its closing one. */
static const char *behind_string(const char *at, const char *end)
{
    for (; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end;
    }
    return at < end ? at + 1 : end;
}

void json_line_key_at(const char *text, size_t length, size_t offset, char out[KEY_SHOWN_BYTES])
{
    const char *at = text, *end = text + length, *stop = text + (offset < length ? offset : length);
    const char *key = end;
    int depth = 0;
    bool key_next = false;

    while (at < end && at < stop) {
        char c = *at++;
        if (c == '"') {
            key = depth == 1 && key_next ? at : key;
            key_next = false;
            at = behind_string(at, end);
        } else if (c == '{' || c == '[') {
            key_next = ++depth == 1;
        } else if (c == '}' || c == ']') {
            key = --depth == 0 ? end : key; /* behind the object is no member's */
        } else if (c == ',' && depth == 1) {
            key_next = true;
        }
    }
    print_key(key, end, out);
}

static int complain_at(struct json_line *line, const char *text, size_t length, size_t offset,
                       enum record_fault fault)
{
    char key[KEY_SHOWN_BYTES], what[64];

    if (fault != RECORD_FAULT_NOT_JSON) {
        snprintf(what, sizeof what, "%s", record_fault_text(fault));
    } else if (offset >= length) {
        snprintf(what, sizeof what, "not JSON: the line ends too early");
    } else if (memchr(text, '{', offset) == NULL) {
        snprintf(what, sizeof what, "not a JSON object");
    } else {
        snprintf(what, sizeof what, "not JSON, at byte %zu", offset);
    }
    json_line_key_at(text, length, offset, key);
    return json_line_complain(line, key, what);
}

/* --- msgpack of members --- */

static void pack_string(struct json_draft *draft, struct json_slice quoted)
{
    size_t length = json_read_string(quoted, draft->string);

    msgpack_pack_str(&draft->packed_end, length);
    msgpack_pack_str_body(&draft->packed_end, draft->string, length);
}

/* Packs an integer as one, any other number as its text, which keeps the digits. */
static void pack_number(struct json_draft *draft, struct json_slice number)
{
    char digits[24], *end = digits;
    long long integer = 0;

    errno = 0;
    if (number.length < sizeof digits) {
        memcpy(digits, number.at, number.length);
        digits[number.length] = '\0';
        integer = strtoll(digits, &end, 10);
    }
    if (end != digits && *end == '\0' && errno == 0) {
        msgpack_pack_int64(&draft->packed_end, integer);
    } else {
        msgpack_pack_str(&draft->packed_end, number.length);
        msgpack_pack_str_body(&draft->packed_end, number.at, number.length);
    }
}

static void pack_value(struct json_draft *draft, struct json_slice value);

/* Counts the values of an array or the members of an object, and packs them if told so. */
static size_t pack_container(struct json_draft *draft, struct json_slice value, bool pack)
{
    bool map = value.at[0] == '{';
    struct json_scan scan = {value.at + 1, value.at + value.length - 1};
    struct json_member member;
    size_t count = 0;

    while (map ? json_read_member(&scan, &member) : json_read_element(&scan, &member.value)) {
        count++;
        if (pack && map) {
            pack_string(draft, member.key);
        }
        if (pack) {
            pack_value(draft, member.value);
        }
    }
    return count;
}

static void pack_value(struct json_draft *draft, struct json_slice value)
{
    switch (value.at[0]) {
    case '"':
        pack_string(draft, value);
        break;
    case '{':
        msgpack_pack_map(&draft->packed_end, pack_container(draft, value, false));
        pack_container(draft, value, true);
        break;
    case '[':
        msgpack_pack_array(&draft->packed_end, pack_container(draft, value, false));
        pack_container(draft, value, true);
        break;
    case 't':
        msgpack_pack_true(&draft->packed_end);
        break;
    case 'f':
        msgpack_pack_false(&draft->packed_end);
        break;
    case 'n':
        msgpack_pack_nil(&draft->packed_end);
        break;
    default:
        pack_number(draft, value);
    }
}

/* --- members --- */

/* Is it the name of a field, ours or ccxt's? The identity is the library's to set: its names are
 * keys like any other. */
static bool names_field(enum record_kind kind, const char *name, size_t length)
{
    const struct record_schema *schema = &record_schemas[kind];

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        if (schema->fields[i].name_length == length &&
            memcmp(schema->fields[i].name, name, length) == 0) {
            return true;
        }
    }
    return decoder_ccxt_find(kind, name, length) != NULL;
}

/* Reads "kind" and "exchange", which say where the record belongs. */
static int take_envelope(struct json_draft *draft, const char *exchange, const char *text,
                         size_t length)
{
    struct json_scan scan = json_read_members(text, length);
    struct json_member member;

    draft->line->kind = RECORD_ORDER;
    while (json_read_member(&scan, &member)) {
        bool is_kind = json_slice_is(member.key, "\"kind\"");
        if ((!is_kind && !json_slice_is(member.key, "\"exchange\"")) ||
            json_slice_is(member.value, "null")) {
            continue;
        }
        if (member.value.at[0] != '"') {
            return json_line_complain(draft->line, is_kind ? "kind" : "exchange",
                                      "expected a string");
        }
        size_t value_length = json_read_string(member.value, draft->string);
        if (!is_kind && (value_length != strlen(exchange) ||
                         memcmp(draft->string, exchange, value_length) != 0)) {
            return json_line_complain(draft->line, "exchange",
                                      "not the exchange that is published (--exchange)");
        }
        int kind = is_kind ? record_kind_of(draft->string, value_length) : (int)draft->line->kind;
        if (kind < 0 || kind >= RECORD_KINDS || kind == RECORD_SESSION) {
            return json_line_complain(
                draft->line, "kind",
                "expected order, trade, cash, balance, position or instrument");
        }
        draft->line->kind = (enum record_kind)kind;
    }
    return 0;
}

static void add_extra(struct json_draft *draft, struct json_slice text)
{
    if (text.length == 0) {
        return;
    }
    if (draft->extra_length > 1) {
        draft->extra[draft->extra_length++] = ',';
    }
    memcpy(draft->extra + draft->extra_length, text.at, text.length);
    draft->extra_length += text.length;
}

/* Tells whether "" is a value: of text under our own name, which is kept byte for byte. */
static bool takes_empty(enum record_kind kind, const char *name, size_t length)
{
    const struct record_schema *schema = &record_schemas[kind];

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        if (schema->fields[i].kind == FIELD_TEXT && schema->fields[i].name_length == length &&
            memcmp(schema->fields[i].name, name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether it is null, or an empty string, array or object, which is as good as a missing key. */
static bool is_absent(struct json_slice value)
{
    bool map = value.at[0] == '{';
    struct json_scan scan = {value.at + 1, value.at + value.length - 1};
    struct json_member member;

    if (!map && value.at[0] != '[') {
        return json_slice_is(value, "null") || json_slice_is(value, "\"\"");
    }
    return !(map ? json_read_member(&scan, &member) : json_read_element(&scan, &member.value));
}

static void put_extra(struct json_draft *draft, const char *text, size_t length)
{
    if (length > 0) { /* an element of an array has no key */
        memcpy(draft->extra + draft->extra_length, text, length);
        draft->extra_length += length;
    }
}

/* Copies a value without the exchange's own messages that are in it. */
static void put_pruned(struct json_draft *draft, struct json_slice value)
{
    bool map = value.at[0] == '{';
    struct json_scan scan = {value.at + 1, value.at + value.length - 1};
    struct json_member member = {.key.length = 0};
    size_t count = 0;

    if (!map && value.at[0] != '[') {
        put_extra(draft, value.at, value.length);
        return;
    }
    put_extra(draft, value.at, 1);
    while (map ? json_read_member(&scan, &member) : json_read_element(&scan, &member.value)) {
        if (map && json_slice_is(member.key, "\"info\"")) {
            continue;
        }
        put_extra(draft, ",", count++ > 0);
        put_extra(draft, member.key.at, member.key.length);
        put_extra(draft, ":", map);
        put_pruned(draft, member.value);
    }
    put_extra(draft, map ? "}" : "]", 1);
}

/* Keeps the ids of those that are no records; the others are the caller's. */
static void take_trades(struct json_draft *draft, struct json_slice array)
{
    draft->line->trades = array;
    size_t length = nested_trades_write_ids(array, draft->string);
    add_extra(draft, (struct json_slice){draft->string, length});
}

static void take_member(struct json_draft *draft, const struct json_member *member)
{
    size_t length = json_read_string(member->key, draft->string);
    bool map = member->value.at[0] == '{', absent = is_absent(member->value);
    bool is_extra = length == 5 && memcmp(draft->string, "extra", 5) == 0;

    if (json_slice_is(member->key, "\"kind\"") || json_slice_is(member->key, "\"exchange\"")) {
        return;
    }
    if (!absent) {
        draft->marks |= ccxt_mark(draft->string, length, map);
    }
    if (is_extra && (map || absent)) {
        struct json_slice inside = {NULL, 0};
        if (map) {
            inside.at = json_read_inside(member->value.at, member->value.length, &inside.length);
        }
        add_extra(draft, inside);
    } else if (draft->line->kind == RECORD_ORDER && json_slice_is(member->key, "\"trades\"") &&
               member->value.at[0] == '[') {
        take_trades(draft, member->value);
    } else if (names_field(draft->line->kind, draft->string, length) && !is_extra) {
        if (absent && !(json_slice_is(member->value, "\"\"") &&
                        takes_empty(draft->line->kind, draft->string, length))) {
            return;
        }
        pack_string(draft, member->key);
        pack_value(draft, member->value);
        draft->pairs++;
    } else {
        add_extra(draft, member->key);
        put_extra(draft, ":", 1);
        put_pruned(draft, member->value);
        draft->unknown += !absent;
    }
}

static void take_members(struct json_draft *draft, const char *text, size_t length)
{
    struct json_scan scan = json_read_members(text, length);
    struct json_member member;

    draft->extra[draft->extra_length++] = '{';
    while (json_read_member(&scan, &member)) {
        take_member(draft, &member);
    }
    if (draft->extra_length > 1) {
        draft->extra[draft->extra_length++] = '}';
        msgpack_pack_str(&draft->packed_end, sizeof "extra" - 1);
        msgpack_pack_str_body(&draft->packed_end, "extra", sizeof "extra" - 1);
        msgpack_pack_str(&draft->packed_end, draft->extra_length);
        msgpack_pack_str_body(&draft->packed_end, draft->extra, draft->extra_length);
        draft->pairs++;
    }
}

/* --- the record --- */

static void describe(struct json_line *line, const struct record_problem *problem)
{
    json_line_complain(line, problem->field == NULL ? "" : problem->field,
                       record_fault_text(problem->fault));
}

/* Fills the struct: strings are copied, each with a NUL. */
static void fill_struct(struct json_line *line, const struct record *record, char *strings)
{
    const struct record_schema *schema = &record_schemas[line->kind];

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        const struct record_value *value = &record->values[i];
        char *member = (char *)&line->order + schema->fields[i].offset;
        enum blotter_bool flag = value->integer ? BLOTTER_TRUE : BLOTTER_FALSE;
        if (!value->present) {
            continue;
        }
        switch (schema->fields[i].kind) {
        case FIELD_TIME:
        case FIELD_INT:
            memcpy(member, &value->integer, sizeof value->integer);
            break;
        case FIELD_BOOL:
            memcpy(member, &flag, sizeof flag);
            break;
        case FIELD_TEXT:
        case FIELD_DECIMAL:
        case FIELD_AMOUNTS:
        case FIELD_JSON:
            memcpy(strings, value->bytes, value->length);
            strings[value->length] = '\0';
            memcpy(member, &strings, sizeof strings);
            strings += value->length + 1;
        }
    }
}

/* A balance without a currency says that the account is empty: nothing else may pass for that. */
static const char not_one_currency[] =
    "required; a balance as ccxt has it, of all currencies, is recorded by the Python package "
    "alone: give a line for each, as {\"kind\":\"balance\",\"currency\":\"BTC\",\"total\":1}";

static int decode_draft(struct json_draft *draft, char *strings)
{
    static char scratch_bytes[RECORD_SCRATCH_BYTES]; /* one line at a time */
    struct record_scratch scratch = {.bytes = scratch_bytes, .capacity = sizeof scratch_bytes};
    struct json_line *line = draft->line;
    struct record record;
    struct record_problem problem;
    unsigned char head[8], *head_end = head;

    msgpack_pack_map(&head_end, draft->pairs);
    size_t head_length = (size_t)(head_end - head);
    unsigned char *whole = draft->packed - head_length; /* room was left for it */
    memcpy(whole, head, head_length);
    if (record_decode(line->kind, whole, (size_t)(draft->packed_end - whole), &scratch, &record,
                      &problem) != 0) {
        describe(line, &problem);
        return -1;
    }
    if (line->kind == RECORD_BALANCE && !record.values[BALANCE_currency].present &&
        (draft->unknown > 0 || record.values[BALANCE_free].present ||
         record.values[BALANCE_used].present || record.values[BALANCE_total].present)) {
        return json_line_complain(line, "currency", not_one_currency);
    }
    line->misplaced = problem.misplaced;
    if (problem.fault != RECORD_FAULT_NONE) {
        describe(line, &problem);
    }
    fill_struct(line, &record, strings);
    return 0;
}

/* Memory for everything that is made of a line: strings without escapes, extra, the packed fields
 * (a number of one digit takes one byte, any text at most five more), and the record's strings,
 * where an escape can make one byte six. */
static void reserve_memory(struct json_draft *draft, size_t length, char **strings)
{
    struct json_line *line = draft->line;
    size_t part = 6 * length + 4096, needed = 4 * part + RECORD_SCRATCH_BYTES;

    if (line->capacity < needed) {
        free(line->memory);
        line->memory = malloc(needed);
        line->capacity = needed;
        if (line->memory == NULL) {
            abort();
        }
    }
    draft->string = line->memory;
    draft->extra = line->memory + part;
    draft->packed = draft->packed_end = (unsigned char *)line->memory + 2 * part + 8;
    *strings = line->memory + 4 * part;
}

int json_line_parse(struct json_line *line, const char *exchange, const char *text, size_t length)
{
    struct json_draft draft = {.line = line};
    char *strings;
    size_t offset;

    line->problem[0] = '\0';
    line->misplaced = 0;
    line->trades.length = 0;
    memset(&line->order, 0, sizeof line->order);
    _Static_assert(sizeof line->order >= sizeof line->position &&
                       sizeof line->order >= sizeof line->cash &&
                       sizeof line->order >= sizeof line->instrument &&
                       sizeof line->order >= sizeof line->trade,
                   "all are cleared");
    enum record_fault fault = json_read_line(text, length, &offset);
    if (fault) {
        return complain_at(line, text, length, offset, fault);
    }
    reserve_memory(&draft, length, &strings);
    if (take_envelope(&draft, exchange, text, length) != 0) {
        return -1;
    }
    take_members(&draft, text, length);
    const char *veto = ccxt_kind_veto(line->kind, draft.marks);
    if (veto != NULL) {
        char what[200];
        snprintf(what, sizeof what, "%s, but this is %s", record_schemas[line->kind].name, veto);
        return json_line_complain(line, "kind", what);
    }
    return decode_draft(&draft, strings);
}

void json_line_release(struct json_line *line)
{
    free(line->memory);
    *line = (struct json_line){0};
}
