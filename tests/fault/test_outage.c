/* test_outage.c: Redis is away for longer than a journal holds. Submit says FULL from then on, at
 * once and counted; nothing that was accepted before is lost, whatever Redis still has when it is
 * back; and within a second of that submit works again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>

#include "tests/fixture/load.h"

enum {
    PRODUCERS = 3,
    SLOTS = 1024,
    BACK_MS = 1000, /* what is promised */
    SLACK = 4,      /* times that, on a machine that is busy with other tests */
    SLOWEST_US =
        2 * 1000 * 1000, /* of a submit, which nothing may hold up for as long as an outage lasts */
};

static bool all_are_full(void *arg)
{
    struct load *load = arg;
    return load_totals(load).held == (int64_t)PRODUCERS * SLOTS;
}

static bool all_were_told(void *arg)
{
    struct load *load = arg;
    int told = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        told += load_told(load, i, BLOTTER_EVENT_FULL) == 1;
    }
    return told == PRODUCERS;
}

static void assert_full_from_now_on(struct load *load)
{
    assert_true(fixture_wait_until(all_are_full, load, STORY_TIMEOUT_MS));
    assert_true(fixture_wait_until(
        all_were_told, load, STORY_TIMEOUT_MS)); /* so the last that was accepted is counted */
    int64_t accepted = load_accepted(load), full = load_full(load), until = fixture_now_ms() + 1500;
    while (fixture_now_ms() < until || load_full(load) < full + 300) {
        fixture_sleep_ms(50);
        assert_int_equal(load_accepted(load), accepted);
    }
    assert_true(all_were_told(load)); /* once */
}

struct each {
    struct load *load;
    int64_t accepted[PRODUCERS];
};

static bool each_accepts_again(void *arg)
{
    struct each *each = arg;
    int again = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        again += load_stats(each->load, i).accepted > each->accepted[i];
    }
    return again == PRODUCERS;
}

/* From when Redis answers, to when each producer has accepted a record. */
static void assert_soon_again(struct load *load)
{
    struct each each = {.load = load};
    for (int i = 0; i < PRODUCERS; i++) {
        each.accepted[i] = load_stats(load, i).accepted;
    }
    fixture_redis_start_again(story_redis);
    int64_t back = fixture_now_ms();
    assert_true(fixture_wait_until(each_accepts_again, &each, STORY_TIMEOUT_MS));
    int64_t took = fixture_now_ms() - back;
    print_message("a submit took %" PRId64 " us at most\n", load_slowest_us(load));
    print_message("submit works again %" PRId64 " ms after Redis does\n", took);
    assert_in_range(took, 0, BACK_MS * SLACK);
}

static void survive_an_outage(void)
{
    struct fixture_program *drainer = story_drainer("d1");
    assert_true(fixture_program_says(drainer, "object=postgres msg=\"connected\"",
                                     STORY_TIMEOUT_MS)); /* or journals fill now */
    struct load *load = load_start(&(struct load_options){
        .producers = PRODUCERS, .per_second = LOAD_PER_SECOND, .slots = SLOTS});
    load_await_stage(load, BLOTTER_COMMITTED); /* the drainer is at work */
    load_await_accepted(load, 600);
    fixture_program_signal(drainer, SIGSTOP); /* some are sent and not read when Redis dies */
    load_await_accepted(load, 60);
    load_await_stage(load, BLOTTER_SENT);
    fixture_redis_kill9(story_redis);
    fixture_program_signal(drainer, SIGCONT);
    assert_full_from_now_on(load);
    assert_soon_again(load);
    load_await_accepted(load, 600);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    assert_int_equal(load_totals(load).full, load_full(load));
    assert_true(load_slowest_us(load) < SLOWEST_US);
    load_finish(load);
}

static void a_full_journal_loses_nothing_and_has_room_a_second_after_redis_is_back(void **state)
{
    (void)state;
    story_use_redis(
        fixture_redis_start(&(struct fixture_redis_options){.aof = true, .appendfsync = "always"}));
    survive_an_outage();
}

static void nor_does_it_when_redis_comes_back_empty(void **state)
{
    (void)state;
    survive_an_outage();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(a_full_journal_loses_nothing_and_has_room_a_second_after_redis_is_back),
        TEST(nor_does_it_when_redis_comes_back_empty),
    };
    return cmocka_run_group_tests_name("outage", tests, NULL, NULL);
}
