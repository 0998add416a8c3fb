/* test_redis_emptied.c: Redis loses all that it has while several producers of an exchange keep
 * sending: what no drainer had read by then is sent again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/fixture/drainers.h"
#include "tests/fixture/load.h"

enum { UNREAD = 600 };

static void what_flushall_has_thrown_away_is_sent_again(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");
    struct load *load =
        load_start(&(struct load_options){.producers = 3, .per_second = LOAD_PER_SECOND});
    load_await_accepted(load, 1000);
    load_leave_unread(load, drainer, UNREAD);
    fixture_redis_run(story_redis, "FLUSHALL");
    fixture_program_signal(drainer, SIGCONT);
    load_await_accepted(load, 1000);
    fixture_redis_run(story_redis, "FLUSHALL"); /* with the drainer at work, before it is healed */
    load_await_accepted(load, 1000);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    assert_true(load_totals(load).resent >= UNREAD);
    load_finish(load);
}

static void what_a_restart_without_a_file_has_forgotten_is_sent_again(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");
    struct load *load =
        load_start(&(struct load_options){.producers = 3, .per_second = LOAD_PER_SECOND});
    load_await_accepted(load, 1000);
    load_leave_unread(load, drainer, UNREAD);
    fixture_redis_kill9(story_redis);
    load_await_accepted(load, 500);
    fixture_redis_start_again(story_redis);
    fixture_program_signal(drainer, SIGCONT);
    load_await_accepted(load, 500);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    assert_true(load_totals(load).resent >= UNREAD);
    load_finish(load);
}

/* The exception of guarantee 2: a full journal evicts what waits in Redis, and Redis loses it. */
static void what_was_evicted_before_is_missing_as_counted_and_nothing_else(void **state)
{
    (void)state;
    struct load *load = load_start(&(struct load_options){.producers = 2, .slots = 256});
    load_await_accepted(load, 2000); /* there is no drainer */
    load_stop(load);
    load_await_stage(load, BLOTTER_SENT);
    fixture_redis_run(story_redis, "FLUSHALL");
    struct fixture_program *drainer = story_drainer("d1");
    int64_t evicted = load_totals(load).evicted, kept = load_totals(load).accepted - evicted;
    assert_true(evicted >= 2000 - 2 * 256);
    story_await_int(1, "SELECT (sum(stored) >= %lld)::int FROM blotter.audit", (long long)kept);
    assert_int_equal(load_totals(load).evicted, evicted);
    load_close(load, 0, 10000);
    load_close(load, 1, 10000);
    story_await_int(2, "SELECT count(*) FROM blotter.audit WHERE state = 'missing'");
    assert_int_equal(story_int("SELECT sum(missing) FROM blotter.audit"), evicted);
    drainer_stop(drainer);
    story_audit(1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(what_flushall_has_thrown_away_is_sent_again),
        TEST(what_a_restart_without_a_file_has_forgotten_is_sent_again),
        TEST(what_was_evicted_before_is_missing_as_counted_and_nothing_else),
    };
    return cmocka_run_group_tests_name("redis_emptied", tests, NULL, NULL);
}
