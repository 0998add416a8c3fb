/* journal_span.h: which positions a journal holds, and in what state each is. Works on a bare
 * mapping too, which inspection has. */
#ifndef BLOTTER_PRODUCER_JOURNAL_SPAN_H
#define BLOTTER_PRODUCER_JOURNAL_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/journal.h"

enum journal_slot_state { SLOT_VALID, SLOT_UNPUBLISHED, SLOT_DAMAGED };

struct journal_span {
    const struct journal *journal;
    uint64_t intact_bytes; /* of the file */
    uint64_t next, floor;
    bool same_boot, copied;
};

/* Decides next and floor: rule 2. */
void journal_decide_span(struct journal_span *);

/* Decides a slot's state, by rules 1, 3, 4 and 5. */
enum journal_slot_state journal_slot_state(const struct journal_span *, uint64_t position);

/* Returns the smaller of a cursor and its complement, or `otherwise` if that is no position within
 * [low, high]. */
uint64_t journal_hint(const struct journal_cursor *, uint64_t low, uint64_t high,
                      uint64_t otherwise);

#endif
