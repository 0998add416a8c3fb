/* days.c: see days.h. */
#include "drainer/postgres/days.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/postgres/pg_result.h"
#include "drainer/postgres/sql_text.h"

enum { SECONDS_PER_DAY = 86400 };
#define SECONDS_AHEAD (SECONDS_PER_DAY / 2)
#define DAYS_AT_ONCE \
    32 /* to be made by one command: each takes locks on new tables to the command's end */

/* X(STATE, what make_day() answers, why a record of such a day is rejected). */
/* clang-format off */
#define DAY_ANSWERS(X) \
    X(READY, "ready", NULL) \
    X(EXPIRED, "expired", NULL) \
    X(TOO_OLD, "too_old", \
      "recorded_at: further back than days are made (days_back in blotter_internal.retention)") \
    X(TOO_NEW, "too_new", \
      "recorded_at: further ahead than days are made (days_ahead in blotter_internal.retention)")
/* clang-format on */
#define X(state, answer, reason) DAY_##state,
enum day { DAY_UNKNOWN, DAY_ANSWERS(X) DAY_STATES };
#undef X

static const struct {
    const char *answer, *reason;
} day_answers[DAY_STATES] = {
#define X(state, answer, reason) [DAY_##state] = {answer, reason},
    DAY_ANSWERS(X)
#undef X
};

static bool is_day(int64_t since_1970)
{
    return since_1970 >= DAY_FIRST && since_1970 < DAY_FIRST + DAYS_MAX;
}

static size_t index_of(int64_t since_1970)
{
    assert(is_day(since_1970));
    return (size_t)(since_1970 - DAY_FIRST);
}

static int64_t day_of(const struct entry *entry)
{
    return entry->recorded_at_us / US_PER_DAY;
}

static bool is_partitioned(const struct entry *entry)
{
    return entry->fate == ENTRY_ROW && entry->kind != RECORD_SESSION;
}

static bool is_in(const struct days *days, const struct entry *entry, enum day state)
{
    return is_partitioned(entry) && days->states[index_of(day_of(entry))] == state;
}

void days_forget(struct days *days)
{
    *days = (struct days){0};
}

static void ask(struct sql_text *sql, int64_t day, size_t *asked)
{
    sql_text_add(sql, "%s(%" PRId64 "::int)", *asked == 0 ? "" : ", ", day);
    ++*asked;
}

bool days_ask(struct days *days, const struct batch *batch, size_t from, size_t to, int64_t now_s,
              struct sql_text *sql)
{
    int64_t last = -1, ahead = (now_s + SECONDS_AHEAD) / SECONDS_PER_DAY;
    size_t asked = 0;

    sql_text_clear(sql);
    sql_text_add(sql, "SELECT n, blotter_internal.make_day(date '1970-01-01' + n) FROM (VALUES ");
    for (size_t i = from; i < to && asked < DAYS_AT_ONCE; i++) {
        const struct entry *entry = &batch->entries[i];

        if (is_in(days, entry, DAY_UNKNOWN) && day_of(entry) != last) {
            last = day_of(entry);
            ask(sql, last, &asked);
        }
    }
    if (ahead != days->ahead && is_day(ahead)) { /* a clock may say anything */
        days->ahead = ahead;
        ask(sql, ahead, &asked);
    }
    sql_text_add(sql, ") AS days(n) GROUP BY n ORDER BY n");
    return asked > 0;
}

static enum day state_of_answer(const char *answer)
{
    enum day state = DAY_READY;

    while (state < DAY_STATES && strcmp(day_answers[state].answer, answer) != 0) {
        state++;
    }
    return state < DAY_STATES ? state : DAY_READY; /* a newer schema's: its partition tells */
}

/* Takes rows of a day number and make_day()'s answer. */
void days_learn(struct days *days, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t day = strtoll(pg_result_text(result, i, 0), NULL, 10);

        if (is_day(day)) {
            days->states[index_of(day)] = (uint8_t)state_of_answer(pg_result_text(result, i, 1));
        }
    }
}

void days_expire(const struct days *days, struct batch *batch, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct entry *entry = &batch->entries[i];
        enum day state = is_partitioned(entry) ? days->states[index_of(day_of(entry))] : DAY_READY;

        if (state == DAY_EXPIRED) {
            entry->fate = ENTRY_EXPIRED;
            batch->expired++;
        } else if (day_answers[state].reason != NULL) {
            batch_reject(batch, entry, "", day_answers[state].reason);
        }
    }
}
