/* test_sqlstate.c: what is done about each error of PostgreSQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/postgres/sqlstate.h"

static enum pg_action action_of(const char *sqlstate)
{
    return sqlstate_action(sqlstate, "order_events", "", false);
}

static void no_state_means_the_connection_was_lost(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_action(NULL, NULL, NULL, false), PG_ACTION_RETRY);
    assert_int_equal(sqlstate_action("", "", "", false), PG_ACTION_RETRY);
}

static void errors_that_pass_are_retried(void **state)
{
    static const char *const states[] = {
        "08000", "08001", "08003", "08006", "25006", "25P03", "25P04", "40001",
        "40P01", "53000", "53100", "53200", "53300", "55P03", "57014", "57P01",
        "57P02", "57P03", "57P05", "58000", "58030", "XX000", "XX001", "XX002",
    };

    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        assert_int_equal(action_of(states[i]), PG_ACTION_RETRY);
    }
}

static void errors_that_pass_unless_they_are_a_triggers_doing_are_in_doubt(void **state)
{
    static const char *const states[] = {"40000", "40002", "55000", "55006", "55P04"};

    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        assert_int_equal(action_of(states[i]), PG_ACTION_DOUBT);
    }
}

static void errors_that_a_function_raises_neither_pass_nor_need_a_person_for_sure(void **state)
{
    static const char *const states[] = {"40001", "40P01", "55P03", "53100", "57014",
                                         "42501", "28000", "08006", "55000"};

    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        assert_int_equal(sqlstate_action(states[i], "", "", true), PG_ACTION_DOUBT);
    }
    assert_int_equal(sqlstate_action("P0001", "", "", true), PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("23514", "", "a_check", true), PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("", "", "", true), PG_ACTION_RETRY);
}

static void where_an_error_was_reported_tells_who_raised_it(void **state)
{
    (void)state;
    assert_true(sqlstate_is_raised("pl_exec.c"));
    assert_true(sqlstate_is_raised("plpy_elog.c"));
    assert_true(sqlstate_is_raised("plperl.c"));
    assert_true(sqlstate_is_raised("pltcl.c"));
    assert_false(sqlstate_is_raised("plancache.c"));
    assert_false(sqlstate_is_raised("lock.c"));
    assert_false(sqlstate_is_raised(NULL));
}

static void errors_that_need_a_person_stop_loading(void **state)
{
    static const char *const states[] = {"0A000", "28000", "28P01", "3D000", "3F000",
                                         "42501", "42P01", "42703", "42883"};

    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        assert_int_equal(action_of(states[i]), PG_ACTION_PERSON);
    }
}

static void malformed_field_of_a_binary_copy_is_not_a_lost_connection(void **state)
{
    (void)state;
    assert_int_equal(action_of("08P01"), PG_ACTION_DATA);
}

static void longest_entry_of_the_table_wins(void **state)
{
    (void)state;
    assert_int_equal(action_of("42P10"), PG_ACTION_DATA);
    assert_int_equal(action_of("42P01"), PG_ACTION_PERSON);
    assert_int_equal(action_of("25001"), PG_ACTION_DATA);
}

static void state_that_is_not_listed_is_about_data(void **state)
{
    static const char *const states[] = {"22003", "22021", "22P02", "22P03", "22P04", "22P05",
                                         "23502", "54000", "54001", "P0001", "ZZ999", "22"};

    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        assert_int_equal(action_of(states[i]), PG_ACTION_DATA);
    }
}

static void
row_without_a_partition_asks_for_its_day_and_one_that_breaks_a_check_is_about_data(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_action("23514", "order_events", "", false), PG_ACTION_NO_DAY);
    assert_int_equal(sqlstate_action("23514", "order_events", "", true), PG_ACTION_NO_DAY);
    assert_int_equal(sqlstate_action("23514", "order_events", "my_check", false), PG_ACTION_DATA);
}

static void rows_that_staging_refuses_are_named(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_action("BL001", "", "", true), PG_ACTION_ROWS);
}

static void hints_tell_what_to_do_about_a_state(void **state)
{
    const char *text;

    (void)state;
    assert_int_equal(sqlstate_hint("57P01", NULL), SQLSTATE_UNREACHABLE);
    assert_int_equal(sqlstate_hint("57014", NULL), SQLSTATE_UNREACHABLE);
    assert_int_equal(sqlstate_hint("08006", NULL), SQLSTATE_UNREACHABLE);
    assert_int_equal(sqlstate_hint("08P01", NULL), SQLSTATE_NONE);
    assert_int_equal(sqlstate_hint("42P01", &text), SQLSTATE_MIGRATE);
    assert_non_null(strstr(text, "blotter migrate"));
    assert_int_equal(sqlstate_hint("42501", &text), SQLSTATE_RIGHTS);
    assert_non_null(strstr(text, "role"));
    assert_int_equal(sqlstate_hint(NULL, &text), SQLSTATE_NONE);
    assert_string_equal(text, "");
}

static void duplicate_key_of_an_event_table_or_of_its_day_is_a_duplicate(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_action("23505", "order_events", "order_events_pkey", false),
                     PG_ACTION_DUPLICATE);
    assert_int_equal(
        sqlstate_action("23505", "order_events_20260101", "order_events_20260101_pkey", false),
        PG_ACTION_DUPLICATE);
    assert_int_equal(sqlstate_action("23505", "trades_20260101", "trades_20260101_pkey", false),
                     PG_ACTION_DUPLICATE);
    assert_int_equal(sqlstate_action("23505", "sessions", "sessions_pkey", false),
                     PG_ACTION_DUPLICATE);
}

static void duplicate_key_of_any_other_table_or_constraint_is_about_data(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_action("23505", "order_events_20260101", "my_unique_trade_id", false),
                     PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("23505", "rejects", "rejects_pkey", false), PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("23505", "orders", "orders_pkey", false), PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("23505", "progress", "progress_pkey", false), PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("23505", "", "", false), PG_ACTION_DATA);
}

static void duplicate_key_of_a_table_whose_name_begins_like_ours_is_about_data(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_action("23505", "trades_archive", "trades_archive_pkey", false),
                     PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("23505", "tradesmen", "tradesmen_pkey", false),
                     PG_ACTION_DATA);
    assert_int_equal(sqlstate_action("23505", "trades_2026010", "trades_2026010_pkey", false),
                     PG_ACTION_DATA);
    assert_int_equal(
        sqlstate_action("23505", "trades_20260101_old", "trades_20260101_old_pkey", false),
        PG_ACTION_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_state_means_the_connection_was_lost),
        cmocka_unit_test(errors_that_pass_are_retried),
        cmocka_unit_test(errors_that_pass_unless_they_are_a_triggers_doing_are_in_doubt),
        cmocka_unit_test(errors_that_a_function_raises_neither_pass_nor_need_a_person_for_sure),
        cmocka_unit_test(where_an_error_was_reported_tells_who_raised_it),
        cmocka_unit_test(errors_that_need_a_person_stop_loading),
        cmocka_unit_test(malformed_field_of_a_binary_copy_is_not_a_lost_connection),
        cmocka_unit_test(longest_entry_of_the_table_wins),
        cmocka_unit_test(state_that_is_not_listed_is_about_data),
        cmocka_unit_test(
            row_without_a_partition_asks_for_its_day_and_one_that_breaks_a_check_is_about_data),
        cmocka_unit_test(rows_that_staging_refuses_are_named),
        cmocka_unit_test(hints_tell_what_to_do_about_a_state),
        cmocka_unit_test(duplicate_key_of_an_event_table_or_of_its_day_is_a_duplicate),
        cmocka_unit_test(duplicate_key_of_any_other_table_or_constraint_is_about_data),
        cmocka_unit_test(duplicate_key_of_a_table_whose_name_begins_like_ours_is_about_data),
    };
    return cmocka_run_group_tests_name("sqlstate", tests, NULL, NULL);
}
