/* book_rows.h: what a record says to the books, as a row of blotter_internal.book_queue.
 *
 * Coarse: every record that may be an execution of ours, a cash entry or an instrument. The books'
 * SQL decides what it is. */
#ifndef BLOTTER_DRAINER_BOOK_ROWS_H
#define BLOTTER_DRAINER_BOOK_ROWS_H

#include <stdint.h>

#include "drainer/copy.h"
#include "schema/record.h"

/* Adds the row of the record whose encoded columns begin at these offsets in rows; nothing if it
 * says nothing to the books. */
void book_rows_put(const struct record *, const struct copy_buffer *rows,
                   const uint32_t columns[RECORD_FIELDS_MAX], struct copy_buffer *out);

/* Returns the columns of such a row, for COPY. */
const char *book_rows_columns(void);

#endif
