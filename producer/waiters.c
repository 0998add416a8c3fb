/* waiters.c: see waiters.h. Waiting is rare and advancing is not, so the sender looks at a counter before it takes the lock. */
#include "producer/waiters.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#include "producer/blotter.h"
#include "producer/journal.h"

void waiters_init(struct waiters *waiters)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&waiters->mutex, NULL);
    pthread_cond_init(&waiters->advanced, &attributes);
    pthread_condattr_destroy(&attributes);
    atomic_init(&waiters->count, 0);
    waiters->closing = false;
}

void waiters_release(struct waiters *waiters)
{
    assert(atomic_load(&waiters->count) == 0);
    pthread_cond_destroy(&waiters->advanced);
    pthread_mutex_destroy(&waiters->mutex);
}

void waiters_close(struct waiters *waiters)
{
    pthread_mutex_lock(&waiters->mutex);
    waiters->closing = true;
    pthread_cond_broadcast(&waiters->advanced);
    pthread_mutex_unlock(&waiters->mutex);
}

void waiters_wake(struct waiters *waiters)
{
    /* acq_rel, and a read-modify-write as in waiters_enter: of the two one comes first. If theirs, we see the waiter; if ours,
     * it sees the cursor that we have moved. */
    if (atomic_fetch_add_explicit(&waiters->count, 0, memory_order_acq_rel) == 0)
        return;
    pthread_mutex_lock(&waiters->mutex);
    pthread_cond_broadcast(&waiters->advanced);
    pthread_mutex_unlock(&waiters->mutex);
}

void waiters_enter(struct waiters *waiters)
{
    atomic_fetch_add_explicit(&waiters->count, 1, memory_order_acq_rel); /* see waiters_wake */
}

void waiters_leave(struct waiters *waiters)
{
    atomic_fetch_sub(&waiters->count, 1);
}

static struct timespec deadline_after(int timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

int waiters_wait(struct waiters *waiters, const struct journal_cursor *cursor, uint64_t position, int timeout_ms)
{
    struct timespec deadline = deadline_after(timeout_ms < 0 ? 0 : timeout_ms);
    int status = BLOTTER_OK;
    pthread_mutex_lock(&waiters->mutex);
    while (status == BLOTTER_OK && journal_cursor(cursor) <= position) {
        if (waiters->closing)
            status = BLOTTER_CLOSED;
        else if (timeout_ms < 0)
            pthread_cond_wait(&waiters->advanced, &waiters->mutex);
        else if (pthread_cond_timedwait(&waiters->advanced, &waiters->mutex, &deadline) == ETIMEDOUT)
            status = journal_cursor(cursor) > position ? BLOTTER_OK : BLOTTER_TIMEOUT;
    }
    pthread_mutex_unlock(&waiters->mutex);
    return status;
}
