/* chaos_desk.h: a process of strategies: two producers of two exchanges in a process that can be
 * killed at any instruction. The first sends by a thread of its own, the second leaves it to the
 * shipper; some have lanes.
 *
 * What it has accepted it appends to a file for each producer, as it goes: so the file says at most
 * one record too few, the one whose submit was under way when the process was killed. */
#ifndef BLOTTER_TESTS_CHAOS_DESK_H
#define BLOTTER_TESTS_CHAOS_DESK_H

#include "tests/fixture/proof.h"

enum {
    CHAOS_EXCHANGES = 5,
    CHAOS_GOOD_DESKS = 5, /* what they accept is stored */
};
#define CHAOS_CLOCK_DESKS \
    1 /* those behind; what they accept is rejected, for their clock is two days ahead */
enum { CHAOS_DESK_PRODUCERS = 2 };

#define CHAOS_DESK_LISTENS "listens" /* what it says on stdout once signals do not just kill it */

extern const char *const chaos_exchanges[CHAOS_EXCHANGES];

/* Returns the exchange that a desk's producer serves: two desks serve each. */
unsigned chaos_desk_exchange(unsigned desk, unsigned producer);

/* The process: `PROGRAM desk NUMBER FOLDER TIME_NS BEGAN_MS DURATION_MS PER_SECOND`. It submits so
 * many a second since the beginning, what was due while it was stopped or dead as soon as it can.
 * SIGTERM: closes within a second, whatever is sent by then; SIGINT: waits until everything that is
 * due is submitted, and committed, then closes. Its exit status: 0, or 1 where something that
 * should not happen has. */
int chaos_desk_main(int argc, char **argv);

/* Counts the records of one exchange that these desks noted as accepted, and those that they may
 * have accepted. Returns how often a desk had to wait for room in its journal. */
unsigned chaos_desk_collect(const char *folder, unsigned first_desk, unsigned desks,
                            unsigned exchange, struct proof *);

#endif
