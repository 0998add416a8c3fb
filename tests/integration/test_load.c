/* test_load.c: the proof that the fault tests end in holds where nothing is wrong, and finds what is: a row that is missing, is
 * changed, or is one too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>

#include "tests/fixture/load.h"

static void what_several_producers_accept_is_proven_stored(void **state)
{
    (void)state;
    story_drainer("d1");
    struct load *load = load_start(&(struct load_options){.producers = 3, .per_second = 1000});
    load_await_accepted(load, 500);
    load_stop(load);
    int64_t accepted = load_accepted(load);
    load_resume(load);
    load_await_accepted(load, 500);
    assert_true(load_accepted(load) >= accepted + 500);
    assert_int_equal(load_told(load, 2, BLOTTER_EVENT_REDIS_UP), 1);
    assert_int_equal(load_full(load), 0);
    load_finish(load);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), load_accepted(load));
}

/* One order event is copied away, the table is spoilt, the proof must say so, and all is well again with the copy. */
static void assert_found(struct load *load, const char *spoil, const char *says)
{
    story_sql("CREATE TABLE kept AS SELECT * FROM blotter.order_events");
    story_sql("%s", spoil);
    story_assert_says(load_wrong_rows(load), says);
    story_sql("DELETE FROM blotter.order_events");
    story_sql("INSERT INTO blotter.order_events SELECT * FROM kept");
    story_sql("DROP TABLE kept");
    assert_string_equal(load_wrong_rows(load), "");
}

#define ONE "(SELECT producer_id FROM blotter.order_events LIMIT 1) AND seq = 7"

static void the_proof_finds_what_is_missing_or_changed_or_too_much(void **state)
{
    (void)state;
    story_drainer("d1");
    struct load *load = load_start(&(struct load_options){.producers = 2, .per_second = 1000});
    load_await_accepted(load, 200);
    load_stop(load);
    assert_int_equal(blotter_flush(load_producer(load, 0), BLOTTER_COMMITTED, STORY_TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(blotter_flush(load_producer(load, 1), BLOTTER_COMMITTED, STORY_TIMEOUT_MS), BLOTTER_OK);
    assert_found(load, "DELETE FROM blotter.order_events WHERE producer_id = " ONE, "should be");
    assert_found(load,
                 "DELETE FROM blotter.order_events WHERE (producer_id, seq) = "
                 "(SELECT producer_id, seq FROM blotter.order_events ORDER BY 1 DESC, 2 DESC LIMIT 1)",
                 "are stored");
    assert_found(load, "UPDATE blotter.order_events SET price = price * 1.0 WHERE producer_id = " ONE, "should be");
    assert_found(load, "UPDATE blotter.order_events SET fee = 1 WHERE status = 'open' AND seq = 7", "should be");
    assert_found(
        load,
        "CREATE TABLE twice AS SELECT * FROM blotter.order_events WHERE producer_id = " ONE ";"
        "UPDATE twice SET recorded_at = recorded_at + interval '1 us'; INSERT INTO blotter.order_events SELECT * FROM twice",
        "should be");
    assert_found(load, "UPDATE twice SET producer_id = 9223372036854775807; INSERT INTO blotter.order_events SELECT * FROM twice",
                 "no more");
    story_sql("INSERT INTO blotter.rejects (identity, stream, entry_id, producer_id, seq, reason, raw) "
              "SELECT 'x', '', '', producer_id, seq, 'why not', '' FROM blotter.order_events WHERE producer_id = " ONE);
    story_assert_says(load_wrong_rows(load), "is rejected: why not");
    story_sql("DELETE FROM blotter.rejects");
    load_finish(load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_several_producers_accept_is_proven_stored, story_begin, load_end),
        cmocka_unit_test_setup_teardown(the_proof_finds_what_is_missing_or_changed_or_too_much, story_begin, load_end),
    };
    return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
