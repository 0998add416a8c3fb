/* loading.h: the connection that loads, with what belongs to it: its session's opening, what the
 * database wants of orders, and the loader. `drain` and `rejects replay` each have one. */
#ifndef BLOTTER_DRAINER_POSTGRES_LOADING_H
#define BLOTTER_DRAINER_POSTGRES_LOADING_H

#include <stdbool.h>

#include "drainer/order_changes.h"
#include "drainer/postgres/loader.h"
#include "drainer/postgres/pg_link.h"

struct settings;

struct loading_options {
    struct event_base *base;
    const struct settings *settings;
    const char *application_name;
    const char *drainer; /* in blotter.progress and blotter.rejects */
    bool replays, dry_run;
    /* ready: the session can load; else it is lost, or could not be opened. */
    void (*on_change)(void *owner, bool ready, const struct pg_failure *why);
    void *owner;
};

struct loading;

struct loading *loading_create(const struct loading_options *);
void loading_destroy(struct loading *); /* takes NULL */
void loading_start(struct loading *);

struct pg_link *loading_link(struct loading *);
struct loader *loading_loader(struct loading *);

/* Makes what a batch merges its orders in while it gathers; NULL where orders are not kept. */
struct order_changes *loading_order_changes(struct loading *);

#endif
