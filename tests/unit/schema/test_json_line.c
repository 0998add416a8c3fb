/* test_json_line.c: JSON lines as records: every digit and byte as written, every mistake named
 * with its field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schema/json_lines.h"

static struct json_lines lines;
static struct json_line line; /* the first of them */

static struct json_source source = {.exchange = "binance", .kind = -1};

/* A copy of exact size, so that a sanitizer sees a byte read too much. */
static int parse_bytes(const char *text, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);

    memcpy(copy, text, length);
    json_lines_clear(&lines);
    int result = json_lines_add(&lines, &source, copy, length);
    free(copy);
    line = lines.lines[0];
    return result;
}

static void assert_parsed(const char *text)
{
    if (parse_bytes(text, strlen(text)) != 0) {
        fail_msg("%s: %s", text, lines.problem);
    }
}

static void assert_refused(const char *text, const char *problem)
{
    assert_int_equal(parse_bytes(text, strlen(text)), -1);
    assert_string_equal(lines.problem, problem);
}

static int release(void **state)
{
    (void)state;
    json_lines_release(&lines);
    return 0;
}

static void order_has_every_field_as_written(void **state)
{
    (void)state;
    assert_parsed("{\"kind\":\"order\", \"exchange\" : "
                  "\"binance\",\"order_id\":\"28\",\"symbol\":\"\\u4eba\\u751fK\\u7ebf_USDT\","
                  "\"price\":10.100,\"quantity\":\"0.0050\",\"exchange_time\":1672229969579000000,"
                  "\"post_only\":true,"
                  "\"reduce_only\":false,\"fee\":-0.00}");
    assert_int_equal(line.kind, RECORD_ORDER);
    assert_string_equal(line.order.order_id, "28");
    assert_string_equal(line.order.symbol, "人生K线_USDT");
    assert_string_equal(line.order.price, "10.100");
    assert_string_equal(line.order.quantity, "0.0050");
    assert_string_equal(line.order.fee, "0.00");
    assert_int_equal(line.order.exchange_time, INT64_C(1672229969579000000));
    assert_int_equal(line.order.post_only, BLOTTER_TRUE);
    assert_int_equal(line.order.reduce_only, BLOTTER_FALSE);
    assert_null(line.order.extra);
    assert_null(line.order.client_order_id);
}

static void a_number_keeps_its_digits_whatever_they_are(void **state)
{
    static const char *const numbers[][2] = {
        {"0", "0"},
        {"-0", "0"},
        {"-0.0", "0.0"},
        {"1.10", "1.10"},
        {"1E-8", "0.00000001"},
        {"1.0E+2", "100"},
        {"5070133700.0", "5070133700.0"},
        {"123456789012345678901234567", "123456789012345678901234567"},
        {"18446744073709551616", "18446744073709551616"},
        {"-9223372036854775809", "-9223372036854775809"},
        {"0.1234567890123456789012345678901234567890123456",
         "0.1234567890123456789012345678901234567890123456"}};
    char text[256], expected[256];

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        snprintf(text, sizeof text,
                 "{\"order_id\":\"1\",\"price\":%s,\"x\":[%s , {\"y\":%s}, 1e999]}", numbers[i][0],
                 numbers[i][0], numbers[i][0]);
        snprintf(expected, sizeof expected, "{\"x\":[%s,{\"y\":%s},1e999]}", numbers[i][0],
                 numbers[i][0]);
        assert_parsed(text);
        assert_string_equal(line.order.price, numbers[i][1]);
        assert_string_equal(line.order.extra, expected);
    }
}

static void other_words_are_no_numbers(void **state)
{
    static const char *const wrong[] = {
        "01",  "00.1", "1.",    ".5",  "-",        "+1",        "1e",  "1e+",   "1.5.2", "1-2",
        "1 2", "0x10", "1e5e5", "NaN", "Infinity", "-Infinity", "nan", "1_000", "--1"};
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "{\"order_id\":\"1\",\"price\":%s,\"fee\":1}", wrong[i]);
        assert_int_equal(parse_bytes(text, strlen(text)), -1);
        assert_memory_equal(lines.problem, "price: not JSON, at byte ", 25);
    }
}

static void null_is_absent(void **state)
{
    (void)state;
    assert_parsed(
        "{\"order_id\":null,\"client_order_id\":\"c\",\"price\":null,\"post_only\":null}");
    assert_null(line.order.order_id);
    assert_null(line.order.price);
    assert_int_equal(line.order.post_only, 0);
    assert_parsed("{\"order_id\":\"1\",\"exchange_time\":null}");
    assert_int_equal(line.order.exchange_time, 0);
}

static void kind_may_come_last(void **state)
{
    (void)state;
    assert_parsed(
        "{\"symbol\":\"BTC/USDT\",\"price\":1,\"quantity\":2,\"type\":\"x\",\"kind\":\"trade\"}");
    assert_int_equal(line.kind, RECORD_TRADE);
    assert_string_equal(line.trade.price, "1");
    assert_string_equal(line.trade.extra, "{\"type\":\"x\"}"); /* a field of orders only */
    assert_refused("{\"kind\":\"session\"}",
                   "kind: expected order, trade, cash, balance, position or instrument");
    assert_refused("{\"kind\":1}", "kind: expected a string");
    assert_parsed("{\"kind\":null,\"order_id\":\"1\"}");
    assert_int_equal(line.kind, RECORD_ORDER);
}

static void other_exchange_is_refused(void **state)
{
    (void)state;
    assert_refused("{\"exchange\":\"okx\",\"order_id\":\"1\"}",
                   "exchange: not the exchange that is recorded");
    assert_parsed("{\"exchange\":null,\"order_id\":\"1\"}");
}

static void unknown_keys_go_into_extra_as_written(void **state)
{
    (void)state;
    assert_parsed("{\"a\" : 1.50 ,\"order_id\":\"1\",\"extra\":{ \"source\":\"x\\u0041\", "
                  "\"n\":1E-8 },\"b\\u0062\":null,\"seq\":7}");
    assert_string_equal(
        line.order.extra,
        "{\"a\":1.50,\"source\":\"x\\u0041\", \"n\":1E-8,\"b\\u0062\":null,\"seq\":7}");
    assert_parsed("{\"order_id\":\"1\",\"extra\":{}}");
    assert_null(line.order.extra);
    assert_parsed("{\"order_id\":\"1\",\"extra\":{},\"z\":[0]}");
    assert_string_equal(line.order.extra, "{\"z\":[0]}");
    assert_parsed("{\"order_id\":\"1\",\"extra\":\"{\\\"z\\\": 1.50}\"}");
    assert_string_equal(line.order.extra, "{\"z\": 1.50}");
    assert_parsed("{\"order_id\":\"1\",\"extra\":null}");
    assert_null(line.order.extra);
    assert_parsed("{\"order_id\":\"1\",\"extra\":[1]}");
    assert_string_equal(line.order.extra, "{\"extra\":[1]}");
}

static void escaped_key_is_the_key(void **state)
{
    (void)state;
    assert_parsed("{\"order\\u005fid\":\"1\\n\\\"2\\\\\\/\\ud83d\\ude00\"}");
    assert_string_equal(line.order.order_id, "1\n\"2\\/\xf0\x9f\x98\x80");
}

static void assert_kept(const char *text, const char *extra, const char *problem)
{
    assert_parsed(text);
    assert_string_equal(line.order.extra, extra);
    assert_string_equal(line.problem, problem);
    assert_int_equal(line.misplaced, 1);
}

static void a_wrong_value_is_kept_in_extra_and_named(void **state)
{
    (void)state;
    assert_kept("{\"order_id\":\"1\",\"price\":true}", "{\"price\":true}",
                "price: has a value of the wrong type");
    assert_kept("{\"order_id\":\"1\",\"price\":\"1,5\",\"a\":1}", "{\"price\":\"1,5\",\"a\":1}",
                "price: not a finite decimal number of at most 128 digits");
    assert_kept("{\"order_id\":\"1\",\"exchange_time\":1700000000}",
                "{\"exchange_time\":1700000000}", "exchange_time: out of range");
    assert_kept("{\"order_id\":\"1\",\"exchange_time\":\"9999999999999999999\"}",
                "{\"exchange_time\":\"9999999999999999999\"}", "exchange_time: out of range");
    assert_kept("{\"order_id\":\"1\",\"post_only\":1}", "{\"post_only\":1}",
                "post_only: has a value of the wrong type");
    assert_parsed("{\"order_id\":5}"); /* exchanges have ids that are numbers */
    assert_string_equal(line.order.order_id, "5");
    assert_int_equal(line.misplaced, 0);
    assert_refused("{\"order_id\":true}", "order_id: has a value of the wrong type");
}

static void every_kind_is_read(void **state)
{
    (void)state;
    assert_parsed("{\"kind\":\"cash\",\"currency\":\"USDT\",\"amount\":-1.50,\"entry_id\":7}");
    assert_int_equal(line.kind, RECORD_CASH);
    assert_string_equal(line.cash.amount, "-1.50");
    assert_string_equal(line.cash.entry_id, "7");
    assert_parsed("{\"kind\":\"balance\",\"currency\":\"USDT\",\"free\":1,\"total\":\"2.0\"}");
    assert_string_equal(line.balance.total, "2.0");
    assert_parsed("{\"kind\":\"position\",\"symbol\":\"X\",\"quantity\":-3,\"hedged\":false}");
    assert_string_equal(line.position.quantity, "-3");
    assert_int_equal(line.position.hedged, BLOTTER_FALSE);
    assert_parsed("{\"kind\":\"instrument\",\"symbol\":\"X\",\"expiry\":1800000000000}");
    assert_int_equal(line.instrument.expiry, INT64_C(1800000000000000000));
    assert_refused("{\"kind\":\"cash\",\"currency\":\"USDT\"}", "amount: required and missing");
}

static void an_empty_value_is_absent(void **state)
{
    static const char *const empty[] = {"null", "\"\"", "[]", "{ }"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        const char *e = empty[i];
        snprintf(
            text, sizeof text,
            "{\"order_id\":\"1\",\"clientOrderId\":%s,\"price\":%s,\"timestamp\":%s,\"post_only\":"
            "%s,\"fees\":%s}",
            e, e, e, e, e);
        assert_parsed(text);
        assert_null(line.order.client_order_id);
        assert_null(line.order.price);
        assert_null(line.order.fees);
        assert_null(line.order.extra);
        assert_int_equal(line.misplaced, 0);
    }
    assert_parsed("{\"id\":\"1\",\"clientOrderId\":\"\",\"symbol\":\"\",\"lastTradeTimestamp\":0}");
    assert_null(line.order.client_order_id);
    assert_null(line.order.symbol);
    assert_null(line.order.extra);
    assert_parsed("{\"client_order_id\":\"\",\"symbol\":\"\"}"); /* our text is kept as it is */
    assert_string_equal(line.order.client_order_id, "");
    assert_string_equal(line.order.symbol, "");
}

static void messages_within_a_value_are_dropped(void **state)
{
    (void)state;
    assert_parsed("{\"id\":\"1\",\"note\":{\"a\":null,\"b\":[1,{\"info\":{\"x\":1},\"c\":0.10}]},"
                  "\"fee\":{\"cost\":1,\"currency\":\"A\",\"info\":{\"x\":1},\"tier\":null}}");
    assert_string_equal(line.order.extra, "{\"note\":{\"b\":[1,{\"c\":0.10}]}}");
    assert_string_equal(line.order.fee, "1");
    assert_parsed("{\"id\":\"1\",\"extra\":{\"a\":null,\"info\":1}}");
    assert_string_equal(line.order.extra, "{\"a\":null,\"info\":1}");
}

/* Each record's currency, free, total and the like, in their order. */
static void assert_rows(const char *text, const char *const *rows, size_t count)
{
    assert_parsed(text);
    assert_int_equal(lines.count, count);
    for (size_t i = 0; i < count; i++) {
        const struct blotter_balance *balance = &lines.lines[i].balance;
        char found[128];
        snprintf(found, sizeof found, "%s %s %s %s", balance->currency, balance->free,
                 balance->total, balance->account);
        assert_string_equal(found, rows[i]);
    }
}

static void a_balance_is_a_record_for_each_currency(void **state)
{
    static const char *const rows[] = {"BTC 1.50 2.00 main", "USDT 10.10 (null) main",
                                       "ETH (null) 7 main"};

    (void)state;
    source.snapshot = 77;
    assert_rows(
        "{\"free\":{\"BTC\":9,\"USDT\":10.10},\"info\":{\"x\":1},\"account\":\"main\",\"note\":1,"
        "\"BTC\":{\"free\":1.50,\"used\":null,\"total\":\"2.00\"},\"used\":{},"
        "\"DUST\":{\"free\":0.0,\"total\":\"0.00\"},\"kind\":\"balance\","
        "\"total\":{\"DUST\":0,\"BTC\":2,\"ETH\":7}}",
        (const char *const[]){rows[0], rows[1], rows[2]}, 3);
    assert_string_equal(lines.lines[0].balance.extra, "{\"note\":1}");
    assert_null(lines.lines[1].balance.extra);
    assert_true(lines.lines[0].balance.snapshot == 77 && lines.lines[2].balance.snapshot == 77);
    assert_rows("{\"kind\":\"balance\",\"free\":{},\"used\":{},\"total\":{\"A\":0}}",
                (const char *const[]){"(null) (null) (null) (null)"}, 1);
    source.snapshot = 0;
}

static void only_a_balance_is_taken_for_one(void **state)
{
    static const char *const others[] = {
        "{\"kind\":\"balance\",\"error\":\"x\"}", "{\"kind\":\"balance\",\"total\":1}",
        "{\"kind\":\"balance\",\"account\":\"main\",\"total\":null}",
        "{\"kind\":\"balance\",\"BTC/USDT\":{\"bid\":1,\"ask\":2}}"};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(parse_bytes(others[i], strlen(others[i])), -1);
        assert_non_null(strstr(lines.problem, "is not a balance"));
    }
}

static void a_list_is_its_objects_with_one_snapshot(void **state)
{
    (void)state;
    source.snapshot = 77;
    assert_parsed(" [{\"kind\":\"position\",\"symbol\":\"A\",\"contracts\":3,\"side\":\"short\"},"
                  "{\"kind\":\"position\",\"symbol\":\"B\",\"quantity\":2}] ");
    assert_int_equal(lines.count, 2);
    assert_string_equal(lines.lines[0].position.quantity, "-3");
    assert_true(lines.lines[0].position.snapshot == 77 && lines.lines[1].position.snapshot == 0);
    assert_refused("[{\"order_id\":\"1\"},{}]", "order_id: required and missing");
    assert_parsed("[]");
    source.snapshot = 0;
}

static void ccxts_names_are_understood(void **state)
{
    (void)state;
    assert_parsed(
        "{\"id\":\"1\",\"clientOrderId\":\"c\",\"timestamp\":1700000000123,\"amount\":0.10,"
        "\"fee\":{\"cost\":0.20,\"currency\":\"USDT\"},\"fees\":[{\"cost\":0.2,\"currency\":"
        "\"USDT\"}],\"info\":{\"a\":1},\"postOnly\":false,\"note\":[1.0]}");
    assert_string_equal(line.order.order_id, "1");
    assert_string_equal(line.order.client_order_id, "c");
    assert_int_equal(line.order.exchange_time, INT64_C(1700000000123000000));
    assert_string_equal(line.order.quantity, "0.10");
    assert_string_equal(line.order.fee, "0.20");
    assert_string_equal(line.order.fee_currency, "USDT");
    assert_int_equal(line.order.post_only, BLOTTER_FALSE);
    assert_string_equal(line.order.extra, "{\"note\":[1.0]}");
    assert_refused("{\"id\":\"1\",\"currency\":\"USDT\",\"amount\":1,\"direction\":\"in\"}",
                   "kind: order, but this is a ledger entry: record it with cash()");
}

static void malformed_line_is_refused_with_its_field(void **state)
{
    (void)state;
    assert_refused("", "not JSON: the line ends too early");
    assert_refused("[", "not a JSON object");
    assert_refused("[7]", "a list of something else than objects");
    assert_refused("7", "not a JSON object");
    assert_refused("{\"order_id\":\"1\"", "order_id: not JSON: the line ends too early");
    assert_refused("{\"order_id\":\"1", "order_id: not JSON: the line ends too early");
    assert_refused("{\"order_id\":\"1\",\"symbol\":\"a\xff\"}", "symbol: not valid UTF-8");
    assert_refused("{\"order_id\":\"1\",\"symbol\":\"\xed\xa0\x80\"}", "symbol: not valid UTF-8");
    assert_refused("{\"order_id\":\"1\",\"symbol\":\"a\\u0000b\"}",
                   "symbol: has a NUL byte, which PostgreSQL cannot store");
    assert_refused("{\"order_id\":\"1\",\"price\":1,\"price\":2}", "price: given twice");
    assert_int_equal(parse_bytes("{\"order_id\":\"1\",\"symbol\":\"a\0b\"}", 31), -1);
    assert_string_equal(line.problem, "symbol: has a NUL byte, which PostgreSQL cannot store");
}

/* Each byte of a key of many bytes may be the first that has no room. */
static void a_message_shows_whole_characters_of_a_key(void **state)
{
    char key[72] = "abc", text[256];

    (void)state;
    for (size_t ascii = 0; ascii < 4; ascii++) {
        for (size_t at = ascii; at + 4 < sizeof key; at += 4) {
            memcpy(key + at, "\xf0\x9f\x92\xb0", 5);
        }
        snprintf(text, sizeof text, "{\"kind\":\"balance\",\"%s\":1}", key);
        assert_int_equal(parse_bytes(text, strlen(text)), -1);
        assert_int_equal(text_check(lines.problem, strlen(lines.problem)), RECORD_FAULT_NONE);
        snprintf(text, sizeof text, "{\"%s\":}", key);
        assert_int_equal(parse_bytes(text, strlen(text)), -1);
        assert_int_equal(text_check(lines.problem, strlen(lines.problem)), RECORD_FAULT_NONE);
    }
    assert_refused("{\"a\xc2\x9b\x7f\xe4\xba\xba\xff\":1}", "a??\xe4\xba\xba?: not valid UTF-8");
}

/* A text of 360 kB became records of 1.2 GB. */
static void what_many_records_share_is_not_multiplied_without_bound(void **state)
{
    enum { SHARED = 40000, FEW = 100, MANY = 1000 };
    char *text = malloc(SHARED + 16 * MANY + 128);

    (void)state;
    for (int count = FEW; count <= MANY; count += MANY - FEW) {
        char *at = text + sprintf(text, "{\"kind\":\"balance\",\"datetime\":\"");
        memset(at, 'd', SHARED);
        at += SHARED;
        at += sprintf(at, "\",\"total\":{\"C\":1");
        for (int i = 1; i < count; i++) {
            at += sprintf(at, ",\"C%d\":1", i);
        }
        at += sprintf(at, "}}");
        assert_int_equal(parse_bytes(text, (size_t)(at - text)), count == FEW ? 0 : -1);
    }
    assert_string_equal(lines.problem, "what its records share is too long for so many");
    free(text);
}

static void lone_surrogate_is_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_bytes("{\"order_id\":\"\\ud800\"}", 21), -1);
    assert_memory_equal(lines.problem, "order_id: not JSON, at byte ", 27);
}

static void deep_nesting_is_refused(void **state)
{
    static char text[100000] = "{\"order_id\":\"1\",\"x\":";

    (void)state;
    memset(text + strlen(text), '[', 90000);
    assert_int_equal(parse_bytes(text, strlen(text)), -1);
    assert_string_equal(line.problem, "x: nested too deeply");
}

/* Every prefix of a line, and the line with any byte replaced, is parsed or refused, and never read
 * beyond its end. */
static void damaged_line_is_survived(void **state)
{
    static const char whole[] = "{\"kind\":\"trade\",\"symbol\":\"B\\u00e9\\\\\",\"price\":-1.5E+7,"
                                "\"quantity\":\"2\",\"x\":{\"y\":[1,null]},"
                                "\"extra\":{\"k\":\"v\"}}";
    static const char bytes[] = "\"\\{}[],:0-.eE \x80\xff";
    char text[sizeof whole];

    (void)state;
    for (size_t length = 0; length < sizeof whole - 1; length++) {
        assert_int_equal(parse_bytes(whole, length), -1);
    }
    for (size_t at = 0; at < sizeof whole - 1; at++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            memcpy(text, whole, sizeof whole);
            text[at] = bytes[i];
            int result = parse_bytes(text, sizeof whole - 1);
            assert_true(result == 0 || line.problem[0] != '\0');
        }
    }
}

static void damaged_trades_of_an_order_are_survived(void **state)
{
    static const char whole[] =
        "{\"id\":\"o\",\"symbol\":\"S\",\"side\":\"buy\",\"lastTradeTimestamp\":1763900000123,"
        "\"trades\":"
        "[{\"id\":\"t\",\"price\":1,\"amount\":\"2\",\"side\":\"\"},{\"id\":3},null,[],\"4\",{}]}";
    static const char bytes[] = "\"\\{}[],:0-.eE \x80\xff";

    (void)state;
    assert_parsed(whole);
    assert_string_equal(line.order.extra, "{\"trade_ids\":[3,[],\"4\"]}");
    assert_int_equal(lines.count, 2);
    assert_string_equal(lines.lines[1].trade.side, "buy");
    for (size_t at = 0; at < sizeof whole - 1; at++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            char text[sizeof whole];
            memcpy(text, whole, sizeof whole);
            text[at] = bytes[i];
            assert_true(parse_bytes(text, sizeof whole - 1) == 0 || lines.problem[0] != '\0');
            for (size_t j = 0; j < lines.count; j++) {
                assert_int_equal(lines.lines[j].kind, j == 0 ? RECORD_ORDER : RECORD_TRADE);
            }
        }
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(order_has_every_field_as_written),
        TEST(a_number_keeps_its_digits_whatever_they_are),
        TEST(other_words_are_no_numbers),
        TEST(null_is_absent),
        TEST(kind_may_come_last),
        TEST(other_exchange_is_refused),
        TEST(unknown_keys_go_into_extra_as_written),
        TEST(escaped_key_is_the_key),
        TEST(a_wrong_value_is_kept_in_extra_and_named),
        TEST(every_kind_is_read),
        TEST(an_empty_value_is_absent),
        TEST(messages_within_a_value_are_dropped),
        TEST(a_balance_is_a_record_for_each_currency),
        TEST(only_a_balance_is_taken_for_one),
        TEST(a_list_is_its_objects_with_one_snapshot),
        TEST(ccxts_names_are_understood),
        TEST(malformed_line_is_refused_with_its_field),
        TEST(a_message_shows_whole_characters_of_a_key),
        TEST(what_many_records_share_is_not_multiplied_without_bound),
        TEST(lone_surrogate_is_refused),
        TEST(deep_nesting_is_refused),
        TEST(damaged_line_is_survived),
        TEST(damaged_trades_of_an_order_are_survived),
    };
    return cmocka_run_group_tests_name("json_line", tests, NULL, NULL);
}
