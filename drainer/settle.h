/* settle.h: says that a batch is committed: XACK to the group, and word to each producer of what is settled. */
#ifndef BLOTTER_DRAINER_SETTLE_H
#define BLOTTER_DRAINER_SETTLE_H

#include <stdbool.h>

#include "drainer/batch.h"
#include "producer/redis_link.h"

struct streams;

/* Sends, in one pipeline, the acknowledgements of the batch's entries and the words. acknowledge false: the entries were read on
 * another connection, where their ids may be other records: only the words are given, which are true anywhere.
 * on_acked gets each XACK's answer (an integer) with the number of ids it named as tag. Returns the number of words. */
size_t settle_batch(struct redis_link *, const struct batch *, const struct streams *, bool acknowledge,
                    redis_link_reply *on_acked);

#endif
