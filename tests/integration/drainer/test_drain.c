/* test_drain.c: drainers beginning, ending, dying and sharing: nothing is lost, nothing stored
 * twice, nothing left pending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture/story.h"

enum {
    BACKLOG = 20000,
    CLAIM_IDLE_MS = 60000, /* as it is by default */
};

/* Sharing as it is by default; a journal that holds a backlog. */
static int begin(void **state)
{
    story_begin(state);
    unsetenv("BLOTTER_REBALANCE_INTERVAL");
    setenv("BLOTTER_SLOTS", "32768", 1);
    setenv("BLOTTER_SLOT_BYTES", "256", 1);
    return 0;
}

static int64_t stored(void)
{
    return story_int("SELECT count(*) FROM blotter.order_events");
}

/* Orders 1 .. count, once each, and nothing else; all producers complete. */
static void assert_all_stored_once(int64_t count)
{
    assert_string_equal(
        story_table(
            "SELECT count(*), count(DISTINCT order_id), min(order_id::int), max(order_id::int) "
            "FROM blotter.order_events"),
        fixture_format("%" PRId64 " %" PRId64 " 1 %" PRId64, count, count, count));
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    story_assert_says(story_audit(0), "\ncomplete: ");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.audit WHERE state <> 'complete'"), 0);
}

static void assert_stops(struct fixture_program *drainer)
{
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, 6000), 0);
}

struct at_least {
    int64_t rows;
    const char *drainer;
};

static bool has_loaded(void *arg)
{
    const struct at_least *least = arg;
    return story_int("SELECT coalesce(sum(stored), 0) FROM blotter_internal.progress WHERE drainer "
                     "= '%s'",
                     least->drainer) >= least->rows;
}

static void await_loaded(const char *drainer, int64_t rows, int timeout_ms)
{
    if (!fixture_wait_until(has_loaded, &(struct at_least){rows, drainer}, timeout_ms)) {
        fail_msg("%s has not loaded %" PRId64 " rows within %d ms", drainer, rows, timeout_ms);
    }
}

/* One that loads a backlog in small steps, so that there is time to disturb it. */
static struct fixture_program *slow_drainer(const char *name)
{
    return story_start("drain", "--consumer", name, "--batch-rows", "100");
}

/* --- beginning and ending --- */

static void once_on_an_empty_redis_just_ends(void **state)
{
    (void)state;
    story_drain_once();
    assert_int_equal(fixture_redis_int(story_redis, "DBSIZE"), 0);
}

static void once_loads_all_that_is_there_and_ends(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        story_publish(0, fixture_format("exchange-%d", i), story_order_lines(1 + 500 * i, 500));
    }
    story_drain_once();
    assert_all_stored_once(1500);
    assert_int_equal(story_pending() + story_waiting(), 0);
}

/* A column of a user's own is filled in by the very transaction that stores the row. */
static void what_is_acknowledged_was_committed_to_disk_whatever_the_database_says(void **state)
{
    (void)state;
    story_sql("ALTER DATABASE blotter SET synchronous_commit = off");
    story_sql("ALTER TABLE blotter.order_events ADD COLUMN committed text DEFAULT "
              "current_setting('synchronous_commit')");
    story_publish(0, "okx", story_order_lines(1, 3));
    story_drain_once();
    assert_string_equal(
        story_table("SELECT committed, count(*) FROM blotter.order_events GROUP BY 1"), "on 3");
}

static void sigterm_under_load_leaves_nothing_pending(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, BACKLOG));
    struct fixture_program *drainer = slow_drainer("d1");
    await_loaded("d1", 500, STORY_TIMEOUT_MS);
    assert_stops(drainer);
    assert_int_equal(story_pending(), 0);
    assert_true(story_waiting() > 0); /* it was under load */
    assert_int_equal(stored() + 1, BACKLOG + 2 - story_waiting());
    assert_string_equal(fixture_redis_run(story_redis, "XINFO CONSUMERS blotter:okx drainers"), "");
    story_drain_once();
    assert_all_stored_once(BACKLOG);
}

static bool is_visible(void *server)
{
    PGresult *result = PQexec(server, "SELECT FROM blotter.order_events WHERE order_id = 'lone'");
    bool visible = PQntuples(result) == 1;
    PQclear(result);
    return visible;
}

/* One of some, behind the first, which makes the stream and the day: the machine may be busy with
 * something else. */
static void a_lone_record_is_visible_within_250_ms(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");
    PGconn *server = fixture_postgres_connect(story_postgres);
    int64_t took = INT64_MAX;
    for (int i = 0; i < 2 || (took > 250 && i < 20); i++) {
        story_add_order("blotter:okx", 7, i + 1, i, &(struct blotter_order){.order_id = "lone"});
        int64_t began = fixture_now_ms();
        assert_true(fixture_wait_until(is_visible, server, STORY_TIMEOUT_MS));
        took = fixture_now_ms() - began;
        story_await_drained();
        story_sql("UPDATE blotter.order_events SET order_id = 'seen'");
    }
    PQfinish(server);
    assert_in_range(took, 0, 250);
    assert_stops(drainer);
}

/* --- taking over, and sharing --- */

/* Counts the streams that the drainer of that name holds. */
#define HELD(name)                                                               \
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE " \
    "a.application_name = 'blotter drain " name "' AND "                         \
    "l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted"

static void a_drainer_that_is_killed_under_load_is_replaced_at_once(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, BACKLOG));
    struct fixture_program *first = slow_drainer("d1");
    await_loaded("d1", 100, STORY_TIMEOUT_MS);
    fixture_program_signal(first,
                           SIGSTOP); /* so that there is something left when the other has come */
    struct fixture_program *second = story_drainer("d2");
    assert_true(fixture_program_says(second, "found",
                                     STORY_TIMEOUT_MS)); /* it is there, and not in charge */
    fixture_program_signal(first, SIGCONT);
    await_loaded("d1", 500, STORY_TIMEOUT_MS);
    assert_int_equal(fixture_program_stop(first, SIGKILL, STORY_TIMEOUT_MS), 128 + SIGKILL);
    assert_true(stored() < BACKLOG);
    await_loaded("d2", 1, CLAIM_IDLE_MS / 2); /* nobody waits until it passes for stuck */
    story_await_drained();
    assert_all_stored_once(BACKLOG);
    assert_stops(second);
}

static void a_second_drainer_takes_half_of_the_streams_and_gives_them_back(void **state)
{
    (void)state;
    int64_t seq = 0;
    struct fixture_program *first = story_drainer("d1");
    for (int i = 0; i < 8; i++) {
        story_add_order(fixture_format("blotter:okx:lane-%d", i), 7, ++seq, 0,
                        &(struct blotter_order){.order_id = "1"});
    }
    story_await_int(8, HELD("d1"));
    struct fixture_program *second = story_drainer("d2");
    story_await_int(4, HELD("d2"));
    story_await_int(4, HELD("d1"));
    for (int i = 0; i < 8; i++) {
        story_add_order(fixture_format("blotter:okx:lane-%d", i), 7, ++seq, 0,
                        &(struct blotter_order){.order_id = "2"});
    }
    story_await_int(seq, "SELECT count(*) FROM blotter.order_events");
    assert_string_equal(
        story_table("SELECT sum(stored) FROM blotter_internal.progress WHERE drainer = 'd2'"), "4");
    assert_stops(second);
    story_await_int(8, HELD("d1"));
    story_await_drained();
    assert_stops(first);
}

/* --- what happens to Redis --- */

static bool stream_has(void *arg)
{
    return fixture_redis_int(story_redis, "XLEN blotter:okx") >= *(int64_t *)arg;
}

/* FLUSHALL takes records that were sent and not yet read: only the journal has them. */
static void flushall_under_load_ends_complete(void **state)
{
    (void)state;
    int64_t sent = 2001;
    struct story_feed feed = story_feed("okx", "committed");
    struct fixture_program *drainer = story_drainer("d1");
    story_feed_orders(&feed, 1000);
    story_await_int(1000, "SELECT count(*) FROM blotter.order_events");
    fixture_program_signal(drainer, SIGSTOP);
    story_feed_orders(&feed, 1000);
    assert_true(fixture_wait_until(stream_has, &sent, STORY_TIMEOUT_MS));
    fixture_redis_run(story_redis, "FLUSHALL");
    fixture_program_signal(drainer, SIGCONT);
    story_feed_orders(&feed, 1000);
    story_feed_end(&feed, 0);
    assert_in_range(stored(), 3000, 3000);
    story_await_drained();
    assert_stops(drainer);
    assert_all_stored_once(3000);
}

static void from_loads_the_kept_tail_again_and_nothing_twice(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 300));
    story_drain_once();
    const char *last = fixture_redis_run(story_redis, "XREVRANGE blotter:okx + - COUNT 1");
    const char *behind = fixture_format("%" PRId64, (int64_t)strtoll(last, NULL, 10) + 1);
    story_sql("DELETE FROM blotter.order_events WHERE order_id::int BETWEEN 101 AND 200");
    story_audit(1);
    story_run(0, "drain", "--once", "--from", behind); /* there is nothing from then on */
    assert_int_equal(stored(), 200);
    story_run(0, "drain", "--once", "--from", "2015-01-01T00:00:00Z");
    assert_all_stored_once(300);
    story_run(0, "drain", "--once", "--from", "0");
    assert_all_stored_once(300);
    story_run(2, "drain", "--once", "--from", "yesterday");
}

/* More than is claimed at a time. */
static void what_is_pending_under_another_name_is_claimed(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 3000));
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx drainers 0");
    fixture_redis_run(story_redis,
                      "XREADGROUP GROUP drainers stranger COUNT 2500 STREAMS blotter:okx >");
    assert_int_equal(story_pending(), 2500);
    story_drain_once();
    assert_int_equal(story_pending(), 0);
    assert_all_stored_once(3000);
}

static void what_another_reads_while_a_drainer_runs_is_claimed(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");
    story_publish(0, "okx", story_order_lines(1, 10));
    story_await_int(10, "SELECT count(*) FROM blotter.order_events");
    story_await_drained();
    fixture_program_signal(drainer, SIGSTOP);
    story_publish(0, "okx", story_order_lines(11, 100));
    fixture_redis_run(story_redis, "XREADGROUP GROUP drainers stranger STREAMS blotter:okx >");
    assert_true(story_pending() > 100);
    fixture_program_signal(drainer, SIGCONT);
    story_await_drained();
    assert_all_stored_once(110);
    assert_stops(drainer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(once_on_an_empty_redis_just_ends),
        TEST(once_loads_all_that_is_there_and_ends),
        TEST(what_is_acknowledged_was_committed_to_disk_whatever_the_database_says),
        TEST(sigterm_under_load_leaves_nothing_pending),
        TEST(a_lone_record_is_visible_within_250_ms),
        TEST(a_drainer_that_is_killed_under_load_is_replaced_at_once),
        TEST(a_second_drainer_takes_half_of_the_streams_and_gives_them_back),
        TEST(flushall_under_load_ends_complete),
        TEST(from_loads_the_kept_tail_again_and_nothing_twice),
        TEST(what_is_pending_under_another_name_is_claimed),
        TEST(what_another_reads_while_a_drainer_runs_is_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
