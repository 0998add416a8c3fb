/* web_live.h: tells viewers that something was committed, by server-sent events.
 *
 * While somebody looks, the counters blotter_internal.loaded, and whether the books have caught up,
 * are read every 100 ms, which works on a standby too. When they changed, every viewer gets one
 * short event and asks for what it shows: at once after a pause, again when the books have
 * followed, and once a second while commits keep coming. All viewers are told together, so that
 * they share answers. One thread; never blocks. */
#ifndef BLOTTER_DRAINER_WEB_WEB_LIVE_H
#define BLOTTER_DRAINER_WEB_WEB_LIVE_H

#include <event2/event.h>

struct http_request;
struct web_live;
struct web_pool;
struct web_status;

struct web_live *web_live_create(struct event_base *, struct web_pool *, struct web_status *);
void web_live_destroy(struct web_live *);

/* Counts the events that told of a commit. 0: nobody looks, so commits are not seen. */
unsigned web_live_generation(const struct web_live *);

/* Answers the request with events until its connection ends. headers: as of http_request_reply. */
void web_live_add(struct web_live *, struct http_request *, const char *headers);

#endif
