/* redis_link.c: one reconnecting Redis connection on an event loop.
 *
 *            start              literal or socket
 *     IDLE ────────► WAITING ─────────────────────► CONNECTING ──► GREETING ──► UP
 *                     ▲   │ a name, sentinels          ▲   │           │         │
 *                     │   └───────────► RESOLVING ─────┘   │           │         │
 *                     │                     │              │           │         │
 *                     └────── CLOSING ◄─────┴──────────────┴───────────┴─────────┘
 *                                           any failure, or redis_link_reset
 *
 * redis_link_set_state() is the only place that changes the state, and it arms the state's timer:
 * the back-off in WAITING, the limit of an attempt in RESOLVING, CONNECTING and GREETING, a look at
 * the oldest answer in flight in UP.
 *
 * hiredis allows little inside its callbacks: no free or disconnect in onConnect (use after free
 * before 1.1), a free in a reply callback is put off, and after onDisconnect it frees the context
 * itself. So callbacks only note what happened (redis_link_lose(), or the last greeting's answer)
 * and activate `settle`, an event of its own, which runs outside of them: there the context is
 * freed, which gives every command still in_flight an answer its NULL, and the owner is told.
 *
 * redis_link_state.c has the states, redis_connect.c makes an attempt, redis_greeting.c sends the
 * first commands, redis_moves.c notices when the master is elsewhere.
 *
 * Answers come in the order of the commands, so what belongs to each is kept in a queue
 * (in_flight.h).
 *
 * hiredis writes with write(2): a thread that runs this must block or ignore SIGPIPE. */
#include "producer/redis_link.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/sds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/background.h"
#include "producer/cluster.h"
#include "producer/in_flight.h"
#include "producer/redis_link_private.h"
#include "producer/redis_reader.h"
#include "producer/redis_tls.h"
#include "producer/redis_url.h"
#include "schema/clock.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    ANSWER_TIMEOUT_MS = 10000,
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 2000,
};

static void on_reply(redisAsyncContext *context, void *reply, void *privdata);

bool redis_link_is_asking(const struct redis_link *link)
{
    return link->asking;
}

/* --- commands and answers --- */

/* Takes the time of an answer that did not wait for others of ours. */
static void time_round_trip(struct redis_link *link, const struct in_flight *in_flight)
{
    if (link->timing) {
        int64_t ms = link->heard_ms - in_flight->sent_ms, before = link->round_trip_ms;
        link->round_trip_ms = ms < before ? ms : before + (ms - before) / 4;
        link->timing = false;
    }
}

static void push_in_flight(struct redis_link *link, struct in_flight in_flight)
{
    link->timing = link->timing || link->in_flight.count == 0;
    in_flight_push(&link->in_flight, in_flight);
}

/* Says ASKING where it is needed: it counts for one command, and is said before each. */
static bool say_asking(struct redis_link *link)
{
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    if (!link->asking) {
        return true;
    }
    if (!in_flight_reserve(&link->in_flight) ||
        redisAsyncFormattedCommand(link->context, on_reply, NULL, asking, sizeof asking - 1) !=
            REDIS_OK) {
        return false;
    }
    push_in_flight(link, (struct in_flight){NULL, link, 0, clock_monotonic_coarse_ms()});
    return true;
}

/* Notes that the node that the slot is moved to owns it, if it has answered well without ASKING. */
static void on_owned(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct redis_link *link = owner;
    (void)tag;
    if (reply != NULL && reply->type != REDIS_REPLY_ERROR) {
        link->asking = false;
    }
}

/* Says whether an answer tells that the stream is elsewhere, or comes behind one that did. */
static bool leads_away(struct redis_link *link, const struct in_flight *in_flight,
                       const redisReply *reply)
{
    if (link->stream == NULL || in_flight->callback == on_owned) {
        return false;
    }
    if (link->state != REDIS_LINK_UP) {
        return link->redirect.to.port != 0;
    }
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "MOVED ", 6) == 0 &&
           redis_link_follow(link, reply->str);
}

static void on_reply(redisAsyncContext *context, void *reply, void *privdata)
{
    (void)privdata;
    struct redis_link *link = context->data;
    if (reply == NULL) {
        redis_link_lose_connection(link, context);
    }
    struct in_flight in_flight = in_flight_pop(&link->in_flight);
    link->heard_ms = clock_monotonic_coarse_ms();
    time_round_trip(link, &in_flight);
    if (reply != NULL && leads_away(link, &in_flight, reply)) {
        reply = NULL; /* and so are all behind it, or they would overtake it */
    }
    if (in_flight.callback != NULL) {
        in_flight.callback(in_flight.owner, in_flight.tag, reply);
    }
}

int redis_link_send(struct redis_link *link, redis_link_reply *callback, uintptr_t tag,
                    const char *resp, size_t length)
{
    if (!redis_link_up(link) || !say_asking(link) || !in_flight_reserve(&link->in_flight) ||
        redisAsyncFormattedCommand(link->context, on_reply, NULL, resp, length) != REDIS_OK) {
        return -1;
    }
    push_in_flight(
        link, (struct in_flight){callback, link->options.owner, tag, clock_monotonic_coarse_ms()});
    return 0;
}

int redis_link_sendv_as(struct redis_link *link, void *owner, redis_link_reply *callback,
                        uintptr_t tag, int argc, const char **argv)
{
    if (!redis_link_up(link) || !say_asking(link) || !in_flight_reserve(&link->in_flight) ||
        redisAsyncCommandArgv(link->context, on_reply, NULL, argc, argv, NULL) != REDIS_OK) {
        return -1;
    }
    push_in_flight(link, (struct in_flight){callback, owner, tag, clock_monotonic_coarse_ms()});
    return 0;
}

int redis_link_sendv(struct redis_link *link, redis_link_reply *callback, uintptr_t tag, int argc,
                     const char **argv)
{
    return redis_link_sendv_as(link, link->options.owner, callback, tag, argc, argv);
}

/* --- going up and down --- */

static void free_context(struct redis_link *link)
{
    redisAsyncContext *context = link->context;
    link->context = NULL;
    if (context != NULL) {
        redisAsyncFree(context); /* every command in_flight an answer gets its NULL in here */
    }
    assert(link->in_flight.count == 0);
}

static void go_down(struct redis_link *link)
{
    free_context(link);
    redis_link_set_state(link, REDIS_LINK_WAITING);
    if (link->told_up) {
        link->told_up = false;
        link->options.on_change(link->options.owner, false, link->last_error);
    }
}

static void redis_link_go_up(struct redis_link *link)
{
    link->heard_ms = link->asked_ms = clock_monotonic_coarse_ms();
    link->doubt[0] = '\0';
    link->round_trip_ms = link->heard_ms - link->since_ms; /* of the greeting */
    link->told_up = true;
    redis_link_set_state(link, REDIS_LINK_UP);
    link->options.on_change(link->options.owner, true, link->url.place);
}

static void on_settle(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct redis_link *link = arg;
    if (link->state == REDIS_LINK_CLOSING) {
        go_down(link);
    } else if (link->state == REDIS_LINK_GREETING) {
        redis_link_go_up(link);
    }
}

/* Asks whether the node owns the slot by now. */
static void ask_for_slot(struct redis_link *link)
{
    const char *words[6];
    if (link->asking && in_flight_reserve(&link->in_flight) &&
        redisAsyncCommandArgv(link->context, on_reply, NULL, 6,
                              redis_link_stream_question(link, words), NULL) == REDIS_OK) {
        push_in_flight(link, (struct in_flight){on_owned, link, 0, clock_monotonic_coarse_ms()});
    }
}

unsigned redis_link_round_trip_ms(const struct redis_link *link)
{
    return (unsigned)link->round_trip_ms;
}

int64_t redis_link_late_ms(const struct redis_link *link)
{
    const struct in_flight *oldest = in_flight_oldest(&link->in_flight);
    if (oldest == NULL) {
        return 0;
    }
    int64_t heard = redis_reader_heard_ms(link->reader); /* a long answer may take its time */
    return clock_monotonic_coarse_ms() - (oldest->sent_ms > heard ? oldest->sent_ms : heard);
}

/* Watches over answers. A server that gives none is as good as none: the kernel still acknowledges
 * for a stopped process, and says nothing about a peer that vanished while the line was idle. */
static void watch(struct redis_link *link)
{
    int64_t now = clock_monotonic_coarse_ms(), limit = (int64_t)link->options.answer_timeout_ms;
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    int64_t late = redis_link_late_ms(link);
    redis_link_ask_others(link, late);
    if (late >= limit) {
        char why[64];
        snprintf(why, sizeof why, "no answer for %u ms", link->options.answer_timeout_ms);
        redis_link_lose(link, why);
        return;
    }
    if (link->in_flight.count == 0 && now - link->heard_ms >= limit / 2) {
        redis_link_send(link, NULL, 0, ping, sizeof ping - 1);
    }
    ask_for_slot(link);
    redis_link_watch_on(link);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct redis_link *link = arg;
    char why[128];
    switch (link->state) {
    case REDIS_LINK_WAITING:
        redis_link_attempt(link);
        break;
    case REDIS_LINK_UP:
        watch(link);
        break;
    default:
        snprintf(why, sizeof why, "timed out while %s", redis_link_state_text(link->state));
        redis_link_lose(link, why);
    }
}

/* --- life --- */

static void apply_defaults(struct redis_link_options *options)
{
    if (options->connect_timeout_ms == 0) {
        options->connect_timeout_ms = CONNECT_TIMEOUT_MS;
    }
    if (options->answer_timeout_ms == 0) {
        options->answer_timeout_ms = ANSWER_TIMEOUT_MS;
    }
    if (options->backoff_min_ms == 0) {
        options->backoff_min_ms = BACKOFF_MIN_MS;
    }
    if (options->backoff_max_ms == 0) {
        options->backoff_max_ms = BACKOFF_MAX_MS;
    }
}

static int redis_link_prepare(struct redis_link *link, char *error, size_t error_size)
{
    const struct redis_link_options *options = &link->options;
    if (redis_url_parse(&link->url, options->url, error, error_size) != 0) {
        return -1;
    }
    if (options->password != NULL && strlen(options->password) >= sizeof link->url.password) {
        snprintf(error, error_size, "Redis password: longer than %zu bytes",
                 sizeof link->url.password - 1);
        return -1;
    }
    if (options->password != NULL) {
        snprintf(link->url.password, sizeof link->url.password, "%s", options->password);
    }
    if (link->url.tls && (link->tls = redis_tls_create(&link->url, error, error_size)) == NULL) {
        return -1;
    }
    link->timer = evtimer_new(options->base, on_timer, link);
    link->settle = event_new(options->base, -1, 0, on_settle, link);
    link->name = options->name != NULL ? strdup(options->name) : NULL;
    bool routed = link->url.cluster && options->stream != NULL;
    link->stream = routed ? strdup(options->stream) : NULL;
    if (link->url.cluster && options->node != NULL) {
        snprintf(link->url.host, sizeof link->url.host, "%s", options->node->host);
        link->url.port = options->node->port;
    }
    if (link->timer != NULL && link->settle != NULL &&
        (link->name != NULL || options->name == NULL) && (link->stream != NULL || !routed)) {
        return 0;
    }
    snprintf(error, error_size, "out of memory");
    return -1;
}

struct redis_link *redis_link_create(const struct redis_link_options *options, char *error,
                                     size_t error_size)
{
    struct redis_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    link->seed = (unsigned)now.tv_nsec ^ (unsigned)(uintptr_t)link;
    link->options = *options;
    apply_defaults(&link->options);
    if (redis_link_prepare(link, error, error_size) != 0) {
        redis_link_destroy(link);
        return NULL;
    }
    /* borrowed for the call only */
    link->options.url = link->options.password = link->options.name = link->options.stream = NULL;
    link->options.node = NULL;
    return link;
}

void redis_link_destroy(struct redis_link *link)
{
    if (link == NULL) {
        return;
    }
    if (redis_link_is_open(link)) { /* refuses commands from the last callbacks */
        redis_link_set_state(link, REDIS_LINK_CLOSING);
    }
    free_context(link);
    redis_link_cancel_lookups(link);
    if (link->timer != NULL) {
        event_free(link->timer);
    }
    if (link->settle != NULL) {
        event_free(link->settle);
    }
    redis_tls_destroy(link->tls);
    in_flight_release(&link->in_flight);
    free(link->name);
    free(link->stream);
    explicit_bzero(&link->url, sizeof link->url);
    free(link);
}

void redis_link_start(struct redis_link *link)
{
    if (link->state == REDIS_LINK_IDLE) {
        redis_link_set_state(link, REDIS_LINK_WAITING);
    }
}

void redis_link_reset(struct redis_link *link, const char *why)
{
    redis_link_lose(link, why);
}

/* --- looking at it --- */

enum redis_link_state redis_link_state(const struct redis_link *link)
{
    return link->state;
}

bool redis_link_up(const struct redis_link *link)
{
    return link != NULL && link->state == REDIS_LINK_UP;
}

const char *redis_link_last_error(const struct redis_link *link)
{
    return link->last_error;
}

const char *redis_link_doubt(const struct redis_link *link)
{
    return link->state == REDIS_LINK_UP ? link->doubt : "";
}

const char *redis_link_place(const struct redis_link *link)
{
    return link->url.place;
}

size_t redis_link_unsent_bytes(const struct redis_link *link)
{
    return link->context != NULL ? sdslen(link->context->c.obuf) : 0;
}

unsigned redis_link_unanswered(const struct redis_link *link)
{
    return link->in_flight.count;
}

redis_link_reply *redis_link_answering(const struct redis_link *link, uintptr_t *tag)
{
    const struct in_flight *oldest = in_flight_oldest(&link->in_flight);
    if (oldest == NULL) {
        return NULL;
    }
    *tag = oldest->tag;
    return oldest->callback;
}
