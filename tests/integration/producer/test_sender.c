/* test_sender.c: what is submitted arrives in Redis once and in order, and its place is free again
 * only on the drainer's word. The drainer here is a line: it says that a range is settled, as
 * `blotter drain` would. */
#include "tests/integration/producer/sender_seen.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t count_of(const struct blotter_histogram *histogram)
{
    uint64_t count = 0;
    for (int i = 0; i < BLOTTER_BUCKETS; i++) {
        count += histogram->count[i];
    }
    return count;
}

static void the_time_until_redis_has_a_record_is_measured(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_pause(redis);
    int64_t seq = submit(producer, 1);
    fixture_sleep_ms(50); /* what is to be measured */
    fixture_redis_resume(redis);
    assert_int_equal(blotter_wait(producer, seq, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    struct blotter_stats stats = stats_of(producer);
    assert_int_equal(count_of(&stats.submit_to_sent_ns), stats.sent);
    assert_true(blotter_percentile(&stats.submit_to_sent_ns, 100) >= 50000000);
    blotter_close(producer, 1000);
}

static void records_arrive_in_order_and_are_committed_on_the_word(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 100);
    assert_int_equal(blotter_wait(producer, 101, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 101);
    assert_int_equal(blotter_wait(producer, 101, BLOTTER_COMMITTED, 50), BLOTTER_TIMEOUT);
    assert_int_equal(stats_of(producer).held, 101);
    say_settled(stats_of(producer).producer_id, "1-50,52-101");
    assert_int_equal(blotter_wait(producer, 50, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(blotter_wait(producer, 51, BLOTTER_COMMITTED, 50), BLOTTER_TIMEOUT);
    say_settled(stats_of(producer).producer_id, "51");
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(stats_of(producer).held, 0);
    assert_int_equal(blotter_close(producer, TIMEOUT_MS), 0);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 102); /* and `closed` */
    assert_int_equal(blotter_wait(producer, 1, BLOTTER_SENT, 0), BLOTTER_CLOSED);
    assert_int_equal(submit(producer, 1), BLOTTER_CLOSED);
}

static void *close_it(void *producer)
{
    return (void *)(intptr_t)blotter_close(producer, TIMEOUT_MS);
}

/* Says the word for `closed` while the producer is closed. Is its journal gone? */
static bool is_gone_after_close(int number)
{
    const char *path = fixture_format("%s/journal-%d", fixture_folder(), number);
    blotter_producer *producer = open_with((struct blotter_options){.slots = 256, .journal = path});
    int64_t id = stats_of(producer).producer_id;
    submit_many(producer, 10);
    pthread_t closer;
    pthread_create(&closer, NULL, close_it, producer);
    await_length(12 * (number + 1)); /* with `closed` */
    say_settled(id, "1-12");
    void *unsent;
    pthread_join(closer, &unsent);
    assert_null(unsent);
    return access(path, F_OK) != 0;
}

/* Closing waits a fifth of a second for that word, which on a busy machine may come later. */
static void a_journal_that_is_committed_is_gone_after_close(void **state)
{
    (void)state;
    bool gone = false;
    for (int i = 0; i < 20 && !gone; i++) {
        gone = is_gone_after_close(i);
    }
    assert_true(gone);
}

static void words_for_records_that_were_not_sent_do_not_count(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    int64_t id = stats_of(producer).producer_id;
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    say_settled(id, "1-1000");
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 100), BLOTTER_TIMEOUT);
    blotter_close(producer, 100);
}

enum { SLOTS = 1024 };

static bool has_evicted(void *producer)
{
    return stats_of(producer).held <= SLOTS / 8 * 7;
}

static void a_full_ring_lets_sent_records_go_and_counts_them(void **state)
{
    (void)state;
    enum { RECORDS = 4000 };
    blotter_producer *producer = open_with((struct blotter_options){.slots = SLOTS});
    int64_t seq = 0;
    for (int i = 0; i < RECORDS; i++) {
        seq = submit(producer, i);
        assert_true(seq > 0);
        if (i % 20 == 0) {
            assert_int_equal(blotter_wait(producer, seq, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
            /* room is made before it is needed, and not by a submit that finds none */
            assert_true(fixture_wait_until(has_evicted, producer, TIMEOUT_MS));
        }
    }
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_true(stats_of(producer).evicted >= 1 + RECORDS - SLOTS);
    assert_int_equal(stats_of(producer).full, 0);
    assert_int_equal(told(BLOTTER_EVENT_EVICTED), 1);
    say_settled(stats_of(producer).producer_id, fixture_format("1-%lld", (long long)seq));
    assert_int_equal(blotter_wait(producer, seq, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    int64_t held = stats_of(producer).held;
    assert_in_range(held, 0, stats_of(producer).accepted - seq); /* heartbeats since */
    blotter_close(producer, 100);
}

static void a_dead_process_journal_is_sent_by_the_next(void **state)
{
    (void)state;
    const char *path = journal_path(); /* the fixture is the parent's */
    pid_t child = fork();
    if (child == 0) {
        struct blotter_options options = {.exchange = "kraken",
                                          .journal = path,
                                          .slots = 256,
                                          .slot_bytes = 512,
                                          .sender = BLOTTER_SENDER_NONE};
        blotter_producer *producer;
        if (blotter_open(&producer, &options) != 0) {
            _exit(1);
        }
        for (int i = 0; i < 20; i++) {
            submit(producer, i);
        }
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    blotter_producer *producer = open_small();
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM),
                     1 + 20 + 1); /* opened, records, closed */
    blotter_close(producer, 1000);
}

static void a_leftover_that_waits_in_redis_is_not_sent_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    int64_t id = stats_of(producer).producer_id;
    submit_many(producer, 30);
    assert_int_equal(blotter_close(producer, TIMEOUT_MS), 0);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 32);
    say_settled(id, "1-20");
    producer = open_small();
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 32); /* the rest waits in Redis */
    submit(producer, 1);
    say_settled(id, "21-1000"); /* what is behind its own records is another producer's */
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 100), BLOTTER_TIMEOUT);
    say_settled(stats_of(producer).producer_id, "1-2");
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    blotter_close(producer, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_time_until_redis_has_a_record_is_measured),
        TEST(records_arrive_in_order_and_are_committed_on_the_word),
        TEST(a_journal_that_is_committed_is_gone_after_close),
        TEST(words_for_records_that_were_not_sent_do_not_count),
        TEST(a_full_ring_lets_sent_records_go_and_counts_them),
        TEST(a_dead_process_journal_is_sent_by_the_next),
        TEST(a_leftover_that_waits_in_redis_is_not_sent_again),
    };
    return cmocka_run_group_tests_name("sender", tests, NULL, NULL);
}
