/* record_structs.h: the records as C structs, made of the lists in fields.h. Public: blotter.h
 * includes it. */
#ifndef BLOTTER_SCHEMA_RECORD_STRUCTS_H
#define BLOTTER_SCHEMA_RECORD_STRUCTS_H

#include <stdint.h>

#include "schema/fields.h"

enum blotter_bool { BLOTTER_ABSENT = 0, BLOTTER_TRUE = 1, BLOTTER_FALSE = 2 };

#define BLOTTER_C_TYPE_TEXT const char *
#define BLOTTER_C_TYPE_DECIMAL const char *
#define BLOTTER_C_TYPE_AMOUNTS const char *
#define BLOTTER_C_TYPE_JSON const char *
#define BLOTTER_C_TYPE_TIME int64_t
#define BLOTTER_C_TYPE_INT int64_t
#define BLOTTER_C_TYPE_BOOL enum blotter_bool
#define BLOTTER_MEMBER(name, kind, meaning) BLOTTER_C_TYPE_##kind name;

/* NULL, 0 and BLOTTER_ABSENT mean absent. */
struct blotter_order {
    BLOTTER_ORDER_FIELDS(BLOTTER_MEMBER)
};
struct blotter_trade {
    BLOTTER_TRADE_FIELDS(BLOTTER_MEMBER)
};
struct blotter_cash {
    BLOTTER_CASH_FIELDS(BLOTTER_MEMBER)
};
struct blotter_balance {
    BLOTTER_BALANCE_FIELDS(BLOTTER_MEMBER)
};
struct blotter_position {
    BLOTTER_POSITION_FIELDS(BLOTTER_MEMBER)
};
struct blotter_instrument {
    BLOTTER_INSTRUMENT_FIELDS(BLOTTER_MEMBER)
};
struct blotter_reject {
    BLOTTER_REJECT_FIELDS(BLOTTER_MEMBER)
};
struct blotter_session { /* the library's own */
    BLOTTER_SESSION_FIELDS(BLOTTER_MEMBER)
};

#endif
