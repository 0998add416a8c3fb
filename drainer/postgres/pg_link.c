/* pg_link.c: see pg_link.h.
 *
 *          start           connected            prepared           run            COPY
 *   IDLE ───────► CONNECTING ───────► PREPARING ────────► READY ─────────► RUNNING ◄──► COPYING
 *                   ▲    │                │                 ▲    ◄─────────   │ error
 *          back-off │    │ error          │ error           │       done      ▼
 *                  WAITING ◄──────────────┴─────────┐       └────────── ROLLING_BACK
 *                                                   │
 *                             connection lost, from any state with a connection
 *
 * A lost connection goes through pg_link_fail() alone. A command is sent as one simple query, so
 * that a whole transaction with its COPYs is one round trip; an error makes the server skip the
 * rest of the string and leaves the transaction open, hence ROLLBACK.
 *
 * libpq's PQputCopyData never says "would block" but buffers without limit; so data goes in pieces
 * of PIECE_BYTES, each flushed before the next; smaller ones are sent together, as each that is
 * sent wakes the server.
 *
 * A COMMIT whose wait for a synchronous standby was cancelled succeeds with a warning (01000): it
 * is treated as in doubt.
 *
 * A session is prepared, and by default runs, under synchronous_commit = local: its temporary
 * tables are made and dropped without a wait for a standby. A transaction that must be on the
 * standby says so itself. A backend whose client has gone while it waited for a standby notices
 * neither the one nor the other; so the next session terminates it first. */
#include "drainer/postgres/pg_link.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "drainer/backoff.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/postgres/pg_hosts.h"
#include "drainer/postgres/pg_result.h"
#include "producer/timer.h"
#include "schema/clock.h"

enum { PIECE_BYTES = 65536, SEND_BUFFER_BYTES = 1 << 20 };
enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 2000,
    BACKOFF_PERSON_MS = 15000,
    MESSAGE_BYTES = 256,
};

/* When a session began, as a number: a damaged one is no error of every later session. */
#define STARTED_SQL "(extract(epoch FROM backend_start) * 1000000)::bigint"

/* The first statements of every session. The row names the session, for its successor. */
static const char session_sql[] =
    "SET synchronous_commit = local; SET search_path = pg_catalog, pg_temp; "
    "SELECT pg_backend_pid(), " STARTED_SQL " FROM pg_stat_activity "
    "WHERE pid = pg_backend_pid(); ";

/* The statements of the opening that return rows; the user's follow. */
enum { OPENING_SESSION, OPENING_PREDECESSOR };
enum { PREDECESSOR_TIMEOUT_MS = 5000 };

/* The outcome of a command so far. */
enum command_outcome { COMMAND_GOOD, COMMAND_FAILED, COMMAND_NOT_REPLICATED };

/* A session in the server; pid 0: none. */
struct server_session {
    int pid;
    int64_t started_us;
};

struct pg_link {
    struct pg_link_options options;
    char *conninfo, *application_name, *prepare_sql;
    enum pg_link_state state;
    PGconn *connection;
    struct event *io;    /* on the connection's socket */
    struct event *timer; /* back-off, connect and command time-outs: whatever the state waits for */
    unsigned backoff_ms;
    unsigned first_host; /* of the conninfo's list: the ones before have not answered */
    struct pg_command command;
    size_t copy_index, chunk_index, chunk_offset; /* how much of the command's data is sent */
    int statement;                                /* statements that have returned rows */
    enum command_outcome outcome;
    struct pg_failure failure; /* COMMAND_FAILED: the command's first error */
    char *detail;              /* of that error; NULL: none */
    struct pg_link_times times;
    struct server_session session, predecessor;
    char *opening_sql; /* prepares the session that is being opened */
};

/* clang-format off */
static const char *const state_texts[] = {
#define X(name, text) text,
    PG_LINK_STATES(X)
#undef X
};
/* clang-format on */

#define BIT(state) (1u << PG_LINK_##state)
static const unsigned next_states[] = {
    [PG_LINK_IDLE] = BIT(CONNECTING),
    [PG_LINK_WAITING] = BIT(CONNECTING),
    [PG_LINK_CONNECTING] = BIT(PREPARING) | BIT(WAITING),
    [PG_LINK_PREPARING] = BIT(READY) | BIT(WAITING),
    [PG_LINK_READY] = BIT(RUNNING) | BIT(WAITING),
    [PG_LINK_RUNNING] = BIT(COPYING) | BIT(READY) | BIT(ROLLING_BACK) | BIT(WAITING),
    [PG_LINK_COPYING] = BIT(RUNNING) | BIT(WAITING),
    [PG_LINK_ROLLING_BACK] = BIT(READY) | BIT(WAITING),
};

static void link_on_io(evutil_socket_t fd, short what, void *arg);

static void link_arm_timer(struct pg_link *link, unsigned ms)
{
    if (ms == 0) {
        evtimer_del(link->timer);
    } else {
        timer_start(link->timer, ms);
    }
}

/* Changes the state: nothing else does. The timer always belongs to the state; a COPY is a part of
 * its command, and goes on with its timer. */
static void link_enter(struct pg_link *link, enum pg_link_state state, unsigned timeout_ms)
{
    assert((next_states[link->state] & 1u << state) != 0);
    assert((link->connection == NULL) == (state == PG_LINK_WAITING));
    log_debug("postgres", "%s -> %s", state_texts[link->state], state_texts[state]);
    bool same_command = link->state == PG_LINK_COPYING || state == PG_LINK_COPYING;
    link->state = state;
    if (!same_command || state == PG_LINK_WAITING) {
        link_arm_timer(link, timeout_ms);
    }
}

static bool link_has_command(const struct pg_link *link)
{
    return link->state == PG_LINK_RUNNING || link->state == PG_LINK_COPYING ||
           link->state == PG_LINK_ROLLING_BACK;
}

static void link_watch(struct pg_link *link, short what)
{
    int fd = PQsocket(link->connection);

    if (fd < 0) {
        return;
    }
    /* While connecting, libpq closes one socket and opens the next, which may get the same number:
     * never trust what is there. */
    if (link->state != PG_LINK_CONNECTING && link->io != NULL && event_get_fd(link->io) == fd &&
        event_pending(link->io, EV_READ | EV_WRITE, NULL) == what) {
        return;
    }
    if (link->io != NULL) {
        event_free(link->io);
    }
    link->io = event_new(link->options.base, fd, what | EV_PERSIST, link_on_io, link);
    if (link->io == NULL || event_add(link->io, NULL) != 0) {
        abort(); /* out of memory in a few bytes: nothing can be done, and nothing is lost */
    }
}

static void link_drop_connection(struct pg_link *link)
{
    if (link->io != NULL) {
        event_free(link->io);
        link->io = NULL;
    }
    PQfinish(link->connection);
    link->connection = NULL;
}

/* Ends a lost connection: nothing else does. The running command, if any, is in doubt. */
static void pg_link_fail(struct pg_link *link, const struct pg_failure *failure)
{
    bool had_command = link_has_command(link);
    struct pg_command command = link->command;
    struct pg_failure copy = *failure;
    unsigned ms = backoff_next_ms(&link->backoff_ms, BACKOFF_MIN_MS, BACKOFF_MAX_MS);

    ms = failure->action == PG_ACTION_PERSON ? BACKOFF_PERSON_MS : ms;
    log_warn("postgres", "%s while %s%s%s", copy.message, state_texts[link->state],
             copy.sqlstate[0] ? ", SQLSTATE " : "", copy.sqlstate);
    copy.connection_lost = true;
    link_drop_connection(link);
    link_enter(link, PG_LINK_WAITING, backoff_spread_ms(ms));
    if (had_command) {
        command.on_done(command.owner, &copy);
    }
    link->options.on_change(link->options.owner, false, &copy);
}

static void link_lose(struct pg_link *link, const char *message)
{
    struct pg_failure failure;

    pg_failure_of_connection(&failure,
                             message != NULL ? message : PQerrorMessage(link->connection));
    pg_link_fail(link, &failure);
}

static void link_on_notice(void *arg, const PGresult *result)
{
    struct pg_link *link = arg;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *function = PQresultErrorField(
        result, PG_DIAG_SOURCE_FUNCTION); /* unlike the message, never translated */
    char text[MESSAGE_BYTES];

    pg_first_line(text, sizeof text, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    if (state != NULL && strcmp(state, "01000") == 0 && function != NULL &&
        strcmp(function, "SyncRepWaitForLSN") == 0) {
        link->outcome = COMMAND_NOT_REPLICATED;
    }
    log_info("postgres", "notice: %s", text);
}

/* --- connecting --- */

static void link_connect(struct pg_link *link)
{
    /* The keepalives and the user time-out together notice a peer that is gone, whether data is in
     * flight or not. What the conninfo says comes later and wins; but not over the encoding, which
     * is that of the rows. */
    struct pg_hosts hosts;

    pg_hosts_begin_with(&hosts, link->conninfo, link->first_host);
    /* clang-format off */
    const char *const keywords[] = {
        "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout", "fallback_application_name",
        "dbname", "host", "hostaddr", "port", "client_encoding", NULL};
    const char *const values[] = {
        "1", "2", "1", "3",
        "4000", link->application_name,
        link->conninfo, hosts.host, hosts.hostaddr, hosts.port, "UTF8", NULL};
    /* clang-format on */
    link->connection = memory_or_abort(PQconnectStartParams(keywords, values, 1));
    pg_hosts_release(&hosts);
    link_enter(link, PG_LINK_CONNECTING,
               pg_hosts_patience_ms(link->conninfo, link->options.connect_timeout_ms));
    if (PQstatus(link->connection) == CONNECTION_BAD) {
        link_lose(link, NULL);
        return;
    }
    PQsetErrorVerbosity(link->connection,
                        PQERRORS_VERBOSE); /* pg_failure_of_refusal() looks for it in the text */
    link_watch(link, EV_WRITE);
}

static void link_send(struct pg_link *link, const char *sql)
{
    link->copy_index = link->chunk_index = link->chunk_offset = 0;
    link->outcome = COMMAND_GOOD;
    link->statement = 0;
    if (PQsendQuery(link->connection, sql) != 1) {
        link_lose(link, NULL);
        return;
    }
    link_watch(link, PQflush(link->connection) == 1 ? EV_READ | EV_WRITE : EV_READ);
}

/* Widens a Unix socket's buffer, which does not grow by itself as TCP's does: PostgreSQL would wait
 * for us whenever the scheduler does not let us run for the millisecond in which it reads the
 * default of 208 KiB, 3 % of a drain's rate. The kernel caps what we ask. */
static void widen_unix_socket(int fd)
{
    int bytes = SEND_BUFFER_BYTES, domain = 0;
    socklen_t length = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
}

/* Writes the session's first command, which ends the session before this one if it is still there.
 */
static const char *link_opening_sql(struct pg_link *link)
{
    free(link->opening_sql);
    if (link->predecessor.pid == 0) {
        link->predecessor = link->session;
    }
    link->session = (struct server_session){0};
    if (asprintf(&link->opening_sql,
                 "%sSELECT pg_terminate_backend(pid, %d) FROM pg_stat_activity WHERE pid = %d "
                 "AND " STARTED_SQL " = %" PRId64 "; %s",
                 session_sql, PREDECESSOR_TIMEOUT_MS, link->predecessor.pid,
                 link->predecessor.started_us, link->prepare_sql) < 0) {
        abort();
    }
    return link->opening_sql;
}

/* Takes the rows of the opening: this session's name, what became of its predecessor, and the
 * user's. */
static void link_take_opening_rows(struct pg_link *link, const PGresult *result)
{
    bool has_row = PQntuples(result) > 0;

    switch (link->statement) {
    case OPENING_SESSION:
        if (has_row) {
            link->session.pid = atoi(pg_result_text(result, 0, 0));
            link->session.started_us = strtoll(pg_result_text(result, 0, 1), NULL, 10);
        }
        break;
    case OPENING_PREDECESSOR:
        if (has_row && pg_result_text(result, 0, 0)[0] != 't') {
            link->outcome = COMMAND_FAILED;
            pg_failure_of_connection(&link->failure, "the session before this one does not end");
        } else {
            link->predecessor = (struct server_session){0};
        }
        break;
    default:
        if (link->options.on_prepared_rows != NULL) {
            link->options.on_prepared_rows(link->options.owner, result);
        }
        break;
    }
}

static void link_on_connected(struct pg_link *link)
{
    if (PQsetnonblocking(link->connection, 1) != 0) {
        link_lose(link, NULL);
        return;
    }
    widen_unix_socket(PQsocket(link->connection));
    PQsetErrorVerbosity(link->connection, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(link->connection, link_on_notice, link);
    link_enter(link, PG_LINK_PREPARING, link->options.command_timeout_ms);
    link_send(link, link_opening_sql(link));
}

static void link_refuse(struct pg_link *link)
{
    struct pg_failure failure;

    pg_failure_of_refusal(&failure, PQerrorMessage(link->connection));
    pg_link_fail(link, &failure);
}

static void link_go_on_connecting(struct pg_link *link)
{
    int event = pg_hosts_poll(link->connection);

    if (event > 0) {
        link_watch(link, (short)event);
    } else if (event == 0) {
        link_on_connected(link);
    } else {
        link_refuse(link);
    }
}

/* --- running --- */

enum copy_progress { COPY_PUT_ALL, COPY_BLOCKED, COPY_LOST };

/* Puts the current COPY's data, piece by piece. */
static enum copy_progress link_put_copy_data(struct pg_link *link)
{
    const struct pg_copy *copy = &link->command.copies[link->copy_index];
    size_t unflushed = 0;

    while (link->chunk_index < copy->count) {
        const struct pg_chunk *chunk = &copy->chunks[link->chunk_index];
        size_t length = chunk->length - link->chunk_offset;

        if (length > PIECE_BYTES) {
            length = PIECE_BYTES;
        }
        if (length > 0 &&
            PQputCopyData(link->connection, (const char *)chunk->bytes + link->chunk_offset,
                          (int)length) != 1) {
            return COPY_LOST;
        }
        link->chunk_offset += length;
        if (link->chunk_offset == chunk->length) {
            link->chunk_index++;
            link->chunk_offset = 0;
        }
        unflushed += length;
        if (unflushed >= PIECE_BYTES) {
            int flushed = PQflush(link->connection);

            if (flushed != 0) {
                return flushed < 0 ? COPY_LOST : COPY_BLOCKED;
            }
            unflushed = 0;
        }
    }
    return COPY_PUT_ALL;
}

/* Puts data as far as it goes. False: the connection is lost, and link->connection NULL. */
static bool link_go_on_copying(struct pg_link *link)
{
    /* A COPY without data is a mistake of ours: the server is told, so that nothing commits. */
    const char *mistake =
        link->copy_index >= link->command.copy_count ? "no data for this COPY" : NULL;
    enum copy_progress progress = mistake != NULL ? COPY_PUT_ALL : link_put_copy_data(link);

    if (progress == COPY_BLOCKED) {
        link_watch(link, EV_READ | EV_WRITE);
        return true;
    }
    if (progress == COPY_LOST || PQputCopyEnd(link->connection, mistake) != 1) {
        link_lose(link, NULL);
        return false;
    }
    link_enter(link, PG_LINK_RUNNING, 0);
    link->times.copied_us = clock_monotonic_us();
    link->copy_index++;
    link->chunk_index = link->chunk_offset = 0;
    link_watch(link, PQflush(link->connection) == 1 ? EV_READ | EV_WRITE : EV_READ);
    return true;
}

/* Takes from the answer to a COPY how many rows it has stored: a user's trigger may have dropped
 * some. */
static void link_take_command_end(struct pg_link *link, const PGresult *result)
{
    if (link->copy_index > 0 && strncmp(PQcmdStatus((PGresult *)result), "COPY ", 5) == 0) {
        link->command.copies[link->copy_index - 1].stored =
            strtoul(PQcmdTuples((PGresult *)result), NULL, 10);
    }
}

static void link_take_rows(struct pg_link *link, const PGresult *result)
{
    if (link->state == PG_LINK_PREPARING) {
        link_take_opening_rows(link, result);
    } else if (link->state == PG_LINK_RUNNING && link->command.on_rows != NULL) {
        link->command.on_rows(link->command.owner, result);
    }
    link->statement++;
}

static void link_take_error(struct pg_link *link, const PGresult *result)
{
    if (link->outcome == COMMAND_FAILED) {
        return;
    }
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    free(link->detail);
    link->detail = memory_copy(detail);
    pg_failure_of_result(&link->failure, result);
    link->outcome = COMMAND_FAILED;
}

static void link_on_result(struct pg_link *link, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COPY_IN:
        if (link->state == PG_LINK_RUNNING) {
            link_enter(link, PG_LINK_COPYING, 0);
            link_go_on_copying(link);
            break;
        }
        /* fall through */
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        link_lose(link, "the server begins a COPY that nobody has asked for");
        break;
    case PGRES_TUPLES_OK:
        link_take_rows(link, result);
        break;
    case PGRES_COMMAND_OK:
        link_take_command_end(link, result);
        break;
    case PGRES_EMPTY_QUERY:
        break;
    default:
        link_take_error(link, result);
        break;
    }
}

static void link_finish_command(struct pg_link *link, const struct pg_failure *failure)
{
    struct pg_command command = link->command;

    link_enter(link, PG_LINK_READY, 0);
    link_watch(link, EV_READ);
    command.on_done(command.owner, failure);
}

static void link_roll_back(struct pg_link *link)
{
    struct pg_failure kept = link->failure;

    link_enter(link, PG_LINK_ROLLING_BACK, link->options.command_timeout_ms);
    link_send(link, "ROLLBACK");
    if (link->state == PG_LINK_ROLLING_BACK) {
        link->failure = kept;
    }
}

static void link_on_prepared(struct pg_link *link)
{
    link->backoff_ms = 0;
    link_enter(link, PG_LINK_READY, 0);
    link->options.on_change(link->options.owner, true, NULL);
}

static void link_on_command_end(struct pg_link *link)
{
    bool failed = link->outcome == COMMAND_FAILED;

    if (failed && (link->failure.connection_lost || link->state == PG_LINK_PREPARING ||
                   PQstatus(link->connection) != CONNECTION_OK)) {
        pg_link_fail(link, &link->failure);
    } else if (link->state == PG_LINK_PREPARING) {
        link_on_prepared(link);
    } else if (link->state == PG_LINK_ROLLING_BACK) {
        link_finish_command(link, &link->failure);
    } else if (failed && PQtransactionStatus(link->connection) != PQTRANS_IDLE) {
        link_roll_back(link);
    } else if (link->outcome == COMMAND_NOT_REPLICATED) {
        link_lose(link,
                  "the wait for the synchronous standby was cancelled: the commit is in doubt");
    } else {
        link_finish_command(link, failed ? &link->failure : NULL);
    }
}

/* Sends what libpq holds back. False: nothing more is to be done now, or the connection is lost. */
static bool link_flush(struct pg_link *link)
{
    int flushed = PQflush(link->connection);

    if (flushed < 0) {
        link_lose(link, NULL);
        return false;
    }
    if (flushed == 0) {
        link_watch(link, EV_READ);
        return true;
    }
    /* Another piece of a COPY would only grow libpq's buffer. */
    return link->state != PG_LINK_COPYING;
}

static void link_go_on_running(struct pg_link *link, short what)
{
    if ((what & EV_READ) != 0 && PQconsumeInput(link->connection) != 1) {
        link_lose(link, NULL);
        return;
    }
    if (((what & EV_WRITE) != 0 || link->state == PG_LINK_COPYING) && !link_flush(link)) {
        return;
    }
    if (link->state == PG_LINK_COPYING && !link_go_on_copying(link)) {
        return;
    }
    while (link->connection != NULL && link->state != PG_LINK_COPYING &&
           !PQisBusy(link->connection)) {
        PGresult *result = PQgetResult(link->connection);

        if (result == NULL) {
            link_on_command_end(link);
            return;
        }
        link_on_result(link, result);
        PQclear(result);
    }
}

/* Reads what comes between commands, when the server only speaks to say good-bye. */
static void link_on_idle_input(struct pg_link *link)
{
    if (PQconsumeInput(link->connection) != 1 || PQstatus(link->connection) != CONNECTION_OK) {
        link_lose(link, NULL);
        return;
    }
    if (!PQisBusy(link->connection)) {
        PGresult *result = PQgetResult(link->connection);

        if (result != NULL) {
            PQclear(result);
            link_lose(link, NULL);
        }
    }
}

static void link_on_io(evutil_socket_t fd, short what, void *arg)
{
    struct pg_link *link = arg;

    (void)fd;
    if (link->state == PG_LINK_CONNECTING) {
        link_go_on_connecting(link);
    } else if (link->state == PG_LINK_READY) {
        link_on_idle_input(link);
    } else {
        link_go_on_running(link, what);
    }
}

static void link_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct pg_link *link = arg;

    (void)fd, (void)what;
    if (link->state == PG_LINK_WAITING) {
        link_connect(link);
        return;
    }
    if (link->state == PG_LINK_CONNECTING) {
        link->first_host = pg_hosts_behind(link->conninfo, link->first_host, link->connection);
    }
    link_lose(link, "no answer in time");
}

/* --- the interface --- */

struct pg_link *pg_link_create(const struct pg_link_options *options)
{
    struct pg_link *link = memory_or_abort(calloc(1, sizeof *link));

    link->options = *options;
    link->conninfo = memory_copy(options->conninfo);
    link->application_name = memory_copy(options->application_name);
    link->prepare_sql = memory_copy(options->prepare_sql == NULL ? "" : options->prepare_sql);
    link->timer = evtimer_new(options->base, link_on_timer, link);
    return link;
}

void pg_link_destroy(struct pg_link *link)
{
    if (link == NULL) {
        return;
    }
    link_drop_connection(link);
    event_free(link->timer);
    free(link->conninfo);
    free(link->application_name);
    free(link->prepare_sql);
    free(link->opening_sql);
    free(link->detail);
    free(link);
}

void pg_link_start(struct pg_link *link)
{
    assert(link->state == PG_LINK_IDLE);
    link_connect(link);
}

void pg_link_run(struct pg_link *link, const struct pg_command *command)
{
    assert(link->state == PG_LINK_READY);
    link->command = *command;
    free(link->detail);
    link->detail = NULL;
    link->times.began_us = link->times.copied_us = clock_monotonic_us();
    link_enter(link, PG_LINK_RUNNING, link->options.command_timeout_ms);
    link_send(link, command->sql);
}

void pg_link_reconnect(struct pg_link *link, const char *why)
{
    assert(link->state == PG_LINK_READY);
    link_lose(link, why);
}

int pg_link_backend(const struct pg_link *link)
{
    return link->session.pid;
}

const char *pg_link_error_detail(const struct pg_link *link)
{
    return link->detail == NULL ? "" : link->detail;
}

enum pg_link_state pg_link_state(const struct pg_link *link)
{
    return link->state;
}

bool pg_link_ready(const struct pg_link *link)
{
    return link->state == PG_LINK_READY;
}

struct pg_link_times pg_link_times(const struct pg_link *link)
{
    return link->times;
}
