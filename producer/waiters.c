/* waiters.c: see waiters.h. Waiting is rare and advancing is not, so the sender looks at a counter
 * before it takes the lock. */
#include "producer/waiters.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal.h"

/* A request to be told through a descriptor. */
struct notice {
    struct notice *next;
    const struct journal_cursor *cursor;
    uint64_t position;
    int fd;
    bool in_hurry;
};

void waiters_init(struct waiters *waiters)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&waiters->mutex, NULL);
    pthread_cond_init(&waiters->advanced, &attributes);
    pthread_condattr_destroy(&attributes);
    atomic_init(&waiters->count, 0);
    atomic_init(&waiters->in_hurry, 0);
    waiters->notices = NULL;
    waiters->closing = false;
}

void waiters_release(struct waiters *waiters)
{
    assert(atomic_load(&waiters->count) == 0);
    pthread_cond_destroy(&waiters->advanced);
    pthread_mutex_destroy(&waiters->mutex);
}

void waiters_enter(struct waiters *waiters, bool in_hurry)
{
    atomic_fetch_add_explicit(&waiters->count, 1, memory_order_acq_rel); /* see waiters_wake */
    atomic_fetch_add_explicit(&waiters->in_hurry, in_hurry,
                              memory_order_relaxed); /* only makes confirmations be read sooner */
}

void waiters_leave(struct waiters *waiters, bool in_hurry)
{
    atomic_fetch_sub_explicit(&waiters->in_hurry, in_hurry, memory_order_relaxed);
    atomic_fetch_sub(&waiters->count, 1);
}

/* Gives a notice. Under the mutex, so that a descriptor is not written to once its notice was
 * withdrawn. */
static void notice_give(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0) {
        return; /* it is full, and so says all that it can */
    }
}

/* Removes a notice. Under the mutex. */
static void notice_drop(struct waiters *waiters, struct notice **at)
{
    struct notice *notice = *at;
    *at = notice->next;
    waiters_leave(waiters, notice->in_hurry);
    free(notice);
}

/* Gives the notices that are due. Under the mutex. */
static void give_notices(struct waiters *waiters)
{
    struct notice **at = &waiters->notices;
    while (*at != NULL) {
        if (!waiters->closing && journal_cursor((*at)->cursor) <= (*at)->position) {
            at = &(*at)->next;
            continue;
        }
        notice_give((*at)->fd);
        notice_drop(waiters, at);
    }
}

void waiters_close(struct waiters *waiters)
{
    pthread_mutex_lock(&waiters->mutex);
    waiters->closing = true;
    give_notices(waiters);
    pthread_cond_broadcast(&waiters->advanced);
    pthread_mutex_unlock(&waiters->mutex);
}

void waiters_wake(struct waiters *waiters)
{
    /* acq_rel, and a read-modify-write as in waiters_enter: of the two one comes first. If theirs,
     * we see the waiter; if ours, it sees the cursor that we have moved. A plain load would do
     * neither: it may be read before the cursor's store is visible. */
    if (atomic_fetch_add_explicit(&waiters->count, 0, memory_order_acq_rel) == 0) {
        return;
    }
    pthread_mutex_lock(&waiters->mutex);
    give_notices(waiters);
    pthread_cond_broadcast(&waiters->advanced);
    pthread_mutex_unlock(&waiters->mutex);
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

static void unlock_when_cancelled(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

/* Waits for the condition once; the thread may be cancelled meanwhile, if it may be at all. Returns
 * pthread_cond_timedwait's answer. */
static int wait_once(struct waiters *waiters, const struct timespec *deadline, int cancel_state)
{
    int ended;
    pthread_cleanup_push(unlock_when_cancelled, &waiters->mutex);
    pthread_setcancelstate(cancel_state, NULL);
    ended = deadline == NULL
                ? pthread_cond_wait(&waiters->advanced, &waiters->mutex)
                : pthread_cond_timedwait(&waiters->advanced, &waiters->mutex, deadline);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cleanup_pop(0);
    return ended;
}

int waiters_wait(struct waiters *waiters, const struct journal_cursor *cursor, uint64_t position,
                 int timeout_ms, int cancel_state)
{
    struct timespec deadline = deadline_after(timeout_ms < 0 ? 0 : timeout_ms);
    int status = BLOTTER_OK;
    pthread_mutex_lock(&waiters->mutex);
    while (status == BLOTTER_OK && journal_cursor(cursor) <= position) {
        if (waiters->closing) {
            status = BLOTTER_CLOSED;
        } else if (wait_once(waiters, timeout_ms < 0 ? NULL : &deadline, cancel_state) ==
                   ETIMEDOUT) {
            status = journal_cursor(cursor) > position ? BLOTTER_OK : BLOTTER_TIMEOUT;
        }
    }
    pthread_mutex_unlock(&waiters->mutex);
    return status;
}

/* Withdraws a notice. Under the mutex. */
static void drop_asked(struct waiters *waiters, int fd, const struct journal_cursor *cursor)
{
    for (struct notice **at = &waiters->notices; *at != NULL; at = &(*at)->next) {
        if ((*at)->fd == fd && (*at)->cursor == cursor) {
            notice_drop(waiters, at);
            return;
        }
    }
}

int waiters_notify(struct waiters *waiters, int fd, const struct journal_cursor *cursor,
                   uint64_t position, bool in_hurry)
{
    struct notice *notice = malloc(sizeof *notice);
    if (notice == NULL) {
        return BLOTTER_SYSTEM;
    }
    *notice =
        (struct notice){.cursor = cursor, .position = position, .fd = fd, .in_hurry = in_hurry};
    waiters_enter(waiters, in_hurry);
    pthread_mutex_lock(&waiters->mutex);
    drop_asked(waiters, fd, cursor);
    notice->next = waiters->notices;
    waiters->notices = notice;
    give_notices(waiters); /* it may be past already, or we closing */
    int status = waiters->closing ? BLOTTER_CLOSED : BLOTTER_OK;
    pthread_mutex_unlock(&waiters->mutex);
    return status;
}

void waiters_withdraw(struct waiters *waiters, int fd, const struct journal_cursor *cursor)
{
    pthread_mutex_lock(&waiters->mutex);
    drop_asked(waiters, fd, cursor);
    pthread_mutex_unlock(&waiters->mutex);
}
