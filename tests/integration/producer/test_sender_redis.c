/* test_sender_redis.c: Redis is away, refuses, or has lost what it was given: the sender keeps
 * every record, sends again what is missing there, and nothing that only waits. */
#include "tests/integration/producer/sender_seen.h"

#include <stdlib.h>

#include "tests/fixture/proxy.h"

/* Returns Redis' count for a command: "calls", "failed_calls". 0: the command was never given. */
static int64_t counted(const char *command, const char *what)
{
    const char *line = strstr(fixture_redis_run(redis, "INFO commandstats"),
                              fixture_format("cmdstat_%s:", command));
    const char *number = line ? strstr(line, fixture_format("%s=", what)) : NULL;
    return number ? strtoll(strchr(number, '=') + 1, NULL, 10) : 0;
}

static void nothing_is_lost_while_redis_is_away(void **state)
{
    (void)state;
    struct fixture_redis *kept =
        fixture_redis_start(&(struct fixture_redis_options){.aof = true, .appendfsync = "always"});
    redis = kept;
    blotter_producer *producer = open_small();
    submit_many(producer, 50);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_kill9(kept);
    await_event(BLOTTER_EVENT_REDIS_DOWN, 1);
    int accepted = 0, full = 0;
    for (int i = 0; i < 300; i++) {
        int64_t seq = submit(producer, i);
        accepted += seq > 0;
        full += seq == BLOTTER_FULL;
    }
    assert_int_equal(accepted + full, 300);
    assert_true(full > 0);
    await_event(BLOTTER_EVENT_FULL, 1);
    assert_true(strlen(stats_of(producer).last_error) > 0);
    fixture_redis_start_again(kept);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    await_event(BLOTTER_EVENT_ROOM, 1);
    assert_true(submit(producer, 1) > 0);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 1 + 50 + accepted + 1);
    assert_int_equal(told(BLOTTER_EVENT_REDIS_DOWN), 1);
    assert_string_equal(stats_of(producer).last_error, "");
    blotter_close(producer, 1000);
}

static void an_error_answer_keeps_the_record_and_is_visible(void **state)
{
    (void)state;
    fixture_redis_run(redis, "SET " STREAM " wrongtype");
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    await_event(BLOTTER_EVENT_REDIS_REFUSES, 1);
    fixture_sleep_ms(600);
    struct blotter_stats stats = stats_of(producer);
    assert_non_null(strstr(stats.last_error, "WRONGTYPE"));
    assert_true(stats.last_error_at_ns > 0);
    assert_true(stats.errors < 100); /* no hot loop */
    assert_true(counted("xadd", "failed_calls") <
                2 * 21); /* all of them once, and from then on the first */
    assert_int_equal(stats.sent, 0);
    fixture_redis_run(redis, "DEL " STREAM);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
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
    await_event(BLOTTER_EVENT_REDIS_REFUSES, 1);
    assert_non_null(strstr(first_text[BLOTTER_EVENT_REDIS_REFUSES], "OOM"));
    fixture_redis_run(redis, "CONFIG SET maxmemory 0");
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    await_length(51);
    blotter_close(producer, 1000);
}

/* As many are in the stream as were sent, the first time and again, but for those that are gone.
 * Heartbeats are among them. */
static bool all_have_arrived(void *arg)
{
    const struct awaited *awaited = arg;
    struct blotter_stats stats = stats_of(awaited->producer);
    return fixture_redis_int(redis, "XLEN " STREAM) + awaited->value ==
           stats.accepted + stats.resent;
}

static void await_arrived(blotter_producer *producer, int64_t gone)
{
    struct awaited awaited = {.producer = producer, .value = gone};
    assert_true(fixture_wait_until(all_have_arrived, &awaited, TIMEOUT_MS));
}

static void undelivered_records_are_not_sent_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    fixture_redis_run(redis, "XGROUP CREATE " STREAM " drainers 0 MKSTREAM");
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_run(redis, "XREADGROUP GROUP drainers d COUNT 5 STREAMS " STREAM
                             " >"); /* pending, and not delivered */
    fixture_sleep_ms(7500);
    assert_int_equal(stats_of(producer).resent, 0);
    await_arrived(producer, 0);
    fixture_redis_run(redis, "XGROUP DELCONSUMER " STREAM
                             " drainers d"); /* nobody will ever say a word for these five */
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_true(fixture_redis_int(redis, "XLEN " STREAM) >= 42); /* a heartbeat may be among them */
    blotter_close(producer, 1000);
}

static void a_flushed_server_gets_everything_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    say_settled(stats_of(producer).producer_id, "3-5");
    assert_int_equal(blotter_wait(producer, 21, BLOTTER_COMMITTED, 50), BLOTTER_TIMEOUT);
    fixture_redis_run(redis, "FLUSHALL");
    submit_many(producer, 3);
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    await_arrived(producer, 21);
    assert_in_range(stats_of(producer).resent, 24 - 3, stats_of(producer).accepted - 3);
    blotter_close(producer, 1000);
}

/* As after a crash of a server that has not written them to its disk: the oldest are there. */
static void the_newest_that_a_server_has_lost_are_sent_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_run(redis, "EVAL %s 1 " STREAM,
                      "for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', "
                      "5)) do redis.call('XDEL', KEYS[1], entry[1]) end");
    fixture_redis_run(redis, "CLIENT KILL TYPE normal SKIPME yes");
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    await_arrived(producer, 5);
    blotter_close(producer, 1000);
}

/* Nobody knows whether it has them, and a person has to end that: they go again at once. */
static void a_server_that_may_not_be_asked_what_it_has_gets_everything_again(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_run(redis, "ACL SETUSER default -xrange");
    fixture_redis_run(redis, "DEL " STREAM);
    fixture_redis_run(redis, "CLIENT KILL TYPE normal SKIPME yes");
    await_event(BLOTTER_EVENT_REDIS_REFUSES, 1);
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_non_null(strstr(first_text[BLOTTER_EVENT_RESEND], "NOPERM"));
    submit_many(producer, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_run(redis, "ACL SETUSER default +xrange");
    await_arrived(producer, 21);
    blotter_close(producer, 1000);
}

static void another_record_under_the_same_id_is_not_taken_for_ours(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    const char *first = fixture_redis_run(redis, "EVAL %s 1 " STREAM,
                                          "return redis.call('XRANGE', KEYS[1], '-', '+')[1][1]");
    fixture_redis_run(redis, "FLUSHALL");
    fixture_redis_run(redis, "XADD " STREAM " %s order somebody-else's",
                      first); /* undelivered: ours would be waited for */
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    await_arrived(producer, 21 - 1);
    assert_in_range(stats_of(producer).resent, 21, stats_of(producer).accepted);
    blotter_close(producer, 1000);
}

/* Sent again or not, each counts once. */
static int64_t records_in_stream(void)
{
    return fixture_redis_int(
        redis, "EVAL %s 1 " STREAM,
        "local known, count = {}, 0\n"
        "for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do\n"
        "  if not known[entry[2][2]] then known[entry[2][2]], count = true, count + 1 end\n"
        "end\n"
        "return count");
}

static bool has_looked(void *times)
{
    return counted("xinfo|groups", "calls") >= *(const int64_t *)times;
}

static void await_looks(int64_t times)
{
    assert_true(fixture_wait_until(has_looked, &times, TIMEOUT_MS));
}

/* The journal is full before the silence has lasted: what makes room is only what waits in Redis.
 */
static void records_that_redis_has_lost_are_not_evicted(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 100);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    await_looks(1); /* the sender's, which found them waiting */
    fixture_redis_run(redis, "FLUSHALL");
    /* one that was under way, and one whose answer is there, as a third began */
    await_looks(1 + 3);
    int accepted = 100;
    for (int64_t seq; (seq = submit(producer, accepted)) != BLOTTER_FULL; accepted++) {
        assert_true(seq > 0);
    }
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_true(records_in_stream() >= 1 + accepted); /* a heartbeat may be among them */
    blotter_close(producer, 1000);
}

static blotter_producer *_Atomic heard_by;
static _Atomic int sent_when_heard = 1; /* no status is positive */

static void hear_of_resend(void *arg, enum blotter_event event, const char *text)
{
    blotter_producer *producer = heard_by;
    on_event(arg, event, text);
    if (event == BLOTTER_EVENT_RESEND && producer != NULL) {
        sent_when_heard = blotter_wait(producer, 21, BLOTTER_SENT, 0);
    }
}

/* So a process that hears of it can wait until the copies are there. */
static void records_do_not_count_as_sent_when_a_resend_is_told(void **state)
{
    (void)state;
    blotter_producer *producer;
    struct blotter_options options = {.exchange = "kraken",
                                      .journal = journal_path(),
                                      .redis = fixture_redis_url(redis),
                                      .slots = 256,
                                      .on_event = hear_of_resend};
    assert_int_equal(blotter_open(&producer, &options), 0);
    heard_by = producer;
    submit_many(producer, 20);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_run(redis, "FLUSHALL");
    fixture_redis_run(redis, "CLIENT KILL TYPE normal SKIPME yes");
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(sent_when_heard, BLOTTER_TIMEOUT);
    heard_by = NULL;
    blotter_close(producer, 1000);
}

/* Redis does not answer, so what it has is not known, even where it was sent to it. */
static void records_without_an_answer_are_not_evicted(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_pause(redis);
    int accepted = 0;
    for (int64_t seq; (seq = submit(producer, accepted)) != BLOTTER_FULL; accepted++) {
        assert_true(seq > 0 && accepted < 256);
    }
    await_event(BLOTTER_EVENT_FULL, 1); /* the sender has seen it */
    assert_int_equal(stats_of(producer).held, 256);
    assert_int_equal(stats_of(producer).evicted, 0);
    fixture_redis_kill9(redis);
    fixture_redis_start_again(redis);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_true(records_in_stream() >= accepted);
    blotter_close(producer, 1000);
}

/* Submits until the journal is full. */
static void fill(blotter_producer *producer)
{
    for (int64_t seq = 1; seq != BLOTTER_FULL; seq = submit(producer, 1)) {
        assert_true(seq > 0);
    }
}

static bool has_evicted(void *arg)
{
    const struct awaited *awaited = arg;
    fill(awaited->producer);
    return stats_of(awaited->producer).evicted > awaited->value;
}

/* The next connection may lead to a server that has lost them, or loads them at this moment. */
static void what_an_earlier_connection_saw_waiting_is_not_evicted(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, false);
    blotter_producer *producer =
        open_with((struct blotter_options){.slots = 64, .redis = fixture_proxy_address(proxy)});
    struct awaited awaited = {.producer = producer};
    assert_true(fixture_wait_until(has_evicted, &awaited, TIMEOUT_MS));
    fixture_proxy_close(proxy);
    await_event(BLOTTER_EVENT_REDIS_DOWN, 1);
    fill(producer);
    awaited.value = stats_of(producer).evicted;
    fixture_redis_run(redis,
                      "ACL SETUSER default -xpending"); /* so no look succeeds from here on */
    fixture_proxy_open(proxy);
    await_event(BLOTTER_EVENT_REDIS_REFUSES, 1);
    assert_int_equal(stats_of(producer).evicted, awaited.value);
    fixture_redis_run(redis, "ACL SETUSER default +xpending");
    assert_true(fixture_wait_until(has_evicted, &awaited, TIMEOUT_MS));
    blotter_close(producer, 1000);
}

struct sent_to {
    struct fixture_proxy *line;
    int64_t bytes;
};

static bool has_passed(void *arg)
{
    const struct sent_to *sent = arg;
    return fixture_proxy_counts(sent->line).to_server_bytes >= sent->bytes;
}

/* No record has arrived. */
static void what_was_under_way_when_the_connection_was_lost_is_sent_again(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, false);
    blotter_producer *producer =
        open_with((struct blotter_options){.slots = 256, .redis = fixture_proxy_address(proxy)});
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    struct sent_to sent = {proxy, 0};
    fixture_proxy_swallow(proxy, FIXTURE_TO_SERVER);
    sent.bytes = fixture_proxy_counts(proxy).to_server_bytes +
                 10 * 64; /* more than whatever else is asked meanwhile */
    submit_many(producer, 10);
    assert_true(fixture_wait_until(has_passed, &sent, TIMEOUT_MS));
    fixture_proxy_swallow(proxy, 0); /* which cuts it */
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(records_in_stream(), 21);
    assert_int_equal(stats_of(producer).resent,
                     0); /* nobody had to notice that they are not there */
    blotter_close(producer, 1000);
}

/* Whose clock is behind that of the server before. */
static void the_words_of_another_server_are_read_from_its_first_on(void **state)
{
    (void)state;
    blotter_producer *producer = open_small();
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_run(redis, "XADD blotter-ack:{" STREAM "}:%lld 99999999999999-0 settled 1-5",
                      (long long)stats_of(producer).producer_id);
    assert_int_equal(blotter_wait(producer, 5, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    fixture_redis_run(redis, "FLUSHALL");
    fixture_redis_run(redis, "CLIENT KILL TYPE normal SKIPME yes");
    await_event(BLOTTER_EVENT_RESEND, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    say_settled(stats_of(producer).producer_id, "6-11");
    assert_int_equal(blotter_wait(producer, 11, BLOTTER_COMMITTED, TIMEOUT_MS), BLOTTER_OK);
    blotter_close(producer, 1000);
}

static void a_cut_connection_is_made_again(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, false);
    blotter_producer *producer =
        open_with((struct blotter_options){.slots = 256, .redis = fixture_proxy_address(proxy)});
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    fixture_proxy_cut(proxy);
    submit_many(producer, 10);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    /* Nobody knows whether a record that was under way at the cut was applied: it may be there
     * twice, never less than once. */
    assert_true(fixture_redis_int(redis, "XLEN " STREAM) >= 21);
    assert_true(stats_of(producer).connects >= 2);
    blotter_close(producer, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_lost_while_redis_is_away),
        TEST(an_error_answer_keeps_the_record_and_is_visible),
        TEST(a_memory_limit_is_waited_out_in_order),
        TEST(undelivered_records_are_not_sent_again),
        TEST(a_flushed_server_gets_everything_again),
        TEST(the_newest_that_a_server_has_lost_are_sent_again),
        TEST(a_server_that_may_not_be_asked_what_it_has_gets_everything_again),
        TEST(another_record_under_the_same_id_is_not_taken_for_ours),
        TEST(records_that_redis_has_lost_are_not_evicted),
        TEST(records_do_not_count_as_sent_when_a_resend_is_told),
        TEST(records_without_an_answer_are_not_evicted),
        TEST(what_an_earlier_connection_saw_waiting_is_not_evicted),
        TEST(what_was_under_way_when_the_connection_was_lost_is_sent_again),
        TEST(the_words_of_another_server_are_read_from_its_first_on),
        TEST(a_cut_connection_is_made_again),
    };
    return cmocka_run_group_tests_name("sender_redis", tests, NULL, NULL);
}
