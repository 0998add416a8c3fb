/* node.c: see node.h. */
#include "drainer/redis/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/backoff.h"
#include "drainer/memory.h"
#include "drainer/redis/doorbell.h"
#include "drainer/redis/entry_reader.h"
#include "drainer/redis/intake_private.h"
#include "drainer/settings.h"
#include "producer/redis_link.h"
#include "schema/clock.h"

enum { PAUSE_MIN_MS = 50, PAUSE_MAX_MS = 2000 };

void node_pause(struct node *node)
{
    unsigned ms = backoff_next_ms(&node->error_pause_ms, PAUSE_MIN_MS, PAUSE_MAX_MS);

    node->paused_until_ms = clock_monotonic_ms() + backoff_spread_ms(ms);
}

void node_go_on(struct node *node)
{
    node->error_pause_ms = 0;
}

bool node_is_up(const struct node *node)
{
    return redis_link_up(node->link);
}

void node_read(struct node *node)
{
    if (node_is_up(node) && clock_monotonic_ms() >= node->paused_until_ms &&
        !reading_continue(&node->reading)) {
        doorbell_arm(node->doorbell);
    }
}

static void node_on_change(void *owner, bool up, const char *why)
{
    struct node *node = owner;

    (void)why;
    if (up) {
        entry_reader_reset(node->reading.entry_reader);
        intake_on_node_up(node->intake, node);
    } else {
        reading_on_link_down(&node->reading);
        intake_on_node_down(node->intake);
    }
}

static void node_on_ring(void *owner, struct stream *stream)
{
    struct node *node = owner;

    reading_wake(&node->reading, stream);
    intake_turn(node->intake);
}

static void node_on_quiet(void *owner)
{
    struct node *node = owner;

    node->reading.read_at_ms = clock_monotonic_ms();
    doorbell_arm(node->doorbell);
}

static void create_reading(struct node *node, const struct intake_options *options, bool is_cluster)
{
    struct reading *reading = &node->reading;

    reading_init(reading, node->intake, options->settings, options->consumer);
    reading->node = node;
    reading->streams = options->streams;
    reading->gathering = options->gathering;
    reading->from = options->from;
    reading->in_cluster = reading->each_alone = is_cluster;
    reading->entry_reader =
        entry_reader_create(&(struct entry_reader_options){.on_answer = reading_on_answer,
                                                           .on_stream = reading_on_stream,
                                                           .on_entry = reading_on_entry,
                                                           .on_long_entry = reading_on_long_entry,
                                                           .owner = reading});
}

static bool create_links(struct node *node, const struct intake_options *options,
                         const struct redis_host *host, char *error, size_t error_size)
{
    struct redis_link_options link = {.base = options->base,
                                      .url = options->settings->redis,
                                      .password = options->settings->redis_password,
                                      .name = options->consumer,
                                      .node = host};

    node->doorbell = doorbell_create(&(struct doorbell_options){.link = link,
                                                                .node = node,
                                                                .streams = options->streams,
                                                                .each_alone = host != NULL,
                                                                .on_ring = node_on_ring,
                                                                .on_quiet = node_on_quiet},
                                     error, error_size);
    link.on_change = node_on_change;
    link.owner = node;
    link.reply_functions = entry_reader_functions(node->reading.entry_reader);
    link.reply_privdata = node->reading.entry_reader;
    link.string_bytes = ENTRY_READER_VALUE_BYTES;
    link.on_piece = entry_reader_on_piece;
    node->link = redis_link_create(&link, error, error_size);
    node->reading.link = node->link;
    return node->doorbell != NULL && node->link != NULL;
}

struct node *node_create(struct intake *intake, const struct intake_options *options,
                         const struct redis_host *host, char *error, size_t error_size)
{
    struct node *node = memory_or_abort(calloc(1, sizeof *node));
    char at[REDIS_URL_HOST_BYTES + 16];

    node->intake = intake;
    node->listed = true;
    snprintf(node->name, sizeof node->name, "Redis");
    if (host != NULL) {
        node->host = *host;
        redis_host_format(at, sizeof at, host->host, host->port);
        snprintf(node->name, sizeof node->name, "Redis node %s", at);
    }
    create_reading(node, options, host != NULL);
    if (!create_links(node, options, host, error, error_size)) {
        node_destroy(node);
        return NULL;
    }
    return node;
}

void node_destroy(struct node *node)
{
    if (node == NULL) {
        return;
    }
    doorbell_destroy(node->doorbell);
    redis_link_destroy(node->link);
    reading_release(&node->reading);
    entry_reader_destroy(node->reading.entry_reader);
    free(node);
}

void node_start(struct node *node)
{
    redis_link_start(node->link);
    doorbell_start(node->doorbell);
}
