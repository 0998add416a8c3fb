/* load_transaction.h: what one loading transaction sends to PostgreSQL: one string of statements,
 * BEGIN to COMMIT, and the data of its COPYs.
 *
 * Fresh rows are copied straight into their tables, the rows of a careful batch into staging
 * tables. Beside them go rejects, progress, expired records, the merge of orders, and the counter
 * of each stream that PostgreSQL's and Redis' histories are compared by. One thread. */
#ifndef BLOTTER_DRAINER_POSTGRES_LOAD_TRANSACTION_H
#define BLOTTER_DRAINER_POSTGRES_LOAD_TRANSACTION_H

#include <stdbool.h>

#include "drainer/batch.h"
#include "drainer/order_changes.h"
#include "drainer/postgres/bisect.h"
#include "drainer/postgres/pg_link.h"

struct load_transaction;

struct load_transaction_options {
    const char *drainer;
    bool keep_orders; /* merge into blotter.orders */
    bool replays;     /* the entries are in blotter.rejects, which is not written to */
    const struct text_set *venues_by_symbol, *terminal_statuses; /* borrowed */
};

enum load_end { LOAD_COMMIT, LOAD_ROLLBACK };

struct load_transaction *load_transaction_create(const struct load_transaction_options *);
void load_transaction_destroy(struct load_transaction *); /* takes NULL */

/* Makes the transaction of a part of a batch. It borrows from the batch until the next one is made.
 * lock_ms: how long it waits for a lock; 0: as long as the session does. */
void load_transaction_build(struct load_transaction *, const struct batch *, struct batch_range,
                            unsigned lock_ms, enum load_end);

/* Returns the command for pg_link_run(), without callbacks. */
struct pg_command load_transaction_command(struct load_transaction *);

/* Returns the table of a COPY that has stored fewer rows than it was given, because a trigger has
 * dropped some; NULL: there is none. */
const char *load_transaction_short_table(const struct load_transaction *, size_t *sent,
                                         size_t *stored);

/* Returns how many rows it queues for the books, but for those that staging queues. */
size_t load_transaction_queued(const struct load_transaction *);

/* Raises the counters of the streams as PostgreSQL has: the transaction is committed. */
void load_transaction_committed(struct load_transaction *);

#endif
