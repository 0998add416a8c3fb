/* test_producer_counters.c: what one stream's writer says of producers is not said of another's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <event2/buffer.h>

#include "drainer/producer_counters.h"
#include "drainer/redis/streams.h"
#include "tests/unit/pack.h"

static struct stream okx = {.name = "blotter:okx", .exchange = "okx"};
static struct stream evil = {.name = "blotter:evil", .exchange = "evil"};
static struct producer_counters *producers;

static int begin(void **state)
{
    (void)state;
    producers = producer_counters_create();
    return producers == NULL ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    producer_counters_destroy(producers);
    return 0;
}

static void note(const struct stream *stream, int64_t producer_id, const char *event,
                 const char *extra)
{
    struct pack pack;

    pack_begin(&pack, 2);
    pack_pair(&pack, "event", event);
    pack_pair(&pack, "extra", extra);
    producer_counters_note(producers, stream, producer_id, pack.bytes, pack.length);
}

/* Says whether /metrics has the line. */
static bool shows(const char *line)
{
    struct evbuffer *out = evbuffer_new();

    producer_counters_put(producers, out);
    evbuffer_add(out, "", 1);
    bool found = strstr((const char *)evbuffer_pullup(out, -1), line) != NULL;
    evbuffer_free(out);
    return found;
}

static void a_heartbeat_is_shown_until_its_producer_has_closed(void **state)
{
    static const char line[] =
        "blotter_producer_accepted_total{stream=\"blotter:okx\",exchange=\"okx\",producer=\"7\"} 5";

    (void)state;
    note(&okx, 7, "heartbeat", "{\"accepted\": 5}");
    assert_true(shows(line));
    note(&okx, 7, "closed", "{}");
    assert_false(shows(line));
}

static void a_number_used_in_another_stream_is_another_producer(void **state)
{
    static const char line[] =
        "blotter_producer_full_total{stream=\"blotter:okx\",exchange=\"okx\",producer=\"7\"} 3";

    (void)state;
    note(&okx, 7, "heartbeat", "{\"full\": 3}");
    note(&evil, 7, "heartbeat", "{\"full\": 0}");
    assert_true(shows(line));
    note(&evil, 7, "closed", "{}");
    assert_true(shows(line));
}

static void a_flood_of_numbers_in_one_stream_leaves_room_for_others(void **state)
{
    (void)state;
    for (int64_t id = 1; id <= 3000; id++) {
        note(&evil, id, "heartbeat", "{\"full\": 0}");
    }
    note(&okx, 7, "heartbeat", "{\"full\": 3}");
    assert_true(shows(
        "blotter_producer_full_total{stream=\"blotter:okx\",exchange=\"okx\",producer=\"7\"} 3"));
    assert_true(shows("blotter_producers 1001\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_heartbeat_is_shown_until_its_producer_has_closed),
        TEST(a_number_used_in_another_stream_is_another_producer),
        TEST(a_flood_of_numbers_in_one_stream_leaves_room_for_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
