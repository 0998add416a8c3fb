/* web_pool.c: see web_pool.h.
 *
 *     CLOSED ──► CONNECTING ──► IDENTIFYING ──► PREPARING ──► READY ◄──► RUNNING
 *     any ──► CLOSED, when the session is lost
 *
 * A session in IDENTIFYING asks which backend it has, as a pooler may be between, which must not
 * get the settings that PREPARING runs if it gives each transaction another session. In RUNNING it
 * runs one query of the queue. One that says nothing for longer than a query may take is lost: its
 * server has stopped, or the way to it. */
#include "drainer/web/web_pool.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/backoff.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/postgres/pg_hosts.h"
#include "drainer/postgres/pg_pooler.h"
#include "drainer/postgres/pg_result.h"
#include "drainer/web/api.h"
#include "schema/clock.h"
#include "schema/text.h"

enum {
    SESSIONS = 4,
    QUEUE_MAX = 256,
    RETRY_MIN_MS = 100, /* after an attempt to connect that failed, then twice as long ... */
    RETRY_MAX_MS = 2000,
    CONNECT_TIMEOUT_S = 5,
    REASON_BYTES = 256
};

enum session_state {
    SESSION_CLOSED,
    SESSION_CONNECTING,
    SESSION_IDENTIFYING,
    SESSION_PREPARING,
    SESSION_READY,
    SESSION_RUNNING,
};

struct web_query {
    struct web_query *next;
    char *sql;
    int parameters;
    char *values[API_PARAMETERS_MAX];
    web_pool_done *done; /* NULL: nobody waits for it any more */
    void *arg;
};

struct web_session {
    struct web_pool *pool;
    enum session_state state;
    PGconn *connection;
    struct event *event;
    struct web_query *query;
    bool pooled; /* its backend is another than it was told */
};

struct web_pool {
    struct event_base *base;
    const struct settings *settings;
    int timeout_ms;
    struct web_session sessions[SESSIONS];
    struct web_query *first, **last;
    size_t waiting;
    struct event *turn;
    unsigned first_host; /* of the conninfo's list: the ones before have not answered */
    int64_t retry_at_ms; /* no attempt to connect is made before */
    unsigned pause_ms;   /* after the next one that fails; 0: the last one did not */
    bool pooler_allowed; /* one is between, and was looked at */
    int exit_code;       /* of what ended the loop */
    char trouble[REASON_BYTES];
};

static void on_session_event(evutil_socket_t, short, void *);

/* --- queries --- */

static void query_free(struct web_query *query)
{
    for (int i = 0; i < query->parameters; i++) {
        free(query->values[i]);
    }
    free(query->sql);
    free(query);
}

static void query_end(struct web_query *query, enum web_answer answer, const char *text,
                      size_t length)
{
    if (query->done != NULL) {
        query->done(query->arg, answer, text, length);
    }
    query_free(query);
}

static struct web_query *queue_take(struct web_pool *pool)
{
    struct web_query *query = pool->first;
    if (query != NULL) {
        pool->first = query->next;
        if (pool->first == NULL) {
            pool->last = &pool->first;
        }
        pool->waiting--;
    }
    return query;
}

/* Ends the waiting queries with the reason: nobody answers while no session can be made. */
static void queue_fail(struct web_pool *pool)
{
    struct web_query *query;
    while ((query = queue_take(pool)) != NULL) {
        query_end(query, WEB_ANSWER_AWAY, pool->trouble, strlen(pool->trouble));
    }
}

/* --- sessions --- */

static void session_watch(struct web_session *session, short what)
{
    if (session->event != NULL) {
        event_free(session->event);
    }
    session->event = event_new(session->pool->base, PQsocket(session->connection), what,
                               on_session_event, session);
    struct timeval limit = {.tv_sec = CONNECT_TIMEOUT_S};
    if (session->state != SESSION_CONNECTING) { /* the server itself ends what takes too long */
        limit.tv_sec += (session->pool->timeout_ms + 999) / 1000;
    }
    bool waits = session->state != SESSION_READY;
    if (session->event == NULL || event_add(session->event, waits ? &limit : NULL) != 0) {
        abort();
    }
}

static void session_close(struct web_session *session)
{
    if (session->event != NULL) {
        event_free(session->event);
        session->event = NULL;
    }
    PQfinish(session->connection);
    session->connection = NULL;
    session->state = SESSION_CLOSED;
}

static bool pool_has_session(const struct web_pool *pool)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        if (pool->sessions[i].state != SESSION_CLOSED) {
            return true;
        }
    }
    return false;
}

/* Waits longer before the next attempt. Several that were made at once and fail count as one. */
static void pool_back_off(struct web_pool *pool)
{
    int64_t now = clock_monotonic_ms();

    if (now >= pool->retry_at_ms) {
        pool->retry_at_ms = now + backoff_next_ms(&pool->pause_ms, RETRY_MIN_MS, RETRY_MAX_MS);
    }
}

/* Ends a lost session, and its query with it. The reason, unless `why` gives it, is libpq's first
 * line, which names no password. */
static void session_lose(struct web_session *session, const char *why)
{
    struct web_pool *pool = session->pool;
    const char *message = why != NULL                   ? why
                          : session->connection == NULL ? "out of memory"
                                                        : PQerrorMessage(session->connection);
    char reason[REASON_BYTES];
    snprintf(reason, sizeof reason, "%.*s", (int)strcspn(message, "\n"), message);
    text_clean(reason);
    if (strcmp(reason, pool->trouble) != 0) {
        log_warn("postgres", "%s", reason);
        memcpy(pool->trouble, reason, sizeof pool->trouble);
    }
    if (session->state != SESSION_READY && session->state != SESSION_RUNNING) {
        pool_back_off(pool);
    }
    struct web_query *query = session->query;
    session->query = NULL;
    session_close(session);
    if (query != NULL) {
        query_end(query, WEB_ANSWER_AWAY, reason, strlen(reason));
    }
    if (!pool_has_session(pool)) {
        queue_fail(pool);
    }
}

static void session_connect(struct web_session *session)
{
    struct pg_hosts hosts;
    const char *conninfo = session->pool->settings->postgres;
    pg_hosts_begin_with(&hosts, conninfo, session->pool->first_host);
    const char *const keywords[] = {"dbname", "host", "hostaddr", "port", NULL};
    const char *const values[] = {conninfo, hosts.host, hosts.hostaddr, hosts.port, NULL};
    session->connection = PQconnectStartParams(keywords, values, 1);
    pg_hosts_release(&hosts);
    if (session->connection == NULL || PQstatus(session->connection) == CONNECTION_BAD) {
        session_lose(session, NULL);
        return;
    }
    session->state = SESSION_CONNECTING;
    session_watch(session, EV_WRITE);
}

static void session_send(struct web_session *session, enum session_state state, const char *sql)
{
    session->state = state;
    if (PQsendQuery(session->connection, sql) != 1) {
        session_lose(session, NULL);
        return;
    }
    session_watch(session, EV_READ | EV_WRITE | EV_PERSIST);
}

static void session_identify(struct web_session *session)
{
    PQsetnonblocking(session->connection, 1);
    session_send(session, SESSION_IDENTIFYING, "SELECT pg_backend_pid()");
}

/* Ends the loop where a pooler gives each transaction another session. Looking blocks, once. */
static bool pool_allows_pooler(struct web_pool *pool, PGconn *connection)
{
    if (!pool->pooler_allowed &&
        pg_pooling_of(connection, pool->settings) == PG_POOLING_BY_TRANSACTION) {
        pool->exit_code = pg_pooler_fail(pool->settings);
        event_base_loopbreak(pool->base);
        return false;
    }
    pool->pooler_allowed = true;
    return true;
}

static void session_prepare(struct web_session *session)
{
    char sql[512];
    if (session->pooled && !pool_allows_pooler(session->pool, session->connection)) {
        session_close(session);
        return;
    }
    snprintf(sql, sizeof sql,
             "SET default_transaction_read_only = on; SET statement_timeout = '%dms'; "
             "SET TimeZone = 'UTC'; SET client_encoding = 'UTF8'; SET jit = off; "
             "SET search_path = pg_catalog, pg_temp; SET application_name = 'blotter web'",
             session->pool->timeout_ms);
    session_send(session, SESSION_PREPARING, sql);
}

static void session_start_next(struct web_session *session)
{
    struct web_query *query = queue_take(session->pool);
    session->state = SESSION_READY;
    if (query == NULL) {
        session_watch(session, EV_READ | EV_PERSIST); /* hears of a lost connection */
        return;
    }
    session->query = query;
    session->state = SESSION_RUNNING;
    if (PQsendQueryParams(session->connection, query->sql, query->parameters, NULL,
                          (const char *const *)query->values, NULL, NULL, 0) != 1) {
        session_lose(session, NULL);
        return;
    }
    session_watch(session, EV_READ | EV_WRITE | EV_PERSIST);
}

static void session_take_result(struct web_session *session, PGresult *result)
{
    struct web_query *query = session->query;
    if (query == NULL) { /* of the settings, or of the backend */
        int backend = atoi(pg_result_text(result, 0, 0));
        session->pooled =
            session->state == SESSION_IDENTIFYING && backend != PQbackendPID(session->connection);
        return;
    }
    session->query = NULL;
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        query_end(query, WEB_ANSWER_OK, PQgetvalue(result, 0, 0),
                  (size_t)PQgetlength(result, 0, 0));
        return;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    bool timeout = state != NULL && strcmp(state, "57014") == 0;
    message = message == NULL ? "the query returned no row" : message;
    query_end(query, timeout ? WEB_ANSWER_TIMEOUT : WEB_ANSWER_FAILED, message, strlen(message));
}

/* Reads what has come. False: the session was lost. */
static bool session_read(struct web_session *session)
{
    if (PQconsumeInput(session->connection) != 1) {
        session_lose(session, NULL);
        return false;
    }
    while (PQisBusy(session->connection) == 0) {
        PGresult *result = PQgetResult(session->connection);
        if (result == NULL) {
            if (session->state == SESSION_IDENTIFYING) {
                session_prepare(session);
                return true;
            }
            if (session->state == SESSION_PREPARING) {
                session->pool->retry_at_ms = session->pool->pause_ms = 0;
            }
            if (session->state != SESSION_READY) {
                session->pool->trouble[0] = '\0';
                session_start_next(session);
            }
            return true;
        }
        bool copies = pg_result_begins_copy(result);
        if (copies) {
            session_lose(session, "the server begins a COPY that nobody has asked for");
        } else {
            session_take_result(session, result);
        }
        PQclear(result);
        if (copies) {
            return false;
        }
    }
    return true;
}

static void session_poll_connect(struct web_session *session)
{
    int event = pg_hosts_poll(session->connection);

    if (event > 0) {
        session_watch(session, (short)event);
    } else if (event == 0) {
        session_identify(session);
    } else {
        session_lose(session, NULL);
    }
}

static void on_session_event(evutil_socket_t fd, short what, void *arg)
{
    struct web_session *session = arg;
    (void)fd;
    if ((what & EV_TIMEOUT) != 0) {
        session->pool->first_host += session->state == SESSION_CONNECTING;
        session_lose(session, "the server does not answer");
        return;
    }
    if (session->state == SESSION_CONNECTING) {
        session_poll_connect(session);
        return;
    }
    if ((what & EV_WRITE) != 0) {
        int left = PQflush(session->connection);
        if (left < 0) {
            session_lose(session, NULL);
            return;
        }
        if (left == 0) {
            session_watch(session, EV_READ | EV_PERSIST);
        }
    }
    if ((what & EV_READ) != 0) {
        session_read(session);
    }
}

/* --- the pool --- */

/* Returns how many sessions may be on their way: one while the server is away, with pauses. */
static size_t pool_attempts(const struct web_pool *pool)
{
    if (pool->pause_ms == 0) {
        return SESSIONS;
    }
    return clock_monotonic_ms() >= pool->retry_at_ms ? 1 : 0;
}

/* Gives waiting queries to sessions: an idle one, else one that is made now. */
static void pool_turn(struct web_pool *pool)
{
    for (size_t i = 0; i < SESSIONS && pool->first != NULL; i++) {
        if (pool->sessions[i].state == SESSION_READY) {
            session_start_next(&pool->sessions[i]);
        }
    }
    size_t coming = 0;
    for (size_t i = 0; i < SESSIONS; i++) {
        coming +=
            pool->sessions[i].state > SESSION_CLOSED && pool->sessions[i].state < SESSION_READY;
    }
    size_t most = pool_attempts(pool);
    for (size_t i = 0; i < SESSIONS && pool->waiting > coming && coming < most; i++) {
        if (pool->sessions[i].state == SESSION_CLOSED) {
            session_connect(&pool->sessions[i]);
            coming++;
        }
    }
    if (!pool_has_session(pool)) {
        queue_fail(pool);
    }
}

static void web_pool_on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    pool_turn(arg);
}

struct web_pool *web_pool_create(struct event_base *base, const struct settings *settings,
                                 int timeout_ms)
{
    struct web_pool *pool = memory_or_abort(calloc(1, sizeof *pool));
    pool->settings = settings;
    pool->base = base;
    pool->timeout_ms = timeout_ms;
    pool->last = &pool->first;
    pool->turn = evtimer_new(base, web_pool_on_turn, pool);
    for (size_t i = 0; i < SESSIONS; i++) {
        pool->sessions[i].pool = pool;
    }
    return pool;
}

void web_pool_destroy(struct web_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    for (size_t i = 0; i < SESSIONS; i++) {
        struct web_query *query = pool->sessions[i].query;
        session_close(&pool->sessions[i]);
        if (query != NULL) {
            query_free(query);
        }
    }
    struct web_query *query;
    while ((query = queue_take(pool)) != NULL) {
        query_free(query);
    }
    event_free(pool->turn);
    free(pool);
}

struct web_query *web_pool_ask(struct web_pool *pool, const char *sql, int parameters,
                               const char *const *values, web_pool_done *done, void *arg)
{
    assert(parameters <= API_PARAMETERS_MAX);
    if (pool->waiting >= QUEUE_MAX) {
        return NULL;
    }
    struct web_query *query = memory_or_abort(calloc(1, sizeof *query));
    *query = (struct web_query){.parameters = parameters, .done = done, .arg = arg};
    query->sql = memory_copy(sql);
    for (int i = 0; i < parameters; i++) {
        query->values[i] = memory_copy(values[i]);
    }
    *pool->last = query;
    pool->last = &query->next;
    pool->waiting++;
    /* from the loop, so that `done` is never called before this returns */
    event_active(pool->turn, EV_TIMEOUT, 0);
    return query;
}

void web_pool_cancel(struct web_query *query)
{
    query->done = NULL;
}

int web_pool_exit_code(const struct web_pool *pool)
{
    return pool->exit_code;
}

const char *web_pool_trouble(const struct web_pool *pool)
{
    return pool->trouble;
}
