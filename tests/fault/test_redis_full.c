/* test_redis_full.c: a Redis that is full lets itself be drained, also by a drainer that has just
 * started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/fixture/story.h"

enum { ENTRIES = 40 };

static void add_entries(void)
{
    for (int i = 0; i < ENTRIES; i++) {
        char order[] = "\x82\xa8order_id\xa2nn\xa6status\xa4open";

        order[11] = (char)('0' + i / 10);
        order[12] = (char)('0' + i % 10);
        fixture_redis_run(story_redis, "XADD blotter:okx * order %b", order, sizeof order - 1);
    }
}

static bool is_full(void *arg)
{
    (void)arg;
    redisContext *context = fixture_redis_connect(story_redis);
    redisReply *reply = redisCommand(context, "SET more memory");
    bool full = reply != NULL && reply->type == REDIS_REPLY_ERROR;

    freeReplyObject(reply);
    redisFree(context);
    return full;
}

/* XGROUP CREATE, with which a lease begins, is refused there, whether there is the group or not. */
static void full_redis_is_drained_by_a_new_drainer(void **state)
{
    (void)state;
    add_entries();
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx drainers 0");
    fixture_redis_run(story_redis, "XREADGROUP GROUP drainers dead COUNT 10 STREAMS blotter:okx >");
    fixture_redis_run(story_redis, "CONFIG SET maxmemory 1");
    assert_true(fixture_wait_until(is_full, NULL, STORY_TIMEOUT_MS));
    story_drain_once();
    assert_int_equal(
        fixture_postgres_int(story_postgres, "SELECT count(*) FROM blotter.order_events"), ENTRIES);
    assert_true(is_full(NULL));
    fixture_redis_run(story_redis, "CONFIG SET maxmemory 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(full_redis_is_drained_by_a_new_drainer, story_begin,
                                        story_end),
    };
    return cmocka_run_group_tests_name("redis_full", tests, NULL, NULL);
}
