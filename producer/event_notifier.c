/* event_notifier.c: see event_notifier.h.
 *
 * Redis is down, or refuses, or all is well: told when that changes, and when it refuses for
 * another reason (the first word of its error). A refusal is over when the same thing is no longer
 * refused, not already when a new connection is up. */
#include "producer/event_notifier.h"

#include <stdio.h>
#include <string.h>

#include "schema/clock.h"
#include "schema/text.h"

void event_notifier_init(struct event_notifier *notifier, event_notifier_callback *on_event,
                         void *arg)
{
    memset(notifier, 0, sizeof *notifier);
    notifier->on_event = on_event;
    notifier->arg = arg;
    notifier->told = -1;
    pthread_mutex_init(&notifier->mutex, NULL);
}

void event_notifier_release(struct event_notifier *notifier)
{
    pthread_mutex_destroy(&notifier->mutex);
}

void event_notifier_event(struct event_notifier *notifier, enum blotter_event event,
                          const char *text)
{
    if (notifier->on_event != NULL) {
        notifier->on_event(notifier->arg, event, text);
    }
}

/* --- the connection --- */

static const char *error_of(const struct event_notifier *notifier)
{
    if (*notifier->down) {
        return notifier->down;
    }
    return *notifier->refused[REFUSED_SENDING] ? notifier->refused[REFUSED_SENDING]
                                               : notifier->refused[REFUSED_CONFIRMING];
}

static bool same_kind(const char *error, const char *other)
{
    size_t length = strcspn(error, " ");
    return length == strcspn(other, " ") && strncmp(error, other, length) == 0;
}

static void event_notifier_publish(struct event_notifier *notifier, const char *error, bool begins)
{
    int64_t now = clock_wall_ns();
    pthread_mutex_lock(&notifier->mutex);
    if (begins) {
        notifier->error_at_ns = *error ? now : 0;
    }
    snprintf(notifier->last_error, sizeof notifier->last_error, "%s", error);
    text_clean(notifier->last_error);
    pthread_mutex_unlock(&notifier->mutex);
}

static void tell_change(struct event_notifier *notifier)
{
    const char *error = error_of(notifier);
    int state = *notifier->down ? BLOTTER_EVENT_REDIS_DOWN
                : *error        ? BLOTTER_EVENT_REDIS_REFUSES
                                : BLOTTER_EVENT_REDIS_UP;
    bool changed = state != notifier->told || (state == BLOTTER_EVENT_REDIS_REFUSES &&
                                               !same_kind(error, notifier->last_error));
    event_notifier_publish(notifier, error, changed);
    if (!changed) {
        return;
    }
    notifier->told = state;
    event_notifier_event(notifier, (enum blotter_event)state, *error ? error : notifier->place);
}

void event_notifier_up(struct event_notifier *notifier, const char *place)
{
    notifier->place = place;
    *notifier->down = 0;
    tell_change(notifier);
}

void event_notifier_down(struct event_notifier *notifier, const char *why)
{
    if (*why && strncmp(why, notifier->refused[REFUSED_SENDING],
                        sizeof notifier->refused[REFUSED_SENDING] - 1) == 0) {
        return; /* the sender has cut the connection itself, because of that refusal */
    }
    memset(notifier->refused, 0, sizeof notifier->refused);
    snprintf(notifier->down, sizeof notifier->down, "%s", why);
    text_clean(notifier->down); /* it may have been cut in a character */
    tell_change(notifier);
}

void event_notifier_refused(struct event_notifier *notifier, enum refused what, const char *error)
{
    char *known = notifier->refused[what];
    if (error == NULL && *known == 0) {
        return;
    }
    snprintf(known, sizeof notifier->refused[what], "%s", error != NULL ? error : "");
    text_clean(known);
    tell_change(notifier);
}

/* --- the journal --- */

void event_notifier_full(struct event_notifier *notifier, uint64_t full, uint64_t held,
                         uint64_t slots)
{
    if (full != notifier->full_seen && !notifier->told_full) {
        notifier->told_full = true;
        event_notifier_event(notifier, BLOTTER_EVENT_FULL, "");
    } else if (notifier->told_full && full == notifier->full_seen && held < slots) {
        notifier->told_full = false;
        event_notifier_event(notifier, BLOTTER_EVENT_ROOM, "");
    }
    notifier->full_seen = full;
}

void event_notifier_damaged(struct event_notifier *notifier, uint64_t *records, const char *path)
{
    char text[320];
    if (*records == 0) {
        return;
    }
    snprintf(text, sizeof text, "%llu records in %s", (unsigned long long)*records, path);
    *records = 0;
    event_notifier_event(notifier, BLOTTER_EVENT_DAMAGED, text);
}

void event_notifier_synced(struct event_notifier *notifier, int error, const char *path)
{
    char text[320];
    if ((error != 0) == notifier->told_not_synced) {
        return;
    }
    notifier->told_not_synced = error != 0;
    snprintf(text, sizeof text, "%s%s%s", error ? strerror(error) : "", error ? ": " : "", path);
    event_notifier_event(notifier, error ? BLOTTER_EVENT_NOT_SYNCED : BLOTTER_EVENT_SYNCED, text);
}

void event_notifier_left_alone(struct event_notifier *notifier, const char *why)
{
    event_notifier_event(notifier, BLOTTER_EVENT_LEFT_ALONE, why);
}

void event_notifier_clock(struct event_notifier *notifier, int64_t jump_ns)
{
    char text[160];
    if ((jump_ns != 0) == notifier->told_clock) {
        return;
    }
    notifier->told_clock = jump_ns != 0;
    snprintf(text, sizeof text,
             "the wall clock jumped ahead by %lld s: records keep the old time until it has stayed "
             "there for a minute",
             (long long)(jump_ns / 1000000000));
    event_notifier_event(notifier, BLOTTER_EVENT_CLOCK,
                         jump_ns != 0 ? text : "the wall clock is believed again");
}

void event_notifier_evicted(struct event_notifier *notifier, uint64_t records)
{
    char text[96];
    if (notifier->told_evicted) {
        return;
    }
    notifier->told_evicted = true;
    snprintf(text, sizeof text,
             "%llu records by now: PostgreSQL is behind by more than the journal holds",
             (unsigned long long)records);
    event_notifier_event(notifier, BLOTTER_EVENT_EVICTED, text);
}

void event_notifier_eviction_over(struct event_notifier *notifier)
{
    notifier->told_evicted = false;
}

void event_notifier_stats(struct event_notifier *notifier, struct blotter_stats *stats)
{
    pthread_mutex_lock(&notifier->mutex);
    stats->last_error_at_ns = notifier->error_at_ns;
    memcpy(stats->last_error, notifier->last_error, sizeof stats->last_error);
    pthread_mutex_unlock(&notifier->mutex);
}
