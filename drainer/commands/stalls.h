/* stalls.h: which streams have records that wait and do not move, and why, as far as Redis and
 * PostgreSQL can tell; for `status` and `check`. What a drainer itself knows is in its log and its
 * /readyz. */
#ifndef BLOTTER_DRAINER_COMMANDS_STALLS_H
#define BLOTTER_DRAINER_COMMANDS_STALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "drainer/redis/stream_survey.h"

struct pg;
struct report;

/* The state of loading, as PostgreSQL knows it. */
struct load_facts {
    int64_t open_rejects, open_incidents, drainers;
    double last_load_seconds; /* negative: never */
    double books_lag_seconds; /* age of the oldest record not booked; 0: there is none */
    char blocked[512];        /* a drainer waits for a lock: whose; "" none does */
    char foreign_lock[512];   /* somebody else holds an advisory lock of drainers; "" nobody */
    bool read_only;
};

/* Asks PostgreSQL. False: on failure, which has been printed. */
bool load_facts_read(struct load_facts *, struct pg *);

/* Says whether the server is a master. False also where it does not tell, or the connection is
 * lost. */
bool stalls_redis_is_master(struct redis *);

/* Finds the streams that have waited for longer than max_behind_ms (0: 5 s). Columns stream,
 * since_s, why. The report is the caller's. */
struct report *stalls_find(const struct stream_survey *, const struct load_facts *,
                           bool redis_is_master, int64_t max_behind_ms);

/* Adds a row for what one node of a cluster does not show, where the URL is not the cluster's. */
void stalls_add_part_of_cluster(struct report *, struct redis *);

#endif
