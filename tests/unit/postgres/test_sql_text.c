/* test_sql_text.c: SQL that grows in a buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/postgres/sql_text.h"

static void pieces_follow_each_other(void **state)
{
    struct sql_text sql = {0};

    (void)state;
    sql_text_add(&sql, "BEGIN; ");
    sql_text_add(&sql, "SELECT %d, '%s'; ", -7, "x");
    sql_text_add(&sql, "%s", "");
    sql_text_add(&sql, "COMMIT");
    assert_string_equal(sql.text, "BEGIN; SELECT -7, 'x'; COMMIT");
    assert_int_equal(sql.length, strlen(sql.text));
    sql_text_release(&sql);
}

static void piece_longer_than_the_room_that_is_left_makes_it_grow(void **state)
{
    struct sql_text sql = {0};
    char piece[1000];

    (void)state;
    memset(piece, 'x', sizeof piece - 1);
    piece[sizeof piece - 1] = '\0';
    for (size_t length = 0; length < sizeof piece;
         length++) { /* so that it ends at every distance from the end of the room */
        sql_text_add(&sql, "%.*s", (int)length, piece);
        assert_int_equal(sql.text[sql.length], '\0');
    }
    assert_int_equal(sql.length, 999 * 1000 / 2);
    assert_int_equal(strspn(sql.text, "x"), sql.length);
    sql_text_release(&sql);
}

static void cleared_text_begins_anew_in_the_same_memory(void **state)
{
    struct sql_text sql = {0};

    (void)state;
    sql_text_add(&sql, "SELECT something that is long");
    char *text = sql.text;
    sql_text_clear(&sql);
    sql_text_add(&sql, "SELECT 1");
    assert_ptr_equal(sql.text, text);
    assert_string_equal(sql.text, "SELECT 1");
    sql_text_release(&sql);
    assert_null(sql.text);
    assert_int_equal(sql.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_follow_each_other),
        cmocka_unit_test(piece_longer_than_the_room_that_is_left_makes_it_grow),
        cmocka_unit_test(cleared_text_begins_anew_in_the_same_memory),
    };
    return cmocka_run_group_tests_name("sql_text", tests, NULL, NULL);
}
