/* test_examples.c: the examples that a strategist copies from work as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "tests/fixture/story.h"

/* The examples are built beside the program under test. */
static const char *example(const char *name)
{
    const char *program = fixture_blotter(), *slash = strrchr(program, '/');
    return fixture_format("%.*s/example/%s", slash != NULL ? (int)(slash - program) : 1,
                          slash != NULL ? program : ".", name);
}

/* Runs it with a drainer, to its end. */
static struct fixture_program *run_beside_drainer(const char *const argv[])
{
    story_drainer("one");
    struct fixture_program *program = story_run_program(0, argv, NULL);
    story_await_drained();
    story_assert_says(story_audit(0), "complete");
    return program;
}

static void the_ten_lines_store_an_order(void **state)
{
    (void)state;
    struct fixture_program *program =
        run_beside_drainer((const char *const[]){example("minimal"), NULL});
    assert_string_equal(fixture_program_stdout(program), "done\n");
    assert_string_equal(
        story_sql("SELECT concat_ws(' ', exchange, order_id, price) FROM blotter.order_events"),
        "binance 28 64250.10");
}

static void a_strategy_with_an_event_loop_stores_its_orders(void **state)
{
    (void)state;
    run_beside_drainer((const char *const[]){example("loop"), NULL});
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events WHERE exchange = 'okx'"),
                     50);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.open_orders"), 50);
    /* closing in a loop waits for the word about `closed`, too */
    assert_int_not_equal(access(fixture_format("%s/okx.0", story_journals()), F_OK), 0);
}

static void a_desk_with_threads_stores_what_it_trades(void **state)
{
    (void)state;
    const char *const argv[] = {example("desk"), "--strategies", "20", "--rate",
                                "500",           "--seconds",    "2",  NULL};
    struct fixture_program *program = run_beside_drainer(argv);
    const char *accepted = strstr(fixture_program_stdout(program), "\"accepted\"");
    assert_non_null(accepted);
    assert_true(story_int("SELECT count(DISTINCT exchange) FROM blotter.order_events") == 5);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    const struct CMUnitTest tests[] = {
        TEST(the_ten_lines_store_an_order),
        TEST(a_strategy_with_an_event_loop_stores_its_orders),
        TEST(a_desk_with_threads_stores_what_it_trades),
    };
    return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}
