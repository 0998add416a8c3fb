/* waker.h: lets any thread wake an event loop, at the cost of a system call only when the loop
 * sleeps. */
#ifndef BLOTTER_PRODUCER_WAKER_H
#define BLOTTER_PRODUCER_WAKER_H

#include <stdatomic.h>
#include <stdbool.h>

struct event;
struct event_base;

struct waker {
    int fd;
    struct event *woken;
    _Atomic bool asleep;
    void (*on_wake)(void *arg);
    void *arg;
};

/* Makes a waker. on_wake runs in the loop; it sees whatever was published before a waker_wake.
 * False: out of memory or descriptors. */
bool waker_init(struct waker *, struct event_base *, void (*on_wake)(void *arg), void *arg);
/* Releases it; also after waker_init has failed, or of zeroes. */
void waker_release(struct waker *);

void waker_wake(struct waker *); /* any thread */

#endif
