/* confirm.h: which records the drainer says are committed, and whether silence means that Redis has
 * lost some.
 *
 * The drainer's word (blotter-ack:...) is the only thing that settles a record. Redis' own state is
 * looked at only to decide whether to send again: see confirm_look. One thread, that of the sender.
 */
#ifndef BLOTTER_PRODUCER_CONFIRM_H
#define BLOTTER_PRODUCER_CONFIRM_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/eviction.h"
#include "producer/journal.h"

struct redis_link;
struct confirm;

struct confirm_options {
    struct journal *journal;
    struct redis_link *link;
    const char *stream;
    void *owner;
    void (*on_answered)(void *owner);              /* everything asked by confirm_ask is answered */
    void (*on_settled)(void *owner);               /* perhaps more is settled */
    void (*on_lost)(void *owner, const char *why); /* what is open and sent should be sent again */
    /* What is asked here is answered with an error; or no longer: NULL. */
    void (*on_refused)(void *owner, const char *error);
};

struct confirm *confirm_create(const struct confirm_options *); /* NULL: out of memory */
void confirm_destroy(struct confirm *);                         /* takes NULL */

/* The sender has read the record at `position`: whose it is. In order, each as often as it likes.
 */
void confirm_note_record(struct confirm *, uint64_t position, const struct journal_slot *);
/* Redis has answered for it with this entry id. */
void confirm_note_entry(struct confirm *, uint64_t position, uint64_t ms, uint64_t seq);
/* There is nothing to confirm at `position`. */
void confirm_skip(struct confirm *, uint64_t position);

bool confirm_is_settled(const struct confirm *, uint64_t position);
/* Everything below is settled. */
uint64_t confirm_committed(const struct confirm *);
/* The first position from `floor` on that is not settled. */
uint64_t confirm_first_open(const struct confirm *, uint64_t floor);
uint64_t confirm_open_within(const struct confirm *, uint64_t from, uint64_t to);

/* A new connection: perhaps another server, so words are read from their beginning again, and,
 * before on_answered, the newest record that was sent is looked for: whether what an earlier
 * connection has sent is there. */
void confirm_on_up(struct confirm *);
/* Reads new words for records below `sent`. False: there is nothing to ask, or an answer is still
 * to come. */
bool confirm_ask(struct confirm *, uint64_t sent);
/* Looks for signs that the oldest open record (first < sent) is lost. pressed: the journal needs
 * room, so that less patience is in place. */
void confirm_look(struct confirm *, uint64_t first, uint64_t sent, bool pressed, int64_t now_ms);
/* Has the last look seen such signs, or an error? */
bool confirm_is_strange(const struct confirm *);
/* What the last look has seen waiting in the stream: only of these may some be let go. */
struct waiting confirm_waiting(const struct confirm *);

#endif
