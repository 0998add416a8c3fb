/* test_sender.c: what is submitted arrives in Redis once and in order, whatever happens there, and its place is free again only
 * on the drainer's word. The drainer here is a few lines: it says that a range is settled, as `blotter drain` would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "schema/stream.h"
#include "tests/fixture/fixture.h"
#include "tests/fixture/proxy.h"
#include "tests/fixture/servers.h"

#define STREAM "blotter:kraken"

static struct fixture_redis *redis;
static int events[16];
static char first_text[16][160];

static int told(enum blotter_event event)
{
    return __atomic_load_n(&events[event], __ATOMIC_SEQ_CST);
}

static void on_event(void *arg, enum blotter_event event, const char *text)
{
    (void)arg;
    if (told(event) == 0) /* the first text is kept, so that the test may read it */
        snprintf(first_text[event], sizeof first_text[event], "%s", text);
    __atomic_fetch_add(&events[event], 1, __ATOMIC_SEQ_CST);
}

static int start(void **state)
{
    (void)state;
    memset(events, 0, sizeof events);
    redis = fixture_redis_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_cleanup();
    return 0;
}

static const char *journal_path(void)
{
    return fixture_format("%s/journal", fixture_folder());
}

static blotter_producer *open_with(struct blotter_options options)
{
    blotter_producer *producer;
    options.exchange = "kraken";
    options.journal = options.journal ? options.journal : journal_path();
    options.redis = options.redis ? options.redis : fixture_redis_url(redis);
    options.on_event = on_event;
    if (blotter_open(&producer, &options) != 0)
        fail_msg("%s", blotter_open_error());
    return producer;
}

static blotter_producer *open_small(void)
{
    return open_with((struct blotter_options){.slots = 256, .slot_bytes = 512});
}

static int64_t submit(blotter_producer *producer, int number)
{
    char id[24];
    snprintf(id, sizeof id, "%d", number);
    return blotter_order(producer, &(struct blotter_order){.order_id = id, .price = "10.100"});
}

static void submit_many(blotter_producer *producer, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(submit(producer, i) > 0);
}

static struct blotter_stats stats_of(blotter_producer *producer)
{
    struct blotter_stats stats;
    assert_int_equal(blotter_stats(producer, &stats), 0);
    return stats;
}

/* The drainer's word. */
static void say_settled(int64_t producer_id, const char *ranges)
{
    fixture_redis_run(redis, "XADD blotter-ack:{" STREAM "}:%lld * settled %s", (long long)producer_id, ranges);
}

/* As the drainer does: reads, says so, acks. */
static void drain_all(int64_t producer_id, int64_t last_seq)
{
    say_settled(producer_id, fixture_format("1-%" PRId64, last_seq));
}

struct awaited {
    blotter_producer *producer;
    enum blotter_event event;
    int64_t value;
};

static bool was_told(void *arg)
{
    struct awaited *awaited = arg;
    return told(awaited->event) >= awaited->value;
}

static void await_event(enum blotter_event event, int times, int timeout_ms)
{
    struct awaited awaited = {.event = event, .value = times};
    assert_true(fixture_wait_until(was_told, &awaited, timeout_ms));
}

static bool length_reached(void *arg)
{
    struct awaited *awaited = arg;
    return fixture_redis_int(redis, "XLEN " STREAM) >= awaited->value;
}

static void await_length(int64_t length, int timeout_ms)
{
    struct awaited awaited = {.value = length};
    assert_true(fixture_wait_until(length_reached, &awaited, timeout_ms));
}

/* --- tests ---------------------------------------------------------------------------------------------------------------- */

static uint64_t count_of(const struct blotter_histogram *histogram)
{
    uint64_t count = 0;
    for (int i = 0; i < BLOTTER_BUCKETS; i++)
        count += histogram->count[i];
    return count;
}

static void the_time_until_redis_has_a_record_is_measured(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    fixture_redis_pause(redis);
    int64_t seq = submit(producer, 1);
    fixture_sleep_ms(50); /* what is to be measured */
    fixture_redis_resume(redis);
    assert_int_equal(blotter_wait(producer, seq, BLOTTER_SENT, 10000), BLOTTER_OK);
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
    assert_int_equal(blotter_wait(producer, 101, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 101);
    assert_int_equal(blotter_wait(producer, 101, BLOTTER_COMMITTED, 50), BLOTTER_TIMEOUT);
    assert_int_equal(stats_of(producer).held, 101);
    say_settled(stats_of(producer).producer_id, "1-50,52-101");
    assert_int_equal(blotter_wait(producer, 50, BLOTTER_COMMITTED, 1000), BLOTTER_OK);
    assert_int_equal(blotter_wait(producer, 51, BLOTTER_COMMITTED, 50), BLOTTER_TIMEOUT);
    say_settled(stats_of(producer).producer_id, "51");
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 1000), BLOTTER_OK);
    assert_int_equal(stats_of(producer).held, 0);
    assert_int_equal(blotter_close(producer, 1000), 0);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 102); /* and `closed` */
    assert_int_equal(blotter_wait(producer, 1, BLOTTER_SENT, 0), BLOTTER_CLOSED);
    assert_int_equal(submit(producer, 1), BLOTTER_CLOSED);
}

static void *close_it(void *producer)
{
    return (void *)(intptr_t)blotter_close(producer, 2000);
}

static void a_journal_that_is_committed_is_gone_after_close(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    int64_t id = stats_of(producer).producer_id;
    submit_many(producer, 10);
    pthread_t closer;
    pthread_create(&closer, NULL, close_it, producer);
    await_length(12, 2000); /* with `closed` */
    say_settled(id, "1-12");
    void *unsent;
    pthread_join(closer, &unsent);
    assert_null(unsent);
    assert_int_not_equal(access(journal_path(), F_OK), 0);
}

static void words_for_records_that_were_not_sent_do_not_count(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    int64_t id = stats_of(producer).producer_id;
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    say_settled(id, "1-1000");
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 10000), BLOTTER_OK);
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 100), BLOTTER_TIMEOUT);
    blotter_close(producer, 100);
}

static void a_full_ring_lets_sent_records_go_and_counts_them(void **state)
{
    (void)state;
    enum { SLOTS = 1024, RECORDS = 4000 };
    blotter_producer *producer = open_with((struct blotter_options){.slots = SLOTS});
    for (int i = 0; i < RECORDS; i++) {
        int64_t seq = submit(producer, i);
        assert_true(seq > 0);
        if (i % 20 == 0)
            assert_int_equal(blotter_wait(producer, seq, BLOTTER_SENT, 10000), BLOTTER_OK);
    }
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_true(stats_of(producer).let_go >= 1 + RECORDS - SLOTS);
    assert_int_equal(stats_of(producer).full, 0);
    assert_int_equal(told(BLOTTER_EVENT_LET_GO), 1);
    drain_all(stats_of(producer).producer_id, 1 + RECORDS);
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 10000), BLOTTER_OK);
    assert_int_equal(stats_of(producer).held, 0);
    blotter_close(producer, 100);
}

static void nothing_is_lost_while_redis_is_away(void **state)
{
    (void)state;
    struct fixture_redis *kept = fixture_redis_start(&(struct fixture_redis_options){.aof = true, .appendfsync = "always"});
    redis = kept;
    blotter_producer *producer = open_small();
    submit_many(producer, 50);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    fixture_redis_kill9(kept);
    await_event(BLOTTER_EVENT_REDIS_DOWN, 1, 2000);
    int accepted = 0, full = 0;
    for (int i = 0; i < 300; i++) {
        int64_t seq = submit(producer, i);
        accepted += seq > 0;
        full += seq == BLOTTER_FULL;
    }
    assert_int_equal(accepted + full, 300);
    assert_true(full > 0);
    await_event(BLOTTER_EVENT_FULL, 1, 1000);
    assert_true(strlen(stats_of(producer).last_error) > 0);
    fixture_redis_start_again(kept);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    await_event(BLOTTER_EVENT_ROOM, 1, 1000);
    assert_true(submit(producer, 1) > 0);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 1 + 50 + accepted + 1);
    assert_int_equal(told(BLOTTER_EVENT_REDIS_DOWN), 1);
    assert_string_equal(stats_of(producer).last_error, "");
    blotter_close(producer, 1000);
}

static void a_dead_process_journal_is_sent_by_the_next(void **state)
{
    (void)state;
    const char *path = journal_path(); /* the fixture is the parent's */
    pid_t child = fork();
    if (child == 0) {
        struct blotter_options options = {.exchange = "kraken", .journal = path, .sender = BLOTTER_SENDER_NONE};
        blotter_producer *producer;
        if (blotter_open(&producer, &options) != 0)
            _exit(1);
        for (int i = 0; i < 20; i++)
            submit(producer, i);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    blotter_producer *producer = open_small();
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 1 + 20 + 1 + 1); /* opened, records, closed, opened */
    blotter_close(producer, 1000);
}

static void what_is_committed_of_a_leftover_is_not_sent_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    int64_t id = stats_of(producer).producer_id;
    submit_many(producer, 30);
    assert_int_equal(blotter_close(producer, 1000), 0);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 32);
    say_settled(id, "1-20");
    producer = open_small();
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 32 + 12 + 1);
    say_settled(id, "21-32");
    say_settled(stats_of(producer).producer_id, "1");
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 10000), BLOTTER_OK);
    blotter_close(producer, 1000);
}

static void an_error_answer_keeps_the_record_and_is_visible(void **state)
{
    (void)state;
    fixture_redis_run(redis, "SET " STREAM " wrongtype");
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    await_event(BLOTTER_EVENT_REDIS_REFUSES, 1, 2000);
    fixture_sleep_ms(600);
    struct blotter_stats stats = stats_of(producer);
    assert_non_null(strstr(stats.last_error, "WRONGTYPE"));
    assert_true(stats.last_error_at_ns > 0);
    assert_true(stats.errors < 100); /* the window once, and no hot loop */
    assert_int_equal(stats.sent, 0);
    fixture_redis_run(redis, "DEL " STREAM);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 4000), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 21);
    assert_string_equal(stats_of(producer).last_error, "");
    assert_int_equal(told(BLOTTER_EVENT_REDIS_REFUSES), 1);
    blotter_close(producer, 1000);
}

static void a_memory_limit_is_waited_out_in_order(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    fixture_redis_run(redis, "CONFIG SET maxmemory 1");
    submit_many(producer, 50);
    await_event(BLOTTER_EVENT_REDIS_REFUSES, 1, 2000);
    assert_non_null(strstr(first_text[BLOTTER_EVENT_REDIS_REFUSES], "OOM"));
    fixture_redis_run(redis, "CONFIG SET maxmemory 0");
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 4000), BLOTTER_OK);
    await_length(51, 1000);
    blotter_close(producer, 1000);
}

static void undelivered_records_are_not_sent_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    fixture_redis_run(redis, "XGROUP CREATE " STREAM " drainers 0 MKSTREAM");
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    fixture_redis_run(redis, "XREADGROUP GROUP drainers d COUNT 5 STREAMS " STREAM " >"); /* pending, and not delivered */
    fixture_sleep_ms(7500);
    assert_int_equal(stats_of(producer).resent, 0);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 21);
    fixture_redis_run(redis, "XGROUP DELCONSUMER " STREAM " drainers d"); /* nobody will ever say a word for these five */
    await_event(BLOTTER_EVENT_RESEND, 1, 9000);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_true(fixture_redis_int(redis, "XLEN " STREAM) >= 42); /* a heartbeat may be among them */
    blotter_close(producer, 1000);
}

static void a_flushed_server_gets_everything_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    say_settled(stats_of(producer).producer_id, "3-5");
    assert_int_equal(blotter_wait(producer, 21, BLOTTER_COMMITTED, 50), BLOTTER_TIMEOUT);
    fixture_redis_run(redis, "FLUSHALL");
    submit_many(producer, 3);
    await_event(BLOTTER_EVENT_RESEND, 1, 9000);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 3 + 24 - 3);
    assert_int_equal(stats_of(producer).resent, 21);
    blotter_close(producer, 1000);
}

static void another_record_under_the_same_id_is_not_taken_for_ours(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    const char *first = fixture_redis_run(redis, "EVAL %s 1 " STREAM, "return redis.call('XRANGE', KEYS[1], '-', '+')[1][1]");
    fixture_redis_run(redis, "FLUSHALL");
    fixture_redis_run(redis, "XADD " STREAM " %s order somebody-else's", first); /* undelivered: ours would be waited for */
    await_event(BLOTTER_EVENT_RESEND, 1, 9000);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 1 + 21);
    blotter_close(producer, 1000);
}

/* Sent again or not, each counts once. */
static int64_t records_in_stream(void)
{
    return fixture_redis_int(redis, "EVAL %s 1 " STREAM,
                             "local known, count = {}, 0\n"
                             "for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do\n"
                             "  if not known[entry[2][2]] then known[entry[2][2]], count = true, count + 1 end\n"
                             "end\n"
                             "return count");
}

/* The journal is full before the silence has lasted: what makes room is only what waits in Redis. */
static void records_that_redis_has_lost_are_not_let_go(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 100);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    fixture_redis_run(redis, "FLUSHALL");
    fixture_sleep_ms(300); /* what was seen before counts no longer */
    int accepted = 100;
    for (int64_t seq; (seq = submit(producer, accepted)) != BLOTTER_FULL; accepted++)
        assert_true(seq > 0);
    await_event(BLOTTER_EVENT_RESEND, 1, 3000);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_true(records_in_stream() >= 1 + accepted); /* a heartbeat may be among them */
    blotter_close(producer, 1000);
}

static void a_cut_connection_is_made_again(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, false);
    blotter_producer *producer = open_with((struct blotter_options){.slots = 256, .redis = fixture_proxy_address(proxy)});
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    fixture_proxy_cut(proxy);
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    /* Of what was under way when it was cut nobody knows whether it was applied: it may be there twice, never less than once. */
    assert_true(fixture_redis_int(redis, "XLEN " STREAM) >= 21);
    assert_true(stats_of(producer).connects >= 2);
    blotter_close(producer, 1000);
}

static void runs_in_the_callers_loop(void **state)
{
    (void)state;
    struct event_base *base = event_base_new();
    blotter_producer *producer =
        open_with((struct blotter_options){.slots = 256, .sender = BLOTTER_SENDER_LOOP, .event_base = base});
    submit_many(producer, 10);
    int64_t until = fixture_now_ms() + 3000;
    while (blotter_wait(producer, 11, BLOTTER_SENT, 0) != BLOTTER_OK && fixture_now_ms() < until)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 11);
    submit_many(producer, 10);
    assert_int_equal(blotter_close(producer, 2000), 0);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 22);
    event_base_free(base);
}

static void wakes_without_polling(void **state)
{
    (void)state;
    blotter_producer *producer = open_with((struct blotter_options){.slots = 256, .wake = 1});
    for (int i = 0; i < 200; i++) {
        int64_t seq = submit(producer, i);
        assert_int_equal(blotter_wait(producer, seq, BLOTTER_SENT, 1000), BLOTTER_OK);
        if (i % 50 == 0)
            fixture_sleep_ms(20);
    }
    blotter_close(producer, 1000);
}

static int eventfd_of_ours(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

/* How often it was written to since it was read last; waits for the first. */
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
    blotter_producer *producer = open_with((struct blotter_options){.slots = 4096}); /* far from full, which makes haste */
    int fd = eventfd_of_ours();
    submit_many(producer, 100);
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_SENT, 101), BLOTTER_OK);
    assert_int_equal(times_told(fd, 10000), 1);
    assert_int_equal(blotter_wait(producer, 101, BLOTTER_SENT, 0), BLOTTER_OK);
    submit_many(producer, 100);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 10000), BLOTTER_OK);
    assert_int_equal(times_told(fd, 0), 0); /* nobody asked for more */
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_SENT, 101), BLOTTER_OK);
    assert_int_equal(times_told(fd, 0), 1); /* as it is so already */
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_COMMITTED, 50), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, fd, BLOTTER_COMMITTED, 150), BLOTTER_OK); /* instead */
    say_settled(stats_of(producer).producer_id, "1-149");
    assert_int_equal(blotter_wait(producer, 149, BLOTTER_COMMITTED, 10000), BLOTTER_OK);
    assert_int_equal(times_told(fd, 0), 0);
    say_settled(stats_of(producer).producer_id, "150-201");
    assert_int_equal(times_told(fd, 500), 1); /* sooner than words are read while nobody waits */
    blotter_close(producer, 1000);
    assert_int_equal(times_told(fd, 0), 0);
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
        blotter_producer *producer =
            open_with((struct blotter_options){.slots = 1024, .wake = round & 1, .journal = fixture_folder()});
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, submit_until_closed, producer);
        fixture_sleep_ms(30);
        assert_int_equal(blotter_close(producer, 5000), 0);
        for (int i = 0; i < 4; i++) {
            void *accepted;
            pthread_join(threads[i], &accepted);
            total += (intptr_t)accepted;
        }
        total += 2; /* opened, closed */
        fixture_redis_run(redis, "DEL unrelated");
    }
    assert_true(fixture_redis_int(redis, "XLEN " STREAM) >= total); /* later rounds send what the earlier left once more */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_time_until_redis_has_a_record_is_measured),
        TEST(records_arrive_in_order_and_are_committed_on_the_word),
        TEST(a_journal_that_is_committed_is_gone_after_close),
        TEST(words_for_records_that_were_not_sent_do_not_count),
        TEST(a_full_ring_lets_sent_records_go_and_counts_them),
        TEST(nothing_is_lost_while_redis_is_away),
        TEST(a_dead_process_journal_is_sent_by_the_next),
        TEST(what_is_committed_of_a_leftover_is_not_sent_again),
        TEST(an_error_answer_keeps_the_record_and_is_visible),
        TEST(a_memory_limit_is_waited_out_in_order),
        TEST(undelivered_records_are_not_sent_again),
        TEST(a_flushed_server_gets_everything_again),
        TEST(another_record_under_the_same_id_is_not_taken_for_ours),
        TEST(records_that_redis_has_lost_are_not_let_go),
        TEST(a_cut_connection_is_made_again),
        TEST(runs_in_the_callers_loop),
        TEST(wakes_without_polling),
        TEST(a_descriptor_is_told_once_that_a_stage_is_reached),
        TEST(a_descriptor_is_told_of_close_unless_withdrawn),
        TEST(threads_that_submit_during_close_get_closed),
    };
    return cmocka_run_group_tests_name("sender", tests, NULL, NULL);
}
