/* web_answers.c: see web_answers.h.
 *
 *     WAITS ──► ASKED ──► READY
 *
 * The same question is ASKED once at a time. One that comes meanwhile and may not share that answer
 * WAITS for its end, together with all that come until then. A failure is handed to those who wait
 * and forgotten. */
#include "drainer/web/web_answers.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "schema/clock.h"

enum {
    ANSWERS_MAX = 64,
    ANSWER_BYTES_MAX = 1024 * 1024, /* a longer one is not kept */
    MAX_AGE_MS = 10000,             /* ages and "today" change without a commit */
    SQL_BYTES = 128,
};

static const char busy_text[] = "too many queries wait: ask again";

enum answer_state { ANSWER_WAITS, ANSWER_ASKED, ANSWER_READY };

struct web_waiter {
    struct web_waiter *next;
    web_pool_done *done; /* NULL: forgotten */
    void *arg;
};

struct answer {
    struct answer *next;
    struct web_answers *answers;
    const struct api_query *query;
    struct api_values *values;
    enum answer_state state;
    unsigned generation;
    struct web_query *asked; /* in ASKED */
    struct web_waiter *waiters;
    int64_t at_ms; /* when it was asked */
    char *text;
    size_t length;
};

struct web_answers {
    struct web_pool *pool;
    struct answer *first; /* the newest */
    size_t count;
};

static struct api_values *values_copy(const struct api_values *values)
{
    struct api_values *copy = memory_or_abort(malloc(sizeof *copy));
    *copy = *values;
    for (int i = 0; i < copy->count; i++) {
        copy->value[i] = values->value[i] == NULL ? NULL : copy->bytes[i];
    }
    return copy;
}

static bool values_equal(const struct api_values *a, const struct api_values *b)
{
    for (int i = 0; i < a->count; i++) {
        bool absent = a->value[i] == NULL || b->value[i] == NULL;
        if (absent ? a->value[i] != b->value[i] : strcmp(a->value[i], b->value[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void answer_remove(struct answer *answer)
{
    struct web_answers *answers = answer->answers;
    for (struct answer **at = &answers->first; *at != NULL; at = &(*at)->next) {
        if (*at == answer) {
            *at = answer->next;
            answers->count--;
            break;
        }
    }
    for (struct web_waiter *each = answer->waiters, *next; each != NULL; each = next) {
        next = each->next;
        free(each);
    }
    free(answer->values);
    free(answer->text);
    free(answer);
}

/* Removes ready answers from the end until there is room for one more. */
static void answers_make_room(struct web_answers *answers)
{
    while (answers->count >= ANSWERS_MAX) {
        struct answer *oldest = NULL;
        for (struct answer *each = answers->first; each != NULL; each = each->next) {
            oldest = each->state == ANSWER_READY ? each : oldest;
        }
        if (oldest == NULL) {
            return; /* somebody waits for each: connections are the bound */
        }
        answer_remove(oldest);
    }
}

static bool answer_is_for(const struct answer *answer, const struct api_query *query,
                          const struct api_values *values)
{
    return answer->query == query && values_equal(answer->values, values);
}

/* Finds an answer to the question in that state, the newest first. */
static struct answer *answers_look(struct web_answers *answers, enum answer_state state,
                                   const struct api_query *query, const struct api_values *values)
{
    for (struct answer *each = answers->first; each != NULL; each = each->next) {
        if (each->state == state && answer_is_for(each, query, values)) {
            return each;
        }
    }
    return NULL;
}

/* Tells whether nothing has been committed since the answer was asked for, as far as was seen. */
static bool answer_is_fresh(const struct answer *answer, unsigned generation)
{
    return answer != NULL && generation != 0 && answer->generation == generation &&
           clock_monotonic_ms() - answer->at_ms < MAX_AGE_MS;
}

/* Hands the result to those who wait. */
static void answer_tell(struct answer *answer, enum web_answer result, const char *text,
                        size_t length)
{
    struct web_waiter *waiters = answer->waiters;
    answer->waiters = NULL;
    for (struct web_waiter *each = waiters, *next; each != NULL; each = next) {
        next = each->next;
        if (each->done != NULL) {
            each->done(each->arg, result, text, length);
        }
        free(each);
    }
}

static void web_answers_on_answer(void *, enum web_answer, const char *, size_t);

/* Asks PostgreSQL. False: the pool's queue is full. */
static bool answer_ask(struct answer *answer)
{
    char sql[SQL_BYTES];
    int length = snprintf(sql, sizeof sql, "SELECT blotter_internal.web_%s(", answer->query->name);
    for (int n = 1; n <= answer->values->count; n++) {
        length += snprintf(sql + length, sizeof sql - (size_t)length, n == 1 ? "$%d" : ", $%d", n);
    }
    snprintf(sql + length, sizeof sql - (size_t)length, ")");
    answer->asked = web_pool_ask(answer->answers->pool, sql, answer->values->count,
                                 answer->values->value, web_answers_on_answer, answer);
    answer->state = ANSWER_ASKED;
    answer->at_ms = clock_monotonic_ms();
    return answer->asked != NULL;
}

/* Keeps an answer for those who ask later, in place of the one before, unless it is too long. */
static void answer_keep(struct answer *answer, const char *text, size_t length)
{
    struct answer *old = answers_look(answer->answers, ANSWER_READY, answer->query, answer->values);
    if (old != NULL) {
        answer_remove(old);
    }
    if (answer->generation == 0 || length > ANSWER_BYTES_MAX) {
        answer_remove(answer);
        return;
    }
    answer->text = memory_or_abort(malloc(length + 1));
    memcpy(answer->text, text, length);
    answer->length = length;
    answer->state = ANSWER_READY;
}

static void web_answers_on_answer(void *arg, enum web_answer result, const char *text,
                                  size_t length)
{
    struct answer *answer = arg;
    struct answer *next =
        answers_look(answer->answers, ANSWER_WAITS, answer->query, answer->values);

    answer->asked = NULL;
    answer_tell(answer, result, text, length);
    if (result == WEB_ANSWER_OK) {
        answer_keep(answer, text, length);
    } else {
        answer_remove(answer);
    }
    if (next != NULL && !answer_ask(next)) {
        answer_tell(next, WEB_ANSWER_AWAY, busy_text, strlen(busy_text));
        answer_remove(next);
    }
}

struct web_answers *web_answers_create(struct web_pool *pool)
{
    struct web_answers *answers = memory_or_abort(calloc(1, sizeof *answers));
    answers->pool = pool;
    return answers;
}

void web_answers_destroy(struct web_answers *answers)
{
    if (answers == NULL) {
        return;
    }
    while (answers->first != NULL) {
        if (answers->first->state == ANSWER_ASKED) {
            web_pool_cancel(answers->first->asked);
        }
        answer_remove(answers->first);
    }
    free(answers);
}

bool web_answers_find(struct web_answers *answers, const struct api_query *query,
                      const struct api_values *values, unsigned generation, const char **text,
                      size_t *length)
{
    const struct answer *answer = answers_look(answers, ANSWER_READY, query, values);
    if (!answer_is_fresh(answer, generation)) {
        return false;
    }
    *text = answer->text;
    *length = answer->length;
    return true;
}

static struct answer *answers_put(struct web_answers *answers, const struct api_query *query,
                                  const struct api_values *values)
{
    struct answer *answer = memory_or_abort(calloc(1, sizeof *answer));
    bool waits = answers_look(answers, ANSWER_ASKED, query, values) != NULL;
    answers_make_room(answers);
    *answer = (struct answer){.next = answers->first,
                              .answers = answers,
                              .query = query,
                              .values = values_copy(values),
                              .state = ANSWER_WAITS};
    answers->first = answer;
    answers->count++;
    if (!waits && !answer_ask(answer)) {
        answer_remove(answer);
        return NULL;
    }
    return answer;
}

struct web_waiter *web_answers_ask(struct web_answers *answers, const struct api_query *query,
                                   const struct api_values *values, unsigned generation,
                                   web_pool_done *done, void *arg)
{
    struct answer *answer = answers_look(answers, ANSWER_ASKED, query, values);
    if (!answer_is_fresh(answer, generation)) {
        answer = answers_look(answers, ANSWER_WAITS, query, values);
        answer = answer == NULL ? answers_put(answers, query, values) : answer;
        if (answer == NULL) {
            return NULL;
        }
        answer->generation = generation; /* it is asked for now or later */
    }
    struct web_waiter *waiter = memory_or_abort(calloc(1, sizeof *waiter));
    *waiter = (struct web_waiter){.next = answer->waiters, .done = done, .arg = arg};
    answer->waiters = waiter;
    return waiter;
}

void web_answers_cancel(struct web_waiter *waiter)
{
    waiter->done = NULL;
}
