/* test_no_server.c: what a command says when a server is not there, does not answer, does not let
 * it in, or is not made ready: one line that names the setting, in bounded time, without a secret.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/fixture/proxy.h"
#include "tests/fixture/story.h"

#define BOUND_MS STORY_TIMEOUT_MS /* connect_timeout is 5 s, and machines are busy */
#define SECRET "s3cret-w0rd"
enum {
    COMMANDS_MAX = 8,
    ATTEMPTS_MAX = 5,
    ENVIRONMENT_MAX = 8,
};

/* The commands to try, all at once, in the test's environment with these changes. */
struct attempt {
    const char *environment[ENVIRONMENT_MAX];
    const char *commands[COMMANDS_MAX];
    int status;
    const char *says[3]; /* in the one line */
};

/* The lines of stderr that are not the log's. */
static const char *plain_lines(const char *errors, int *count)
{
    const char *lines = "";
    *count = 0;
    while (*errors) {
        size_t length = strcspn(errors, "\n");
        if (strncmp(errors, "ts=", 3) != 0) {
            lines = fixture_format("%s%.*s\n", lines, (int)length, errors);
            ++*count;
        }
        errors += length + (errors[length] == '\n');
    }
    return lines;
}

static void assert_said(const struct attempt *attempt, const char *command,
                        struct fixture_program *program)
{
    int status = fixture_program_wait(program, BOUND_MS), count;
    const char *errors = fixture_program_stderr(program), *lines = plain_lines(errors, &count);
    if (status != attempt->status || count != 1) {
        fail_msg("blotter %s: exit status %d, should be %d, with one line; it said:\n%s%s", command,
                 status, attempt->status, fixture_program_stdout(program), errors);
    }
    story_assert_says(lines, fixture_format("blotter %s: ", command));
    for (int i = 0; i < 3 && attempt->says[i] != NULL; i++) {
        story_assert_says(lines, attempt->says[i]);
    }
    if (strstr(errors, SECRET) != NULL || strstr(fixture_program_stdout(program), SECRET) != NULL) {
        fail_msg("blotter %s prints a secret:\n%s%s", command, fixture_program_stdout(program),
                 errors);
    }
}

/* All of them at the same time: most of what they do is waiting. */
static void try_all(const struct attempt *attempts, size_t count)
{
    struct fixture_program *programs[ATTEMPTS_MAX][COMMANDS_MAX];
    assert_true(count <= ATTEMPTS_MAX);
    for (size_t i = 0; i < count; i++) {
        for (int j = 0; attempts[i].commands[j]; j++) {
            const struct fixture_program_options options = {.environment = attempts[i].environment,
                                                            .input = "{\"order_id\": \"1\"}\n"};
            const char *argument =
                strcmp(attempts[i].commands[j], "rejects") == 0 ? "list" : "--log-level=info";
            programs[i][j] =
                story_start_program(STORY_ARGV(attempts[i].commands[j], argument), &options);
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (int j = 0; attempts[i].commands[j]; j++) {
            assert_said(&attempts[i], attempts[i].commands[j], programs[i][j]);
        }
    }
}
#define TRY(...)                                   \
    try_all((const struct attempt[]){__VA_ARGS__}, \
            sizeof((const struct attempt[]){__VA_ARGS__}) / sizeof(struct attempt))

#define EXCHANGE "BLOTTER_EXCHANGE=okx"
#define SOON "BLOTTER_CONNECT_TIMEOUT=2s"
#define REDIS_COMMANDS                                \
    {                                                 \
        "drain", "publish", "ship", "status", "check" \
    }
#define POSTGRES_COMMANDS                                         \
    {                                                             \
        "drain", "status", "audit", "migrate", "check", "rejects" \
    }

/* --- not there, or silent --- */

static void a_redis_that_is_not_there_or_does_not_answer_is_told(void **state)
{
    (void)state;
    struct fixture_redis *silent =
        fixture_redis_start(&(struct fixture_redis_options){.tcp = true});
    const char *nowhere =
        fixture_format("BLOTTER_REDIS=redis://:" SECRET "@127.0.0.1:%d", fixture_free_port());
    const char *no_socket = fixture_format("BLOTTER_REDIS=unix://%s/nobody.sock", fixture_folder());
    const char *silence = fixture_format("BLOTTER_REDIS=%s", fixture_redis_url(silent));
    fixture_redis_pause(silent);
    TRY({{EXCHANGE, nowhere}, REDIS_COMMANDS, 3, {"setting redis", "127.0.0.1", "refused"}},
        {{EXCHANGE, no_socket},
         REDIS_COMMANDS,
         3,
         {"setting redis", "nobody.sock", "No such file"}},
        {{EXCHANGE, silence}, REDIS_COMMANDS, 3, {"setting redis", "127.0.0.1"}});
    fixture_redis_resume(silent);
}

/* Two names that differ at their ends alone would be one; an id beyond 64 bits, and a time before
 * 1970, would be behind all that there is. */
static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    const char *name = fixture_format("BLOTTER_CONSUMER=%0128d", 1);
    TRY({{name}, {"drain", "mirror"}, 2, {"setting consumer", "127 bytes"}},
        {{"BLOTTER_FROM=18446744073709551616"}, {"drain"}, 2, {"setting from"}},
        {{"BLOTTER_FROM=1969-12-31T23:59:59Z"}, {"drain"}, 2, {"setting from"}});
}

static void without_postgresql_each_command_says_so(void **state)
{
    (void)state;
    const char *nowhere =
        fixture_format("BLOTTER_POSTGRES=host=127.0.0.1 port=%d user=postgres password=" SECRET,
                       fixture_free_port());
    TRY({{nowhere}, POSTGRES_COMMANDS, 3, {"setting postgres", "127.0.0.1"}});
}

static void a_postgresql_that_does_not_answer_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    fixture_postgres_pause(story_postgres);
    TRY({{SOON}, POSTGRES_COMMANDS, 3, {"setting postgres"}});
    fixture_postgres_resume(story_postgres);
}

/* --- there, but --- */

static void a_wrong_password_for_redis_is_told_and_not_printed(void **state)
{
    (void)state;
    struct fixture_redis *guarded =
        fixture_redis_start(&(struct fixture_redis_options){.tcp = true, .password = "right"});
    const char *url = fixture_format("BLOTTER_REDIS=%s", fixture_redis_url(guarded));
    const char *with_password = fixture_format("BLOTTER_REDIS=redis://:" SECRET "@127.0.0.1:%d",
                                               fixture_redis_port(guarded));
    const char *password = "BLOTTER_REDIS_PASSWORD=" SECRET;
    TRY({{EXCHANGE, SOON, url, password}, REDIS_COMMANDS, 3, {"setting redis", "WRONGPASS"}},
        {{EXCHANGE, SOON, with_password}, REDIS_COMMANDS, 3, {"setting redis", "WRONGPASS"}},
        {{EXCHANGE, SOON, url}, REDIS_COMMANDS, 3, {"setting redis", "NOAUTH"}});
    const char *file = fixture_format("%s/password", fixture_folder());
    fixture_write_file(file, "right\n");
    const char *const environment[] = {url, fixture_format("BLOTTER_REDIS_PASSWORD_FILE=%s", file),
                                       NULL};
    story_run_program(0, STORY_ARGV("status"),
                      &(struct fixture_program_options){.environment = environment});
}

static void a_database_of_redis_that_does_not_exist_is_a_wrong_setting(void **state)
{
    (void)state;
    struct fixture_redis *redis = fixture_redis_start(&(struct fixture_redis_options){.tcp = true});
    const char *url =
        fixture_format("BLOTTER_REDIS=redis://127.0.0.1:%d/99", fixture_redis_port(redis));
    TRY({{EXCHANGE, SOON, url}, REDIS_COMMANDS, 2, {"setting redis", "/99: ", "from 0 to 15"}});
}

static void a_wrong_password_for_postgresql_is_told_and_not_printed(void **state)
{
    (void)state;
    struct fixture_postgres *guarded = fixture_postgres_start(&(struct fixture_postgres_options){
        .tcp = true,
        .no_fsync = true,
        .hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"});
    fixture_postgres_run(guarded, "ALTER USER postgres PASSWORD 'right'");
    const char *place = fixture_format("BLOTTER_POSTGRES=%s", fixture_postgres_conninfo(guarded));
    const char *with_password = fixture_format("%s password=" SECRET, place);
    const char *says = "password authentication failed";
    TRY({{place, "PGPASSWORD=" SECRET}, POSTGRES_COMMANDS, 3, {"setting postgres", says}},
        {{with_password, "PGPASSWORD"}, POSTGRES_COMMANDS, 3, {"setting postgres", says}});
    const char *const right[] = {place, "PGPASSWORD=right", NULL};
    story_run_program(0, STORY_ARGV("migrate"),
                      &(struct fixture_program_options){.environment = right});
    fixture_postgres_stop(guarded, FIXTURE_IMMEDIATE);
}

static void before_migrate_each_command_names_it(void **state)
{
    (void)state;
    const char *place = fixture_format(
        "BLOTTER_POSTGRES=host=%s port=%d user=postgres dbname=postgres",
        fixture_postgres_socket_folder(story_postgres), fixture_postgres_port(story_postgres));
    TRY({{place},
         {"drain", "status", "audit", "rejects"},
         2,
         {"setting postgres", "blotter migrate"}});
}

static void
a_schema_that_is_older_than_the_program_is_refused_and_nothing_acknowledged(void **state)
{
    (void)state;
    story_add_order("blotter:okx", 7, 1, 0, &(struct blotter_order){.order_id = "1"});
    story_sql("CREATE TABLE newest AS SELECT * FROM blotter_internal.migrations ORDER BY version "
              "DESC LIMIT 1");
    story_sql("DELETE FROM blotter_internal.migrations USING newest WHERE migrations.version = "
              "newest.version");
    TRY({{NULL},
         {"drain", "status", "audit", "rejects"},
         2,
         {"setting postgres", "blotter migrate"}});
    story_sql("INSERT INTO blotter_internal.migrations SELECT * FROM newest");
    assert_int_equal(story_pending(), 0);
    assert_int_equal(story_waiting(), 1);
    story_drain_once();
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 1);
}

static void a_database_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    struct fixture_postgres *other = fixture_postgres_start(
        &(struct fixture_postgres_options){.no_fsync = true, .initdb = {"--encoding=SQL_ASCII"}});
    const char *place = fixture_format("BLOTTER_POSTGRES=%s", fixture_postgres_conninfo(other));
    TRY({{place}, POSTGRES_COMMANDS, 2, {"setting postgres", "SQL_ASCII", "UTF8"}});
    assert_string_equal(
        fixture_postgres_run(other, "SELECT count(*) FROM pg_namespace WHERE nspname = 'blotter'"),
        "0");
    fixture_postgres_stop(other, FIXTURE_IMMEDIATE);
}

/* In a cluster that never had them. */
static void roles_that_migrate_may_not_create_are_told_and_can_be_granted_later(void **state)
{
    (void)state;
    struct fixture_postgres *fresh =
        fixture_postgres_start(&(struct fixture_postgres_options){.no_fsync = true});
    fixture_postgres_run(fresh, "CREATE ROLE owner LOGIN");
    fixture_postgres_run(fresh, "CREATE DATABASE desk OWNER owner");
    const char *place =
        fixture_format("host=%s port=%d dbname=desk user=", fixture_postgres_socket_folder(fresh),
                       fixture_postgres_port(fresh));
    const char *const owner[] = {fixture_format("BLOTTER_POSTGRES=%sowner", place), NULL};
    struct fixture_program *migrate = story_run_program(
        0, STORY_ARGV("migrate"), &(struct fixture_program_options){.environment = owner});
    story_assert_says(fixture_program_stderr(migrate), "role blotter_drainer was not created");
    story_assert_says(fixture_program_stderr(migrate), "SELECT blotter_internal.grant_roles()");
    fixture_postgres_run(fresh, "CREATE ROLE blotter_drainer NOLOGIN");
    fixture_postgres_run(fresh, "CREATE ROLE loader LOGIN IN ROLE blotter_drainer");
    const char *const loader[] = {fixture_format("BLOTTER_POSTGRES=%sloader", place), NULL};
    PGconn *desk = PQconnectdb(fixture_format("%sowner", place));
    PQclear(PQexec(desk, "SELECT blotter_internal.grant_roles()"));
    PQfinish(desk);
    story_run_program(0, STORY_ARGV("drain", "--once"),
                      &(struct fixture_program_options){.environment = loader});
    fixture_postgres_stop(fresh, FIXTURE_IMMEDIATE);
}

static bool has_stalled(void *arg)
{
    return fixture_proxy_counts(arg).stalls_at > 0;
}

/* It gives up a Redis that it has not reached within five seconds; but those count from when it
 * looks for Redis. */
static void a_redis_that_is_there_is_found_however_long_postgresql_took(void **state)
{
    (void)state;
    struct fixture_proxy *line = fixture_proxy_postgres(story_postgres, false),
                         *redis = fixture_proxy_redis(story_redis, false);
    const char *const environment[] = {
        fixture_format("BLOTTER_POSTGRES=%s", fixture_proxy_address(line)),
        fixture_format("BLOTTER_REDIS=%s", fixture_proxy_address(redis)), NULL};
    fixture_proxy_delay(redis, FIXTURE_BOTH, 300); /* so that it is not there in the first moment */
    fixture_proxy_cut_at(line, FIXTURE_TO_SERVER, "SELECT", FIXTURE_STALL_BEFORE);
    struct fixture_program *drainer =
        story_start_program(STORY_ARGV("drain", "--once"),
                            &(struct fixture_program_options){.environment = environment});
    assert_true(fixture_wait_until(has_stalled, line, STORY_TIMEOUT_MS));
    fixture_sleep_ms(5500);
    fixture_proxy_stall(line, 0);
    int status = fixture_program_wait(drainer, BOUND_MS);
    if (status != 0) {
        fail_msg("blotter drain: exit status %d; it said:\n%s", status,
                 fixture_program_stderr(drainer));
    }
}

static void a_malformed_place_is_told_and_not_printed(void **state)
{
    (void)state;
    TRY({{EXCHANGE, "BLOTTER_REDIS=http://:" SECRET "@host"}, REDIS_COMMANDS, 2, {"setting redis"}},
        {{"BLOTTER_POSTGRES=host=h passwrd=" SECRET}, POSTGRES_COMMANDS, 2, {"setting postgres"}},
        {{EXCHANGE, "BLOTTER_BATCH_ROWS=many"}, {"drain"}, 2, {"batch_rows", "many", "100000"}},
        {{"BLOTTER_EXCHANGE=Not Ok"}, {"publish"}, 2, {"exchange: Not Ok", "a-z 0-9 . _ -"}},
        {{"BLOTTER_EXCHANGE"}, {"publish"}, 2, {"setting exchange", "required"}});
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_redis_that_is_not_there_or_does_not_answer_is_told),
        TEST(what_does_not_fit_is_refused),
        TEST(without_postgresql_each_command_says_so),
        TEST(a_postgresql_that_does_not_answer_is_not_waited_for_for_ever),
        TEST(a_wrong_password_for_redis_is_told_and_not_printed),
        TEST(a_database_of_redis_that_does_not_exist_is_a_wrong_setting),
        TEST(a_wrong_password_for_postgresql_is_told_and_not_printed),
        TEST(before_migrate_each_command_names_it),
        TEST(a_schema_that_is_older_than_the_program_is_refused_and_nothing_acknowledged),
        TEST(a_database_that_is_not_utf8_is_refused),
        TEST(roles_that_migrate_may_not_create_are_told_and_can_be_granted_later),
        TEST(a_redis_that_is_there_is_found_however_long_postgresql_took),
        TEST(a_malformed_place_is_told_and_not_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
