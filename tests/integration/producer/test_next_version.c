/* test_next_version.c: a release whose journals have another format: it reads and sends those of
 * this one, and this one leaves its journals alone. The next release is build/next/blotter, the
 * same program but for the version that it gives to new journals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "tests/fixture/strategy.h"

static const char *next_blotter(void)
{
    const char *now = fixture_blotter(), *slash = strrchr(now, '/');
    return fixture_format("%.*s/next/blotter", slash != NULL ? (int)(slash - now) : 1,
                          slash != NULL ? now : ".");
}

#define NEXT_ARGV(...) ((const char *const[]){next_blotter(), __VA_ARGS__, NULL})
#define next_run(status, ...) story_run_program(status, NEXT_ARGV(__VA_ARGS__), NULL)

static void assert_format(const char *path, int version)
{
    story_assert_says(fixture_program_stdout(next_run(0, "journal", path)),
                      fixture_format("bytes, format %d\n", version));
}

static bool has_grown(void *entries)
{
    return fixture_redis_int(story_redis, "XLEN blotter:okx") > *(const int64_t *)entries;
}

static void the_next_version_follows_and_adopts_journals_of_this_one(void **state)
{
    (void)state;
    int64_t entries = 100;
    struct fixture_program *ship = story_start_program(NEXT_ARGV("ship"), NULL);
    struct strategy *strategy =
        strategy_start(&(struct strategy_options){.per_second = 1000, .slots = 16384});
    assert_true(fixture_wait_until(has_grown, &entries, STORY_TIMEOUT_MS));
    assert_int_equal(fixture_program_stop(ship, SIGTERM, STORY_TIMEOUT_MS), 0);
    strategy_await_accepted(strategy, 100);
    strategy_kill(strategy);
    assert_format(strategy_journal(strategy), 2);
    story_drainer("d");
    next_run(0, "ship", "--once", "--until", "committed");
    strategy_prove("okx", true);
    assert_int_not_equal(access(strategy_journal(strategy), F_OK), 0);
}

/* As a strategy that was updated does: the file stays what it was. */
static void a_producer_of_the_next_version_goes_on_in_a_journal_of_this_one(void **state)
{
    (void)state;
    struct strategy *strategy =
        strategy_start(&(struct strategy_options){.per_second = 1000, .slots = 1024});
    strategy_await_accepted(strategy, 100);
    strategy_kill(strategy);
    const char *trade =
        "{\"kind\": \"trade\", \"symbol\": \"BTC/USDT\", \"price\": 1, \"quantity\": 2}\n";
    story_run_program(0, NEXT_ARGV("publish", "--exchange", "okx"),
                      &(struct fixture_program_options){.input = trade});
    assert_format(strategy_journal(strategy), 2);
    story_drainer("d");
    next_run(0, "ship", "--once", "--until", "committed");
    strategy_prove("okx", true);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.trades"), 1);
}

static void a_journal_of_the_next_version_is_left_alone_and_the_next_name_taken(void **state)
{
    (void)state;
    const char *theirs = fixture_format("%s/okx.0", story_journals());
    story_run_program(0, NEXT_ARGV("publish", "--exchange", "okx"),
                      &(struct fixture_program_options){.input = story_order_lines(1, 10)});
    assert_format(theirs, 3);
    const char *before = fixture_program_stdout(next_run(0, "journal", "--json", theirs));
    struct strategy *strategy = strategy_start(&(struct strategy_options){.per_second = 1000});
    story_assert_says(strategy_journal(strategy), "/okx.1");
    strategy_await_accepted(strategy, 100);
    strategy_kill(strategy);
    struct fixture_program *ship = story_run(1, "ship", "--once");
    story_assert_says(fixture_program_stdout(ship), "{\"journals\": 1, ");
    story_assert_says(
        fixture_program_stderr(ship),
        "object=okx.0 msg=\"left alone: format version 3, this version knows 1 to 2\"");
    assert_string_equal(fixture_program_stdout(next_run(0, "journal", "--json", theirs)), before);
    story_assert_says(fixture_program_stderr(story_run(1, "journal", theirs)), "format version 3");
    story_drainer("d");
    next_run(0, "ship", "--once", "--until", "committed");
    story_await_int(2, "SELECT count(*) FROM blotter.audit WHERE state = 'complete'");
    assert_int_equal(
        story_int("SELECT count(*) FROM blotter.order_events WHERE order_id IN ('1', '10')"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, strategy_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_next_version_follows_and_adopts_journals_of_this_one),
        TEST(a_producer_of_the_next_version_goes_on_in_a_journal_of_this_one),
        TEST(a_journal_of_the_next_version_is_left_alone_and_the_next_name_taken),
    };
    return cmocka_run_group_tests_name("next_version", tests, NULL, NULL);
}
