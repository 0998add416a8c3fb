/* Decoding of ccxt's unified objects: their names, units, fees and signs. */
#include "tests/unit/decoding.h"

#define PAIR(key, value) pack_text(key), pack_text(value)
#define TIME_MS INT64_C(1700000000123)

static void assert_field(unsigned index, const char *expected)
{
    const struct record_value *value = &record.values[index];

    if (expected == NULL) {
        assert_false(value->present);
        return;
    }
    assert_value(value, expected);
}

/* Decodes what has been packed. */
static void decode_as(enum record_kind kind, unsigned misplaced, const char *extra)
{
    if (decode_packed(kind) != 0) {
        fail_msg("%s: %s", problem.field ? problem.field : "record",
                 record_fault_text(problem.fault));
    }
    assert_int_equal(problem.misplaced, misplaced);
    assert_field(record_schemas[kind].field_count - 1, extra);
}

static void assert_missing(enum record_kind kind, const char *field)
{
    assert_int_equal(decode_packed(kind), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_MISSING);
    assert_string_equal(problem.field, field);
}

static void an_order_of_ccxt_is_one_of_ours(void **state)
{
    (void)state;
    pack_map(15);
    PAIR("id", "o1"), PAIR("clientOrderId", "c1"), PAIR("symbol", "BTC/USDT"),
        PAIR("type", "limit");
    PAIR("timeInForce", "GTC"), PAIR("amount", "1.50"), PAIR("filled", "0.5");
    pack_text("remaining"), msgpack_pack_double(&pack, 1);
    pack_text("average"), msgpack_pack_nil(&pack);
    pack_text("timestamp"), msgpack_pack_int64(&pack, TIME_MS);
    pack_text("lastUpdateTimestamp"), msgpack_pack_double(&pack, (double)TIME_MS + 1);
    PAIR("datetime", "2023-11-14T22:13:20.123Z");
    pack_text("postOnly"), msgpack_pack_false(&pack);
    pack_text("info"), pack_map(1), PAIR("raw", "x");
    pack_text("trades"), msgpack_pack_array(&pack, 0);
    decode_as(RECORD_ORDER, 0, NULL);
    assert_field(ORDER_order_id, "o1");
    assert_field(ORDER_client_order_id, "c1");
    assert_field(ORDER_time_in_force, "GTC");
    assert_field(ORDER_quantity, "1.50");
    assert_field(ORDER_filled_quantity, "0.5");
    assert_field(ORDER_remaining_quantity, "1");
    assert_field(ORDER_average_price, NULL);
    assert_true(record.values[ORDER_exchange_time].integer == TIME_MS * 1000000);
    assert_true(record.values[ORDER_update_time].integer == (TIME_MS + 1) * 1000000);
    assert_true(record.values[ORDER_post_only].present && !record.values[ORDER_post_only].integer);
}

static void wrong_values_keep_the_name_they_came_by(void **state)
{
    (void)state;
    pack_map(4), PAIR("id", "1"), PAIR("amount", "much"), pack_text("takerOrMaker"),
        msgpack_pack_false(&pack), pack_text("timestamp"), msgpack_pack_int(&pack, 1700000000);
    decode_as(RECORD_ORDER, 3,
              "{\"amount\":\"much\",\"takerOrMaker\":false,\"timestamp\":1700000000}");
    assert_field(ORDER_quantity, NULL);
    pack_map(1), pack_text("id"), msgpack_pack_true(&pack);
    assert_fault(RECORD_FAULT_WRONG_TYPE, "order_id");
}

/* Python has kucoin's ids as floats. */
static void an_id_may_be_a_whole_double(void **state)
{
    static const struct {
        double id;
        const char *text;
    } ids[] = {{239471298749817, "239471298749817"},
               {-7, "-7"},
               {0, "0"},
               {9007199254740991, "9007199254740991"}};

    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        pack_map(2), pack_text("id"), msgpack_pack_double(&pack, ids[i].id), PAIR("amount", "1");
        decode_as(RECORD_ORDER, 0, NULL);
        assert_field(ORDER_order_id, ids[i].text);
    }
    for (double id = 1.5; id < 1e300; id = id < 2 ? 9007199254740992 : 1e300) {
        pack_map(2), pack_text("id"), msgpack_pack_double(&pack, id), PAIR("amount", "1");
        assert_fault(RECORD_FAULT_WRONG_TYPE, "order_id");
    }
    pack_map(2), PAIR("id", "1"), pack_text("side"), msgpack_pack_float(&pack, 0.5F);
    decode_as(RECORD_ORDER, 1, "{\"side\":0.5}");
    pack_map(2), PAIR("id", "1"), pack_text("clientOrderId"), msgpack_pack_float(&pack, 77);
    decode_as(RECORD_ORDER, 0, NULL);
    assert_field(ORDER_client_order_id, "77");
}

/* An empty text is as good as a null, unless it stands among names of ours. */
static void an_empty_text_is_absent_in_an_object_of_ccxts(void **state)
{
    (void)state;
    pack_map(5), PAIR("id", "1"), PAIR("symbol", "X"), PAIR("price", "1"), PAIR("amount", "2"),
        PAIR("side", "");
    decode_as(RECORD_TRADE, 0, NULL);
    assert_field(TRADE_side, NULL);
    pack_map(5), PAIR("trade_id", "1"), PAIR("symbol", "X"), PAIR("price", "1"),
        PAIR("amount", "2"), PAIR("side", "");
    decode_as(RECORD_TRADE, 0, NULL);
    assert_field(TRADE_side, "");
    pack_map(4), PAIR("id", "1"), PAIR("symbol", ""), PAIR("price", "1"), PAIR("amount", "2");
    assert_missing(RECORD_TRADE, "symbol");
    for (int i = 0; i < 2; i++) {
        pack_map(4), PAIR("id", "1"), PAIR("amount", "2");
        if (i == 0) {
            PAIR("currency", ""), PAIR("code", "USDT");
        } else {
            PAIR("code", "USDT"), PAIR("currency", "");
        }
        decode_as(RECORD_CASH, 0, NULL);
        assert_field(CASH_currency, "USDT");
    }
}

static void our_name_wins_and_another_value_is_kept(void **state)
{
    (void)state;
    pack_map(3), PAIR("order_id", "1"), PAIR("id", "1"), PAIR("id", "2");
    decode_as(RECORD_ORDER, 0, "{\"id\":\"2\"}");
    assert_field(ORDER_order_id, "1");
    pack_map(2), PAIR("id", "2"), PAIR("order_id", "1");
    decode_as(RECORD_ORDER, 0, "{\"id\":\"2\"}");
    assert_field(ORDER_order_id, "1");
    pack_map(2), PAIR("id", "1"), PAIR("order_id", "1");
    decode_as(RECORD_ORDER, 0, NULL);
    pack_map(2), PAIR("id", "1"), pack_text("order_id"), msgpack_pack_nil(&pack);
    decode_as(RECORD_ORDER, 0, NULL);
    assert_field(ORDER_order_id, "1");
}

static void the_better_of_two_names_wins(void **state)
{
    (void)state;
    pack_map(3), PAIR("id", "1"), PAIR("stopPrice", "5"), PAIR("triggerPrice", "6");
    decode_as(RECORD_ORDER, 0, "{\"stopPrice\":\"5\"}");
    assert_field(ORDER_trigger_price, "6");
    pack_map(3), PAIR("id", "1"), PAIR("triggerPrice", "6"), PAIR("stopPrice", "5");
    decode_as(RECORD_ORDER, 0, "{\"stopPrice\":\"5\"}");
    assert_field(ORDER_trigger_price, "6");
    pack_map(3), PAIR("id", "1"), PAIR("triggerPrice", "6"), PAIR("stopPrice", "6");
    decode_as(RECORD_ORDER, 0, NULL);
}

static void the_time_as_text_is_for_want_of_a_timestamp(void **state)
{
    (void)state;
    pack_map(2), PAIR("id", "1"), PAIR("datetime", "2023-11-14T22:13:20.123456789Z");
    decode_as(RECORD_ORDER, 0, NULL);
    assert_true(record.values[ORDER_exchange_time].integer == INT64_C(1700000000123456789));
    pack_map(3), PAIR("id", "1"), PAIR("datetime", "2023-11-14T22:13:20.123456Z"),
        pack_text("timestamp"), msgpack_pack_int64(&pack, TIME_MS);
    decode_as(RECORD_ORDER, 0, "{\"datetime\":\"2023-11-14T22:13:20.123456Z\"}");
    assert_true(record.values[ORDER_exchange_time].integer == TIME_MS * 1000000);
    pack_map(2), PAIR("id", "1"), PAIR("datetime", "yesterday");
    decode_as(RECORD_ORDER, 0, "{\"datetime\":\"yesterday\"}");
    pack_map(2), PAIR("id", "1"), PAIR("datetime", "2023-02-29T00:00:00Z");
    decode_as(RECORD_ORDER, 0, "{\"datetime\":\"2023-02-29T00:00:00Z\"}");
    pack_map(2), PAIR("id", "1"), PAIR("datetime", "2001-01-01T00:00:00Z");
    decode_as(RECORD_ORDER, 0, "{\"datetime\":\"2001-01-01T00:00:00Z\"}");
}

static void the_time_as_text_is_no_other_field_of_a_kind_that_has_no_time(void **state)
{
    (void)state;
    pack_map(1), PAIR("datetime", "2023-11-14T22:13:20Z");
    assert_int_equal(decode_packed(RECORD_SESSION), -1);
    assert_int_equal(problem.fault, RECORD_FAULT_MISSING);
    assert_string_equal(problem.field, "event");
    pack_map(2), PAIR("symbol", "X"), PAIR("datetime", "2023-11-14T22:13:20Z");
    decode_as(RECORD_INSTRUMENT, 0, "{\"datetime\":\"2023-11-14T22:13:20Z\"}");
    assert_field(INSTRUMENT_symbol, "X");
}

/* --- fees --- */

static void pack_fee(const char *cost, const char *currency)
{
    pack_map(2), PAIR("cost", cost), PAIR("currency", currency);
}

static void assert_fees(const char *fee, const char *currency, const char *fees)
{
    assert_field(ORDER_fee, fee);
    assert_field(ORDER_fee_currency, currency);
    assert_field(ORDER_fees, fees);
}

static void a_fee_is_its_cost_currency_and_rate(void **state)
{
    (void)state;
    pack_order_with("fee"), pack_map(3), PAIR("cost", "0.10"), PAIR("currency", "USDT"),
        pack_text("rate"), msgpack_pack_double(&pack, 0.001);
    decode_as(RECORD_ORDER, 0, NULL);
    assert_fees("0.10", "USDT", NULL);
    assert_field(ORDER_fee_rate, "0.001");
    pack_order_with("fee"), pack_map(2), pack_text("cost"), msgpack_pack_nil(&pack),
        PAIR("currency", "USDT");
    decode_as(RECORD_ORDER, 0, NULL);
    assert_fees(NULL, "USDT", NULL);
    pack_order_with("fee"), pack_map(1), PAIR("amount", "1");
    decode_as(RECORD_ORDER, 0, "{\"fee\":{\"amount\":\"1\"}}");
    assert_fees(NULL, NULL, NULL);
}

static void several_fees_are_a_map_of_all(void **state)
{
    (void)state;
    pack_order_with("fees"), msgpack_pack_array(&pack, 3), pack_fee("0.1", "USDT"),
        pack_fee("-0.05", "GT"), pack_fee("0.2", "USDT");
    decode_as(RECORD_ORDER, 0, NULL);
    assert_fees("0.3", "USDT", "{\"USDT\":0.3,\"GT\":-0.05}");
    pack_order_with("fees"), msgpack_pack_array(&pack, 2), pack_fee("0.1", "USDT"),
        pack_fee("0.20", "USDT");
    decode_as(RECORD_ORDER, 0, NULL);
    assert_fees("0.30", "USDT", NULL);
    pack_order_with("fees"), msgpack_pack_array(&pack, 0), decode_as(RECORD_ORDER, 0, NULL);
    assert_fees(NULL, NULL, NULL);
}

/* ccxt copies the fee into the list as a number. */
static void the_digits_of_the_fee_are_those_of_its_text(void **state)
{
    (void)state;
    pack_map(3), PAIR("id", "1"), pack_text("fee"), pack_fee("0.10", "USDT"), pack_text("fees"),
        msgpack_pack_array(&pack, 1), pack_map(2), pack_text("cost"),
        msgpack_pack_double(&pack, 0.1), PAIR("currency", "USDT");
    decode_as(RECORD_ORDER, 0, NULL);
    assert_fees("0.10", "USDT", NULL);
}

static void a_list_that_lacks_the_fee_is_kept_beside_it(void **state)
{
    (void)state;
    pack_map(3), PAIR("id", "1"), pack_text("fee"), pack_fee("0.12", "EUR"), pack_text("fees"),
        msgpack_pack_array(&pack, 1), pack_fee("0", "EUR");
    decode_as(RECORD_ORDER, 0, "{\"fees\":[{\"cost\":\"0\",\"currency\":\"EUR\"}]}");
    assert_fees("0.12", "EUR", NULL);
    pack_map(3), PAIR("id", "1"), PAIR("fee", "0.12"), pack_text("fees"),
        msgpack_pack_array(&pack, 2), pack_fee("0.12", "EUR"), pack_fee("1", "BTC");
    decode_as(RECORD_ORDER, 0, NULL);
    assert_fees("0.12", "EUR", "{\"EUR\":0.12,\"BTC\":1}");
}

static void the_rate_of_a_fee_may_stand_in_the_list_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pack_map(3), PAIR("id", "1"), pack_text("fee"), pack_map(2), PAIR("cost", "0.10");
        if (i == 0) {
            PAIR("currency", "USDT");
        } else {
            pack_text("rate"), msgpack_pack_nil(&pack);
        }
        pack_text("fees"), msgpack_pack_array(&pack, 2), pack_map(3), PAIR("cost", "0.1"),
            PAIR("currency", "USDT"), PAIR("rate", "0.001"), pack_fee("1", "BNB");
        decode_as(RECORD_ORDER, 0, NULL);
        assert_fees("0.10", "USDT", "{\"USDT\":0.10,\"BNB\":1}");
        assert_field(ORDER_fee_rate, "0.001");
    }
    pack_map(3), PAIR("id", "1"), pack_text("fee"), pack_map(2), PAIR("cost", "0.1"),
        PAIR("rate", "0.002"), pack_text("fees"), msgpack_pack_array(&pack, 1), pack_map(2),
        PAIR("cost", "0.1"), PAIR("rate", "0.001");
    decode_as(RECORD_ORDER, 0, NULL);
    assert_field(ORDER_fee_rate, "0.002");
}

static void a_list_in_the_place_of_the_fee_is_taken_where_the_other_is_empty(void **state)
{
    (void)state;
    pack_map(3), PAIR("id", "1"), pack_text("fee"), msgpack_pack_array(&pack, 1),
        pack_fee("0.1", "A"), pack_text("fees"), msgpack_pack_array(&pack, 0);
    decode_as(RECORD_ORDER, 0, NULL);
    assert_fees("0.1", "A", NULL);
}

/* --- signs --- */

static void a_negative_amount_of_a_trade_is_a_sale(void **state)
{
    (void)state;
    pack_map(4), PAIR("id", "t"), PAIR("symbol", "BTC/USDT"), PAIR("price", "0"),
        PAIR("amount", "-1.5");
    decode_as(RECORD_TRADE, 0, NULL);
    assert_field(TRADE_trade_id, "t");
    assert_field(TRADE_quantity, "1.5");
    assert_field(TRADE_side, "sell");
    pack_map(5), PAIR("id", "t"), PAIR("symbol", "BTC/USDT"), PAIR("price", "1"),
        PAIR("amount", "-1.5"), PAIR("side", "buy");
    decode_as(RECORD_TRADE, 0, NULL);
    assert_field(TRADE_side, "buy");
}

static void assert_cash(const char *amount, const char *type)
{
    decode_as(RECORD_CASH, 0, NULL);
    assert_field(CASH_amount, amount);
    assert_field(CASH_type, type);
}

static void cash_that_leaves_the_account_is_negative(void **state)
{
    (void)state;
    pack_map(4), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "5.10"),
        PAIR("direction", "out"), assert_cash("-5.10", NULL);
    pack_map(4), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "-5"),
        PAIR("direction", "out"), assert_cash("-5", NULL);
    pack_map(5), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "5"),
        PAIR("direction", "in"), PAIR("type", "transaction");
    decode_as(RECORD_CASH, 0, "{\"type\":\"transaction\"}");
    assert_field(CASH_type, "deposit");
    pack_map(4), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "5"),
        PAIR("type", "withdrawal"), assert_cash("-5", "withdrawal");
    pack_map(5), PAIR("currency", "USDT"), PAIR("amount", "5"), PAIR("account", "spot"),
        PAIR("fromAccount", "spot"), PAIR("toAccount", "swap"), assert_cash("-5", "transfer");
    pack_map(3), PAIR("code", "USDT"), PAIR("amount", "0.1"), PAIR("symbol", "BTC/USDT:USDT"),
        assert_cash("0.1", "funding");
    pack_map(3), PAIR("id", "1"), PAIR("amount", "0.1"), PAIR("symbol", "BTC/USD:BTC-261225"),
        assert_cash("0.1", "funding");
    assert_field(CASH_currency, "BTC");
    pack_map(4), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "-5"),
        PAIR("direction", "in");
    decode_as(RECORD_CASH, 0, "{\"direction\":\"in\"}");
    assert_field(CASH_amount, "-5");
    /* our own names mean what they say */
    pack_map(3), PAIR("currency", "USDT"), PAIR("amount", "5"), PAIR("type", "withdrawal"),
        assert_cash("5", "withdrawal");
}

static void a_transfer_without_its_accounts_is_one_whosever_it_is(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pack_map(i == 0 ? 5 : 7), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "5"),
            PAIR("status", "ok"), pack_text("info"), pack_map(1), PAIR("raw", "x");
        if (i > 0) {
            PAIR("account", "main"), PAIR("strategy", "mm");
        }
        assert_cash("5", "transfer");
    }
    pack_map(5), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "5"), PAIR("other", "x"),
        pack_text("info"), pack_map(0);
    decode_as(RECORD_CASH, 0, "{\"other\":\"x\"}");
    assert_field(CASH_type, NULL);
    pack_map(3), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "5"),
        assert_cash("5", NULL);
}

/* Deribit's transfers have them. */
static void a_transfer_with_wrong_accounts_is_one(void **state)
{
    (void)state;
    pack_map(4), PAIR("currency", "USDT"), PAIR("amount", "5"), pack_text("fromAccount"),
        msgpack_pack_true(&pack), pack_text("toAccount"), msgpack_pack_false(&pack);
    decode_as(RECORD_CASH, 2, "{\"fromAccount\":true,\"toAccount\":false}");
    assert_field(CASH_type, "transfer");
}

static void a_wrong_destination_spoils_no_other_field(void **state)
{
    (void)state;
    pack_map(6), PAIR("currency", "USDT"), PAIR("amount", "5"), PAIR("txid", "7"),
        PAIR("address", "from"), PAIR("lane", "fast"), pack_text("addressTo");
    msgpack_pack_array(&pack, 1), pack_text("to");
    decode_as(RECORD_CASH, 1, "{\"addressTo\":[\"to\"]}");
    assert_string_equal(problem.field, "address");
    assert_field(CASH_address, "from");
    assert_field(IDENTITY_lane, "fast");
}

static void some_exchanges_mean_something_else(void **state)
{
    static const char *const settling[] = {"okx", "myokx", "bybit"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (int known = 0; known < 2; known++) {
            exchange = known ? settling[i] : "kraken";
            pack_map(5), PAIR("id", "1"), PAIR("currency", "USDT"), PAIR("amount", "-5"),
                PAIR("type", "fee"), pack_text("info"), pack_map(1),
                PAIR("type", i < 2 ? "8" : "SETTLEMENT");
            decode_as(RECORD_CASH, 0, known ? "{\"type\":\"fee\"}" : NULL);
            assert_field(CASH_type, known ? "funding" : "fee");
        }
    }
    for (int i = 0; i < 3; i++) {
        exchange = ((const char *const[]){"bybit", "phemex", "binance"})[i];
        pack_map(4), PAIR("code", "USD"), PAIR("amount", "0.1"), PAIR("symbol", "BTC/USD:BTC"),
            pack_text("info"), pack_map(1), PAIR("execFee", "0.1");
        decode_as(RECORD_CASH, 0, i == 0 ? "{\"code\":\"USD\"}" : NULL);
        assert_field(CASH_amount, i < 2 ? "-0.1" : "0.1");
        assert_field(CASH_currency, i == 0 ? "BTC" : "USD");
    }
    for (int i = 0; i < 4; i++) {
        bool known = i < 2, option = i % 2 != 0;
        exchange = ((const char *const[]){"deribit", "deribit.main", NULL, "derive"})[i];
        for (int inverse = 0; inverse < 2; inverse++) {
            pack_map(4), PAIR("symbol", "X"), PAIR("type", option ? "option" : "swap"),
                pack_text("contract"), msgpack_pack_true(&pack), pack_text("inverse");
            inverse ? msgpack_pack_true(&pack) : msgpack_pack_false(&pack);
            decode_as(RECORD_INSTRUMENT, 0, NULL);
            assert_field(INSTRUMENT_quantity_unit, !known               ? "contracts"
                                                   : inverse && !option ? "quote"
                                                                        : "base");
        }
    }
    exchange = NULL;
}

static void a_short_position_is_negative(void **state)
{
    (void)state;
    pack_map(4), PAIR("symbol", "BTC/USDT:USDT"), PAIR("contracts", "3"), PAIR("side", "short"),
        PAIR("marginMode", "cross");
    decode_as(RECORD_POSITION, 0, NULL);
    assert_field(POSITION_quantity, "-3");
    assert_field(POSITION_position_side, NULL);
    assert_field(POSITION_margin_mode, "cross");
    pack_map(4), PAIR("symbol", "X"), PAIR("contracts", "3"), PAIR("side", "long"),
        pack_text("hedged"), msgpack_pack_true(&pack);
    decode_as(RECORD_POSITION, 0, NULL);
    assert_field(POSITION_quantity, "3");
    assert_field(POSITION_position_side, "long");
    pack_map(3), PAIR("symbol", "X"), PAIR("contracts", "-3"), PAIR("side", "both");
    decode_as(RECORD_POSITION, 0, "{\"side\":\"both\"}");
    assert_field(POSITION_quantity, "-3");
}

static void the_side_of_a_flat_position_and_a_word_of_the_venue_are_kept(void **state)
{
    (void)state;
    pack_map(3), PAIR("symbol", "X"), PAIR("contracts", "0"), PAIR("side", "long");
    decode_as(RECORD_POSITION, 0, "{\"side\":\"long\"}");
    pack_map(3), PAIR("symbol", "X"), PAIR("contracts", "-1"), PAIR("side", "long");
    decode_as(RECORD_POSITION, 0, "{\"side\":\"long\"}");
    pack_map(2), PAIR("symbol", "X"), PAIR("marginType", "crossed");
    decode_as(RECORD_POSITION, 0, "{\"marginType\":\"crossed\"}");
    assert_field(POSITION_margin_mode, "cross");
}

static void milliseconds_may_be_text_or_have_a_fraction(void **state)
{
    (void)state;
    pack_map(4), PAIR("id", "1"), PAIR("timestamp", "1700000000123"),
        PAIR("lastUpdateTimestamp", "1700000000123.5"), pack_text("lastTradeTimestamp"),
        msgpack_pack_double(&pack, (double)TIME_MS + 0.001); /* the double is less */
    decode_as(RECORD_ORDER, 0, NULL);
    assert_true(record.values[ORDER_exchange_time].integer == TIME_MS * 1000000);
    assert_true(record.values[ORDER_update_time].integer == TIME_MS * 1000000 + 500000);
    assert_true(record.values[ORDER_last_trade_time].integer == TIME_MS * 1000000 + 1000);
    pack_map(2), PAIR("id", "1"), pack_text("timestamp"), msgpack_pack_int64(&pack, 0);
    decode_as(RECORD_ORDER, 0, NULL);
    pack_map(2), PAIR("id", "1"), PAIR("timestamp", "1700000000123x");
    decode_as(RECORD_ORDER, 1, "{\"timestamp\":\"1700000000123x\"}");
}

static void an_amount_of_no_currency_is_not_added_to_the_others(void **state)
{
    (void)state;
    pack_map(2), PAIR("id", "1"), pack_text("fees"), msgpack_pack_array(&pack, 2);
    pack_map(2), PAIR("cost", "1"), PAIR("currency", "A");
    pack_map(1), PAIR("cost", "2");
    decode_as(RECORD_ORDER, 1, "{\"fees\":[{\"cost\":\"1\",\"currency\":\"A\"},{\"cost\":\"2\"}]}");
    assert_field(ORDER_fee, "1");
    assert_field(ORDER_fees, NULL);
}

static void an_instrument_has_its_times_in_either_unit(void **state)
{
    (void)state;
    pack_map(4), PAIR("symbol", "BTC/USDT:USDT-261225"), PAIR("id", "BTCUSDT_261225"),
        pack_text("expiry"), msgpack_pack_int64(&pack, TIME_MS), pack_text("created"),
        msgpack_pack_int64(&pack, TIME_MS * 1000000);
    decode_as(RECORD_INSTRUMENT, 0, NULL);
    assert_field(INSTRUMENT_venue_symbol, "BTCUSDT_261225");
    assert_true(record.values[INSTRUMENT_expiry].integer == TIME_MS * 1000000);
    assert_true(record.values[INSTRUMENT_created].integer == TIME_MS * 1000000);
}

static void an_amount_of_no_currency_is_no_empty_account(void **state)
{
    static const char *const names[] = {"free", "used", "total", "debt"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        pack_map(1), PAIR(names[i], "0.05");
        assert_missing(RECORD_BALANCE, "currency");
    }
    pack_map(3), pack_text("free"), msgpack_pack_nil(&pack), PAIR("account", "main"),
        pack_text("currency"), msgpack_pack_nil(&pack);
    decode_as(RECORD_BALANCE, 0, NULL);
}

/* --- hostile bytes --- */

static size_t pack_rich(unsigned char *bytes)
{
    pack_map(12);
    PAIR("id", "1"), PAIR("symbol", "X"), PAIR("amount", "-5"), PAIR("price", "1");
    PAIR("currency", "USDT"), PAIR("direction", "out"), PAIR("side", "short");
    PAIR("datetime", "2023-11-14T22:13:20.123456Z");
    pack_text("timestamp"), msgpack_pack_int64(&pack, TIME_MS);
    pack_text("fee"), pack_map(3), PAIR("cost", "0.10"), PAIR("currency", "USDT"),
        PAIR("rate", "1");
    pack_text("fees"), msgpack_pack_array(&pack, 2), pack_fee("0.1", "USDT"), pack_fee("1", "BNB");
    pack_text("info"), pack_map(1), PAIR("a", "b");
    size_t length = packed.size;
    memcpy(bytes, packed.data, length);
    msgpack_sbuffer_clear(&packed);
    return length;
}

static void random_bytes_are_survived_by_every_kind(void **state)
{
    unsigned char rich[1024];
    size_t length = pack_rich(rich);

    (void)state;
    for (int i = 0; i < 100000; i++) {
        size_t size = random_below(4) ? length : 1 + random_below((unsigned)length);
        unsigned char *bytes = malloc(size);
        memcpy(bytes, rich, size);
        for (unsigned changes = random_below(8); changes > 0; changes--) {
            bytes[random_below((unsigned)size)] = (unsigned char)random_next();
        }
        enum record_kind kind = (enum record_kind)random_below(RECORD_KINDS);
        if (record_decode(kind, NULL, bytes, size, &scratch, &record, &problem) == 0) {
            const struct record_value *extra = &record.values[record_schemas[kind].field_count - 1];
            assert_true(!extra->present ||
                        json_read_object(extra->bytes, extra->length) == RECORD_FAULT_NONE);
        }
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_of_ccxt_is_one_of_ours),
        cmocka_unit_test(wrong_values_keep_the_name_they_came_by),
        cmocka_unit_test(an_id_may_be_a_whole_double),
        cmocka_unit_test(an_empty_text_is_absent_in_an_object_of_ccxts),
        cmocka_unit_test(our_name_wins_and_another_value_is_kept),
        cmocka_unit_test(the_better_of_two_names_wins),
        cmocka_unit_test(the_time_as_text_is_for_want_of_a_timestamp),
        cmocka_unit_test(the_time_as_text_is_no_other_field_of_a_kind_that_has_no_time),
        cmocka_unit_test(a_fee_is_its_cost_currency_and_rate),
        cmocka_unit_test(several_fees_are_a_map_of_all),
        cmocka_unit_test(the_digits_of_the_fee_are_those_of_its_text),
        cmocka_unit_test(a_list_that_lacks_the_fee_is_kept_beside_it),
        cmocka_unit_test(the_rate_of_a_fee_may_stand_in_the_list_alone),
        cmocka_unit_test(a_list_in_the_place_of_the_fee_is_taken_where_the_other_is_empty),
        cmocka_unit_test(a_negative_amount_of_a_trade_is_a_sale),
        cmocka_unit_test(cash_that_leaves_the_account_is_negative),
        cmocka_unit_test(a_transfer_without_its_accounts_is_one_whosever_it_is),
        cmocka_unit_test(a_transfer_with_wrong_accounts_is_one),
        cmocka_unit_test(a_wrong_destination_spoils_no_other_field),
        cmocka_unit_test(some_exchanges_mean_something_else),
        cmocka_unit_test(a_short_position_is_negative),
        cmocka_unit_test(the_side_of_a_flat_position_and_a_word_of_the_venue_are_kept),
        cmocka_unit_test(milliseconds_may_be_text_or_have_a_fraction),
        cmocka_unit_test(an_amount_of_no_currency_is_not_added_to_the_others),
        cmocka_unit_test(an_instrument_has_its_times_in_either_unit),
        cmocka_unit_test(an_amount_of_no_currency_is_no_empty_account),
        cmocka_unit_test(random_bytes_are_survived_by_every_kind),
    };
    random_begin();
    return cmocka_run_group_tests(tests, begin_packing, end_packing);
}
