/* chaos_schedule.h: what is broken when: a list drawn from a seed, the same list from the same
 * seed.
 *
 * Every part (each drainer, each line between two programs ...) is broken and healed by itself, at
 * times of its own, so that any two may be broken at the same time; one part is broken in one way
 * at a time. While something is done with both servers nothing else is done to either. */
#ifndef BLOTTER_TESTS_CHAOS_SCHEDULE_H
#define BLOTTER_TESTS_CHAOS_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

/* X(ID, name, how many, ms between a healing and the next breaking, on average). The desks have one
 * line, which is the shipper's too: a journal whose URL is another is left alone where its stream
 * has another id, as after a FLUSHALL. */
/* clang-format off */
#define CHAOS_PARTS(X) \
    X(SERVERS, "both servers", 1, 9000) \
    X(REDIS, "redis", 1, 4000) \
    X(POSTGRES, "postgres", 1, 5000) \
    X(DRAINER, "drainer", 3, 7000) \
    X(DESK, "desk", 6, 9000) \
    X(SHIPPER, "shipper", 1, 9000) \
    X(DESK_LINE, "desks to redis, line", 1, 5000) \
    X(REDIS_LINE, "drainer to redis, line", 3, 12000) \
    X(POSTGRES_LINE, "drainer to postgres, line", 3, 12000)
/* clang-format on */
/* clang-format off */
enum chaos_part {
#define X(id, name, count, pause_ms) CHAOS_##id,
    CHAOS_PARTS(X)
#undef X
        CHAOS_PART_COUNT
};
/* clang-format on */
#define X(id, name, count, pause_ms) CHAOS_##id##_COUNT = count,
enum chaos_count { CHAOS_PARTS(X) };
#undef X

/* X(ID, part, what is done, for at least and at most so many ms: 0 where there is nothing to heal)
 */
/* clang-format off */
#define CHAOS_VERBS(X) \
    X(SERVERS_TAKEOVER, SERVERS, "another Redis takes over", 4000, 5000) \
    X(REDIS_KILL, REDIS, "kill -9", 100, 3000) \
    X(REDIS_RESTART, REDIS, "stopped", 100, 1000) \
    X(REDIS_PAUSE, REDIS, "SIGSTOP", 500, 4000) \
    X(REDIS_SAVE, REDIS, "BGSAVE: what the next kill goes back to", 0, 0) \
    X(REDIS_FLUSH, REDIS, "FLUSHALL", 0, 0) \
    X(REDIS_DELETE, REDIS, "DEL of a stream", 0, 0) \
    X(REDIS_TRIM, REDIS, "XTRIM of everything in a stream", 0, 0) \
    X(REDIS_ACK, REDIS, "XACK of everything pending in a stream", 0, 0) \
    X(REDIS_GROUP, REDIS, "XGROUP DESTROY", 0, 0) \
    X(REDIS_SETID, REDIS, "XGROUP SETID to the end", 0, 0) \
    X(REDIS_CONSUMER, REDIS, "XGROUP DELCONSUMER of all", 0, 0) \
    X(REDIS_FULL, REDIS, "maxmemory 1", 200, 3000) \
    X(REDIS_REFUSES, REDIS, "min-replicas-to-write 1", 200, 3000) \
    X(REDIS_NONSENSE, REDIS, "XADD of what is no record", 0, 0) \
    X(REDIS_CLIENTS, REDIS, "CLIENT KILL", 0, 0) \
    X(POSTGRES_KILL, POSTGRES, "kill -9", 100, 2000) \
    X(POSTGRES_IMMEDIATE, POSTGRES, "stopped, immediate", 100, 2000) \
    X(POSTGRES_FAST, POSTGRES, "stopped, fast", 100, 1000) \
    X(POSTGRES_PAUSE, POSTGRES, "SIGSTOP", 500, 4000) \
    X(POSTGRES_TERMINATE, POSTGRES, "pg_terminate_backend of the drainers", 0, 0) \
    X(POSTGRES_CANCEL, POSTGRES, "pg_cancel_backend of the drainers", 0, 0) \
    X(POSTGRES_READ_ONLY, POSTGRES, "read-only", 200, 3000) \
    X(POSTGRES_LOCK, POSTGRES, "LOCK TABLE", 500, 4000) \
    X(DRAINER_KILL, DRAINER, "kill -9", 100, 2000) \
    X(DRAINER_TERM, DRAINER, "SIGTERM", 100, 2000) \
    X(DRAINER_PAUSE, DRAINER, "SIGSTOP", 500, 8000) \
    X(DESK_KILL, DESK, "kill -9", 50, 2000) \
    X(DESK_TERM, DESK, "SIGTERM", 50, 1000) \
    X(DESK_PAUSE, DESK, "SIGSTOP", 500, 4000) \
    X(SHIPPER_KILL, SHIPPER, "kill -9", 100, 3000) \
    X(SHIPPER_TERM, SHIPPER, "SIGTERM", 100, 2000) \
    X(SHIPPER_PAUSE, SHIPPER, "SIGSTOP", 500, 4000) \
    X(DESK_LINE_CUT, DESK_LINE, "cut", 0, 0) \
    X(DESK_LINE_CLOSE, DESK_LINE, "closed", 200, 3000) \
    X(DESK_LINE_STALL, DESK_LINE, "stalled", 200, 3000) \
    X(DESK_LINE_SWALLOW, DESK_LINE, "swallowed", 200, 5000) \
    X(DESK_LINE_DELAY, DESK_LINE, "delayed by 100 ms", 500, 4000) \
    X(REDIS_LINE_CUT, REDIS_LINE, "cut", 0, 0) \
    X(REDIS_LINE_CUT_ACK, REDIS_LINE, "cut at XACK", 0, 0) \
    X(REDIS_LINE_CLOSE, REDIS_LINE, "closed", 200, 3000) \
    X(REDIS_LINE_STALL, REDIS_LINE, "stalled", 200, 3000) \
    X(REDIS_LINE_SWALLOW, REDIS_LINE, "swallowed", 200, 5000) \
    X(REDIS_LINE_DELAY, REDIS_LINE, "delayed by 100 ms", 500, 4000) \
    X(POSTGRES_LINE_CUT, POSTGRES_LINE, "cut", 0, 0) \
    X(POSTGRES_LINE_CUT_COMMIT, POSTGRES_LINE, "cut at COMMIT", 0, 0) \
    X(POSTGRES_LINE_CUT_COMMITTED, POSTGRES_LINE, "cut at the answer to COMMIT", 0, 0) \
    X(POSTGRES_LINE_CLOSE, POSTGRES_LINE, "closed", 200, 3000) \
    X(POSTGRES_LINE_STALL, POSTGRES_LINE, "stalled", 200, 3000) \
    X(POSTGRES_LINE_SWALLOW, POSTGRES_LINE, "swallowed", 200, 5000) \
    X(POSTGRES_LINE_DELAY, POSTGRES_LINE, "delayed by 100 ms", 500, 4000)
/* clang-format on */
/* clang-format off */
enum chaos_verb {
#define X(id, part, text, least_ms, most_ms) CHAOS_##id,
    CHAOS_VERBS(X)
#undef X
        CHAOS_VERB_COUNT
};
/* clang-format on */

struct chaos_step {
    int64_t at_ms;
    enum chaos_part part;
    unsigned which; /* of the parts of that kind */
    enum chaos_verb verb;
    unsigned of;     /* which exchange, where the verb is about one */
    int64_t hold_ms; /* how long it stays broken */
    int heals;       /* 1: the end of what an earlier step began */
};

struct chaos_schedule {
    struct chaos_step *steps; /* in the order of time; everything is healed by the end */
    size_t count, capacity;
};

void chaos_schedule_draw(struct chaos_schedule *, uint64_t seed, int64_t duration_ms,
                         unsigned exchanges);
void chaos_schedule_release(struct chaos_schedule *);

/* A line for people. */
void chaos_step_text(const struct chaos_step *, char *out, size_t size);

#endif
