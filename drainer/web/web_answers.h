/* web_answers.h: answers that several viewers share: while nothing has been committed, and for at
 * most MAX_AGE_MS, the same question is put to PostgreSQL once, and never twice at the same time,
 * however many ask it.
 *
 * What was committed is counted by web_live's generation. A question of another generation is put
 * anew, so nobody who was told of a commit gets an answer from before it. One thread; bounded. */
#ifndef BLOTTER_DRAINER_WEB_WEB_ANSWERS_H
#define BLOTTER_DRAINER_WEB_WEB_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "drainer/web/api.h"
#include "drainer/web/web_pool.h"

/* The values of one request: texts that point into bytes. */
struct api_values {
    const char *value[API_PARAMETERS_MAX];
    char bytes[API_PARAMETERS_MAX][API_VALUE_BYTES];
    int count;
};

struct web_answers;
struct web_waiter;

struct web_answers *web_answers_create(struct web_pool *);
void web_answers_destroy(struct web_answers *); /* takes NULL; before the pool's end */

/* Finds an answer that is there. It lives until the loop goes on. False: ask. */
bool web_answers_find(struct web_answers *, const struct api_query *, const struct api_values *,
                      unsigned generation, const char **text, size_t *length);

/* Joins those who wait for the same answer, or asks. generation 0: shares only what has still to be
 * asked. `done` is called once, later. NULL: the pool's queue is full, and `done` is not called. */
struct web_waiter *web_answers_ask(struct web_answers *, const struct api_query *,
                                   const struct api_values *, unsigned generation, web_pool_done *,
                                   void *arg);

/* Forgets a waiter whose `done` was not called yet. */
void web_answers_cancel(struct web_waiter *);

#endif
