/* doorbell.h: a connection that only waits, in a blocking XREAD, until a stream has something new.
 * It never takes an entry: its answer just says that reading is worth while. One thread; never
 * blocks the loop. */
#ifndef BLOTTER_DRAINER_REDIS_DOORBELL_H
#define BLOTTER_DRAINER_REDIS_DOORBELL_H

#include "drainer/redis/streams.h"
#include "producer/redis_link.h"

struct doorbell;

/* link: as for the reading connection; its on_change and owner are not used. on_ring: something may
 * be there. */
struct doorbell *doorbell_create(const struct redis_link_options *link, struct streams *,
                                 void (*on_ring)(void *owner), void *owner, char *error,
                                 size_t error_size);
void doorbell_destroy(struct doorbell *);
void doorbell_start(struct doorbell *);

/* Waits behind the last id read of every stream that is being read, if it does not wait already. */
void doorbell_arm(struct doorbell *);

#endif
