/* chaos_rejects.h: that of a desk whose clock is wrong every record is a reject, once, byte for
 * byte as it was sent. */
#ifndef BLOTTER_TESTS_CHAOS_REJECTS_H
#define BLOTTER_TESTS_CHAOS_REJECTS_H

#include "tests/fixture/proof.h"

/* The part of a reject's reason that marks it as one of these. */
#define CHAOS_REJECTED_FOR "recorded_at: % is out of range %"

enum { CHAOS_OF_NONSENSE = 5 }; /* the producer_id in what is no record, where it has one */

/* The first reject that is not as it should be, or is missing, in words; "" when all is well. Sorts
 * the records. */
const char *chaos_wrong_rejects(struct proof *);

#endif
