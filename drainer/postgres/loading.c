/* loading.c: see loading.h. */
#include "drainer/postgres/loading.h"

#include <stdlib.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/postgres/pg_session.h"
#include "drainer/settings_table.h"

enum { CONNECT_TIMEOUT_MS = 10000 };

struct loading {
    struct loading_options options;
    struct pg_link *link;
    struct loader *loader;
    struct pg_session session;
};

static void loading_on_rows(void *owner, const PGresult *result)
{
    struct loading *loading = owner;

    pg_session_take(&loading->session, result);
}

static void loading_on_change(void *owner, bool ready, const struct pg_failure *why)
{
    struct loading *loading = owner;

    if (ready) {
        log_info("postgres", "connected");
        loader_forget_session(loading->loader);
    } else {
        pg_session_release(&loading->session);
    }
    loading->options.on_change(loading->options.owner, ready, why);
}

static struct pg_link *loading_make_link(struct loading *loading)
{
    const struct settings *settings = loading->options.settings;
    char *sql = pg_session_sql(settings);
    struct pg_link *link = pg_link_create(
        &(struct pg_link_options){.base = loading->options.base,
                                  .conninfo = settings->postgres,
                                  .application_name = loading->options.application_name,
                                  .prepare_sql = sql,
                                  .on_prepared_rows = loading_on_rows,
                                  .on_change = loading_on_change,
                                  .owner = loading,
                                  .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                  .command_timeout_ms = (unsigned)settings->postgres_timeout});

    free(sql);
    return link;
}

struct loading *loading_create(const struct loading_options *options)
{
    struct loading *loading = memory_or_abort(calloc(1, sizeof *loading));

    loading->options = *options;
    loading->link = loading_make_link(loading);
    loading->loader = loader_create(
        loading->link,
        &(struct loader_options){.drainer = options->drainer,
                                 .keep_orders = options->settings->orders,
                                 .replays = options->replays,
                                 .dry_run = options->dry_run,
                                 .lock_ms = (unsigned)options->settings->lock_timeout,
                                 .venues_by_symbol = &loading->session.venues_by_symbol,
                                 .terminal_statuses = &loading->session.terminal_statuses});
    return loading;
}

void loading_destroy(struct loading *loading)
{
    if (loading == NULL) {
        return;
    }
    loader_destroy(loading->loader);
    pg_link_destroy(loading->link);
    pg_session_release(&loading->session);
    free(loading);
}

void loading_start(struct loading *loading)
{
    pg_link_start(loading->link);
}

struct pg_link *loading_link(struct loading *loading)
{
    return loading->link;
}

struct loader *loading_loader(struct loading *loading)
{
    return loading->loader;
}

struct order_changes *loading_order_changes(struct loading *loading)
{
    return loading->options.settings->orders
               ? order_changes_create(&loading->session.venues_by_symbol,
                                      &loading->session.terminal_statuses)
               : NULL;
}
