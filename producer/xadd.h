/* xadd.h: a journal's records as the commands that put them into its stream. One thread. */
#ifndef BLOTTER_PRODUCER_XADD_H
#define BLOTTER_PRODUCER_XADD_H

#include <stdbool.h>
#include <stddef.h>

#include "producer/journal.h"

enum { XADD_PREFIX_BYTES = 192 };

struct xadd {
    const struct journal *journal;
    const char *stream;
    bool existing_only; /* the stream is not made where it is missing: the answer is nil then */
    size_t prefix_length[2][RECORD_WIRE_KINDS];
    char prefix[2][RECORD_WIRE_KINDS][XADD_PREFIX_BYTES]; /* [existing_only]: up to the record */
    char *bytes;                                          /* one command */
};

/* Borrows both. False: out of memory. */
bool xadd_init(struct xadd *, const struct journal *, const char *stream);
void xadd_release(struct xadd *);

/* Returns the whole command in RESP for a record, valid until the next one. NULL: it is of no kind
 * that is known, or longer than a slot is. */
const char *xadd_command(struct xadd *, const struct journal_slot *, size_t *length);

#endif
