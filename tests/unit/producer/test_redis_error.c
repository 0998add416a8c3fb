/* test_redis_error.c: Redis' error answers are known by how they begin, word by word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producer/redis_error.h"

static void errors_are_known_by_their_first_words(void **state)
{
    static const struct {
        const char *text;
        enum redis_error_action action;
    } errors[] = {
        {"READONLY You can't write against a read only replica.", REDIS_ERROR_RESET},
        {"MOVED 9051 127.0.0.1:17702", REDIS_ERROR_REROUTE},
        {"ASK 9051 127.0.0.1:17702", REDIS_ERROR_REROUTE},
        {"CROSSSLOT Keys in request don't hash to the same slot", REDIS_ERROR_SPLIT},
        {"LOADING Redis is loading the dataset in memory", REDIS_ERROR_WAIT},
        {"BUSY Redis is busy running a script.", REDIS_ERROR_WAIT},
        {"CLUSTERDOWN The cluster is down", REDIS_ERROR_WAIT},
        {"TRYAGAIN", REDIS_ERROR_WAIT},
        {"OOM command not allowed when used memory > 'maxmemory'.", REDIS_ERROR_FULL},
        {"MISCONF Redis is configured to save RDB snapshots", REDIS_ERROR_FULL},
        {"NOPERM this user has no permissions", REDIS_ERROR_RIGHTS},
        {"NOAUTH Authentication required.", REDIS_ERROR_LOGIN},
        {"WRONGPASS invalid username-password pair", REDIS_ERROR_LOGIN},
        {"ERR invalid password", REDIS_ERROR_LOGIN},
        {"ERR max number of clients reached", REDIS_ERROR_CLIENTS},
        {"NOGROUP No such key 'blotter:okx'", REDIS_ERROR_GROUP},
        {"WRONGTYPE Operation against a key", REDIS_ERROR_GROUP},
        {"ERR DB index is out of range", REDIS_ERROR_SETTING},
        {"ERR SELECT is not allowed in cluster mode", REDIS_ERROR_SETTING},
    };

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        assert_int_equal(redis_error_action(errors[i].text), errors[i].action);
        assert_non_null(redis_error_meaning(errors[i].text));
    }
}

static void other_errors_are_in_no_list(void **state)
{
    static const char *const errors[] = {"", "ERR syntax error", "BUSYGROUP Consumer Group exists",
                                         "MOVEDX 1", "readonly"};

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        assert_int_equal(redis_error_action(errors[i]), REDIS_ERROR_OTHER);
        assert_null(redis_error_meaning(errors[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_known_by_their_first_words),
        cmocka_unit_test(other_errors_are_in_no_list),
    };
    return cmocka_run_group_tests_name("redis_error", tests, NULL, NULL);
}
