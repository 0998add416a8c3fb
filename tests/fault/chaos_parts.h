/* chaos_parts.h: the parts that chaos breaks: how each is started, broken and healed.
 *
 *     desks, shipper ──── line ────► redis ◄──── line ──── drainers ──── line ────► postgres
 *
 * The shipper sends for those producers of the desks that do not send themselves, and for desks
 * that are dead. Drainers are started again when they end, as systemd would; they may end where a
 * server cannot be reached, and not otherwise. Desks may not end. */
#ifndef BLOTTER_TESTS_CHAOS_PARTS_H
#define BLOTTER_TESTS_CHAOS_PARTS_H

#include <stdbool.h>

#include "tests/fault/chaos_schedule.h"
#include "tests/fault/chaos_takeover.h"
#include "tests/fixture/proxy.h"
#include "tests/fixture/story.h"

struct chaos_worker {
    struct fixture_program *program;
    bool wanted; /* to run */
    int64_t start_at_ms;
};

struct chaos {
    const char *folder; /* what the desks note, and their journals */
    int64_t time_ns;    /* of the first order */
    int64_t duration_ms;
    int per_second; /* of one desk */
    struct chaos_worker drainers[CHAOS_DRAINER_COUNT], desks[CHAOS_DESK_COUNT], shipper;
    struct fixture_proxy *desk_lines[CHAOS_DESK_LINE_COUNT], *redis_lines[CHAOS_REDIS_LINE_COUNT],
        *postgres_lines[CHAOS_POSTGRES_LINE_COUNT];
    PGconn *locker;
    struct chaos_takeover takeover;
    int64_t began_ms;
    struct chaos_kills {
        int tried, seen;
    } kills[CHAOS_PART_COUNT];
    int restarts; /* of drainers and shippers that had ended by themselves */
};

void chaos_parts_start(struct chaos *);

/* Breaks, or heals. */
void chaos_parts_do(struct chaos *, const struct chaos_step *);

/* Starts what is to run and does not; to be called all the time. */
void chaos_parts_tend(struct chaos *);

/* Ends the desks, once everything they accepted is committed, and the shipper, once no journal is
 * left. */
void chaos_parts_finish(struct chaos *);

#endif
