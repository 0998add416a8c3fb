/* test_drainer_stuck.c: a drainer that is alive and does nothing (SIGSTOP) is cut off from
 * PostgreSQL by another, which takes its streams over; continued, it stores nothing twice and takes
 * part again. And how long a take-over takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/redis/streams.h"
#include "tests/fixture/drainers.h"

/* Stops the holder of the stream when these bytes are on their way, and continues it once another
 * has loaded for it: one that comes later, as it would take a holder that is merely slow for stuck.
 * The line to PostgreSQL stays as it is meanwhile: what the holder had sent last may arrive, or
 * not. */
static void stopped_at(bool on_redis, enum fixture_direction direction, const char *bytes,
                       enum fixture_cut when, bool arrives)
{
    struct fixture_proxy *redis = fixture_proxy_redis(story_redis, false);
    struct fixture_proxy *postgres = fixture_proxy_postgres(story_postgres, false);
    struct fixture_proxy *line = on_redis ? redis : postgres;
    struct load *load = load_some();
    struct fixture_program *first = drainer_by(redis, postgres, "d1");
    drainer_await_loaded("d1", 100);
    drainer_stall_at(line, direction, bytes, when);
    fixture_program_signal(first, SIGSTOP);
    if (arrives) {
        fixture_proxy_stall(line, 0);
    }
    struct fixture_program *second = drainer_by(NULL, NULL, "d2", "--claim-idle", "1s");
    drainer_await_says(second, "the session of a stuck drainer was terminated");
    drainer_await_loaded("d2", 500);
    fixture_proxy_stall(line, 0);
    fixture_program_signal(first, SIGCONT);
    drainer_await_says(first, "given up");
    drainer_stop(second);
    drainers_await_more(100); /* by the first, which is a member again */
    load_finish(load);
    drainer_stop(first);
}

static void stopped_in_a_copy_is_cut_off_and_comes_back(void **state)
{
    (void)state;
    stopped_at(false, FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_AFTER, false);
}

static void stopped_before_it_knows_of_its_commit_is_cut_off_and_comes_back(void **state)
{
    (void)state;
    stopped_at(false, FIXTURE_TO_CLIENT, "COMMIT", FIXTURE_STALL_BEFORE, false);
}

static void stopped_while_its_last_batch_is_on_the_way_is_cut_off_and_comes_back(void **state)
{
    (void)state;
    stopped_at(false, FIXTURE_TO_SERVER, "synchronous_commit = on; COPY", FIXTURE_STALL_BEFORE,
               true);
}

/* Its acknowledgements arrive when all of it has been claimed, and acknowledged by another. */
static void stopped_before_it_has_acknowledged_is_cut_off_and_comes_back(void **state)
{
    (void)state;
    stopped_at(true, FIXTURE_TO_SERVER, "XACK", FIXTURE_STALL_BEFORE, false);
}

/* Another has the lease of the first, which has not heard of it, as its PostgreSQL says nothing. */
static void lose_lease(void (*meet_redis)(struct fixture_proxy *redis,
                                          struct fixture_program *first),
                       bool stalls)
{
    struct fixture_proxy *redis = fixture_proxy_redis(story_redis, false);
    struct fixture_proxy *postgres = fixture_proxy_postgres(story_postgres, false);
    struct load *load = load_some();
    struct fixture_program *first = drainer_by(redis, postgres, "d1"), *second;

    drainer_await_loaded("d1", 100);
    second = drainer_by(NULL, NULL, "d2");
    drainer_await_says(second, "found");
    if (stalls) {
        drainer_stall_at(redis, FIXTURE_TO_SERVER, "XACK", FIXTURE_STALL_BEFORE);
    }
    fixture_proxy_swallow(postgres, FIXTURE_BOTH);
    assert_int_equal(story_int("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                               "WHERE application_name = 'blotter drain d1'"),
                     1);
    drainer_await_loaded("d2", 100);
    meet_redis(redis, first);
    drainers_await_more(500);
    assert_null(strstr(fixture_program_stderr(second), "claimed in Redis by another drainer"));
    fixture_proxy_swallow(postgres, 0);
    drainer_await_says(first, "given up");
    load_finish(load);
    drainer_stop(second);
    drainer_stop(first);
}

static void go_on(struct fixture_proxy *redis, struct fixture_program *first)
{
    fixture_proxy_stall(redis, 0);
    drainer_await_says(first, "claimed in Redis by another drainer");
}

static void connect_again(struct fixture_proxy *redis, struct fixture_program *first)
{
    assert_true(fixture_proxy_cut(redis) > 0);
    drainer_await_says(first, "Redis is not connected");
    drainer_await_says(first, "over: Redis is not connected");
}

static void one_that_has_lost_its_lease_claims_nothing_in_redis(void **state)
{
    (void)state;
    lose_lease(go_on, true); /* its acknowledgement is answered now */
}

static void nor_does_it_on_a_new_connection(void **state)
{
    (void)state;
    lose_lease(connect_again, false);
}

/* The number of a lease is made of the stream's random id, which is given here. */
static PGconn *hold_lease_of(const char *name)
{
    static const char random_id[] = "0123456789abcdef0123456789abcdef";
    struct streams streams = {0};
    struct stream *stream = streams_add(&streams, name, strlen(name));
    PGconn *holder = fixture_postgres_connect(story_postgres);

    fixture_redis_run(story_redis, "SET blotter-id:{%s} %s", name, random_id);
    strcpy(stream->random_id, random_id);
    PGresult *result = PQexec(holder, fixture_format("SELECT pg_advisory_lock(%lld)",
                                                     (long long)stream_lease_key(stream)));
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    streams_release(&streams);
    return holder;
}

/* The holder is the test, which reads and, as where PostgreSQL is slow, acknowledges nothing; until
 * it stops reading. */
static void one_that_makes_progress_is_left_alone_however_slow_it_is(void **state)
{
    enum { CLAIM_IDLE_MS = 2000, STEP_MS = 100 };
    (void)state;
    for (int i = 1; i <= 100; i++) {
        story_add_order("blotter:okx", 7, i, i, &(struct blotter_order){.order_id = "1"});
    }
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx drainers 0");
    PGconn *holder = hold_lease_of("blotter:okx");
    struct fixture_program *other =
        drainer_by(NULL, NULL, "d2", "--claim-idle", fixture_format("%dms", CLAIM_IDLE_MS));
    drainer_await_says(other, "found");
    for (int i = 0; i < 2 * CLAIM_IDLE_MS / STEP_MS; i++) {
        fixture_redis_run(story_redis,
                          "XREADGROUP GROUP drainers d1 COUNT 1 STREAMS blotter:okx >");
        fixture_sleep_ms(STEP_MS);
    }
    assert_null(strstr(fixture_program_stderr(other), "made no progress"));
    drainer_await_says(other,
                       "its drainer has made no progress for 2 s: its session is terminated");
    drainer_await_loaded("d2", 100);
    PQfinish(holder);
    drainer_stop(other);
}

static bool one_is_pending(void *arg)
{
    (void)arg;
    return story_pending() == 1;
}

static void add_order(const char *stream, int64_t seq)
{
    story_add_order(stream, 7, seq, seq, &(struct blotter_order){.order_id = "1"});
}

/* The session is lost between a read and the load of what was read: by then another has the lease.
 */
static void what_was_read_under_a_lost_lease_is_not_loaded(void **state)
{
    (void)state;
    struct fixture_proxy *line = fixture_proxy_postgres(story_postgres, false);
    struct fixture_proxy *other_line = fixture_proxy_postgres(story_postgres, false);
    struct fixture_program *first = drainer_by(NULL, line, "d1");
    add_order("blotter:okx", 1);
    drainer_await_loaded("d1", 1);
    drainer_stall_at(line, FIXTURE_TO_CLIENT, "members", FIXTURE_STALL_BEFORE); /* a lease run */
    add_order("blotter:okx", 2);
    assert_true(fixture_wait_until(one_is_pending, NULL, STORY_TIMEOUT_MS));

    struct fixture_program *second = drainer_by(NULL, other_line, "d2");
    drainer_await_says(second, "object=blotter:okx msg=\"found\"");
    fixture_proxy_cut_at(other_line, FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_BEFORE);
    fixture_proxy_close(line);
    fixture_proxy_stall(line, 0);
    drainer_await_says(second, "object=blotter:okx msg=\"taken\"");
    fixture_proxy_open(line);
    story_add_order("blotter:binance", 8, 1, 1, &(struct blotter_order){.order_id = "1"});
    story_await_int(1, "SELECT sum(stored) FROM blotter_internal.progress WHERE drainer = 'd1' AND "
                       "exchange = 'binance'"); /* so the first has a session and leases again */
    assert_int_equal(story_int("SELECT sum(stored) FROM blotter_internal.progress WHERE drainer = "
                               "'d1' AND exchange = 'okx'"),
                     1);

    fixture_proxy_cut_at(other_line, FIXTURE_TO_SERVER, NULL, FIXTURE_STALL_BEFORE);
    fixture_proxy_stall(other_line, 0);
    story_await_int(2, "SELECT count(*) FROM blotter.order_events WHERE exchange = 'okx'");
    story_await_drained();
    drainer_stop(first);
    drainer_stop(second);
}

enum { DEFAULT_CLAIM_IDLE_MS = 60000 };

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* From kill -9 of the one that loads to the first row of another: a fraction of a second where the
 * machine has nothing else to do, some seconds where it is busy; but nobody waits until it passes
 * for stuck. */
static void a_killed_one_is_replaced_at_once(void **state)
{
    enum { ROUNDS = 5 };
    int64_t took_ms[ROUNDS];
    (void)state;
    unsetenv("BLOTTER_REBALANCE_INTERVAL"); /* as it is by default */
    struct load *load = load_some();
    struct fixture_program *holder = drainer_by(NULL, NULL, "d0");
    drainer_await_loaded("d0", 10);
    for (int i = 0; i < ROUNDS; i++) {
        const char *name = fixture_format("d%d", i + 1);
        struct fixture_program *next = drainer_by(NULL, NULL, name);
        drainer_await_says(next, "found");
        int64_t began = fixture_now_ms();
        drainer_kill9(holder);
        drainer_await_loaded(name, 1);
        took_ms[i] = fixture_now_ms() - began;
        holder = next;
    }
    setenv("BLOTTER_REBALANCE_INTERVAL", "50ms", 1);
    qsort(took_ms, ROUNDS, sizeof took_ms[0], compare);
    printf("taken over within %lld ms to %lld ms, median %lld ms\n", (long long)took_ms[0],
           (long long)took_ms[ROUNDS - 1], (long long)took_ms[ROUNDS / 2]);
    assert_in_range(took_ms[ROUNDS / 2], 0, DEFAULT_CLAIM_IDLE_MS / 2);
    load_finish(load);
    drainer_stop(holder);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(stopped_in_a_copy_is_cut_off_and_comes_back),
        TEST(stopped_before_it_knows_of_its_commit_is_cut_off_and_comes_back),
        TEST(stopped_while_its_last_batch_is_on_the_way_is_cut_off_and_comes_back),
        TEST(stopped_before_it_has_acknowledged_is_cut_off_and_comes_back),
        TEST(one_that_has_lost_its_lease_claims_nothing_in_redis),
        TEST(nor_does_it_on_a_new_connection),
        TEST(one_that_makes_progress_is_left_alone_however_slow_it_is),
        TEST(what_was_read_under_a_lost_lease_is_not_loaded),
        TEST(a_killed_one_is_replaced_at_once),
    };
    return cmocka_run_group_tests_name("drainer_stuck", tests, NULL, NULL);
}
