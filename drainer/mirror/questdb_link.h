/* questdb_link.h: QuestDB over HTTP: one request at a time on one connection, in the event loop.
 *
 * A connection that ended is made again with the next request. What an answer means for the caller
 * is decided here, in one place. One thread. Blocks only while a host's name is looked up. */
#ifndef BLOTTER_DRAINER_MIRROR_QUESTDB_LINK_H
#define BLOTTER_DRAINER_MIRROR_QUESTDB_LINK_H

#include <stddef.h>

#include "drainer/mirror/questdb_conf.h"

struct evbuffer;
struct event_base;
struct questdb_link;

enum questdb_action {
    QUESTDB_DONE,   /* committed, or answered */
    QUESTDB_RETRY,  /* it passes: no answer, or the server has trouble */
    QUESTDB_RECORD, /* one line is at fault, and nothing was stored */
    QUESTDB_PERSON, /* somebody has to change a setting, a right or a table */
};

struct questdb_answer {
    enum questdb_action action;
    int code;         /* of HTTP; 0: there was no answer */
    const char *body; /* NUL-terminated; of the answer, during the callback */
    size_t length;
    size_t line;       /* at fault, from 1; 0: none is named */
    char message[512]; /* one line for people; "" where it is done */
};

typedef void questdb_reply(void *owner, const struct questdb_answer *);

/* Makes a link. NULL, with a text in error: there is no TLS here, or its files cannot be read. */
struct questdb_link *questdb_link_create(struct event_base *, const struct questdb_conf *,
                                         char *error, size_t error_size);
void questdb_link_destroy(struct questdb_link *); /* takes NULL; no callback comes any more */

/* Sends lines to be stored. The body is emptied; what it refers to has to stay until the answer. */
void questdb_write(struct questdb_link *, struct evbuffer *lines, questdb_reply *, void *owner);

/* Runs a statement; the answer is QuestDB's JSON. */
void questdb_exec(struct questdb_link *, const char *sql, questdb_reply *, void *owner);

/* Asks for a page, as /settings. */
void questdb_get(struct questdb_link *, const char *path, questdb_reply *, void *owner);

const char *questdb_link_place(const struct questdb_link *);

#endif
