/* test_operator.c: what `status`, `check`, `journal` and `publish` tell the person who runs them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fixture/story.h"

static void status_shows_what_waits_and_what_is_stored(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 3));
    struct fixture_program *before = story_run(0, "status", "--json");
    /* three orders, and two records of the session around them */
    story_assert_says(fixture_program_stdout(before),
                      "\"stream\": \"blotter:okx\", \"length\": 5, \"lag\": 5, \"pending\": 0");
    story_assert_says(fixture_program_stdout(before),
                      "{\"table\": \"order_events\", \"rows\": 0, \"estimated\": false");
    story_drain_once();
    struct fixture_program *after = story_run(0, "status");
    story_assert_says(fixture_program_stdout(after),
                      "blotter:okx        0        0   0.0 s       5");
    story_assert_says(fixture_program_stdout(after), "order_events        3");
    story_assert_says(fixture_program_stdout(after), "behind 0.0 s");
}

static void status_knows_the_age_of_what_is_pending(void **state)
{
    (void)state;
    int64_t began = fixture_now_ms();
    story_add("blotter:okx", "order", "x", 1);
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx drainers 0");
    fixture_redis_run(story_redis, "XREADGROUP GROUP drainers somebody STREAMS blotter:okx >");
    fixture_sleep_ms(20);
    struct fixture_program *status = story_run(1, "status", "--max-behind", "10ms", "--json");
    static const char before_age[] = "\"lag\": 0, \"pending\": 1, \"oldest_pending_s\": ";
    story_assert_says(fixture_program_stdout(status), before_age);
    double age_s =
        strtod(strstr(fixture_program_stdout(status), before_age) + strlen(before_age), NULL);
    assert_true(age_s >= 0.02 && age_s <= 0.1 + (double)(fixture_now_ms() - began) / 1000);
    story_assert_says(fixture_program_stdout(status), "\"consumers\": 1");
    story_run(0, "status", "--max-behind", "1h");
}

/* After XDEL in the middle, and XGROUP SETID without ENTRIESREAD, Redis cannot tell; nor can it
 * after it has loaded an AOF. */
static bool shows_twice(void *watch)
{
    const char *once = strstr(fixture_program_stdout(watch), "behind ");
    return once != NULL && strstr(once + 1, "behind ") != NULL;
}

static void status_tells_who_loads_when_and_what_was_refused(void **state)
{
    (void)state;
    story_add("blotter:okx", "order", "x", 1);
    fixture_sleep_ms(20);
    struct fixture_program *before =
        story_run(1, "status", "--json", "--max-behind", "10ms"); /* nobody has read it */
    story_assert_says(
        fixture_program_stdout(before),
        "\"drainers\": 0, \"open_rejects\": 0, \"open_incidents\": 0, \"last_load_s\": null");
    story_assert_says(fixture_program_stdout(story_run(0, "status")),
                      "nothing loaded yet, books 0.0 s behind, 0 open rejects");
    struct fixture_program *drainer = story_drainer("one");
    story_publish(0, "okx", story_order_lines(1, 1));
    story_await_drained();
    story_await_int(1, "SELECT count(*) FROM blotter_internal.progress");
    const char *loading = fixture_program_stdout(story_run(0, "status", "--json"));
    story_assert_says(loading, "\"drainers\": 1, \"open_rejects\": 1, \"open_incidents\": 0");
    assert_null(strstr(loading, "\"last_load_s\": null"));
    fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS);
    story_sql("UPDATE blotter.rejects SET discarded_at = now()");
    story_assert_says(fixture_program_stdout(story_run(0, "status", "--json")),
                      "\"drainers\": 0, \"open_rejects\": 0");
}

static void status_watches_until_it_is_interrupted(void **state)
{
    (void)state;
    struct fixture_program *watch = story_start("status", "--watch", "--interval", "100ms");
    assert_true(fixture_wait_until(shows_twice, watch, STORY_TIMEOUT_MS));
    story_publish(0, "okx", story_order_lines(1, 3));
    assert_true(fixture_program_says(watch, "blotter:okx        5        0", STORY_TIMEOUT_MS));
    assert_int_equal(fixture_program_stop(watch, SIGINT, STORY_TIMEOUT_MS), 0);
    struct fixture_program *behind =
        story_start("status", "--watch", "--interval", "100ms", "--max-behind", "1ms");
    assert_true(fixture_wait_until(shows_twice, behind,
                                   STORY_TIMEOUT_MS)); /* that it is behind does not end it */
    fixture_redis_kill9(story_redis);
    assert_int_equal(fixture_program_wait(behind, STORY_TIMEOUT_MS), 3);
    fixture_redis_start_again(story_redis);
}

/* A program reads a line each time, also while a server is away. */
static void status_as_json_goes_on_without_redis(void **state)
{
    (void)state;
    struct fixture_program *watch =
        story_start("status", "--json", "--watch", "--interval", "100ms");
    assert_true(fixture_program_says(watch, "{\"redis_error\": null, \"postgres_error\": null",
                                     STORY_TIMEOUT_MS));
    fixture_redis_kill9(story_redis);
    assert_true(fixture_program_says(watch, "{\"redis_error\": \"", STORY_TIMEOUT_MS));
    fixture_redis_start_again(story_redis);
    fixture_redis_run(story_redis, "XADD blotter:later * order x");
    assert_true(fixture_program_says(watch, "blotter:later", STORY_TIMEOUT_MS));
    assert_int_equal(fixture_program_stop(watch, SIGINT, STORY_TIMEOUT_MS), 0);
}

static void audit_takes_an_exchange_and_a_time(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 3));
    story_publish(0, "kraken", story_order_lines(1, 3));
    story_drain_once();
    const char *okx =
        fixture_program_stdout(story_run(0, "audit", "--exchange", "okx", "--since", "1h"));
    story_assert_says(okx, "1 producers complete");
    assert_null(strstr(okx, "kraken"));
    story_assert_says(fixture_program_stdout(story_run(0, "audit", "--json")),
                      "\"producer_id\": \""); /* text: it has more bits than JSON's numbers */
    story_assert_says(fixture_program_stderr(story_run(2, "audit", "--since", "yesterday")),
                      "setting since: \"yesterday\" is not a time");
    story_sql("INSERT INTO blotter_internal.incidents (stream, what) VALUES ('blotter:okx', "
              "'the kept tail begins too late')");
    story_assert_says(fixture_program_stdout(story_run(1, "audit")),
                      "blotter:okx: the kept tail begins too late");
    story_assert_says(fixture_program_stdout(story_run(0, "status")), "incidents: records may be");
}

static void status_counts_where_redis_does_not_know_the_lag(void **state)
{
    (void)state;
    const char *ids[5];
    for (int i = 0; i < 5; i++) {
        ids[i] = story_add("blotter:okx", "order", "x", 1);
    }
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx drainers 0");
    fixture_redis_run(story_redis,
                      "XREADGROUP GROUP drainers somebody COUNT 2 STREAMS blotter:okx >");
    fixture_redis_run(story_redis, "XDEL blotter:okx %s", ids[3]);
    fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers %s", ids[1]);
    struct fixture_program *status = story_run(0, "status", "--json");
    story_assert_says(fixture_program_stdout(status), "\"lag\": 2, \"pending\": 2");
    story_assert_says(fixture_program_stdout(status), "\"lag_counted\": true");
}

static void check_finds_what_would_lose_records(void **state)
{
    (void)state;
    /* the tests' own PostgreSQL runs without fsync, and nothing else is wrong */
    const char *found = fixture_program_stdout(story_run(1, "check"));
    story_assert_says(found, "bad      postgres  fsync                  off");
    story_assert_says(found, "user postgres may load");
    assert_null(strstr(found, "bad      redis"));
    fixture_redis_run(story_redis, "CONFIG SET maxmemory 100mb");
    fixture_redis_run(story_redis, "CONFIG SET maxmemory-policy allkeys-lru");
    struct fixture_program *check = story_run(1, "check");
    fixture_redis_run(story_redis, "CONFIG SET maxmemory 0");
    fixture_redis_run(story_redis, "CONFIG SET maxmemory-policy noeviction");
    story_assert_says(fixture_program_stdout(check),
                      "bad      redis     maxmemory-policy       allkeys-lru");
}

static void check_says(const char *postgres, const char *finding, const char *where,
                       const char *what, const char *text)
{
    const char *found =
        fixture_program_stdout(story_run(1, "check", "--json", "--postgres", postgres));
    story_assert_says(
        found, fixture_format(
                   "{\"result\": \"%s\", \"where\": \"%s\", \"what\": \"%s\", \"finding\": \"%s",
                   finding, where, what, text));
}

static void check_knows_what_is_wrong_with_redis(void **state)
{
    static const struct {
        const char *spoil, *mend, *finding, *what, *text;
    } cases[] = {
        {"CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory-policy noeviction",
         "warning", "maxmemory-policy", "allkeys-lru, maxmemory 0; streams"},
        {"CONFIG SET appendfsync no", "CONFIG SET appendfsync everysec", "warning", "appendfsync",
         "no; the last records written"},
        {"ACL SETUSER default -xadd -eval", "ACL SETUSER default +@all", "bad", "rights",
         "user default may not (# is the stream): EVAL x 1 #, XADD"},
        {"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "bad", "role", "slave; writes are refused"},
    };
    const char *postgres = fixture_postgres_conninfo(story_postgres);
    (void)state;
    check_says(postgres, "warning", "redis", "appendonly", "no; a restart empties the streams");
    assert_null(strstr(fixture_program_stdout(story_run(1, "check")), "appendfsync"));
    fixture_redis_run(story_redis, "CONFIG SET appendonly yes");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_redis_run(story_redis, cases[i].spoil);
        check_says(postgres, cases[i].finding, "redis", cases[i].what, cases[i].text);
        fixture_redis_run(story_redis, cases[i].mend);
    }
    fixture_redis_run(story_redis, "CONFIG SET appendonly no");
    story_assert_says(fixture_program_stdout(story_run(1, "check", "--json")),
                      "\"finding\": \"master, replicas: 0\"");
}

static void check_knows_what_is_wrong_with_postgresql(void **state)
{
    const char *postgres = fixture_postgres_conninfo(story_postgres);
    (void)state;
    check_says(fixture_format("%s options='-c default_transaction_read_only=on'", postgres), "bad",
               "postgres", "transaction_read_only", "on; nothing can be stored");
    check_says(fixture_format("%s dbname=postgres", postgres), "bad", "postgres", "schema",
               "there is none; run `blotter migrate`");
    story_sql("ALTER SYSTEM SET full_page_writes = off");
    story_sql("SELECT pg_reload_conf()");
    story_await_int(
        1, "SELECT count(*) FROM pg_settings WHERE name = 'full_page_writes' AND setting = 'off'");
    check_says(postgres, "bad", "postgres", "full_page_writes",
               "off; a crash of the machine may tear pages");
    story_sql("ALTER SYSTEM RESET full_page_writes");
    story_sql("SELECT pg_reload_conf()");
    story_sql("CREATE ROLE only_reads LOGIN IN ROLE blotter_reader");
    check_says(fixture_format("%s user=only_reads", postgres), "bad", "postgres", "rights",
               "user only_reads cannot load; grant blotter_drainer; missing: INSERT on "
               "blotter.balances, ");
    story_sql("GRANT blotter_drainer TO only_reads");
    check_says(fixture_format("%s user=only_reads", postgres), "ok", "postgres", "rights",
               "user only_reads may load");
    story_sql("DROP ROLE only_reads");
}

static void check_looks_at_one_server_without_the_other(void **state)
{
    (void)state;
    struct fixture_program *check = story_run(3, "check", "--redis", "unix:///nowhere.sock");
    story_assert_says(fixture_program_stderr(check), "unix:///nowhere.sock: cannot connect");
    story_assert_says(fixture_program_stdout(check),
                      "bad     redis     connection             none");
    story_assert_says(fixture_program_stdout(check), "user postgres may load");
    check = story_run(3, "check", "--json", "--postgres", "host=/nowhere");
    story_assert_says(fixture_program_stdout(check), "\"ok\": false");
    story_assert_says(fixture_program_stdout(check), "\"maxmemory-policy\"");
}

static void publish_gives_up_after_its_timeout_and_the_journal_keeps_what_is_missing(void **state)
{
    (void)state;
    const struct fixture_program_options options = {.input = "{\"order_id\": \"1\"}\n"};
    struct fixture_program *publish = story_run_program(
        1, STORY_ARGV("publish", "--exchange", "okx", "--until", "committed", "--timeout", "3s"),
        &options);
    story_assert_says(fixture_program_stdout(publish),
                      "{\"accepted\": 1, \"sent\": 1, \"committed\": 0, \"rejected\": 0");
    story_assert_says(fixture_program_stderr(publish),
                      "is a drainer running?; what is missing stays in the journal");
    const char *journal = fixture_format("%s/okx.0", story_journals());
    story_assert_says(fixture_program_stdout(story_run(0, "journal", journal)),
                      "records        0 not yet sent, 3 sent");
}

static void no_journal_is_no_answer(void **state)
{
    (void)state;
    struct fixture_program *none = story_run(2, "journal", "/nowhere/okx.0");
    story_assert_says(fixture_program_stderr(none),
                      "blotter journal: /nowhere/okx.0: No such file or directory");
    const char *path = fixture_format("%s/not-a-journal", fixture_folder());
    fixture_write_file(path, "no journal at all");
    story_run(1, "journal", path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(status_shows_what_waits_and_what_is_stored),
        TEST(status_knows_the_age_of_what_is_pending),
        TEST(status_tells_who_loads_when_and_what_was_refused),
        TEST(status_watches_until_it_is_interrupted),
        TEST(status_as_json_goes_on_without_redis),
        TEST(audit_takes_an_exchange_and_a_time),
        TEST(status_counts_where_redis_does_not_know_the_lag),
        TEST(check_finds_what_would_lose_records),
        TEST(check_knows_what_is_wrong_with_redis),
        TEST(check_knows_what_is_wrong_with_postgresql),
        TEST(check_looks_at_one_server_without_the_other),
        TEST(publish_gives_up_after_its_timeout_and_the_journal_keeps_what_is_missing),
        TEST(no_journal_is_no_answer),
    };
    return cmocka_run_group_tests_name("operator", tests, NULL, NULL);
}
