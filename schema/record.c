/* record.c: the field lists of fields.h as tables, for everything that walks a record instead of
 * naming its fields. */
#include "schema/record.h"

#include <string.h>

/* clang-format off */
#define IDENTITY(name, kind, meaning) {#name, FIELD_##kind, sizeof #name - 1, 0, meaning},
#define FIELD(type, name, kind, meaning) \
    {#name, FIELD_##kind, sizeof #name - 1, offsetof(struct type, name), meaning},
#define FIELD_OF_ORDER(name, kind, meaning) FIELD(blotter_order, name, kind, meaning)
#define FIELD_OF_TRADE(name, kind, meaning) FIELD(blotter_trade, name, kind, meaning)
#define FIELD_OF_SESSION(name, kind, meaning) FIELD(blotter_session, name, kind, meaning)
#define FIELD_OF_CASH(name, kind, meaning) FIELD(blotter_cash, name, kind, meaning)
#define FIELD_OF_BALANCE(name, kind, meaning) FIELD(blotter_balance, name, kind, meaning)
#define FIELD_OF_POSITION(name, kind, meaning) FIELD(blotter_position, name, kind, meaning)
#define FIELD_OF_INSTRUMENT(name, kind, meaning) FIELD(blotter_instrument, name, kind, meaning)
#define FIELD_OF_REJECT(name, kind, meaning) FIELD(blotter_reject, name, kind, meaning)

#define X(kind, name, sql_schema, table, fields) \
    static const struct record_field name##_fields[] = \
        {BLOTTER_IDENTITY_FIELDS(IDENTITY) fields(FIELD_OF_##kind)}; \
    _Static_assert((int)kind##_FIELDS <= RECORD_FIELDS_MAX, "raise RECORD_FIELDS_MAX"); \
    _Static_assert((int)kind##_extra == (int)kind##_FIELDS - 1, "extra must be the last field");
BLOTTER_RECORD_KINDS(X)
X(REJECT, reject, NULL, NULL, BLOTTER_REJECT_FIELDS)
#undef X

const struct record_schema record_schemas[RECORD_WIRE_KINDS] = {
#define X(kind, name, sql_schema, table, fields) \
    [RECORD_##kind] = {#name, #sql_schema, #table, kind##_FIELDS, name##_fields},
    BLOTTER_RECORD_KINDS(X)
#undef X
    [RECORD_REJECT] = {"reject", NULL, NULL, REJECT_FIELDS, reject_fields},
};
/* clang-format on */

_Static_assert((int)RECORD_KINDS <= (int)RECORD_REJECT, "a kind's number is used twice");
_Static_assert(RECORD_FIELDS_MAX <= 64, "which fields are present is kept in 64 bits");

int record_kind_of(const char *name, size_t length)
{
    for (unsigned kind = 0; kind < RECORD_WIRE_KINDS; kind++) {
        if (record_kind_known(kind) && strlen(record_schemas[kind].name) == length &&
            memcmp(record_schemas[kind].name, name, length) == 0) {
            return (int)kind;
        }
    }
    return -1;
}

bool record_kind_known(unsigned kind)
{
    return kind < RECORD_WIRE_KINDS && record_schemas[kind].name != NULL;
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

#define BIT(index) (UINT64_C(1) << (index))
const uint64_t record_required[RECORD_WIRE_KINDS][RECORD_REQUIRED_MAX + 1] = {
    [RECORD_ORDER] = {BIT(ORDER_order_id) | BIT(ORDER_client_order_id)},
    [RECORD_TRADE] = {BIT(TRADE_symbol), BIT(TRADE_price), BIT(TRADE_quantity)},
    [RECORD_SESSION] = {BIT(SESSION_event)},
    [RECORD_CASH] = {BIT(CASH_currency), BIT(CASH_amount)},
    [RECORD_POSITION] = {BIT(POSITION_symbol)},
    [RECORD_INSTRUMENT] = {BIT(INSTRUMENT_symbol)},
    [RECORD_REJECT] = {BIT(REJECT_reason)},
};

bool record_integer_valid(enum record_kind kind, unsigned index, int64_t value)
{
    if (index == IDENTITY_seq) {
        return value >= 1 && value <= RECORD_SEQ_MAX;
    }
    if (index == IDENTITY_recorded_at) {
        return value >= LIMIT_RECORDED_AT_MIN_NS;
    }
    if (index == IDENTITY_producer_id || (kind == RECORD_SESSION && index == SESSION_follows)) {
        return value >= 1;
    }
    return value >= 0 && value <= RECORD_SEQ_MAX;
}
