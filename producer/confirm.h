/* confirm.h: which records the drainer has confirmed.
 *
 * Confirmations (blotter-ack:...) are the only thing that settles a record. They are entries of one
 * stream per producer_id, each a list of ranges of seq. A journal may hold records of several
 * producers, one after the other: each is a segment, known from the records themselves.
 *
 * One thread, that of the sender. */
#ifndef BLOTTER_PRODUCER_CONFIRM_H
#define BLOTTER_PRODUCER_CONFIRM_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/journal.h"
#include "producer/refusals.h"
#include "schema/stream.h"

struct redis_link;
struct confirm;

struct confirm_options {
    struct journal *journal;
    struct redis_link *link;
    struct refusals *refusals;
    const char *stream;
    uint64_t sent; /* confirmations count for positions below: see confirm_note_entry */
    void *owner;
    void (*on_answered)(void *owner); /* everything asked by confirm_ask is answered */
    void (*on_settled)(void *owner);  /* perhaps more is settled */
};

struct confirm *confirm_create(const struct confirm_options *); /* NULL: out of memory */
void confirm_destroy(struct confirm *);                         /* takes NULL */

/* Tells whose the record at `position` is. In order, each as often as it likes. */
void confirm_note_record(struct confirm *, uint64_t position, const struct journal_slot *);

/* Tells that Redis has answered for it with this entry id, which the slot keeps from then on.
 * Positions beyond may be sent by another journal, a copy of this one, so what is confirmed of them
 * does not count. */
void confirm_note_entry(struct confirm *, uint64_t position, struct stream_entry_id);

/* Returns the entry id that the slot keeps; 0-0: not known. */
struct stream_entry_id confirm_entry(const struct confirm *, uint64_t position);
void confirm_forget_entry(struct confirm *, uint64_t position);

/* Tells that there is nothing to confirm at `position`. */
void confirm_skip(struct confirm *, uint64_t position);

bool confirm_is_settled(const struct confirm *, uint64_t position);
/* Says whether it is neither settled nor evicted. */
bool confirm_is_open(const struct confirm *, uint64_t position);
/* Returns the position below which everything is settled. */
uint64_t confirm_committed(const struct confirm *);
/* Returns the first position from `floor` on that is not settled. */
uint64_t confirm_first_open(const struct confirm *, uint64_t floor);
/* Returns the last position below `sent` that is not settled; 0: none. */
uint64_t confirm_last_open(const struct confirm *, uint64_t sent);
uint64_t confirm_open_within(const struct confirm *, uint64_t from, uint64_t to);

/* Tells of a new connection: perhaps another server, so confirmations are read from their beginning
 * again. */
void confirm_on_up(struct confirm *);

/* Reads new confirmations of records below `sent`. False: there is nothing to ask, or an answer is
 * still to come. */
bool confirm_ask(struct confirm *, uint64_t sent);

#endif
