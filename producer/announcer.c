/* announcer.c: see announcer.h.
 *
 * Redis is down, or refuses, or all is well: told when that changes, and when it refuses for another reason (the first word of
 * its error). A refusal is over when the same thing is no longer refused, not already when a new connection is up. */
#include "producer/announcer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void announcer_init(struct announcer *announcer, announcer_callback *on_event, void *arg)
{
    memset(announcer, 0, sizeof *announcer);
    announcer->on_event = on_event;
    announcer->arg = arg;
    announcer->told = -1;
    pthread_mutex_init(&announcer->mutex, NULL);
}

void announcer_release(struct announcer *announcer)
{
    pthread_mutex_destroy(&announcer->mutex);
}

void announcer_event(struct announcer *announcer, enum blotter_event event, const char *text)
{
    if (announcer->on_event)
        announcer->on_event(announcer->arg, event, text);
}

/* --- the connection ------------------------------------------------------------------------------------------------------- */

static const char *error_of(const struct announcer *announcer)
{
    if (*announcer->down)
        return announcer->down;
    return *announcer->refused[REFUSED_SENDING] ? announcer->refused[REFUSED_SENDING] : announcer->refused[REFUSED_CONFIRMING];
}

static bool same_kind(const char *error, const char *other)
{
    size_t length = strcspn(error, " ");
    return length == strcspn(other, " ") && strncmp(error, other, length) == 0;
}

static void publish(struct announcer *announcer, const char *error, bool begins)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&announcer->mutex);
    if (begins)
        announcer->error_at_ns = *error ? now.tv_sec * INT64_C(1000000000) + now.tv_nsec : 0;
    snprintf(announcer->last_error, sizeof announcer->last_error, "%s", error);
    pthread_mutex_unlock(&announcer->mutex);
}

static void tell_change(struct announcer *announcer)
{
    const char *error = error_of(announcer);
    int state = *announcer->down ? BLOTTER_EVENT_REDIS_DOWN : *error ? BLOTTER_EVENT_REDIS_REFUSES : BLOTTER_EVENT_REDIS_UP;
    bool changed = state != announcer->told || (state == BLOTTER_EVENT_REDIS_REFUSES && !same_kind(error, announcer->last_error));
    publish(announcer, error, changed);
    if (!changed)
        return;
    announcer->told = state;
    announcer_event(announcer, (enum blotter_event)state, *error ? error : announcer->place);
}

void announcer_up(struct announcer *announcer, const char *place)
{
    announcer->place = place;
    *announcer->down = 0;
    tell_change(announcer);
}

void announcer_down(struct announcer *announcer, const char *why)
{
    if (*why && strncmp(why, announcer->refused[REFUSED_SENDING], sizeof announcer->refused[REFUSED_SENDING] - 1) == 0)
        return; /* the sender has cut the connection itself, because of that refusal */
    memset(announcer->refused, 0, sizeof announcer->refused);
    snprintf(announcer->down, sizeof announcer->down, "%s", why);
    tell_change(announcer);
}

void announcer_refused(struct announcer *announcer, enum refused what, const char *error)
{
    char *known = announcer->refused[what];
    if (error == NULL && *known == 0)
        return;
    snprintf(known, sizeof announcer->refused[what], "%s", error ? error : "");
    tell_change(announcer);
}

/* --- the journal ---------------------------------------------------------------------------------------------------------- */

void announcer_full(struct announcer *announcer, uint64_t full, uint64_t held, uint64_t slots)
{
    if (full != announcer->full_seen && !announcer->told_full) {
        announcer->told_full = true;
        announcer_event(announcer, BLOTTER_EVENT_FULL, "");
    } else if (announcer->told_full && full == announcer->full_seen && held < slots) {
        announcer->told_full = false;
        announcer_event(announcer, BLOTTER_EVENT_ROOM, "");
    }
    announcer->full_seen = full;
}

void announcer_damaged(struct announcer *announcer, uint64_t *records, const char *path)
{
    char text[320];
    if (*records == 0)
        return;
    snprintf(text, sizeof text, "%llu records in %s", (unsigned long long)*records, path);
    *records = 0;
    announcer_event(announcer, BLOTTER_EVENT_DAMAGED, text);
}

void announcer_synced(struct announcer *announcer, int error, const char *path)
{
    char text[320];
    if ((error != 0) == announcer->told_not_synced)
        return;
    announcer->told_not_synced = error != 0;
    snprintf(text, sizeof text, "%s%s%s", error ? strerror(error) : "", error ? ": " : "", path);
    announcer_event(announcer, error ? BLOTTER_EVENT_NOT_SYNCED : BLOTTER_EVENT_SYNCED, text);
}

void announcer_let_go(struct announcer *announcer, uint64_t records)
{
    char text[96];
    if (announcer->told_let_go || records == 0)
        return;
    announcer->told_let_go = true;
    snprintf(text, sizeof text, "%llu sent records and more to come: PostgreSQL is behind by a journal",
             (unsigned long long)records);
    announcer_event(announcer, BLOTTER_EVENT_LET_GO, text);
}

void announcer_let_go_over(struct announcer *announcer)
{
    announcer->told_let_go = false;
}

void announcer_stats(struct announcer *announcer, struct blotter_stats *stats)
{
    pthread_mutex_lock(&announcer->mutex);
    stats->last_error_at_ns = announcer->error_at_ns;
    memcpy(stats->last_error, announcer->last_error, sizeof stats->last_error);
    pthread_mutex_unlock(&announcer->mutex);
}
