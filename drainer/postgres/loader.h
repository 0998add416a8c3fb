/* loader.h: loads a batch into PostgreSQL: in one transaction, or, when a record is at fault, in
 * several, by bisecting.
 *
 * Fresh entries go by COPY straight into the tables; a careful batch goes through staging and ON
 * CONFLICT DO NOTHING. Days are made on demand; records of days no longer kept become
 * ENTRY_EXPIRED. One batch at a time; one thread. */
#ifndef BLOTTER_DRAINER_POSTGRES_LOADER_H
#define BLOTTER_DRAINER_POSTGRES_LOADER_H

#include <stdbool.h>

#include "drainer/batch.h"
#include "drainer/order_changes.h"
#include "drainer/postgres/load_stats.h"
#include "drainer/postgres/pg_link.h"

struct loader;

struct loader_options {
    const char *drainer; /* who loads, for blotter_internal.progress and blotter.rejects */
    bool keep_orders;    /* merge into blotter.orders */
    bool replays;        /* what is in blotter.rejects: that is not written to */
    bool dry_run;        /* every transaction is rolled back */
    unsigned lock_ms;    /* the session's lock_timeout; 0: not known */
    const struct text_set *venues_by_symbol,
        *terminal_statuses; /* borrowed; order_changes.h says what for */
};

/* failure NULL: every entry of the batch is settled and committed. With a failure, and the batch
 * BATCH_COMMITTED: all but those of the streams that are held_up. Else nothing of it may be
 * acknowledged; with 55P03 others have to come before the streams that are held_up. */
typedef void loader_done(void *owner, struct batch *, const struct pg_failure *failure);

struct loader *loader_create(struct pg_link *, const struct loader_options *);
void loader_destroy(struct loader *);

void loader_load(struct loader *, struct batch *, loader_done *, void *owner);

/* Forgets what was known of the old session's server (days, mode), as there is a new one. */
void loader_forget_session(struct loader *);

/* Says whether a duplicate was met recently, so that batches had better be careful. */
bool loader_is_careful(const struct loader *);

/* Returns how long batches are careful after a duplicate, which cost a COPY in vain: a while, and
 * twice as long as before where duplicates come in numbers. before_ms: how long they were last, 0:
 * never; since_ms: how long ago that ended. */
unsigned loader_careful_ms(unsigned before_ms, int64_t since_ms);

const struct load_stats *loader_stats(const struct loader *);

#endif
