/* redis_visit.h: a short connection that blocks, to ask one server of several a question: a
 * sentinel for the master, a node of a cluster for the others. Connecting and each answer may take
 * REDIS_VISIT_TIMEOUT_MS, and an answer have so many bytes, whatever the server does. Not for an
 * event loop: run it in the background (background.h). */
#ifndef BLOTTER_PRODUCER_REDIS_VISIT_H
#define BLOTTER_PRODUCER_REDIS_VISIT_H

#include <stdbool.h>

struct redisContext;
struct redisReply;
struct redis_tls;
struct redis_url;

enum {
    REDIS_VISIT_TIMEOUT_MS = 500,
    REDIS_VISIT_ANSWER_BYTES = 8 << 20, /* more than a cluster with a range for each slot tells */
    REDIS_VISIT_WHY_BYTES = 256
};

struct redis_visit {
    struct redisContext *context;
    struct redis_tls *tls; /* NULL: without */
    const char *what;      /* a word for messages: "sentinel", "node" */
    const char *host;
    int port;
    char why[REDIS_VISIT_WHY_BYTES]; /* it failed: what happened; holds no secret */
};

struct redis_visit_options {
    const char *what, *host;
    int port;
    const struct redis_url *tls_files; /* NULL: without TLS */
    const char *user, *password;       /* "": none */
};

/* Connects and logs in. False: why says what failed. To be ended in both cases. */
bool redis_visit_begin(struct redis_visit *, const struct redis_visit_options *);

/* Asks; the caller frees the answer by redis_reply_free. NULL: no answer, why says so. */
struct redisReply *redis_visit_ask(struct redis_visit *, int count, const char *const *words);
void redis_reply_free(struct redisReply *); /* takes NULL, which freeReplyObject of 0.14 does not */

/* Notes why the visit was in vain. */
void redis_visit_fail(struct redis_visit *, const char *why);

void redis_visit_end(struct redis_visit *);

#endif
