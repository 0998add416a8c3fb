/* redis_link.h: one reconnecting async connection to Redis on an event base; the producer's sender
 * and the drainer both use it.
 *
 * Parses the URL (redis_url.h; rediss:// by redis_tls.h), resolves names without blocking the loop
 * (resolve.h), connects, authenticates, selects the database and names the connection; watches that
 * answers come (oldest unanswered command, PING when idle); reconnects with jittered back-off.
 * Never frees a hiredis context inside one of its callbacks. Every command's callback is called
 * exactly once.
 *
 * An entry id, or any state read from the server, belongs to one connection: the next may lead to
 * another server.
 *
 * One thread: the one that runs the base. Blocks: never. */
#ifndef BLOTTER_PRODUCER_REDIS_LINK_H
#define BLOTTER_PRODUCER_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct redisReply;
struct redis_host;
struct redisReplyObjectFunctions;

/* clang-format off */
#define REDIS_LINK_STATES(X) \
    X(IDLE, "not started") \
    X(WAITING, "waiting before the next attempt to connect") \
    X(RESOLVING, "looking up the host's name") \
    X(CONNECTING, "connecting") \
    X(GREETING, "authenticating and selecting the database") \
    X(UP, "up") \
    X(CLOSING, "being taken down")
/* clang-format on */
#define X(name, text) REDIS_LINK_##name,
enum redis_link_state { REDIS_LINK_STATES(X) };
#undef X

struct redis_link_options {
    struct event_base *base;
    const char *url;      /* checked by redis_link_create */
    const char *password; /* overrides the URL's; may be NULL; copied */
    const char *name;     /* CLIENT SETNAME; may be NULL */
    /* For the URL of a cluster, one of them: the link goes to the master that serves this stream,
     * wherever it is moved; or to this node. */
    const char *stream;
    const struct redis_host *node;
    unsigned connect_timeout_ms; /* 0 = 5000 */
    unsigned answer_timeout_ms;  /* 0 = 10000: the oldest unanswered command is this old: the
                                    connection is given up */
    unsigned backoff_min_ms, backoff_max_ms; /* 0 = 50, 2000 */
    /* Called when the link comes up (greeting answered) and when it goes down, after every pending
     * callback was called with NULL; `why` is the error, without secrets. May issue commands; may
     * not destroy the link. */
    void (*on_change)(void *owner, bool up, const char *why);
    void *owner;
    /* Custom reply functions for hiredis' reader, set at every connection; may be NULL. They refuse
     * an answer (NULL) unless redis_link_expects_answer. */
    const struct redisReplyObjectFunctions *reply_functions;
    void *reply_privdata;
    size_t string_bytes; /* redis_reader.h: what is longer goes to on_piece */
    void (*on_piece)(void *reply_privdata, uint64_t total, const char *bytes, size_t length);
};

struct redis_link;

/* reply is hiredis' own (or the custom functions' object), valid during the call; NULL: the
 * connection was lost and it is unknown whether the command was applied. Commands issued from a
 * NULL callback are refused. */
typedef void redis_link_reply(void *owner, uintptr_t tag, struct redisReply *reply);

/* Makes a link, which does not connect yet. NULL, with a message in error: the URL is wrong. */
struct redis_link *redis_link_create(const struct redis_link_options *, char *error,
                                     size_t error_size);
/* Takes NULL. Pending callbacks are called with NULL first, on_change is not called. Not from a
 * callback. */
void redis_link_destroy(struct redis_link *);

void redis_link_start(struct redis_link *);

/* Gives the connection up and connects again (at once, or after the back-off). May be called from a
 * callback. */
void redis_link_reset(struct redis_link *, const char *why);

/* Follows, in a cluster, the error "ASK slot host:port" to a command that adds to the stream: the
 * link goes there, and says ASKING before each command until the slot has moved. False, and nothing
 * done: with another error, or another kind of URL. MOVED is followed by the link itself, and gives
 * every command in flight its NULL. May be called from a callback. */
bool redis_link_follow(struct redis_link *, const char *error);

/* Says whether it is at a node to which the stream's slot is still being moved. Keys that are
 * missing there may be on the old one. */
bool redis_link_is_asking(const struct redis_link *);

enum redis_link_state redis_link_state(const struct redis_link *);
const char *redis_link_state_text(enum redis_link_state);
bool redis_link_up(const struct redis_link *); /* NULL: false */
const char *
redis_link_last_error(const struct redis_link *); /* "" if none so far; never holds a secret */
const char *
redis_link_place(const struct redis_link *); /* the URL without user and password, for messages */

/* Says why it is not known whether a connection that is up still leads to the master: no sentinel
 * has answered when they were asked last. "": it is known, as far as sentinels know. */
const char *redis_link_doubt(const struct redis_link *);

/* Sends a command that is already in RESP; the bytes are copied. -1: not up (nothing was sent, no
 * callback will come). callback may be NULL: the answer is dropped. */
int redis_link_send(struct redis_link *, redis_link_reply *callback, uintptr_t tag,
                    const char *resp, size_t length);
/* Does the same from C strings. */
int redis_link_sendv(struct redis_link *, redis_link_reply *callback, uintptr_t tag, int argc,
                     const char **argv);
/* Does the same for a module that uses somebody else's link: its callback gets that owner instead
 * of the link's. */
int redis_link_sendv_as(struct redis_link *, void *owner, redis_link_reply *callback, uintptr_t tag,
                        int argc, const char **argv);

size_t redis_link_unsent_bytes(const struct redis_link *); /* in hiredis' output buffer */
unsigned redis_link_unanswered(const struct redis_link *); /* commands without their callback yet */
int64_t redis_link_late_ms(const struct redis_link *);     /* how long the oldest of them waits */
/* Returns how long an answer takes where nothing else is under way, by the coarse clock; 0: a few
 * ms at most. */
unsigned redis_link_round_trip_ms(const struct redis_link *);

/* Returns, for custom reply functions, which are called while an answer is being read, the callback
 * and the tag of the command that it answers. NULL: none is awaited, or one without callback. */
redis_link_reply *redis_link_answering(const struct redis_link *, uintptr_t *tag);

/* Says, for custom reply functions, as an answer begins, whether a command waits for one. False:
 * the connection ends. */
bool redis_link_expects_answer(struct redis_link *);

#endif
