/* test_round_trip.c: a producer far from its Redis has more records in flight than one beside it,
 * so that the distance does not limit its rate. */
#include "tests/integration/producer/sender_seen.h"

#include "tests/fixture/proxy.h"

enum {
    DELAY_MS = 200, /* each way */
    RECORDS = 60000,
    MOST_MS = 4000, /* with 4096 in flight it would take 15 round trips, 6 s */
};

static void records_in_flight_grow_with_the_round_trip(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, true);
    fixture_proxy_delay(proxy, FIXTURE_BOTH, DELAY_MS);
    blotter_producer *producer = open_with((struct blotter_options){
        .slots = 1 << 17, .slot_bytes = 256, .redis = fixture_proxy_address(proxy)});
    submit_many(producer, 1);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    int64_t began = fixture_now_ms();
    submit_many(producer, RECORDS);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, TIMEOUT_MS), BLOTTER_OK);
    int64_t took = fixture_now_ms() - began;
    print_message("%d records in %lld ms, the round trip is %d ms\n", RECORDS, (long long)took,
                  2 * DELAY_MS);
    assert_true(took < MOST_MS);
    assert_int_equal(fixture_redis_int(redis, "XLEN " STREAM), 1 + 1 + RECORDS);
    blotter_close(producer, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(records_in_flight_grow_with_the_round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
