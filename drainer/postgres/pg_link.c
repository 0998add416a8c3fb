/* pg_link.c: see pg_link.h.
 *
 *            start            connected           prepared            run
 *   IDLE ──────► CONNECTING ──────► PREPARING ──────► READY ◄─────────────► RUNNING
 *                  ▲    │               │               ▲       done          │ error on a live
 * connection │    │ error         │ error         └──── ROLLING_BACK ◄──┘ │    ▼               ▼ │
 * error WAITING ◄──────────────┴──────────────────────────┘      (and from READY, RUNNING:
 * connection lost)
 *
 * Every failure goes through pg_fail(). A command is sent as one simple query, so that a whole
 * transaction with its COPYs is one round trip; an error makes the server skip the rest of the
 * string and leaves the transaction open, hence ROLLBACK.
 *
 * libpq's PQputCopyData never says "would block" but buffers without limit; so data goes in pieces
 * of PIECE_BYTES, each flushed before the next.
 *
 * A COMMIT whose wait for a synchronous standby was cancelled succeeds with a warning (01000): it
 * is treated as in doubt. */
#include "drainer/postgres/pg_link.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "drainer/log.h"

enum { PIECE_BYTES = 65536 };
#define SEND_BUFFER_BYTES (1 << 20)
enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 2000,
    BACKOFF_PERSON_MS = 15000,
};

struct pg_link {
    struct pg_link_options options;
    char *conninfo, *application_name, *prepare_sql;
    enum pg_link_state state;
    PGconn *connection;
    struct event *io;    /* on the connection's socket */
    struct event *timer; /* back-off, connect and command time-outs: whatever the state waits for */
    unsigned backoff_ms;
    struct pg_command command;
    size_t copy_index, chunk_index, chunk_offset; /* what of the command's data is sent */
    bool copying;
    bool sync_wait_cancelled;
    int statement;
    struct pg_link_times times;
    struct pg_failure failure;
    bool failed; /* failure holds the running command's first error */
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
    [PG_LINK_RUNNING] = BIT(READY) | BIT(ROLLING_BACK) | BIT(WAITING),
    [PG_LINK_ROLLING_BACK] = BIT(READY) | BIT(WAITING),
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void arm_timer(struct pg_link *link, unsigned ms)
{
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};

    if (ms == 0) {
        evtimer_del(link->timer);
    } else {
        evtimer_add(link->timer, &tv);
    }
}

/* The one place where the state changes. The timer always belongs to the state. */
static void enter(struct pg_link *link, enum pg_link_state state, unsigned timeout_ms)
{
    assert((next_states[link->state] & 1u << state) != 0);
    assert((link->connection == NULL) == (state == PG_LINK_WAITING));
    assert(!link->copying || state == PG_LINK_RUNNING);
    log_debug("postgres", "%s -> %s", state_texts[link->state], state_texts[state]);
    link->state = state;
    arm_timer(link, timeout_ms);
}

static void watch(struct pg_link *link, short what)
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
    link->io = event_new(link->options.base, fd, what | EV_PERSIST, on_io, link);
    if (link->io == NULL || event_add(link->io, NULL) != 0) {
        abort(); /* out of memory in a few bytes: nothing can be done, and nothing is lost */
    }
}

static void drop_connection(struct pg_link *link)
{
    if (link->io != NULL) {
        event_free(link->io);
        link->io = NULL;
    }
    PQfinish(link->connection);
    link->connection = NULL;
    link->copying = false;
}

/* Doubles from BACKOFF_MIN_MS to BACKOFF_MAX_MS; the jitter keeps many drainers from coming back in
 * step. */
static unsigned next_backoff(struct pg_link *link, enum pg_action action)
{
    unsigned ms = link->backoff_ms == 0 ? BACKOFF_MIN_MS : link->backoff_ms;

    link->backoff_ms = ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms * 2;
    if (action == PG_ACTION_PERSON) {
        ms = BACKOFF_PERSON_MS;
    }
    return ms / 2 + (unsigned)(random() % (ms / 2 + 1));
}

/* The one door for a lost connection. The running command, if any, is in doubt. */
static void pg_fail(struct pg_link *link, const struct pg_failure *failure)
{
    bool had_command = link->state == PG_LINK_RUNNING || link->state == PG_LINK_ROLLING_BACK;
    struct pg_command command = link->command;
    struct pg_failure copy = *failure;

    log_warn("postgres", "%s while %s%s%s", copy.message, state_texts[link->state],
             copy.sqlstate[0] ? ", SQLSTATE " : "", copy.sqlstate);
    copy.connection_lost = true;
    drop_connection(link);
    enter(link, PG_LINK_WAITING, next_backoff(link, copy.action));
    if (had_command) {
        command.on_done(command.owner, &copy);
    }
    link->options.on_change(link->options.owner, false, &copy);
}

static void lose(struct pg_link *link, const char *message)
{
    struct pg_failure failure;

    pg_failure_of_connection(&failure,
                             message != NULL ? message : PQerrorMessage(link->connection));
    pg_fail(link, &failure);
}

static void on_notice(void *arg, const PGresult *result)
{
    struct pg_link *link = arg;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *function = PQresultErrorField(
        result, PG_DIAG_SOURCE_FUNCTION); /* unlike the message, never translated */
    char text[256];

    pg_first_line(text, sizeof text, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    if (state != NULL && strcmp(state, "01000") == 0 && function != NULL &&
        strcmp(function, "SyncRepWaitForLSN") == 0) {
        link->sync_wait_cancelled = true;
    }
    log_info("postgres", "notice: %s", text);
}

/* --- connecting
 * ----------------------------------------------------------------------------------------------------------
 */

static void connect_now(struct pg_link *link)
{
    /* The keepalives and the user time-out together notice a peer that is gone, whether data is in
     * flight or not. What the conninfo says comes later and wins; but not over the encoding, which
     * is that of the rows. */
    const char *const keywords[] = {
        "keepalives",       "keepalives_idle",  "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "fallback_application_name",
        "dbname",           "client_encoding",  NULL};
    const char *const values[] = {
        "1", "5", "2", "3", "15000", link->application_name, link->conninfo, "UTF8", NULL};

    link->connection = PQconnectStartParams(keywords, values, 1);
    if (link->connection == NULL) {
        abort();
    }
    enter(link, PG_LINK_CONNECTING, link->options.connect_timeout_ms);
    if (PQstatus(link->connection) == CONNECTION_BAD) {
        lose(link, NULL);
        return;
    }
    PQsetErrorVerbosity(link->connection,
                        PQERRORS_VERBOSE); /* pg_failure_of_refusal() looks for it in the text */
    watch(link, EV_WRITE);
}

static void send_command(struct pg_link *link, const char *sql)
{
    link->copy_index = link->chunk_index = link->chunk_offset = 0;
    link->copying = link->failed = link->sync_wait_cancelled = false;
    link->statement = 0;
    if (PQsendQuery(link->connection, sql) != 1) {
        link->failed = false;
        lose(link, NULL);
        return;
    }
    watch(link, PQflush(link->connection) == 1 ? EV_READ | EV_WRITE : EV_READ);
}

/* A Unix socket's buffer does not grow by itself as TCP's does, and PostgreSQL would wait for us
 * whenever the scheduler does not let us run for the millisecond in which it reads the default of
 * 208 KiB: 3 % of a drain's rate. The kernel caps what we ask. */
static void widen_unix_socket(int fd)
{
    int bytes = SEND_BUFFER_BYTES, domain = 0;
    socklen_t length = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
}

static void on_connected(struct pg_link *link)
{
    if (PQsetnonblocking(link->connection, 1) != 0) {
        lose(link, NULL);
        return;
    }
    widen_unix_socket(PQsocket(link->connection));
    PQsetErrorVerbosity(link->connection, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(link->connection, on_notice, link);
    enter(link, PG_LINK_PREPARING, link->options.command_timeout_ms);
    send_command(link, link->prepare_sql);
}

static void refuse(struct pg_link *link)
{
    struct pg_failure failure;

    pg_failure_of_refusal(&failure, PQerrorMessage(link->connection));
    pg_fail(link, &failure);
}

static void go_on_connecting(struct pg_link *link)
{
    switch (PQconnectPoll(link->connection)) {
    case PGRES_POLLING_READING:
        watch(link, EV_READ);
        break;
    case PGRES_POLLING_WRITING:
        watch(link, EV_WRITE);
        break;
    case PGRES_POLLING_OK:
        on_connected(link);
        break;
    default:
        refuse(link);
        break;
    }
}

/* --- running
 * -------------------------------------------------------------------------------------------------------------
 */

enum copy_progress { COPY_PUT_ALL, COPY_BLOCKED, COPY_LOST };

/* Puts the current COPY's data, piece by piece. */
static enum copy_progress put_copy_data(struct pg_link *link)
{
    const struct pg_copy *copy = &link->command.copies[link->copy_index];

    while (link->chunk_index < copy->count) {
        const struct pg_chunk *chunk = &copy->chunks[link->chunk_index];
        size_t length = chunk->length - link->chunk_offset;
        int flushed;

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
        flushed = PQflush(link->connection);
        if (flushed != 0) {
            return flushed < 0 ? COPY_LOST : COPY_BLOCKED;
        }
    }
    return COPY_PUT_ALL;
}

/* False: the connection is lost, and link->connection NULL. */
static bool go_on_copying(struct pg_link *link)
{
    /* A COPY for which the command brought no data is our mistake: told to the server, so that
     * nothing commits. */
    const char *mistake =
        link->copy_index >= link->command.copy_count ? "no data for this COPY" : NULL;
    enum copy_progress progress = mistake != NULL ? COPY_PUT_ALL : put_copy_data(link);

    if (progress == COPY_BLOCKED) {
        watch(link, EV_READ | EV_WRITE);
        return true;
    }
    if (progress == COPY_LOST || PQputCopyEnd(link->connection, mistake) != 1) {
        lose(link, NULL);
        return false;
    }
    link->copying = false;
    link->times.copied_us = now_us();
    link->copy_index++;
    link->chunk_index = link->chunk_offset = 0;
    watch(link, PQflush(link->connection) == 1 ? EV_READ | EV_WRITE : EV_READ);
    return true;
}

static void on_result(struct pg_link *link, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COPY_IN:
        link->copying = true;
        go_on_copying(link);
        break;
    case PGRES_TUPLES_OK:
        if (link->state == PG_LINK_PREPARING) {
            link->options.on_prepared_rows(link->options.owner, link->statement, result);
        } else if (link->state == PG_LINK_RUNNING && link->command.on_rows != NULL) {
            link->command.on_rows(link->command.owner, result);
        }
        link->statement++;
        break;
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        break;
    default:
        if (!link->failed) {
            pg_failure_of_result(&link->failure, result);
            link->failed = true;
        }
        break;
    }
}

static void finish_command(struct pg_link *link, const struct pg_failure *failure)
{
    struct pg_command command = link->command;

    enter(link, PG_LINK_READY, 0);
    watch(link, EV_READ);
    command.on_done(command.owner, failure);
}

static void on_command_end(struct pg_link *link)
{
    bool in_transaction = PQtransactionStatus(link->connection) != PQTRANS_IDLE;

    if (link->failed &&
        (link->failure.connection_lost || PQstatus(link->connection) != CONNECTION_OK)) {
        pg_fail(link, &link->failure);
    } else if (link->state == PG_LINK_PREPARING) {
        if (link->failed) {
            pg_fail(link, &link->failure);
            return;
        }
        link->backoff_ms = 0;
        enter(link, PG_LINK_READY, 0);
        link->options.on_change(link->options.owner, true, NULL);
    } else if (link->state == PG_LINK_ROLLING_BACK) {
        finish_command(link, &link->failure);
    } else if (link->failed && in_transaction) {
        struct pg_failure kept = link->failure;

        enter(link, PG_LINK_ROLLING_BACK, link->options.command_timeout_ms);
        send_command(link, "ROLLBACK");
        if (link->state == PG_LINK_ROLLING_BACK) {
            link->failure = kept;
        }
    } else if (link->sync_wait_cancelled) {
        lose(link, "the wait for the synchronous standby was cancelled: the commit is in doubt");
    } else {
        finish_command(link, link->failed ? &link->failure : NULL);
    }
}

static void go_on_running(struct pg_link *link, short what)
{
    if ((what & EV_READ) != 0 && PQconsumeInput(link->connection) != 1) {
        lose(link, NULL);
        return;
    }
    if ((what & EV_WRITE) != 0 || link->copying) {
        int flushed = PQflush(link->connection);

        if (flushed < 0) {
            lose(link, NULL);
            return;
        }
        if (flushed == 0) {
            watch(link, EV_READ);
        } else if (link->copying) {
            return; /* the piece before is not gone yet: another would only grow libpq's buffer */
        }
    }
    if (link->copying && !go_on_copying(link)) {
        return;
    }
    while (link->connection != NULL && !link->copying && !PQisBusy(link->connection)) {
        PGresult *result = PQgetResult(link->connection);

        if (result == NULL) {
            on_command_end(link);
            return;
        }
        on_result(link, result);
        PQclear(result);
    }
}

/* Between commands the server only speaks to say good-bye. */
static void on_idle_input(struct pg_link *link)
{
    if (PQconsumeInput(link->connection) != 1 || PQstatus(link->connection) != CONNECTION_OK) {
        lose(link, NULL);
        return;
    }
    if (!PQisBusy(link->connection)) {
        PGresult *result = PQgetResult(link->connection);

        if (result != NULL) {
            PQclear(result);
            lose(link, NULL);
        }
    }
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct pg_link *link = arg;

    (void)fd;
    if (link->state == PG_LINK_CONNECTING) {
        go_on_connecting(link);
    } else if (link->state == PG_LINK_READY) {
        on_idle_input(link);
    } else {
        go_on_running(link, what);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct pg_link *link = arg;

    (void)fd, (void)what;
    if (link->state == PG_LINK_WAITING) {
        connect_now(link);
    } else {
        lose(link, "no answer in time");
    }
}

/* --- the interface
 * -------------------------------------------------------------------------------------------------------
 */

static char *copy_string(const char *text)
{
    char *copy = strdup(text == NULL ? "" : text);

    if (copy == NULL) {
        abort();
    }
    return copy;
}

struct pg_link *pg_link_create(const struct pg_link_options *options)
{
    struct pg_link *link = calloc(1, sizeof *link);

    if (link == NULL) {
        abort();
    }
    link->options = *options;
    link->conninfo = copy_string(options->conninfo);
    link->application_name = copy_string(options->application_name);
    link->prepare_sql = copy_string(options->prepare_sql);
    link->timer = evtimer_new(options->base, on_timer, link);
    return link;
}

void pg_link_destroy(struct pg_link *link)
{
    if (link == NULL) {
        return;
    }
    drop_connection(link);
    event_free(link->timer);
    free(link->conninfo);
    free(link->application_name);
    free(link->prepare_sql);
    free(link);
}

void pg_link_start(struct pg_link *link)
{
    assert(link->state == PG_LINK_IDLE);
    connect_now(link);
}

void pg_link_run(struct pg_link *link, const struct pg_command *command)
{
    assert(link->state == PG_LINK_READY);
    link->command = *command;
    link->times.began_us = link->times.copied_us = now_us();
    enter(link, PG_LINK_RUNNING, link->options.command_timeout_ms);
    send_command(link, command->sql);
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
