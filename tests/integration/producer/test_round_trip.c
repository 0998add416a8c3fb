/* test_round_trip.c: a producer far from its Redis has more records in flight than one beside it,
 * so that the distance does not limit its rate. */
#include "tests/integration/producer/sender_seen.h"

#include "tests/fixture/proxy.h"

enum {
    DELAY_MS = 200, /* each way */
    RECORDS = 60000,
    WINDOW = 4096, /* records in flight beside a Redis that is near */
};

/* In flight is what Redis has and the producer has not heard of. */
static void records_in_flight_grow_with_the_round_trip(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, true);
    fixture_proxy_delay(proxy, FIXTURE_BOTH, DELAY_MS);
    blotter_producer *producer = open_with((struct blotter_options){
        .slots = 1 << 17, .slot_bytes = 256, .redis = fixture_proxy_address(proxy)});
    struct blotter_stats stats = {0};
    int64_t most = 0;

    submit_many(producer, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    submit_many(producer, RECORDS);
    for (int64_t end = fixture_now_ms() + TIMEOUT_MS;
         most < WINDOW * 3 / 2 && stats.sent <= RECORDS && fixture_now_ms() < end;) {
        assert_int_equal(blotter_stats(producer, &stats), BLOTTER_OK);
        int64_t flies = fixture_redis_int(redis, "XLEN " STREAM) - stats.sent;
        most = flies > most ? flies : most;
    }
    print_message("%lld records in flight at the most\n", (long long)most);
    assert_true(most >= WINDOW * 3 / 2);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 1 + 1 + RECORDS);
    blotter_close(producer, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(records_in_flight_grow_with_the_round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
