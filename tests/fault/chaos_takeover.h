/* chaos_takeover.h: another Redis takes over, where the ids of the entries that drainers have in
 * hand are other records.
 *
 * That comes about where clocks differ. What a drainer read on the old connection it may not
 * acknowledge on the new one: it would acknowledge records that are not stored. These are trades
 * without identity, which nobody sends again: each that is acknowledged has to be stored.
 *
 *     LOCKING ► FILLING ► REREADING ► SETTLING ► OVER
 *
 * A lock keeps drainers from committing (FILLING) until the trades have been swapped in and read
 * (REREADING); a second one lets what was in hand commit and the trades not (SETTLING); then the
 * drainers' sessions are terminated, and the trades have to be read again. Nothing else may happen
 * to the servers meanwhile, or the trades may be lost rightly. */
#ifndef BLOTTER_TESTS_CHAOS_TAKEOVER_H
#define BLOTTER_TESTS_CHAOS_TAKEOVER_H

#include <libpq-fe.h>
#include <stdint.h>

struct chaos_takeover {
    enum {
        TAKEOVER_NONE,
        TAKEOVER_LOCKING,
        TAKEOVER_FILLING,
        TAKEOVER_REREADING,
        TAKEOVER_SETTLING,
        TAKEOVER_OVER
    } state;
    PGconn *lock, *next_lock;
    int64_t since_ms; /* in this state */
    int begun, whole; /* how many, and how many that went through all states */
    int64_t swapped, trades,
        expected;             /* trades put there by the last, by all; of these acknowledged */
    const char *acknowledged; /* their numbers: "1,2" */
};

void chaos_takeover_begin(struct chaos_takeover *);
void chaos_takeover_tend(struct chaos_takeover *); /* to be called all the time */
void chaos_takeover_end(struct chaos_takeover *);

/* Every trade that was acknowledged is stored, and none twice. */
void chaos_takeover_prove(const struct chaos_takeover *);

#endif
