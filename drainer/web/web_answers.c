/* web_answers.c: see web_answers.h. An answer is ASKED until PostgreSQL has given it, then READY; a
 * failure is handed to those who wait and forgotten. */
#include "drainer/web/web_answers.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schema/clock.h"

enum {
    ANSWERS_MAX = 64,
    ANSWER_BYTES_MAX = 1024 * 1024, /* a longer one is not kept */
    MAX_AGE_MS = 10000,             /* ages and "today" change without a commit */
};

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
    unsigned generation;
    struct web_query *asked; /* NULL: ready */
    struct web_waiter *waiters;
    int64_t at_ms;
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
    struct api_values *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        abort();
    }
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
            oldest = each->asked == NULL ? each : oldest;
        }
        if (oldest == NULL) {
            return; /* all are asked: the pool's queue is the bound */
        }
        answer_remove(oldest);
    }
}

static struct answer *answers_look(struct web_answers *answers, const struct api_query *query,
                                   const struct api_values *values, unsigned generation)
{
    for (struct answer *each = answers->first; each != NULL && generation != 0; each = each->next) {
        bool fresh =
            each->generation == generation && clock_monotonic_ms() - each->at_ms < MAX_AGE_MS;
        if (fresh && each->query == query && values_equal(each->values, values)) {
            return each;
        }
    }
    return NULL;
}

static void web_answers_on_answer(void *arg, enum web_answer result, const char *text,
                                  size_t length)
{
    struct answer *answer = arg;
    struct web_waiter *waiters = answer->waiters;
    bool kept = result == WEB_ANSWER_OK && answer->generation != 0 && length <= ANSWER_BYTES_MAX;

    answer->asked = NULL;
    answer->waiters = NULL;
    if (kept) {
        answer->text = malloc(length + 1);
        if (answer->text == NULL) {
            abort();
        }
        memcpy(answer->text, text, length);
        answer->length = length;
    } else {
        answer_remove(answer);
    }
    for (struct web_waiter *each = waiters, *next; each != NULL; each = next) {
        next = each->next;
        if (each->done != NULL) {
            each->done(each->arg, result, text, length);
        }
        free(each);
    }
}

struct web_answers *web_answers_create(struct web_pool *pool)
{
    struct web_answers *answers = calloc(1, sizeof *answers);
    if (answers == NULL) {
        abort();
    }
    answers->pool = pool;
    return answers;
}

void web_answers_destroy(struct web_answers *answers)
{
    if (answers == NULL) {
        return;
    }
    while (answers->first != NULL) {
        if (answers->first->asked != NULL) {
            web_pool_cancel(answers->pool, answers->first->asked);
        }
        answer_remove(answers->first);
    }
    free(answers);
}

bool web_answers_find(struct web_answers *answers, const struct api_query *query,
                      const struct api_values *values, unsigned generation, const char **text,
                      size_t *length)
{
    const struct answer *answer = answers_look(answers, query, values, generation);
    if (answer == NULL || answer->asked != NULL) {
        return false;
    }
    *text = answer->text;
    *length = answer->length;
    return true;
}

static struct answer *answers_put(struct web_answers *answers, const struct api_query *query,
                                  const struct api_values *values, unsigned generation)
{
    struct answer *answer = calloc(1, sizeof *answer);
    if (answer == NULL) {
        abort();
    }
    answers_make_room(answers);
    *answer = (struct answer){.next = answers->first,
                              .answers = answers,
                              .query = query,
                              .values = values_copy(values),
                              .generation = generation,
                              .at_ms = clock_monotonic_ms()};
    answer->asked = web_pool_ask(answers->pool, query->sql, values->count, answer->values->value,
                                 web_answers_on_answer, answer);
    answers->first = answer;
    answers->count++;
    if (answer->asked == NULL) {
        answer_remove(answer);
        return NULL;
    }
    return answer;
}

struct web_waiter *web_answers_ask(struct web_answers *answers, const struct api_query *query,
                                   const struct api_values *values, unsigned generation,
                                   web_pool_done *done, void *arg)
{
    struct answer *answer = answers_look(answers, query, values, generation);
    if (answer == NULL || answer->asked == NULL) {
        answer = answers_put(answers, query, values, generation);
    }
    if (answer == NULL) {
        return NULL;
    }
    struct web_waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL) {
        abort();
    }
    *waiter = (struct web_waiter){.next = answer->waiters, .done = done, .arg = arg};
    answer->waiters = waiter;
    return waiter;
}

void web_answers_cancel(struct web_waiter *waiter)
{
    waiter->done = NULL;
}
