/* order_changes.h: what a batch says of each order, as one row per order for
 * blotter_internal.merge_orders().
 *
 * The rules are those at the top of schema/sql/code/orders.sql, which makes the same of the events
 * that are stored; the two must agree.
 *
 * Works on encoded COPY rows, so it copies no values; rows are taken in as they are gathered, while
 * PostgreSQL is busy with the batch before. One thread. */
#ifndef BLOTTER_DRAINER_ORDER_CHANGES_H
#define BLOTTER_DRAINER_ORDER_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

#include "drainer/copy.h"

/* A set of short texts: what blotter_internal.venues and blotter_internal.terminal_statuses hold.
 */
struct text_set {
    struct text {
        char *bytes;
        size_t length;
    } * texts; /* the shortest first */
    size_t count, capacity;
};
void text_set_add(struct text_set *, const char *text, size_t length);
void text_set_release(struct text_set *);

struct order_changes;

/* Borrows the sets: venues that number orders per symbol; statuses that end an order, in lower
 * case. */
struct order_changes *order_changes_create(const struct text_set *venues_by_symbol,
                                           const struct text_set *terminal_statuses);
void order_changes_destroy(struct order_changes *);

/* Forgets all orders, keeps the memory. */
void order_changes_clear(struct order_changes *);

/* Takes the encoded row of order_events whose columns begin there, or that begins itself at the
 * offset. Until order_changes_clear() it is always the same buffer, which may grow and move, but
 * not change. */
void order_changes_add(struct order_changes *, const struct copy_buffer *rows,
                       const uint32_t *columns);
void order_changes_add_row(struct order_changes *, const struct copy_buffer *rows, size_t offset);

size_t order_changes_count(const struct order_changes *);

/* Writes a row per order, with the columns of order_changes_columns(). late: the events may be
 * stored already, or older than what is. */
void order_changes_put(const struct order_changes *, const struct copy_buffer *rows, bool late,
                       struct copy_buffer *);
const char *order_changes_columns(void);

#endif
