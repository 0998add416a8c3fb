/* test_lease.c: streams shared by advisory locks, in a real PostgreSQL. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "drainer/log.h"
#include "drainer/postgres/lease.h"
#include "tests/fixture/servers.h"
#include "tests/integration/loop.h"
#include "tests/integration/postgres/migrated.h"

static struct fixture_postgres *server;
static const char *log_path;
static int true_stderr = -1;
static struct event_base *base;

/* A drainer as far as leases go. */
struct sharer {
    struct streams streams;
    struct pg_link *link;
    struct lease *lease;
    const char *pattern;
    unsigned interval_ms; /* 0: every millisecond */
    bool may_fail;
    int ups, runs, taken;
};
static struct sharer sharers[2];

static void on_prepared_rows(void *owner, const PGresult *result)
{
    (void)owner, (void)result;
}

static void on_change(void *owner, bool ready, const struct pg_failure *why)
{
    struct sharer *sharer = owner;

    (void)why;
    if (ready) {
        sharer->ups++;
    } else {
        lease_forget(sharer->lease);
    }
}

static void on_taken(void *owner, struct stream *stream)
{
    struct sharer *sharer = owner;

    sharer->taken++;
    stream_enter(stream, STREAM_GROUPING);
    stream_enter(stream, STREAM_CLAIMING);
    stream_enter(stream, STREAM_READING);
}

static void on_done(void *owner, const struct pg_failure *failure)
{
    struct sharer *sharer = owner;

    assert_true(failure == NULL || failure->connection_lost || sharer->may_fail);
    sharer->runs++;
}

static void on_unlocked(void *owner, const struct pg_failure *failure)
{
    struct sharer *sharer = owner;

    assert_null(failure);
    sharer->runs++;
}

static struct stream *add(struct sharer *sharer, const char *name)
{
    struct stream *stream = streams_add(&sharer->streams, name, strlen(name));

    stream->present = true;
    return stream;
}

static void join(struct sharer *sharer, bool take_all)
{
    sharer->interval_ms = sharer->interval_ms == 0 ? 1 : sharer->interval_ms;
    sharer->link =
        pg_link_create(&(struct pg_link_options){.base = base,
                                                 .conninfo = fixture_postgres_conninfo(server),
                                                 .application_name = "sharer",
                                                 .prepare_sql = "SELECT 1",
                                                 .on_prepared_rows = on_prepared_rows,
                                                 .on_change = on_change,
                                                 .owner = sharer,
                                                 .connect_timeout_ms = 10000,
                                                 .command_timeout_ms = LOOP_TIMEOUT_MS});
    sharer->lease =
        lease_create(sharer->link, &(struct lease_options){.streams = &sharer->streams,
                                                           .take_all = take_all,
                                                           .pattern = sharer->pattern,
                                                           .interval_ms = sharer->interval_ms,
                                                           .on_taken = on_taken,
                                                           .on_done = on_done,
                                                           .owner = sharer});
    pg_link_start(sharer->link);
    assert_true(loop_until(base, &sharer->ups, 1));
}

static void run(struct sharer *sharer)
{
    lease_run(sharer->lease);
    assert_true(loop_until(base, &sharer->runs, sharer->runs + 1));
}

static bool nobody_is_left(void *arg)
{
    (void)arg;
    return fixture_postgres_int(
               server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sharer'") ==
           0;
}

static int begin(void **state)
{
    (void)state;
    fixture_wait_until(nobody_is_left, NULL,
                       LOOP_TIMEOUT_MS); /* of the test before, who would be counted */
    memset(sharers, 0, sizeof sharers);
    base = event_base_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        lease_destroy(sharers[i].lease);
        pg_link_destroy(sharers[i].link);
        streams_release(&sharers[i].streams);
    }
    event_base_free(base);
    if (true_stderr >= 0) {
        dup2(true_stderr, STDERR_FILENO);
        close(true_stderr);
        true_stderr = -1;
        log_open(LOG_ERROR);
    }
    return 0;
}

static int64_t locks_held(void)
{
    return fixture_postgres_int(
        server,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted");
}

static void lone_drainer_takes_every_stream_that_is_there(void **state)
{
    struct sharer *one = &sharers[0];

    (void)state;
    add(one, "blotter:a");
    add(one, "blotter:b");
    streams_add(&one->streams, "blotter:gone", 12); /* not present */
    join(one, false);
    assert_true(lease_due(one->lease, true));
    run(one);
    assert_int_equal(one->taken, 2);
    assert_int_equal(streams_held(&one->streams), 2);
    assert_int_equal(locks_held(), 2);
    assert_int_equal(lease_members(one->lease), 1);
    run(one);
    assert_int_equal(locks_held(),
                     2); /* not taken a second time, which would have to be given up twice */
}

static bool only_an_idle_drainer_runs(void *arg)
{
    const struct sharer *sharer = arg;
    bool of_idle = lease_due(sharer->lease, false), of_busy = lease_due(sharer->lease, true);

    if (of_busy) { /* the machine stood still in between: once more */
        run(&sharers[0]);
    }
    return of_idle && !of_busy;
}

/* A run takes the session for longer than a lone record's load. */
static void run_that_comes_round_lets_waiting_records_go_first(void **state)
{
    struct sharer *one = &sharers[0];

    (void)state;
    one->interval_ms = 200;
    add(one, "blotter:a");
    join(one, false);
    assert_true(lease_due(one->lease, true)); /* the first run does not wait */
    run(one);
    assert_false(lease_due(one->lease, false));
    assert_true(fixture_wait_until(only_an_idle_drainer_runs, one, LOOP_TIMEOUT_MS));
    stream_enter(one->streams.all[0], STREAM_LEAVING); /* nor does one that gives back */
    assert_true(lease_due(one->lease, true));
}

static void stream_of_another_is_not_taken_until_that_has_gone(void **state)
{
    struct sharer *one = &sharers[0], *two = &sharers[1];

    (void)state;
    add(one, "blotter:a");
    join(one, false);
    run(one);
    add(two, "blotter:a");
    join(two, false);
    run(two);
    assert_int_equal(two->taken, 0);
    assert_int_equal(lease_members(two->lease), 2);
    pg_link_destroy(one->link);
    one->link = NULL;
    for (int64_t until = fixture_now_ms() + LOOP_TIMEOUT_MS;
         two->taken == 0 && fixture_now_ms() < until;) {
        run(two); /* the server notices that the session has ended */
    }
    assert_int_equal(two->taken, 1);
    assert_int_equal(locks_held(), 1);
}

static void two_drainers_come_to_share_the_streams(void **state)
{
    static const char *const names[] = {"blotter:a", "blotter:b", "blotter:c", "blotter:d",
                                        "blotter:e"};
    struct sharer *one = &sharers[0], *two = &sharers[1];

    (void)state;
    for (int i = 0; i < 5; i++) {
        add(one, names[i]);
        add(two, names[i]);
    }
    join(one, false);
    run(one);
    assert_int_equal(streams_held(&one->streams), 5);
    join(two, false);
    for (int i = 0; i < 4; i++) {
        run(one);
        run(two);
    }
    assert_int_equal(streams_held(&one->streams), 3);
    assert_int_equal(streams_held(&two->streams), 2);
    for (int i = 0; i < 5; i++) {
        assert_true(stream_is_held(add(one, names[i])) != stream_is_held(add(two, names[i])));
    }
    assert_int_equal(locks_held(), 5);
}

static void more_than_the_share_is_given_back(void **state)
{
    static const char *const names[] = {"blotter:a", "blotter:b", "blotter:c", "blotter:d",
                                        "blotter:e"};
    struct sharer *one = &sharers[0], *two = &sharers[1];

    (void)state;
    add(one, names[0]);
    add(two, names[0]);
    join(one, false);
    join(two, false);
    run(one);
    run(two);
    run(one); /* now it knows that there are two */
    for (int i = 1; i < 5; i++) {
        add(one, names[i]);
    }
    run(one);
    assert_int_equal(one->taken, 3);
    run(one);
    assert_int_equal(streams_held(&one->streams), 3);
    assert_int_equal(locks_held(), 3);
}

static void drainers_of_another_pattern_or_redis_do_not_share(void **state)
{
    struct sharer *one = &sharers[0], *two = &sharers[1];

    (void)state;
    one->pattern = "blotter:a*";
    two->pattern = "blotter:b*";
    add(one, "blotter:a1");
    add(one, "blotter:a2");
    add(two, "blotter:b1");
    add(two, "blotter:b2");
    join(one, false);
    join(two, false);
    for (int i = 0; i < 3; i++) {
        run(one);
        run(two);
    }
    assert_int_equal(streams_held(&one->streams), 2); /* counted together, each would give up one */
    assert_int_equal(streams_held(&two->streams), 2);
}

static void session_that_has_lost_a_lock_is_given_up(void **state)
{
    struct sharer *one = &sharers[0];

    (void)state;
    add(one, "blotter:a");
    add(one, "blotter:b");
    join(one, false);
    run(one);
    /* as a pooler's reset query does */
    pg_link_run(one->link, &(struct pg_command){.sql = "SELECT pg_advisory_unlock_all()",
                                                .on_done = on_unlocked,
                                                .owner = one});
    assert_true(loop_until(base, &one->runs, one->runs + 1));
    run(one);
    assert_int_equal(streams_held(&one->streams), 0);
    assert_true(loop_until(base, &one->ups, 2));
    run(one);
    assert_int_equal(locks_held(), 2);
}

/* From here to the end of the test the log, of warnings, goes to a file. */
static void catch_log(void)
{
    log_path = fixture_format("%s/log", fixture_folder());
    int file = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(file >= 0);
    true_stderr = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
    close(file);
    log_open(LOG_WARN);
}

static bool log_tells_of(const char *words)
{
    return strstr(fixture_read_file(log_path), words) != NULL;
}

static void foreign_holder_of_a_lease_is_named(void **state)
{
    struct sharer *one = &sharers[0];
    struct stream *stream = add(one, "blotter:a");
    PGconn *holder = fixture_postgres_connect(server);

    (void)state;
    PQclear(PQexec(holder, "SET application_name = 'somebody'"));
    PQclear(PQexec(holder,
                   fixture_format("SELECT pg_advisory_lock(%lld)", (long long)stream->lock_key)));
    join(one, false);
    catch_log();
    run(one);
    assert_int_equal(one->taken, 0);
    assert_true(log_tells_of(fixture_format("pid %d, role postgres, application \\\"somebody\\\"",
                                            PQbackendPID(holder))));
    PQfinish(holder);
}

static void
full_table_of_locks_costs_half_of_the_streams_and_the_database_stays_usable(void **state)
{
    struct sharer *one = &sharers[0];

    (void)state;
    for (int i = 0; i < 3000; i++) {
        add(one, fixture_format("blotter:s%04d", i));
    }
    join(one, false);
    catch_log();
    one->may_fail = true;
    while (!log_tells_of("max_locks_per_transaction") && one->runs < 10) {
        run(one);
    }
    assert_true(log_tells_of("max_locks_per_transaction"));
    size_t held = streams_held(&one->streams);
    for (int64_t until = fixture_now_ms() + 1500; fixture_now_ms() < until;) {
        run(one); /* until it has looked, too */
    }
    assert_true(streams_held(&one->streams) > 0);
    assert_in_range(streams_held(&one->streams), held / 2 - 1, held / 2 + 1);
    assert_int_equal(one->ups, 1); /* what was locked as it failed was given back */
    fixture_postgres_run(server, "CREATE TABLE others_work (n int)"); /* needs locks of its own */
    fixture_postgres_run(server, "DROP TABLE others_work");
}

static void stream_is_taken_with_its_counter_and_the_servers_history(void **state)
{
    struct sharer *one = &sharers[0];
    struct stream *known = add(one, "blotter:counted"), *new = add(one, "blotter:new");

    (void)state;
    fixture_postgres_run(server, "INSERT INTO blotter_internal.loaded (stream, n, last_id) VALUES "
                                 "('blotter:counted', 7, '5-3')");
    known->loaded_n = new->loaded_n = 99; /* of an earlier lease */
    join(one, false);
    run(one);
    assert_int_equal(known->loaded_n, 7);
    assert_int_equal(known->loaded_id.ms, 5);
    assert_int_equal(known->loaded_id.seq, 3);
    assert_int_equal(new->loaded_n, 0);
    assert_string_equal(one->streams.history.id,
                        fixture_postgres_run(server, "SELECT id FROM blotter_internal.history"));
    assert_string_equal(one->streams.history.chain, one->streams.history.id);
    assert_string_equal(
        one->streams.history.system,
        fixture_postgres_run(server, "SELECT system_identifier FROM pg_control_system()"));
    assert_int_equal(one->streams.history.timeline, 1);
    assert_false(one->streams.history.accepts);
}

static void stream_locked_by_a_run_that_failed_is_taken_with_its_counter(void **state)
{
    struct sharer *one = &sharers[0];
    struct stream *stream = add(one, "blotter:late");

    (void)state;
    fixture_postgres_run(server, "INSERT INTO blotter_internal.loaded (stream, n, last_id) VALUES "
                                 "('blotter:late', 7, '5-3')");
    fixture_postgres_run(server, "ALTER TABLE blotter_internal.loaded RENAME TO loaded_away");
    join(one, false);
    one->may_fail = true;
    run(one);
    fixture_postgres_run(server, "ALTER TABLE blotter_internal.loaded_away RENAME TO loaded");
    assert_int_equal(stream->state, STREAM_LOCKED);
    assert_int_equal(locks_held(), 1);
    one->may_fail = false;
    run(one);
    assert_int_equal(one->taken, 1);
    assert_int_equal(stream->loaded_n, 7);
}

static size_t streams_in(const struct sharer *sharer, enum stream_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < sharer->streams.count; i++) {
        count += sharer->streams.all[i]->state == state;
    }
    return count;
}

/* One has all of so many streams, and then there are two. */
static void share_streams(struct sharer *one, struct sharer *two, int count)
{
    for (int i = 0; i < count; i++) {
        add(one, fixture_format("blotter:s%03d", i));
        add(two, fixture_format("blotter:s%03d", i));
    }
    join(one, false);
    run(one);
    join(two, false);
    run(two);
}

/* Not every run looks at the locks of so many streams; but they are read by nobody meanwhile. */
static void what_others_give_up_of_many_streams_is_taken_at_the_next_run(void **state)
{
    struct sharer *one = &sharers[0], *two = &sharers[1];

    (void)state;
    share_streams(one, two, 300);
    assert_int_equal(two->taken, 0);
    while (streams_in(one, STREAM_LEAVING) == 0) {
        run(one); /* until it has looked, and seen that there are two */
    }
    run(two);
    assert_int_equal(two->taken, 0);
    run(one);
    assert_in_range(streams_held(&one->streams), 150, 299);
    run(two);
    assert_int_equal(two->taken, 300 - streams_held(&one->streams));
}

/* Nobody reads them until they are taken, which takes longer the more there are. */
static void streams_over_the_share_are_given_up_as_they_are_taken(void **state)
{
    struct sharer *one = &sharers[0], *two = &sharers[1];
    size_t first = 0, most = 0;

    (void)state;
    share_streams(one, two, 600);
    while (streams_in(one, STREAM_LEAVING) == 0) {
        run(one);
    }
    for (int i = 0; i < 5; i++) {
        run(one);
    }
    first = 600 - streams_held(&one->streams);
    for (int64_t until = fixture_now_ms() + LOOP_TIMEOUT_MS;
         two->taken < 300 && fixture_now_ms() < until;) {
        run(two);
        run(one);
        size_t leaving = streams_in(one, STREAM_LEAVING);

        most = leaving > most ? leaving : most;
        run(one);
    }
    assert_int_equal(two->taken, 300);
    assert_int_equal(streams_held(&one->streams), 300);
    assert_in_range(first, 1, 16);
    assert_in_range(most, 1, 128);
}

/* The other one has joined, and stands still. */
static void what_nobody_takes_is_taken_beyond_the_share(void **state)
{
    struct sharer *one = &sharers[0], *two = &sharers[1];

    (void)state;
    share_streams(one, two, 40);
    for (int i = 0; i < 5; i++) {
        run(one);
    }
    assert_int_equal(streams_held(&one->streams), 40 - 16);
    for (int64_t until = fixture_now_ms() + LOOP_TIMEOUT_MS;
         streams_held(&one->streams) < 40 && fixture_now_ms() < until;) {
        lease_fence(one->lease, streams_find(&one->streams, "blotter:s000", 12));
        run(one);
    }
    assert_int_equal(streams_held(&one->streams), 40);
    run(one);
    assert_int_equal(streams_in(one, STREAM_READING), 40);
    lease_destroy(one->lease);
    pg_link_destroy(one->link);
    one->lease = NULL;
    one->link = NULL;
    for (int64_t until = fixture_now_ms() + LOOP_TIMEOUT_MS;
         two->taken < 40 && fixture_now_ms() < until;) {
        run(two); /* PostgreSQL ends a session in its own time */
    }
    assert_int_equal(two->taken, 40);
}

static void incident_is_stored(void **state)
{
    struct sharer *one = &sharers[0];
    struct stream *stream = add(one, "blotter:a");

    (void)state;
    join(one, false);
    run(one);
    stream->incident = malloc(sizeof *stream->incident);
    *stream->incident = (struct stream_incident){.what = "PostgreSQL's records are gone",
                                                 .from = {1, 2},
                                                 .to = {3, 4},
                                                 .from_n = 5,
                                                 .to_n = 6};
    run(one);
    assert_null(stream->incident);
    assert_string_equal(
        fixture_postgres_run(server, "SELECT concat_ws('|', stream, what, from_id, to_id, from_n, "
                                     "to_n) FROM blotter_internal.incidents"),
        "blotter:a|PostgreSQL's records are gone|1-2|3-4|5|6");
}

static void stream_with_another_random_id_is_leased_by_another_number(void **state)
{
    struct sharer *one = &sharers[0];
    struct stream *stream = add(one, "blotter:a");

    (void)state;
    join(one, false);
    run(one);
    int64_t before = stream->lock_key;
    strcpy(stream->random_id, "0123456789abcdef0123456789abcdef"); /* after a FLUSHALL */
    run(one);
    assert_int_equal(stream->state, STREAM_FREE);
    run(one);
    assert_int_equal(stream->state, STREAM_READING);
    assert_true(stream->lock_key != before);
    assert_int_equal(locks_held(), 1);
}

static void stream_is_kept_while_entries_of_it_are_in_hand_or_on_their_way(void **state)
{
    struct sharer *one = &sharers[0];
    struct stream *stream = add(one, "blotter:a");

    (void)state;
    join(one, false);
    run(one);
    stream_enter(stream, STREAM_LEAVING);
    stream->present = false;
    stream->in_hand = 1;
    run(one);
    assert_int_equal(locks_held(), 1);
    stream->in_hand = 0;
    stream->asked = true;
    run(one);
    assert_int_equal(locks_held(), 1);
    stream->asked = false;
    assert_true(lease_due(one->lease, true));
    run(one);
    assert_int_equal(locks_held(), 0);
    assert_int_equal(stream->state, STREAM_FREE);
}

/* The list is sorted: a stream found while the answer is on its way moves those behind it. */
static void stream_found_during_a_run_is_not_taken_for_another(void **state)
{
    struct sharer *one = &sharers[0];
    struct stream *wanted = add(one, "blotter:m"), *found;

    (void)state;
    join(one, false);
    wanted->present = false;
    run(one); /* the first one asks for the server's history before */
    wanted->present = true;
    lease_run(one->lease);
    found = add(one, "blotter:a");
    assert_true(loop_until(base, &one->runs, 2));
    assert_int_equal(wanted->state, STREAM_READING);
    assert_int_equal(found->state, STREAM_FREE);
    stream_enter(wanted, STREAM_LEAVING);
    wanted->present = found->present = false;
    lease_run(one->lease);
    add(one, "blotter:b")->present = false;
    assert_true(loop_until(base, &one->runs, 3));
    assert_int_equal(wanted->state, STREAM_FREE);
    assert_int_equal(locks_held(), 0);
}

static void lost_session_gives_everything_up(void **state)
{
    struct sharer *one = &sharers[0];

    (void)state;
    add(one, "blotter:a")->in_hand = 0;
    join(one, false);
    run(one);
    add(one, "blotter:a")->in_hand = 17;
    fixture_postgres_run(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sharer'");
    assert_true(loop_until(base, &one->ups, 2));
    assert_int_equal(streams_held(&one->streams), 0);
    assert_int_equal(add(one, "blotter:a")->in_hand, 0);
    assert_true(lease_due(one->lease, true));
    run(one);
    assert_int_equal(one->taken, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static int start_server(void **state)
{
    (void)state;
    server = fixture_postgres_start(&(struct fixture_postgres_options){
        .no_fsync = true, .settings = "max_locks_per_transaction = 10\nmax_connections = 20\n"});
    migrate(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lone_drainer_takes_every_stream_that_is_there),
        TEST(run_that_comes_round_lets_waiting_records_go_first),
        TEST(stream_of_another_is_not_taken_until_that_has_gone),
        TEST(two_drainers_come_to_share_the_streams),
        TEST(more_than_the_share_is_given_back),
        TEST(drainers_of_another_pattern_or_redis_do_not_share),
        TEST(session_that_has_lost_a_lock_is_given_up),
        TEST(foreign_holder_of_a_lease_is_named),
        TEST(full_table_of_locks_costs_half_of_the_streams_and_the_database_stays_usable),
        TEST(stream_is_taken_with_its_counter_and_the_servers_history),
        TEST(stream_locked_by_a_run_that_failed_is_taken_with_its_counter),
        TEST(what_others_give_up_of_many_streams_is_taken_at_the_next_run),
        TEST(streams_over_the_share_are_given_up_as_they_are_taken),
        TEST(what_nobody_takes_is_taken_beyond_the_share),
        TEST(incident_is_stored),
        TEST(stream_with_another_random_id_is_leased_by_another_number),
        TEST(stream_is_kept_while_entries_of_it_are_in_hand_or_on_their_way),
        TEST(stream_found_during_a_run_is_not_taken_for_another),
        TEST(lost_session_gives_everything_up),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("lease", tests, start_server, NULL);
}
