/* test_ship_killed.c: shippers are killed, two look after one folder, and strategies die with
 * children alive: every journal has one sender at a time, and every accepted record is stored,
 * once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/fixture/strategy.h"

static int64_t rows(void)
{
    return story_int("SELECT count(*) FROM blotter.order_events");
}

static void await_rows(int64_t more)
{
    story_await_int(1, "SELECT (count(*) >= %lld)::int FROM blotter.order_events",
                    (long long)(rows() + more));
}

static void a_killed_shipper_is_followed_by_the_next(void **state)
{
    (void)state;
    story_drainer("d");
    struct strategy *strategy = strategy_start(&(struct strategy_options){.per_second = 3000});
    for (int i = 0; i < 5; i++) {
        struct fixture_program *ship = story_start("ship");
        await_rows(500);
        fixture_program_stop(ship, SIGKILL, STORY_TIMEOUT_MS);
        if (i == 2) { /* with nobody to see it */
            strategy_kill(strategy);
            strategy = strategy_start(&(struct strategy_options){.per_second = 3000});
        }
    }
    strategy_kill(strategy);
    story_start("ship");
    strategy_prove("okx", true);
}

/* --- two of them --- */

enum { EXCHANGES = 4 };
static const char *const exchanges[EXCHANGES] = {"okx", "kraken", "binance", "bybit"};

static void start_one_each(struct strategy *strategies[EXCHANGES])
{
    for (int i = 0; i < EXCHANGES; i++) {
        strategies[i] =
            strategy_start(&(struct strategy_options){.exchange = exchanges[i], .per_second = 500});
    }
}

/* All entries that were ever added to a stream. */
static int64_t entries_added(const char *exchange)
{
    return fixture_redis_int(
        story_redis, "EVAL %s 0 blotter:%s",
        "local info = redis.call('XINFO', 'STREAM', ARGV[1])\n"
        "for i = 1, #info, 2 do if info[i] == 'entries-added' then return info[i + 1] end end",
        exchange);
}

/* Without a kill everything is sent once: a second sender would show. */
static void two_shippers_never_send_one_journal(void **state)
{
    (void)state;
    struct strategy *strategies[EXCHANGES];
    story_drainer("d");
    story_start("ship");
    story_start("ship");
    start_one_each(strategies);
    for (int i = 0; i < EXCHANGES; i++) {
        strategy_await_accepted(strategies[i], 500);
    }
    for (int i = 0; i < EXCHANGES; i++) {
        strategy_close(strategies[i]);
    }
    for (int i = 0; i < EXCHANGES; i++) {
        strategy_prove(exchanges[i], true);
        assert_int_equal(
            entries_added(exchanges[i]),
            story_int("SELECT (SELECT count(*) FROM blotter.order_events WHERE exchange = '%s') + "
                      "(SELECT count(*) FROM blotter_internal.sessions WHERE exchange = '%s')",
                      exchanges[i], exchanges[i]));
    }
}

static void each_of_two_shippers_takes_over_from_the_other(void **state)
{
    (void)state;
    struct strategy *strategies[EXCHANGES];
    story_drainer("d");
    struct fixture_program *ships[2] = {story_start("ship"), story_start("ship")};
    start_one_each(strategies);
    for (int i = 0; i < 6; i++) {
        await_rows(1000);
        fixture_program_stop(ships[i % 2], SIGKILL, STORY_TIMEOUT_MS);
        ships[i % 2] = story_start("ship");
    }
    for (int i = 0; i < EXCHANGES; i++) {
        strategy_kill(strategies[i]);
    }
    for (int i = 0; i < EXCHANGES; i++) {
        strategy_prove(exchanges[i], true);
    }
}

/* --- children --- */

static struct {
    _Atomic pid_t child;
    _Atomic bool right; /* every call was answered FORKED */
} * seen;               /* shared */
static int alive[2];    /* a pipe: its end is the children's */

static bool is_forked(blotter_producer *producer)
{
    struct blotter_stats stats;
    return blotter_order(producer, &(struct blotter_order){.order_id = "1"}) == BLOTTER_FORKED &&
           blotter_wait(producer, 1, BLOTTER_SENT, -1) == BLOTTER_FORKED &&
           blotter_flush(producer, BLOTTER_COMMITTED, -1) == BLOTTER_FORKED &&
           blotter_stats(producer, &stats) == BLOTTER_FORKED;
}

/* Outlives the strategy, and never closes what is not its own. */
static void fork_a_child(blotter_producer *producer)
{
    char byte;
    pid_t child = fork();
    if (child != 0) {
        return;
    }
    prctl(PR_SET_PDEATHSIG, 0);
    atomic_store(&seen->right, is_forked(producer));
    atomic_store(&seen->child, getpid());
    close(alive[1]);
    while (read(alive[0], &byte, 1) > 0)
        ;
    _exit(0);
}

static bool child_is_there(void *arg)
{
    (void)arg;
    return atomic_load(&seen->child) != 0;
}

static void a_child_does_not_keep_its_dead_parents_journal(void **state)
{
    (void)state;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
    story_drainer("d");
    for (int i = 0; i < 2; i++) {
        atomic_store(&seen->child, 0);
        struct strategy *strategy = strategy_start(
            &(struct strategy_options){.per_second = 1000, .sends = i == 1, .begin = fork_a_child});
        assert_true(fixture_wait_until(child_is_there, NULL, STORY_TIMEOUT_MS));
        assert_true(atomic_load(&seen->right));
        strategy_await_accepted(strategy, 200); /* the parent goes on */
        strategy_kill(strategy);
        story_run(0, "ship", "--once", "--until", "committed");
        assert_int_equal(kill(atomic_load(&seen->child), 0), 0); /* the child is still there */
        assert_int_not_equal(access(strategy_journal(strategy), F_OK), 0);
        strategy_prove("okx", true);
    }
    close(alive[1]);
    close(alive[0]);
    munmap(seen, sizeof *seen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, strategy_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_killed_shipper_is_followed_by_the_next),
        TEST(two_shippers_never_send_one_journal),
        TEST(each_of_two_shippers_takes_over_from_the_other),
        TEST(a_child_does_not_keep_its_dead_parents_journal),
    };
    return cmocka_run_group_tests_name("ship_killed", tests, NULL, NULL);
}
