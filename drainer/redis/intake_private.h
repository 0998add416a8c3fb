/* intake_private.h: what the parts of the intake (reading, taking, stream_watch) tell it. */
#ifndef BLOTTER_DRAINER_REDIS_INTAKE_PRIVATE_H
#define BLOTTER_DRAINER_REDIS_INTAKE_PRIVATE_H

#include <hiredis/hiredis.h>

#include "drainer/redis/intake.h"

int64_t intake_wall_ns(void);

/* Something has changed: the owner has its turn. */
void intake_turn(struct intake *);

struct intake_counters *intake_count(struct intake *);

/* An error answer: names the trouble, resets the link where it leads to the wrong server, and
 * pauses reading, longer each time. stream NULL: of all streams. */
void intake_on_error(struct intake *, struct stream *, const char *command, const redisReply *);

/* A command about the stream, or about all, was answered well: the trouble is over. */
void intake_on_success(struct intake *, struct stream *);

/* The group of some stream is gone, and with it what was pending: all are made sure of, and read
 * from their beginning. */
void intake_on_no_group(struct intake *, const char *text);

/* Called when the entries that PostgreSQL had lost of the stream are loaded again and committed. */
void intake_on_reloaded(struct intake *, struct stream *);

/* The stream is not ours any more in Redis: it is claimed anew, and all that is pending with it. */
void intake_on_fenced(struct intake *, struct stream *);

/* A stream was found whose random id is not known. */
void intake_ask_id(struct intake *, struct stream *);

/* Another drainer's stream has entries waiting and makes no progress. */
void intake_on_stuck(struct intake *, struct stream *);

#endif
