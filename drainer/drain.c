/* drain.c: `blotter drain`: loads streams into PostgreSQL until it is told to stop.
 *
 * Two batches: while one is loaded, the other gathers; they change places when the loader is free.
 * So at low load a lone record waits for nothing, and at high load batches grow to what one commit
 * takes. All work is decided in one place, turn(), which runs after anything has changed:
 *
 *     PostgreSQL's session is free ─┬─ lease due ────────► lease_run(), on the same connection:
 *                                   │                      its session has the locks
 *                                   └─ entries gathered ─► swap, loader_load() ──► intake_settle()
 *     the gathering batch has room ──────────────────────► intake_read()
 *
 * When a batch cannot be loaded both are emptied and, after a while, what is pending is claimed
 * again: Redis is the drainer's only memory. */
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drainer/backoff.h"
#include "drainer/commands.h"
#include "drainer/log.h"
#include "drainer/monitor.h"
#include "drainer/postgres/booker.h"
#include "drainer/postgres/lease.h"
#include "drainer/postgres/loader.h"
#include "drainer/postgres/loading.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/postgres/pg_link.h"
#include "drainer/producer_counters.h"
#include "drainer/redis/intake.h"
#include "drainer/settings_table.h"
#include "drainer/web/web_child.h"
#include "producer/redis_error.h"
#include "producer/redis_url.h"
#include "producer/timer.h"
#include "schema/clock.h"

enum {
    SUMMARY_INTERVAL_MS = 60000,
    STOP_TIMEOUT_MS = 5000,
    START_TIMEOUT_MS = 5000, /* for the first connection to Redis; later ones are tried for ever */
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 2000,
    RETRY_PERSON_MS = 15000,
    FAILURES_TOLERATED = 2, /* in a row, before the drainer is not ready */
};

enum drain_phase {
    DRAIN_RUNNING,
    DRAIN_STOPPING,   /* reads no more; loads what is gathered */
    DRAIN_SIGNING_OFF /* all is loaded: the last acknowledgements and the consumer's removal are on
                         their way */
};

/* The present use of PostgreSQL's session. */
enum drain_session {
    SESSION_AWAY,    /* there is none */
    SESSION_FREE,    /* it can be used */
    SESSION_LEASING, /* a lease run is under way */
    SESSION_LOADING, /* a batch is loaded */
    SESSION_RESTING  /* after an error: nothing is read, leased or loaded until the retry timer */
};

struct drain {
    const struct settings *settings;
    char drainer[CONSUMER_BYTES];
    struct event_base *base;
    struct event *turn_event, *retry_timer, *summary_timer, *stop_timer, *books_timer, *sigterm,
        *sigint;
    struct streams streams;
    bool has_from;
    struct stream_entry_id from;
    struct intake *intake;
    struct loading *loading_side; /* the connection that loads, and its two users */
    struct pg_link *link;
    struct loader *loader;
    struct lease *lease;
    struct booker *booker;   /* has a connection of its own */
    uint64_t queued;         /* rows that it was woken for */
    bool finishing;          /* it has been told that its end is waited for */
    bool books_left;         /* the time for books is over */
    struct monitor *monitor; /* NULL: not asked for */
    struct web_child *web;   /* NULL: not asked for */
    struct producer_counters *producers;
    struct batch batches[2], *gathering;
    enum drain_session use;
    bool looked_before_lease, leased_since_look;
    bool redis_was_up;
    int64_t connecting_since_ms; /* to Redis: not the while that PostgreSQL took before */
    unsigned retry_ms, failures; /* of batches, in a row */
    enum drain_phase phase;
    int exit_code;
    struct loader_counters summary_loader;
};

static void turn_soon(struct drain *drain)
{
    event_active(drain->turn_event, EV_TIMEOUT, 0);
}

/* --- forgetting and retrying --- */

/* Empties both batches: what they held is pending, and claimed again. */
static void forget_all(struct drain *drain)
{
    batch_clear(&drain->batches[0]);
    batch_clear(&drain->batches[1]);
    intake_forget(drain->intake);
}

static void rest_before_retry(struct drain *drain, enum pg_action action)
{
    unsigned ms = backoff_next_ms(&drain->retry_ms, RETRY_MIN_MS, RETRY_MAX_MS);

    ms = action == PG_ACTION_PERSON ? RETRY_PERSON_MS : ms;
    timer_start(drain->retry_timer, backoff_spread_ms(ms));
    drain->use = drain->use == SESSION_AWAY ? SESSION_AWAY : SESSION_RESTING;
}

static void drain_on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct drain *drain = arg;

    (void)fd, (void)what;
    drain->use = drain->use == SESSION_RESTING ? SESSION_FREE : drain->use;
    turn_soon(drain);
}

/* --- loading --- */

static void use_link(struct drain *drain);

/* Counts a failed load. It becomes a trouble at once if a person is needed, else after some
 * attempts. */
static void note_failure(struct drain *drain, const struct pg_failure *failure)
{
    drain->failures++;
    if (failure->action == PG_ACTION_PERSON || drain->failures > FAILURES_TOLERATED) {
        streams_trouble(&drain->streams, NULL, TROUBLE_LOADING,
                        "PostgreSQL refuses what is loaded: %s, SQLSTATE %s%s", failure->message,
                        failure->sqlstate[0] == '\0' ? "none" : failure->sqlstate,
                        failure->action == PG_ACTION_PERSON ? "; this needs a person" : "");
    }
}

/* Acts on a failure over locks: fewer leases where the table of locks is full, else a look at who
 * waits. */
static void ease_locks(struct drain *drain, const struct pg_failure *failure)
{
    if (failure->lock_table_full) {
        lease_relieve(drain->lease);
    } else if (strcmp(failure->sqlstate, "55P03") == 0) {
        lease_name_blockers(drain->lease);
    }
}

/* Tries a new session at once where an error needs a person. A session's temporary tables are those
 * of the schema when it began, so a new one may be all that is needed: after a migration, or a
 * column that a user has added. */
static enum pg_action try_new_session(struct drain *drain, const struct pg_failure *failure)
{
    bool first = drain->failures == 0;

    if (failure->action != PG_ACTION_PERSON || failure->connection_lost) {
        return failure->action;
    }
    pg_link_reconnect(drain->link, failure->message);
    return first ? PG_ACTION_RETRY : failure->action;
}

/* Wakes the booker after each commit that says something to the books. */
static void wake_booker(struct drain *drain, bool careful)
{
    uint64_t queued = loader_stats(drain->loader)->counters.queued;

    if (careful || queued > drain->queued) {
        booker_wake(drain->booker, queued - drain->queued);
        drain->queued = queued;
    }
}

/* Counts what was committed, for /metrics. */
static void count_rows(struct drain *drain, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->fate == ENTRY_ROW) {
            entry->stream->rows[entry->kind]++;
            if (entry->kind == RECORD_SESSION) {
                producer_counters_note(drain->producers, entry->stream, entry->producer_id,
                                       batch->raw.bytes + entry->raw_offset, entry->raw_length);
            }
        } else if (entry->fate == ENTRY_REJECTED) {
            entry->stream->rejected++;
        }
    }
}

/* Lets streams whose records wait for a lock give way to the others; they come again. */
static void put_back_held(struct drain *drain, struct batch *batch,
                          const struct pg_failure *failure)
{
    for (size_t i = 0; i < batch->count;) {
        struct stream *stream = batch->entries[i].stream;
        unsigned ms = RETRY_MIN_MS;

        if (!stream->held_up) {
            i++;
            continue;
        }
        for (unsigned n = 1; n < stream->held_times && ms < RETRY_MAX_MS; n++) {
            ms *= 2;
        }
        log_warn(stream->name, "%s, SQLSTATE %s: its records wait, and are read again",
                 failure->message, failure->sqlstate);
        if (stream->held_times > FAILURES_TOLERATED) {
            streams_trouble(&drain->streams, stream, TROUBLE_LOADING,
                            "its records wait for a lock that another session holds: %s, SQLSTATE "
                            "%s",
                            failure->message, failure->sqlstate);
        }
        stream_put_back(stream, ms);
        batch_drop(&drain->batches[0], stream);
        batch_drop(&drain->batches[1], stream);
    }
    if (drain->gathering->count == 0) {
        batch_clear(drain->gathering); /* it is not loaded, so the room is free now */
    }
}

/* Ends the troubles over locks of streams that are loaded, or not ours any more. */
static void end_lock_troubles(struct drain *drain)
{
    bool any_held = false;

    for (size_t i = 0; i < drain->streams.count; i++) {
        struct stream *stream = drain->streams.all[i];

        any_held = any_held || stream->held_times > 0;
        if (stream->held_times == 0) {
            streams_trouble_over(&drain->streams, stream, TROUBLE_LOADING);
        }
    }
    if (!any_held) {
        streams_trouble_over(&drain->streams, NULL, TROUBLE_BLOCKER);
    }
}

static void settle_loaded(struct drain *drain, struct batch *batch)
{
    if (batch->count > 0) {
        drain->retry_ms = drain->failures = 0;
        streams_trouble_over(&drain->streams, NULL, TROUBLE_LOADING);
        end_lock_troubles(drain);
    }
    wake_booker(drain, batch->careful);
    use_link(drain); /* first, so that PostgreSQL does not wait for the settling */
    if (batch->state == BATCH_COMMITTED) { /* else the connection was lost at once, and everything
                                              is forgotten */
        count_rows(drain, batch);
        intake_settle(drain->intake, batch);
        batch_clear(batch);
    }
}

static void on_loaded(void *owner, struct batch *batch, const struct pg_failure *failure)
{
    struct drain *drain = owner;

    drain->use = drain->use == SESSION_LOADING ? SESSION_FREE : drain->use;
    if (failure != NULL && strcmp(failure->sqlstate, "55P03") == 0) {
        put_back_held(drain, batch, failure);
    }
    if (batch->state == BATCH_COMMITTED) {
        if (failure != NULL) {
            ease_locks(drain, failure);
        }
        settle_loaded(drain, batch);
    } else {
        log_warn("batch", "%s, SQLSTATE %s: nothing is acknowledged, it will be read again%s",
                 failure->message, failure->sqlstate[0] == '\0' ? "none" : failure->sqlstate,
                 failure->action == PG_ACTION_PERSON ? "; this needs a person" : "");
        forget_all(drain);
        rest_before_retry(drain, try_new_session(drain, failure));
        note_failure(drain, failure);
        ease_locks(drain, failure);
    }
    turn_soon(drain);
}

/* Loads what is gathered. The other batch is empty, or about to be: it is settled next. */
static void load_gathered(struct drain *drain)
{
    struct batch *batch = drain->gathering;

    drain->gathering = batch == &drain->batches[0] ? &drain->batches[1] : &drain->batches[0];
    batch->careful = batch->careful || loader_is_careful(drain->loader);
    drain->use = SESSION_LOADING;
    loader_load(drain->loader, batch, on_loaded, drain);
}

/* --- leases --- */

static void on_taken(void *owner, struct stream *stream)
{
    struct drain *drain = owner;

    intake_take(drain->intake, stream);
}

static void on_leased(void *owner, const struct pg_failure *failure)
{
    struct drain *drain = owner;

    drain->use = drain->use == SESSION_LEASING ? SESSION_FREE : drain->use;
    drain->leased_since_look = failure == NULL && drain->looked_before_lease;
    end_lock_troubles(drain);
    if (failure != NULL && !failure->connection_lost) {
        log_warn("lease", "%s, SQLSTATE %s", failure->message, failure->sqlstate);
        rest_before_retry(drain, failure->action);
    }
    turn_soon(drain);
}

static void on_stuck(void *owner, struct stream *stream)
{
    struct drain *drain = owner;

    log_warn(stream->name, "its drainer has made no progress for %u s: its session is terminated",
             (unsigned)(drain->settings->claim_idle / 1000));
    lease_fence(drain->lease, stream);
    turn_soon(drain);
}

/* --- stopping --- */

/* Says whether the books have followed, once all is loaded: they may still be behind, by as much as
 * a backlog takes. */
static bool all_is_booked(struct drain *drain)
{
    if (!drain->finishing) {
        drain->finishing = true;
        booker_finish(drain->booker);
    }
    return booker_is_done(drain->booker);
}

/* Says whether a stop waits for the books. A clean one leaves their queue empty, if that takes no
 * longer than stop_timeout. The rest is as safe there as any record, and is the next drainer's. */
static bool books_are_waited_for(const struct drain *drain)
{
    return !drain->books_left && booker_is_connected(drain->booker) &&
           !booker_is_done(drain->booker);
}

static void on_books_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct drain *drain = arg;

    (void)fd, (void)what;
    drain->books_left = true;
    timer_start(drain->stop_timer, STOP_TIMEOUT_MS);
    turn_soon(drain);
}

static void drain_stop(struct drain *drain, const char *why)
{
    if (drain->phase == DRAIN_RUNNING) {
        log_info("drain", "stopping: %s", why);
        drain->phase = DRAIN_STOPPING;
        intake_stop_reading(drain->intake);
        all_is_booked(drain);
        timer_start(drain->stop_timer, STOP_TIMEOUT_MS);
        timer_start(drain->books_timer, drain->settings->stop_timeout);
        turn_soon(drain);
    }
}

static void drain_on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    drain_stop(arg, fd == SIGTERM ? "SIGTERM" : "SIGINT");
}

static bool is_busy(const struct drain *drain)
{
    return drain->use == SESSION_LOADING || drain->use == SESSION_LEASING ||
           drain->gathering->count > 0;
}

/* Ends the program though entries stay pending: the next holder claims them. */
static void end_undone(struct drain *drain, const char *what)
{
    log_warn("drain", "%s: what is pending is claimed by the next drainer", what);
    drain->exit_code = EXIT_CODE_NO;
    event_base_loopbreak(drain->base);
}

static void on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct drain *drain = arg;

    (void)fd, (void)what;
    if (!is_busy(drain) && books_are_waited_for(drain)) {
        timer_start(drain->stop_timer, STOP_TIMEOUT_MS);
        return;
    }
    end_undone(drain, is_busy(drain)             ? "stopped with entries that are not loaded"
                      : intake_up(drain->intake) ? "stopped while Redis does not answer"
                                                 : "stopped while Redis is away");
}

static void drain_on_signed_off(struct drain *drain)
{
    int64_t left = intake_left_pending(drain->intake);
    char text[64];

    if (left > 0) {
        snprintf(text, sizeof text, "stopped with %" PRId64 " entries pending", left);
        end_undone(drain, text);
    } else if (left == 0) {
        event_base_loopbreak(drain->base);
    } else {
        drain->phase =
            DRAIN_STOPPING; /* Redis has gone meanwhile: once more, if it is back in time */
    }
}

static void go_on_stopping(struct drain *drain)
{
    if (drain->phase == DRAIN_STOPPING && !is_busy(drain) && !books_are_waited_for(drain) &&
        intake_up(drain->intake) && intake_quiet(drain->intake)) {
        drain->phase = DRAIN_SIGNING_OFF;
        intake_sign_off(drain->intake);
    }
    if (drain->phase == DRAIN_SIGNING_OFF && intake_quiet(drain->intake)) {
        drain_on_signed_off(drain);
    }
}

static bool all_is_loaded(const struct drain *drain)
{
    return drain->use != SESSION_AWAY && drain->use != SESSION_LOADING &&
           drain->leased_since_look && drain->gathering->count == 0 &&
           intake_drained(drain->intake);
}

/* Ends the program where Redis cannot be reached from the start: that is more likely a wrong
 * setting than an outage. */
static void check_first_connection(struct drain *drain)
{
    const char *error = intake_last_error(drain->intake);
    const char *of_setting = redis_error_of_setting(error);
    struct redis_url url = {0};
    char ignored[256];
    bool refused = of_setting != NULL || redis_error_action(error) == REDIS_ERROR_LOGIN;

    drain->redis_was_up = drain->redis_was_up || intake_up(drain->intake);
    if (drain->redis_was_up ||
        (!refused && clock_monotonic_ms() < drain->connecting_since_ms + START_TIMEOUT_MS)) {
        return;
    }
    redis_url_parse(&url, drain->settings->redis, ignored,
                    sizeof ignored); /* once more, for its place */
    drain->exit_code =
        command_fail(drain->settings, of_setting != NULL ? EXIT_CODE_USAGE : EXIT_CODE_UNREACHABLE,
                     "setting redis: %s: cannot connect: %s", url.place,
                     of_setting != NULL ? of_setting
                     : error[0] == '\0' ? "no answer"
                                        : error);
    event_base_loopbreak(drain->base);
}

/* Ends a run with --once. A stream that is refused waits for a person, however long. */
static void end_once(struct drain *drain)
{
    const struct streams *streams = &drain->streams;
    size_t refused = 0;

    for (size_t i = 0; i < streams->count; i++) {
        refused += streams->all[i]->state == STREAM_REFUSED;
    }
    if (refused == 0) {
        drain_stop(drain, "everything is loaded");
        return;
    }
    drain->exit_code = EXIT_CODE_NO;
    drain_stop(drain, "everything is loaded but for streams that are refused");
}

/* --- the turn --- */

static void use_link(struct drain *drain)
{
    if (drain->use != SESSION_FREE || !pg_link_ready(drain->link)) {
        return;
    }
    if (drain->phase == DRAIN_RUNNING && intake_up(drain->intake) &&
        lease_due(drain->lease, drain->gathering->count > 0 || !intake_drained(drain->intake))) {
        drain->use = SESSION_LEASING;
        drain->looked_before_lease = intake_looked(drain->intake);
        lease_run(drain->lease);
    } else if (drain->gathering->count > 0) {
        load_gathered(drain);
    }
}

/* Asks for a turn soon where leases change hands: they do not wait for the intake's ticks, each of
 * which brings one. */
static void turn_for_lease(struct drain *drain)
{
    unsigned ms = lease_interval_ms(drain->lease);

    if (ms < drain->settings->rebalance_interval) {
        timer_start(drain->turn_event, ms / 2);
    }
}

static void turn(evutil_socket_t fd, short what, void *arg)
{
    struct drain *drain = arg;

    (void)fd, (void)what;
    turn_for_lease(drain);
    if (!drain->redis_was_up) {
        check_first_connection(drain);
    }
    use_link(drain);
    if (drain->use != SESSION_AWAY && drain->use != SESSION_RESTING) {
        intake_read(drain->intake);
    }
    if (drain->phase != DRAIN_RUNNING) {
        go_on_stopping(drain);
    } else if (drain->settings->once && all_is_loaded(drain) && all_is_booked(drain)) {
        end_once(drain);
    }
}

static void on_turn(void *owner)
{
    turn_soon(owner);
}

/* --- the session --- */

static void on_session(void *owner, bool ready, const struct pg_failure *why)
{
    struct drain *drain = owner;

    (void)why;
    if (ready) {
        drain->use = evtimer_pending(drain->retry_timer, NULL) ? SESSION_RESTING : SESSION_FREE;
    } else {
        drain->use = SESSION_AWAY;
        forget_all(drain);
        lease_forget(drain->lease);
    }
    turn_soon(drain);
}

/* --- the log --- */

static void drain_on_summary(evutil_socket_t fd, short what, void *arg)
{
    struct drain *drain = arg;
    const struct loader_counters *now = &loader_stats(drain->loader)->counters,
                                 *before = &drain->summary_loader;

    (void)fd, (void)what;
    log_info("drain",
             "streams=%zu of %zu drainers=%u rows=%" PRIu64 " transactions=%" PRIu64
             " rejected=%" PRIu64 " retries=%" PRIu64,
             streams_held(&drain->streams), drain->streams.count, lease_members(drain->lease),
             now->rows - before->rows, now->transactions - before->transactions,
             now->rejected - before->rejected, now->retries - before->retries);
    drain->summary_loader = *now;
}

/* Fails a run with --once where other nodes of a cluster have streams: it has not loaded
 * everything. */
static void note_part(struct drain *drain)
{
    const char *why = drain->streams.troubles[TROUBLE_PART].why;

    if (drain->settings->once && why != NULL && drain->exit_code == EXIT_CODE_DONE) {
        drain->exit_code = command_fail(drain->settings, EXIT_CODE_UNREACHABLE, "%s", why);
    }
}

static void log_end(const struct drain *drain)
{
    const struct loader_counters *loader = &loader_stats(drain->loader)->counters;

    if (!booker_is_done(drain->booker) && booker_left(drain->booker) > 0) {
        log_warn("books",
                 "stopped with at least %" PRId64 " rows to be booked: the next drainer of their "
                 "exchange does it",
                 booker_left(drain->booker));
    }
    log_info("drain",
             "stopped: rows=%" PRIu64 " transactions=%" PRIu64 " rejected=%" PRIu64
             " expired=%" PRIu64 " acked=%" PRIu64,
             loader->rows, loader->transactions, loader->rejected, loader->expired,
             intake_counters(drain->intake)->acked);
}

/* --- start and end --- */

/* Says whether the name may go into SQL text. */
static bool name_is_plain(const char *name)
{
    return name[strspn(
               name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0';
}

/* Reads --from: an entry id, "ms" or "ms-seq", or a time in UTC since 1970, 2026-05-01T12:00:00Z
 * (the seconds may be left out). */
static bool parse_from(const char *text, struct stream_entry_id *id)
{
    struct tm tm = {0};
    char whole[STREAM_ENTRY_ID_BYTES];
    const char *end;

    if ((end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm)) != NULL ||
        (end = strptime(text, "%Y-%m-%dT%H:%MZ", &tm)) != NULL) {
        *id = (struct stream_entry_id){(uint64_t)timegm(&tm) * 1000, 0};
        return *end == '\0' && timegm(&tm) >= 0;
    }
    int length = snprintf(whole, sizeof whole, "%s%s", text, strchr(text, '-') == NULL ? "-0" : "");
    return length < (int)sizeof whole && stream_entry_id_parse(whole, (size_t)length, id);
}

static bool read_from(struct drain *drain)
{
    drain->has_from = drain->settings->from != NULL;
    if (drain->has_from && !parse_from(drain->settings->from, &drain->from)) {
        command_fail(drain->settings, EXIT_CODE_USAGE,
                     "setting from: \"%s\" is neither an entry id (1767225600000-0) nor a time "
                     "(2026-05-01T12:00:00Z)",
                     drain->settings->from);
        return false;
    }
    return true;
}

static bool create_intake(struct drain *drain)
{
    const struct settings *settings = drain->settings;
    char error[512];

    drain->intake =
        intake_create(&(struct intake_options){.base = drain->base,
                                               .settings = settings,
                                               .consumer = drain->drainer,
                                               .from = drain->has_from ? &drain->from : NULL,
                                               .streams = &drain->streams,
                                               .gathering = &drain->gathering,
                                               .on_turn = on_turn,
                                               .on_stuck = on_stuck,
                                               .owner = drain},
                      error, sizeof error);
    if (drain->intake == NULL) {
        command_fail(settings, EXIT_CODE_USAGE, "setting redis: %s", error);
    }
    return drain->intake != NULL;
}

static void create_postgres_side(struct drain *drain)
{
    const struct settings *settings = drain->settings;
    char application_name[64];

    snprintf(application_name, sizeof application_name, "blotter drain %.40s", drain->drainer);
    drain->loading_side =
        loading_create(&(struct loading_options){.base = drain->base,
                                                 .settings = settings,
                                                 .application_name = application_name,
                                                 .drainer = drain->drainer,
                                                 .on_change = on_session,
                                                 .owner = drain});
    drain->link = loading_link(drain->loading_side);
    drain->loader = loading_loader(drain->loading_side);
    drain->lease = lease_create(
        drain->link, &(struct lease_options){.streams = &drain->streams,
                                             .take_all = settings->once,
                                             .interval_ms = (unsigned)settings->rebalance_interval,
                                             .pattern = settings->streams,
                                             .on_taken = on_taken,
                                             .on_done = on_leased,
                                             .owner = drain});
    for (int i = 0; i < 2; i++) {
        drain->batches[i].changes = loading_order_changes(drain->loading_side);
    }
}

static void create_booker(struct drain *drain)
{
    char application_name[64];

    snprintf(application_name, sizeof application_name, "blotter books %.40s", drain->drainer);
    drain->booker = booker_create(&(struct booker_options){.base = drain->base,
                                                           .settings = drain->settings,
                                                           .application_name = application_name,
                                                           .streams = &drain->streams,
                                                           .on_turn = on_turn,
                                                           .owner = drain});
}

static bool create_monitor(struct drain *drain)
{
    char error[256];

    if (drain->settings->metrics == NULL) {
        return true;
    }
    drain->monitor =
        monitor_create(&(struct monitor_options){.base = drain->base,
                                                 .address = drain->settings->metrics,
                                                 .streams = &drain->streams,
                                                 .intake = drain->intake,
                                                 .lease = drain->lease,
                                                 .loader = drain->loader,
                                                 .link = drain->link,
                                                 .booker = drain->booker,
                                                 .producers = drain->producers,
                                                 .max_behind_ms = drain->settings->max_behind},
                       error, sizeof error);
    if (drain->monitor == NULL) {
        command_fail(drain->settings, EXIT_CODE_USAGE, "setting metrics: %s", error);
    }
    return drain->monitor != NULL;
}

static void drain_create_events(struct drain *drain)
{
    drain->turn_event = evtimer_new(drain->base, turn, drain);
    drain->retry_timer = evtimer_new(drain->base, drain_on_retry, drain);
    drain->stop_timer = evtimer_new(drain->base, on_stop_timeout, drain);
    drain->books_timer = evtimer_new(drain->base, on_books_timeout, drain);
    drain->summary_timer = event_new(drain->base, -1, EV_PERSIST, drain_on_summary, drain);
    drain->sigterm = evsignal_new(drain->base, SIGTERM, drain_on_signal, drain);
    drain->sigint = evsignal_new(drain->base, SIGINT, drain_on_signal, drain);
    timer_start(drain->summary_timer, SUMMARY_INTERVAL_MS);
    evsignal_add(drain->sigterm, NULL);
    evsignal_add(drain->sigint, NULL);
}

static void drain_release(struct drain *drain)
{
    struct event *events[] = {drain->turn_event,  drain->retry_timer,   drain->stop_timer,
                              drain->books_timer, drain->summary_timer, drain->sigterm,
                              drain->sigint};

    web_child_end(drain->web);
    monitor_destroy(drain->monitor);
    producer_counters_destroy(drain->producers);
    intake_destroy(drain->intake);
    lease_destroy(drain->lease);
    booker_destroy(drain->booker);
    loading_destroy(drain->loading_side);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (events[i] != NULL) {
            event_free(events[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        order_changes_destroy(drain->batches[i].changes);
        batch_release(&drain->batches[i]);
    }
    streams_release(&drain->streams);
    event_base_free(drain->base);
}

/* Checks that the settings lead to a database with our schema; prints why not. */
static int check_postgres(const struct settings *settings)
{
    struct pg pg;
    int code = pg_open_session(&pg, settings) ? EXIT_CODE_DONE : pg.exit_code;

    pg_close(&pg);
    return code;
}

int command_drain(const struct settings *settings)
{
    struct drain drain = {.settings = settings};
    int code;

    srandom((unsigned)time(NULL) ^ (unsigned)getpid());
    if (!command_consumer(settings, drain.drainer)) {
        return EXIT_CODE_USAGE;
    }
    if (!name_is_plain(drain.drainer)) {
        return command_fail(settings, EXIT_CODE_USAGE,
                            "setting consumer: \"%s\": expected letters, digits, '.', '_' and '-'",
                            drain.drainer);
    }
    if (!read_from(&drain)) {
        return EXIT_CODE_USAGE;
    }
    code = check_postgres(settings);
    if (code != EXIT_CODE_DONE) {
        return code;
    }
    drain.gathering = &drain.batches[0];
    drain.base = event_base_new();
    if (!create_intake(&drain)) {
        event_base_free(drain.base);
        return EXIT_CODE_USAGE;
    }
    drain.producers = producer_counters_create();
    drain_create_events(&drain);
    create_postgres_side(&drain);
    create_booker(&drain);
    if (!create_monitor(&drain)) {
        drain_release(&drain);
        return EXIT_CODE_USAGE;
    }
    log_info("drain", "drainer %s: up to %u rows a batch", drain.drainer,
             (unsigned)settings->batch_rows);
    drain.web = settings->web ? web_child_start(drain.base, settings) : NULL;
    loading_start(drain.loading_side);
    booker_start(drain.booker);
    drain.connecting_since_ms = clock_monotonic_ms();
    intake_start(drain.intake);
    event_base_dispatch(drain.base);
    log_end(&drain);
    note_part(&drain);
    drain_release(&drain);
    return drain.exit_code;
}
