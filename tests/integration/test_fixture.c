/* test_fixture.c: the servers that every other test relies on start, stop, survive what they should, and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fixture/proxy.h"

#define TIMEOUT_MS 60000 /* for what happens at some time */
#define SILENCE_MS 300   /* in which nothing must come */

static void redis_keeps_its_data_over_a_kill_when_it_has_an_aof(void **state)
{
    (void)state;
    struct fixture_redis *redis =
        fixture_redis_start(&(struct fixture_redis_options){.aof = true, .appendfsync = "always", .tcp = true});
    assert_string_equal(fixture_redis_run(redis, "SET key %s", "value"), "OK");
    fixture_redis_kill9(redis);
    fixture_redis_start_again(redis);
    assert_string_equal(fixture_redis_run(redis, "GET key"), "value");
    assert_string_equal(fixture_redis_run(redis, "GET nothing"), "(nil)");
    fixture_redis_restart(redis);
    assert_int_equal(fixture_redis_int(redis, "EXISTS key"), 1);
    assert_true(strncmp(fixture_redis_url(redis), "redis://127.0.0.1:", 18) == 0);
    fixture_redis_stop(redis, SIGTERM);
}

static void redis_loses_everything_over_a_kill_when_it_has_none(void **state)
{
    (void)state;
    struct fixture_redis *redis = fixture_redis_start(NULL);
    assert_string_equal(fixture_redis_run(redis, "SET key value"), "OK");
    fixture_redis_kill9(redis);
    fixture_redis_start_again(redis);
    assert_int_equal(fixture_redis_int(redis, "DBSIZE"), 0);
    assert_int_equal(fixture_redis_port(redis), 0);
}

static void redis_asks_for_its_password(void **state)
{
    (void)state;
    struct fixture_redis *redis = fixture_redis_start(&(struct fixture_redis_options){.password = "secret", .maxmemory = "50mb"});
    assert_string_equal(fixture_redis_run(redis, "CONFIG GET maxmemory"), "maxmemory 52428800");
    redisContext *stranger = redisConnectUnix(fixture_redis_socket(redis));
    redisReply *reply = redisCommand(stranger, "GET key");
    assert_int_equal(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    redisFree(stranger);
}

static bool replica_has_key(void *replica)
{
    return fixture_redis_int(replica, "EXISTS key") == 1;
}

static void redis_replica_follows_its_primary(void **state)
{
    (void)state;
    struct fixture_redis *primary = fixture_redis_start(&(struct fixture_redis_options){.tcp = true, .password = "secret"});
    struct fixture_redis *replica = fixture_redis_start(&(struct fixture_redis_options){.replica_of = primary});
    fixture_redis_run(primary, "SET key value");
    assert_true(fixture_wait_until(replica_has_key, replica, TIMEOUT_MS));
}

static void redis_does_not_answer_while_paused(void **state)
{
    (void)state;
    struct fixture_redis *redis = fixture_redis_start(NULL);
    redisContext *context = fixture_redis_connect(redis);
    redisSetTimeout(context, (struct timeval){.tv_usec = 200000});
    fixture_redis_pause(redis);
    assert_null(redisCommand(context, "PING"));
    fixture_redis_resume(redis);
    redisFree(context);
    assert_string_equal(fixture_redis_run(redis, "PING"), "PONG");
}

static void postgres_keeps_what_is_committed_over_a_kill(void **state)
{
    (void)state;
    struct fixture_postgres *postgres = fixture_postgres_start(NULL);
    fixture_postgres_run(postgres, "CREATE TABLE kept (n bigint); INSERT INTO kept SELECT generate_series(1, %d)", 100);
    fixture_postgres_kill9(postgres);
    fixture_postgres_start_again(postgres);
    assert_int_equal(fixture_postgres_int(postgres, "SELECT count(*) FROM kept"), 100);
    fixture_postgres_stop(postgres, FIXTURE_IMMEDIATE);
    fixture_postgres_start_again(postgres);
    fixture_postgres_restart(postgres);
    assert_int_equal(fixture_postgres_int(postgres, "SELECT count(*) FROM kept"), 100);
    assert_string_equal(fixture_postgres_run(postgres, "SHOW fsync"), "on");
    assert_string_equal(fixture_postgres_run(postgres, "SHOW server_encoding"), "UTF8");
}

static void postgres_does_not_answer_while_paused(void **state)
{
    (void)state;
    struct fixture_postgres *postgres = fixture_postgres_start(&(struct fixture_postgres_options){.tcp = true, .no_fsync = true});
    PGconn *connection = fixture_postgres_connect(postgres);
    fixture_postgres_pause(postgres);
    assert_int_equal(PQsendQuery(connection, "SELECT 1"), 1);
    fixture_sleep_ms(200);
    PQconsumeInput(connection);
    assert_true(PQisBusy(connection));
    fixture_postgres_resume(postgres);
    PGresult *result = PQgetResult(connection);
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(connection);
    PGconn *over_tcp = PQconnectdb(fixture_postgres_conninfo(postgres));
    assert_int_equal(PQstatus(over_tcp), CONNECTION_OK);
    PQfinish(over_tcp);
}

static void a_program_is_fed_and_captured_and_its_end_is_told(void **state)
{
    (void)state;
    struct fixture_program *program;
    const char *const shell[] = {"sh", "-c", "cat; echo \"$COLOUR$HOME\" >&2; exit 7", NULL};
    static const char *const environment[] = {"COLOUR=green", "HOME", NULL};
    assert_int_equal(
        fixture_run(shell, &(struct fixture_program_options){.input = "hello", .environment = environment}, TIMEOUT_MS, &program),
        7);
    assert_string_equal(fixture_program_stdout(program), "hello");
    assert_string_equal(fixture_program_stderr(program), "green\n");
}

static void a_program_is_stopped_by_a_signal_and_watched(void **state)
{
    (void)state;
    struct fixture_program *program =
        fixture_program_start((const char *const[]){"sh", "-c", "echo ready; exec sleep 60", NULL}, NULL);
    assert_true(fixture_program_says(program, "ready", TIMEOUT_MS));
    assert_false(fixture_program_says(program, "something else", 50));
    assert_true(fixture_program_running(program));
    fixture_program_signal(program, SIGSTOP);
    assert_int_equal(fixture_program_stop(program, SIGTERM, TIMEOUT_MS), 128 + SIGTERM);
    assert_false(fixture_program_running(program));
}

/* Gone, or dead and only waiting for its new parent to notice. */
static bool process_is_gone(void *pid)
{
    const char *stat = fixture_read_file(fixture_format("/proc/%d/stat", (int)*(pid_t *)pid));
    const char *state = strrchr(stat, ')');
    return !state || state[2] == 'Z';
}

static bool folder_is_gone(void *folder)
{
    return access(folder, F_OK) != 0;
}

/* The child is the test that dies; its servers and its folder have to be gone, whatever killed it. */
static void nothing_is_left_of_a_test_that_is_killed(void **state)
{
    (void)state;
    int words[2];
    struct {
        char folder[256];
        pid_t redis, postgres, program;
    } told;
    assert_int_equal(pipe(words), 0);
    pid_t child = fork();
    if (child == 0) {
        memset(&told, 0, sizeof told);
        strncpy(told.folder, fixture_folder(), sizeof told.folder - 1);
        struct fixture_redis *redis = fixture_redis_start(NULL);
        struct fixture_postgres *postgres = fixture_postgres_start(NULL);
        told.program = fixture_program_pid(fixture_program_start((const char *const[]){"sleep", "60", NULL}, NULL));
        fixture_redis_pause(redis);
        fixture_postgres_pause(postgres);
        told.redis = fixture_redis_pid(redis);
        told.postgres = fixture_postgres_pid(postgres);
        if (write(words[1], &told, sizeof told) != sizeof told)
            _exit(1);
        raise(SIGKILL);
    }
    close(words[1]);
    assert_int_equal(read(words[0], &told, sizeof told), sizeof told);
    close(words[0]);
    waitpid(child, NULL, 0);
    assert_true(fixture_wait_until(folder_is_gone, told.folder, TIMEOUT_MS));
    assert_true(process_is_gone(&told.redis));
    assert_true(process_is_gone(&told.postgres));
    assert_true(process_is_gone(&told.program));
}

static redisContext *redis_through(const struct fixture_proxy *proxy)
{
    redisContext *context = redisConnectUnix(fixture_proxy_address(proxy) + strlen("unix://"));
    assert_non_null(context);
    assert_int_equal(context->err, 0);
    return context;
}

/* The answer is a status or an integer; false: there is none in time. */
static bool answers_within(redisContext *context, const char *command, int timeout_ms)
{
    redisSetTimeout(context, (struct timeval){timeout_ms / 1000, timeout_ms % 1000 * 1000});
    redisReply *reply = redisCommand(context, command);
    bool good = reply && reply->type != REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    return good;
}

static bool answers(redisContext *context, const char *command)
{
    return answers_within(context, command, TIMEOUT_MS);
}

static void a_proxy_passes_on_what_is_written(void **state)
{
    (void)state;
    struct fixture_redis *redis = fixture_redis_start(NULL);
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, false);
    redisContext *context = redis_through(proxy);
    char *large = malloc(3000001);
    memset(large, 'x', 3000000);
    large[3000000] = 0;
    redisReply *reply = redisCommand(context, "SET large %s", large);
    freeReplyObject(reply);
    reply = redisCommand(context, "GET large");
    assert_non_null(reply);
    assert_string_equal(reply->str, large);
    freeReplyObject(reply);
    redisFree(context);
    free(large);
    assert_true(fixture_proxy_counts(proxy).to_server_bytes > 3000000);
    assert_true(fixture_proxy_counts(proxy).to_client_bytes > 3000000);
}

static void a_proxy_cuts_and_closes_and_opens(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(fixture_redis_start(NULL), false);
    redisContext *context = redis_through(proxy);
    assert_true(answers(context, "PING"));
    assert_int_equal(fixture_proxy_cut(proxy), 1);
    assert_false(answers(context, "PING"));
    redisFree(context);
    fixture_proxy_close(proxy);
    context = redisConnectUnix(fixture_proxy_address(proxy) + strlen("unix://"));
    assert_int_not_equal(context->err, 0);
    redisFree(context);
    fixture_proxy_open(proxy);
    context = redis_through(proxy);
    assert_true(answers(context, "PING"));
    redisFree(context);
}

static bool has_stalled_key(void *redis)
{
    return fixture_redis_int(redis, "EXISTS stalled") == 1;
}

static void a_proxy_that_stalls_loses_nothing_and_one_that_swallows_does(void **state)
{
    (void)state;
    struct fixture_redis *redis = fixture_redis_start(NULL);
    struct fixture_proxy *proxy = fixture_proxy_redis(redis, false);
    redisContext *context = redis_through(proxy);
    fixture_proxy_stall(proxy, FIXTURE_BOTH);
    assert_false(answers_within(context, "INCR stalled", SILENCE_MS));
    fixture_proxy_stall(proxy, 0);
    redisFree(context);
    assert_true(fixture_wait_until(has_stalled_key, redis, TIMEOUT_MS));
    context = redis_through(proxy);
    fixture_proxy_swallow(proxy, FIXTURE_BOTH);
    assert_false(answers_within(context, "INCR swallowed", SILENCE_MS));
    fixture_proxy_swallow(proxy, 0);
    redisFree(context);
    fixture_sleep_ms(100);
    assert_int_equal(fixture_redis_int(redis, "EXISTS swallowed"), 0);
}

static void a_proxy_delays(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(fixture_redis_start(NULL), false);
    redisContext *context = redis_through(proxy);
    fixture_proxy_delay(proxy, FIXTURE_BOTH, 100);
    int64_t began = fixture_now_ms();
    assert_true(answers(context, "PING"));
    assert_true(fixture_now_ms() - began >= 200);
    redisFree(context);
}

static bool has_a_row(void *postgres)
{
    return fixture_postgres_int(postgres, "SELECT count(*) FROM t") > 0;
}

static void a_proxy_loses_the_answer_to_commit_or_commit_itself(void **state)
{
    (void)state;
    struct fixture_postgres *postgres = fixture_postgres_start(&(struct fixture_postgres_options){.no_fsync = true});
    struct fixture_proxy *proxy = fixture_proxy_postgres(postgres, true);
    fixture_postgres_run(postgres, "CREATE TABLE t (n int)");
    for (int after = 0; after <= 1; after++) {
        PGconn *connection = PQconnectdb(fixture_proxy_address(proxy));
        assert_int_equal(PQstatus(connection), CONNECTION_OK);
        PQclear(PQexec(connection, "BEGIN; INSERT INTO t VALUES (1)"));
        fixture_proxy_cut_at(proxy, FIXTURE_TO_SERVER, "COMMIT", after ? FIXTURE_CUT_AFTER : FIXTURE_CUT_BEFORE);
        PGresult *result = PQexec(connection, "COMMIT");
        assert_int_not_equal(PQresultStatus(result), PGRES_COMMAND_OK);
        PQclear(result);
        PQfinish(connection);
        if (after)
            assert_true(fixture_wait_until(has_a_row, postgres, TIMEOUT_MS));
        else
            fixture_sleep_ms(SILENCE_MS);
        assert_int_equal(fixture_postgres_int(postgres, "SELECT count(*) FROM t"), after);
    }
    assert_int_equal(fixture_proxy_counts(proxy).cuts_at, 2);
}

static bool has_stalled(void *proxy)
{
    return fixture_proxy_counts(proxy).stalls_at == 1;
}

static bool has_both(void *redis)
{
    return fixture_redis_int(redis, "EXISTS one two") == 2;
}

static void a_proxy_stalls_before_or_behind_what_it_is_told(void **state)
{
    (void)state;
    static const char commands[] = "INCR one\r\nINCR two\r\nINCR three\r\n";
    struct fixture_redis *redis = fixture_redis_start(NULL);
    struct fixture_proxy *before = fixture_proxy_redis(redis, false), *after = fixture_proxy_redis(redis, false);
    redisContext *first = redis_through(before), *second = redis_through(after), *other = redis_through(before);
    fixture_proxy_cut_at(before, FIXTURE_TO_SERVER, "INCR one\r\n", FIXTURE_STALL_BEFORE);
    fixture_proxy_cut_at(after, FIXTURE_TO_SERVER, "INCR two\r\n", FIXTURE_STALL_AFTER);
    assert_int_equal(write(first->fd, commands, strlen(commands)), strlen(commands));
    assert_int_equal(write(second->fd, commands, strlen(commands)), strlen(commands));
    assert_true(fixture_wait_until(has_stalled, before, TIMEOUT_MS));
    assert_true(fixture_wait_until(has_stalled, after, TIMEOUT_MS));
    assert_true(fixture_wait_until(has_both, redis, TIMEOUT_MS));
    assert_false(answers_within(other, "PING", SILENCE_MS));
    assert_string_equal(fixture_redis_run(redis, "MGET one two three"), "1 1 (nil)");
    fixture_proxy_stall(before, 0);
    fixture_proxy_stall(after, 0);
    for (int i = 0; i < 6; i++) {
        redisReply *reply = NULL;
        assert_int_equal(redisGetReply(i < 3 ? first : second, (void **)&reply), REDIS_OK);
        freeReplyObject(reply);
    }
    assert_string_equal(fixture_redis_run(redis, "MGET one two three"), "2 2 2");
    redisFree(first);
    redisFree(second);
    redisFree(other);
}

/* A forked child counts on where we do, so that it would be given the same. */
static void a_port_is_given_to_one_process_alone(void **state)
{
    int words[2], first = fixture_free_port(), childs = 0;
    (void)state;
    assert_int_equal(pipe(words), 0);
    pid_t child = fork();
    if (child == 0) {
        childs = fixture_free_port();
        if (write(words[1], &childs, sizeof childs) != sizeof childs)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(words[0], &childs, sizeof childs), sizeof childs);
    int ours = fixture_free_port();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(words[0]);
    close(words[1]);
    assert_int_not_equal(childs, first);
    assert_int_not_equal(childs, ours);
}

static void nothing_is_left_after_cleanup(void **state)
{
    (void)state;
    char *folder = strdup(fixture_folder());
    pid_t redis = fixture_redis_pid(fixture_redis_start(NULL));
    fixture_cleanup();
    assert_true(process_is_gone(&redis));
    assert_true(folder_is_gone(folder));
    free(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_keeps_its_data_over_a_kill_when_it_has_an_aof),
        cmocka_unit_test(redis_loses_everything_over_a_kill_when_it_has_none),
        cmocka_unit_test(redis_asks_for_its_password),
        cmocka_unit_test(redis_replica_follows_its_primary),
        cmocka_unit_test(redis_does_not_answer_while_paused),
        cmocka_unit_test(postgres_keeps_what_is_committed_over_a_kill),
        cmocka_unit_test(postgres_does_not_answer_while_paused),
        cmocka_unit_test(a_program_is_fed_and_captured_and_its_end_is_told),
        cmocka_unit_test(a_program_is_stopped_by_a_signal_and_watched),
        cmocka_unit_test(a_proxy_passes_on_what_is_written),
        cmocka_unit_test(a_proxy_cuts_and_closes_and_opens),
        cmocka_unit_test(a_proxy_that_stalls_loses_nothing_and_one_that_swallows_does),
        cmocka_unit_test(a_proxy_delays),
        cmocka_unit_test(a_proxy_loses_the_answer_to_commit_or_commit_itself),
        cmocka_unit_test(a_proxy_stalls_before_or_behind_what_it_is_told),
        cmocka_unit_test(a_port_is_given_to_one_process_alone),
        cmocka_unit_test(nothing_is_left_of_a_test_that_is_killed),
        cmocka_unit_test(nothing_is_left_after_cleanup),
    };
    signal(SIGPIPE, SIG_IGN); /* hiredis 0.14 writes to closed connections */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
