/* loader_seen.h: a loader on a real PostgreSQL, and what came of its batches: what the tests of it
 * share. */
#ifndef BLOTTER_TESTS_LOADER_SEEN_H
#define BLOTTER_TESTS_LOADER_SEEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/postgres/loader.h"
#include "drainer/postgres/migrations.h"
#include "drainer/redis/streams.h"
#include "tests/fixture/servers.h"
#include "tests/integration/loop.h"
#include "tests/integration/postgres/migrated.h"
#include "tests/unit/pack.h"

#define TODAY (INT64_C(1767225600000000000) + DAY * 31) /* 2026-02-01 */
#define DAY INT64_C(86400000000000)

static const char session_sql[] =
    "SET synchronous_commit = on; SET lock_timeout = '100ms'; SET TimeZone = 'UTC'; "
    "SET client_min_messages = warning; SELECT blotter_internal.begin_session()";

static struct fixture_postgres *server;
static struct text_set venues, terminal;
static struct streams streams;
static struct stream *stream;

/* A loader on its own connection, the batch that is loaded, and how that ended. */
static struct {
    struct event_base *base;
    struct pg_link *link;
    struct loader *loader;
    struct batch batch;
    int ups, done;
    bool failed;
    struct pg_failure failure;
} seen;

/* --- running it --- */

static inline void on_prepared_rows(void *owner, const PGresult *result)
{
    (void)owner, (void)result;
}

static inline void on_change(void *owner, bool ready, const struct pg_failure *why)
{
    (void)owner, (void)why;
    seen.ups += ready;
    if (ready && seen.loader != NULL) {
        loader_forget_session(seen.loader);
    }
}

static inline void on_done(void *owner, struct batch *batch, const struct pg_failure *failure)
{
    assert_ptr_equal(owner, &seen);
    assert_ptr_equal(batch, &seen.batch);
    assert_int_equal(batch->state,
                     failure == NULL || stream->held_up ? BATCH_COMMITTED : BATCH_FAILED);
    batch->state = BATCH_GATHERING; /* as if the same were read again */
    seen.done++;
    seen.failed = failure != NULL;
    memset(&seen.failure, 0, sizeof seen.failure);
    if (failure != NULL) {
        seen.failure = *failure;
    }
}

static inline void on_set(void *owner, const struct pg_failure *failure)
{
    (void)owner;
    assert_null(failure);
    seen.done++;
}

/* Runs SQL in another database than the one that is tested. */
static inline void run_outside(const char *sql)
{
    PGconn *connection =
        PQconnectdb(fixture_format("%s dbname=postgres", fixture_postgres_conninfo(server)));
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    }
    PQclear(result);
    PQfinish(connection);
}

static inline int begin(void **state)
{
    (void)state;
    run_outside("CREATE DATABASE blotter TEMPLATE migrated");
    memset(&seen, 0, sizeof seen);
    seen.base = event_base_new();
    seen.link =
        pg_link_create(&(struct pg_link_options){.base = seen.base,
                                                 .conninfo = fixture_postgres_conninfo(server),
                                                 .application_name = "loader",
                                                 .prepare_sql = session_sql,
                                                 .on_prepared_rows = on_prepared_rows,
                                                 .on_change = on_change,
                                                 .connect_timeout_ms = 10000,
                                                 .command_timeout_ms = LOOP_TIMEOUT_MS});
    pg_link_start(seen.link);
    seen.loader =
        loader_create(seen.link, &(struct loader_options){.drainer = "me",
                                                          .keep_orders = true,
                                                          .venues_by_symbol = &venues,
                                                          .terminal_statuses = &terminal});
    seen.batch.changes = order_changes_create(&venues, &terminal);
    assert_true(loop_until(seen.base, &seen.ups, 1));
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    loader_destroy(seen.loader);
    pg_link_destroy(seen.link);
    order_changes_destroy(seen.batch.changes);
    batch_release(&seen.batch);
    event_base_free(seen.base);
    run_outside("DROP DATABASE blotter WITH (FORCE)");
    return 0;
}

/* Loads what is in the batch; the batch stays as it is. */
static inline void load(void)
{
    loader_load(seen.loader, &seen.batch, on_done, &seen);
    assert_true(loop_until(seen.base, &seen.done, seen.done + 1));
}

static inline void assert_loaded(void)
{
    if (seen.failed) {
        fail_msg("%s, SQLSTATE %s", seen.failure.message, seen.failure.sqlstate);
    }
}

static inline const struct loader_counters *counters(void)
{
    return &loader_stats(seen.loader)->counters;
}

/* --- records --- */

static inline void add(const char *kind, const struct pack *pack)
{
    static uint64_t id;
    const struct raw_field fields[] = {{kind, strlen(kind)},
                                       {(const char *)pack->bytes, pack->length}};

    batch_add(&seen.batch, stream, stream->exchange, stream->name,
              (struct stream_entry_id){TODAY / 1000000, ++id}, fields, 2, 1, TODAY);
}

static inline void begin_record(struct pack *pack, unsigned more, int64_t seq, int64_t recorded_at)
{
    pack_begin(pack, 3 + more);
    pack_integer_pair(pack, "producer_id", 7);
    pack_integer_pair(pack, "seq", seq);
    pack_integer_pair(pack, "recorded_at", recorded_at);
}

static inline void add_order_of(int64_t seq, int64_t recorded_at, const char *symbol,
                                const char *status)
{
    struct pack pack;

    begin_record(&pack, 3, seq, recorded_at);
    pack_pair(&pack, "order_id", fixture_format("o%d", (int)(seq % 5)));
    pack_pair(&pack, "symbol", symbol);
    pack_pair(&pack, "status", status);
    add("order", &pack);
}

static inline void add_order(int64_t seq)
{
    add_order_of(seq, TODAY + seq, "BTC/USDT", "open");
}

static inline void add_trade_of(int64_t seq, const char *symbol)
{
    struct pack pack;

    begin_record(&pack, 3, seq, TODAY + seq);
    pack_pair(&pack, "symbol", symbol);
    pack_pair(&pack, "price", "68000.10");
    pack_pair(&pack, "quantity", "0.5");
    add("trade", &pack);
}

static inline void add_trade(int64_t seq)
{
    add_trade_of(seq, "BTC/USDT");
}

static inline void add_session(int64_t seq, const char *event)
{
    struct pack pack;

    begin_record(&pack, 1, seq, TODAY + seq);
    pack_pair(&pack, "event", event);
    add("session", &pack);
}

static inline void add_bad(int64_t seq)
{
    struct pack pack;

    begin_record(&pack, 1, seq, TODAY + seq);
    pack_pair(&pack, "price", "a lot");
    add("order", &pack);
}

static inline int64_t count(const char *of)
{
    bool internal = strcmp(of, "sessions") == 0 || strcmp(of, "partitions") == 0;

    return fixture_postgres_int(server, "SELECT count(*) FROM %s.%s",
                                internal ? "blotter_internal" : "blotter", of);
}

/* stored rejected voided expired last_seq */
static inline const char *progress(void)
{
    return fixture_postgres_run(
        server, "SELECT concat_ws(' ', sum(stored), sum(rejected), sum(voided), sum(expired), "
                "max(last_seq)) FROM blotter_internal.progress WHERE producer_id = 7");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static inline int start_server(void **state)
{
    (void)state;
    server = fixture_postgres_start(&(struct fixture_postgres_options){.no_fsync = true});
    migrate(server);
    /* TODAY is not the server's */
    fixture_postgres_run(server, "UPDATE blotter_internal.retention SET days_back = 100000");
    run_outside("ALTER DATABASE blotter RENAME TO migrated");
    text_set_add(&terminal, "filled", 6);
    stream = streams_add(&streams, "blotter:okx", 11);
    return 0;
}

static inline int stop(void **state)
{
    (void)state;
    streams_release(&streams);
    text_set_release(&terminal);
    return 0;
}

#endif
