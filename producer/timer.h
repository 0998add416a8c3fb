/* timer.h: libevent's timers, by milliseconds. */
#ifndef BLOTTER_PRODUCER_TIMER_H
#define BLOTTER_PRODUCER_TIMER_H

#include <event2/event.h>
#include <stdint.h>

/* Starts a timer anew. Returns 0; or -1: there is no memory. */
static inline int timer_start(struct event *timer, int64_t ms)
{
    struct timeval time = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    return event_add(timer, &time);
}

#endif
