/* test_wait_and_close.c: who waits for a record, and who closes a producer, while Redis or
 * PostgreSQL is away: waiting ends in time, and what could not be sent is said, stays in the
 * journal, and is sent by the next producer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fixture/load.h"

enum { PRODUCERS = 3, WAIT_MS = 300, LATE_MS = 5000 /* on a busy machine */ };

static void assert_times_out(struct load *load, enum blotter_stage stage)
{
    int64_t began = fixture_now_ms(), last = load_stats(load, 0).accepted;
    assert_int_equal(blotter_wait(load_producer(load, 0), last, stage, WAIT_MS), BLOTTER_TIMEOUT);
    assert_in_range(fixture_now_ms() - began, WAIT_MS, WAIT_MS + LATE_MS);
    assert_int_equal(blotter_wait(load_producer(load, 0), last, stage, 0), BLOTTER_TIMEOUT);
    assert_int_equal(blotter_flush(load_producer(load, 0), stage, 1), BLOTTER_TIMEOUT);
}

struct waiter {
    pthread_t thread;
    blotter_producer *producer;
    int64_t seq;
    enum blotter_stage stage;
    int status;
    _Atomic pid_t tid;
};

static void *wait_for_ever(void *arg)
{
    struct waiter *waiter = arg;
    atomic_store(&waiter->tid, gettid());
    waiter->status = blotter_wait(waiter->producer, waiter->seq, waiter->stage, -1);
    return NULL;
}

static bool sleeps(void *arg)
{
    const struct waiter *waiter = arg;
    pid_t tid = atomic_load(&waiter->tid);
    return tid != 0 &&
           strstr(fixture_read_file(fixture_format("/proc/self/task/%d/stat", (int)tid)), ") S ") !=
               NULL;
}

/* It waits when this returns. */
static void start_waiter(struct waiter *waiter, struct load *load, enum blotter_stage stage)
{
    *waiter = (struct waiter){
        .producer = load_producer(load, 0), .seq = load_stats(load, 0).accepted, .stage = stage};
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait_for_ever, waiter), 0);
    assert_true(fixture_wait_until(sleeps, waiter, STORY_TIMEOUT_MS));
}

static int end_of(struct waiter *waiter)
{
    pthread_join(waiter->thread, NULL);
    return waiter->status;
}

static struct load *start(void)
{
    struct load *load =
        load_start(&(struct load_options){.producers = PRODUCERS, .per_second = LOAD_PER_SECOND});
    load_await_accepted(load, 300);
    load_await_stage(load, BLOTTER_COMMITTED);
    return load;
}

static void waiting_ends_in_time_whoever_is_away(void **state)
{
    (void)state;
    struct waiter for_sent, for_committed;
    story_drainer("d1");
    struct load *load = start();

    fixture_postgres_pause(story_postgres);
    load_await_accepted(load, 100);
    assert_int_equal(blotter_flush(load_producer(load, 0), BLOTTER_SENT, STORY_TIMEOUT_MS),
                     BLOTTER_OK);
    assert_times_out(load, BLOTTER_COMMITTED);
    start_waiter(&for_committed, load, BLOTTER_COMMITTED);
    fixture_postgres_resume(story_postgres);
    assert_int_equal(end_of(&for_committed), BLOTTER_OK);

    fixture_redis_kill9(story_redis);
    load_await_accepted(load, 100);
    assert_times_out(load, BLOTTER_SENT);
    assert_times_out(load, BLOTTER_COMMITTED);
    start_waiter(&for_sent, load, BLOTTER_SENT);
    start_waiter(&for_committed, load, BLOTTER_COMMITTED);
    fixture_redis_start_again(story_redis);
    assert_int_equal(end_of(&for_sent), BLOTTER_OK);
    assert_int_equal(end_of(&for_committed), BLOTTER_OK);
    load_finish(load);
}

static void close_says_how_many_stay_and_the_next_producer_sends_them(void **state)
{
    (void)state;
    story_drainer("d1");
    struct load *load = start();
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    fixture_redis_kill9(story_redis);
    load_resume(load);
    load_await_accepted(load, 200 * PRODUCERS);
    load_stop(load);
    struct waiter waiter;
    start_waiter(&waiter, load, BLOTTER_SENT);
    for (int i = 0; i < PRODUCERS; i++) {
        struct blotter_stats stats = load_stats(load, i);
        int64_t began = fixture_now_ms(), unsent = load_close(load, i, i * WAIT_MS);
        assert_in_range(fixture_now_ms() - began, i * WAIT_MS, i * WAIT_MS + LATE_MS);
        assert_in_range(unsent, stats.accepted - stats.sent + 1,
                        stats.accepted - stats.sent + 2); /* `closed`, a heartbeat */
    }
    assert_int_equal(end_of(&waiter), BLOTTER_CLOSED);
    fixture_redis_start_again(story_redis);
    for (int i = 0; i < PRODUCERS; i++) {
        load_reopen(load, i);
    }
    load_await_accepted(load, 100);
    load_finish(load);
}

/* Time enough: a producer that is closed while Redis is away for a moment sends all of it. */
static void close_sends_what_it_can(void **state)
{
    (void)state;
    story_drainer("d1");
    struct load *load = start();
    fixture_redis_pause(story_redis);
    load_await_accepted(load, 100);
    load_stop(load);
    fixture_redis_resume(story_redis);
    for (int i = 0; i < PRODUCERS; i++) {
        assert_int_equal(load_close(load, i, i == 0 ? -1 : STORY_TIMEOUT_MS), 0);
    }
    load_finish(load);
}

/* In a child, as closing waits here. */
static pid_t resume_redis_later(int ms)
{
    pid_t redis = fixture_redis_pid(story_redis), child = fork();
    if (child == 0) {
        usleep((useconds_t)ms * 1000);
        kill(redis, SIGCONT);
        _exit(0);
    }
    return child;
}

/* Until nothing is let go any more: what was seen to wait in Redis counts for a quarter of a
 * second. */
static bool stays_full(void *arg)
{
    struct load *load = arg;
    int64_t accepted = load_accepted(load);
    fixture_sleep_ms(400);
    struct blotter_stats stats = load_stats(load, 0);
    return load_accepted(load) == accepted && stats.held == stats.slots;
}

/* There is no room for `closed` when close is called; it is written when there is. */
static void closing_a_full_journal_ends_complete(void **state)
{
    (void)state;
    story_drainer("d1");
    struct load *load = load_start(&(struct load_options){.slots = 256});
    load_await_accepted(load, 300);
    fixture_redis_pause(story_redis);
    assert_true(fixture_wait_until(stays_full, load, STORY_TIMEOUT_MS));
    load_stop(load);
    pid_t child = resume_redis_later(200);
    assert_int_equal(load_close(load, 0, STORY_TIMEOUT_MS), 0);
    waitpid(child, NULL, 0);
    story_await_int(1, "SELECT count(*) FROM blotter.audit WHERE state = 'complete'");
    load_finish(load);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(waiting_ends_in_time_whoever_is_away),
        TEST(close_says_how_many_stay_and_the_next_producer_sends_them),
        TEST(close_sends_what_it_can),
        TEST(closing_a_full_journal_ends_complete),
    };
    return cmocka_run_group_tests_name("wait_and_close", tests, NULL, NULL);
}
