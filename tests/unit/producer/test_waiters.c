/* test_waiters.c: a waiter and the sender that wakes it, at once: no wake-up is lost.
 *
 * A processor may keep a store to itself while its later loads go ahead, until it does what needs
 * the whole of its memory: a read-modify-write, or a fence. How long is luck, so here waiters.c is
 * built with operations that tell when that is, and the store of the cursor becomes visible exactly
 * then, or after all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "producer/blotter.h"
#include "producer/journal.h"
#include "schema/clock.h"
#include "tests/fixture/fixture.h"

static void show_stores(void);

#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_thread_fence
#define atomic_fetch_add(at, by) (show_stores(), __atomic_fetch_add(at, by, __ATOMIC_SEQ_CST))
#define atomic_fetch_add_explicit(at, by, order) (show_stores(), __atomic_fetch_add(at, by, order))
#define atomic_thread_fence(order) (show_stores(), __atomic_thread_fence(order))
#include "producer/waiters.c"

enum { ROUNDS = 30000, TIMEOUT_MS = 10000 };
#define OVER UINT64_MAX

static struct waiters waiters;
static struct journal_cursor cursor;
static _Atomic uint64_t round_begun, round_done;
static _Atomic int64_t longest_ms;
static _Thread_local uint64_t kept_store; /* of the cursor, by this thread; 0: none */

static void show_stores(void)
{
    if (kept_store > 0) {
        journal_cursor_set(&cursor, kept_store);
        kept_store = 0;
    }
}

/* The sender moves the cursor and wakes; a waiter comes at once behind the sender's look for one.
 * It is not woken, so it has to see the cursor. */
static void a_waiter_that_the_sender_has_not_seen_sees_the_cursor(void **state)
{
    (void)state;
    waiters_init(&waiters);
    journal_cursor_set(&cursor, 1);
    kept_store = 2;
    waiters_wake(&waiters);
    uint64_t seen = journal_cursor(&cursor);
    kept_store = 0; /* what follows is another thread's */
    waiters_enter(&waiters, false);
    int status = waiters_wait(&waiters, &cursor, 1, 0, PTHREAD_CANCEL_DISABLE);
    waiters_leave(&waiters, false);
    waiters_release(&waiters);
    assert_int_equal(status, BLOTTER_OK);
    assert_int_equal(seen, 2);
}

/* Waits in each round for the cursor to pass it. */
static void *wait_each_round(void *arg)
{
    (void)arg;
    for (uint64_t round = 1;; round++) {
        for (int spins = 0; atomic_load(&round_begun) < round; spins++) {
            if (spins > 1000) {
                sched_yield();
            }
        }
        if (atomic_load(&round_begun) == OVER) {
            break;
        }
        int64_t begin_ms = clock_monotonic_ms();
        waiters_enter(&waiters, false);
        int status = waiters_wait(&waiters, &cursor, round - 1, TIMEOUT_MS, PTHREAD_CANCEL_DISABLE);
        waiters_leave(&waiters, false);
        int64_t took_ms = clock_monotonic_ms() - begin_ms;
        if (took_ms > atomic_load(&longest_ms)) {
            atomic_store(&longest_ms, took_ms);
        }
        if (status != BLOTTER_OK) {
            abort();
        }
        atomic_store(&round_done, round);
    }
    return NULL;
}

/* The same with two threads, on the processor that there is. */
static void no_wake_up_is_lost(void **state)
{
    (void)state;
    const uint64_t rounds = ROUNDS / (uint64_t)fixture_slower();
    pthread_t thread;
    waiters_init(&waiters);
    pthread_create(&thread, NULL, wait_each_round, NULL);
    for (uint64_t round = 1; round <= rounds && longest_ms < TIMEOUT_MS; round++) {
        atomic_store(&round_begun, round);
        for (volatile uint64_t pause = round % 32; pause > 0; pause--) {
        }
        journal_cursor_set(&cursor, round);
        waiters_wake(&waiters);
        for (int spins = 0; atomic_load(&round_done) < round; spins++) {
            if (spins > 1000) {
                sched_yield();
            }
        }
    }
    atomic_store(&round_begun, OVER);
    pthread_join(thread, NULL);
    waiters_release(&waiters);
    print_message("the longest wait took %lld ms\n", (long long)longest_ms);
    assert_true(longest_ms < TIMEOUT_MS); /* a lost one lasts so long */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_waiter_that_the_sender_has_not_seen_sees_the_cursor),
        cmocka_unit_test(no_wake_up_is_lost),
    };
    return cmocka_run_group_tests_name("waiters", tests, NULL, NULL);
}
