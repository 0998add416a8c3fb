/* loss.h: whether Redis has lost records that were sent.
 *
 * A confirmation is the only thing that settles a record; Redis' own state is looked at only to
 * decide whether to send again. A wrong guess costs duplicates, which PostgreSQL drops.
 *
 * Check. A new connection may lead to another server, or to one that has lost its newest entries,
 * or all of them; and a new sender knows from the journal only where records were once. So on each
 * connection the newest and the oldest open record are looked for, by the entry ids that their
 * slots keep. Until both were found, nothing counts as sent.
 *
 * Look. While the oldest open record waits in the stream (not delivered, or delivered and pending,
 * or there is no group yet), PostgreSQL or the drainer is away, and sending again would only
 * multiply the stream. When its entry is gone, or was delivered and is no longer pending, and for a
 * while still no confirmation comes, then something has happened that nobody here can tell
 * (FLUSHALL, a stale replica, DELCONSUMER, SETID, a foreign XACK or XTRIM, an expired
 * confirmation), and everything open is sent again.
 *
 * An id says little of a server that has forgotten: it may have given the same to another record
 * since. So the entry found under it has to be ours, to the last byte of the identity.
 *
 * One thread, that of the sender. */
#ifndef BLOTTER_PRODUCER_LOSS_H
#define BLOTTER_PRODUCER_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/confirm.h"
#include "producer/eviction.h"
#include "producer/refusals.h"

struct redis_link;
struct loss;

struct loss_options {
    struct journal *journal;
    struct redis_link *link;
    struct confirm *confirm;
    struct refusals *refusals;
    const char *stream;
    void *owner;
    void (*on_checked)(void *owner);               /* the check is over; perhaps after on_lost */
    void (*on_lost)(void *owner, const char *why); /* send what is open and sent again */
};

struct loss *loss_create(const struct loss_options *); /* NULL: out of memory */
void loss_destroy(struct loss *);                      /* takes NULL */

/* Tells of a new connection. */
void loss_on_up(struct loss *);

/* Looks for the newest and the oldest open record below `sent`, from `floor` on. Calls on_checked
 * at once where there is none. To be called again, now and then, until on_checked was. */
void loss_check(struct loss *, uint64_t floor, uint64_t sent);

/* Looks for signs that the oldest open record (first < sent) is lost. pressed: the journal is
 * nearly full, so wait less. */
void loss_look(struct loss *, uint64_t first, uint64_t sent, bool pressed, int64_t now_ms);

/* Says whether the last look has seen such signs, or an error. */
bool loss_is_strange(const struct loss *);

/* Says whether confirmations should be read, and looks follow, as fast as they can. */
bool loss_is_impatient(const struct loss *);

/* Gives the records that the last look saw waiting in the stream: only these may be evicted. */
struct waiting loss_waiting(const struct loss *);

#endif
