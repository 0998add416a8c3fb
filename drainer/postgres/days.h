/* days.h: which days' partitions are known to be there. PostgreSQL makes a day when it is asked for
 * it (blotter_internal.make_day), and says whether it is one that is kept. It is asked for the days
 * of a batch's records, and at noon (UTC) for the next day, so that nothing is made at midnight. */
#ifndef BLOTTER_DRAINER_POSTGRES_DAYS_H
#define BLOTTER_DRAINER_POSTGRES_DAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "drainer/batch.h"
#include "schema/limits.h"

struct sql_text;

#define US_PER_DAY INT64_C(86400000000)
#define DAY_FIRST                      \
    (LIMIT_RECORDED_AT_MIN_NS / 1000 / \
     US_PER_DAY) /* days since 1970; batch.c lets no earlier one through */
#define DAYS_MAX                                 \
    (INT64_MAX / 1000 / US_PER_DAY - DAY_FIRST + \
     1) /* to the end of 64 bits of nanoseconds, in 2262 */

struct days {
    uint8_t states[DAYS_MAX]; /* by days since DAY_FIRST */
    int64_t ahead; /* the last day that was asked for ahead, since 1970; once: its failure must not
                      stop today */
};

void days_forget(struct days *);

/* Writes the query that makes the days of these entries that are not known, some at once, and the
 * day that comes. False: all are known. now_s: since 1970. */
bool days_ask(struct days *, const struct batch *, size_t from, size_t to, int64_t now_s,
              struct sql_text *);

/* Takes that query's rows. */
void days_learn(struct days *, const PGresult *);

/* Marks entries of days that are no longer kept as ENTRY_EXPIRED, and rejects those of days that
 * are not made: too far back or ahead. */
void days_expire(const struct days *, struct batch *, size_t from, size_t to);

#endif
