/* test_ship.c: `blotter ship` sends for processes that do not send themselves, or have died: every record that they accepted is
 * stored, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fixture/strategy.h"

static bool is_gone(void *path)
{
    return access(path, F_OK) != 0;
}

static void await_gone(const char *path)
{
    if (!fixture_wait_until(is_gone, (void *)(uintptr_t)path, STORY_TIMEOUT_MS))
        fixture_fail("%s is still there", path);
}

static int64_t sessions(const struct strategy *strategy, const char *event)
{
    return story_int("SELECT count(*) FROM blotter.sessions WHERE producer_id = %lld AND event = '%s'",
                     (long long)strategy_producer_id(strategy), event);
}

/* --- following and adopting ------------------------------------------------------------------------------------------------ */

static void it_cannot_wait(blotter_producer *producer)
{
    if (blotter_wait(producer, 1, BLOTTER_SENT, 1000) != BLOTTER_NO_SENDER)
        _exit(1);
}

static void a_strategy_without_a_sender_is_sent_for(void **state)
{
    (void)state;
    story_drainer("d");
    struct fixture_program *ship = story_start("ship");
    struct strategy *strategy = strategy_start(&(struct strategy_options){.per_second = 2000, .begin = it_cannot_wait});
    strategy_await_accepted(strategy, 2000);
    story_await_int(1, "SELECT (count(*) >= 1000)::int FROM blotter.order_events"); /* while it runs */
    strategy_close(strategy);
    strategy_prove("okx", true);
    await_gone(strategy_journal(strategy));
    assert_int_equal(sessions(strategy, "closed"), 1);
    assert_int_equal(fixture_program_stop(ship, SIGTERM, STORY_TIMEOUT_MS), 0);
    story_assert_says(fixture_program_stderr(ship), "stopped: journals=0 unsent=0");
}

static void a_killed_strategy_is_adopted(void **state)
{
    (void)state;
    story_drainer("d");
    story_start("ship");
    struct strategy *strategy = strategy_start(&(struct strategy_options){.per_second = 0, .slots = 1024});
    strategy_await_accepted(strategy, 20000);
    strategy_kill(strategy);
    strategy_prove("okx", true);
    await_gone(strategy_journal(strategy));
    assert_int_equal(sessions(strategy, "opened"), 1);
    assert_int_equal(sessions(strategy, "closed"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, strategy_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_strategy_without_a_sender_is_sent_for),
        TEST(a_killed_strategy_is_adopted),
    };
    return cmocka_run_group_tests_name("ship", tests, NULL, NULL);
}
