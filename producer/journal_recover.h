/* journal_recover.h: taking over what an owner that is gone has left behind. */
#ifndef BLOTTER_PRODUCER_JOURNAL_RECOVER_H
#define BLOTTER_PRODUCER_JOURNAL_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/journal.h"

/* Fills in the kernel's boot id; "" if the kernel does not say. */
void journal_boot_id(char out[40]);

/* Decides `next` and every slot, closes for a dead owner, fills in `found` and `follows`; with
 * no_sender also the sender's cursors. The caller holds the writer's lock. Leaves the journal
 * CLOSED. */
void journal_recover(struct journal *, bool no_sender);

/* Asks, for the sender, whether the writer is dead. Then what it could not write is written
 * (`void`; `closed`, once there is room for it), and the writer's lock given back. Call it now and
 * then. Returns whether the journal has no living writer now. */
bool journal_adopt(struct journal *);

/* Mends, for the sender of a living writer, those cursors that no sender can have left so. False:
 * the writer is still opening the journal. */
bool journal_mend_cursors(struct journal *);

struct journal_picture {
    uint32_t version, slots, slot_bytes;
    char exchange[40], lane[40], host[64];
    int64_t producer_id, pid, opened_ns;
    bool owner_valid, closed;
    uint64_t base, next, sent, committed, floor;
    uint64_t valid, unpublished, damaged; /* of the positions from floor to next */
    uint64_t unsent, unconfirmed;         /* valid ones: not yet sent; sent and not confirmed */
    uint64_t file_bytes, expected_bytes;
    struct journal_target target; /* url "": not known */
};

/* Looks at a journal without locking or changing it; of one in use it is a picture that was never
 * quite true. Returns 0, or SYSTEM, CORRUPT, FORMAT with a text. */
int journal_inspect(const char *path, struct journal_picture *, char error[JOURNAL_ERROR_BYTES]);

/* Called for each valid record, in order; the slot is a copy, of this call only. state: "unsent",
 * "unconfirmed" or "committed". */
typedef void journal_inspector(void *arg, uint64_t position, const struct journal_slot *slot,
                               const char *state);

/* Does the same, and shows the records. each: NULL: none. */
int journal_inspect_records(const char *path, journal_inspector *each, void *arg,
                            struct journal_picture *, char error[JOURNAL_ERROR_BYTES]);

#endif
