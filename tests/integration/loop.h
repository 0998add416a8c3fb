/* loop.h: runs an event loop until something has happened. */
#ifndef BLOTTER_TESTS_LOOP_H
#define BLOTTER_TESTS_LOOP_H

#include <event2/event.h>
#include <stdbool.h>

#include "tests/fixture/fixture.h"

enum { LOOP_TIMEOUT_MS = 60000 }; /* for what takes milliseconds: machines are busy */

static inline void loop_on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg; /* only wakes the loop, so that the count is looked at */
}

/* Until *count is at least `wanted`; false: it was not in time. */
static inline bool loop_until(struct event_base *base, const int *count, int wanted)
{
    struct timeval interval = {0, 5000};
    struct event *tick = event_new(base, -1, EV_PERSIST, loop_on_tick, NULL);
    int64_t deadline = fixture_now_ms() + LOOP_TIMEOUT_MS;

    event_add(tick, &interval);
    while (*count < wanted && fixture_now_ms() < deadline) {
        event_base_loop(base, EVLOOP_ONCE);
    }
    event_free(tick);
    return *count >= wanted;
}

#endif
