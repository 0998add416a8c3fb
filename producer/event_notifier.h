/* event_notifier.h: what a sender lets people know: the callback on_event, once per change, and the
 * last error for blotter_stats.
 *
 * The sender says what it finds as often as it likes; what was told last is remembered here. Its
 * thread calls all of it but event_notifier_stats, which any thread may. */
#ifndef BLOTTER_PRODUCER_EVENT_NOTIFIER_H
#define BLOTTER_PRODUCER_EVENT_NOTIFIER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "producer/blotter.h"

typedef void event_notifier_callback(void *arg, enum blotter_event, const char *text);

/* The things that Redis may refuse. */
enum refused { REFUSED_SENDING, REFUSED_CONFIRMING, REFUSED_THINGS };

struct event_notifier {
    event_notifier_callback *on_event; /* may be NULL */
    void *arg;
    const char *place;                            /* of the last connection */
    char down[160], refused[REFUSED_THINGS][160]; /* "": it is not */
    int told;                                     /* UP, DOWN or REFUSES; -1: nothing yet */
    bool told_full, told_evicted, told_not_synced, told_clock;
    uint64_t full_seen;
    pthread_mutex_t mutex; /* of what follows */
    int64_t error_at_ns;
    char last_error[160];
};

void event_notifier_init(struct event_notifier *, event_notifier_callback *on_event, void *arg);
void event_notifier_release(struct event_notifier *);

/* Tells of an event as it is. */
void event_notifier_event(struct event_notifier *, enum blotter_event, const char *text);

/* Tells that the connection is up: place, borrowed; or is not: why. */
void event_notifier_up(struct event_notifier *, const char *place);
void event_notifier_down(struct event_notifier *, const char *why);

/* Tells that Redis answers this with an error, or does not: NULL. */
void event_notifier_refused(struct event_notifier *, enum refused, const char *error);

/* Tells that the journal is full. full: how often it was so far; held: places taken of so many
 * slots. */
void event_notifier_full(struct event_notifier *, uint64_t full, uint64_t held, uint64_t slots);

/* Tells that so many records were found damaged when the journal was opened; once, and sets it to
 * 0. */
void event_notifier_damaged(struct event_notifier *, uint64_t *records, const char *path);

/* Tells how msync of the journal at this path ended: 0, or errno. */
void event_notifier_synced(struct event_notifier *, int error, const char *path);

/* Tells, once for each connection, why the journal is left alone. */
void event_notifier_left_alone(struct event_notifier *, const char *why);

/* Tells that the wall clock is so far ahead of where it was that it is not believed; 0: it is. */
void event_notifier_clock(struct event_notifier *, int64_t jump_ns);

/* Tells that so many sent records were evicted, or that this is over. */
void event_notifier_evicted(struct event_notifier *, uint64_t records);
void event_notifier_eviction_over(struct event_notifier *);

/* Fills in last_error and last_error_at_ns. */
void event_notifier_stats(struct event_notifier *, struct blotter_stats *);

#endif
