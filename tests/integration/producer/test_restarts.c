/* test_restarts.c: strategies that die and come back while no drainer runs: what waits in Redis is
 * not sent again, and neither journals nor memory grow. And journals whose records are for another
 * Redis. */
#include "tests/integration/producer/sender_seen.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "producer/journal_recover.h"

enum { RESTARTS = 100, BACKLOG = 500 };

static const char *journals(void)
{
    const char *folder = fixture_format("%s/journals", fixture_folder());
    mkdir(folder, 0700);
    return folder;
}

/* A strategy that records so many orders, awaits that they are sent, and is killed. */
static void live_and_die(int orders, bool sends)
{
    const char *folder = journals(), *url = fixture_redis_url(redis);
    int status;
    pid_t child = fork();
    if (child == 0) {
        blotter_producer *producer;
        struct blotter_options options = {.exchange = "kraken",
                                          .journal = folder,
                                          .redis = url,
                                          .slots = 4096,
                                          .slot_bytes = 512,
                                          .sender =
                                              sends ? BLOTTER_SENDER_THREAD : BLOTTER_SENDER_NONE};
        if (blotter_open(&producer, &options) != 0) {
            _exit(1);
        }
        for (int i = 0; i < orders; i++) {
            if (blotter_order(producer, &(struct blotter_order){.order_id = "1"}) < 0) {
                _exit(2);
            }
        }
        if (sends && blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS) != 0) {
            _exit(3);
        }
        kill(getpid(), SIGKILL);
    }
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static int count_journals(void)
{
    DIR *folder = opendir(journals());
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count;
}

static int64_t entries(void)
{
    return fixture_redis_int(redis, "XLEN " STREAM);
}

static void a_crash_loop_grows_the_stream_by_its_new_records_only(void **state)
{
    (void)state;
    live_and_die(BACKLOG, true);
    assert_int_equal(entries(), 1 + BACKLOG);
    for (int i = 0; i < RESTARTS; i++) {
        live_and_die(1, true);
    }
    /* each: opened, the order, and `closed` for the one before */
    assert_in_range(entries(), 1 + BACKLOG + 3 * RESTARTS, 1 + BACKLOG + 3 * RESTARTS + 64);
    assert_int_equal(count_journals(), 1);
}

static void restarts_without_records_leave_nothing(void **state)
{
    (void)state;
    live_and_die(3, true);
    int64_t before = entries();
    for (int i = 0; i < 20; i++) {
        live_and_die(0, true);
    }
    assert_int_equal(entries(), before + 1); /* `closed` of the first */
    assert_int_equal(count_journals(), 1);
}

static bool all_is_sent(void *wanted)
{
    return entries() >= *(const int64_t *)wanted;
}

static struct fixture_program *start_ship(void)
{
    return fixture_program_start((const char *const[]){fixture_blotter(), "ship", "--redis",
                                                       fixture_redis_url(redis), "--journal",
                                                       journals(), NULL},
                                 NULL);
}

static void beside_ship_a_crash_loop_keeps_one_journal(void **state)
{
    (void)state;
    struct fixture_program *ship = start_ship();
    int64_t wanted = 0;
    for (int i = 0; i < 15; i++) {
        live_and_die(1, true);
        wanted = 2 * (i + 1) + i;
        /* ship looks twice a second; half of the restarts come before it has taken the journal */
        if (i % 2 == 0) {
            fixture_sleep_ms(700);
        }
    }
    assert_true(fixture_wait_until(all_is_sent, &wanted, TIMEOUT_MS));
    assert_int_equal(count_journals(), 1);
    assert_int_equal(fixture_program_stop(ship, SIGTERM, TIMEOUT_MS), 0);
    assert_in_range(entries(), wanted, wanted + 1 + 64);
}

static void ship_that_is_started_again_sends_nothing_again(void **state)
{
    (void)state;
    int64_t wanted = 1 + BACKLOG + 1;
    live_and_die(BACKLOG, false);
    for (int i = 0; i < 5; i++) {
        struct fixture_program *ship = start_ship();
        assert_true(fixture_wait_until(all_is_sent, &wanted, TIMEOUT_MS));
        fixture_sleep_ms(300); /* in which it would send again */
        fixture_program_stop(ship, i % 2 == 0 ? SIGKILL : SIGTERM, TIMEOUT_MS);
    }
    assert_int_equal(entries(), wanted);
}

/* --- which Redis --- */

static const char *stream_id(void)
{
    return fixture_redis_run(redis, "GET blotter-id:{" STREAM "}");
}

static void the_header_keeps_url_and_stream_id(void **state)
{
    (void)state;
    char error[JOURNAL_ERROR_BYTES];
    struct journal_picture picture;
    live_and_die(1, true);
    assert_int_equal(journal_inspect(fixture_format("%s/kraken.0", journals()), &picture, error),
                     0);
    assert_string_equal(picture.target.url, fixture_redis_url(redis));
    assert_string_equal(picture.target.stream_id, stream_id());
    assert_int_equal(strlen(picture.target.stream_id), 32);
}

/* The drawn id is put back, and a newcomer's does not strand the records. */
static void a_flushed_redis_gets_its_records(void **state)
{
    (void)state;
    live_and_die(10, true);
    const char *id = fixture_format("%s", stream_id());
    fixture_redis_run(redis, "FLUSHALL");
    live_and_die(1, true);
    assert_string_equal(stream_id(), id);
    fixture_redis_run(redis, "FLUSHALL");
    fixture_redis_run(redis, "SET blotter-id:{" STREAM "} 00000000000000000000000000000001");
    live_and_die(1, true);
    assert_true(entries() >= 11 + 3 + 3);
}

static blotter_producer *open_here(struct fixture_redis *server, uint32_t slots)
{
    return open_with((struct blotter_options){.journal = journals(),
                                              .redis = fixture_redis_url(server),
                                              .slots = slots,
                                              .slot_bytes = 512});
}

static int64_t length_in(struct fixture_redis *server)
{
    return fixture_redis_int(server, "XLEN " STREAM);
}

static bool has_records(void *server)
{
    return length_in(server) >= 11;
}

static void records_for_another_redis_are_left_alone(void **state)
{
    (void)state;
    live_and_die(10, true);
    struct fixture_redis *other = fixture_redis_start(NULL);
    fixture_redis_run(other, "SET blotter-id:{" STREAM "} 00000000000000000000000000000002");
    blotter_producer *producer = open_here(other, 4096);
    blotter_order(producer, &(struct blotter_order){.order_id = "1"});
    await_event(BLOTTER_EVENT_LEFT_ALONE, 1);
    assert_non_null(strstr(first_text[BLOTTER_EVENT_LEFT_ALONE], "stream id"));
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    while (stats_of(producer).left_alone != 1) {
        fixture_sleep_ms(10);
    }
    assert_int_equal(length_in(other), 2);
    assert_int_equal(count_journals(), 2);
    blotter_close(producer, 0);
    assert_int_equal(count_journals(), 2);
}

static int ship_once(struct fixture_redis *server, const char *flag)
{
    struct fixture_program *ship = fixture_program_start(
        (const char *const[]){fixture_blotter(), "ship", "--once", "--redis",
                              fixture_redis_url(server), "--journal", journals(), flag, NULL},
        NULL);
    int code = fixture_program_wait(ship, TIMEOUT_MS);
    if (code != 0) {
        assert_non_null(
            strstr(fixture_program_stderr(ship), "left alone: its records are for unix:"));
    }
    return code;
}

static void ship_sends_them_elsewhere_only_when_it_is_told_to(void **state)
{
    (void)state;
    live_and_die(10, true);
    struct fixture_redis *other = fixture_redis_start(NULL);
    fixture_redis_run(other, "SET blotter-id:{" STREAM "} 00000000000000000000000000000002");
    assert_int_equal(ship_once(other, NULL), 1);
    assert_int_equal(length_in(other), 0);
    assert_int_equal(ship_once(other, "--retarget"), 0);
    assert_int_equal(length_in(other), 12);
    assert_int_equal(ship_once(other, NULL), 0); /* they are for it now */
    assert_int_equal(length_in(other), 12);
}

/* The same Redis under another name: its id tells. */
static void a_renamed_redis_gets_its_records(void **state)
{
    (void)state;
    live_and_die(10, true);
    fixture_redis_run(redis, "DEL " STREAM);
    const char *link = fixture_format("%s/another-name.sock", fixture_folder());
    assert_int_equal(symlink(fixture_redis_url(redis) + strlen("unix://"), link), 0);
    blotter_producer *producer =
        open_with((struct blotter_options){.journal = journals(),
                                           .redis = fixture_format("unix://%s", link),
                                           .slots = 4096,
                                           .slot_bytes = 512});
    assert_true(fixture_wait_until(has_records, redis, TIMEOUT_MS));
    blotter_close(producer, 0);
}

/* A URL that was wrong has no id of a stream yet: the records follow the one that is right. */
static void a_journal_that_reached_no_redis_is_sent_to_the_first_that_answers(void **state)
{
    (void)state;
    blotter_producer *producer =
        open_with((struct blotter_options){.journal = journals(),
                                           .redis = "unix:///nonexistent/redis.sock",
                                           .slots = 4096,
                                           .slot_bytes = 512});
    for (int i = 0; i < 10; i++) {
        assert_true(blotter_order(producer, &(struct blotter_order){.order_id = "1"}) > 0);
    }
    assert_int_equal(blotter_close(producer, 0), 12);
    producer = open_here(redis, 4096);
    assert_true(fixture_wait_until(has_records, redis, TIMEOUT_MS));
    assert_int_equal(stats_of(producer).left_alone, 0);
    blotter_close(producer, 0);
}

static void a_journal_of_another_size_is_sent_beside_the_new_one(void **state)
{
    (void)state;
    live_and_die(10, false);
    blotter_producer *producer = open_here(redis, 256);
    assert_int_equal(stats_of(producer).slots, 256);
    assert_true(fixture_wait_until(has_records, redis, TIMEOUT_MS));
    blotter_close(producer, 0);
}

/* --- idle --- */

static int64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* In switches, as machines differ: a poll is one. */
static int64_t switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static void an_idle_producer_wakes_seldom(void **state)
{
    (void)state;
    blotter_producer *producer = open_here(redis, 32768);
    blotter_order(producer, &(struct blotter_order){.order_id = "1"});
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    say_settled(stats_of(producer).producer_id, "1-2");
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    fixture_sleep_ms(500);
    int64_t before_us = cpu_us(), before = switches();
    fixture_sleep_ms(3000);
    int64_t took_us = cpu_us() - before_us, woken = switches() - before;
    print_message("idle for 3 s: %lld us of processor, %lld switches\n", (long long)took_us,
                  (long long)woken);
    assert_in_range(woken, 1, 3 * 27); /* 10 polls a second, and what the connection needs */
    blotter_close(producer, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_crash_loop_grows_the_stream_by_its_new_records_only),
        TEST(restarts_without_records_leave_nothing),
        TEST(beside_ship_a_crash_loop_keeps_one_journal),
        TEST(ship_that_is_started_again_sends_nothing_again),
        TEST(the_header_keeps_url_and_stream_id),
        TEST(a_flushed_redis_gets_its_records),
        TEST(records_for_another_redis_are_left_alone),
        TEST(ship_sends_them_elsewhere_only_when_it_is_told_to),
        TEST(a_renamed_redis_gets_its_records),
        TEST(a_journal_that_reached_no_redis_is_sent_to_the_first_that_answers),
        TEST(a_journal_of_another_size_is_sent_beside_the_new_one),
        TEST(an_idle_producer_wakes_seldom),
    };
    return cmocka_run_group_tests_name("restarts", tests, NULL, NULL);
}
