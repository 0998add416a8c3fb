/* waiters.h: threads that wait for a cursor of the journal to pass a position, and the sender that moves it. Any thread. */
#ifndef BLOTTER_PRODUCER_WAITERS_H
#define BLOTTER_PRODUCER_WAITERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct journal_cursor;

struct waiters {
    _Atomic unsigned count;
    pthread_mutex_t mutex;
    pthread_cond_t advanced;
    bool closing; /* under mutex */
};

void waiters_init(struct waiters *);
void waiters_release(struct waiters *); /* nobody waits any more */

/* Whoever waits, or begins to, gets CLOSED. */
void waiters_close(struct waiters *);

/* The sender has moved a cursor. Costs one load while nobody waits. */
void waiters_wake(struct waiters *);

/* Announces a waiter: from here on waiters_wake wakes. Then wait, then leave. */
void waiters_enter(struct waiters *);
void waiters_leave(struct waiters *);
/* Waits until the cursor is beyond `position`. timeout_ms -1: for ever. OK, TIMEOUT, CLOSED. */
int waiters_wait(struct waiters *, const struct journal_cursor *, uint64_t position, int timeout_ms);

#endif
