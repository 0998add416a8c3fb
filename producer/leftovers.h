/* leftovers.h: journals that a producer found and does not write to, as they are of another size or
 * format, or for another Redis: it sends what is in them, until all of it is committed.
 *
 * On the thread that runs the base. */
#ifndef BLOTTER_PRODUCER_LEFTOVERS_H
#define BLOTTER_PRODUCER_LEFTOVERS_H

#include <stdint.h>

#include "producer/journal_open.h"
#include "producer/sender.h"

struct leftovers;

/* Opens those of the journals that no other process has, with senders like the one described.
 * Returns NULL where there is none to send. */
struct leftovers *leftovers_create(const struct sender_options *, const struct journal_others *);
void leftovers_destroy(struct leftovers *); /* takes NULL */

/* Counts those that are for another Redis, and left alone. Takes NULL. Any thread. */
int64_t leftovers_left_alone(const struct leftovers *);

#endif
