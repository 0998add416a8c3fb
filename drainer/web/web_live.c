/* web_live.c: see web_live.h. A viewer that does not read is dropped when more than BEHIND_BYTES
 * wait for it, so it costs bounded memory and slows nobody. */
#include "drainer/web/web_live.h"

#include <event2/buffer.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/http_server.h"
#include "drainer/memory.h"
#include "drainer/web/web_pool.h"
#include "drainer/web/web_status.h"
#include "producer/timer.h"
#include "schema/clock.h"

enum {
    LOOK_MS = 100,
    STATUS_EVERY = 10, /* looks between two reports of the pipeline, which also keep alive */
    BEHIND_BYTES = 262144,
    STATE_BYTES = 128,
    PAUSE_MS = 2000,   /* after so long without an event the next two come at once */
    SECOND_MS = 300,   /* the second of them: the books have followed */
    KEEP_ON_MS = 1000, /* while commits keep coming */
};

static const char live_sql[] = "SELECT blotter_internal.web_live()";

struct viewer {
    struct viewer *next;
    struct web_live *live;
    struct http_request *request;
};

struct web_live {
    struct web_pool *pool;
    struct web_status *status;
    struct event *timer;
    struct viewer *viewers;
    struct web_query *query;
    unsigned looks, generation;
    bool changed;            /* since the last event */
    int64_t sent_ms, gap_ms; /* of the last event; how long the next one waits behind it */
    char state[STATE_BYTES];
};

static void viewer_remove(void *arg)
{
    struct viewer *viewer = arg;
    struct web_live *live = viewer->live;
    for (struct viewer **at = &live->viewers; *at != NULL; at = &(*at)->next) {
        if (*at == viewer) {
            *at = viewer->next;
            break;
        }
    }
    free(viewer);
    if (live->viewers == NULL) {
        evtimer_del(live->timer);
        web_status_follow(live->status, false);
    }
}

/* Ends a viewer that does not read, or all at the end. */
static void viewer_end(struct viewer *viewer)
{
    struct http_request *request = viewer->request;
    viewer_remove(viewer);
    http_request_end(request);
}

static void live_send(struct web_live *live, const char *event, const char *data)
{
    struct evbuffer *text = evbuffer_new();
    if (text == NULL || evbuffer_add_printf(text, "event: %s\ndata: %s\n\n", event, data) < 0) {
        abort();
    }
    size_t length = evbuffer_get_length(text);
    const void *bytes = memory_or_abort(evbuffer_pullup(text, -1));
    for (struct viewer *viewer = live->viewers, *next; viewer != NULL; viewer = next) {
        next = viewer->next;
        if (http_request_backlog(viewer->request) > BEHIND_BYTES) {
            viewer_end(viewer);
        } else {
            http_request_send(viewer->request, bytes, length);
        }
    }
    evbuffer_free(text);
}

static void live_send_status(struct web_live *live)
{
    const char *trouble = web_status_trouble(live->status);
    const char *away = web_pool_trouble(live->pool);
    live_send(live, "status", web_status_json(live->status));
    if (trouble[0] != '\0' || away[0] != '\0') {
        live_send(live, "trouble", trouble[0] != '\0' ? trouble : away);
    }
}

/* Tells of what has changed, if it is time. */
static void live_send_change(struct web_live *live)
{
    int64_t now = clock_monotonic_ms(), pause = now - live->sent_ms;
    if (live->changed && pause >= live->gap_ms) {
        live->gap_ms = pause >= PAUSE_MS ? SECOND_MS : KEEP_ON_MS;
        live->sent_ms = now;
        live->changed = false;
        live->generation += live->generation == UINT_MAX ? 2 : 1;
        live_send(live, "committed", live->state);
    }
}

static void on_state(void *arg, enum web_answer answer, const char *text, size_t length)
{
    struct web_live *live = arg;
    (void)length;
    live->query = NULL;
    if (answer != WEB_ANSWER_OK) {
        live_send(live, "trouble", text);
        return;
    }
    if (strcmp(text, live->state) != 0) {
        snprintf(live->state, sizeof live->state, "%s", text);
        live->changed = true;
    }
    live_send_change(live);
}

static void web_live_on_look(evutil_socket_t fd, short what, void *arg)
{
    struct web_live *live = arg;
    (void)fd, (void)what;
    if (live->query == NULL) {
        live->query = web_pool_ask(live->pool, live_sql, 0, NULL, on_state, live);
    }
    if (live->looks++ % STATUS_EVERY == 0) {
        live_send_status(live);
    }
}

unsigned web_live_generation(const struct web_live *live)
{
    return live->viewers == NULL ? 0 : live->generation;
}

struct web_live *web_live_create(struct event_base *base, struct web_pool *pool,
                                 struct web_status *status)
{
    struct web_live *live = memory_or_abort(calloc(1, sizeof *live));
    live->generation = 1;
    live->pool = pool;
    live->status = status;
    live->timer = memory_or_abort(event_new(base, -1, EV_PERSIST, web_live_on_look, live));
    return live;
}

void web_live_destroy(struct web_live *live)
{
    if (live == NULL) {
        return;
    }
    while (live->viewers != NULL) {
        viewer_end(live->viewers);
    }
    if (live->query != NULL) {
        web_pool_cancel(live->query);
    }
    event_free(live->timer);
    free(live);
}

void web_live_add(struct web_live *live, struct http_request *request, const char *headers)
{
    struct viewer *viewer = memory_or_abort(calloc(1, sizeof *viewer));
    *viewer = (struct viewer){.next = live->viewers, .live = live, .request = request};
    if (live->viewers == NULL) {
        timer_start(live->timer, LOOK_MS);
        web_status_follow(live->status, true);
        live->generation++; /* what was committed meanwhile was not seen */
    }
    live->viewers = viewer;
    http_request_on_closed(request, viewer_remove, viewer);
    http_request_stream(request, "text/event-stream", headers);
    live->looks = 0;
}
