/* test_sentinel.c: what sentinels answer is parsed, whatever it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "producer/sentinel.h"
#include "tests/fixture/servers.h"

static int64_t epoch(const char *resp)
{
    redisReply *reply = fixture_redis_reply(resp);
    int64_t found = sentinel_epoch_parse(reply);

    freeReplyObject(reply);
    return found;
}

static bool address(const char *resp, struct redis_host *master)
{
    redisReply *reply = fixture_redis_reply(resp);
    bool found = sentinel_address_parse(reply, master);

    freeReplyObject(reply);
    return found;
}

static void an_epoch_is_a_number_that_one_can_be_added_to(void **state)
{
    (void)state;
    assert_int_equal(epoch("*2\r\n$12\r\nconfig-epoch\r\n$2\r\n17\r\n"), 17);
    assert_int_equal(epoch("*4\r\n$1\r\na\r\n$1\r\nb\r\n$12\r\nconfig-epoch\r\n$1\r\n0\r\n"), 0);
    assert_int_equal(epoch("*2\r\n$12\r\nconfig-epoch\r\n$19\r\n9223372036854775807\r\n"), -1);
    assert_int_equal(epoch("*2\r\n$12\r\nconfig-epoch\r\n$20\r\n18446744073709551616\r\n"), -1);
    assert_int_equal(epoch("*2\r\n$12\r\nconfig-epoch\r\n$2\r\n-3\r\n"), -1);
    assert_int_equal(epoch("*2\r\n$12\r\nconfig-epoch\r\n$2\r\n3x\r\n"), -1);
    assert_int_equal(epoch("*2\r\n$12\r\nconfig-epoch\r\n$0\r\n\r\n"), -1);
    assert_int_equal(epoch("*2\r\n$12\r\nconfig-epoch\r\n:3\r\n"), -1);
    assert_int_equal(epoch("*1\r\n$12\r\nconfig-epoch\r\n"), -1);
    assert_int_equal(epoch("-NOPERM this user\r\n"), -1);
}

static void an_address_is_a_host_and_a_port(void **state)
{
    static const char *const others[] = {
        "*-1\r\n",
        "-ERR x\r\n",
        "*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
        "*2\r\n$1\r\nh\r\n$1\r\n0\r\n",
        "*2\r\n$1\r\nh\r\n$5\r\n65536\r\n",
        "*2\r\n$1\r\nh\r\n$10\r\n4294967297\r\n",
        "*2\r\n$1\r\nh\r\n$5\r\n6379x\r\n",
        "*2\r\n$1\r\nh\r\n$5\r\n +637\r\n",
        "*2\r\n$1\r\nh\r\n:6379\r\n",
        "*3\r\n$1\r\nh\r\n$4\r\n6379\r\n:1\r\n",
    };
    struct redis_host master;

    (void)state;
    assert_true(address("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n", &master));
    assert_string_equal(master.host, "127.0.0.1");
    assert_int_equal(master.port, 6379);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (address(others[i], &master)) {
            fail_msg("taken: %s", others[i]);
        }
    }
}

static void only_a_master_says_that_it_is_one(void **state)
{
    static const char *const others[] = {"*3\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n", "*0\r\n",
                                         "$6\r\nmaster\r\n", "*1\r\n:1\r\n", "-ERR master\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        redisReply *reply = fixture_redis_reply(others[i]);
        assert_false(sentinel_is_master(reply));
        freeReplyObject(reply);
    }
    redisReply *reply = fixture_redis_reply("*3\r\n$6\r\nmaster\r\n:1\r\n*0\r\n");
    assert_true(sentinel_is_master(reply));
    freeReplyObject(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_a_number_that_one_can_be_added_to),
        cmocka_unit_test(an_address_is_a_host_and_a_port),
        cmocka_unit_test(only_a_master_says_that_it_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
