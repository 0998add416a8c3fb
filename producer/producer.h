/* producer.h: the handle behind blotter.h, for producer.c and submit.c.
 *
 * Life of a handle. A thread may call in at any time, also while another closes or long after. The
 * handle lies on its journal's page, which turns to zeroes when it is closed (journal_handle.h), so
 * each call asks journal_state() first, and zero is what says closed. What the handle points to is
 * protected in two ways. Submitting, which must cost nothing, is answered by the journal, whose
 * `next` is CLOSED in the same compare-and-swap that would have claimed. All else goes between
 * producer_enter and producer_leave, which count the threads inside; close waits until there is
 * none.
 *
 * Cancellation. A thread that is cancelled inside would be counted for ever, or keep a lock. So it
 * is not cancelled there, but in blotter_wait, which cleans up. */
#ifndef BLOTTER_PRODUCER_PRODUCER_H
#define BLOTTER_PRODUCER_PRODUCER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "producer/blotter.h"
#include "producer/histogram.h"
#include "producer/journal.h"
#include "producer/public.h"

struct blotter_producer {
    struct journal journal; /* first: both begin where the page does */
    bool wake;              /* each submit wakes the sender */
    enum blotter_sender kind;
    _Atomic bool closing; /* blotter_close was called */
    _Atomic bool open;
    _Atomic unsigned inside; /* threads between enter and leave */
    _Atomic int64_t invalid, misplaced;
    struct sender *sender;       /* NULL: none, or closed */
    struct producer_loop *loop;  /* of BLOTTER_SENDER_THREAD */
    struct event_base *base;     /* the loop's, or the caller's */
    struct leftovers *leftovers; /* journals of others that are sent, too; may be NULL */
    struct histogram submit_ns;
};
_Static_assert(sizeof(struct blotter_producer) <= JOURNAL_PAGE_BYTES, "it lies on one page");

/* Enters a call. False: the producer is closed. Cancellation is off until producer_leave. */
bool producer_enter(blotter_producer *, int *cancel_state);
void producer_leave(blotter_producer *, int cancel_state);

#endif
