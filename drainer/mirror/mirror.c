/* mirror.c: see mirror.h. The Redis side is the drainer's (drainer/redis/), in a consumer group of
 * its own; leases are soft (mirror_lease.h); mirror_writer.h stores batches.
 *
 * Two batches: while one is stored, the other gathers. An entry is acknowledged only after QuestDB
 * has answered that it is committed. Everything is decided in mirror_turn(), which runs after
 * anything has changed. */
#include "drainer/mirror/mirror.h"

#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drainer/commands.h"
#include "drainer/log.h"
#include "drainer/metrics_text.h"
#include "drainer/mirror/mirror_lease.h"
#include "drainer/mirror/mirror_writer.h"
#include "drainer/monitor.h"
#include "drainer/redis/intake.h"
#include "drainer/redis/redis_blocking.h"
#include "drainer/settings_table.h"
#include "producer/timer.h"
#include "schema/clock.h"

enum {
    SUMMARY_MS = 60000,
    STOP_MS = 5000,
    GATHER_MS = 100, /* that a batch waits for more, where Redis has more or does not answer */
    LINE_FACTOR =
        4, /* a line is longer than a row of COPY, and each request costs QuestDB a commit */
    START_MS = 5000, /* for the first answer of QuestDB; later it is tried for ever */
};

enum mirror_phase { MIRROR_STARTING, MIRROR_RUNNING, MIRROR_STOPPING, MIRROR_SIGNING_OFF };

struct mirror {
    const struct settings *settings;
    char name[CONSUMER_BYTES];
    struct event_base *base;
    struct event *turn_event, *lease_timer, *summary_timer, *stop_timer, *sigterm, *sigint;
    struct streams streams;
    struct intake *intake;
    struct mirror_lease *lease;
    struct questdb_link *link;
    struct mirror_writer *writer;
    struct monitor *monitor; /* NULL: not asked for */
    struct batch batches[2], *gathering;
    enum mirror_phase phase;
    int64_t started_ms;
    int exit_code;
    struct mirror_counters summary;
};

static void mirror_turn_soon(void *owner)
{
    struct mirror *mirror = owner;

    event_active(mirror->turn_event, EV_TIMEOUT, 0);
}

/* --- storing --- */

static void write_gathered(struct mirror *mirror)
{
    struct batch *batch = mirror->gathering;

    mirror->gathering = batch == &mirror->batches[0] ? &mirror->batches[1] : &mirror->batches[0];
    mirror_writer_write(mirror->writer, batch);
}

/* Says whether there is something to send, and either no more comes now, or it has waited long
 * enough. A batch that is full reads no more. A small request costs QuestDB nearly what a large one
 * does. */
static bool is_gathered(const struct mirror *mirror)
{
    const struct batch *batch = mirror->gathering;

    return mirror_writer_ready(mirror->writer) && batch->count > 0 &&
           (!intake_awaits_entries(mirror->intake) ||
            clock_monotonic_ms() - batch->gathered_at_us / 1000 > GATHER_MS);
}

static void on_stored(void *owner, struct batch *batch)
{
    struct mirror *mirror = owner;

    intake_settle(mirror->intake, batch);
    batch_clear(batch);
}

/* --- stopping --- */

static void mirror_stop(struct mirror *mirror, const char *why)
{
    if (mirror->phase != MIRROR_RUNNING && mirror->phase != MIRROR_STARTING) {
        return;
    }
    log_info("mirror", "stopping: %s", why);
    mirror->phase = MIRROR_STOPPING;
    intake_stop_reading(mirror->intake);
    timer_start(mirror->stop_timer, STOP_MS);
    mirror_turn_soon(mirror);
}

static void mirror_on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    mirror_stop(arg, fd == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void mirror_on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct mirror *mirror = arg;

    (void)fd, (void)what;
    log_warn("mirror", "stopped while a server does not answer: the next mirror reads again what "
                       "is pending");
    mirror->exit_code = EXIT_CODE_NO;
    event_base_loopbreak(mirror->base);
}

static void mirror_go_on_stopping(struct mirror *mirror)
{
    if (mirror->phase == MIRROR_STOPPING && mirror->gathering->count == 0 &&
        mirror_writer_ready(mirror->writer) && intake_up(mirror->intake) &&
        intake_quiet(mirror->intake)) {
        mirror->phase = MIRROR_SIGNING_OFF;
        mirror_lease_give_back(mirror->lease);
        intake_sign_off(mirror->intake);
    }
    if (mirror->phase == MIRROR_SIGNING_OFF && intake_quiet(mirror->intake)) {
        mirror->exit_code =
            intake_left_pending(mirror->intake) == 0 ? EXIT_CODE_DONE : EXIT_CODE_NO;
        event_base_loopbreak(mirror->base);
    }
}

static bool all_is_mirrored(const struct mirror *mirror)
{
    return mirror_writer_ready(mirror->writer) && mirror->gathering->count == 0 &&
           mirror_lease_settled(mirror->lease) && intake_drained(mirror->intake);
}

/* --- the turn --- */

/* Ends the program where QuestDB cannot be used from the start: that is more likely a wrong setting
 * than an outage. */
static void check_start(struct mirror *mirror)
{
    enum questdb_action action;
    const char *trouble = mirror_writer_trouble(mirror->writer, &action);

    if (mirror_writer_up(mirror->writer)) {
        mirror->phase = MIRROR_RUNNING;
        log_info("questdb", "connected to %s", questdb_link_place(mirror->link));
    } else if (trouble[0] != '\0' &&
               (action == QUESTDB_PERSON || clock_monotonic_ms() - mirror->started_ms > START_MS)) {
        mirror->exit_code = command_fail(
            mirror->settings, action == QUESTDB_PERSON ? EXIT_CODE_USAGE : EXIT_CODE_UNREACHABLE,
            "setting questdb: %s: %s", questdb_link_place(mirror->link), trouble);
        event_base_loopbreak(mirror->base);
    }
}

static void mirror_turn(evutil_socket_t fd, short what, void *arg)
{
    struct mirror *mirror = arg;

    (void)fd, (void)what;
    if (mirror->phase == MIRROR_STARTING) {
        check_start(mirror);
    }
    if (mirror->phase != MIRROR_STARTING) {
        intake_read(mirror->intake);
    }
    if (is_gathered(mirror)) {
        write_gathered(mirror);
        intake_read(mirror->intake);
    }
    if (mirror->phase > MIRROR_RUNNING) {
        mirror_go_on_stopping(mirror);
    } else if (mirror->settings->once && all_is_mirrored(mirror)) {
        mirror_stop(mirror, "everything is stored");
    }
}

static void on_lease_timer(evutil_socket_t fd, short what, void *arg)
{
    struct mirror *mirror = arg;

    (void)fd, (void)what;
    if (mirror->phase == MIRROR_RUNNING && intake_up(mirror->intake)) {
        mirror_lease_run(mirror->lease);
    }
    mirror_turn_soon(mirror);
}

/* Does nothing: a holder that stands still loses its lease by itself. */
static void on_stream_stuck(void *owner, struct stream *stream)
{
    (void)owner, (void)stream;
}

/* --- the log, /metrics --- */

static void mirror_on_summary(evutil_socket_t fd, short what, void *arg)
{
    struct mirror *mirror = arg;
    const struct mirror_counters *now = mirror_writer_counters(mirror->writer);

    (void)fd, (void)what;
    log_info("mirror",
             "streams=%zu of %zu mirrors=%u rows=%" PRIu64 " requests=%" PRIu64 " rejected=%" PRIu64
             " retries=%" PRIu64,
             streams_held(&mirror->streams), mirror->streams.count,
             mirror_lease_members(mirror->lease), now->rows - mirror->summary.rows,
             now->requests - mirror->summary.requests, now->rejected - mirror->summary.rejected,
             now->retries - mirror->summary.retries);
    mirror->summary = *now;
}

static bool questdb_up(void *owner)
{
    return mirror_writer_up(((struct mirror *)owner)->writer);
}

static unsigned mirror_members(void *owner)
{
    return mirror_lease_members(((struct mirror *)owner)->lease);
}

static void put_mirror_counters(void *owner, struct evbuffer *out)
{
    const struct mirror *mirror = owner;
    const struct mirror_counters *counters = mirror_writer_counters(mirror->writer);

#define X(name, meaning) metrics_put_total(out, "mirror_" #name "_total", meaning, counters->name);
    MIRROR_COUNTERS(X)
#undef X
}

/* --- start and end --- */

bool mirror_read_conf(const struct settings *settings, struct questdb_conf *conf)
{
    char error[256];

    if (settings->questdb == NULL || settings->questdb[0] == '\0') {
        command_fail(settings, EXIT_CODE_USAGE,
                     "setting questdb: it is required: http::addr=HOST:PORT;");
        return false;
    }
    if (questdb_conf_parse(conf, settings->questdb, error, sizeof error) != 0) {
        command_fail(settings, EXIT_CODE_USAGE, "setting questdb: %s", error);
        return false;
    }
    if (settings->questdb_password != NULL) {
        snprintf(conf->password, sizeof conf->password, "%s", settings->questdb_password);
    }
    return true;
}

static bool create_servers(struct mirror *mirror, const struct questdb_conf *conf)
{
    const struct settings *settings = mirror->settings;
    char error[512];

    mirror->link = questdb_link_create(mirror->base, conf, error, sizeof error);
    if (mirror->link == NULL) {
        command_fail(settings, EXIT_CODE_USAGE, "setting questdb: %s", error);
        return false;
    }
    mirror->intake = intake_create(&(struct intake_options){.base = mirror->base,
                                                            .settings = settings,
                                                            .consumer = mirror->name,
                                                            .streams = &mirror->streams,
                                                            .gathering = &mirror->gathering,
                                                            .on_turn = mirror_turn_soon,
                                                            .on_stuck = on_stream_stuck,
                                                            .owner = mirror},
                                   error, sizeof error);
    if (mirror->intake == NULL) {
        command_fail(settings, EXIT_CODE_USAGE, "setting redis: %s", error);
        return false;
    }
    mirror->lease =
        mirror_lease_create(mirror->intake, &mirror->streams, mirror->name, settings->once);
    mirror->writer =
        mirror_writer_create(&(struct mirror_writer_options){.base = mirror->base,
                                                             .link = mirror->link,
                                                             .streams = &mirror->streams,
                                                             .on_ready = mirror_turn_soon,
                                                             .on_stored = on_stored,
                                                             .owner = mirror});
    for (int i = 0; i < 2; i++) {
        mirror_writer_adopt(mirror->writer, &mirror->batches[i]);
    }
    return true;
}

static bool mirror_create_monitor(struct mirror *mirror)
{
    const struct settings *settings = mirror->settings;
    char error[256];

    if (settings->metrics == NULL) {
        return true;
    }
    mirror->monitor = monitor_create(
        &(struct monitor_options){.base = mirror->base,
                                  .address = settings->metrics,
                                  .streams = &mirror->streams,
                                  .intake = mirror->intake,
                                  .sink =
                                      &(struct monitor_sink){.server = "questdb",
                                                             .members = "mirrors",
                                                             .up = questdb_up,
                                                             .count_members = mirror_members,
                                                             .put_counters = put_mirror_counters,
                                                             .owner = mirror},
                                  .max_behind_ms = settings->max_behind},
        error, sizeof error);
    if (mirror->monitor == NULL) {
        command_fail(settings, EXIT_CODE_USAGE, "setting metrics: %s", error);
    }
    return mirror->monitor != NULL;
}

static void mirror_create_events(struct mirror *mirror)
{
    mirror->turn_event = evtimer_new(mirror->base, mirror_turn, mirror);
    mirror->lease_timer = event_new(mirror->base, -1, EV_PERSIST, on_lease_timer, mirror);
    mirror->stop_timer = evtimer_new(mirror->base, mirror_on_stop_timeout, mirror);
    mirror->summary_timer = event_new(mirror->base, -1, EV_PERSIST, mirror_on_summary, mirror);
    mirror->sigterm = evsignal_new(mirror->base, SIGTERM, mirror_on_signal, mirror);
    mirror->sigint = evsignal_new(mirror->base, SIGINT, mirror_on_signal, mirror);
    timer_start(mirror->lease_timer, mirror->settings->rebalance_interval);
    timer_start(mirror->summary_timer, SUMMARY_MS);
    evsignal_add(mirror->sigterm, NULL);
    evsignal_add(mirror->sigint, NULL);
}

static void mirror_release(struct mirror *mirror)
{
    struct event *events[] = {mirror->turn_event,    mirror->lease_timer, mirror->stop_timer,
                              mirror->summary_timer, mirror->sigterm,     mirror->sigint};

    monitor_destroy(mirror->monitor);
    intake_destroy(mirror->intake);
    mirror_lease_destroy(mirror->lease);
    mirror_writer_destroy(mirror->writer);
    questdb_link_destroy(mirror->link);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        event_free(events[i]);
    }
    for (int i = 0; i < 2; i++) {
        batch_release(&mirror->batches[i]);
    }
    streams_release(&mirror->streams);
    event_base_free(mirror->base);
}

/* Checks that Redis answers at the start; prints why it does not. */
static int mirror_check_redis(const struct settings *settings)
{
    struct redis redis;
    int code = redis_open(&redis, settings) ? EXIT_CODE_DONE : redis.exit_code;

    redis_close(&redis);
    return code;
}

int mirror_run(const struct settings *given)
{
    struct settings with_room = *given; /* shallow: read only, as long as the other */
    const struct settings *settings = &with_room;
    struct mirror mirror = {.settings = settings,
                            .streams = {.group = STREAM_MIRROR_GROUP, .beside = true}};
    struct questdb_conf conf;
    bool good = command_consumer(settings, mirror.name) && mirror_read_conf(settings, &conf);
    int code = good ? mirror_check_redis(settings) : EXIT_CODE_USAGE;

    if (code != EXIT_CODE_DONE) {
        return code;
    }
    with_room.batch_bytes *= LINE_FACTOR;
    srandom((unsigned)time(NULL) ^ (unsigned)getpid());
    mirror.gathering = &mirror.batches[0];
    mirror.base = event_base_new();
    mirror_create_events(&mirror);
    mirror.exit_code = EXIT_CODE_USAGE;
    if (create_servers(&mirror, &conf) && mirror_create_monitor(&mirror)) {
        mirror.exit_code = EXIT_CODE_DONE;
        mirror.started_ms = clock_monotonic_ms();
        log_info("mirror", "mirror %s: up to %u rows a request", mirror.name,
                 (unsigned)settings->batch_rows);
        mirror_writer_start(mirror.writer);
        intake_start(mirror.intake);
        event_base_dispatch(mirror.base);
        log_info("mirror", "stopped: rows=%" PRIu64 " rejected=%" PRIu64 " acked=%" PRIu64,
                 mirror_writer_counters(mirror.writer)->rows,
                 mirror_writer_counters(mirror.writer)->rejected,
                 intake_counters(mirror.intake)->acked);
    }
    explicit_bzero(&conf, sizeof conf);
    mirror_release(&mirror);
    return mirror.exit_code;
}
