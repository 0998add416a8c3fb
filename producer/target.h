/* target.h: whether a Redis is the one that a journal's records are for.
 *
 * Each stream has a random id in Redis (blotter-id:{stream}), made by the first process that needs
 * it. The journal's header keeps the URL, without credentials, and from the first connection on the
 * id.
 *
 *     the same id or the same URL   the records are sent: neither a renamed Redis, a move to
 *                                   Sentinel, nor a FLUSHALL after which another id was drawn
 *                                   strands them
 *     no id there                   the journal's own is put back, and the records are sent
 *     no id in the journal yet      the records have reached no Redis, perhaps by a wrong URL: they
 *                                   are sent to this one
 *     another id and another URL    the records are left alone
 *
 * If Redis does not let us read the id, only the URL tells.
 *
 * One thread, that of the sender. */
#ifndef BLOTTER_PRODUCER_TARGET_H
#define BLOTTER_PRODUCER_TARGET_H

#include <stdbool.h>

#include "producer/journal.h"
#include "producer/refusals.h"
#include "schema/stream.h"

struct redis_link;

struct target {
    struct journal *journal;
    struct redis_link *link;
    struct refusals *refusals;
    bool retarget; /* the records are sent wherever the link leads */
    bool asking;
    char key[STREAM_KEY_BYTES];
    char made_id[STREAM_ID_DIGITS + 1];
    char left_alone[512]; /* why; "": it is not */
    void *owner;
    void (*on_known)(void *owner, bool ours);
};

/* Notes the URL in the journal's header if that has none. */
void target_init(struct target *, const char *stream);

/* Asks for the id; on_known is called with the answer. To be called again, now and then, until it
 * was. */
void target_ask(struct target *);

/* Begins anew for a new connection. */
void target_on_up(struct target *);

#endif
