/* waker.c: see waker.h. */
#include "producer/waker.h"

#include <errno.h>
#include <event2/event.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct waker *waker = arg;
    uint64_t times;
    if (read(fd, &times, sizeof times) < 0 && errno != EAGAIN) {
        return;
    }
    /* seq_cst: from here on others wake us. The fence: what they published before, on_wake sees,
     * also by an acquire load, which alone could be read before the store is visible. */
    atomic_store(&waker->asleep, true);
    atomic_thread_fence(memory_order_seq_cst);
    waker->on_wake(waker->arg);
}

bool waker_init(struct waker *waker, struct event_base *base, void (*on_wake)(void *arg), void *arg)
{
    waker->on_wake = on_wake;
    waker->arg = arg;
    atomic_init(&waker->asleep, true);
    waker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (waker->fd < 0) {
        return false;
    }
    waker->woken = event_new(base, waker->fd, EV_READ | EV_PERSIST, on_woken, waker);
    return waker->woken && event_add(waker->woken, NULL) == 0;
}

void waker_release(struct waker *waker)
{
    if (waker->on_wake == NULL) {
        return;
    }
    if (waker->woken != NULL) {
        event_free(waker->woken);
    }
    if (waker->fd >= 0) {
        close(waker->fd);
    }
}

void waker_wake(struct waker *waker)
{
    uint64_t one = 1;
    /* seq_cst, after what was published: either on_wake sees it, or we see that the loop sleeps */
    if (atomic_exchange(&waker->asleep, false) && write(waker->fd, &one, sizeof one) < 0) {
        return; /* the counter is full: it is awake */
    }
}
