/* web_live.h: tells viewers that something was committed, by server-sent events.
 *
 * While somebody looks, the counters blotter_internal.loaded and the booker's progress are read
 * every 100 ms, which works on a standby too; when they changed, every viewer gets one short event
 * and asks for what it shows. One thread; never blocks. */
#ifndef BLOTTER_DRAINER_WEB_WEB_LIVE_H
#define BLOTTER_DRAINER_WEB_WEB_LIVE_H

#include <event2/event.h>

struct http_request;
struct web_live;
struct web_pool;
struct web_status;

struct web_live *web_live_create(struct event_base *, struct web_pool *, struct web_status *);
void web_live_destroy(struct web_live *);

/* Answers the request with events until its connection ends. headers: as of http_request_reply. */
void web_live_add(struct web_live *, struct http_request *, const char *headers);

#endif
