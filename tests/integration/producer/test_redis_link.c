/* test_redis_link.c: the connection comes back by itself, and every command's callback is called
 * exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/redis_link.h"
#include "producer/redis_url.h"
#include "tests/fixture/fixture.h"
#include "tests/fixture/proxy.h"
#include "tests/fixture/servers.h"

enum { TIMEOUT_MS = 60000 }; /* for what takes milliseconds: machines are busy */

static struct fixture_redis *redis;
static struct event_base *base;
static struct redis_link *redis_link;
static unsigned ups, downs, answers, losses;
static char why_down[256];

static int start(void **state)
{
    (void)state;
    ups = downs = answers = losses = 0;
    base = event_base_new();
    redis = fixture_redis_start(&(struct fixture_redis_options){.tcp = true});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_link_destroy(redis_link);
    redis_link = NULL;
    event_base_free(base);
    fixture_cleanup();
    return 0;
}

static void on_change(void *owner, bool up, const char *why)
{
    assert_ptr_equal(owner, &redis);
    assert_int_equal(redis_link_unanswered(redis_link), 0);
    ups += up;
    downs += !up;
    if (!up) {
        snprintf(why_down, sizeof why_down, "%s", why);
    }
}

static void on_answer(void *owner, uintptr_t tag, struct redisReply *reply)
{
    assert_ptr_equal(owner, &redis);
    assert_int_equal(tag, answers + losses + 1); /* in order */
    answers += reply != NULL;
    losses += reply == NULL;
    if (reply == NULL) {
        assert_int_equal(redis_link_sendv(redis_link, on_answer, 0, 1, (const char *[]){"PING"}),
                         -1);
    }
}

static void link_to(struct redis_link_options options)
{
    char error[512];
    options.base = base;
    options.url = options.url != NULL ? options.url : fixture_redis_url(redis);
    options.on_change = on_change;
    options.owner = &redis;
    redis_link = redis_link_create(&options, error, sizeof error);
    if (redis_link == NULL) {
        fail_msg("%s", error);
    }
    redis_link_start(redis_link);
}

static void run_for(int ms)
{
    int64_t until = fixture_now_ms() + ms;
    while (fixture_now_ms() < until) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        fixture_sleep_ms(1);
    }
}

static void run_until(const unsigned *counter, unsigned value)
{
    int64_t until = fixture_now_ms() + TIMEOUT_MS;
    while (*counter < value && fixture_now_ms() < until) {
        run_for(1);
    }
    assert_true(*counter >= value);
}

static const char *run_until_an_error(void)
{
    int64_t until = fixture_now_ms() + TIMEOUT_MS;
    while (!*redis_link_last_error(redis_link) && fixture_now_ms() < until) {
        run_for(1);
    }
    return redis_link_last_error(redis_link);
}

static void incr(unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(
            redis_link_sendv(redis_link, on_answer, first + i, 2, (const char *[]){"INCR", "n"}),
            0);
    }
}

/* --- tests --- */

static void answers_come_in_order(void **state)
{
    (void)state;
    link_to((struct redis_link_options){.name = "test"});
    assert_int_equal(redis_link_sendv(redis_link, on_answer, 0, 1, (const char *[]){"PING"}), -1);
    run_until(&ups, 1);
    incr(1, 1000);
    assert_true(redis_link_unsent_bytes(redis_link) > 0);
    run_until(&answers, 1000);
    assert_int_equal(losses, 0);
    assert_non_null(strstr(fixture_redis_run(redis, "CLIENT LIST"), "name=test"));
}

static void a_reset_answers_every_command_and_connects_again(void **state)
{
    (void)state;
    link_to((struct redis_link_options){0});
    run_until(&ups, 1);
    incr(1, 100);
    redis_link_reset(redis_link, "the test says so");
    run_until(&ups, 2);
    assert_int_equal(answers + losses, 100);
    assert_int_equal(downs, 1);
    assert_string_equal(why_down, "the test says so");
}

static void a_killed_server_is_waited_for(void **state)
{
    (void)state;
    link_to((struct redis_link_options){.backoff_max_ms = 200});
    run_until(&ups, 1);
    fixture_redis_kill9(redis);
    run_until(&downs, 1);
    run_for(500);
    assert_false(redis_link_up(redis_link));
    assert_true(strlen(redis_link_last_error(redis_link)) > 0);
    fixture_redis_start_again(redis);
    run_until(&ups, 2);
    assert_int_equal(downs, 1);
}

static void a_stopped_server_is_given_up(void **state)
{
    (void)state;
    link_to((struct redis_link_options){
        .answer_timeout_ms = 400, .connect_timeout_ms = 300, .backoff_max_ms = 200});
    run_until(&ups, 1);
    fixture_redis_pause(redis);
    incr(1, 3);
    run_until(&downs, 1);
    assert_int_equal(losses, 3);
    run_for(800);
    fixture_redis_resume(redis);
    run_until(&ups, 2);
}

static void an_idle_half_open_connection_is_noticed(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, true);
    link_to(
        (struct redis_link_options){.url = fixture_proxy_address(proxy), .answer_timeout_ms = 400});
    run_until(&ups, 1);
    fixture_proxy_swallow(proxy, FIXTURE_BOTH);
    run_until(&downs, 1);
    assert_non_null(strstr(why_down, "no answer"));
}

static void a_wrong_password_is_said_and_not_shown(void **state)
{
    (void)state;
    fixture_redis_run(redis, "CONFIG SET requirepass geheim");
    char url[128];
    snprintf(url, sizeof url, "redis://:falsch@127.0.0.1:%d", fixture_redis_port(redis));
    link_to((struct redis_link_options){.url = url});
    assert_non_null(strstr(run_until_an_error(), "WRONGPASS"));
    run_for(300);
    assert_int_equal(ups, 0);
    assert_null(strstr(redis_link_place(redis_link), "falsch"));
    redis_link_destroy(redis_link);
    link_to((struct redis_link_options){.url = url, .password = "geheim"});
    run_until(&ups, 1);
}

static bool has_turned_one_away(void *operator)
{
    redisReply *info = redisCommand(operator, "INFO stats");
    bool has = strstr(info->str, "\nrejected_connections:0") == NULL;
    freeReplyObject(info);
    return has;
}

/* Redis has said why and hung up before the first write, which fails: what it said is told, not
 * "Broken pipe". */
static void a_server_that_hangs_up_at_once_is_listened_to(void **state)
{
    (void)state;
    char url[256];
    snprintf(url, sizeof url, "unix://%s", fixture_redis_socket(redis));
    redisContext *operator= fixture_redis_connect(redis);
    freeReplyObject(redisCommand(operator, "CONFIG SET maxclients 1"));
    link_to((struct redis_link_options){.url = url});
    event_base_loop(base, EVLOOP_NONBLOCK); /* it connects */
    assert_true(fixture_wait_until(has_turned_one_away, operator, TIMEOUT_MS));
    assert_string_equal(run_until_an_error(), "ERR max number of clients reached");
    redisFree(operator);
}

static void a_name_is_looked_up_and_a_database_selected(void **state)
{
    (void)state;
    char url[128];
    snprintf(url, sizeof url, "redis://localhost:%d/3", fixture_redis_port(redis));
    link_to((struct redis_link_options){.url = url, .name = "by-name"});
    run_until(&ups, 1);
    const char *clients = fixture_redis_run(redis, "CLIENT LIST");
    assert_non_null(strstr(strstr(clients, "name=by-name"), "db=3"));
    redis_link_destroy(redis_link);
    link_to((struct redis_link_options){.url = "redis://no-such-host.invalid"});
    redis_link_destroy(redis_link); /* while it is looked up */
    link_to((struct redis_link_options){.url = "redis://no-such-host.invalid"});
    run_for(1000);
    assert_int_equal(ups, 1);
}

static void url_parse(struct redis_url *url, const char *text)
{
    char error[512];
    if (redis_url_parse(url, text, error, sizeof error) != 0) {
        fail_msg("%s: %s", text, error);
    }
}

static void urls_of_one_server_are_taken_apart(void **state)
{
    (void)state;
    struct redis_url url;
    url_parse(&url, "redis://me:p%40s/s@[::1]:7000/2");
    assert_string_equal(url.user, "me");
    assert_string_equal(url.password, "p@s/s");
    assert_string_equal(url.host, "::1");
    assert_string_equal(url.place, "redis://[::1]:7000/2");
    url_parse(&url, "unix:///run/redis.sock?db=4");
    assert_string_equal(url.host, "/run/redis.sock");
    assert_int_equal(url.db, 4);
    url_parse(&url, "redis://host");
    assert_int_equal(url.port, 6379);
    url_parse(&url, "rediss://:s/s?1@h:7000/2?cert=/a&cacert=/etc/b%40c&key=/d%26");
    assert_true(url.tls && url.db == 2 && url.port == 7000);
    assert_string_equal(url.password, "s/s?1");
    assert_string_equal(url.cacert, "/etc/b@c");
    assert_string_equal(url.cert, "/a");
    assert_string_equal(url.key, "/d&");
    assert_string_equal(url.place, "rediss://h:7000/2");
    url_parse(&url, "rediss://h?cacert=/a/b");
    assert_string_equal(url.host, "h");
    assert_string_equal(url.cacert, "/a/b");
}

static void urls_of_sentinels_are_taken_apart(void **state)
{
    (void)state;
    struct redis_url url;
    url_parse(&url, "redis+sentinel://me:secret@s1,[::1]:7001,s3:7002/desk/3"
                    "?sentinel_user=a&sentinel_password=b%26");
    assert_true(url.sentinel && !url.tls && url.host_count == 3 && url.db == 3);
    assert_string_equal(url.hosts[0].host, "s1");
    assert_int_equal(url.hosts[0].port, 26379);
    assert_string_equal(url.hosts[1].host, "::1");
    assert_int_equal(url.hosts[1].port, 7001);
    assert_int_equal(url.hosts[2].port, 7002);
    assert_string_equal(url.service, "desk");
    assert_string_equal(url.password, "secret");
    assert_string_equal(url.sentinel_user, "a");
    assert_string_equal(url.sentinel_password, "b&");
    assert_string_equal(url.place, "redis+sentinel://s1:26379,[::1]:7001,s3:7002/desk/3");
    url_parse(&url, "rediss+sentinel://s1/desk?cacert=/a");
    assert_true(url.sentinel && url.tls && url.db == 0);
    url_parse(&url, "redis+sentinel://s/m?sentinel_tls=yes&cacert=/a");
    assert_true(url.sentinel_tls && !url.tls);
}

static void urls_of_clusters_are_taken_apart(void **state)
{
    (void)state;
    struct redis_url url;
    url_parse(&url, "redis+cluster://me:p%40s@h1:7000,[::1]:7001,h3");
    assert_true(url.cluster && !url.sentinel && !url.tls && url.host_count == 3 && url.db == 0);
    assert_string_equal(url.hosts[1].host, "::1");
    assert_int_equal(url.hosts[1].port, 7001);
    assert_int_equal(url.hosts[2].port, 6379);
    assert_string_equal(url.place, "redis+cluster://h1:7000,[::1]:7001,h3:6379");
}

static void wrong_urls_are_refused_without_their_secrets(void **state)
{
    (void)state;
    struct redis_url url;
    char error[512];
    static const char *const wrong[] = {"redis+sentinel://s1",
                                        "redis+sentinel://s1/",
                                        "redis+sentinel:///desk",
                                        "redis+sentinel://s1,/desk",
                                        "redis+sentinel://s1:0/desk",
                                        "redis+sentinel://s1/desk/x",
                                        "redis+sentinel://s1/desk?cacert=/a",
                                        "redis+sentinel://s1/desk?sentinel_password=",
                                        "redis+sentinel://1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h/desk",
                                        "redis://h?sentinel_user=secret",
                                        "redis+sentinel://s/m?sentinel_tls=no",
                                        "redis+cluster://",
                                        "redis+cluster://h,",
                                        "redis+cluster://h/1",
                                        "redis+cluster://h?cacert=/a",
                                        "redis://h?cacert=/a",
                                        "rediss://h?",
                                        "rediss://h?cert=/a",
                                        "rediss://h?key=/a",
                                        "rediss://h?cacert=",
                                        "rediss://h?ca=/a",
                                        "rediss://h?cacert=/a&",
                                        "rediss://h?cacert=/a&secret",
                                        "rediss://h?cacert=%00",
                                        "http://x",
                                        "redis://",
                                        "redis://:secret@",
                                        "redis://h:0",
                                        "redis://h:70000",
                                        "redis://h/one",
                                        "redis://h:port",
                                        "unix://",
                                        "unix://x",
                                        "unix:///x?d=1",
                                        "redis://%zz@h",
                                        "redis://[::1",
                                        "redis://secret%0@h:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (redis_url_parse(&url, wrong[i], error, sizeof error) == 0) {
            fail_msg("%s is taken", wrong[i]);
        }
        assert_null(strstr(error, "secret"));
    }
}

static void a_database_behind_the_question_mark_is_told_where_it_belongs(void **state)
{
    (void)state;
    static const char *const urls[] = {"redis://h?db=3", "redis://h:7000/?db=3",
                                       "rediss://h?cacert=/a&db=3",
                                       "redis+sentinel://h/mymaster?db=3"};
    struct redis_url url;
    char error[512];
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_int_equal(redis_url_parse(&url, urls[i], error, sizeof error), -1);
        assert_non_null(strstr(error, "the database is given as /N, not as ?db=N"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_come_in_order),
        TEST(a_reset_answers_every_command_and_connects_again),
        TEST(a_killed_server_is_waited_for),
        TEST(a_stopped_server_is_given_up),
        TEST(an_idle_half_open_connection_is_noticed),
        TEST(a_wrong_password_is_said_and_not_shown),
        TEST(a_server_that_hangs_up_at_once_is_listened_to),
        TEST(a_name_is_looked_up_and_a_database_selected),
        cmocka_unit_test(urls_of_one_server_are_taken_apart),
        cmocka_unit_test(urls_of_sentinels_are_taken_apart),
        cmocka_unit_test(urls_of_clusters_are_taken_apart),
        cmocka_unit_test(wrong_urls_are_refused_without_their_secrets),
        cmocka_unit_test(a_database_behind_the_question_mark_is_told_where_it_belongs),
    };
    signal(SIGPIPE, SIG_IGN); /* as whoever runs a link must */
    return cmocka_run_group_tests_name("redis link", tests, NULL, NULL);
}
