/* web_child.h: `drain --web`: runs `blotter web` beside the drainer, in a process of its own, so
 * that nothing that a browser sends reaches the process that loads. It is started again when it
 * ends. One thread. */
#ifndef BLOTTER_DRAINER_WEB_WEB_CHILD_H
#define BLOTTER_DRAINER_WEB_WEB_CHILD_H

#include <event2/event.h>

struct settings;
struct web_child;

struct web_child *web_child_start(struct event_base *, const struct settings *);
void web_child_end(struct web_child *); /* takes NULL; waits for its end */

#endif
