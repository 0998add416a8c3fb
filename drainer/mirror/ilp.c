/* ilp.c: see ilp.h. A line's symbols have to come before its other values, so a record's fields are
 * walked twice. */
#include "drainer/mirror/ilp.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "schema/decimal.h"

enum {
    NS_PER_US = 1000,
    INT64_DIGITS = 18,  /* that any int64_t can hold */
    ILP_DECIMAL = 0x17, /* begins a binary decimal */
};

/* Fields of text with few different values. */
static const char *const symbols[] = {
    "exchange",     "lane",      "account",       "strategy",     "symbol",        "market_type",
    "event",        "side",      "position_side", "type",         "time_in_force", "status",
    "fee_currency", "liquidity", "origin",        "currency",     "venue_type",    "network",
    "margin_mode",  "base",      "quote",         "settle",       "option_type",   "quantity_unit",
    "host",         "version",   "venue_symbol",  "from_account", "to_account"};

static bool name_is_symbol(const struct record_field *field)
{
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        if (strcmp(symbols[i], field->name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_symbol(enum record_kind kind, unsigned index)
{
    static signed char known[RECORD_KINDS][RECORD_FIELDS_MAX]; /* 1: yes, -1: no, 0: look */
    signed char *answer = &known[kind][index];

    if (*answer == 0) {
        const struct record_field *field = &record_schemas[kind].fields[index];
        bool is = field->kind == FIELD_BOOL || (field->kind == FIELD_TEXT && name_is_symbol(field));

        *answer = is ? 1 : -1;
    }
    return *answer == 1;
}

/* --- pieces of a line --- */

static unsigned char *ilp_put_bytes(unsigned char *at, const void *bytes, size_t length)
{
    if (length > 0) {
        memcpy(at, bytes, length);
    }
    return at + length;
}

static unsigned char *put_name(unsigned char *at, char before, const char *name, size_t length)
{
    *at++ = (unsigned char)before;
    at = ilp_put_bytes(at, name, length);
    *at++ = '=';
    return at;
}

/* Copies a text with a backslash before each of the characters named; `at` has room for twice its
 * length. */
static unsigned char *put_escaped(unsigned char *at, const unsigned char *bytes, size_t length,
                                  const bool special[256])
{
    for (size_t i = 0; i < length; i++) {
        if (special[bytes[i]]) {
            *at++ = '\\';
        }
        *at++ = bytes[i];
    }
    return at;
}

static const bool special_in_symbol[256] = {
    [' '] = true,  [','] = true,  ['='] = true, ['\\'] = true,
    ['\n'] = true, ['\r'] = true, ['"'] = true};
static const bool special_in_text[256] = {
    ['"'] = true, ['\\'] = true, ['\n'] = true, ['\r'] = true};

static unsigned char *put_quoted(unsigned char *at, const void *bytes, size_t length)
{
    *at++ = '"';
    at = put_escaped(at, bytes, length, special_in_text);
    *at++ = '"';
    return at;
}

static unsigned char *put_suffixed(unsigned char *at, int64_t value, char suffix)
{
    at += decimal_from_int64(value, (char *)at);
    *at++ = (unsigned char)suffix;
    return at;
}

void ilp_put_symbol(struct copy_buffer *out, const char *name, const void *bytes, size_t length)
{
    unsigned char *begin = copy_buffer_reserve(out, strlen(name) + 2 * length + 2), *at;

    at = put_name(begin, ',', name, strlen(name));
    at = put_escaped(at, bytes, length, special_in_symbol);
    out->length += (size_t)(at - begin);
}

void ilp_put_text(struct copy_buffer *out, const char *name, const void *bytes, size_t length)
{
    unsigned char *begin = copy_buffer_reserve(out, strlen(name) + 2 * length + 4), *at;

    at = put_name(begin, ',', name, strlen(name));
    at = put_quoted(at, bytes, length);
    out->length += (size_t)(at - begin);
}

void ilp_put_integer(struct copy_buffer *out, const char *name, int64_t value)
{
    unsigned char *begin = copy_buffer_reserve(out, strlen(name) + DECIMAL_INTEGER_BYTES + 3), *at;

    at = put_name(begin, ',', name, strlen(name));
    at = put_suffixed(at, value, 'i');
    out->length += (size_t)(at - begin);
}

/* --- decimals --- */

/* Returns how much of canonical digits a column of 38 places takes: all but zeros at the end. 0:
 * the number does not fit. */
static size_t fitting_length(const char *digits, size_t length)
{
    const char *point = memchr(digits, '.', length);
    const char *first = digits + (digits[0] == '-');
    size_t before = (size_t)((point == NULL ? digits + length : point) - first);

    if (point != NULL && length - (size_t)(point + 1 - digits) > ILP_DECIMAL_PLACES) {
        size_t most = (size_t)(point + 1 - digits) + ILP_DECIMAL_PLACES;

        while (length > most && digits[length - 1] == '0') {
            length--;
        }
        if (length > most) {
            return 0;
        }
    }
    return before > ILP_DECIMAL_PLACES ? 0 : length;
}

/* Reads canonical digits as an integer and its places behind the point. False: it has too many. */
static bool read_scaled(const char *digits, size_t length, int64_t *unscaled, unsigned char *scale)
{
    bool negative = digits[0] == '-';
    const char *point = memchr(digits, '.', length);

    if (length > INT64_DIGITS + (size_t)negative + (point != NULL)) {
        return false;
    }
    *scale = point == NULL ? 0 : (unsigned char)(digits + length - point - 1);
    *unscaled = 0;
    for (size_t i = negative; i < length; i++) {
        if (digits[i] != '.') {
            *unscaled = *unscaled * 10 + (digits[i] - '0');
        }
    }
    *unscaled = negative ? -*unscaled : *unscaled;
    return true;
}

/* Puts a decimal in binary: its places behind the point, the length of the integer, the integer. */
static unsigned char *put_scaled(unsigned char *at, int64_t unscaled, unsigned char scale)
{
    const unsigned char head[] = {'=', ILP_DECIMAL, scale, sizeof unscaled};
    uint64_t big = htobe64((uint64_t)unscaled);

    at = ilp_put_bytes(at, head, sizeof head);
    return ilp_put_bytes(at, &big, sizeof big);
}

static unsigned char *ilp_put_decimal(unsigned char *at, const struct record_field *field,
                                      const struct record_value *value, bool as_double)
{
    size_t length = value->length;
    int64_t unscaled;
    unsigned char scale;

    if (as_double) {
        at = put_name(at, ',', field->name, field->name_length);
        at = ilp_put_bytes(at, value->bytes, length);
        at = put_name(at, ',', field->name, field->name_length) - 1;
        at = ilp_put_bytes(at, "_text=", 6);
        return put_quoted(at, value->bytes, length);
    }
    length = fitting_length(value->bytes, length);
    if (length == 0) {
        return at;
    }
    at = put_name(at, ',', field->name, field->name_length);
    if (read_scaled(value->bytes, length, &unscaled, &scale)) {
        return put_scaled(at, unscaled, scale);
    }
    at = ilp_put_bytes(at, value->bytes, length);
    *at++ = 'd';
    return at;
}

/* Puts the decimals that fit no column into the JSON object of `extra`, which is the last field.
 * Returns NULL where all fit. */
static const char *extra_with_decimals(const struct record *record, const bool *as_double,
                                       size_t *length)
{
    static char text[2 * RECORD_SCRATCH_BYTES]; /* the mirror has one thread */
    const struct record_schema *schema = &record_schemas[record->kind];
    const struct record_value *extra = &record->values[schema->field_count - 1];
    size_t used = 0;

    for (unsigned i = RECORD_IDENTITY_FIELDS; i + 1 < schema->field_count; i++) {
        const struct record_value *value = &record->values[i];

        if (schema->fields[i].kind != FIELD_DECIMAL || !value->present || as_double[i] ||
            fitting_length(value->bytes, value->length) > 0) {
            continue;
        }
        if (used == 0 && extra->present) { /* without its closing brace */
            memcpy(text, extra->bytes, extra->length);
            used = extra->length - 1;
        }
        bool first = used == 0 || text[used - 1] == '{';
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\"exact_%s\": \"%.*s\"",
                                 used == 0 ? "{"
                                 : first   ? ""
                                           : ", ",
                                 schema->fields[i].name, (int)value->length, value->bytes);
    }
    if (used == 0) {
        return NULL;
    }
    text[used] = '}';
    *length = used + 1;
    return text;
}

/* --- a record --- */

static unsigned char *put_symbols(unsigned char *at, const struct record *record)
{
    const struct record_schema *schema = &record_schemas[record->kind];

    for (unsigned i = 0; i < schema->field_count; i++) {
        const struct record_field *field = &schema->fields[i];
        const struct record_value *value = &record->values[i];

        if (!value->present || !is_symbol(record->kind, i)) {
            continue;
        }
        at = put_name(at, ',', field->name, field->name_length);
        if (field->kind == FIELD_BOOL) {
            at = ilp_put_bytes(at, value->integer ? "true" : "false", value->integer ? 4 : 5);
        } else {
            at = put_escaped(at, (const unsigned char *)value->bytes, value->length,
                             special_in_symbol);
        }
    }
    return at;
}

static int64_t ilp_microseconds(int64_t ns)
{
    return ns / NS_PER_US - (ns % NS_PER_US < 0);
}

static unsigned char *put_value(unsigned char *at, const struct record_field *field,
                                const struct record_value *value, bool as_double)
{
    switch (field->kind) {
    case FIELD_DECIMAL:
        return ilp_put_decimal(at, field, value, as_double);
    case FIELD_TIME:
        at = put_name(at, ',', field->name, field->name_length);
        return put_suffixed(at, ilp_microseconds(value->integer), 't');
    case FIELD_INT:
        at = put_name(at, ',', field->name, field->name_length);
        return put_suffixed(at, value->integer, 'i');
    default:
        at = put_name(at, ',', field->name, field->name_length);
        return put_quoted(at, value->bytes, value->length);
    }
}

/* Returns the most bytes that a record's line can have. */
static size_t line_bound(const struct record *record)
{
    const struct record_schema *schema = &record_schemas[record->kind];
    size_t bytes = 64 + strlen(schema->table);

    for (unsigned i = 0; i < schema->field_count; i++) {
        if (record->values[i].present) {
            bytes += 2 * schema->fields[i].name_length + 3 * (size_t)record->values[i].length + 40;
        }
    }
    return bytes;
}

void ilp_put_record(const void *ilp_form, struct copy_buffer *out, const struct record *record)
{
    const struct ilp_form *form = ilp_form;
    const bool *as_double = form->as_double[record->kind];
    const struct record_schema *schema = &record_schemas[record->kind];
    unsigned last = schema->field_count - 1;
    size_t extra_length = 0;
    const char *extra = extra_with_decimals(record, as_double, &extra_length);
    unsigned char *begin = copy_buffer_reserve(out, line_bound(record) + 2 * extra_length), *at;

    at = ilp_put_bytes(begin, schema->table, strlen(schema->table));
    at = put_symbols(at, record);
    unsigned char *values = at;
    for (unsigned i = 0; i <= last; i++) {
        const struct record_value *value = &record->values[i];

        if (i == last && extra != NULL) {
            at = put_name(at, ',', "extra", 5);
            at = put_quoted(at, extra, extra_length);
        } else if (value->present && i != IDENTITY_recorded_at && !is_symbol(record->kind, i)) {
            at = put_value(at, &schema->fields[i], value, as_double[i]);
        }
    }
    *values = ' '; /* the first value's comma; there is always the identity */
    *at++ = ' ';
    at = put_suffixed(at, ilp_microseconds(record->values[IDENTITY_recorded_at].integer), '\n');
    out->length += (size_t)(at - begin);
}

/* --- columns --- */

const char *ilp_column_type(enum record_kind kind, unsigned index, bool as_double)
{
    switch (record_schemas[kind].fields[index].kind) {
    case FIELD_TEXT:
        return is_symbol(kind, index) ? "SYMBOL" : "VARCHAR";
    case FIELD_DECIMAL:
        return as_double ? "DOUBLE" : "DECIMAL(76,38)";
    case FIELD_TIME:
        return "TIMESTAMP";
    case FIELD_INT:
        return "LONG";
    case FIELD_BOOL:
        return "SYMBOL";
    case FIELD_AMOUNTS:
    case FIELD_JSON:
        break;
    }
    return "VARCHAR";
}

void ilp_put_columns(struct copy_buffer *out, enum record_kind kind, bool as_double)
{
    const struct record_schema *schema = &record_schemas[kind];
    char text[160];

    for (unsigned i = 0; i < schema->field_count; i++) {
        const struct record_field *field = &schema->fields[i];
        int length = snprintf(text, sizeof text, ", \"%s\" %s", field->name,
                              ilp_column_type(kind, i, as_double));

        if (i == IDENTITY_recorded_at) {
            continue;
        }
        copy_put_raw(out, text, (size_t)length);
        if (field->kind == FIELD_DECIMAL && as_double) {
            length = snprintf(text, sizeof text, ", \"%s_text\" VARCHAR", field->name);
            copy_put_raw(out, text, (size_t)length);
        }
    }
}
