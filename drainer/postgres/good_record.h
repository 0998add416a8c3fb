/* good_record.h: a record of each kind that nothing is wrong with, to find out whether PostgreSQL
 * can load any. */
#ifndef BLOTTER_DRAINER_POSTGRES_GOOD_RECORD_H
#define BLOTTER_DRAINER_POSTGRES_GOOD_RECORD_H

#include "drainer/batch.h"
#include "drainer/postgres/bisect.h"

/* Fills `good` with one record of each kind that the range has rows of, of the same days and loaded
 * in the same way. It is never committed. */
void good_record_fill(struct batch *good, const struct batch *, struct batch_range);

#endif
