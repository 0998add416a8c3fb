/* json_line.c: see json_line.h.
 *
 * The text is checked as a whole, by the scanner that also checks `extra`. Then the members that
 * are fields, by our names or ccxt's, are packed as msgpack, and decoded as the drainer decodes
 * what others send: so there is one set of rules. Members that are no fields never become anything
 * but text. */
#include "schema/json_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/decoder.h"
#include "schema/nested_trades.h"
#include "schema/pack.h"
#include "schema/text.h"

enum { TICK_SIZE = 4 }; /* ccxt's precisionMode: precision is a step, no number of digits */

/* Parts of the memory of a line that is being read. */
struct json_draft {
    struct json_line *line;
    const struct json_source *source;
    unsigned char *packed, *packed_end; /* pairs of fields as msgpack */
    unsigned pairs;
    char *extra; /* what goes between the braces of `extra` */
    size_t extra_length;
    char *string;   /* room for a string without its escapes */
    uint64_t marks; /* keys that tell what kind of object it is */
    unsigned wrong; /* values in extra that this file has put there */
    bool ticks;     /* precision is a step */
    bool unknown;   /* there are keys that are no field's */
    bool info;      /* there is the exchange's own message */
    bool own;       /* keys are our own names: they mean what they say */
    bool market;    /* it is one of ccxt's markets */
    bool verbatim;  /* it is taken as it is written */
};

/* --- problems: each returns -1 --- */

static int json_line_complain(struct json_line *line, const char *field, const char *what)
{
    snprintf(line->problem, sizeof line->problem, "%s%s%s", field, field[0] == '\0' ? "" : ": ",
             what);
    return -1;
}

void json_line_show_key(const char *at, const char *end, char out[JSON_LINE_KEY_BYTES])
{
    size_t used = 0;

    while (at < end && *at != '"') {
        const unsigned char *bytes = (const unsigned char *)at;
        unsigned length = text_sequence(bytes, bytes + (end - at));
        bool control = text_printable(bytes, bytes + (end - at)) == 0;

        if (used + (control ? 1 : length) >= JSON_LINE_KEY_BYTES) {
            break;
        }
        memcpy(out + used, control ? "?" : at, control ? 1 : length);
        used += control ? 1 : length;
        at += length > 0 ? length : 1;
    }
    out[used] = '\0';
}

/* Returns the place behind the closing quote of a string whose opening one has been read. */
static const char *behind_string(const char *at, const char *end)
{
    for (; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end;
    }
    return at < end ? at + 1 : end;
}

void json_line_key_at(const char *text, size_t length, size_t offset, char out[JSON_LINE_KEY_BYTES])
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
    json_line_show_key(key, end, out);
}

static int complain_at(struct json_line *line, const char *text, size_t length, size_t offset,
                       enum record_fault fault)
{
    char key[JSON_LINE_KEY_BYTES], what[64];

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

/* Packs text that stands for a value of another type, so that no field takes it. */
static void pack_shown(struct json_draft *draft, struct json_slice quoted)
{
    size_t length = json_read_string(quoted, draft->string);

    msgpack_pack_ext(&draft->packed_end, length, UNPACK_SHOWN);
    msgpack_pack_ext_body(&draft->packed_end, draft->string, length);
}

/* Packs an integer as one, any other number as its digits. */
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
        msgpack_pack_ext(&draft->packed_end, number.length, UNPACK_NUMBER);
        msgpack_pack_ext_body(&draft->packed_end, number.at, number.length);
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
        if (draft->source->lenient && json_slice_is_shown(value)) {
            pack_shown(draft, value);
        } else {
            pack_string(draft, value);
        }
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

/* --- kind and exchange --- */

static int read_kind(struct json_line *line, const char *name, size_t length)
{
    int kind = record_kind_of(name, length);

    if (kind < 0 || kind >= RECORD_KINDS || kind == RECORD_SESSION) {
        return json_line_complain(line, "kind",
                                  "expected order, trade, cash, balance, position or instrument");
    }
    line->kind = (enum record_kind)kind;
    return 0;
}

/* Reads "kind" and "exchange", which say where the record belongs. */
static int take_envelope(struct json_line *line, char *string, const struct json_source *source,
                         const char *text, size_t length)
{
    struct json_scan scan = json_read_members(text, length);
    struct json_member member;

    line->kind = source->kind >= 0 ? (enum record_kind)source->kind : RECORD_ORDER;
    while (json_read_member(&scan, &member)) {
        bool is_kind = json_slice_is_key(member.key, "kind") && source->kind < 0;
        if ((!is_kind && !json_slice_is_key(member.key, "exchange")) ||
            json_slice_is_absent(member.value)) {
            continue;
        }
        if (member.value.at[0] != '"') {
            return json_line_complain(line, is_kind ? "kind" : "exchange", "expected a string");
        }
        size_t value_length = json_read_string(member.value, string);
        if (!is_kind && (value_length != strlen(source->exchange) ||
                         memcmp(string, source->exchange, value_length) != 0)) {
            return json_line_complain(line, "exchange", "not the exchange that is recorded");
        }
        if (is_kind && read_kind(line, string, value_length) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- members --- */

/* Finds the field of that name, or returns -1. The identity is the library's to set: its names are
 * keys like any other. */
static int json_line_find_field(enum record_kind kind, const char *name, size_t length)
{
    const struct record_schema *schema = &record_schemas[kind];

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        if (schema->fields[i].name_length == length &&
            text_same(schema->fields[i].name, name, length)) {
            return (int)i;
        }
    }
    return -1;
}

/* Says whether it is a field that has another name in ccxt's objects. */
static bool is_renamed(enum record_kind kind, int field)
{
    return field >= 0 && ccxt_is_renamed(kind, (unsigned)field);
}

/* Says whether the name is ours alone: then what it stands in is no object of ccxt's. Positions are
 * told by all their fields, others by their ids, as names like `currency` are ccxt's, too. */
static bool is_own_name(enum record_kind kind, int field)
{
    static const uint64_t ids[RECORD_KINDS] = {
        [RECORD_ORDER] = UINT64_C(1) << ORDER_order_id | UINT64_C(1) << ORDER_client_order_id |
                         UINT64_C(1) << ORDER_trade_id,
        [RECORD_TRADE] = UINT64_C(1) << TRADE_order_id | UINT64_C(1) << TRADE_client_order_id |
                         UINT64_C(1) << TRADE_trade_id,
        [RECORD_CASH] = UINT64_C(1) << CASH_entry_id,
    };
    return (field >= 0 && (ids[kind] >> field & 1) != 0) ||
           (kind == RECORD_POSITION && is_renamed(kind, field));
}

/* Says whether a line has names of ours where ccxt has others: then it is taken as it is written,
 * with empty text and with nulls. */
static bool is_verbatim(struct json_draft *draft, const char *text, size_t length)
{
    enum record_kind kind = draft->line->kind;
    struct json_scan scan = json_read_members(text, length);
    struct json_member member;
    bool found = false;

    while (draft->source->kind < 0 && !found && json_read_member(&scan, &member)) {
        size_t name_length = json_read_string(member.key, draft->string);
        found = is_renamed(kind, json_line_find_field(kind, draft->string, name_length));
    }
    return found;
}

/* Says whether a value counts though it is as good as a missing one. */
static bool is_kept_empty(const struct json_draft *draft, int field, const struct ccxt_name *ccxt,
                          struct json_slice value)
{
    const struct record_field *fields = record_schemas[draft->line->kind].fields;

    if (!draft->verbatim) {
        return false;
    }
    return field >= 0 ? fields[field].kind == FIELD_TEXT && json_slice_is(value, "\"\"")
                      : ccxt == NULL;
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

/* Says whether it is a time of 0. */
static bool is_time_of_zero(enum record_kind kind, int field, const struct ccxt_name *ccxt,
                            struct json_slice value)
{
    bool time = field >= 0 ? record_schemas[kind].fields[field].kind == FIELD_TIME
                           : ccxt != NULL && ccxt->how == CCXT_TIME_MS;
    size_t at = 0;

    while (at < value.length && (value.at[at] == '0' || value.at[at] == '.')) {
        at++;
    }
    return time && at == value.length;
}

static void put_extra(struct json_draft *draft, const char *text, size_t length)
{
    if (length > 0) { /* an element of an array has no key */
        memcpy(draft->extra + draft->extra_length, text, length);
        draft->extra_length += length;
    }
}

/* Copies a value without the exchange's own messages that are in it, and without nulls. */
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
        if (map && (json_slice_is_key(member.key, "info") || json_slice_is(member.value, "null"))) {
            continue;
        }
        put_extra(draft, ",", count++ > 0);
        put_extra(draft, member.key.at, member.key.length);
        put_extra(draft, ":", map);
        put_pruned(draft, member.value);
    }
    put_extra(draft, map ? "}" : "]", 1);
}

/* Keeps a member, unless nothing is left of it. */
static void add_member(struct json_draft *draft, const struct json_member *member)
{
    size_t before = draft->extra_length;

    add_extra(draft, member->key);
    put_extra(draft, ":", 1);
    size_t begin = draft->extra_length;
    put_pruned(draft, member->value);
    if (!draft->verbatim && draft->extra_length == begin + 2 &&
        strchr("{[", draft->extra[begin]) != NULL) {
        draft->extra_length = before;
    }
}

/* Takes our own object of everything else, which may be text that holds it. Another value is wrong.
 */
static void take_own_extra(struct json_draft *draft, const struct json_member *member)
{
    struct json_slice inside = {NULL, 0};

    if (member->value.at[0] == '"') {
        size_t length = json_read_string(member->value, draft->string);
        if (json_read_object(draft->string, length) == RECORD_FAULT_NONE) {
            inside.at = json_read_inside(draft->string, length, &inside.length);
        }
    } else if (member->value.at[0] == '{') {
        inside.at = json_read_inside(member->value.at, member->value.length, &inside.length);
    }
    if (inside.at == NULL) {
        draft->wrong++;
        add_member(draft, member);
    }
    add_extra(draft, inside);
}

/* Takes the exchange's own message: of it only what tells the type of a cash flow. */
static void take_message(struct json_draft *draft, const struct json_member *member)
{
    struct json_scan scan = json_read_members(member->value.at, member->value.length);
    struct json_member inner;
    unsigned char *head;
    uint8_t count = 0;

    pack_string(draft, member->key);
    draft->pairs++;
    head = draft->packed_end;
    draft->packed_end += 3; /* map16, for any number of members */
    while (json_read_member(&scan, &inner)) {
        bool wanted = json_slice_is_one_of(inner.key, ccxt_venue_types) ||
                      json_slice_is_key(inner.key, CCXT_EXECUTION_FEE);
        if (wanted && count < UINT8_MAX && inner.value.at[0] != '{' && inner.value.at[0] != '[') {
            pack_string(draft, inner.key);
            pack_value(draft, inner.value);
            count++;
        }
    }
    memcpy(head, (unsigned char[]){0xde, 0, count}, 3);
}

static void take_unknown_key(struct json_draft *draft, const struct json_member *member,
                             size_t length)
{
    const char *name = draft->string;
    bool id = length > 2 && memcmp(name + length - 2, "Id", 2) == 0;

    if (draft->line->kind == RECORD_INSTRUMENT &&
        json_slice_is_key(member->key, "precision_mode")) {
        draft->ticks = json_slice_is(member->value, "4") || json_slice_is(member->value, "\"4\"");
    } else if (!draft->market || !id) { /* the venue's own spellings */
        add_member(draft, member);
        draft->unknown = true;
    }
}

/* Returns the mark of a key; of one whose value is absent only that of being a map. */
static uint64_t mark_of(const char *name, size_t length, bool map, bool absent)
{
    if (!absent) {
        return ccxt_mark(name, length, map);
    }
    return map ? ccxt_mark(name, length, true) & ~ccxt_mark(name, length, false) : 0;
}

static void take_member(struct json_draft *draft, const struct json_member *member)
{
    enum record_kind kind = draft->line->kind;
    size_t length = json_read_string(member->key, draft->string);
    bool map = member->value.at[0] == '{', absent = json_slice_is_absent(member->value);
    int field = json_line_find_field(kind, draft->string, length);
    const struct ccxt_name *ccxt = decoder_ccxt_find(kind, draft->string, length);

    if (kind == RECORD_CASH || !draft->source->recognised) {
        draft->marks |= mark_of(draft->string, length, map, absent);
    }
    absent = absent && !is_kept_empty(draft, field, ccxt, member->value);
    if (absent || is_time_of_zero(kind, field, ccxt, member->value) ||
        json_slice_is_key(member->key, "exchange") ||
        (draft->source->kind < 0 && json_slice_is_key(member->key, "kind"))) {
        return;
    }
    draft->own |= is_own_name(kind, field);
    if (json_slice_is_key(member->key, "extra")) {
        take_own_extra(draft, member);
    } else if (kind == RECORD_ORDER && json_slice_is_key(member->key, "trades")) {
        draft->line->trades = member->value;
    } else if (json_slice_is_key(member->key, "info")) {
        draft->info = true;
        if (draft->source->keep_info) {
            add_extra(draft, member->key);
            put_extra(draft, ":", 1);
            put_extra(draft, member->value.at, member->value.length);
        }
        if (kind == RECORD_CASH && map) {
            take_message(draft, member);
        }
    } else if (field >= 0 || ccxt != NULL) {
        pack_string(draft, member->key);
        pack_value(draft, member->value);
        draft->pairs++;
    } else {
        take_unknown_key(draft, member, length);
    }
}

/* Keeps the ids of those trades that are no records; the others are the caller's. */
static void take_trade_ids(struct json_draft *draft, const char *text, size_t length)
{
    struct nested_order order;

    nested_order_read(&order, (struct json_slice){text, length}, draft->source->has_symbol);
    size_t written = nested_trades_write_ids(&order, draft->line->trades, draft->string);
    add_extra(draft, (struct json_slice){draft->string, written});
}

/* Says whether it is one of ccxt's markets, from which more than names is taken. */
static bool is_market(const struct json_draft *draft, const char *text, size_t length)
{
    static const char *const keys[] = {"precision", "limits", "spot", "contract", NULL};
    struct json_scan scan = json_read_members(text, length);
    struct json_member member;
    bool found = false;

    while (draft->line->kind == RECORD_INSTRUMENT && !found && json_read_member(&scan, &member)) {
        found = json_slice_is_one_of(member.key, keys) && !json_slice_is_absent(member.value);
    }
    return found;
}

static void take_members(struct json_draft *draft, const char *text, size_t length)
{
    struct json_scan scan = json_read_members(text, length);
    struct json_member member;

    draft->market = is_market(draft, text, length);
    draft->verbatim = is_verbatim(draft, text, length);
    draft->extra[draft->extra_length++] = '{';
    while (json_read_member(&scan, &member)) {
        take_member(draft, &member);
    }
    if (draft->line->trades.length > 0) {
        take_trade_ids(draft, text, length);
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

/* Makes room for so many bytes, which forgets what was in it. False: there is none. */
static bool reserve(struct json_line *line, char **memory, size_t *capacity, size_t needed)
{
    if (*capacity >= needed) {
        return true;
    }
    free(*memory);
    *memory = malloc(needed);
    *capacity = *memory != NULL ? needed : 0;
    return *memory != NULL || json_line_complain(line, "", "out of memory") == 0;
}

/* Returns the room for the strings of a record, each with a NUL. */
static size_t strings_of(const struct record *record)
{
    size_t room = 0;

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < record_schemas[record->kind].field_count; i++) {
        room += record->values[i].length + 1;
    }
    return room;
}

/* Fills the struct. */
static int fill_struct(struct json_line *line, const struct record *record)
{
    const struct record_schema *schema = &record_schemas[line->kind];

    if (!reserve(line, &line->memory, &line->capacity, strings_of(record))) {
        return -1;
    }
    char *strings = line->memory;
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
    return 0;
}

static int decode_draft(struct json_draft *draft, struct record_scratch *scratch)
{
    struct json_line *line = draft->line;
    const struct record_object object = {
        .exchange = draft->source->exchange,
        .account = draft->source->account,
        .marks = draft->marks,
        .own = draft->own,
        .bare = draft->info && !draft->unknown,
        .ticks = draft->ticks,
        .lenient = draft->source->lenient,
    };
    struct record record;
    struct record_problem problem;
    unsigned char head[8], *head_end = head;

    msgpack_pack_map(&head_end, draft->pairs);
    size_t head_length = (size_t)(head_end - head);
    unsigned char *whole = draft->packed - head_length; /* room was left for it */
    memcpy(whole, head, head_length);
    if (record_decode_object(line->kind, &object, whole, (size_t)(draft->packed_end - whole),
                             scratch, &record, &problem) != 0) {
        describe(line, &problem);
        return -1;
    }
    line->misplaced = problem.misplaced + draft->wrong;
    if (draft->wrong > 0) {
        json_line_complain(line, "extra", record_fault_text(RECORD_FAULT_WRONG_TYPE));
    }
    if (problem.fault != RECORD_FAULT_NONE) {
        describe(line, &problem);
    }
    if (fill_struct(line, &record) != 0) {
        return -1;
    }
    if (draft->source->snapshot != 0 && line->kind == RECORD_POSITION && !draft->own &&
        line->position.snapshot == 0) {
        line->position.snapshot = draft->source->snapshot;
    }
    return 0;
}

/* Returns the room for each of what is made of a text: strings without escapes; extra; the packed
 * fields, where a number of one digit takes one byte, and any text at most five more. */
static size_t room_of(size_t length)
{
    return 6 * length + 4096;
}

/* Returns the room for what the decoder makes of them. */
static size_t scratch_of(size_t length)
{
    size_t room = 2 * room_of(length);
    return room < RECORD_SCRATCH_BYTES ? room : RECORD_SCRATCH_BYTES;
}

int json_line_open(struct json_line *line, struct json_workspace *workspace,
                   const struct json_source *source, const char *text, size_t length)
{
    size_t offset;

    line->problem[0] = '\0';
    line->misplaced = 0;
    line->nested = false;
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
    if (!reserve(line, &workspace->memory, &workspace->capacity,
                 3 * room_of(length) + scratch_of(length))) {
        return -1;
    }
    return take_envelope(line, workspace->memory, source, text, length);
}

int json_line_take(struct json_line *line, struct json_workspace *workspace,
                   const struct json_source *source, const char *text, size_t length)
{
    size_t part = room_of(length);
    struct json_draft draft = {.line = line,
                               .source = source,
                               .ticks = source->precision_mode == TICK_SIZE,
                               .string = workspace->memory,
                               .extra = workspace->memory + part};
    struct record_scratch scratch = {workspace->memory + 3 * part, scratch_of(length), 0};

    draft.packed = draft.packed_end = (unsigned char *)workspace->memory + 2 * part + 8;
    take_members(&draft, text, length);
    const char *veto =
        source->recognised || draft.own ? NULL : ccxt_kind_veto(line->kind, draft.marks);
    if (veto != NULL) {
        char what[200];
        snprintf(what, sizeof what, "%s, but this is %s", record_schemas[line->kind].name, veto);
        return json_line_complain(line, "kind", what);
    }
    return decode_draft(&draft, &scratch);
}

void json_line_release(struct json_line *line)
{
    free(line->memory);
    *line = (struct json_line){0};
}
