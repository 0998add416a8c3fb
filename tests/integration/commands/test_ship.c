/* test_ship.c: `blotter ship` sends for processes that do not send themselves, or have died: every
 * record that they accepted is stored, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "producer/journal.h"
#include "tests/fixture/figure.h"
#include "tests/fixture/strategy.h"

static bool is_gone(void *path)
{
    return access(path, F_OK) != 0;
}

static void await_gone(const char *path)
{
    if (!fixture_wait_until(is_gone, (void *)(uintptr_t)path, STORY_TIMEOUT_MS)) {
        fixture_fail("%s is still there", path);
    }
}

static int64_t sessions(const struct strategy *strategy, const char *event)
{
    return story_int(
        "SELECT count(*) FROM blotter_internal.sessions WHERE producer_id = %lld AND event = '%s'",
        (long long)strategy_producer_id(strategy), event);
}

/* --- following and adopting --- */

static void it_cannot_wait(blotter_producer *producer)
{
    if (blotter_wait(producer, 1, BLOTTER_SENT, 1000) != BLOTTER_NO_SENDER) {
        _exit(1);
    }
}

static void a_strategy_without_a_sender_is_sent_for(void **state)
{
    (void)state;
    story_drainer("d");
    struct fixture_program *ship = story_start("ship");
    struct strategy *strategy =
        strategy_start(&(struct strategy_options){.per_second = 2000, .begin = it_cannot_wait});
    strategy_await_accepted(strategy, 2000);
    story_await_int(1,
                    "SELECT (count(*) >= 1000)::int FROM blotter.order_events"); /* while it runs */
    strategy_close(strategy);
    strategy_prove("okx", true);
    await_gone(strategy_journal(strategy));
    assert_int_equal(sessions(strategy, "closed"), 1);
    assert_int_equal(fixture_program_stop(ship, SIGTERM, STORY_TIMEOUT_MS), 0);
    story_assert_says(fixture_program_stderr(ship), "stopped: journals=0 left_alone=0 unsent=0");
}

static void a_killed_strategy_is_adopted(void **state)
{
    (void)state;
    story_drainer("d");
    story_start("ship");
    struct strategy *strategy =
        strategy_start(&(struct strategy_options){.per_second = 0, .slots = 1024});
    strategy_await_accepted(strategy, 5000);
    strategy_kill(strategy);
    strategy_prove("okx", true);
    await_gone(strategy_journal(strategy));
    assert_int_equal(sessions(strategy, "opened"), 1);
    assert_int_equal(sessions(strategy, "closed"), 1);
}

/* Small journals, and few records: what counts is what becomes of the files. */
static struct strategy *start_small(const char *exchange, bool sends)
{
    struct strategy *strategy = strategy_start(&(struct strategy_options){
        .exchange = exchange, .slots = 256, .per_second = 500, .sends = sends});
    strategy_await_accepted(strategy, 50);
    return strategy;
}

static const char *write_journal_of_the_future(const char *model)
{
    const char *path = fixture_format("%s/future.0", story_journals());
    struct journal_geometry geometry;
    FILE *from = fopen(model, "rb"), *to = fopen(path, "wb");
    if (from == NULL || to == NULL || fread(&geometry, sizeof geometry, 1, from) != 1) {
        fixture_fail("cannot copy %s", model);
    }
    geometry.version = 7;
    for (int i = 0; i < 20; i++) { /* pages: one that has no copy of it, too */
        char page[JOURNAL_PAGE_BYTES] = "";
        memcpy(page, &geometry, sizeof geometry);
        fwrite(page, sizeof page, 1, to);
    }
    fclose(from);
    fclose(to);
    return path;
}

/* Two dead ones of one exchange, one of another, one that is written and one that is none, and one
 * whose process sends itself. */
static void a_whole_folder_is_sent_and_what_cannot_be_read_is_named(void **state)
{
    (void)state;
    const char *junk = fixture_format("%s/notes.txt", story_journals());
    struct strategy *dead[3] = {start_small("okx", false), start_small("okx", false),
                                start_small("kraken", false)};
    struct strategy *written = start_small("binance", false), *sending = start_small("bybit", true);
    for (int i = 0; i < 3; i++) {
        strategy_kill(dead[i]);
    }
    fixture_write_file(junk, "not a journal\n");
    const char *future = write_journal_of_the_future(strategy_journal(dead[0]));
    story_drainer("d");
    struct fixture_program *ship = story_run(1, "ship", "--once", "--until", "committed");
    story_assert_says(fixture_program_stdout(ship), "{\"journals\": 4, \"sent\": ");
    story_assert_says(fixture_program_stdout(ship), "\"left\": 0, \"seconds\": ");
    story_assert_says(fixture_program_stderr(ship), "object=notes.txt msg=\"left alone: ");
    story_assert_says(fixture_program_stderr(ship),
                      "object=future.0 msg=\"left alone: format version 7");
    for (int i = 0; i < 3; i++) {
        assert_true(is_gone((void *)(uintptr_t)strategy_journal(dead[i])));
    }
    assert_string_equal(fixture_read_file(junk), "not a journal\n");
    assert_int_equal(access(strategy_journal(written), F_OK), 0);
    strategy_close(written);
    strategy_close(sending);
    unlink(junk);
    unlink(future);
    /* closing waits 200 ms for the confirmation: on a busy machine a journal is left */
    int left = is_gone((void *)(uintptr_t)strategy_journal(sending)) ? 1 : 2;
    story_assert_says(
        fixture_program_stdout(story_run(0, "ship", "--once", "--until", "committed")),
        fixture_format("{\"journals\": %d, ", left));
    story_assert_says(fixture_program_stdout(story_run(0, "ship", "--once")),
                      "{\"journals\": 0, \"sent\": 0, ");
    strategy_prove("okx", true);
    strategy_prove("kraken", true);
    strategy_prove("binance", true);
    strategy_prove("bybit", true);
}

/* A damaged journal is named once, and not at every look. */
static void a_file_is_named_once(void **state)
{
    (void)state;
    fixture_write_file(fixture_format("%s/notes.txt", story_journals()), "not a journal\n");
    struct fixture_program *ship = story_start("ship");
    assert_true(fixture_program_says(ship, "object=notes.txt", STORY_TIMEOUT_MS));
    struct strategy *strategy =
        start_small("okx", false); /* two more looks: it is found at one, and its end at another */
    assert_true(fixture_program_says(ship, "object=okx.0 msg=\"followed", STORY_TIMEOUT_MS));
    strategy_kill(strategy);
    assert_true(fixture_program_says(ship, "object=okx.0 msg=\"adopted", STORY_TIMEOUT_MS));
    assert_int_equal(fixture_program_stop(ship, SIGTERM, STORY_TIMEOUT_MS), 0);
    const char *first = strstr(fixture_program_stderr(ship), "notes.txt");
    assert_null(strstr(first + 1, "notes.txt"));
    story_assert_says(fixture_program_stderr(ship), "stopped: journals=1 left_alone=");
}

static const char *write_zeros(const char *name, off_t bytes)
{
    const char *path = fixture_format("%s/%s", story_journals(), name);
    fixture_write_file(path, "");
    if (truncate(path, bytes) != 0) {
        fixture_fail("cannot make %s longer", path);
    }
    return path;
}

/* Its checksums are right: whoever can write the file can make them. */
static void what_a_journal_says_of_its_writer_moves_no_terminals_cursor(void **state)
{
    (void)state;
    struct journal_owner owner;
    struct strategy *strategy = start_small("okx", false);
    off_t place = offsetof(struct journal_header, owner);

    strategy_kill(strategy);
    int fd = open(strategy_journal(strategy), O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &owner, sizeof owner, place), sizeof owner);
    snprintf(owner.host, sizeof owner.host, "\x1b[2Jowned");
    journal_owner_seal(&owner, JOURNAL_VERSION);
    assert_int_equal(pwrite(fd, &owner, sizeof owner, place), sizeof owner);
    close(fd);
    const char *shown = fixture_program_stdout(story_run(0, "journal", strategy_journal(strategy)));
    story_assert_says(shown, " on \\x1b[2Jowned: open, or died");
    assert_null(strchr(shown, '\x1b'));
}

/* A process was killed while it made them. */
static void files_that_became_no_journal_are_named_and_no_failure(void **state)
{
    (void)state;
    const char *zeros = write_zeros("okx.0", 1 << 20), *empty = write_zeros("okx.1", 0);
    struct fixture_program *ship = story_run(0, "ship", "--once");
    story_assert_says(fixture_program_stderr(ship), "object=okx.0 msg=\"left alone: it holds noth");
    story_assert_says(fixture_program_stderr(ship), "object=okx.1 msg=\"left alone: it holds noth");
    story_assert_says(fixture_program_stdout(ship), "{\"journals\": 0, ");
    ship = story_run(0, "ship", "--once", "--journal", zeros);
    story_assert_says(fixture_program_stderr(ship), "object=okx.0 msg=\"left alone: it holds noth");
    story_run(0, "ship", "--once", "--journal", empty);
    story_assert_says(fixture_program_stderr(story_run(1, "journal", zeros)), "it holds nothing: ");
    int fd = open(zeros, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 1 << 19), 1);
    ship = story_run(1, "ship", "--once"); /* something was in it */
    story_assert_says(fixture_program_stderr(ship), "object=okx.0 msg=\"left alone: this is not a");
    assert_int_equal(pwrite(fd, "", 1, 1 << 19), 1);
    close(fd);
    struct strategy *strategy = start_small("okx", false);
    assert_string_equal(strategy_journal(strategy), zeros);
    strategy_kill(strategy);
}

/* --- who adopts --- */

static void two_processes_serve_one_exchange(void **state)
{
    (void)state;
    story_drainer("d");
    story_start("ship");
    struct strategy *sending[2] = {start_small("okx", true), start_small("okx", true)};
    struct strategy *silent[2] = {start_small("kraken", false), start_small("kraken", false)};
    story_assert_says(strategy_journal(sending[0]), "/okx.0");
    story_assert_says(strategy_journal(sending[1]), "/okx.1");
    story_assert_says(strategy_journal(silent[1]), "/kraken.1");
    for (int i = 0; i < 2; i++) {
        strategy_await_accepted(sending[i], 200);
        strategy_close(sending[i]);
        strategy_await_accepted(silent[i], 200);
        strategy_close(silent[i]);
    }
    strategy_prove("okx", true);
    strategy_prove("kraken", true);
}

static void a_strategy_that_restarts_adopts_what_it_left(void **state)
{
    (void)state;
    story_drainer("d");
    for (int i = 0; i < 3; i++) {
        struct strategy *strategy = start_small("okx", true);
        story_assert_says(strategy_journal(strategy), "/okx.0");
        strategy_kill(strategy);
    }
    strategy_close(start_small("okx", true));
    strategy_prove("okx", true);
    story_await_int(4, "SELECT count(*) FROM blotter_internal.sessions WHERE event = 'closed'");
}

static void a_strategy_without_a_sender_restarts_while_it_is_followed(void **state)
{
    (void)state;
    story_drainer("d");
    story_start("ship");
    for (int i = 0; i < 4; i++) {
        strategy_kill(start_small("okx", false));
    }
    strategy_close(start_small("okx", false));
    strategy_prove("okx", true);
}

/* PostgreSQL is away, so the shipper cannot finish with what it has adopted. */
static void a_named_journal_is_given_back_to_a_strategy_that_sends(void **state)
{
    (void)state;
    const char *path = fixture_format("%s/mine", story_journals());
    struct strategy_options options = {
        .journal = path, .slots = 256, .per_second = 500, .sends = true};
    struct strategy *strategy = strategy_start(&options);
    strategy_await_accepted(strategy, 50);
    struct fixture_program *ship = story_start("ship");
    strategy_kill(strategy);
    assert_true(fixture_program_says(ship, "object=mine msg=\"adopted", STORY_TIMEOUT_MS));
    strategy = strategy_start(&options);
    assert_true(fixture_program_says(ship, "object=mine msg=\"given back to", STORY_TIMEOUT_MS));
    strategy_await_accepted(strategy, 50);
    story_drainer("d");
    strategy_close(strategy);
    strategy_prove("okx", true);
}

static bool is_full(void *strategy)
{
    return strategy_full(strategy) > 0;
}

static void a_journal_that_was_unlinked_and_its_successor_are_both_sent(void **state)
{
    (void)state;
    story_drainer("d");
    struct fixture_program *ship = story_start("ship");
    struct strategy *first = start_small("okx", false);
    assert_true(fixture_program_says(ship, "object=okx.0 msg=\"followed", STORY_TIMEOUT_MS));
    unlink(strategy_journal(first));
    struct strategy *second = start_small("okx", false);
    assert_string_equal(strategy_journal(first), strategy_journal(second));
    strategy_await_accepted(second, 300); /* more than its journal holds */
    strategy_kill(first);
    strategy_kill(second);
    strategy_prove("okx", true);
}

/* Nobody needs its places any more. */
static void nothing_of_a_dead_strategy_is_evicted(void **state)
{
    (void)state;
    struct strategy *strategy = strategy_start(&(struct strategy_options){.slots = 256});
    assert_true(fixture_wait_until(is_full, strategy, STORY_TIMEOUT_MS));
    strategy_kill(strategy);
    story_run(0, "ship", "--once");
    fixture_redis_run(story_redis, "FLUSHALL");
    story_drainer("d");
    story_run(0, "ship", "--once", "--until", "committed");
    strategy_prove("okx", true);
}

/* --- what it costs --- */

/* One poll a millisecond for all journals, and a look each 50 ms at each. */
enum {
    LATENCIES = 300,
    IDLE_JOURNALS = 8,
    IDLE_MS = 2000,
    IDLE_PERCENT_MAX = 25,
    WAKES_PER_SECOND_MAX = 2000
};

static int64_t cpu_ns_of(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) {
        fixture_fail("cannot read the processor time of %d", (int)pid);
    }
    return used.tv_sec * INT64_C(1000000000) + used.tv_nsec;
}

static int64_t wakes_of(pid_t pid)
{
    static const char name[] = "voluntary_ctxt_switches:";
    const char *status = fixture_read_file(fixture_format("/proc/%d/status", (int)pid)),
               *at = strstr(status, name);
    if (at == NULL) {
        fixture_fail("cannot read the status of %d", (int)pid);
    }
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

static void an_idle_shipper_costs_little(void **state)
{
    (void)state;
    struct fixture_program *ship = story_start("ship");
    pid_t pid = fixture_program_pid(ship);
    for (int i = 0; i < IDLE_JOURNALS; i++) {
        strategy_start(&(struct strategy_options){.exchange = fixture_format("exchange-%d", i),
                                                  .per_second = 1});
    }
    for (int i = 0; i < IDLE_JOURNALS; i++) {
        assert_true(fixture_program_says(ship, fixture_format("object=exchange-%d.0", i),
                                         STORY_TIMEOUT_MS));
    }
    int64_t cpu = cpu_ns_of(pid), wakes = wakes_of(pid), began = figure_now_ns();
    fixture_sleep_ms(IDLE_MS);
    double seconds = (double)(figure_now_ns() - began) / 1e9,
           per_second = (double)(wakes_of(pid) - wakes) / seconds;
    double percent = (double)(cpu_ns_of(pid) - cpu) / 1e7 / seconds;
    print_message("ship, %d idle journals: %.2f %% of a processor, awake %.0f times a second\n",
                  IDLE_JOURNALS, percent, per_second);
    assert_true(percent < IDLE_PERCENT_MAX);
    assert_true(per_second < WAKES_PER_SECOND_MAX);
}

static int64_t *latencies; /* shared with the strategy */

/* From submit until Redis has answered for it, as the journal says. */
static void time_orders(blotter_producer *producer)
{
    struct blotter_stats stats;
    for (int i = 0; i < LATENCIES; i++) {
        int64_t began = figure_now_ns(),
                seq = blotter_order(producer, &(struct blotter_order){.client_order_id = "timed"});
        do {
            usleep(50);
            blotter_stats(producer, &stats);
        } while (stats.sent < seq);
        latencies[i] = figure_now_ns() - began;
    }
    figure_sort(latencies + 1, LATENCIES - 1); /* the first one waits until its journal is found */
}

static void a_record_waits_for_milliseconds(void **state)
{
    (void)state;
    latencies = mmap(NULL, LATENCIES * sizeof *latencies, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    story_start("ship");
    strategy_start(&(struct strategy_options){.per_second = 1, .begin = time_orders});
    double p50 = figure_percentile(latencies + 1, LATENCIES - 1, 50) / 1e6;
    print_message("ship, submit until sent: p50 %.2f ms, p99 %.2f ms\n", p50,
                  figure_percentile(latencies + 1, LATENCIES - 1, 99) / 1e6);
    assert_true(p50 < 10);
    munmap(latencies, LATENCIES * sizeof *latencies);
}

/* --- the command --- */

static void one_journal_is_waited_for_and_followed(void **state)
{
    (void)state;
    const char *path = fixture_format("%s/mine", story_journals());
    story_drainer("d");
    struct fixture_program *ship = story_start("ship", "--journal", path);
    assert_true(fixture_program_says(ship, "looks for journals", STORY_TIMEOUT_MS));
    struct strategy *other = start_small("okx", false);
    for (int i = 0; i < 2; i++) {
        struct strategy *strategy =
            strategy_start(&(struct strategy_options){.exchange = "kraken", .journal = path});
        strategy_await_accepted(strategy, 50);
        strategy_kill(strategy);
        strategy_prove("kraken", true);
        await_gone(path);
    }
    assert_int_equal(fixture_program_stop(ship, SIGTERM, STORY_TIMEOUT_MS), 0);
    assert_null(strstr(fixture_program_stderr(ship), "okx"));
    strategy_kill(other);
}

static void the_exit_status_says_what_was_wrong(void **state)
{
    (void)state;
    struct strategy *sending = start_small("bybit", true);
    struct fixture_program *ship =
        story_run(1, "ship", "--once", "--journal", strategy_journal(sending));
    story_assert_says(fixture_program_stderr(ship), "the process that writes it sends by itself");
    story_run(2, "ship", "--once", "--journal", "/nowhere/okx.0");
    story_run(2, "ship", "--journal", "/nowhere/okx.0");
    story_run(2, "ship", "--journal", "/nowhere/");
    strategy_kill(sending);
    ship = story_run(1, "ship", "--once", "--until", "committed", "--timeout",
                     "3s"); /* there is no drainer */
    story_assert_says(
        fixture_program_stderr(ship),
        "given up, as nothing moved for the time given by the setting timeout, with ");
    story_assert_says(fixture_program_stderr(ship), "is a drainer running?");
    story_assert_says(fixture_program_stdout(story_run(0, "ship", "--once")), "{\"journals\": 1, ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, strategy_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_strategy_without_a_sender_is_sent_for),
        TEST(a_killed_strategy_is_adopted),
        TEST(a_whole_folder_is_sent_and_what_cannot_be_read_is_named),
        TEST(a_file_is_named_once),
        TEST(what_a_journal_says_of_its_writer_moves_no_terminals_cursor),
        TEST(files_that_became_no_journal_are_named_and_no_failure),
        TEST(two_processes_serve_one_exchange),
        TEST(a_strategy_that_restarts_adopts_what_it_left),
        TEST(a_strategy_without_a_sender_restarts_while_it_is_followed),
        TEST(a_named_journal_is_given_back_to_a_strategy_that_sends),
        TEST(a_journal_that_was_unlinked_and_its_successor_are_both_sent),
        TEST(nothing_of_a_dead_strategy_is_evicted),
        TEST(an_idle_shipper_costs_little),
        TEST(a_record_waits_for_milliseconds),
        TEST(one_journal_is_waited_for_and_followed),
        TEST(the_exit_status_says_what_was_wrong),
    };
    return cmocka_run_group_tests_name("ship", tests, NULL, NULL);
}
