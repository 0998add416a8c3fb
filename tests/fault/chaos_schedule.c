/* chaos_schedule.c: see chaos_schedule.h. */
#include "tests/fault/chaos_schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    unsigned count;
    int64_t pause_ms;
} parts[] = {
#define X(id, name, count, pause_ms) {name, count, pause_ms},
    CHAOS_PARTS(X)
#undef X
};

static const struct {
    enum chaos_part part;
    const char *text;
    int64_t least_ms, most_ms;
} verbs[] = {
#define X(id, part, text, least_ms, most_ms) {CHAOS_##part, text, least_ms, most_ms},
    CHAOS_VERBS(X)
#undef X
};

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int64_t between(uint64_t *state, int64_t least, int64_t most)
{
    return least + (int64_t)(next_random(state) % (uint64_t)(most - least + 1));
}

static enum chaos_verb draw_verb(uint64_t *state, enum chaos_part part)
{
    for (;;) {
        enum chaos_verb verb = (enum chaos_verb)between(state, 0, CHAOS_VERB_COUNT - 1);

        if (verbs[verb].part == part) {
            return verb;
        }
    }
}

static void add(struct chaos_schedule *schedule, struct chaos_step step)
{
    if (schedule->count == schedule->capacity) {
        schedule->capacity = schedule->capacity == 0 ? 256 : schedule->capacity * 2;
        schedule->steps = realloc(schedule->steps, schedule->capacity * sizeof *schedule->steps);
        if (schedule->steps == NULL) {
            abort();
        }
    }
    schedule->steps[schedule->count++] = step;
}

/* The end of what is done with both servers at that time, if this part is one of them; 0: nothing
 * is. */
static int64_t taken_until(const struct chaos_schedule *schedule, const struct chaos_step *step)
{
    for (size_t i = 0;
         i < schedule->count && (step->part == CHAOS_REDIS || step->part == CHAOS_POSTGRES); i++) {
        const struct chaos_step *taken = &schedule->steps[i];

        if (taken->part == CHAOS_SERVERS && taken->heals == 0 &&
            step->at_ms <= taken->at_ms + taken->hold_ms &&
            step->at_ms + step->hold_ms >= taken->at_ms) {
            return taken->at_ms + taken->hold_ms;
        }
    }
    return 0;
}

/* Decides the fate of one part, from the beginning to the end. */
static void draw_part(struct chaos_schedule *schedule, uint64_t *state, struct chaos_step step,
                      int64_t duration_ms, unsigned exchanges)
{
    int64_t pause_ms = parts[step.part].pause_ms;

    for (step.at_ms = between(state, 0, pause_ms);;
         step.at_ms += step.hold_ms + between(state, pause_ms / 5, 2 * pause_ms)) {
        step.verb = draw_verb(state, step.part);
        step.of = (unsigned)between(state, 0, exchanges - 1);
        step.hold_ms = between(state, verbs[step.verb].least_ms, verbs[step.verb].most_ms);
        for (int64_t until; (until = taken_until(schedule, &step)) > 0;) {
            step.at_ms = until + 1;
        }
        if (step.at_ms + step.hold_ms > duration_ms) {
            return;
        }
        add(schedule, step);
        if (step.hold_ms > 0) {
            struct chaos_step end = step;

            end.at_ms += step.hold_ms;
            end.heals = 1;
            add(schedule, end);
        }
    }
}

static int compare_steps(const void *a, const void *b)
{
    const struct chaos_step *x = a, *y = b;

    if (x->at_ms != y->at_ms) {
        return x->at_ms < y->at_ms ? -1 : 1;
    }
    if (x->part != y->part) {
        return x->part < y->part ? -1 : 1;
    }
    return x->which < y->which ? -1 : x->which > y->which;
}

void chaos_schedule_draw(struct chaos_schedule *schedule, uint64_t seed, int64_t duration_ms,
                         unsigned exchanges)
{
    *schedule = (struct chaos_schedule){0};
    for (int part = 0; part < CHAOS_PART_COUNT; part++) {
        for (unsigned which = 0; which < parts[part].count; which++) {
            draw_part(schedule, &seed,
                      (struct chaos_step){.part = (enum chaos_part)part, .which = which},
                      duration_ms, exchanges);
        }
    }
    if (schedule->count > 0) {
        qsort(schedule->steps, schedule->count, sizeof *schedule->steps, compare_steps);
    }
}

void chaos_schedule_release(struct chaos_schedule *schedule)
{
    free(schedule->steps);
    *schedule = (struct chaos_schedule){0};
}

void chaos_step_text(const struct chaos_step *step, char *out, size_t size)
{
    int length =
        snprintf(out, size, "%7.3f s  %s", (double)step->at_ms / 1000, parts[step->part].name);

    if (parts[step->part].count > 1) {
        length += snprintf(out + length, size - (size_t)length, " %u", step->which);
    }
    length += snprintf(out + length, size - (size_t)length, ": %s", verbs[step->verb].text);
    if (step->hold_ms > 0) {
        snprintf(out + length, size - (size_t)length,
                 step->heals ? ": over" : ", for %" PRId64 " ms", step->hold_ms);
    }
}
