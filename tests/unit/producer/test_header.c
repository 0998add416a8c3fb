/* blotter.h beside a macro of the user's own that is named as ours are in the sources. */
#define X(name) name##_of_the_user
enum { something_of_the_user = 42 };

#include "producer/blotter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_macro_named_x_stays_the_users(void **state)
{
    (void)state;
    assert_int_equal(X(something), 42);
    assert_int_equal(BLOTTER_FULL, -1);
    assert_int_equal(((struct blotter_order){.post_only = BLOTTER_TRUE}).post_only, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_macro_named_x_stays_the_users)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
