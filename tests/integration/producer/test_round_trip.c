/* test_round_trip.c: a producer far from its Redis has more records in flight than one beside it,
 * so that the distance does not limit its rate. */
#include "tests/integration/producer/sender_seen.h"

#include "tests/fixture/proxy.h"

enum {
    DELAY_MS = 200, /* each way */
    FEW = 100,
    RECORDS = 60000,
    TEXT_BYTES = 800,
    WINDOW_RECORDS = 4096,  /* in flight beside a Redis that is near */
    WINDOW_BYTES = 1 << 24, /* in flight at the most */
};

/* Records of about 1 KB, so that their bytes are what limits the window. */
static void submit_long(blotter_producer *producer, int count)
{
    char *text = fixture_alloc(TEXT_BYTES + 1), id[24];

    memset(text, 'x', TEXT_BYTES);
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "%d", i);
        struct blotter_order order = {.order_id = id, .account = text};
        assert_true(blotter_order(producer, &order) > 0);
    }
}

/* In flight is what has gone out on the line and is not answered. A producer whose window is full
 * all the time sends a window in each round trip. */
static void records_in_flight_grow_with_the_round_trip(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, true);
    fixture_proxy_delay(proxy, FIXTURE_BOTH, DELAY_MS);
    blotter_producer *producer = open_with((struct blotter_options){
        .slots = 1 << 17, .slot_bytes = 1024, .redis = fixture_proxy_address(proxy)});
    struct blotter_stats stats = {0};
    double most = 0;

    submit_long(producer, 1); /* with it goes what a producer begins with */
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    int64_t bytes = fixture_proxy_counts(proxy).to_server_bytes;
    submit_long(producer, FEW);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    int64_t sent = stats_of(producer).sent;
    double record_bytes = (double)(fixture_proxy_counts(proxy).to_server_bytes - bytes) / FEW;
    double window = WINDOW_BYTES / record_bytes;
    assert_true(window > 2 * WINDOW_RECORDS);

    bytes = fixture_proxy_counts(proxy).to_server_bytes;
    submit_long(producer, RECORDS);
    for (int64_t end = fixture_now_ms() + TIMEOUT_MS;
         most < 0.9 * window && stats.sent < sent + RECORDS && fixture_now_ms() < end;) {
        assert_int_equal(blotter_stats(producer, &stats), BLOTTER_OK);
        double gone = (double)(fixture_proxy_counts(proxy).to_server_bytes - bytes) / record_bytes;
        double flies = gone - (double)(stats.sent - sent);
        most = flies > most ? flies : most;
    }
    print_message("%.0f records in flight at the most, of %.0f\n", most, window);
    assert_true(most >= 0.9 * window);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 1 + 1 + FEW + RECORDS);
    blotter_close(producer, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(records_in_flight_grow_with_the_round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
