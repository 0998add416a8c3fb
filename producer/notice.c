/* notice.c: see notice.h. */
#include "producer/notice.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void notice_init(struct notice *notice, void (*on_event)(void *arg, enum blotter_event, const char *text), void *arg)
{
    memset(notice, 0, sizeof *notice);
    notice->on_event = on_event;
    notice->arg = arg;
    pthread_mutex_init(&notice->mutex, NULL);
}

void notice_release(struct notice *notice)
{
    pthread_mutex_destroy(&notice->mutex);
}

void notice_event(struct notice *notice, enum blotter_event event, const char *text)
{
    if (notice->on_event)
        notice->on_event(notice->arg, event, text);
}

void notice_error(struct notice *notice, const char *text)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&notice->mutex);
    if (*text == 0)
        notice->error_at_ns = 0;
    else if (notice->error_at_ns == 0)
        notice->error_at_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    snprintf(notice->last_error, sizeof notice->last_error, "%s", text);
    pthread_mutex_unlock(&notice->mutex);
}

void notice_up(struct notice *notice, const char *place)
{
    notice->told_down = false;
    notice_error(notice, "");
    notice_event(notice, BLOTTER_EVENT_REDIS_UP, place);
}

void notice_down(struct notice *notice, const char *why)
{
    notice_error(notice, why);
    if (!notice->told_down)
        notice_event(notice, BLOTTER_EVENT_REDIS_DOWN, why);
    notice->told_down = true;
}

void notice_stats(struct notice *notice, struct blotter_stats *stats)
{
    pthread_mutex_lock(&notice->mutex);
    stats->last_error_at_ns = notice->error_at_ns;
    memcpy(stats->last_error, notice->last_error, sizeof stats->last_error);
    pthread_mutex_unlock(&notice->mutex);
}
