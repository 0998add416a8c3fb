/* lease.h: which streams this drainer loads: those whose PostgreSQL advisory lock its loading
 * session holds.
 *
 * Session-level locks on the very connection that loads are an exact fence: when another gets the
 * lock, the predecessor's transaction has committed or rolled back. Every drainer also holds one
 * lock in common, shared; how many do is how many drainers there are, and each takes its share of
 * the streams: all of them divided by the drainers, rounded up. */
#ifndef BLOTTER_DRAINER_POSTGRES_LEASE_H
#define BLOTTER_DRAINER_POSTGRES_LEASE_H

#include <stdbool.h>

#include "drainer/postgres/pg_link.h"
#include "drainer/redis/streams.h"

struct lease;

struct lease_options {
    struct streams *streams;
    bool take_all; /* take every free stream, whatever the share */
    unsigned interval_ms;
    void (*on_taken)(void *owner, struct stream *); /* its lock is held from now on */
    void (*on_done)(void *owner, const struct pg_failure *);
    void *owner;
};

/* To be run on every new session: joins the drainers. */
#define LEASE_MEMBERS_CLASS \
    "1651273589" /* blotter_internal.lock_class() + 1: the drainers' common lock, in the two-number form */
#define LEASE_JOIN_SQL "SELECT pg_try_advisory_lock_shared(" LEASE_MEMBERS_CLASS ", 1)"

struct lease *lease_create(struct pg_link *, const struct lease_options *);
void lease_destroy(struct lease *);

/* Is it time to look, or something to give up? */
bool lease_due(const struct lease *);

/* Looks at the shares, unlocks streams that are LEAVING with nothing in hand, takes free ones,
 * marks those over the share as LEAVING. Uses the link until on_done. */
void lease_run(struct lease *);

/* Asks that the stuck holder of a stream be terminated at the next run. */
void lease_fence(struct lease *, struct stream *);

/* The session is gone, and its locks with it: every stream is FREE. */
void lease_forget(struct lease *);

unsigned lease_members(const struct lease *); /* drainers seen at the last run, this one included */

#endif
