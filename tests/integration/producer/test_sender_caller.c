/* test_sender_caller.c: the sender and the process that it works for: in the caller's event loop,
 * woken by submit, telling through a descriptor, closed while threads submit. */
#include "tests/integration/producer/sender_seen.h"

#include <event2/event.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void runs_in_the_callers_loop(void **state)
{
    (void)state;
    struct event_base *base = event_base_new();
    blotter_producer *producer = open_with(
        (struct blotter_options){.slots = 256, .sender = BLOTTER_SENDER_LOOP, .event_base = base});
    submit_many(producer, 10);
    int64_t until = fixture_now_ms() + TIMEOUT_MS;
    while (blotter_wait(producer, 11, BLOTTER_SENT, 0) != BLOTTER_OK && fixture_now_ms() < until) {
        event_base_loop(base, EVLOOP_ONCE);
    }
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 11);
    submit_many(producer, 10);
    assert_int_equal(blotter_close(producer, TIMEOUT_MS), 0);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 22);
    event_base_free(base);
}

static void wakes_without_polling(void **state)
{
    (void)state;
    blotter_producer *producer = open_with((struct blotter_options){.slots = 256, .wake = 1});
    for (int i = 0; i < 200; i++) {
        int64_t seq = submit(producer, i);
        assert_int_equal(blotter_wait(producer, seq, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
        if (i % 50 == 0) {
            fixture_sleep_ms(20);
        }
    }
    blotter_close(producer, 1000);
}

static int eventfd_of_ours(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

/* Returns how often it was written to since it was read last; waits for the first. */
static uint64_t times_told(int fd, int timeout_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    uint64_t times = 0;
    poll(&wanted, 1, timeout_ms);
    return read(fd, &times, sizeof times) == sizeof times ? times : 0;
}

static void a_descriptor_is_told_once_that_a_stage_is_reached(void **state)
{
    (void)state;
    blotter_producer *producer =
        open_with((struct blotter_options){.slots = 4096}); /* far from full, which makes haste */
    int fd = eventfd_of_ours();
    submit_many(producer, 100);
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_SENT, 101), BLOTTER_OK);
    assert_int_equal(times_told(fd, TIMEOUT_MS), 1);
    assert_int_equal(blotter_wait(producer, 101, BLOTTER_SENT, 0), BLOTTER_OK);
    submit_many(producer, 100);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(times_told(fd, 0), 0); /* nobody asked for more */
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_SENT, 101), BLOTTER_OK);
    assert_int_equal(times_told(fd, 0), 1); /* as it is so already */
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_COMMITTED, 50), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_COMMITTED, 150),
                     BLOTTER_OK); /* instead */
    say_settled(stats_of(producer).producer_id, "1-149");
    assert_int_equal(blotter_wait(producer, 149, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(times_told(fd, 0), 0);
    say_settled(stats_of(producer).producer_id, "150");
    assert_int_equal(times_told(fd, TIMEOUT_MS), 1);
    blotter_close(producer, 1000);
    assert_int_equal(times_told(fd, 0), 0);
    close(fd);
}

/* From the word until it is told, in ms. */
static int64_t time_of_word(blotter_producer *producer, int fd, int64_t seq)
{
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_COMMITTED, seq), BLOTTER_OK);
    int64_t began = fixture_now_ms();
    say_settled(stats_of(producer).producer_id, fixture_format("%" PRId64, seq));
    assert_int_equal(times_told(fd, TIMEOUT_MS), 1);
    return fixture_now_ms() - began;
}

/* While nobody waits they are read once a second: who asks when one was just read would wait for
 * that long, each time. */
static void words_are_read_sooner_while_a_descriptor_waits(void **state)
{
    (void)state;
    blotter_producer *producer = open_with((struct blotter_options){.slots = 4096});
    int fd = eventfd_of_ours();
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    int64_t took = time_of_word(producer, fd, 1);
    for (int64_t seq = 2; seq == 2 || (took >= 500 && seq <= 21);
         seq++) { /* one of some: machines are busy */
        took = time_of_word(producer, fd, seq);
    }
    assert_in_range(took, 0, 499);
    blotter_close(producer, 1000);
    close(fd);
}

static void a_descriptor_is_told_of_close_unless_withdrawn(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    int waits = eventfd_of_ours(), withdrawn = eventfd_of_ours();
    assert_int_equal(blotter_notify(producer, waits, BLOTTER_COMMITTED, 100), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, waits, BLOTTER_SENT, 100), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, withdrawn, BLOTTER_COMMITTED, 100), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, withdrawn, BLOTTER_SENT, 100), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, withdrawn, BLOTTER_COMMITTED, 0), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, withdrawn, BLOTTER_SENT, 0), BLOTTER_OK);
    blotter_close(producer, 1000);
    assert_int_equal(times_told(waits, 0), 2);
    assert_int_equal(blotter_wait(producer, 100, BLOTTER_SENT, 0), BLOTTER_CLOSED);
    assert_int_equal(times_told(withdrawn, 0), 0);
    assert_int_equal(blotter_notify(producer, waits, BLOTTER_SENT, 1), BLOTTER_CLOSED);
    close(waits);
    close(withdrawn);
}

static void *submit_until_closed(void *arg)
{
    blotter_producer *producer = arg;
    int64_t seq, accepted = 0;
    while ((seq = submit(producer, 7)) != BLOTTER_CLOSED) {
        accepted += seq > 0;
        blotter_wait(producer, seq, BLOTTER_SENT, 1);
    }
    return (void *)(intptr_t)accepted;
}

static void threads_that_submit_during_close_get_closed(void **state)
{
    (void)state;
    int64_t total = 0;
    for (int round = 0; round < 5; round++) {
        pthread_t threads[4];
        blotter_producer *producer = open_with((struct blotter_options){
            .slots = 1024, .wake = round & 1, .journal = fixture_folder()});
        for (int i = 0; i < 4; i++) {
            pthread_create(&threads[i], NULL, submit_until_closed, producer);
        }
        fixture_sleep_ms(30);
        assert_int_equal(blotter_close(producer, TIMEOUT_MS), 0);
        for (int i = 0; i < 4; i++) {
            void *accepted;
            pthread_join(threads[i], &accepted);
            total += (intptr_t)accepted;
        }
        total += 2; /* opened, closed */
        fixture_redis_run(redis, "DEL unrelated");
    }
    assert_true(fixture_redis_int(redis, "XLEN " STREAM) >=
                total); /* later rounds send what the earlier left once more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(runs_in_the_callers_loop),
        TEST(wakes_without_polling),
        TEST(a_descriptor_is_told_once_that_a_stage_is_reached),
        TEST(words_are_read_sooner_while_a_descriptor_waits),
        TEST(a_descriptor_is_told_of_close_unless_withdrawn),
        TEST(threads_that_submit_during_close_get_closed),
    };
    return cmocka_run_group_tests_name("sender_caller", tests, NULL, NULL);
}
