/* test_redis_refuses.c: Redis answers, and what it answers is an error, for longer than a moment.
 * Whatever error it is: records are kept, it is asked again with growing pauses, people can see
 * why, and are told once; afterwards everything is stored, and nothing is said to be wrong any
 * more.
 *
 * Each refusal has a Redis, a drainer and an exchange of its own, and all happen at the same time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fixture/load.h"

enum {
    PRODUCERS = 2,
    OUTAGE_MS = 6500, /* long enough for READONLY to make the sender connect again */
    RETRIES_MAX = 25, /* within it: the pauses grow to two seconds */
    CPU_PER_CENT = 5, /* of a processor, by each sender */
};

struct refused {
    const struct refusal *refusal;
    struct fixture_redis *redis;
    redisContext *operator; /* a connection that stays, whatever Redis does to others */
    struct load *load;
    int64_t cpu_us[PRODUCERS], errors;
};

static void order(struct refused *refused, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(refused->operator, format, arguments);
    va_end(arguments);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        fixture_fail("%s: %s", format, reply != NULL ? reply->str : refused->operator->errstr);
    }
    freeReplyObject(reply);
}

/* --- ways to refuse --- */

static void fill_memory(struct refused *refused)
{
    order(refused, "CONFIG SET maxmemory 1");
}

static void free_memory(struct refused *refused)
{
    order(refused, "CONFIG SET maxmemory 0");
}

static void become_replica(struct refused *refused)
{
    order(refused, "REPLICAOF 127.0.0.1 1"); /* where there is nobody */
}

static void become_master(struct refused *refused)
{
    order(refused, "REPLICAOF NO ONE");
}

static bool snapshot_is(struct refused *refused, const char *status)
{
    redisReply *reply = redisCommand(refused->operator, "INFO persistence");
    bool is = reply && strstr(reply->str, status) && strstr(reply->str, "rdb_bgsave_in_progress:0");
    freeReplyObject(reply);
    return is;
}

static bool snapshot_has_failed(void *arg)
{
    return snapshot_is(arg, "rdb_last_bgsave_status:err");
}

static bool snapshot_is_made(void *arg)
{
    return snapshot_is(arg, "rdb_last_bgsave_status:ok");
}

static void fail_snapshots(struct refused *refused)
{
    assert_int_equal(chmod(fixture_redis_folder(refused->redis), 0500), 0);
    order(refused, "CONFIG SET save %s", "3600 1");
    order(refused, "BGSAVE");
    assert_true(fixture_wait_until(snapshot_has_failed, refused, STORY_TIMEOUT_MS));
}

static void make_snapshots(struct refused *refused)
{
    assert_int_equal(chmod(fixture_redis_folder(refused->redis), 0700), 0);
    order(refused, "BGSAVE");
    assert_true(fixture_wait_until(snapshot_is_made, refused, STORY_TIMEOUT_MS));
}

static void ask_for_a_password(struct refused *refused)
{
    order(refused, "CONFIG SET requirepass secret");
    order(refused, "CLIENT KILL TYPE normal"); /* who was let in stays in; not us */
}

static void ask_for_none(struct refused *refused)
{
    order(refused, "ACL SETUSER default nopass");
}

static void forbid_adding(struct refused *refused)
{
    order(refused, "ACL SETUSER default -xadd");
}

/* Sending goes on; but what the drainer says cannot be read. */
static void forbid_reading(struct refused *refused)
{
    order(refused, "ACL SETUSER default -xrange");
}

static void allow_all(struct refused *refused)
{
    order(refused, "ACL SETUSER default +@all");
}

static const char *stream_of(const struct refused *refused);

static void put_a_string_in_its_place(struct refused *refused)
{
    order(refused, "SET %s a-string", stream_of(refused));
}

static void delete_it(struct refused *refused)
{
    order(refused, "DEL %s", stream_of(refused));
}

static void give_slots_away(struct refused *refused)
{
    order(refused, "CLUSTER DELSLOTSRANGE 0 16383");
}

static bool is_whole(void *arg)
{
    struct refused *refused = arg;
    redisReply *reply = redisCommand(refused->operator, "CLUSTER INFO");
    bool is = reply && strstr(reply->str, "cluster_state:ok");
    freeReplyObject(reply);
    return is;
}

static void take_slots(struct refused *refused)
{
    order(refused, "CLUSTER ADDSLOTSRANGE 0 16383");
    assert_true(fixture_wait_until(is_whole, refused, STORY_TIMEOUT_MS));
}

static void take_no_more_clients(struct refused *refused)
{
    order(refused, "CONFIG SET maxclients 1");
    order(refused, "CLIENT KILL TYPE normal");
}

static void take_clients(struct refused *refused)
{
    order(refused, "CONFIG SET maxclients 1000");
}

/* Its file has some thousand other keys, at 20 ms each: a minute, which no outage here takes. */
static void load_slowly(struct refused *refused)
{
    order(refused, "EVAL %s 0",
          "for i = 1, 3000 do redis.call('SET', 'other-' .. i, string.rep('x', 200)) end");
    order(refused, "SAVE");
    redisFree(refused->operator);
    fixture_redis_kill9(refused->redis);
    fixture_redis_start_again_unready(refused->redis);
}

static bool lets_an_operator_in(void *arg)
{
    struct refused *refused = arg;
    refused->operator= redisConnectUnix(fixture_redis_socket(refused->redis));
    if (!refused->operator->err) {
        return true;
    }
    redisFree(refused->operator);
    return false;
}

static void load_quickly(struct refused *refused)
{
    assert_true(fixture_wait_until(lets_an_operator_in, refused, STORY_TIMEOUT_MS));
    order(refused, "CONFIG SET key-load-delay 0");
    fixture_redis_wait_ready(refused->redis);
}

static const struct refusal {
    const char *exchange, *says;
    void (*begin)(struct refused *refused);
    void (*end)(struct refused *refused);
    int down, refuses, up; /* what each producer's callback is told, in all */
    struct fixture_redis_options server;
} refusals[] = {
    {"oom", "OOM ", fill_memory, free_memory, 0, 1, 2, {0}},
    {"readonly", "READONLY ", become_replica, become_master, 0, 1, 2, {0}},
    {"misconf", "MISCONF ", fail_snapshots, make_snapshots, 0, 1, 2, {0}},
    {"noauth", "NOAUTH ", ask_for_a_password, ask_for_none, 1, 0, 2, {0}},
    {"noperm", "NOPERM ", forbid_adding, allow_all, 0, 1, 2, {0}},
    {"noperm2", "NOPERM ", forbid_reading, allow_all, 0, 1, 2, {0}},
    {"wrongtype", "WRONGTYPE ", put_a_string_in_its_place, delete_it, 0, 1, 2, {0}},
    {"clusterdown",
     "CLUSTERDOWN ",
     give_slots_away,
     take_slots,
     0,
     1,
     2,
     {.tcp = true, .settings = "cluster-enabled yes\ncluster-require-full-coverage no"}},
    {"maxclients", "ERR max number of clients", take_no_more_clients, take_clients, 1, 0, 2, {0}},
    {"loading",
     "LOADING ",
     load_slowly,
     load_quickly,
     1,
     1,
     3,
     {.settings =
          "key-load-delay 20000\nloading-process-events-interval-bytes 1024\nrdbcompression no"}},
};
enum { REFUSALS = sizeof refusals / sizeof *refusals };

static const char *stream_of(const struct refused *refused)
{
    return fixture_format("blotter:%s", refused->refusal->exchange);
}

/* --- the test --- */

static void start(struct refused *refused, const struct refusal *refusal)
{
    refused->refusal = refusal;
    refused->redis = fixture_redis_start(&refusal->server);
    refused->operator= fixture_redis_connect(refused->redis);
    if (refusal->begin == give_slots_away) {
        take_slots(refused);
    }
    story_use_redis(refused->redis);
    story_drainer(refusal->exchange);
    refused->load = load_start(&(struct load_options){
        .producers = PRODUCERS, .exchange = refusal->exchange, .per_second = 50});
}

static bool all_say_why(void *arg)
{
    struct refused *refused = arg;
    int say = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        struct blotter_stats stats = load_stats(refused->load, i);
        say +=
            strncmp(stats.last_error, refused->refusal->says, strlen(refused->refusal->says)) == 0;
    }
    return say == PRODUCERS;
}

static void assert_all_say_why(struct refused *refused, int timeout_ms)
{
    if (!fixture_wait_until(all_say_why, refused, timeout_ms)) {
        fixture_fail("%s: last_error is \"%s\" and \"%s\"", refused->refusal->exchange,
                     load_stats(refused->load, 0).last_error,
                     load_stats(refused->load, 1).last_error);
    }
}

static void await_refused(struct refused *refused)
{
    assert_all_say_why(refused, STORY_TIMEOUT_MS);
    for (int i = 0; i < PRODUCERS; i++) {
        refused->cpu_us[i] = load_sender_cpu_us(refused->load, i);
    }
    refused->errors = load_totals(refused->load).errors;
}

static void assert_patient(struct refused *refused, int64_t outage_ms)
{
    struct load *load = refused->load;
    assert_all_say_why(refused, 0);
    for (int i = 0; i < PRODUCERS; i++) {
        int64_t cpu_us = load_sender_cpu_us(load, i) - refused->cpu_us[i];
        struct blotter_stats stats = load_stats(load, i);
        print_message("%-12s %4.1f %% of a processor: %s\n", refused->refusal->exchange,
                      (double)cpu_us / 10 / (double)outage_ms, stats.last_error);
        assert_true(cpu_us < outage_ms * 10 * CPU_PER_CENT || !fixture_judges_cost("CPU time"));
        assert_true(stats.last_error_at_ns > 0);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_DOWN), refused->refusal->down);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_REFUSES),
                         refused->refusal->refuses);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_UP), refused->refusal->up - 1);
        assert_int_equal(stats.full, 0);
    }
    assert_true(load_totals(load).errors - refused->errors < RETRIES_MAX * PRODUCERS);
}

static void assert_healed(struct refused *refused)
{
    struct load *load = refused->load;
    load_await_stage(load, BLOTTER_COMMITTED);
    for (int i = 0; i < PRODUCERS; i++) {
        assert_string_equal(load_stats(load, i).last_error, "");
        assert_int_equal(load_stats(load, i).last_error_at_ns, 0);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_DOWN), refused->refusal->down);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_REFUSES),
                         refused->refusal->refuses);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_REDIS_UP), refused->refusal->up);
        assert_int_equal(load_told(load, i, BLOTTER_EVENT_FULL), 0);
    }
    story_use_redis(refused->redis);
    load_finish(load);
    redisFree(refused->operator);
}

static void whatever_redis_refuses_with_is_waited_out(void **state)
{
    (void)state;
    struct refused each[REFUSALS] = {0};
    for (int i = 0; i < REFUSALS; i++) {
        start(&each[i], &refusals[i]);
    }
    for (int i = 0; i < REFUSALS; i++) {
        load_await_accepted(each[i].load, 50);
        load_await_stage(each[i].load, BLOTTER_COMMITTED); /* its drainer is at work */
    }
    for (int i = 0; i < REFUSALS; i++) {
        refusals[i].begin(&each[i]);
    }
    for (int i = 0; i < REFUSALS; i++) {
        await_refused(&each[i]);
    }
    int64_t began = fixture_now_ms();
    fixture_sleep_ms(OUTAGE_MS);
    for (int i = 0; i < REFUSALS; i++) {
        assert_patient(&each[i], fixture_now_ms() - began);
    }
    for (int i = 0; i < REFUSALS; i++) {
        refusals[i].end(&each[i]);
    }
    for (int i = 0; i < REFUSALS; i++) {
        load_await_accepted(each[i].load, 20);
        load_stop(each[i].load);
    }
    for (int i = 0; i < REFUSALS; i++) {
        assert_healed(&each[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_redis_refuses_with_is_waited_out, story_begin,
                                        load_end),
    };
    return cmocka_run_group_tests_name("redis_refuses", tests, NULL, NULL);
}
