/* notice.h: what a sender lets people know: the callback on_event, once per change, and the last error for blotter_stats.
 *
 * The sender's thread calls all of it but notice_stats, which any thread may. */
#ifndef BLOTTER_PRODUCER_NOTICE_H
#define BLOTTER_PRODUCER_NOTICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "producer/blotter.h"

struct notice {
    void (*on_event)(void *arg, enum blotter_event, const char *text); /* may be NULL */
    void *arg;
    bool told_down;
    pthread_mutex_t mutex; /* of what follows */
    int64_t error_at_ns;
    char last_error[160];
};

void notice_init(struct notice *, void (*on_event)(void *arg, enum blotter_event, const char *text), void *arg);
void notice_release(struct notice *);

void notice_event(struct notice *, enum blotter_event, const char *text);

/* Why records are not accepted; "": they are. */
void notice_error(struct notice *, const char *text);

/* The connection is up, or is not, told as often as one likes. */
void notice_up(struct notice *, const char *place);
void notice_down(struct notice *, const char *why);

/* Fills in last_error and last_error_at_ns. */
void notice_stats(struct notice *, struct blotter_stats *);

#endif
