/* test_eviction.c: which records of a journal that fills may be let go, and when it is in need. */
#include "producer/eviction.h"
#include "tests/unit/journals.h"

#include <time.h>

enum { MINUTE_MS = 60000 };

enum { FIRST = 1 }; /* position of a journal's first record */

/* The first so many were seen to wait: now, or, however slow this machine is, later. */
static struct waiting seen(unsigned count)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (struct waiting){FIRST + count, (int64_t)now.tv_sec * 1000 + MINUTE_MS};
}

static struct waiting seen_a_minute_ago(unsigned count)
{
    struct waiting waiting = seen(count);
    waiting.seen_at_ms -= 2 * MINUTE_MS;
    return waiting;
}

/* Takes `held` of SLOTS slots, and marks so many of the records as sent. */
static struct journal *journal_holding(unsigned held, unsigned sent)
{
    struct journal *journal = open_at(path); /* with a record, `opened` */
    while (journal_next(journal) < FIRST + held) {
        assert_true(add(journal, 1) > 0);
    }
    journal_cursor_set(&journal->header->sent, FIRST + sent);
    return journal;
}

static void what_was_just_seen_to_wait_is_evicted_above_seven_eighths(void **state)
{
    (void)state;
    struct journal *journal = journal_holding(SLOTS / 8 * 7, SLOTS / 2);
    assert_int_equal(eviction_below(journal, seen(SLOTS / 2)), 0);
    for (unsigned more = 1; more <= SLOTS / 8; more++) {
        assert_true(add(journal, 1) > 0);
        assert_int_equal(eviction_below(journal, seen(SLOTS / 2)), FIRST + more);
    }
    assert_int_equal(eviction_below(journal, seen(3)), FIRST + 3);
    assert_int_equal(eviction_below(journal, seen(0)),
                     FIRST); /* none, as that is where it begins */
    journal_release(journal);
}

static void what_was_seen_long_ago_is_not_evicted(void **state)
{
    (void)state;
    struct journal *journal = journal_holding(SLOTS, SLOTS / 2);
    assert_int_equal(eviction_below(journal, seen_a_minute_ago(SLOTS / 2)), 0);
    journal_release(journal);
}

/* Since it was seen the sender has gone back. */
static void what_is_to_be_sent_again_is_not_evicted(void **state)
{
    (void)state;
    struct journal *journal = journal_holding(SLOTS, 2);
    assert_int_equal(eviction_below(journal, seen(SLOTS / 2)), FIRST + 2);
    journal_release(journal);
}

static void nothing_is_evicted_of_a_journal_that_closes(void **state)
{
    (void)state;
    struct journal *journal = journal_holding(SLOTS, SLOTS / 2);
    journal_close_writing(journal);
    assert_int_equal(eviction_below(journal, seen(SLOTS / 2)), 0);
    journal_release(journal);
}

static void it_is_in_need_above_a_half_unless_a_quarter_was_seen_to_wait(void **state)
{
    (void)state;
    struct journal *journal = journal_holding(SLOTS / 2, SLOTS / 2);
    assert_false(eviction_is_near(journal, seen(0)));
    assert_true(add(journal, 1) > 0);
    assert_true(eviction_is_near(journal, seen(0)));
    assert_true(eviction_is_near(journal, seen(SLOTS / 4 - 1)));
    assert_false(eviction_is_near(journal, seen(SLOTS / 4)));
    assert_true(eviction_is_near(journal, seen_a_minute_ago(SLOTS / 4)));
    journal_cursor_set(&journal->header->sent, FIRST + 3);
    assert_false(eviction_is_near(journal, seen(3))); /* all that is sent */
    journal_release(journal);
}

static void below_three_quarters_letting_go_is_over(void **state)
{
    (void)state;
    struct journal *journal = journal_holding(SLOTS / 4 * 3 - 1, 0);
    assert_true(eviction_is_over(journal));
    assert_true(add(journal, 1) > 0);
    assert_false(eviction_is_over(journal));
    journal_release(journal);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    static const struct CMUnitTest tests[] = {
        TEST(what_was_just_seen_to_wait_is_evicted_above_seven_eighths),
        TEST(what_was_seen_long_ago_is_not_evicted),
        TEST(what_is_to_be_sent_again_is_not_evicted),
        TEST(nothing_is_evicted_of_a_journal_that_closes),
        TEST(it_is_in_need_above_a_half_unless_a_quarter_was_seen_to_wait),
        TEST(below_three_quarters_letting_go_is_over),
    };
    return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
