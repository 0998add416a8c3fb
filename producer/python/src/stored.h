/* stored.h: keeps records in memory as they would be stored, for tests of strategies. */
#ifndef BLOTTER_PYTHON_STORED_H
#define BLOTTER_PYTHON_STORED_H

#include "producer.h"

/* Does what blotter_submit() does, but encodes the records, decodes them as the drainer would, and
 * appends (kind, dict of fields) to the producer's tape. Returns the first seq, or a status. */
int64_t stored_submit(struct producer *, const struct blotter_entry *entries, size_t count);

/* Sets how long a record may be, as slots of this size would. 0: slots of the default size. */
void stored_set_slot(struct producer *, uint32_t slot_bytes);

/* Names the fault of the last record that was INVALID or TOO_LONG, "entry 0: price: ..." */
const char *stored_problem(void);

#endif
