/* test_one_line.c: a message of libpq is one line of text, wherever it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/postgres/pg_blocking.h"
#include "schema/record.h"

static void lines_become_one(void **state)
{
    char out[64];

    (void)state;
    pg_one_line("FATAL:  no such\n\tdatabase\n", out, sizeof out);
    assert_string_equal(out, "FATAL: no such database");
}

/* Cut in a character it was no JSON, and `status --json` printed nothing. */
static void a_message_is_not_cut_in_a_character(void **state)
{
    static const char message[] = "ВАЖНО: база данных \"blotter\" не существует";
    char out[sizeof message];

    (void)state;
    for (size_t size = 2; size < sizeof out; size++) {
        pg_one_line(message, out, size);
        assert_int_equal(text_check(out, strlen(out)), RECORD_FAULT_NONE);
        assert_memory_equal(out, message, strlen(out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_one),
        cmocka_unit_test(a_message_is_not_cut_in_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
