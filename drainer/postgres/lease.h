/* lease.h: which streams this drainer loads: those whose PostgreSQL advisory lock its loading
 * session holds.
 *
 * Session-level locks on the very connection that loads are an exact fence: when another drainer
 * gets the lock, the transaction of its predecessor has committed or rolled back. All drainers of
 * the same streams also hold one lock in common, shared; the number of its holders is the number of
 * drainers, and each takes its share of the streams: all of them divided by the drainers, rounded
 * up.
 *
 * A run compares the locks that the drainer believes it holds with those that PostgreSQL says it
 * holds, and gives the session up when they differ: a pooler, or somebody, has taken them away. */
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
    const char *pattern; /* of the streams: drainers of other patterns are not counted */
    void (*on_taken)(void *owner, struct stream *); /* its lock is held from now on */
    void (*on_done)(void *owner, const struct pg_failure *);
    void *owner;
};

struct lease *lease_create(struct pg_link *, const struct lease_options *);
void lease_destroy(struct lease *);

/* Tells whether it is time for a run, or a stream is to be given back. records_wait: to be read
 * or loaded. */
bool lease_due(const struct lease *, bool records_wait);

/* Returns the time from one run to the next. Streams that change hands are read by nobody, so both
 * sides hurry then. */
unsigned lease_interval_ms(const struct lease *);

/* Looks at the shares, unlocks streams that are LEAVING with nothing in a batch, takes free ones,
 * marks those over the share as LEAVING. Uses the link until on_done. */
void lease_run(struct lease *);

/* Asks that the stuck holder of a stream be terminated at the next run. */
void lease_fence(struct lease *, struct stream *);

/* Asks that sessions which are no drainer's, and hold a lock that loading waits for, be named in
 * the log at the next run. */
void lease_name_blockers(struct lease *);

/* Gives half of the streams back, as PostgreSQL's table of locks is full, and takes no more than
 * the rest for ten minutes. */
void lease_relieve(struct lease *);

/* Forgets a session that is gone, and its locks: every stream is FREE. */
void lease_forget(struct lease *);

unsigned lease_members(const struct lease *); /* drainers seen at the last run, this one included */

#endif
