/* refusals.h: which of a sender's questions Redis answers with an error. An ACL may allow one and
 * not the other, so each is counted by itself. One thread. */
#ifndef BLOTTER_PRODUCER_REFUSALS_H
#define BLOTTER_PRODUCER_REFUSALS_H

#include <stdbool.h>

struct redisReply;

enum refusal_question {
    ASK_CONFIRMATIONS = 1,
    ASK_ENTRY = 2,
    ASK_PENDING = 4,
    ASK_GROUPS = 8,
    ASK_STREAM_ID = 16,
};

struct refusals {
    unsigned questions; /* bits */
    void *owner;
    void (*on_refused)(void *owner, const char *error); /* NULL: no question is refused any more */
};

/* Takes an answer. Not every error is a refusal: that there is no group, or no stream, is an
 * answer. Returns whether it is one. */
bool refusals_note(struct refusals *, enum refusal_question, const struct redisReply *);

/* Says whether the error is one that a person has to end, by changing rights. */
bool refusals_is_forbidden(const struct redisReply *);

/* Forgets all refusals, as for a new connection. */
void refusals_forget(struct refusals *);

#endif
