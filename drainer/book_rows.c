/* book_rows.c: see book_rows.h. The columns are copied as they were encoded for the record's own
 * table. */
#include "drainer/book_rows.h"

#include <stdbool.h>
#include <string.h>

#include "drainer/copy.h"

/* X(column, field of an order event, field of a trade) behind kind and identity; NONE: null. An
 * order event's cost is of all its fills so far, and so no fill's. */
/* clang-format off */
#define BOOK_COLUMNS(X) \
    X(exchange_time, ORDER_exchange_time, TRADE_exchange_time) \
    X(account, ORDER_account, TRADE_account) \
    X(strategy, ORDER_strategy, TRADE_strategy) \
    X(symbol, ORDER_symbol, TRADE_symbol) \
    X(market_type, ORDER_market_type, TRADE_market_type) \
    X(order_id, ORDER_order_id, TRADE_order_id) \
    X(client_order_id, ORDER_client_order_id, TRADE_client_order_id) \
    X(trade_id, ORDER_trade_id, TRADE_trade_id) \
    X(event, ORDER_event, NONE) \
    X(side, ORDER_side, TRADE_side) \
    X(position_side, ORDER_position_side, TRADE_position_side) \
    X(price, ORDER_last_price, TRADE_price) \
    X(quantity, ORDER_last_quantity, TRADE_quantity) \
    X(cost, NONE, TRADE_cost) \
    X(fee, ORDER_fee, TRADE_fee) \
    X(fee_currency, ORDER_fee_currency, TRADE_fee_currency) \
    X(fees, ORDER_fees, TRADE_fees) \
    X(liquidity, ORDER_liquidity, TRADE_liquidity) \
    X(origin, ORDER_origin, TRADE_origin)
/* clang-format on */

enum {
    NONE = -1,
    IDENTITY_COLUMNS = 5, /* kind, producer_id, seq, recorded_at, exchange */
};

static const int fields_of_order[] = {
#define X(column, order, trade) order,
    BOOK_COLUMNS(X)
#undef X
};

static const int fields_of_trade[] = {
#define X(column, order, trade) trade,
    BOOK_COLUMNS(X)
#undef X
};

enum { BOOK_FIELDS = sizeof fields_of_order / sizeof fields_of_order[0] };

const char *book_rows_columns(void)
{
    return "kind, producer_id, seq, recorded_at, exchange"
#define X(column, order, trade) ", " #column
        BOOK_COLUMNS(X)
#undef X
            ;
}

static bool has_text(const struct record_value *value)
{
    return value->present && value->length > 0;
}

static bool has_id(const struct record_value *value)
{
    return has_text(value) && !(value->length == 1 && value->bytes[0] == '0') &&
           !(value->length == 2 && memcmp(value->bytes, "-1", 2) == 0);
}

static bool is_zero(const struct record_value *value)
{
    for (uint32_t i = 0; i < value->length && value->bytes[i] != 'e' && value->bytes[i] != 'E';
         i++) {
        if (value->bytes[i] >= '1' && value->bytes[i] <= '9') {
            return false;
        }
    }
    return true;
}

/* Returns the kind of a record in the queue; '\0': it says nothing to the books. */
static char kind_of(const struct record *record)
{
    const struct record_value *values = record->values;

    switch (record->kind) {
    case RECORD_ORDER:
        return has_id(&values[ORDER_trade_id]) || (values[ORDER_last_quantity].present &&
                                                   !is_zero(&values[ORDER_last_quantity]))
                   ? 'o'
                   : '\0';
    case RECORD_TRADE:
        return has_id(&values[TRADE_trade_id]) &&
                       (has_text(&values[TRADE_order_id]) ||
                        has_text(&values[TRADE_client_order_id]) ||
                        has_text(&values[TRADE_account]) || has_text(&values[TRADE_strategy]) ||
                        has_text(&values[TRADE_origin]))
                   ? 't'
                   : '\0';
    case RECORD_CASH:
        return 'c';
    case RECORD_INSTRUMENT:
        return 'i';
    default:
        return '\0';
    }
}

static void put_column(const struct copy_buffer *rows, const uint32_t *columns, int field,
                       struct copy_buffer *out)
{
    struct copy_field column;

    if (field == NONE) {
        copy_put_null(out);
        return;
    }
    column = copy_field_at(rows->bytes + columns[field]);
    copy_put_raw(out, column.bytes - 4, 4 + (size_t)(column.length > 0 ? column.length : 0));
}

void book_rows_put(const struct record *record, const struct copy_buffer *rows,
                   const uint32_t columns[RECORD_FIELDS_MAX], struct copy_buffer *out)
{
    char kind = kind_of(record);
    const int *fields = kind == 'o' ? fields_of_order : kind == 't' ? fields_of_trade : NULL;

    if (kind == '\0') {
        return;
    }
    copy_put_row_head(out, IDENTITY_COLUMNS + BOOK_FIELDS);
    copy_put_bytes(out, &kind, 1);
    put_column(rows, columns, IDENTITY_producer_id, out);
    put_column(rows, columns, IDENTITY_seq, out);
    put_column(rows, columns, IDENTITY_recorded_at, out);
    put_column(rows, columns, IDENTITY_exchange, out);
    for (int i = 0; i < BOOK_FIELDS; i++) {
        put_column(rows, columns, fields == NULL ? NONE : fields[i], out);
    }
}
