/* test_poison.c: bad records among good ones: each is rejected, with its bytes and the reason,
 * every good one is stored, and the drainer is neither stopped nor blown up by them. What it costs
 * is printed beside a run without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/fixture/backlog.h"
#include "tests/fixture/bad_entries.h"
#include "tests/fixture/story.h"

enum {
    BAD_EVERY = 200,
    /* more than without poison: the largest entries are 1 MiB, and are there in several copies for
     * a while */
    MEMORY_MIB = 12,
};

static void print_run(const char *what, const struct backlog *backlog,
                      const struct backlog_run *run)
{
    printf("%-40s %7.0f rows/s, %5.1f MiB\n", what, (double)backlog->rows / run->seconds,
           run->max_rss_mib);
}

static void assert_memory_unmoved(const struct backlog_run *without, const struct backlog_run *with)
{
    if (with->max_rss_mib > without->max_rss_mib * 1.1 + MEMORY_MIB &&
        fixture_judges_cost("memory")) {
        fail_msg("%.1f MiB with bad records, %.1f without", with->max_rss_mib,
                 without->max_rss_mib);
    }
}

static struct backlog backlog_of(uint64_t rows)
{
    return (struct backlog){.redis = story_redis,
                            .postgres = story_postgres,
                            .rows = rows,
                            .streams = 1,
                            .open_orders = 100,
                            .time_ns = story_time_ns(0)};
}

/* Loads the backlog; empties the tables first. */
static struct backlog_run drain(const struct backlog *backlog)
{
    backlog_empty_tables(backlog);
    backlog_fill(backlog);
    return backlog_drain(backlog, true);
}

/* --- what is no record --- */

/* A long one is kept by its first bytes, its length and the digest of all of it. */
static void assert_rejected(const struct bad_entry *bad)
{
    const char *is = story_table(
        "SELECT count(*), min(reason), bool_and(delivery_count = 1 AND stream = 'blotter:venue0' "
        "AND "
        "exchange = 'venue0' AND entry_id ~ '^[0-9]+-[0-9]+$') FROM blotter.rejects "
        "JOIN (SELECT decode('%s', 'hex') AS bytes) AS sent ON sha256(bytes) = "
        "coalesce(raw_sha256, sha256(raw)) AND raw = substr(bytes, 1, 65536) AND length(bytes) = "
        "coalesce(raw_length, length(raw)) "
        "WHERE kind = decode('%s', 'hex')",
        bad_entry_hex(bad->bytes, bad->length), bad_entry_hex(bad->field, strlen(bad->field)));

    if (strncmp(is, "1 ", 2) != 0 || strstr(is, bad->reason) == NULL ||
        strcmp(is + strlen(is) - 2, " t") != 0) {
        fail_msg("%zu bytes, kind \"%s\", that should be rejected for \"%s\", are: %s", bad->length,
                 bad->field, bad->reason, is);
    }
}

static void every_bad_entry_among_good_ones_is_rejected_and_they_are_stored(void **state)
{
    size_t count;
    const struct bad_entry *bad = bad_entries(&count);
    struct backlog backlog = backlog_of(count * BAD_EVERY);
    struct backlog_run without = drain(&backlog), with;

    (void)state;
    assert_true(count >= 60);
    backlog.bad = bad;
    backlog.bad_count = count;
    backlog.bad_every = BAD_EVERY;
    with = drain(&backlog);
    print_run("without bad entries", &backlog, &without);
    print_run("with one among 200", &backlog, &with);
    for (size_t i = 0; i < count; i++) {
        assert_rejected(&bad[i]);
    }
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), count);
    assert_int_equal(
        story_int("SELECT count(DISTINCT seq) FROM blotter.order_events WHERE producer_id = %lld",
                  (long long)BACKLOG_PRODUCER_ID),
        (int64_t)backlog.rows); /* that there are so many rows backlog_drain has looked at */
    assert_int_equal(story_pending() + story_waiting(), 0);
    assert_memory_unmoved(&without, &with);
}

static void a_bad_entry_that_was_delivered_before_is_rejected_with_the_count(void **state)
{
    (void)state;
    const char *id = story_add("blotter:okx", "order", "nonsense", 8);
    fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx drainers 0");
    fixture_redis_run(story_redis, "XREADGROUP GROUP drainers dead COUNT 10 STREAMS blotter:okx >");
    fixture_redis_run(story_redis, "XCLAIM blotter:okx drainers dying 0 %s", id);
    story_drain_once();
    assert_string_equal(
        story_table(
            "SELECT entry_id, delivery_count, convert_from(raw, 'UTF8') FROM blotter.rejects"),
        fixture_format("%s 3 nonsense", id));
}

/* --- what only PostgreSQL sees --- */

#define TRIGGER(body)                                                                          \
    "CREATE FUNCTION blotter.look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN " body         \
    " RETURN NEW; END$$; "                                                                     \
    "CREATE TRIGGER look BEFORE INSERT ON blotter.order_events FOR EACH ROW EXECUTE FUNCTION " \
    "blotter.look()"

/* Adds a user's trigger, which refuses the records with the strategy "bad". */
static const struct refusal {
    const char *sql, *sqlstate;
} refusals[] = {
    {"ALTER TABLE blotter.order_events ADD CHECK (strategy <> 'bad')", "23514"},
    {"ALTER TABLE blotter.order_events ADD COLUMN divided int GENERATED ALWAYS AS (1 / "
     "nullif(length(strategy), 3)) STORED NOT "
     "NULL",
     "23502"},
    {"ALTER TABLE blotter.order_events ADD COLUMN divided int GENERATED ALWAYS AS (1 / "
     "(length(strategy) - 3)) STORED",
     "22012"},
    {"CREATE TABLE blotter.known (strategy text PRIMARY KEY); INSERT INTO blotter.known VALUES "
     "('good'); "
     "ALTER TABLE blotter.order_events ADD FOREIGN KEY (strategy) REFERENCES blotter.known",
     "23503"},
    /* longer than an index has room for, as it cannot be compressed */
    {"CREATE FUNCTION blotter.noise(text) RETURNS text IMMUTABLE LANGUAGE sql AS "
     "$$SELECT CASE WHEN $1 = 'bad' THEN string_agg(md5(n::text), '') END FROM generate_series(1, "
     "200) n$$; "
     "CREATE INDEX noisy ON blotter.order_events (blotter.noise(strategy))",
     "54000"},
    {"CREATE UNIQUE INDEX one_bad ON blotter.order_events (recorded_at, producer_id, seq, "
     "strategy); "
     "CREATE TABLE blotter.seen (strategy text PRIMARY KEY); INSERT INTO blotter.seen VALUES "
     "('bad'); " //
     TRIGGER(
         "IF NEW.strategy = 'bad' THEN INSERT INTO blotter.seen VALUES (NEW.strategy); END IF;"),
     "23505"},
    {TRIGGER("IF NEW.strategy = 'bad' THEN RAISE 'no'; END IF;"), "P0001"},
    {TRIGGER("IF NEW.strategy = 'bad' THEN PERFORM 1 / 0; END IF;"), "22012"},
    {TRIGGER("IF NEW.strategy = 'bad' THEN RAISE 'try again' USING ERRCODE = '40001'; END IF;"),
     "40001"},
    {TRIGGER("IF NEW.strategy = 'bad' THEN RAISE 'busy' USING ERRCODE = '55P03'; END IF;"),
     "55P03"},
    {TRIGGER("IF NEW.strategy = 'bad' THEN RAISE 'not you' USING ERRCODE = '42501'; END IF;"),
     "42501"},
    {"CREATE SEQUENCE blotter.unused; " TRIGGER(
         "IF NEW.strategy = 'bad' THEN PERFORM currval('blotter.unused'); END IF;"),
     "55000"},
};

enum { RECORDS = 300, FIRST_BAD = 41, LAST_BAD = 300 };

static void assert_refused_alone(const struct refusal *refusal)
{
    story_sql("%s", refusal->sql);
    for (int seq = 1; seq <= RECORDS; seq++) {
        bool bad = seq == FIRST_BAD || seq == LAST_BAD;

        story_add_order("blotter:okx", 7, seq, seq,
                        &(struct blotter_order){.order_id = "1", .strategy = bad ? "bad" : "good"});
    }
    story_drain_once();
    assert_string_equal(
        story_table(
            "SELECT string_agg(seq || ' ' || sqlstate, ', ' ORDER BY seq) FROM blotter.rejects"),
        fixture_format("%d %s, %d %s", FIRST_BAD, refusal->sqlstate, LAST_BAD, refusal->sqlstate));
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events WHERE strategy = 'good'"),
                     RECORDS - 2);
    assert_int_equal(story_pending() + story_waiting(), 0);
    assert_string_equal(
        story_table("SELECT stored, rejected, missing + in_flight FROM blotter.audit"), "298 2 0");
}

static void what_a_user_forbids_is_rejected_alone(void **state)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (i > 0) {
            story_end(state);
            story_begin(state);
        }
        assert_refused_alone(&refusals[i]);
    }
}

/* Fresh records, then, as one of them is there already, the careful way; one comes late, so that
 * its order is made again. */
static void a_users_own_columns_do_not_get_in_the_way(void **state)
{
    (void)state;
    story_sql("ALTER TABLE blotter.order_events ADD COLUMN desk text, ADD COLUMN region text NOT "
              "NULL DEFAULT 'eu', "
              "ADD COLUMN doubled numeric GENERATED ALWAYS AS (price * 2) STORED, ADD COLUMN n "
              "bigint GENERATED ALWAYS AS IDENTITY");
    story_sql("ALTER TABLE blotter.orders ADD COLUMN note text, ADD COLUMN looked_at timestamptz "
              "DEFAULT now()");
    for (int seq = 2; seq <= 6; seq++) {
        story_add_order("blotter:okx", 7, seq, seq,
                        &(struct blotter_order){.order_id = "1", .price = "1.5"});
    }
    story_drain_once();
    for (int seq = 1; seq <= 6; seq++) {
        story_add_order("blotter:okx", 7, seq, seq,
                        &(struct blotter_order){.order_id = "1", .price = "1.5", .account = ""});
    }
    story_drain_once();
    assert_string_equal(story_table("SELECT count(*), count(desk), min(region), min(doubled), "
                                    "count(DISTINCT n) FROM blotter.order_events"),
                        "6 0 eu 3.0 6");
    story_sql("SELECT blotter_internal.rebuild_orders()");
    assert_string_equal(
        story_table("SELECT order_id, price, note, looked_at IS NOT NULL FROM blotter.orders"),
        "1 1.5 - t");
    assert_string_equal(story_table("SELECT * FROM blotter_internal.order_errors"), "");
    assert_string_equal(story_table("SELECT * FROM blotter.rejects"), "");
}

/* The session's temporary tables lack the column. */
static void a_users_new_column_is_met_by_a_new_session(void **state)
{
    (void)state;
    struct blotter_order order = {.order_id = "1", .price = "1.5"};
    struct fixture_program *drainer = story_drainer("d1");
    for (int times = 0; times < 2; times++) { /* a duplicate, so the careful way for a while */
        story_add_order("blotter:okx", 7, 1, 1, &order);
    }
    story_await_int(1, "SELECT count(*) FROM blotter.order_events");
    story_await_drained();
    story_sql("ALTER TABLE blotter.order_events ADD COLUMN desk text");
    story_add_order("blotter:okx", 7, 2, 2, &order);
    story_await_int(2, "SELECT count(*) FROM blotter.order_events");
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
    assert_string_equal(story_table("SELECT * FROM blotter.rejects"), "");
}

/* The batch is bisected for each of them, which is what the figure is about. */
static void records_that_postgresql_refuses_cost_their_batch_its_speed_but_no_memory(void **state)
{
    struct backlog backlog = backlog_of(30 * BAD_EVERY);
    struct backlog_run without = drain(&backlog), with;

    (void)state;
    story_sql("ALTER TABLE blotter.order_events ADD CHECK (symbol <> 'bad')");
    size_t length = sizeof "\x82\xa8order_id\xa1\x31\xa6symbol\xa3"
                           "bad" -
                    1;
    backlog.bad = &(struct bad_entry){"order",
                                      "\x82\xa8order_id\xa1\x31\xa6symbol\xa3"
                                      "bad",
                                      length, ""};
    backlog.bad_count = 1;
    backlog.bad_every = BAD_EVERY;
    with = drain(&backlog);
    print_run("without refused records", &backlog, &without);
    print_run("with one among 200", &backlog, &with);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects WHERE sqlstate = '23514'"),
                     (int64_t)backlog.rows / BAD_EVERY);
    assert_memory_unmoved(&without, &with);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    const struct CMUnitTest tests[] = {
        TEST(every_bad_entry_among_good_ones_is_rejected_and_they_are_stored),
        TEST(a_bad_entry_that_was_delivered_before_is_rejected_with_the_count),
        TEST(what_a_user_forbids_is_rejected_alone),
        TEST(a_users_own_columns_do_not_get_in_the_way),
        TEST(a_users_new_column_is_met_by_a_new_session),
        TEST(records_that_postgresql_refuses_cost_their_batch_its_speed_but_no_memory),
    };
    return cmocka_run_group_tests_name("poison", tests, NULL, NULL);
}
