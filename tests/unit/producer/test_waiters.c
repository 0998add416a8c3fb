/* test_waiters.c: a waiter and the sender that wakes it, at once: no wake-up is lost. */
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
#include "producer/waiters.h"
#include "schema/clock.h"
#include "tests/fixture/fixture.h"

enum {
    ROUNDS = 150000,
    TIMEOUT_MS = 10000,
    FAR_STORES = 40, /* fewer than a processor's buffer of stores holds */
    FAR_BYTES = 64 << 20,
    FAR_STRIDE = 4096 + 64, /* another page and another line */
};
#define OVER UINT64_MAX

static struct waiters waiters;
static struct journal_cursor cursor;
static _Atomic uint64_t round_begun, round_done;
static _Atomic int64_t longest_ms;
static volatile unsigned char far[FAR_BYTES];

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

/* Stores become visible in their order. These miss all caches, so the next ones stay in the
 * processor's own buffer for as long as the waiter's steps take, while its loads go ahead. */
static void delay_stores(uint64_t round)
{
    for (uint64_t i = 0; i < FAR_STORES; i++) {
        far[(round * FAR_STORES + i) * FAR_STRIDE % FAR_BYTES] = (unsigned char)round;
    }
}

/* The store of the cursor and the look at the count of waiters are so close to the waiter's own two
 * steps, the other way round, that an order which is not kept shows within so many rounds. */
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
        delay_stores(round);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_wake_up_is_lost)};
    return cmocka_run_group_tests_name("waiters", tests, NULL, NULL);
}
