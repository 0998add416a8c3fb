/* test_order_changes.c: what a batch says of each order, against a simple changes of the same
 * events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/order_changes.h"
#include "schema/decimal.h"
#include "tests/unit/random_input.h"

/* Columns of the result, as order_changes_columns() names them. */
enum {
    C_EXCHANGE,
    C_FIRST_AT,
    C_FIRST_SEQ,
    C_FIRST_PRODUCER,
    C_AT,
    C_SEQ,
    C_PRODUCER,
    C_LATE,
    C_ENDED,
    C_FIRST_FILLED,
    C_FIELDS
};
#define C_COUNT (C_FIELDS + ORDER_FIELDS - RECORD_IDENTITY_FIELDS)
#define C_OF(field) (C_FIELDS + (field)-RECORD_IDENTITY_FIELDS)

#define AT INT64_C(1767225600000000000)

static struct text_set venues, terminal;
static struct order_changes *changes;
static struct copy_buffer rows, result;
static uint32_t row_columns[RECORD_FIELDS_MAX]; /* of the row put last */

static int begin(void **state)
{
    (void)state;
    text_set_add(&venues, "binance", 7);
    text_set_add(&terminal, "filled", 6);
    text_set_add(&terminal, "canceled", 8);
    changes = order_changes_create(&venues, &terminal);
    return 0;
}

static int end(void **state)
{
    (void)state;
    order_changes_destroy(changes);
    text_set_release(&venues);
    text_set_release(&terminal);
    copy_buffer_release(&rows);
    copy_buffer_release(&result);
    return 0;
}

/* --- events --- */

struct event {
    const char *texts[ORDER_FIELDS]; /* NULL: absent */
    int64_t at, seq, producer_id;
};

static void put_event(const struct event *event)
{
    struct record record = {.kind = RECORD_ORDER};

    for (int i = 0; i < ORDER_FIELDS; i++) {
        if (event->texts[i] != NULL) {
            record.values[i] = (struct record_value){.bytes = event->texts[i],
                                                     .length = (uint32_t)strlen(event->texts[i]),
                                                     .present = true};
        }
    }
    record.values[IDENTITY_producer_id] =
        (struct record_value){.integer = event->producer_id, .present = true};
    record.values[IDENTITY_seq] = (struct record_value){.integer = event->seq, .present = true};
    record.values[IDENTITY_recorded_at] =
        (struct record_value){.integer = event->at, .present = true};
    copy_put_record(&rows, &record, row_columns);
}

/* Folds the events in this order. */
static void fold_events(const struct event *events, size_t count, bool late)
{
    copy_buffer_release(&rows); /* so that the rows move while they are put */
    result.length = 0;
    order_changes_clear(changes);
    for (size_t i = 0; i < count; i++) {
        size_t offset = rows.length;

        put_event(&events[i]);
        if (i % 2 == 0) {
            order_changes_add(changes, &rows, row_columns);
        } else {
            order_changes_add_row(changes, &rows, offset);
        }
    }
    order_changes_put(changes, &rows, late, &result);
}

#define FOLD(...)                              \
    fold_events((struct event[]){__VA_ARGS__}, \
                sizeof((struct event[]){__VA_ARGS__}) / sizeof(struct event), false)

/* The n-th order of the result. */
static const struct copy_field *order(size_t n)
{
    static struct copy_field fields[C_COUNT];
    const unsigned char *row = result.bytes;

    assert_true(n < order_changes_count(changes));
    for (size_t i = 0; i <= n; i++) {
        assert_int_equal(row[0] << 8 | row[1], C_COUNT);
        copy_split_row(row, fields, C_COUNT);
        row = fields[C_COUNT - 1].bytes +
              (fields[C_COUNT - 1].length > 0 ? fields[C_COUNT - 1].length : 0);
    }
    return fields;
}

static void assert_text(const struct copy_field *field, const char *expected)
{
    if (expected == NULL) {
        assert_int_equal(field->length, -1);
    } else {
        assert_int_equal(field->length, strlen(expected));
        assert_memory_equal(field->bytes, expected, strlen(expected));
    }
}

static void assert_numeric(const struct copy_field *field, const char *expected)
{
    unsigned char bytes[DECIMAL_NUMERIC_BYTES_MAX];
    struct copy_field wanted = {bytes, 0};

    assert_true(field->length > 0);
    wanted.length = (int32_t)decimal_to_numeric(expected, strlen(expected), bytes);
    assert_int_equal(copy_numeric_compare(field, &wanted), 0);
}

#define EVENT_OF(n, ...)                                                                         \
    {                                                                                            \
        .texts = {__VA_ARGS__}, .at = AT + (n)*INT64_C(1000000000), .seq = (n), .producer_id = 7 \
    }
#define EVENT(n, ...) EVENT_OF(n, [IDENTITY_exchange] = "okx", [ORDER_order_id] = "17", __VA_ARGS__)

/* --- one order --- */

static void each_field_is_the_last_value_given(void **state)
{
    const struct copy_field *fields;

    (void)state;
    FOLD(EVENT(1, [ORDER_status] = "open", [ORDER_price] = "10.50", [ORDER_side] = "buy"),
         EVENT(2, [ORDER_status] = "partially_filled", [ORDER_last_price] = "10.5"),
         EVENT(3, [ORDER_price] = "9"));
    assert_int_equal(order_changes_count(changes), 1);
    fields = order(0);
    assert_text(&fields[C_EXCHANGE], "okx");
    assert_text(&fields[C_OF(ORDER_order_id)], "17");
    assert_text(&fields[C_OF(ORDER_status)], "partially_filled");
    assert_text(&fields[C_OF(ORDER_side)], "buy");
    assert_numeric(&fields[C_OF(ORDER_price)], "9");
    assert_numeric(&fields[C_OF(ORDER_last_price)], "10.5");
    assert_text(&fields[C_OF(ORDER_extra)], NULL);
    assert_true(copy_field_int64(&fields[C_FIRST_AT]) == copy_timestamp(AT + 1000000000));
    assert_int_equal(copy_field_int64(&fields[C_FIRST_SEQ]), 1);
    assert_true(copy_field_int64(&fields[C_AT]) == copy_timestamp(AT + INT64_C(3000000000)));
    assert_int_equal(copy_field_int64(&fields[C_SEQ]), 3);
    assert_int_equal(copy_field_int64(&fields[C_PRODUCER]), 7);
    assert_int_equal(fields[C_LATE].bytes[0], 0);
}

static void terminal_status_is_not_left(void **state)
{
    (void)state;
    FOLD(EVENT(1, [ORDER_status] = "open"), EVENT(2, [ORDER_status] = "FILLED"),
         EVENT(3, [ORDER_status] = "open"),
         EVENT(4, [ORDER_status] = "canceled", [ORDER_reason] = "late answer"));
    assert_text(&order(0)[C_OF(ORDER_status)], "FILLED");
    assert_text(&order(0)[C_OF(ORDER_reason)], "late answer");
    FOLD(EVENT(1, [ORDER_status] = "canceled"), EVENT(2, [ORDER_status] = "open"));
    assert_text(&order(0)[C_OF(ORDER_status)], "canceled");
}

static void filled_quantity_does_not_fall(void **state)
{
    (void)state;
    FOLD(EVENT(1, [ORDER_filled_quantity] = "9"), EVENT(2, [ORDER_filled_quantity] = "10.0"),
         EVENT(3, [ORDER_filled_quantity] = "9.99"), EVENT(4, [ORDER_price] = "1"));
    assert_numeric(&order(0)[C_OF(ORDER_filled_quantity)], "10");
}

static void event_older_than_another_makes_its_order_late(void **state)
{
    (void)state;
    FOLD(EVENT(2, [ORDER_price] = "2"), EVENT(1, [ORDER_price] = "1"));
    assert_int_equal(order(0)[C_LATE].bytes[0], 1);
    assert_int_equal(copy_field_int64(&order(0)[C_FIRST_SEQ]), 1);
    assert_int_equal(copy_field_int64(&order(0)[C_SEQ]), 2);
}

static void events_of_the_same_time_go_by_seq_then_by_producer(void **state)
{
    struct event events[2] = {EVENT(1, [ORDER_price] = "1"), EVENT(1, [ORDER_price] = "2")};

    (void)state;
    events[1].seq = 2;
    fold_events(events, 2, false);
    assert_int_equal(order(0)[C_LATE].bytes[0], 0);
    events[1].seq = 0;
    fold_events(events, 2, false);
    assert_int_equal(order(0)[C_LATE].bytes[0], 1);
    events[1].seq = 1;
    events[1].producer_id = 8;
    fold_events(events, 2, false);
    assert_int_equal(order(0)[C_LATE].bytes[0], 0);
    events[1].producer_id = -8;
    fold_events(events, 2, false);
    assert_int_equal(order(0)[C_LATE].bytes[0], 1);
}

static void same_event_twice_counts_once(void **state)
{
    (void)state;
    FOLD(EVENT(1, [ORDER_price] = "1"), EVENT(1, [ORDER_price] = "1"));
    assert_int_equal(order_changes_count(changes), 1);
    assert_int_equal(order(0)[C_LATE].bytes[0], 0);
}

static void everything_is_late_where_it_may_be_stored_already(void **state)
{
    struct event event = EVENT(1, [ORDER_price] = "1");

    (void)state;
    fold_events(&event, 1, true);
    assert_int_equal(order(0)[C_LATE].bytes[0], 1);
    fold_events(&event, 1, false);
    assert_int_equal(order(0)[C_LATE].bytes[0], 0);
}

static void order_with_two_client_ids_is_late(void **state)
{
    (void)state;
    FOLD(EVENT(1, [ORDER_client_order_id] = "a"), EVENT(2, [ORDER_price] = "1"),
         EVENT(3, [ORDER_client_order_id] = ""));
    assert_int_equal(order(0)[C_LATE].bytes[0], 0);
    FOLD(EVENT(1, [ORDER_price] = "1"), EVENT(2, [ORDER_client_order_id] = "a"));
    assert_int_equal(order(0)[C_LATE].bytes[0], 0);
    FOLD(EVENT(1, [ORDER_client_order_id] = "a"), EVENT(2, [ORDER_client_order_id] = "b"));
    assert_int_equal(order_changes_count(changes), 1);
    assert_int_equal(order(0)[C_LATE].bytes[0], 1);
}

/* --- which order --- */

static void orders_differ_by_exchange_account_and_id(void **state)
{
    (void)state;
    FOLD(EVENT(1, [ORDER_account] = "a"), EVENT(2, [ORDER_account] = "b"),
         EVENT(3, [ORDER_account] = "a"),
         EVENT_OF(4, [ORDER_order_id] = "17", [IDENTITY_exchange] = "bybit", [ORDER_account] = "a"),
         EVENT_OF(5, [IDENTITY_exchange] = "okx", [ORDER_order_id] = "18", [ORDER_account] = "a"));
    assert_int_equal(order_changes_count(changes), 4);
    assert_int_equal(copy_field_int64(&order(0)[C_SEQ]), 3);
}

static void empty_account_is_the_same_as_none(void **state)
{
    (void)state;
    FOLD(EVENT(1, [ORDER_account] = ""), EVENT(2, [ORDER_price] = "1"),
         EVENT(3, [ORDER_account] = ""));
    assert_int_equal(order_changes_count(changes), 1);
    assert_int_equal(copy_field_int64(&order(0)[C_SEQ]), 3);
}

static void symbol_counts_only_where_the_venue_numbers_by_symbol(void **state)
{
    (void)state;
    FOLD(EVENT(1, [ORDER_symbol] = "BTC"), EVENT(2, [ORDER_symbol] = "ETH"),
         EVENT(3, [ORDER_price] = "1"));
    assert_int_equal(order_changes_count(changes), 1);
    FOLD(
        EVENT_OF(
            1, [ORDER_order_id] = "17", [IDENTITY_exchange] = "binance", [ORDER_symbol] = "BTC"),
        EVENT_OF(
            2, [ORDER_order_id] = "17", [IDENTITY_exchange] = "binance", [ORDER_symbol] = "ETH"),
        EVENT_OF(3, [ORDER_order_id] = "17", [IDENTITY_exchange] = "binance"),
        EVENT_OF(4, [ORDER_order_id] = "17", [IDENTITY_exchange] = "binance", [ORDER_symbol] = ""));
    assert_int_equal(order_changes_count(changes), 3);
}

static void order_known_by_client_id_alone_is_one_of_its_own(void **state)
{
    (void)state;
    /* clang-format off */
    FOLD(EVENT_OF(1, [IDENTITY_exchange] = "okx", [ORDER_client_order_id] = "17"),
         EVENT_OF(2, [IDENTITY_exchange] = "okx", [ORDER_order_id] = "0",
                  [ORDER_client_order_id] = "17"),
         EVENT(3, [ORDER_client_order_id] = "17"));
    /* clang-format on */
    assert_int_equal(order_changes_count(changes), 2);
    assert_int_equal(copy_field_int64(&order(0)[C_SEQ]), 2);
    assert_int_equal(copy_field_int64(&order(1)[C_SEQ]), 3);
}

static void event_without_any_id_is_left_out(void **state)
{
    (void)state;
    FOLD(EVENT_OF(1, [IDENTITY_exchange] = "okx", [ORDER_order_id] = "0"),
         EVENT_OF(2, [IDENTITY_exchange] = "okx", [ORDER_client_order_id] = ""));
    assert_int_equal(order_changes_count(changes), 0);
    assert_int_equal(result.length, 0);
}

static void columns_are_as_many_as_are_written(void **state)
{
    const char *columns = order_changes_columns();
    int count = 1;

    (void)state;
    for (const char *at = columns; (at = strchr(at, ',')) != NULL; at++) {
        count++;
    }
    assert_int_equal(count, C_COUNT);
    assert_memory_equal(columns, "exchange, first_recorded_at, first_seq, ", 40);
    assert_string_equal(strrchr(columns, ','), ", extra");
}

/* --- random histories --- */

enum { ORDERS = 7, EVENTS = 60 };

static const char *pick(const char *const *from, unsigned count)
{
    return random_below(3) == 0 ? NULL : from[random_below(count)];
}

static struct event random_event(int n)
{
    static const char *const ids[ORDERS] = {"1", "2", "3", "4", "5", "6", "7"};
    static const char *const statuses[] = {"open", "partially_filled", "filled", "Canceled", ""};
    static const char *const quantities[] = {"0", "0.5", "1", "10", "9.75", "100000"};
    static const char *const texts[] = {"", "a", "bb"};
    struct event event = {.at = AT + n / 3 * INT64_C(1000), .seq = n, .producer_id = 1};

    event.texts[IDENTITY_exchange] = "okx";
    event.texts[ORDER_order_id] = ids[random_below(ORDERS)];
    event.texts[ORDER_status] = pick(statuses, 5);
    event.texts[ORDER_filled_quantity] = pick(quantities, 6);
    event.texts[ORDER_remaining_quantity] = pick(quantities, 6);
    event.texts[ORDER_average_price] = pick(quantities, 6);
    event.texts[ORDER_cost] = pick(quantities, 6);
    event.texts[ORDER_price] = pick(quantities, 6);
    event.texts[ORDER_strategy] = pick(texts, 3);
    return event;
}

/* Merges the order's events the plain way: sorted, one field after the other. */
struct expected {
    const char *status, *first_filled, *filled, *remaining, *average, *cost, *price, *strategy;
    int64_t first_seq, last_seq;
    bool ended, has_status;
};

static void keep(const char **value, const char *newer)
{
    *value = newer != NULL ? newer : *value;
}

static void expect(struct expected *order, const struct event *event)
{
    const char *filled = event->texts[ORDER_filled_quantity], *status = event->texts[ORDER_status];

    order->first_seq = order->last_seq == -1 ? event->seq : order->first_seq;
    order->last_seq = event->seq;
    order->price = event->texts[ORDER_price] != NULL ? event->texts[ORDER_price] : order->price;
    order->strategy =
        event->texts[ORDER_strategy] != NULL ? event->texts[ORDER_strategy] : order->strategy;
    order->status = status != NULL && !order->has_status ? status : order->status;
    order->has_status =
        order->has_status ||
        (status != NULL && (strcmp(status, "filled") == 0 || strcmp(status, "Canceled") == 0));
    order->ended = order->ended || order->has_status ||
                   (status == NULL && event->texts[ORDER_remaining_quantity] != NULL &&
                    strtod(event->texts[ORDER_remaining_quantity], NULL) == 0);
    if (filled == NULL || order->filled == NULL ||
        strtod(filled, NULL) >= strtod(order->filled, NULL)) {
        keep(&order->filled, filled);
        keep(&order->remaining, event->texts[ORDER_remaining_quantity]);
        keep(&order->average, event->texts[ORDER_average_price]);
        keep(&order->cost, event->texts[ORDER_cost]);
    }
    if (order->first_filled == NULL) {
        order->first_filled = filled;
    }
}

static void assert_number(const struct copy_field *field, const char *expected)
{
    assert_int_equal(field->length > 0, expected != NULL);
    if (expected != NULL) {
        assert_numeric(field, expected);
    }
}

static void assert_as_expected(const struct copy_field *fields, const struct expected *expected)
{
    assert_text(&fields[C_OF(ORDER_status)], expected->status);
    assert_text(&fields[C_OF(ORDER_strategy)], expected->strategy);
    assert_number(&fields[C_OF(ORDER_filled_quantity)], expected->filled);
    assert_number(&fields[C_OF(ORDER_remaining_quantity)], expected->remaining);
    assert_number(&fields[C_OF(ORDER_average_price)], expected->average);
    assert_number(&fields[C_OF(ORDER_cost)], expected->cost);
    assert_number(&fields[C_OF(ORDER_price)], expected->price);
    assert_number(&fields[C_FIRST_FILLED], expected->first_filled);
    assert_int_equal(fields[C_ENDED].bytes[0], expected->ended);
}

/* An order is late exactly if one of its events came before a newer one; else its changes is that
 * of the reference. First and last event hold in any case. */
static void random_histories_fold_as_the_reference_does(void **state)
{
    (void)state;
    random_begin();
    for (int round = 0; round < 3000; round++) {
        struct event events[EVENTS];
        struct expected expected[ORDERS];
        bool late[ORDERS] = {false};
        int64_t newest[ORDERS];

        for (int i = 0; i < ORDERS; i++) {
            expected[i] = (struct expected){.last_seq = -1};
            newest[i] = -1;
        }
        for (int i = 0; i < EVENTS; i++) {
            events[i] = random_event(i);
            expect(&expected[events[i].texts[ORDER_order_id][0] - '1'], &events[i]);
        }
        for (unsigned swaps = random_below(20); swaps > 0; swaps--) { /* near ones mostly */
            unsigned a = random_below(EVENTS - 3), b = a + 1 + random_below(3);
            struct event kept = events[a];

            events[a] = events[b];
            events[b] = kept;
        }
        for (int i = 0; i < EVENTS; i++) {
            int n = events[i].texts[ORDER_order_id][0] - '1';

            late[n] = late[n] || events[i].seq < newest[n];
            newest[n] = events[i].seq > newest[n] ? events[i].seq : newest[n];
        }
        fold_events(events, EVENTS, false);
        for (size_t i = 0; i < order_changes_count(changes); i++) {
            const struct copy_field *fields = order(i);
            int n = fields[C_OF(ORDER_order_id)].bytes[0] - '1';

            assert_int_equal(fields[C_LATE].bytes[0], late[n]);
            assert_int_equal(copy_field_int64(&fields[C_FIRST_SEQ]), expected[n].first_seq);
            assert_int_equal(copy_field_int64(&fields[C_SEQ]), expected[n].last_seq);
            if (!late[n]) {
                assert_as_expected(fields, &expected[n]);
            }
        }
    }
}

static void many_orders_are_all_kept_apart(void **state)
{
    enum { MANY = 5000 };
    static char ids[MANY][16];
    struct event *events = calloc(2 * MANY, sizeof *events);

    (void)state;
    for (int i = 0; i < 2 * MANY; i++) {
        snprintf(ids[i % MANY], sizeof ids[0], "%d", i % MANY + 1);
        events[i] = (struct event)EVENT_OF(
            i + 1, [IDENTITY_exchange] = "okx", [ORDER_order_id] = ids[i % MANY]);
    }
    fold_events(events, 2 * MANY, false);
    assert_int_equal(order_changes_count(changes), MANY);
    fold_events(events, MANY, false); /* again in the same memory */
    assert_int_equal(order_changes_count(changes), MANY);
    free(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_is_the_last_value_given),
        cmocka_unit_test(terminal_status_is_not_left),
        cmocka_unit_test(filled_quantity_does_not_fall),
        cmocka_unit_test(event_older_than_another_makes_its_order_late),
        cmocka_unit_test(events_of_the_same_time_go_by_seq_then_by_producer),
        cmocka_unit_test(same_event_twice_counts_once),
        cmocka_unit_test(everything_is_late_where_it_may_be_stored_already),
        cmocka_unit_test(order_with_two_client_ids_is_late),
        cmocka_unit_test(orders_differ_by_exchange_account_and_id),
        cmocka_unit_test(empty_account_is_the_same_as_none),
        cmocka_unit_test(symbol_counts_only_where_the_venue_numbers_by_symbol),
        cmocka_unit_test(order_known_by_client_id_alone_is_one_of_its_own),
        cmocka_unit_test(event_without_any_id_is_left_out),
        cmocka_unit_test(columns_are_as_many_as_are_written),
        cmocka_unit_test(random_histories_fold_as_the_reference_does),
        cmocka_unit_test(many_orders_are_all_kept_apart),
    };
    return cmocka_run_group_tests_name("order_changes", tests, begin, end);
}
