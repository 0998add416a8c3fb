/* sender_seen.h: a producer on a real Redis, what it has told, and the drainer's word, said by
 * hand: what the tests of the sender share. */
#ifndef BLOTTER_TESTS_SENDER_SEEN_H
#define BLOTTER_TESTS_SENDER_SEEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "producer/blotter.h"
#include "tests/fixture/fixture.h"
#include "tests/fixture/servers.h"

#define STREAM "blotter:kraken"
enum { TIMEOUT_MS = 60000 }; /* for what takes milliseconds: machines are busy */

static struct fixture_redis *redis;
static int events[16];
static char first_text[16][160];

static inline int told(enum blotter_event event)
{
    return __atomic_load_n(&events[event], __ATOMIC_SEQ_CST);
}

static inline void on_event(void *arg, enum blotter_event event, const char *text)
{
    (void)arg;
    if (told(event) == 0) { /* the first text is kept, so that the test may read it */
        snprintf(first_text[event], sizeof first_text[event], "%s", text);
    }
    __atomic_fetch_add(&events[event], 1, __ATOMIC_SEQ_CST);
}

static inline int start(void **state)
{
    (void)state;
    memset(events, 0, sizeof events);
    redis = fixture_redis_start(NULL);
    return 0;
}

static inline int stop(void **state)
{
    (void)state;
    fixture_cleanup();
    return 0;
}

static inline const char *journal_path(void)
{
    return fixture_format("%s/journal", fixture_folder());
}

static inline blotter_producer *open_with(struct blotter_options options)
{
    blotter_producer *producer;
    options.exchange = "kraken";
    options.journal = options.journal != NULL ? options.journal : journal_path();
    options.redis = options.redis != NULL ? options.redis : fixture_redis_url(redis);
    options.on_event = on_event;
    if (blotter_open(&producer, &options) != 0) {
        fail_msg("%s", blotter_open_error());
    }
    return producer;
}

static inline blotter_producer *open_small(void)
{
    return open_with((struct blotter_options){.slots = 256, .slot_bytes = 512});
}

static inline int64_t submit(blotter_producer *producer, int number)
{
    char id[24];
    snprintf(id, sizeof id, "%d", number);
    return blotter_order(producer, &(struct blotter_order){.order_id = id, .price = "10.100"});
}

static inline void submit_many(blotter_producer *producer, int count)
{
    for (int i = 0; i < count; i++) {
        assert_true(submit(producer, i) > 0);
    }
}

static inline struct blotter_stats stats_of(blotter_producer *producer)
{
    struct blotter_stats stats;
    assert_int_equal(blotter_stats(producer, &stats), 0);
    return stats;
}

/* The drainer's word. */
static inline void say_settled(int64_t producer_id, const char *ranges)
{
    fixture_redis_run(redis, "XADD blotter-ack:{" STREAM "}:%lld * settled %s",
                      (long long)producer_id, ranges);
}

struct awaited {
    blotter_producer *producer;
    enum blotter_event event;
    int64_t value;
};

static inline bool was_told(void *arg)
{
    struct awaited *awaited = arg;
    return told(awaited->event) >= awaited->value;
}

static inline void await_event(enum blotter_event event, int times)
{
    struct awaited awaited = {.event = event, .value = times};
    assert_true(fixture_wait_until(was_told, &awaited, TIMEOUT_MS));
}

static inline bool length_reached(void *arg)
{
    struct awaited *awaited = arg;
    return fixture_redis_int(redis, "XLEN " STREAM) >= awaited->value;
}

static inline void await_length(int64_t length)
{
    struct awaited awaited = {.value = length};
    assert_true(fixture_wait_until(length_reached, &awaited, TIMEOUT_MS));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

#endif
