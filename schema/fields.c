/* fields.c: the field lists of fields.h as tables, for everything that walks a record instead of
 * naming its fields. */
#include <string.h>

#include "schema/record.h"

/* clang-format off */
#define FIELD(name, kind, meaning) {#name, FIELD_##kind, sizeof #name - 1, meaning},

#define X(kind, name, sql_schema, table, fields) \
    static const struct record_field name##_fields[] = {BLOTTER_IDENTITY_FIELDS(FIELD) fields(FIELD)}; \
    _Static_assert((int)kind##_FIELDS <= RECORD_FIELDS_MAX, "raise RECORD_FIELDS_MAX"); \
    _Static_assert((int)kind##_extra == (int)kind##_FIELDS - 1, "extra must be the last field");
BLOTTER_RECORD_KINDS(X)
#undef X

const struct record_schema record_schemas[RECORD_KINDS] = {
#define X(kind, name, sql_schema, table, fields) \
    [RECORD_##kind] = {#name, #sql_schema, #table, kind##_FIELDS, name##_fields},
    BLOTTER_RECORD_KINDS(X)
#undef X
};
/* clang-format on */

_Static_assert(RECORD_FIELDS_MAX <= 64, "which fields are present is kept in 64 bits");

int record_kind_of(const char *name, size_t length)
{
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        if (strlen(record_schemas[kind].name) == length &&
            memcmp(record_schemas[kind].name, name, length) == 0) {
            return kind;
        }
    }
    return -1;
}

const char *record_fault_text(enum record_fault fault)
{
    static const char *const texts[] = {
#define X(name, text) text,
        RECORD_FAULTS(X)
#undef X
    };
    return (size_t)fault < sizeof texts / sizeof texts[0] ? texts[fault] : "of an unknown fault";
}

/* The fields without which a record is useless: one of each row's is enough. A row ends with 0,
 * which is the index of no field of a kind. */
static const unsigned char required[RECORD_KINDS][4][3] = {
    [RECORD_ORDER] = {{ORDER_order_id, ORDER_client_order_id}},
    [RECORD_TRADE] = {{TRADE_symbol}, {TRADE_price}, {TRADE_quantity}},
    [RECORD_SESSION] = {{SESSION_event}},
    [RECORD_CASH] = {{CASH_currency}, {CASH_amount}},
    [RECORD_BALANCE] = {{0}},
    [RECORD_POSITION] = {{POSITION_symbol}},
    [RECORD_INSTRUMENT] = {{INSTRUMENT_symbol}},
};

const char *record_missing(enum record_kind kind, uint64_t present)
{
    for (unsigned row = 0; required[kind][row][0] != 0; row++) {
        uint64_t enough = 0;
        for (unsigned i = 0; required[kind][row][i] != 0; i++) {
            enough |= UINT64_C(1) << required[kind][row][i];
        }
        if ((present & enough) == 0) {
            return record_schemas[kind].fields[required[kind][row][0]].name;
        }
    }
    return NULL;
}
