/* shipment.h: one journal that `blotter ship` sends for. Its writer lives, and has no sender of its
 * own; or it has died, and then the shipment writes what it could not, sends all of it, and removes
 * the file when PostgreSQL has everything.
 *
 * One thread, that of the event base. */
#ifndef BLOTTER_DRAINER_COMMANDS_SHIPMENT_H
#define BLOTTER_DRAINER_COMMANDS_SHIPMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/journal.h"

struct event_base;
struct sender;
struct settings;

/* FOLLOWED   a process writes it
 * ADOPTED    its writer is dead
 * DONE       dead, and everything is committed: close it
 * CLAIMED    a new owner, which sends by itself, waits for the journal: close it */
enum shipment_state { SHIPMENT_FOLLOWED, SHIPMENT_ADOPTED, SHIPMENT_DONE, SHIPMENT_CLAIMED };

struct shipment {
    struct shipment *next; /* for the list of who has many */
    struct journal *journal;
    struct sender *sender;
    const char *name; /* of the file, without its folder */
    bool adopted;     /* as the log has it */
    bool hurried;     /* a caller waits for its end */
    uint64_t first,
        end; /* the positions that were there when it was taken; all of a dead writer's */
};

/* Records, by position: also the library's own, and those that were sent or committed before. */
struct shipment_counts {
    int64_t sent, committed;
    int64_t left; /* of what was there when it was taken: not yet sent; with `committed` of the
                     settings, not yet committed */
};

/* Returns 0, or a blotter_status with a text; BUSY: somebody else sends for it. */
int shipment_open(struct shipment **, const char *path, struct event_base *,
                  const struct settings *, char error[JOURNAL_ERROR_BYTES]);

/* Says whether that file is its journal: not if another one has taken its name. */
bool shipment_is(const struct shipment *, const char *path);

/* Returns why its records are not sent, as they are for another Redis. NULL: they are sent. */
const char *shipment_left_alone(const struct shipment *);

/* Looks for new records. */
void shipment_poll(struct shipment *);

/* Looks what has become of the journal's writer. To be called now and then. */
enum shipment_state shipment_look(struct shipment *);

struct shipment_counts shipment_counts(const struct shipment *, const struct settings *);

/* Returns what Redis, or the connection to it, says; "": all is well. Valid until the next call. */
const char *shipment_trouble(const struct shipment *);

/* Lets go of the journal, and removes its file if nothing more is to be done with it. Not from a
 * callback of the base. */
void shipment_close(struct shipment *);

#endif
