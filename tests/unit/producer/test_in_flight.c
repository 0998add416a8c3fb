/* test_in_flight.c: answers belong to commands in the order in which these were given, however many
 * are under way when the queue grows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producer/in_flight.h"

static void push(struct in_flight_queue *queue, uintptr_t tag)
{
    assert_true(in_flight_reserve(queue));
    in_flight_push(queue, (struct in_flight){.tag = tag});
}

static void assert_pops(struct in_flight_queue *queue, uintptr_t tag)
{
    assert_int_equal(in_flight_oldest(queue)->tag, tag);
    assert_int_equal(in_flight_pop(queue).tag, tag);
}

/* Wherever in its ring the oldest one is when there is no more room. */
static void the_order_is_kept_when_it_grows(void **state)
{
    (void)state;
    for (uintptr_t answered = 0; answered < 70; answered++) {
        struct in_flight_queue queue = {0};
        uintptr_t pushed = 0, popped = 0;
        while (popped < answered) {
            push(&queue, pushed++);
            assert_pops(&queue, popped++);
        }
        while (pushed < 1000) {
            push(&queue, pushed++);
        }
        while (popped < 1000) {
            assert_pops(&queue, popped++);
        }
        assert_null(in_flight_oldest(&queue));
        in_flight_release(&queue);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_is_kept_when_it_grows),
    };
    return cmocka_run_group_tests_name("owed", tests, NULL, NULL);
}
