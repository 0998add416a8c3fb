/* test_redis_silent.c: Redis says nothing: it is stopped, or the line swallows all, and no system
 * call tells of it; or it answers slowly. Submit is not held up; the sender notices, tries again
 * with pauses, and sends again what had no answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "tests/fixture/load.h"
#include "tests/fixture/proxy.h"

enum {
    PRODUCERS = 2,
    MEANWHILE_MS = 2500, /* after it was noticed */
    CPU_PER_CENT = 5,
    SLOWEST_US = 2 * 1000 * 1000, /* of a submit: silence is noticed after 10 s */
};

static bool all_say_why(void *load)
{
    int say = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        struct blotter_stats stats = load_stats(load, i);
        say += stats.last_error_at_ns > 0 && !stats.redis_up;
    }
    return say == PRODUCERS;
}

static void assert_noticed(struct load *load)
{
    assert_true(fixture_wait_until(all_say_why, load, STORY_TIMEOUT_MS));
    for (int i = 0; i < PRODUCERS; i++) {
        assert_string_equal(load_text(load, i, BLOTTER_EVENT_REDIS_DOWN), "no answer for 10000 ms");
    }
}

static void assert_patient(struct load *load, const int64_t cpu_us[PRODUCERS], int64_t silent_ms)
{
    for (int i = 0; i < PRODUCERS; i++) {
        assert_true(load_sender_cpu_us(load, i) - cpu_us[i] < silent_ms * 10 * CPU_PER_CENT ||
                    !fixture_judges_cost("CPU time"));
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_DOWN), 1);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_UP), 1);
    }
    assert_int_equal(load_full(load), 0);
    assert_true(load_slowest_us(load) < SLOWEST_US);
}

static void assert_healed(struct load *load)
{
    load_await_accepted(load, 100);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    for (int i = 0; i < PRODUCERS; i++) {
        assert_string_equal(load_stats(load, i).last_error, "");
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_UP), 2);
    }
    load_finish(load);
}

static struct load *start(const char *exchange, const char *redis)
{
    struct load *load = load_start(&(struct load_options){.producers = PRODUCERS,
                                                          .exchange = exchange,
                                                          .redis = redis,
                                                          .per_second = LOAD_PER_SECOND});
    load_await_accepted(load, 200);
    load_await_stage(load, BLOTTER_COMMITTED);
    return load;
}

static void a_silent_redis_is_noticed_and_waited_for(void **state)
{
    (void)state;
    struct fixture_redis *stopped = fixture_redis_start(NULL), *usual = story_redis;
    struct fixture_proxy *line = fixture_proxy_redis(usual, true);
    story_drainer("usual");
    story_use_redis(stopped);
    story_drainer("stopped");
    struct load *loads[] = {start("swallowed", fixture_proxy_address(line)),
                            start("stopped", NULL)};
    int64_t cpu_us[2][PRODUCERS];
    for (int i = 0; i < 2 * PRODUCERS; i++) {
        cpu_us[i / PRODUCERS][i % PRODUCERS] =
            load_sender_cpu_us(loads[i / PRODUCERS], i % PRODUCERS);
    }

    int64_t began = fixture_now_ms();
    fixture_proxy_swallow(line, FIXTURE_BOTH);
    fixture_redis_pause(stopped);
    for (int i = 0; i < 2; i++) {
        assert_noticed(loads[i]);
    }
    fixture_sleep_ms(MEANWHILE_MS);
    for (int i = 0; i < 2; i++) {
        assert_patient(loads[i], cpu_us[i], fixture_now_ms() - began);
    }
    fixture_proxy_swallow(line, 0);
    fixture_redis_resume(stopped);
    assert_healed(loads[1]);
    story_use_redis(usual);
    assert_healed(loads[0]);
}

/* Heartbeats are counted before they are sent. */
static bool each_is_there_once(void *load)
{
    return fixture_redis_int(story_redis, "XLEN blotter:okx") == load_totals(load).accepted;
}

/* Each answer takes half a second; that is no reason to send anything twice. */
static void a_slow_redis_is_waited_for_and_sent_to_once(void **state)
{
    (void)state;
    struct fixture_proxy *line = fixture_proxy_redis(story_redis, false);
    story_drainer("d1");
    fixture_proxy_delay(line, FIXTURE_BOTH, 250);
    struct load *load = load_start(&(struct load_options){
        .producers = PRODUCERS, .redis = fixture_proxy_address(line), .per_second = 1000});
    load_await_accepted(load, 4000);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    assert_true(fixture_wait_until(each_is_there_once, load, STORY_TIMEOUT_MS));
    assert_int_equal(load_totals(load).connects, PRODUCERS);
    assert_int_equal(load_full(load), 0);
    load_finish(load);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(a_silent_redis_is_noticed_and_waited_for),
        TEST(a_slow_redis_is_waited_for_and_sent_to_once),
    };
    return cmocka_run_group_tests_name("redis_silent", tests, NULL, NULL);
}
