/* test_pending_meddled.c: somebody lays hands on a stream while entries of it are pending, and the
 * drainer that has read them dies: nobody but the producers has them then. Each way of doing it has
 * an exchange of its own, with producers that keep sending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "schema/stream.h"
#include "tests/fixture/load.h"

static void delete_consumer(const char *stream)
{
    fixture_redis_run(story_redis, "XGROUP DELCONSUMER %s " STREAM_GROUP " d1", stream);
}

static void set_group_to_the_end(const char *stream)
{
    delete_consumer(stream); /* else what is pending would still be loaded */
    fixture_redis_run(story_redis, "XGROUP SETID %s " STREAM_GROUP " $", stream);
}

static void acknowledge(const char *stream)
{
    fixture_redis_run(story_redis, "EVAL %s 1 %s",
                      "for _, one in ipairs(redis.call('XPENDING', KEYS[1], '" STREAM_GROUP
                      "', '-', '+', 100000)) do\n"
                      "  redis.call('XACK', KEYS[1], '" STREAM_GROUP "', one[1])\n"
                      "end",
                      stream);
}

static void trim(const char *stream)
{
    fixture_redis_run(story_redis, "XTRIM %s MAXLEN 0", stream);
}

static void delete_entries(const char *stream)
{
    fixture_redis_run(story_redis, "EVAL %s 1 %s",
                      "for i, one in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do\n"
                      "  if i % 2 == 0 then redis.call('XDEL', KEYS[1], one[1]) end\n"
                      "end",
                      stream);
}

static void delete_stream(const char *stream)
{
    fixture_redis_run(story_redis, "DEL %s", stream);
}

static void destroy_group(const char *stream)
{
    fixture_redis_run(story_redis, "XGROUP DESTROY %s " STREAM_GROUP, stream);
}

static const struct way {
    const char *exchange;
    void (*meddle)(const char *stream);
    bool loses; /* what is pending */
} ways[] = {
    {"delconsumer", delete_consumer, true},
    {"setid", set_group_to_the_end, true},
    {"xack", acknowledge, true},
    {"xtrim", trim, true},
    {"xdel", delete_entries, true},
    {"del", delete_stream, true},
    {"destroy", destroy_group, false}, /* a new group begins with all there is */
};
enum { WAYS = sizeof ways / sizeof *ways };

static const char *stream_of(int way)
{
    return fixture_format("blotter:%s", ways[way].exchange);
}

static bool all_have_pending(void *arg)
{
    (void)arg;
    int have = 0;
    for (int i = 0; i < WAYS; i++) {
        have += fixture_redis_int(story_redis, "XPENDING %s " STREAM_GROUP, stream_of(i)) >= 20;
    }
    return have == WAYS;
}

static void start_all(struct load *loads[WAYS])
{
    for (int i = 0; i < WAYS; i++) {
        loads[i] = load_start(&(struct load_options){
            .producers = 2, .exchange = ways[i].exchange, .per_second = 100});
    }
    for (int i = 0; i < WAYS; i++) {
        load_await_accepted(loads[i], 10);
        load_await_stage(loads[i], BLOTTER_COMMITTED); /* the drainer has all of them */
    }
}

static void what_is_pending_survives_whatever_is_done_to_it(void **state)
{
    (void)state;
    struct load *loads[WAYS];
    struct fixture_program *drainer = story_drainer("d1");
    start_all(loads);
    fixture_postgres_pause(story_postgres);
    assert_true(fixture_wait_until(all_have_pending, NULL, STORY_TIMEOUT_MS));
    fixture_program_signal(drainer, SIGSTOP);
    for (int i = 0; i < WAYS; i++) {
        load_await_accepted(loads[i], 20);
        load_await_stage(loads[i], BLOTTER_SENT);
        ways[i].meddle(stream_of(i)); /* with some pending and some unread */
    }
    fixture_program_stop(drainer, SIGKILL, STORY_TIMEOUT_MS);
    fixture_postgres_resume(story_postgres);
    story_drainer("d2");
    for (int i = 0; i < WAYS; i++) {
        load_await_accepted(loads[i], 100);
    }
    for (int i = 0; i < WAYS; i++) {
        load_stop(loads[i]);
    }
    for (int i = 0; i < WAYS; i++) {
        load_await_stage(loads[i], BLOTTER_COMMITTED);
        print_message("%-12s %3lld sent again\n", ways[i].exchange,
                      (long long)load_totals(loads[i]).resent);
        assert_true(load_totals(loads[i]).resent > 0 || !ways[i].loses);
    }
    for (int i = 0; i < WAYS; i++) {
        load_finish(loads[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_pending_survives_whatever_is_done_to_it,
                                        story_begin, load_end),
    };
    return cmocka_run_group_tests_name("pending_meddled", tests, NULL, NULL);
}
