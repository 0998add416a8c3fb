/* nodes.c: see nodes.h. */
#include "drainer/redis/nodes.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/redis/intake_private.h"
#include "drainer/settings.h"
#include "producer/background.h"
#include "producer/redis_error.h"
#include "producer/redis_link.h"
#include "schema/clock.h"

enum {
    ASK_MS = 1000,     /* from one question for the masters to the next ... */
    ASK_SOON_MS = 100, /* ... while a node is away */
    SILENT_MS = 1000,  /* a node that owes an answer for so long may be dead */
    UNLISTED_MS = 5000,
    SHOW_MS = 1000,
    ASIDE_MIN_MS = 50, /* a stream that is set aside is tried again so soon ... */
    ASIDE_MAX_MS = 1000,
    ASIDE_NAMED_MS =
        5000, /* ... and is a trouble once it lasts so long, if it should pass sooner */
};

bool nodes_any_up(const struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        if (node_is_up(nodes->all[i])) {
            return true;
        }
    }
    return false;
}

/* Says whether all nodes are up. One that the cluster does not list any more is not waited for. */
bool nodes_all_up(const struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        if (nodes->all[i]->listed && !node_is_up(nodes->all[i])) {
            return false;
        }
    }
    return nodes->count > 0;
}

static struct node *nodes_find(const struct nodes *nodes, const struct redis_host *host)
{
    for (size_t i = 0; i < nodes->count; i++) {
        if (cluster_host_equal(&nodes->all[i]->host, host)) {
            return nodes->all[i];
        }
    }
    return NULL;
}

static void nodes_add(struct nodes *nodes, struct node *node)
{
    nodes->all =
        array_grow_or_abort(nodes->all, &nodes->capacity, nodes->count + 1, sizeof(struct node *));
    nodes->all[nodes->count++] = node;
}

/* Finds the node of a cluster, or makes it. NULL: that fails; it is tried again. */
static struct node *nodes_get(struct nodes *nodes, const struct redis_host *host)
{
    struct node *node = nodes_find(nodes, host);
    char error[256];

    if (node != NULL || nodes->count >= CLUSTER_MASTERS) {
        return node;
    }
    node = node_create(nodes->intake, nodes->options, host, error, sizeof error);
    if (node == NULL) {
        snprintf(nodes->why, sizeof nodes->why, "%s", error);
        return NULL;
    }
    log_info("redis", "%s found", node->name);
    nodes_add(nodes, node);
    node_start(node);
    return node;
}

/* --- streams --- */

void nodes_route(struct nodes *nodes, struct stream *stream, struct node *node)
{
    if (stream->node == node) {
        return;
    }
    log_debug(stream->name, "served by %s", node == NULL ? "no node that is known" : node->name);
    stream->node = node;
    stream->link = node == NULL ? NULL : node->link;
    stream->connection++;
    stream->asked = stream->waited_for = false;
    stream->last_read = (struct stream_entry_id){0, 0};
    stream->retry_at_ms = 0;
    if (node != NULL && node_is_up(node)) {
        intake_meet(nodes->intake, stream);
    }
}

/* Says whether the error passes once a slot has been moved. Others are named at once. */
static bool nodes_is_moving(const char *error)
{
    return strncmp(error, "ASK ", 4) == 0 || strncmp(error, "TRYAGAIN", 8) == 0;
}

static void nodes_name_error(struct nodes *nodes, struct stream *stream, const char *error)
{
    const char *meaning = redis_error_meaning(error);
    bool moving = nodes_is_moving(error);

    if (moving && clock_monotonic_ms() - stream->aside_since_ms < ASIDE_NAMED_MS) {
        return;
    }
    streams_trouble(nodes->options->streams, stream, TROUBLE_REDIS, "%s answers %s%s%s%s",
                    stream->node->name, error, meaning == NULL ? "" : ": ",
                    meaning == NULL ? "" : meaning,
                    moving ? "; the move does not end: see `redis-cli --cluster check`, "
                             "`redis-cli --cluster fix`"
                           : "");
}

/* Sets the stream aside: it is not read until it is taken again, soon, and less often each time. */
static void nodes_set_aside(struct nodes *nodes, struct stream *stream, const char *error)
{
    int64_t now = clock_monotonic_ms();

    if (stream->retry_ms == 0) {
        stream->aside_since_ms = now;
    }
    nodes_name_error(nodes, stream, error);
    stream->retry_ms = stream->retry_ms == 0 ? ASIDE_MIN_MS : stream->retry_ms * 2;
    stream->retry_ms = stream->retry_ms > ASIDE_MAX_MS ? ASIDE_MAX_MS : stream->retry_ms;
    stream->retry_at_ms = now + stream->retry_ms;
    if (stream_is_held(stream) && stream->state != STREAM_LEAVING &&
        stream->state != STREAM_LOCKED) {
        stream_enter(stream, STREAM_GROUPING);
    }
}

bool nodes_take_error(struct nodes *nodes, struct stream *stream, const char *error)
{
    struct cluster_redirect redirect;

    if (!nodes->is_cluster || stream->node == NULL) {
        return false;
    }
    bool redirected = cluster_redirect_parse(error, stream->node->host.host, &redirect);
    enum redis_error_action action = redis_error_action(error);
    if (!redirected && action != REDIS_ERROR_WAIT && action != REDIS_ERROR_RESET) {
        return false;
    }
    nodes->asked_at_ms = 0; /* the masters are asked for soon */
    if (redirected && !redirect.ask) {
        nodes_route(nodes, stream, nodes_get(nodes, &redirect.to));
    } else {
        nodes_set_aside(nodes, stream, error);
    }
    return true;
}

void nodes_on_success(struct stream *stream)
{
    stream->retry_ms = 0;
    stream->retry_at_ms = 0;
}

/* Routes streams that have no node to any that is up: each says where a stream is. */
static void nodes_route_lost(struct nodes *nodes)
{
    struct streams *streams = nodes->options->streams;
    struct node *any = NULL;

    for (size_t i = 0; i < nodes->count && any == NULL; i++) {
        any = node_is_up(nodes->all[i]) ? nodes->all[i] : NULL;
    }
    for (size_t i = 0; i < streams->count && any != NULL; i++) {
        if (streams->all[i]->node == NULL) {
            nodes_route(nodes, streams->all[i], any);
        }
    }
}

/* --- which masters there are --- */

/* Says whether a node gives no answer. One that others do not list keeps its streams while it does:
 * it sends them on by itself. */
static bool nodes_is_silent(const struct node *node)
{
    return !node_is_up(node) || redis_link_late_ms(node->link) >= SILENT_MS;
}

static void nodes_leave(struct nodes *nodes, struct node *node, struct node *to)
{
    struct streams *streams = nodes->options->streams;

    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->node == node) {
            nodes_route(nodes, streams->all[i], to);
        }
    }
}

static bool nodes_is_listed(const struct cluster_masters *masters, const struct node *node)
{
    for (size_t i = 0; i < masters->count; i++) {
        if (cluster_host_equal(&masters->nodes[i], &node->host)) {
            return true;
        }
    }
    return false;
}

/* Takes the list of masters. from: the node that said so; NULL: one of the URL. */
static void nodes_apply(struct nodes *nodes, const struct cluster_masters *masters,
                        struct node *from)
{
    int64_t now = clock_monotonic_ms();

    nodes->why[0] = '\0';
    for (size_t i = 0; i < nodes->count; i++) {
        struct node *node = nodes->all[i];
        bool listed = nodes_is_listed(masters, node);

        node->unlisted_at_ms = node->listed && !listed ? now : node->unlisted_at_ms;
        node->listed = listed;
        bool spoke = from != NULL && node == from;
        if (!listed && !spoke && nodes_is_silent(node)) {
            nodes_leave(nodes, node, from);
        }
    }
    for (size_t i = 0; i < masters->count; i++) {
        nodes_get(nodes, &masters->nodes[i]);
    }
    nodes_show_trouble(nodes);
}

static void nodes_on_slots(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct nodes *nodes = owner;
    struct node *from = (struct node *)tag;
    struct cluster_masters masters;

    if (reply == NULL) {
        return;
    }
    if (cluster_masters_parse(reply, &from->host, &masters)) {
        nodes_apply(nodes, &masters, from);
        cluster_masters_release(&masters);
    } else {
        snprintf(nodes->why, sizeof nodes->why, "%.64s refuses CLUSTER SLOTS (%.120s)", from->name,
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer of another shape");
        nodes_show_trouble(nodes);
    }
}

static void nodes_on_masters(void *owner, const struct cluster_masters *masters, const char *why)
{
    struct nodes *nodes = owner;

    nodes->question = NULL;
    if (masters->count > 0) {
        nodes_apply(nodes, masters, NULL);
    } else {
        snprintf(nodes->why, sizeof nodes->why, "%s", why);
        nodes_show_trouble(nodes);
    }
    intake_turn(nodes->intake);
}

/* Asks the nodes of the URL, and those found since, on connections of their own. */
static void nodes_ask_seeds(struct nodes *nodes)
{
    struct redis_host *known;

    if (nodes->question != NULL) {
        return;
    }
    known = memory_or_abort(calloc(nodes->count + 1, sizeof *known));
    for (size_t i = 0; i < nodes->count; i++) {
        known[i] = nodes->all[i]->host;
    }
    nodes->question =
        cluster_masters_start(nodes->options->base,
                              &(struct cluster_question){.url = &nodes->url,
                                                         .learned = known,
                                                         .learned_count = nodes->count,
                                                         .first = (unsigned)nodes->next++},
                              nodes_on_masters, nodes);
    free(known);
}

/* Asks one node after the other, each time the next: one that is cut off may be wrong. */
static void nodes_ask(struct nodes *nodes)
{
    const char *argv[] = {"CLUSTER", "SLOTS"};

    for (size_t i = 0; i < nodes->count; i++) {
        struct node *node = nodes->all[nodes->next++ % nodes->count];

        if (!nodes_is_silent(node) &&
            redis_link_sendv_as(node->link, nodes, nodes_on_slots, (uintptr_t)node, 2, argv) == 0) {
            return;
        }
    }
    nodes_ask_seeds(nodes);
}

static bool nodes_is_used(const struct nodes *nodes, const struct node *node)
{
    const struct streams *streams = nodes->options->streams;

    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->node == node) {
            return true;
        }
    }
    return false;
}

/* Drops nodes that have been no masters for a while. */
static void nodes_drop_unlisted(struct nodes *nodes)
{
    int64_t now = clock_monotonic_ms();

    for (size_t i = 0; i < nodes->count; i++) {
        struct node *node = nodes->all[i];

        if (!node->listed && now - node->unlisted_at_ms >= UNLISTED_MS &&
            !nodes_is_used(nodes, node)) {
            log_info("redis", "%s is no master any more", node->name);
            nodes->all[i] = nodes->all[--nodes->count];
            node_destroy(node);
            return; /* one at a time */
        }
    }
}

static bool nodes_one_is_silent(const struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        if (nodes_is_silent(nodes->all[i])) {
            return true;
        }
    }
    return nodes->count == 0;
}

void nodes_tick(struct nodes *nodes)
{
    int64_t now = clock_monotonic_ms();

    if (now - nodes->shown_at_ms >= SHOW_MS) {
        nodes->shown_at_ms = now;
        nodes_show_trouble(nodes); /* as it is by now */
    }
    if (!nodes->is_cluster) {
        return;
    }
    nodes_drop_unlisted(nodes);
    nodes_route_lost(nodes);
    if (now - nodes->asked_at_ms >= (nodes_one_is_silent(nodes) ? ASK_SOON_MS : ASK_MS)) {
        nodes->asked_at_ms = now;
        nodes_ask(nodes);
    }
}

void nodes_show_trouble(struct nodes *nodes)
{
    struct streams *streams = nodes->options->streams;

    for (size_t i = 0; i < nodes->count; i++) {
        const struct node *node = nodes->all[i];
        const char *error = redis_link_last_error(node->link);
        const char *doubt = redis_link_doubt(node->link);

        if (node->listed && !node_is_up(node) && error[0] != '\0') {
            streams_trouble(streams, NULL, TROUBLE_LINK, "%s is not connected: %s", node->name,
                            error);
            return;
        }
        if (doubt[0] != '\0') {
            streams_trouble(streams, NULL, TROUBLE_LINK,
                            "no sentinel answers, so %s may not be the master any more: %s",
                            node->name, doubt);
            return;
        }
    }
    if (nodes->why[0] != '\0') {
        streams_trouble(streams, NULL, TROUBLE_LINK,
                        "it is not known which masters the Redis Cluster has: %s", nodes->why);
    } else if (nodes->count > 0) {
        streams_trouble_over(streams, NULL, TROUBLE_LINK);
    }
}

/* --- life --- */

bool nodes_init(struct nodes *nodes, struct intake *intake, const struct intake_options *options,
                char *error, size_t error_size)
{
    const struct settings *settings = options->settings;

    *nodes = (struct nodes){.intake = intake, .options = options};
    if (redis_url_parse(&nodes->url, settings->redis, error, error_size) != 0) {
        return false;
    }
    nodes->is_cluster = nodes->url.cluster;
    if (nodes->is_cluster) {
        struct node *first = node_create(intake, options, &nodes->url.hosts[0], error, error_size);
        bool sound = first != NULL; /* it is not known whether that is a master: only looked at */

        node_destroy(first);
        if (settings->redis_password != NULL) {
            snprintf(nodes->url.password, sizeof nodes->url.password, "%s",
                     settings->redis_password);
        }
        return sound;
    }
    explicit_bzero(&nodes->url, sizeof nodes->url);
    struct node *only = node_create(intake, options, NULL, error, error_size);
    if (only != NULL) {
        nodes_add(nodes, only);
    }
    return only != NULL;
}

void nodes_start(struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        node_start(nodes->all[i]);
    }
}

void nodes_release(struct nodes *nodes)
{
    background_cancel(nodes->question);
    for (size_t i = 0; i < nodes->count; i++) {
        node_destroy(nodes->all[i]);
    }
    free(nodes->all);
    explicit_bzero(&nodes->url, sizeof nodes->url);
}
