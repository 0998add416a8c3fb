/* mirror_lease.h: which streams this mirror reads, where several share them.
 *
 * The lease is soft: a key of Redis that ends by itself. A mirror that lost it without noticing
 * only stores records a second time, which QuestDB's keys make one row of. One thread. */
#ifndef BLOTTER_DRAINER_MIRROR_MIRROR_LEASE_H
#define BLOTTER_DRAINER_MIRROR_MIRROR_LEASE_H

#include <stdbool.h>

struct intake;
struct mirror_lease;
struct streams;

/* Makes a mirror's side of the leases. name: of this mirror, unique; takes_all: not only its fair
 * share. */
struct mirror_lease *mirror_lease_create(struct intake *, struct streams *, const char *name,
                                         bool takes_all);
void mirror_lease_destroy(struct mirror_lease *); /* takes NULL */

/* Asks for the streams that are found, and gives up those over the share. To be called every now
 * and then while Redis is connected. */
void mirror_lease_run(struct mirror_lease *);

/* Gives every lease back, so that others need not wait for their end. */
void mirror_lease_give_back(struct mirror_lease *);

bool mirror_lease_settled(
    const struct mirror_lease *); /* every stream that is there was asked for */
unsigned mirror_lease_members(const struct mirror_lease *); /* mirrors that share the streams */

#endif
