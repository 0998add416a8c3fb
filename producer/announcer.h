/* announcer.h: what a sender lets people know: the callback on_event, once per change, and the last error for blotter_stats.
 *
 * The sender says what it finds as often as it likes; what was told last is remembered here. Its thread calls all of it but
 * announcer_stats, which any thread may. */
#ifndef BLOTTER_PRODUCER_ANNOUNCER_H
#define BLOTTER_PRODUCER_ANNOUNCER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "producer/blotter.h"

typedef void announcer_callback(void *arg, enum blotter_event, const char *text);

/* What Redis may refuse. */
enum refused { REFUSED_SENDING, REFUSED_CONFIRMING, REFUSED_THINGS };

struct announcer {
    announcer_callback *on_event; /* may be NULL */
    void *arg;
    const char *place;                            /* of the last connection */
    char down[160], refused[REFUSED_THINGS][160]; /* "": it is not */
    int told;                                     /* UP, DOWN or REFUSES; -1: nothing yet */
    bool told_full, told_let_go, told_not_synced;
    uint64_t full_seen;
    pthread_mutex_t mutex; /* of what follows */
    int64_t error_at_ns;
    char last_error[160];
};

void announcer_init(struct announcer *, announcer_callback *on_event, void *arg);
void announcer_release(struct announcer *);

/* Told as it is. */
void announcer_event(struct announcer *, enum blotter_event, const char *text);

/* The connection is up: place, borrowed; or is not: why. */
void announcer_up(struct announcer *, const char *place);
void announcer_down(struct announcer *, const char *why);

/* Redis answers this with an error, or does not: NULL. */
void announcer_refused(struct announcer *, enum refused, const char *error);

/* full: how often it was so far; held: places taken of so many slots. */
void announcer_full(struct announcer *, uint64_t full, uint64_t held, uint64_t slots);

/* So many records were found damaged when the journal was opened; told once, and set to 0. */
void announcer_damaged(struct announcer *, uint64_t *records, const char *path);

/* How msync of the journal at this path ended: 0, or errno. */
void announcer_synced(struct announcer *, int error, const char *path);

/* So many sent records were let go; that is over. */
void announcer_let_go(struct announcer *, uint64_t records);
void announcer_let_go_over(struct announcer *);

/* Fills in last_error and last_error_at_ns. */
void announcer_stats(struct announcer *, struct blotter_stats *);

#endif
