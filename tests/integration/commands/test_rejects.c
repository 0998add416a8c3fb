/* test_rejects.c: what could not be stored is listed, loaded again, stored once and marked; or set
 * aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "tests/fixture/bad_entries.h"
#include "tests/fixture/story.h"

#define NO_DOGE "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')"
#define DOGE_AGAIN "ALTER TABLE blotter.order_events DROP CONSTRAINT no_doge"
#define STORED "SELECT count(*) FROM blotter.order_events WHERE symbol = 'DOGE'"
#define OPEN \
    "SELECT count(*) FROM blotter.rejects WHERE replayed_at IS NULL AND discarded_at IS NULL"
#define AUDIT "SELECT stored, rejected, missing + in_flight FROM blotter.audit"

static const char *said(struct fixture_program *program)
{
    return fixture_program_stdout(program);
}

/* Orders 1 .. count of producer 7, those in `doge` of a symbol that is refused. */
static void add_orders(const char *stream, int count, const char *doge)
{
    for (int seq = 1; seq <= count; seq++) {
        const char *id = fixture_format("%d", seq);
        bool refused = strstr(doge, fixture_format(" %d ", seq)) != NULL;

        story_add_order(
            stream, 7, seq, seq,
            &(struct blotter_order){.order_id = id, .symbol = refused ? "DOGE" : "BTC"});
    }
}

/* Refused ones of a stream, loaded. */
static void reject(int count, const char *doge)
{
    story_sql(NO_DOGE);
    add_orders("blotter:okx", count, doge);
    story_drain_once();
}

/* --- replay --- */

static void
what_was_refused_is_stored_once_and_marked_when_nothing_refuses_it_any_more(void **state)
{
    (void)state;
    reject(20, " 3 17 ");
    story_sql(DOGE_AGAIN);
    const char *replayed = said(story_run(0, "rejects", "replay"));
    story_assert_says(replayed, "2 stored, 0 refused again");
    assert_int_equal(story_int(STORED), 2);
    assert_string_equal(
        story_table(
            "SELECT seq, replayed_at IS NOT NULL, replayed_by FROM blotter.rejects ORDER BY seq"),
        "3 t postgres\n17 t postgres");
    assert_string_equal(story_table(AUDIT), "20 0 0");
    assert_string_equal(story_table("SELECT settled FROM blotter_internal.audit_quick"), "20");
    assert_string_equal(
        story_table("SELECT symbol FROM blotter.orders WHERE order_id IN ('3', '17')"),
        "DOGE\nDOGE");
    story_assert_says(said(story_run(0, "rejects", "list")), "replayed");

    story_assert_says(said(story_run(0, "rejects", "replay")), "0 stored");
    story_sql("UPDATE blotter.rejects SET replayed_at = NULL"); /* as one that died before it could
                                                                   mark them */
    story_assert_says(said(story_run(0, "rejects", "replay")), "2 stored");
    assert_int_equal(story_int(STORED), 2);
    assert_int_equal(story_int(OPEN), 0);
    assert_string_equal(story_table(AUDIT), "20 0 0");
    assert_string_equal(story_table("SELECT settled FROM blotter_internal.audit_quick"), "20");
}

static void what_is_still_refused_stays_with_the_new_reason(void **state)
{
    (void)state;
    reject(20, " 3 17 ");
    story_sql(DOGE_AGAIN);
    story_sql("ALTER TABLE blotter.order_events ADD CONSTRAINT not_17 CHECK (order_id <> '17')");
    const char *replayed = said(story_run(1, "rejects", "replay"));
    story_assert_says(replayed, "1 stored, 1 refused again");
    story_assert_says(replayed, "not_17");
    assert_int_equal(story_int(STORED), 1);
    assert_string_equal(story_table("SELECT seq, sqlstate, reason LIKE '%%not_17%%' FROM "
                                    "blotter.rejects WHERE replayed_at IS NULL"),
                        "17 23514 t");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 2);
    assert_string_equal(story_table(AUDIT), "19 1 0");
    assert_string_equal(story_table("SELECT settled FROM blotter_internal.audit_quick"), "20");
}

static void a_dry_run_says_what_postgresql_would_and_changes_nothing(void **state)
{
    (void)state;
    reject(20, " 3 17 ");
    story_sql(DOGE_AGAIN);
    story_sql("ALTER TABLE blotter.order_events ADD CONSTRAINT not_17 CHECK (order_id <> '17')");
    const char *before =
        story_table("SELECT r, p FROM blotter.rejects r, blotter_internal.progress p ORDER BY 1");
    const char *replayed = said(story_run(1, "rejects", "replay", "--dry-run"));
    story_assert_says(replayed, "dry run, nothing is changed: 1 stored, 1 refused again");
    story_assert_says(replayed, "not_17");
    assert_string_equal(
        story_table("SELECT r, p FROM blotter.rejects r, blotter_internal.progress p ORDER BY 1"),
        before);
    assert_int_equal(story_int(STORED), 0);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.orders"), 18);
}

/* A trigger's error that might pass is tried for as often as the drainer would, and no longer. */
static void what_a_trigger_refuses_for_now_is_refused_in_the_end(void **state)
{
    (void)state;
    reject(3, " 2 ");
    story_sql(DOGE_AGAIN);
    story_sql("CREATE FUNCTION blotter.look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF "
              "NEW.symbol = 'DOGE' THEN "
              "RAISE 'busy' USING ERRCODE = '40001'; END IF; RETURN NEW; END$$; "
              "CREATE TRIGGER look BEFORE INSERT ON blotter.order_events FOR EACH ROW EXECUTE "
              "FUNCTION blotter.look()");
    story_assert_says(said(story_run(1, "rejects", "replay")), "0 stored, 1 refused again");
    assert_string_equal(story_table("SELECT sqlstate, reason FROM blotter.rejects"), "40001 busy");
}

/* An entry without an identity gets the same one whenever it is decoded. */
static void an_entry_of_another_client_is_stored_once_too(void **state)
{
    static const char entry[] = "\x82\xa8order_id\xa1\x31\xa6symbol\xa4"
                                "DOGE";
    (void)state;
    story_sql(NO_DOGE);
    story_add("blotter:okx", "order", entry, sizeof entry - 1);
    story_drain_once();
    story_sql(DOGE_AGAIN);
    story_run(0, "rejects", "replay");
    story_sql("UPDATE blotter.rejects SET replayed_at = NULL");
    story_run(0, "rejects", "replay");
    fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers 0");
    story_drain_once();
    assert_int_equal(story_int(STORED), 1);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 1);
}

/* The corpus stays rejected, for the same reasons: nothing of it is lost on the way through the
 * table. */
static void what_is_no_record_is_refused_again_for_the_same_reason(void **state)
{
    size_t count;
    const struct bad_entry *bad = bad_entries(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        story_add("blotter:okx", bad[i].field, bad[i].bytes, bad[i].length);
    }
    fixture_redis_run(story_redis, "XADD blotter:okx * order %b note hello",
                      "\x81\xa8order_id\xa1\x31", (size_t)12);
    story_drain_once();
    story_sql("CREATE TABLE before AS SELECT * FROM blotter.rejects");
    int64_t whole = story_int("SELECT count(*) FROM before WHERE raw_length = octet_length(raw)");
    story_assert_says(said(story_run(1, "rejects", "replay")),
                      fixture_format("0 stored, %lld refused again", (long long)whole));
    assert_string_equal(
        story_table("SELECT b.reason, r.reason FROM blotter.rejects r JOIN before b USING (id) "
                    "WHERE r.reason <> b.reason"),
        "");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), count + 1);
}

static void a_record_of_a_day_that_is_no_longer_kept_stays(void **state)
{
    (void)state;
    reject(3, " 2 ");
    story_sql(DOGE_AGAIN);
    story_sql("UPDATE blotter_internal.retention SET first_day = blotter_internal.today() + 1");
    story_assert_says(said(story_run(1, "rejects", "replay")), "1 of days that are no longer kept");
    assert_int_equal(story_int(OPEN), 1);
    assert_int_equal(story_int(STORED), 0);
    assert_string_equal(story_table("SELECT settled FROM blotter_internal.audit_quick"), "3");
}

static void more_than_a_page_of_them_is_replayed(void **state)
{
    (void)state;
    story_sql("ALTER TABLE blotter.order_events ADD CONSTRAINT nothing CHECK (false) NOT VALID");
    add_orders("blotter:okx", 250, "");
    story_drain_once();
    story_sql("ALTER TABLE blotter.order_events DROP CONSTRAINT nothing");
    story_assert_says(said(story_run(0, "rejects", "replay", "--json")),
                      "\"stored\": 250, \"refused\": 0");
    assert_string_equal(story_table(AUDIT), "250 0 0");
}

/* --- the quick audit --- */

static void a_replayed_reject_does_not_hide_a_record_that_is_missing(void **state)
{
    (void)state;
    story_sql(NO_DOGE);
    add_orders("blotter:okx", 2, " 2 ");
    story_drain_once();
    story_sql("INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, "
              "event, last_seq) "
              "VALUES (7, 4, now(), 'okx', 'closed', 4)");
    story_sql("SELECT blotter_internal.add_progress('me', '{7}', '{okx}', NULL, '{1}', NULL, NULL, "
              "'{4}', NULL)");
    story_run(1, "audit", "--quick"); /* 3 is nowhere */
    story_sql(DOGE_AGAIN);
    story_run(0, "rejects", "replay");
    story_run(1, "audit", "--quick");
    story_run(1, "audit");
}

/* Its producer lost the word, and the constraint went away in between. */
static void a_reject_that_was_sent_again_and_stored_counts_once(void **state)
{
    (void)state;
    reject(3, " 2 ");
    story_sql(DOGE_AGAIN);
    add_orders("blotter:okx", 3, " 2 ");
    story_drain_once();
    assert_int_equal(story_int(STORED), 1);
    assert_string_equal(story_table("SELECT settled FROM blotter_internal.audit_quick"), "3");
    assert_string_equal(story_table("SELECT stored, missing + in_flight FROM blotter.audit"),
                        "3 0");
}

/* --- which --- */

static const char *id_of(int seq)
{
    return story_sql("SELECT id FROM blotter.rejects WHERE seq = %d", seq);
}

static void rejects_are_selected_by_number_stream_reason_and_time(void **state)
{
    (void)state;
    reject(4, " 1 2 3 4 ");
    story_add("blotter:bybit", "order", "nonsense", 8);
    story_drain_once();
    story_sql(
        "UPDATE blotter.rejects SET rejected_at = rejected_at - interval '1 day' WHERE seq = 4");
    story_sql(DOGE_AGAIN);
    const char *today =
        story_sql("SELECT to_char(now() - interval '1 hour', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    story_assert_says(said(story_run(0, "rejects", "replay", id_of(1), id_of(3))), "2 stored");
    assert_string_equal(story_table("SELECT seq FROM blotter.order_events ORDER BY 1"), "1\n3");
    story_assert_says(said(story_run(1, "rejects", "replay", "--stream", "blotter:bybit")),
                      "0 stored, 1 refused");
    story_assert_says(
        said(story_run(0, "rejects", "replay", "--reason", "no_doge", "--since", today)),
        "1 stored");
    assert_string_equal(story_table("SELECT seq FROM blotter.order_events ORDER BY 1"), "1\n2\n3");
    story_assert_says(said(story_run(0, "rejects", "list", "--stream", "blotter:bybit")),
                      "not a msgpack map");
    assert_null(
        strstr(said(story_run(0, "rejects", "list", "--stream", "blotter:bybit")), "no_doge"));
    story_run(1, "rejects", "replay", "4711");
    story_run(2, "rejects", "replay", "x");
    story_run(2, "rejects", "replay", "--since", "yesterday");
    story_run(2, "rejects", "forget");
}

/* --- discard --- */

static void what_is_discarded_stays_as_evidence_and_is_replayed_only_by_name(void **state)
{
    (void)state;
    reject(4, " 1 2 3 ");
    story_sql(DOGE_AGAIN);
    story_run(2, "rejects", "discard");
    assert_int_equal(story_int(OPEN), 3);
    story_assert_says(said(story_run(0, "rejects", "discard", "--dry-run", "--reason", "no_doge")),
                      "3 would be discarded");
    assert_int_equal(story_int(OPEN), 3);
    story_assert_says(said(story_run(0, "rejects", "discard", "--json", id_of(1), id_of(2))),
                      "\"discarded\": 2");
    assert_string_equal(story_table("SELECT seq, discarded_by, raw <> '' FROM blotter.rejects "
                                    "WHERE discarded_at IS NOT NULL "
                                    "ORDER BY seq"),
                        "1 postgres t\n2 postgres t");
    story_run(1, "rejects", "discard", id_of(1));
    assert_string_equal(story_table(AUDIT), "1 3 0");
    story_assert_says(said(story_run(0, "rejects", "replay")), "1 stored");
    story_assert_says(said(story_run(0, "rejects", "replay", id_of(2))), "1 stored");
    assert_string_equal(story_table("SELECT seq, discarded_at, discarded_by FROM blotter.rejects "
                                    "WHERE replayed_at IS NOT NULL "
                                    "ORDER BY seq"),
                        "2 - -\n3 - -");
    story_run(1, "rejects", "discard", id_of(2));
    assert_string_equal(story_table(AUDIT), "3 1 0");
}

/* --- who --- */

static struct fixture_program *run_as(const char *user, int status, const char *verb)
{
    const char *const environment[] = {fixture_format("BLOTTER_POSTGRES=%s user=%s",
                                                      fixture_postgres_conninfo(story_postgres),
                                                      user),
                                       NULL};

    return story_run_program(status, STORY_ARGV("rejects", verb, "--reason", "no_doge"),
                             &(struct fixture_program_options){.environment = environment});
}

static void a_drainers_role_replays_and_discards_and_a_readers_lists(void **state)
{
    (void)state;
    story_sql("DO $$BEGIN CREATE ROLE looker LOGIN IN ROLE blotter_reader; CREATE ROLE loader "
              "LOGIN IN ROLE blotter_drainer; "
              "EXCEPTION WHEN duplicate_object THEN NULL; END$$");
    reject(4, " 1 2 ");
    story_assert_says(said(run_as("looker", 0, "list")), "no_doge");
    story_assert_says(fixture_program_stderr(run_as("looker", 2, "discard")),
                      "discard blotter_drainer");
    run_as("looker", 2, "replay");
    assert_int_equal(story_int(OPEN), 2);
    story_sql(DOGE_AGAIN);
    run_as("loader", 0, "replay");
    assert_string_equal(story_table("SELECT DISTINCT replayed_by FROM blotter.rejects"), "loader");
}

/* A strategy, or anybody who may write to the stream, chooses the field's name and the values. */
static void what_is_shown_is_safe_for_a_terminal_and_decoded(void **state)
{
    static const char entry[] = "\x82\xa6symbol\xa5\x1b]0;x\xa4note\xa3\xc2\x9bm";

    (void)state;
    story_add("blotter:okx", "\x1b[2Jorder\xc2\x9b", entry, sizeof entry - 1);
    story_drain_once();
    const char *id = story_sql("SELECT id FROM blotter.rejects");
    const char *shown = said(story_run(0, "rejects", "show", id));
    assert_null(strchr(shown, '\x1b'));
    assert_null(strstr(shown, "\xc2\x9b"));
    story_assert_says(shown, "\\x1b[2Jorder");
    story_assert_says(shown, "record          {\"symbol\":\"\\u001b]0;x\"");
    story_assert_says(said(story_run(0, "rejects", "show", id, "--json")),
                      "\"record\": {\"symbol\": \"\\u001B]0;x\"");
    const char *listed = said(story_run(0, "rejects", "list", "--since", "1h"));
    assert_null(strchr(listed, '\x1b'));
    story_assert_says(listed, "blotter:okx");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    const struct CMUnitTest tests[] = {
        TEST(what_was_refused_is_stored_once_and_marked_when_nothing_refuses_it_any_more),
        TEST(what_is_still_refused_stays_with_the_new_reason),
        TEST(a_dry_run_says_what_postgresql_would_and_changes_nothing),
        TEST(what_a_trigger_refuses_for_now_is_refused_in_the_end),
        TEST(an_entry_of_another_client_is_stored_once_too),
        TEST(what_is_no_record_is_refused_again_for_the_same_reason),
        TEST(a_record_of_a_day_that_is_no_longer_kept_stays),
        TEST(more_than_a_page_of_them_is_replayed),
        TEST(a_replayed_reject_does_not_hide_a_record_that_is_missing),
        TEST(a_reject_that_was_sent_again_and_stored_counts_once),
        TEST(rejects_are_selected_by_number_stream_reason_and_time),
        TEST(what_is_discarded_stays_as_evidence_and_is_replayed_only_by_name),
        TEST(a_drainers_role_replays_and_discards_and_a_readers_lists),
        TEST(what_is_shown_is_safe_for_a_terminal_and_decoded),
    };
    return cmocka_run_group_tests_name("rejects", tests, NULL, NULL);
}
