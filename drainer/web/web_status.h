/* web_status.h: how far Redis and the drainers are, for the page: the output of `blotter status
 * --json --watch`, run as a child while somebody looks. One thread; never blocks the loop. */
#ifndef BLOTTER_DRAINER_WEB_WEB_STATUS_H
#define BLOTTER_DRAINER_WEB_WEB_STATUS_H

#include <event2/event.h>
#include <stdbool.h>

struct web_status;
struct settings;

struct web_status *web_status_create(struct event_base *, const struct settings *);
void web_status_destroy(struct web_status *);

/* Starts or ends the child: somebody looks, or nobody any more. */
void web_status_follow(struct web_status *, bool);

/* Returns the last answer as JSON, or "null". */
const char *web_status_json(const struct web_status *);

/* Returns why there is none, as the child's last line on stderr tells; "": there is one. */
const char *web_status_trouble(const struct web_status *);

#endif
