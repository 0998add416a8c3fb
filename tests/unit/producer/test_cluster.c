/* test_cluster.c: what nodes of a cluster answer is parsed, whatever it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "producer/cluster.h"
#include "tests/fixture/servers.h"

static void assert_redirect(const char *error, bool ask, int slot, const char *host, int port)
{
    struct cluster_redirect redirect;

    if (!cluster_redirect_parse(error, "here", &redirect)) {
        fail_msg("%s is refused", error);
    }
    assert_int_equal(redirect.ask, ask);
    assert_int_equal(redirect.slot, slot);
    assert_string_equal(redirect.to.host, host);
    assert_int_equal(redirect.to.port, port);
}

static void redirections_name_slot_host_and_port(void **state)
{
    (void)state;
    assert_redirect("MOVED 9051 10.0.0.2:7001", false, 9051, "10.0.0.2", 7001);
    assert_redirect("ASK 0 redis-2.desk:6379", true, 0, "redis-2.desk", 6379);
    assert_redirect("MOVED 16383 ::1:7001", false, 16383, "::1", 7001);
}

static void no_host_means_the_one_that_answered(void **state)
{
    (void)state;
    assert_redirect("MOVED 7 :7001", false, 7, "here", 7001);
    assert_redirect("MOVED 7 ?:7001", false, 7, "here", 7001);
}

static void other_answers_are_no_redirections(void **state)
{
    static const char *const others[] = {
        "",           "MOVED",       "MOVED ",        "MOVED 1",          "MOVED x h:1",
        "MOVED 1 h",  "MOVED 1 h:0", "MOVED 1 h:x",   "MOVED 16384 h:1",  "MOVED -1 h:1",
        "MOVED 1 h:", "ASK",         "ASKING 1 h:1",  "MOVED 1 h:65536",  "MOVED 1 h:1 x",
        "ERR h:1",    "moved 1 h:1", "MOVED  1  h:1", "CLUSTERDOWN h:1 1"};
    static char longest[400] = "MOVED 1 ";
    struct cluster_redirect redirect;

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (cluster_redirect_parse(others[i], "here", &redirect)) {
            fail_msg("\"%s\" is taken", others[i]);
        }
    }
    memset(longest + 8, 'h', 300);
    strcpy(longest + 308, ":1");
    assert_false(cluster_redirect_parse(longest, "here", &redirect));
    assert_false(cluster_redirect_parse("MOVED 1 :1", "", &redirect));
}

static bool parse(const char *resp, struct cluster_masters *masters)
{
    static const struct redis_host here = {"here", 7000};
    redisReply *reply = fixture_redis_reply(resp);
    bool taken = cluster_masters_parse(reply, &here, masters);

    freeReplyObject(reply);
    return taken;
}

#define NODE(host, port) "*3\r\n" host ":" port "\r\n$1\r\ni\r\n"
#define RANGE(node) "*3\r\n:0\r\n:1\r\n" node

static void each_master_with_slots_is_found_once(void **state)
{
    struct cluster_masters masters;

    (void)state;
    assert_true(parse("*4\r\n" RANGE(NODE("$1\r\na\r\n", "1")) RANGE(NODE("$1\r\nb\r\n", "2"))
                          RANGE(NODE("$1\r\na\r\n", "1")) RANGE(NODE("$-1\r\n", "3")),
                      &masters));
    assert_int_equal(masters.count, 3);
    assert_string_equal(masters.nodes[1].host, "b");
    assert_string_equal(masters.nodes[2].host, "here");
    assert_int_equal(masters.nodes[2].port, 3);
    cluster_masters_release(&masters);
}

static void answers_of_another_shape_are_refused(void **state)
{
    static const char *const others[] = {
        "*0\r\n",
        ":1\r\n",
        "$-1\r\n",
        "-ERR no\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
        "*1\r\n" RANGE(NODE(":1\r\n", "1")),
        "*1\r\n" RANGE(NODE("$1\r\na\r\n", "-1")),
        "*1\r\n" RANGE(NODE("$1\r\na\r\n", "65536")),
    };
    struct cluster_masters masters;

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (parse(others[i], &masters)) {
            fail_msg("answer %zu is taken", i);
        }
        assert_null(masters.nodes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redirections_name_slot_host_and_port),
        cmocka_unit_test(no_host_means_the_one_that_answered),
        cmocka_unit_test(other_answers_are_no_redirections),
        cmocka_unit_test(each_master_with_slots_is_found_once),
        cmocka_unit_test(answers_of_another_shape_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
