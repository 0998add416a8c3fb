/* test_postgres_locks.c: somebody holds locks that the drainer needs: on a table, on rows of
 * orders, or in an order that ends in a deadlock. Nothing is rejected, and the drainer goes on by
 * itself when they are free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture/drainers.h"

#define WAITING                                                                                    \
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'blotter drain d1' AND state " \
    "= 'active' "                                                                                  \
    "AND wait_event_type = 'Lock'"

static void finish(struct load *load, struct fixture_program *drainer)
{
    drainer_finish(drainer, load, 50);
    assert_null(strstr(fixture_program_stderr(drainer), "record rejected"));
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
}

static PGconn *holder_of(const char *sql)
{
    PGconn *holder = fixture_postgres_connect(story_postgres);
    PGresult *result = PQexec(holder, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fixture_fail("%s\n%s", sql, PQerrorMessage(holder));
    }
    PQclear(result);
    return holder;
}

static const char *two_orders(const char *status)
{
    return fixture_format(
        "{\"order_id\": \"A\", \"status\": \"%s\"}\n{\"order_id\": \"B\", \"status\": \"%s\"}\n",
        status, status);
}

/* Two open orders change while the locks are held: those of the load may be over when their rows
 * are locked. Held long enough that what the drainer does beside waiting is seen: loading each
 * exchange by itself, and coming back. */
static void locked_out_by(const char *sql)
{
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--lock-timeout", "100ms");
    drainer_await_loaded("d1", 100);
    story_publish(0, "hand", two_orders("open"));
    story_await_int(2, "SELECT count(*) FROM blotter.orders WHERE exchange = 'hand'");
    PGconn *holder = holder_of(sql);
    story_publish(0, "hand", two_orders("canceled"));
    drainer_await_says(drainer, "SQLSTATE 55P03: its records wait");
    struct drainer_calm since = drainer_calm(drainer);
    fixture_sleep_ms(1500);
    drainer_was_calm(drainer, since);
    assert_true(story_pending() > 0);
    PQfinish(holder);
    finish(load, drainer);
}

static void a_locked_table_is_waited_for(void **state)
{
    (void)state;
    locked_out_by("BEGIN; LOCK TABLE blotter.order_events IN ACCESS EXCLUSIVE MODE");
}

static void locked_rows_of_orders_are_waited_for(void **state)
{
    (void)state;
    locked_out_by("BEGIN; SELECT FROM blotter.orders FOR UPDATE");
}

static const char *two_changes(int from, int to)
{
    return fixture_format("{\"order_id\": \"A\", \"status\": \"open\", \"filled_quantity\": "
                          "\"%d\"}\n{\"order_id\": \"A\", \"status\": \"open\", "
                          "\"filled_quantity\": \"%d\"}\n",
                          from, to);
}

static bool nothing_is_pending(void *stream)
{
    return fixture_redis_int(story_redis, "EVAL %s 1 %s",
                             "return redis.call('XPENDING', KEYS[1], 'drainers')[1]",
                             (const char *)stream) == 0;
}

/* Somebody locks an order of one exchange, whose records wait in the same batches as those of
 * another. Of the other's, all are stored and acknowledged meanwhile; of its own, none before an
 * earlier one. */
static void an_exchange_that_waits_for_a_lock_holds_up_no_other(void **state)
{
    (void)state;
    enum { ROUNDS = 8 };
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--lock-timeout", "100ms");
    story_publish(0, "held", two_changes(1, 2));
    story_publish(0, "free", two_changes(1, 2));
    story_await_int(2, "SELECT count(*) FROM blotter.orders");
    PGconn *holder =
        holder_of("BEGIN; SELECT FROM blotter.orders WHERE exchange = 'held' FOR UPDATE");
    for (int round = 1; round <= ROUNDS; round++) {
        fixture_program_signal(drainer, SIGSTOP); /* so that both come in one batch */
        story_publish(0, "held", two_changes(2 * round + 1, 2 * round + 2));
        story_publish(0, "free", two_changes(2 * round + 1, 2 * round + 2));
        fixture_program_signal(drainer, SIGCONT);
        story_await_int(2 * round + 2,
                        "SELECT count(*) FROM blotter.order_events WHERE exchange = 'free'");
        assert_true(fixture_wait_until(nothing_is_pending, "blotter:free", STORY_TIMEOUT_MS));
        assert_int_equal(
            story_int("SELECT count(*) FROM blotter.order_events WHERE exchange = 'held'"), 2);
    }
    assert_null(strstr(fixture_program_stderr(drainer), "nothing is acknowledged"));
    assert_false(nothing_is_pending("blotter:held"));
    drainer_await_says(drainer, "its records wait for a lock that another session holds");
    PQfinish(holder);
    story_await_int(2 * ROUNDS + 2,
                    "SELECT count(*) FROM blotter.order_events WHERE exchange = 'held'");
    assert_int_equal(
        story_int("SELECT count(*) FROM (SELECT xmin::text::bigint < max(xmin::text::bigint) OVER "
                  "(PARTITION BY exchange ORDER BY recorded_at) AS overtaken FROM "
                  "blotter.order_events) o WHERE overtaken"),
        0);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    story_await_drained();
    drainer_stop(drainer);
    story_audit(0);
}

static void publish_to(const char *const *exchanges, size_t count, const char *lines)
{
    for (size_t i = 0; i < count; i++) {
        story_publish(0, exchanges[i], lines);
    }
}

/* So many in a row cannot be loaded that it might be a lock on all. */
static void many_exchanges_that_wait_hold_up_no_other(void **state)
{
    (void)state;
    static const char *const held[] = {"a", "b", "c", "d", "e"};
    enum { HELD = sizeof held / sizeof held[0] };
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--lock-timeout", "100ms");
    story_publish(0, "free", two_changes(1, 2));
    publish_to(held, HELD, two_changes(1, 2));
    story_await_int(HELD + 1, "SELECT count(*) FROM blotter.orders");
    PGconn *holder =
        holder_of("BEGIN; SELECT FROM blotter.orders WHERE exchange <> 'free' FOR UPDATE");
    fixture_program_signal(drainer, SIGSTOP); /* so that all come in one batch */
    story_publish(0, "free", two_changes(3, 4));
    publish_to(held, HELD, two_changes(3, 4));
    fixture_program_signal(drainer, SIGCONT);
    story_await_int(4, "SELECT count(*) FROM blotter.order_events WHERE exchange = 'free'");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 2 * HELD + 4);
    PQfinish(holder);
    story_await_int(4 * (HELD + 1), "SELECT count(*) FROM blotter.order_events");
    story_await_drained();
    drainer_stop(drainer);
    story_audit(0);
}

static int lock_timeouts(void)
{
    int count = 0;
    for (const char *at = fixture_postgres_log(story_postgres);
         (at = strstr(at, "canceling statement due to lock timeout")) != NULL; at++) {
        count++;
    }
    return count;
}

/* Once it is known that they wait, the others' records come first, and do not wait for all of them.
 */
static void exchanges_that_wait_are_tried_last(void **state)
{
    (void)state;
    static const char *const held[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    enum { HELD = sizeof held / sizeof held[0] };
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--lock-timeout", "100ms");
    story_publish(0, "z", two_changes(1, 2));
    publish_to(held, HELD, two_changes(1, 2));
    story_await_int(HELD + 1, "SELECT count(*) FROM blotter.orders");
    PGconn *holder =
        holder_of("BEGIN; SELECT FROM blotter.orders WHERE exchange <> 'z' FOR UPDATE");
    for (int i = 0; i < HELD; i++) {
        story_publish(0, held[i], two_changes(3, 4));
        drainer_await_says(drainer, fixture_format("object=blotter:%s msg=\"canceling", held[i]));
    }
    fixture_program_signal(drainer, SIGSTOP); /* so that all come in one batch */
    publish_to(held, HELD, two_changes(5, 6));
    story_publish(0, "z", two_changes(3, 4));
    int before = lock_timeouts();
    fixture_program_signal(drainer, SIGCONT);
    story_await_int(4, "SELECT count(*) FROM blotter.order_events WHERE exchange = 'z'");
    assert_true(lock_timeouts() - before < HELD);
    PQfinish(holder);
    story_await_int(6 * HELD + 4, "SELECT count(*) FROM blotter.order_events");
    story_await_drained();
    drainer_stop(drainer);
    story_audit(0);
}

/* A change of an order in each of some streams; of exchange "h-c" the order is one that is refused.
 */
static void publish_around(int number, const char *refused)
{
    static const char *const exchanges[] = {"h", "h-a", "h-b", "h-d", "i", "j"};
    const char *lines = fixture_format(
        "{\"order_id\": \"A\", \"status\": \"open\", \"filled_quantity\": \"%d\"}\n", number);

    publish_to(exchanges, sizeof exchanges / sizeof exchanges[0], lines);
    story_publish(0, "h-c", fixture_format("{\"order_id\": \"%s\"}\n", refused));
    story_run_program(0, STORY_ARGV("publish", "--exchange", "h", "--lane", "lane"),
                      &(struct fixture_program_options){.input = lines});
}

/* A batch, in the order of the streams' names, is split at a record that PostgreSQL refuses; both
 * parts begin with a lane of the exchange that waits. */
static void what_stands_behind_an_exchange_that_waits_is_loaded(void **state)
{
    enum { STREAMS = 8 };
    (void)state;
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--lock-timeout", "100ms");
    publish_around(1, "good");
    story_await_int(STREAMS, "SELECT count(*) FROM blotter.order_events");
    story_sql("ALTER TABLE blotter.order_events ADD CONSTRAINT not_bad CHECK (order_id <> 'bad')");
    PGconn *holder = holder_of("BEGIN; SELECT FROM blotter.orders WHERE exchange = 'h' FOR UPDATE");
    fixture_program_signal(drainer, SIGSTOP); /* so that all come in one batch */
    publish_around(2, "bad");
    fixture_program_signal(drainer, SIGCONT);
    drainer_await_says(drainer, "its records wait");
    PQfinish(holder);
    story_await_int(2 * STREAMS - 1, "SELECT count(*) FROM blotter.order_events");
    story_await_int(1, "SELECT count(*) FROM blotter.rejects");
    story_await_drained();
    drainer_stop(drainer);
    story_audit(0);
    story_sql("ALTER TABLE blotter.order_events DROP CONSTRAINT not_bad");
}

/* The exchange that waits has a record that PostgreSQL refuses: the batch is split there before
 * anything waits, and the first part is all of that exchange's. */
static void what_stands_behind_a_part_that_waits_is_loaded(void **state)
{
    static const char *const exchanges[] = {"a", "b", "c"};
    enum { EXCHANGES = sizeof exchanges / sizeof exchanges[0] };
    (void)state;
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--lock-timeout", "100ms");
    publish_to(exchanges, EXCHANGES, two_changes(1, 2));
    story_await_int(2 * EXCHANGES, "SELECT count(*) FROM blotter.order_events");
    story_sql("ALTER TABLE blotter.order_events ADD CONSTRAINT not_bad CHECK (order_id <> 'bad')");
    PGconn *holder = holder_of("BEGIN; SELECT FROM blotter.orders WHERE exchange = 'a' FOR UPDATE");
    fixture_program_signal(drainer, SIGSTOP); /* so that all come in one batch */
    story_publish(0, "a", two_changes(3, 4));
    story_publish(0, "a", "{\"order_id\": \"bad\"}\n");
    publish_to(exchanges, EXCHANGES, two_changes(5, 6));
    fixture_program_signal(drainer, SIGCONT);
    story_await_int(2 * 2 * (EXCHANGES - 1),
                    "SELECT count(*) FROM blotter.order_events WHERE exchange <> 'a'");
    PQfinish(holder);
    story_await_int(2 * 2 * EXCHANGES + 2, "SELECT count(*) FROM blotter.order_events");
    story_await_int(1, "SELECT count(*) FROM blotter.rejects");
    story_await_drained();
    drainer_stop(drainer);
    story_audit(0);
    story_sql("ALTER TABLE blotter.order_events DROP CONSTRAINT not_bad");
}

static const char *large_changes(int count)
{
    enum { LINE_BYTES = 1024 };
    static const char line[] = "{\"order_id\": \"A\", \"status\": \"open\", \"filled_quantity\": "
                               "\"%d\", \"extra\": {\"x\": \"%0500d\"}}\n";
    char *text = calloc((size_t)count, LINE_BYTES);
    for (int i = 0, length = 0; i < count; i++) {
        length += snprintf(text + length, LINE_BYTES, line, i + 1, i);
    }
    const char *lines = fixture_format("%s", text);
    free(text);
    return lines;
}

/* While its records wait, the batch that is gathered behind them is full of its records, too. */
static void an_exchange_that_waits_leaves_room_for_others(void **state)
{
    (void)state;
    enum { LARGE = 400 };
    struct fixture_program *drainer =
        drainer_by(NULL, NULL, "d1", "--lock-timeout", "300ms", "--batch-bytes", "64KiB");
    story_publish(0, "held", large_changes(LARGE)); /* from then on it reads as many as it wants */
    story_await_int(LARGE, "SELECT count(*) FROM blotter.order_events");
    PGconn *holder = holder_of("BEGIN; SELECT FROM blotter.orders FOR UPDATE");
    fixture_program_signal(drainer, SIGSTOP); /* so that both batches are full */
    story_publish(0, "held", large_changes(LARGE));
    fixture_program_signal(drainer, SIGCONT);
    drainer_await_says(drainer, "its records wait, and are read again");
    story_publish(0, "free", two_changes(1, 2));
    story_await_int(2, "SELECT count(*) FROM blotter.order_events WHERE exchange = 'free'");
    PQfinish(holder);
    story_await_int(2 * LARGE, "SELECT count(*) FROM blotter.order_events WHERE exchange = 'held'");
    story_await_drained();
    drainer_stop(drainer);
    story_audit(0);
}

/* A drainer's books have a session of their own, which is to be ended by nobody. */
static void books_are_not_named_as_who_holds_a_lock(void **state)
{
    (void)state;
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--lock-timeout", "100ms");
    story_publish(0, "held", two_changes(1, 2));
    story_await_int(1, "SELECT count(*) FROM blotter.orders");
    PGconn *holder = holder_of("BEGIN; SELECT FROM blotter.orders FOR UPDATE");
    PGconn *books = holder_of("BEGIN; SET application_name = 'blotter books d2'; "
                              "SELECT pg_advisory_xact_lock(blotter_internal.lock_class(), 77)");
    story_publish(0, "held", two_changes(3, 4));
    drainer_await_says(drainer, "its records wait for a lock that another session holds");
    PQfinish(holder);
    story_await_int(4, "SELECT count(*) FROM blotter.order_events");
    PQfinish(books);
    story_await_drained();
    drainer_stop(drainer);
    assert_null(strstr(fixture_program_stderr(drainer), "of a session that is no drainer's"));
}

static void locked_progress_is_waited_for(void **state)
{
    (void)state;
    locked_out_by("BEGIN; LOCK TABLE blotter_internal.progress IN EXCLUSIVE MODE");
}

/* The holder has B and wants A; the drainer, in the order of the key, has A and wants B. It is the
 * drainer that gives way, as the holder looks for deadlocks later. */
static void a_deadlock_is_got_over(void **state)
{
    (void)state;
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    story_publish(0, "hand", two_orders("open"));
    story_await_int(2, "SELECT count(*) FROM blotter.orders WHERE exchange = 'hand'");
    PGconn *holder = holder_of("BEGIN; SET deadlock_timeout = '60s'; SELECT FROM blotter.orders "
                               "WHERE order_id = 'B' FOR UPDATE");
    fixture_program_signal(drainer, SIGSTOP); /* so that both come in one batch */
    story_publish(0, "hand", two_orders("canceled"));
    fixture_program_signal(drainer, SIGCONT);
    story_await_int(1, WAITING);
    PGresult *result = PQexec(holder, "SELECT FROM blotter.orders WHERE order_id = 'A' FOR UPDATE");
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(holder);
    drainer_await_says(drainer, "SQLSTATE 40P01: nothing is acknowledged, it will be read again\"");
    story_await_int(
        2, "SELECT count(*) FROM blotter.orders WHERE exchange = 'hand' AND status = 'canceled'");
    finish(load, drainer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_locked_table_is_waited_for),
        TEST(locked_rows_of_orders_are_waited_for),
        TEST(an_exchange_that_waits_for_a_lock_holds_up_no_other),
        TEST(many_exchanges_that_wait_hold_up_no_other),
        TEST(exchanges_that_wait_are_tried_last),
        TEST(what_stands_behind_an_exchange_that_waits_is_loaded),
        TEST(what_stands_behind_a_part_that_waits_is_loaded),
        TEST(an_exchange_that_waits_leaves_room_for_others),
        TEST(books_are_not_named_as_who_holds_a_lock),
        TEST(locked_progress_is_waited_for),
        TEST(a_deadlock_is_got_over),
    };
    return cmocka_run_group_tests_name("postgres_locks", tests, NULL, NULL);
}
