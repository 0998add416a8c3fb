/* test_journal_copied.c: a journal that was copied while it was in use, and is opened beside its
 * original: both send what it held, and each record is stored once; nobody speaks for the
 * original's owner but itself. And one that was unlinked while in use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tests/fixture/story.h"

#define ROWS                                                                                     \
    "(SELECT producer_id, seq FROM blotter.order_events UNION ALL SELECT producer_id, seq FROM " \
    "blotter_internal.sessions) AS r"

static const char *journal(const char *name)
{
    return fixture_format("%s/%s", story_journals(), name);
}

static void copy_journal(const char *from, const char *to)
{
    const char *const argv[] = {"cp", journal(from), journal(to), NULL};
    assert_int_equal(fixture_run(argv, NULL, STORY_TIMEOUT_MS, NULL), 0);
}

static bool has_sent(void *count)
{
    return fixture_redis_int(story_redis, "XLEN blotter:okx") >= *(int *)count;
}

/* A publisher that lives, and has sent that many orders. */
static struct story_feed feed_orders(int count)
{
    struct story_feed feed = story_feed("okx", "committed");
    int entries = count + 1; /* and `opened` */
    story_feed_orders(&feed, count);
    assert_true(fixture_wait_until(has_sent, &entries, STORY_TIMEOUT_MS));
    return feed;
}

static void assert_orders_once(int count, int producers)
{
    assert_string_equal(story_table("SELECT count(*), count(DISTINCT order_id), max(order_id::int) "
                                    "FROM blotter.order_events"),
                        fixture_format("%d %d %d", count, count, count));
    assert_int_equal(story_int("SELECT count(*) - count(DISTINCT (producer_id, seq)) FROM " ROWS),
                     0);
    assert_int_equal(
        story_int("SELECT count(*) FROM blotter_internal.sessions WHERE event = 'closed'"),
        producers);
    story_assert_says(story_audit(0), "\ncomplete: ");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.audit WHERE state <> 'complete'"), 0);
    assert_int_equal(
        story_int("SELECT count(*) FROM blotter_internal.audit_quick WHERE state <> 'complete'"),
        0);
}

static void a_copy_that_is_shipped_beside_its_original(void **state)
{
    (void)state;
    struct story_feed feed = feed_orders(100);
    copy_journal("okx.0", "copy");
    story_run(0, "ship", "--once", "--until", "sent", "--journal", journal("copy"));
    story_feed_orders(&feed, 100); /* goes on with the numbers behind those that the copy holds */
    story_drainer("d");
    story_feed_end(&feed, 0);
    story_run(0, "ship", "--once", "--until", "committed", "--journal", journal("copy"));
    story_await_drained();
    assert_orders_once(200, 1);
    assert_int_not_equal(access(journal("copy"), F_OK), 0);
}

static void two_copies_that_are_opened_by_writers(void **state)
{
    (void)state;
    struct story_feed feed = feed_orders(100);
    copy_journal("okx.0", "first");
    copy_journal("okx.0", "second");
    story_drainer("d");
    story_run_program(0,
                      STORY_ARGV("publish", "--exchange", "okx", "--journal", journal("first"),
                                 "--until", "committed"),
                      NULL);
    story_feed_orders(&feed, 100);
    story_run_program(0,
                      STORY_ARGV("publish", "--exchange", "okx", "--journal", journal("second"),
                                 "--until", "committed"),
                      NULL);
    story_feed_end(&feed, 0);
    story_await_drained();
    assert_orders_once(200, 1);
}

static void an_unlinked_journal_is_sent_to_its_end(void **state)
{
    (void)state;
    struct story_feed feed = feed_orders(100);
    assert_int_equal(unlink(journal("okx.0")), 0);
    struct story_feed other = story_feed("okx", "committed"); /* which makes another okx.0 */
    assert_true(fixture_wait_until(has_sent, &(int){101}, STORY_TIMEOUT_MS));
    story_drainer("d");
    story_feed_orders(&feed, 100);
    story_feed_end(&feed, 0);
    assert_int_equal(access(journal("okx.0"), F_OK), 0);
    story_feed_end(&other, 0);
    story_await_drained();
    assert_orders_once(200, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_copy_that_is_shipped_beside_its_original),
        TEST(two_copies_that_are_opened_by_writers),
        TEST(an_unlinked_journal_is_sent_to_its_end),
    };
    return cmocka_run_group_tests_name("a journal that was copied", tests, NULL, NULL);
}
