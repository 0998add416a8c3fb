/* intake_private.h: what the files of the intake share: intake.c (its life, the links, the groups,
 * settling), intake_read.c and intake_claim.c. For them only; everybody else goes by intake.h. */
#ifndef BLOTTER_DRAINER_REDIS_INTAKE_PRIVATE_H
#define BLOTTER_DRAINER_REDIS_INTAKE_PRIVATE_H

#include <hiredis/hiredis.h>

#include "drainer/redis/entry_reader.h"
#include "drainer/redis/gather.h"
#include "drainer/redis/intake.h"
#include "producer/redis_link.h"

enum { CLAIM_COUNT = 500 };

/* What is done with an entry of the answer that is being read. */
typedef void intake_take_entry(struct intake *, struct stream_entry_id, const struct raw_field *,
                               size_t field_count);

struct delivery {
    struct stream_entry_id id;
    uint16_t count;
};

struct intake {
    struct intake_options options;
    struct redis_link *link;
    struct doorbell *doorbell;
    struct event *tick;
    struct stream_watch *watch;
    uint64_t generation; /* of what is in hand: answers to commands of an older one are dropped */
    struct entry_reader *entry_reader;
    intake_take_entry *take_entry; /* of the answer being read, ... */
    uint64_t answer_generation;    /* ... if it is of this one */
    struct stream *answer_stream;  /* whose entries follow in the answer to a read; NULL: nobody's
                                      who was asked */
    bool reading_allowed, reading, at_end;
    struct stream *claiming; /* the stream of the claim under way */
    struct delivery deliveries[CLAIM_COUNT];
    size_t delivery_count;
    size_t replayed_of_page; /* entries of the page that is being loaded once more */
    struct gather gather;
    unsigned error_pause_ms;
    int64_t paused_until_ms, polled_at_ms;
    int64_t left_pending; /* under our name, of the streams signed off from so far; -1: not known */
    struct intake_counters counters;
};

int64_t intake_wall_ns(void);
void intake_turn(struct intake *); /* tells the owner that something has changed */

/* An error answer: said (repeats are folded by the log), and no new read for a while, longer each
 * time. */
void intake_on_error(struct intake *, const char *what, const redisReply *);

/* The group of some stream is gone, and with it what was pending: all are made sure of, and read
 * from their beginning. */
void intake_on_no_group(struct intake *, const char *text);

/* The answers that have entries: what to do with each as it comes, and at the end. */
intake_take_entry intake_take_read, intake_take_claimed, intake_take_replayed;
redis_link_reply intake_on_read, intake_on_claimed, intake_on_replayed;

/* Claims, or loads once more with --from, the next page of the first stream that is not read yet.
 * False: all are. */
bool intake_claim(struct intake *);

#endif
