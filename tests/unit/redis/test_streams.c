/* test_streams.c: the list of streams and their states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/log.h"
#include "drainer/redis/streams.h"
#include "tests/unit/random_input.h"

static struct stream *add(struct streams *streams, const char *name)
{
    return streams_add(streams, name, strlen(name));
}

static void streams_are_sorted_and_found_again(void **state)
{
    static const char *const names[] = {"blotter:okx", "blotter:binance:ticks", "blotter:binance",
                                        "blotter:deribit"};
    struct streams streams = {0};
    struct stream *first = add(&streams, "blotter:kraken");

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(add(&streams, names[i]));
        assert_ptr_equal(add(&streams, names[i]), add(&streams, names[i]));
    }
    assert_int_equal(streams.count, 5);
    for (size_t i = 1; i < streams.count; i++) {
        assert_true(strcmp(streams.all[i - 1]->name, streams.all[i]->name) < 0);
    }
    assert_ptr_equal(add(&streams, "blotter:kraken"), first);
    assert_string_equal(add(&streams, "blotter:binance:ticks")->exchange, "binance");
    assert_string_equal(add(&streams, "blotter:binance:ticks")->lane, "ticks");
    assert_int_equal(first->state, STREAM_FREE);
    assert_ptr_equal(streams_find(&streams, "blotter:kraken", 14), first);
    assert_null(streams_find(&streams, "blotter:kraken", 13));
    assert_null(streams_find(&streams, "blotter:kraken:", 15));
    assert_null(streams_find(&streams, "blotter:zaif", 12));
    assert_null(streams_find(&streams, "", 0));
    assert_int_equal(streams.count, 5);
    streams_release(&streams);
    assert_int_equal(streams.count, 0);
}

static void names_that_are_not_ours_are_refused(void **state)
{
    struct streams streams = {0};

    (void)state;
    assert_null(add(&streams, "blotter:"));
    assert_null(add(&streams, "blotter:BINANCE"));
    assert_null(add(&streams, "other:binance"));
    assert_null(add(&streams, "blotter-ack:{blotter:binance}:7"));
    assert_null(add(&streams, "blotter:a:b:c"));
    assert_null(streams_add(&streams, "blotter:a\0b", 11));
    assert_null(add(&streams, "blotter:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
    assert_int_equal(streams.count, 0);
}

static void lock_keys_are_of_the_random_id_and_the_name(void **state)
{
    struct streams streams = {0};
    struct stream *okx = add(&streams, "blotter:okx"), *ticks = add(&streams, "blotter:okx:ticks");

    (void)state;
    /* printf %s 0123456789abcdef0123456789abcdef:blotter:okx | sha256sum */
    strcpy(okx->random_id, "0123456789abcdef0123456789abcdef");
    assert_true(stream_lease_key(okx) == (int64_t)UINT64_C(0x08bd782060ef7f8b));
    strcpy(ticks->random_id, okx->random_id);
    assert_true(stream_lease_key(okx) != stream_lease_key(ticks));
    okx->random_id[0] = '1';
    assert_true(stream_lease_key(okx) != (int64_t)UINT64_C(0x08bd782060ef7f8b));
    streams_release(&streams);
}

/* One of the two would hide behind the other's lease, and never be read. */
static void a_lock_key_that_another_stream_has_is_refused(void **state)
{
    struct streams streams = {0};
    struct stream *okx = add(&streams, "blotter:okx"), *evil = add(&streams, "blotter:aaa");

    (void)state;
    streams_set_lock_key(&streams, okx, 7);
    assert_false(okx->key_taken);
    streams_set_lock_key(&streams, evil, 7);
    assert_true(evil->key_taken);
    assert_false(okx->key_taken);
    assert_non_null(strstr(evil->troubles[TROUBLE_KEY].why, "blotter:okx"));
    streams_set_lock_key(&streams, okx, 7); /* asked again, it keeps what it has */
    assert_false(okx->key_taken);
    streams_set_lock_key(&streams, evil, 8);
    assert_false(evil->key_taken);
    assert_null(evil->troubles[TROUBLE_KEY].why);
    streams_release(&streams);
}

static void only_streams_that_are_read_are_read(void **state)
{
    struct streams streams = {0};
    struct stream *out[8], *reading, *wanted;

    (void)state;
    add(&streams, "blotter:free");
    stream_enter(add(&streams, "blotter:grouping"), STREAM_GROUPING);
    reading = add(&streams, "blotter:reading");
    wanted = add(&streams, "blotter:wanted");
    for (int i = 0; i < 2; i++) {
        struct stream *stream = i == 0 ? reading : wanted;

        stream_enter(stream, STREAM_GROUPING);
        stream_enter(stream, STREAM_CLAIMING);
        stream_enter(stream, STREAM_READING);
    }
    wanted->claim_wanted = true;
    assert_int_equal(streams_to_read(&streams, NULL, out), 1);
    assert_ptr_equal(out[0], reading);
    assert_int_equal(streams_held(&streams), 3);
    streams_release(&streams);
}

static void change_of_state_forgets_what_belonged_to_the_old_one(void **state)
{
    struct streams streams = {0};
    struct stream *stream = add(&streams, "blotter:binance");

    (void)state;
    stream_enter(stream, STREAM_GROUPING);
    stream_enter(stream, STREAM_CLAIMING);
    stream->claim_cursor = (struct stream_entry_id){5, 6};
    stream->progress_at_ms = 7;
    stream_enter(stream, STREAM_CLAIMING); /* the same: nothing changes */
    assert_int_equal(stream->claim_cursor.ms, 5);
    stream->claim_wanted = true;
    stream->in_hand = 3;
    stream_enter(stream, STREAM_READING);
    assert_int_equal(stream->claim_cursor.ms, 0);
    assert_int_equal(stream->claim_cursor.seq, 0);
    assert_int_equal(stream->progress_at_ms, 0);
    assert_false(stream->claim_wanted);
    assert_int_equal(stream->in_hand, 3);
    assert_true(stream_is_held(stream));
    stream_enter(stream, STREAM_LEAVING);
    assert_true(stream_is_held(stream));
    stream_enter(stream, STREAM_FREE);
    assert_false(stream_is_held(stream));
    streams_release(&streams);
}

static void stream_stays_where_it_is_while_others_are_found(void **state)
{
    struct streams streams = {0};
    struct stream *kept = add(&streams, "blotter:mmm");
    char name[64];

    (void)state;
    random_begin();
    for (int i = 0; i < 300; i++) {
        size_t length = (size_t)snprintf(name, sizeof name, "blotter:%u", random_below(1000));

        assert_string_equal(streams_add(&streams, name, length)->name, name);
    }
    assert_ptr_equal(add(&streams, "blotter:mmm"), kept);
    for (size_t i = 1; i < streams.count; i++) {
        assert_true(strcmp(streams.all[i - 1]->name, streams.all[i]->name) < 0);
    }
    streams_release(&streams);
}

static void streams_and_lanes_beyond_the_limits_are_left_out_and_named(void **state)
{
    struct streams streams = {.max_streams = 8, .max_lanes = 3};
    char name[STREAM_NAME_BYTES];

    (void)state;
    assert_non_null(add(&streams, "blotter:okx"));
    assert_non_null(add(&streams, "blotter:okx2:1")); /* a neighbour, but another exchange */
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "blotter:okx:%d", i);
        assert_int_equal(add(&streams, name) != NULL, i < 3);
    }
    assert_int_equal(streams.left_out, 2);
    assert_string_equal(
        streams.troubles[TROUBLE_LIMIT].why,
        "stream blotter:okx:3 is not loaded: the setting max_lanes of 3 is reached");
    assert_non_null(add(&streams, "blotter:okx:2")); /* known already */
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "blotter:x%d", i);
        assert_int_equal(add(&streams, name) != NULL, i < 3);
    }
    assert_int_equal(streams.count, 8);
    streams_release(&streams);
}

static char troubles_text[512];

static void put_trouble(void *arg, const char *object, int64_t since_ms, const char *why)
{
    size_t length = strlen(troubles_text);

    assert_ptr_equal(arg, troubles_text);
    assert_true(since_ms > 0);
    snprintf(troubles_text + length, sizeof troubles_text - length, "%s: %s\n", object, why);
}

static void troubles_last_until_they_are_over(void **state)
{
    struct streams streams = {0};
    struct stream *stream = add(&streams, "blotter:okx");
    int64_t since;

    (void)state;
    streams_trouble(&streams, NULL, TROUBLE_REDIS, "away %d", 1);
    streams_trouble(&streams, stream, TROUBLE_LEASE, "locked");
    since = stream->troubles[TROUBLE_LEASE].since_ms;
    streams_trouble(&streams, stream, TROUBLE_LEASE, "locked by %s", "another");
    assert_true(stream->troubles[TROUBLE_LEASE].since_ms == since);
    troubles_text[0] = '\0';
    streams_each_trouble(&streams, put_trouble, troubles_text);
    assert_string_equal(troubles_text, "drain: away 1\nblotter:okx: locked by another\n");
    streams_trouble_over(&streams, stream, TROUBLE_LEASE);
    streams_trouble_over(&streams, stream, TROUBLE_HISTORY); /* there is none */
    streams_trouble_over(&streams, NULL, TROUBLE_REDIS);
    troubles_text[0] = '\0';
    streams_each_trouble(&streams, put_trouble, troubles_text);
    assert_string_equal(troubles_text, "");
    streams_release(&streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_sorted_and_found_again),
        cmocka_unit_test(names_that_are_not_ours_are_refused),
        cmocka_unit_test(lock_keys_are_of_the_random_id_and_the_name),
        cmocka_unit_test(a_lock_key_that_another_stream_has_is_refused),
        cmocka_unit_test(only_streams_that_are_read_are_read),
        cmocka_unit_test(change_of_state_forgets_what_belonged_to_the_old_one),
        cmocka_unit_test(stream_stays_where_it_is_while_others_are_found),
        cmocka_unit_test(streams_and_lanes_beyond_the_limits_are_left_out_and_named),
        cmocka_unit_test(troubles_last_until_they_are_over),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
