/* pg_link_seen.h: a link to PostgreSQL, and what it has said so far: what the tests of it share. */
#ifndef BLOTTER_TESTS_PG_LINK_SEEN_H
#define BLOTTER_TESTS_PG_LINK_SEEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/postgres/pg_link.h"
#include "tests/fixture/servers.h"
#include "tests/integration/loop.h"

#define TIMEOUT_MS LOOP_TIMEOUT_MS

static struct fixture_postgres *server;

/* A link, and what it has said so far. */
static struct {
    struct event_base *base;
    struct pg_link *link;
    int ups, downs, prepared_rows;
    struct pg_failure why; /* of the last time it was lost */
    int done;              /* commands done */
    bool failed;
    struct pg_failure failure; /* of the last command */
    char value[64];            /* the last row's first column */
} seen;

/* --- running it --- */

static inline void on_prepared_rows(void *owner, const PGresult *result)
{
    (void)owner;
    seen.prepared_rows += PQntuples(result);
}

static inline void on_change(void *owner, bool ready, const struct pg_failure *why)
{
    (void)owner;
    if (ready) {
        seen.ups++;
    } else {
        seen.downs++;
        seen.why = *why;
    }
}

static inline void on_rows(void *owner, const PGresult *result)
{
    (void)owner;
    snprintf(seen.value, sizeof seen.value, "%s",
             PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
}

static inline void on_done(void *owner, const struct pg_failure *failure)
{
    (void)owner;
    seen.done++;
    seen.failed = failure != NULL;
    if (failure != NULL) {
        seen.failure = *failure;
    }
}

static inline void open_link_with(struct pg_link_options options)
{
    memset(&seen, 0, sizeof seen);
    seen.base = event_base_new();
    options.base = seen.base;
    options.application_name = "test";
    options.on_prepared_rows = on_prepared_rows;
    options.on_change = on_change;
    options.prepare_sql =
        options.prepare_sql == NULL
            ? "SET search_path = public; SELECT 1; SET lock_timeout = '1s'; SELECT 2"
            : options.prepare_sql;
    options.connect_timeout_ms =
        options.connect_timeout_ms == 0 ? 10000 : options.connect_timeout_ms;
    seen.link = pg_link_create(&options);
    pg_link_start(seen.link);
}

static inline void open_link(const char *conninfo, unsigned command_timeout_ms)
{
    open_link_with(
        (struct pg_link_options){.conninfo = conninfo, .command_timeout_ms = command_timeout_ms});
}

static inline int close_link(void **state)
{
    (void)state;
    if (seen.base != NULL) {
        pg_link_destroy(seen.link);
        event_base_free(seen.base);
        seen.base = NULL;
    }
    return 0;
}

static inline void run_until(const int *count, int wanted)
{
    assert_true(loop_until(seen.base, count, wanted));
}

static inline void open_ready(unsigned command_timeout_ms)
{
    open_link(fixture_postgres_conninfo(server), command_timeout_ms);
    run_until(&seen.ups, 1);
}

static inline void start(const char *sql, struct pg_copy *copies, size_t copy_count)
{
    pg_link_run(seen.link, &(struct pg_command){.sql = sql,
                                                .copies = copies,
                                                .copy_count = copy_count,
                                                .on_rows = on_rows,
                                                .on_done = on_done});
}

static inline void run_copies(const char *sql, struct pg_copy *copies, size_t copy_count)
{
    start(sql, copies, copy_count);
    run_until(&seen.done, seen.done + 1);
}

static inline void run(const char *sql)
{
    run_copies(sql, NULL, 0);
}

static inline void assert_done(void)
{
    if (seen.failed) {
        fail_msg("%s, SQLSTATE %s", seen.failure.message, seen.failure.sqlstate);
    }
}

static inline void assert_failed(const char *sqlstate, enum pg_action action)
{
    assert_true(seen.failed);
    assert_string_equal(seen.failure.sqlstate, sqlstate);
    assert_int_equal(seen.failure.action, action);
    assert_false(seen.failure.connection_lost);
    assert_true(pg_link_ready(seen.link));
}

static inline void assert_lost(void)
{
    assert_true(seen.failed);
    assert_true(seen.failure.connection_lost);
    assert_int_equal(seen.failure.action, PG_ACTION_RETRY);
    assert_int_equal(pg_link_state(seen.link), PG_LINK_WAITING);
}

#define TEST(name) cmocka_unit_test_teardown(name, close_link)

static inline int start_server(void **state)
{
    (void)state;
    server = fixture_postgres_start(&(struct fixture_postgres_options){.no_fsync = true});
    return 0;
}

#endif
