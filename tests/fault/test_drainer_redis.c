/* test_drainer_redis.c: what happens to a drainer in Redis: its connection is cut in the middle of
 * answers, others use its group or its name, the group is destroyed; and a Redis that is another
 * one after a reconnect, where the same id is another record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/redis/scripts.h"
#include "schema/stream.h"
#include "tests/fixture/drainers.h"

static struct load *load_of(const char *exchange)
{
    return load_start(&(struct load_options){
        .producers = 2, .exchange = exchange, .per_second = LOAD_PER_SECOND});
}

struct cuts {
    struct fixture_proxy *line;
    int64_t count;
};

static bool has_been_cut(void *arg)
{
    const struct cuts *cuts = arg;
    return fixture_proxy_counts(cuts->line).cuts_at >= cuts->count;
}

/* Also within an answer, of which some entries have been taken already. */
static void a_connection_that_is_cut_over_and_over_loses_nothing(void **state)
{
    enum { CUTS = 15 };
    unsigned seed = (unsigned)time(NULL);
    (void)state;
    printf("seed %u\n", seed);
    struct fixture_proxy *line = fixture_proxy_redis(story_redis, false);
    struct load *load = load_of("okx");
    struct fixture_program *drainer = drainer_by(line, NULL, "d1");
    for (int i = 0; i < CUTS; i++) {
        drainers_await_more(1);
        fixture_sleep_ms((int)(rand_r(&seed) % 20));
        fixture_proxy_cut_at(line, FIXTURE_TO_CLIENT, "order_id", FIXTURE_CUT_BEFORE);
        assert_true(
            fixture_wait_until(has_been_cut, &(struct cuts){line, i + 1}, STORY_TIMEOUT_MS));
    }
    load_finish(load);
    drainer_stop(drainer);
}

static bool has_stalled(void *line)
{
    return fixture_proxy_counts(line).stalls_at > 0;
}

static bool is_pending(void *arg)
{
    (void)arg;
    return story_pending() == 1;
}

/* So an order's events are loaded in their order all the same. */
static void what_was_on_its_way_is_claimed_before_anything_is_read(void **state)
{
    (void)state;
    struct fixture_proxy *line = fixture_proxy_redis(story_redis, false);
    struct fixture_program *drainer = drainer_by(line, NULL, "d1");
    story_add_order("blotter:okx", 7, 1, 1, &(struct blotter_order){.order_id = "before"});
    drainer_await_loaded("d1", 1);
    story_await_drained();
    fixture_program_signal(drainer,
                           SIGSTOP); /* so that it reads once more when the line is ready */
    story_add_order("blotter:okx", 7, 2, 2, &(struct blotter_order){.order_id = "on its way"});
    fixture_proxy_cut_at(line, FIXTURE_TO_SERVER, "\r\n>\r\n", FIXTURE_STALL_AFTER);
    fixture_program_signal(drainer, SIGCONT);
    assert_true(fixture_wait_until(has_stalled, line, STORY_TIMEOUT_MS));
    assert_true(fixture_wait_until(is_pending, NULL, STORY_TIMEOUT_MS));
    story_add_order("blotter:okx", 7, 3, 3, &(struct blotter_order){.order_id = "behind"});
    fixture_proxy_cut(line);
    fixture_proxy_stall(line, 0);
    drainer_await_loaded("d1", 3);
    assert_string_equal(story_table("SELECT count(*) FROM blotter.order_events a, "
                                    "blotter.order_events b WHERE a.seq = 2 AND "
                                    "b.seq = 3 AND a.stored_at <= b.stored_at"),
                        "1");
    drainer_stop(drainer);
}

static void entries_that_a_stranger_reads_are_claimed(void **state)
{
    (void)state;
    struct load *load = load_of("okx");
    struct fixture_program *drainer = story_drainer("d1");
    for (int i = 0; i < 20; i++) {
        drainers_await_more(1);
        fixture_redis_run(story_redis,
                          "XREADGROUP GROUP drainers stranger COUNT 20 STREAMS blotter:okx >");
    }
    load_finish(load);
    drainer_stop(drainer);
}

static bool enough_wait(void *arg)
{
    (void)arg;
    return story_waiting() >= 50;
}

/* No word is given of them: the producers send them again. */
static void entries_that_are_trimmed_while_pending_are_counted(void **state)
{
    (void)state;
    struct load *load = load_of("okx");
    struct fixture_program *drainer = story_drainer("d1");
    drainers_await_more(100);
    fixture_program_signal(drainer, SIGSTOP);
    assert_true(fixture_wait_until(enough_wait, NULL, STORY_TIMEOUT_MS));
    fixture_redis_run(story_redis,
                      "XREADGROUP GROUP drainers stranger COUNT 50 STREAMS blotter:okx >");
    fixture_redis_run(story_redis, "XTRIM blotter:okx MAXLEN 0");
    fixture_program_signal(drainer, SIGCONT);
    drainer_await_says(drainer, "entries were trimmed by someone else while pending");
    load_finish(load);
    drainer_stop(drainer);
}

static void a_group_that_is_destroyed_over_and_over_is_read_again(void **state)
{
    (void)state;
    struct load *load = load_of("okx");
    struct fixture_program *drainer = story_drainer("d1");
    for (int i = 0; i < 6; i++) {
        drainers_await_more(1);
        fixture_redis_run(story_redis, "XGROUP DESTROY blotter:okx drainers");
    }
    load_finish(load);
    drainer_stop(drainer);
}

/* A drainer that is stopped removes its name, also under the other one. */
static void two_drainers_under_one_name_store_everything_once(void **state)
{
    (void)state;
    struct load *loads[] = {load_of("okx"), load_of("binance")};
    struct fixture_program *first = story_drainer("same"), *second = story_drainer("same");
    drainer_await_says(first, "2 drainers share");
    drainers_await_more(500);
    drainer_kill9(first);
    drainers_await_more(500);
    struct fixture_program *third = story_drainer("same");
    drainer_await_says(third, "taken");
    drainers_await_more(500);
    fixture_program_stop(second, SIGTERM,
                         STORY_TIMEOUT_MS); /* it may find what the other has in hand */
    load_stop(loads[0]);
    load_stop(loads[1]);
    load_finish(loads[0]);
    load_finish(loads[1]);
    drainer_stop(third);
}

static const char *left_by_removal(const char *name, const char *unused_ms)
{
    const char *pending =
        fixture_redis_run(story_redis, "EVAL %s 1 blotter:okx " STREAM_GROUP " %s %s",
                          script_remove_consumers, name, unused_ms);
    return fixture_format(
        "%s: %s", pending,
        fixture_redis_run(story_redis, "XINFO CONSUMERS blotter:okx " STREAM_GROUP));
}

/* A drainer that ends removes its own name and those that nobody uses, but never one whose entries
 * would be lost with it. */
static void a_name_with_entries_pending_is_not_removed(void **state)
{
    (void)state;
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx " STREAM_GROUP " 0 MKSTREAM");
    for (int i = 0; i < 2; i++) {
        fixture_redis_run(story_redis, "XADD blotter:okx %d-1 order x", i + 1);
    }
    fixture_redis_run(story_redis,
                      "XREADGROUP GROUP " STREAM_GROUP " busy COUNT 1 STREAMS blotter:okx >");
    fixture_redis_run(story_redis,
                      "XREADGROUP GROUP " STREAM_GROUP " done COUNT 1 STREAMS blotter:okx >");
    fixture_redis_run(story_redis, "XACK blotter:okx " STREAM_GROUP " 2-1");
    story_assert_says(left_by_removal("ends", "3600000"), "name done");
    story_assert_says(left_by_removal("busy", "3600000"), "1: name busy");
    const char *left = left_by_removal("ends", "-1");
    story_assert_says(left, "0: name busy");
    assert_null(strstr(left, "name done"));
    fixture_redis_run(story_redis, "XACK blotter:okx " STREAM_GROUP " 1-1");
    assert_string_equal(left_by_removal("busy", "3600000"), "0: ");
}

/* --- another Redis --- */

enum { ORDERS = 3 };

static bool has_stalled_twice(void *line)
{
    return fixture_proxy_counts(line).stalls_at > 1;
}

static bool has_claimed(void)
{
    return *fixture_redis_run(story_redis, "XPENDING blotter:okx drainers - + 10 d1") != 0;
}

static bool word_is_given(void *arg)
{
    (void)arg;
    return fixture_redis_int(story_redis, "EXISTS blotter-ack:{blotter:okx}:7") == 1;
}

/* The stream as another server has it: other orders under the same ids, delivered to somebody and
 * not acknowledged. */
static void become_another_redis(void)
{
    const char *ids =
        fixture_redis_run(story_redis, "EVAL %s 0",
                          "local ids = ''\n"
                          "for _, entry in ipairs(redis.call('XRANGE', 'blotter:okx', '-', '+')) "
                          "do ids = ids .. entry[1] .. ' ' end\n"
                          "return ids");
    char id[ORDERS][32];
    assert_int_equal(sscanf(ids, "%31s %31s %31s", id[0], id[1], id[2]), ORDERS);
    fixture_redis_run(story_redis, "DEL blotter:okx");
    for (int i = 0; i < ORDERS; i++) {
        char order[] = "\x81\xa8order_id\xa6other?";
        order[sizeof order - 2] = (char)('0' + i);
        fixture_redis_run(story_redis, "XADD blotter:okx %s order %b", id[i], order,
                          sizeof order - 1);
    }
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx drainers 0");
    fixture_redis_run(story_redis, "XREADGROUP GROUP drainers somebody STREAMS blotter:okx >");
}

/* Entries read before are stored and confirmed, but not acknowledged: another record has their id
 * now. That is claimed once PostgreSQL has answered, as the lease may be another's. */
static void an_id_read_on_another_connection_is_not_acknowledged(void **state)
{
    (void)state;
    struct fixture_proxy *redis = fixture_proxy_redis(story_redis, false);
    struct fixture_proxy *postgres = fixture_proxy_postgres(story_postgres, false);
    struct fixture_program *drainer = drainer_by(redis, postgres, "d1");
    drainer_await_says(drainer, "object=postgres msg=\"connected\"");
    fixture_proxy_cut_at(postgres, FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_BEFORE);
    fixture_program_signal(drainer, SIGSTOP); /* so that all are in one batch */
    for (int i = 1; i <= ORDERS; i++) {
        story_add_order("blotter:okx", 7, i, i,
                        &(struct blotter_order){.order_id = fixture_format("%d", i)});
    }
    fixture_program_signal(drainer, SIGCONT);
    assert_true(fixture_wait_until(has_stalled, postgres, STORY_TIMEOUT_MS));
    become_another_redis();
    fixture_proxy_cut(redis);
    drainer_await_says(drainer, "over: Redis is not connected");
    assert_false(has_claimed());
    fixture_proxy_cut_at(postgres, FIXTURE_TO_SERVER, "BEGIN ISOLATION LEVEL",
                         FIXTURE_STALL_BEFORE); /* of the batch behind it */
    fixture_proxy_stall(postgres, 0);
    assert_true(fixture_wait_until(has_stalled_twice, postgres, STORY_TIMEOUT_MS));
    assert_true(fixture_wait_until(word_is_given, NULL, STORY_TIMEOUT_MS));
    assert_true(has_claimed());
    assert_int_equal(story_pending(), ORDERS);
    fixture_proxy_stall(postgres, 0);
    story_await_int(2 * ORDERS, "SELECT count(DISTINCT order_id) FROM blotter.order_events");
    story_await_drained();
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 2 * ORDERS);
    drainer_stop(drainer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_connection_that_is_cut_over_and_over_loses_nothing),
        TEST(what_was_on_its_way_is_claimed_before_anything_is_read),
        TEST(a_name_with_entries_pending_is_not_removed),
        TEST(entries_that_a_stranger_reads_are_claimed),
        TEST(entries_that_are_trimmed_while_pending_are_counted),
        TEST(a_group_that_is_destroyed_over_and_over_is_read_again),
        TEST(two_drainers_under_one_name_store_everything_once),
        TEST(an_id_read_on_another_connection_is_not_acknowledged),
    };
    return cmocka_run_group_tests_name("drainer_redis", tests, NULL, NULL);
}
