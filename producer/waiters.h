/* waiters.h: threads, and event loops, that wait for a cursor of the journal to pass a position,
 * and the sender that moves it. Any thread. */
#ifndef BLOTTER_PRODUCER_WAITERS_H
#define BLOTTER_PRODUCER_WAITERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct journal_cursor;
struct notice;

struct waiters {
    _Atomic unsigned count;    /* threads that wait, and notices */
    _Atomic unsigned in_hurry; /* those that make the sender read confirmations sooner */
    pthread_mutex_t mutex;     /* of what follows */
    pthread_cond_t advanced;
    struct notice *notices;
    bool closing;
};

void waiters_init(struct waiters *);
void waiters_release(struct waiters *); /* no thread waits any more */

/* Gives all threads that wait, or begin to, CLOSED; every notice is given. */
void waiters_close(struct waiters *);

/* Tells that the sender has moved a cursor. Costs little while no thread waits. */
void waiters_wake(struct waiters *);

/* Announces a waiter: from here on waiters_wake wakes. Then wait, then leave. */
void waiters_enter(struct waiters *, bool in_hurry);
void waiters_leave(struct waiters *, bool in_hurry);
/* Waits until the cursor is beyond `position`. timeout_ms -1: for ever. cancel_state:
 * whether the thread may be cancelled meanwhile. OK, TIMEOUT, CLOSED. */
int waiters_wait(struct waiters *, const struct journal_cursor *, uint64_t position, int timeout_ms,
                 int cancel_state);

/* Writes 1 to fd, once, when the cursor is beyond `position`. Replaces what was asked for this fd
 * and cursor before. OK, CLOSED, SYSTEM: out of memory. */
int waiters_notify(struct waiters *, int fd, const struct journal_cursor *, uint64_t position,
                   bool in_hurry);
void waiters_withdraw(struct waiters *, int fd, const struct journal_cursor *);

#endif
