/* intake_private.h: what the parts of the intake (reading, taking, stream_watch) tell it. */
#ifndef BLOTTER_DRAINER_REDIS_INTAKE_PRIVATE_H
#define BLOTTER_DRAINER_REDIS_INTAKE_PRIVATE_H

#include <hiredis/hiredis.h>

#include "drainer/redis/intake.h"

struct node;

/* Gives the owner its turn: something has changed. */
void intake_turn(struct intake *);

struct intake_counters *intake_count(struct intake *);

bool intake_may_read(const struct intake *); /* until intake_stop_reading */

/* Notes that the connection to a node is up, or one lost. */
void intake_on_node_up(struct intake *, struct node *);
void intake_on_node_down(struct intake *);

/* Notes a stream on a connection that is new to it: its id is asked for, and if it is held it is
 * taken again, once PostgreSQL shows that its lease holds. */
void intake_meet(struct intake *, struct stream *);

/* Acts on an error answer: names the trouble, resets the link where it leads to the wrong server,
 * and pauses reading, longer each time. In a cluster, what says that a stream is elsewhere concerns
 * only that. stream NULL: of all streams on the node. */
void intake_on_error(struct intake *, struct node *, struct stream *, const char *command,
                     const redisReply *);

/* Ends the trouble: a command about the stream, or about all on the node, was answered well. */
void intake_on_success(struct intake *, struct node *, struct stream *);

/* Makes sure of all streams on the node, and reads them from their beginning: the group of one of
 * them is gone, and with it what was pending. */
void intake_on_no_group(struct intake *, struct node *, const char *text);

/* Follows, in a cluster, an answer about the stream that is an error that says that it is
 * elsewhere. Returns whether it was. */
bool intake_follow(struct intake *, struct stream *, const redisReply *);

/* Notes that the entries that PostgreSQL had lost of the stream are loaded again and committed. */
void intake_on_reloaded(struct intake *, struct stream *);

/* Claims the stream anew, and all that is pending with it: it is not ours any more in Redis. */
void intake_on_fenced(struct intake *, struct stream *);

/* Notes a stream that a look has found on the node. */
void intake_on_seen(struct intake *, struct stream *, struct node *);

/* Asks for the random id of a stream that was found. */
void intake_ask_id(struct intake *, struct stream *);

/* Notes another drainer's stream that has entries waiting and makes no progress. */
void intake_on_stuck(struct intake *, struct stream *);

#endif
