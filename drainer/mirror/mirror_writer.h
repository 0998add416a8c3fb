/* mirror_writer.h: stores batches in QuestDB: one request each, repeated until it is committed.
 *
 * A line that QuestDB refuses makes a reject of its record, in the table `rejects`, and the rest is
 * sent again. An error that passes is retried for ever, visibly; one that needs a person is tried
 * again now and then. Nothing is ever forgotten here: a batch stays until it is committed. One
 * thread. */
#ifndef BLOTTER_DRAINER_MIRROR_MIRROR_WRITER_H
#define BLOTTER_DRAINER_MIRROR_MIRROR_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "drainer/batch.h"
#include "drainer/mirror/questdb_link.h"
#include "drainer/redis/streams.h"

struct event_base;
struct evbuffer;
struct mirror_writer;

/* clang-format off */
#define MIRROR_COUNTERS(X) \
    X(rows, "rows committed in QuestDB, repeated ones among them") \
    X(requests, "requests that were committed") \
    X(rejected, "records stored in QuestDB's table rejects") \
    X(retries, "requests repeated after an error")
struct mirror_counters {
#define X(name, meaning) uint64_t name;
    MIRROR_COUNTERS(X)
#undef X
};
/* clang-format on */

struct mirror_writer_options {
    struct event_base *base;
    struct questdb_link *link;
    struct streams *streams;       /* for troubles */
    void (*on_ready)(void *owner); /* a batch may be written; at the start, and after each */
    void (*on_stored)(void *owner, struct batch *);
    void *owner;
};

struct mirror_writer *mirror_writer_create(const struct mirror_writer_options *);
void mirror_writer_destroy(struct mirror_writer *); /* takes NULL */
void mirror_writer_start(struct mirror_writer *);

/* Makes a batch encode its rows for QuestDB. */
void mirror_writer_adopt(struct mirror_writer *, struct batch *);

bool mirror_writer_ready(
    const struct mirror_writer *); /* the tables are there, no batch is on its way */
bool mirror_writer_up(const struct mirror_writer *); /* the last request was answered well */
void mirror_writer_write(struct mirror_writer *, struct batch *);

const struct mirror_counters *mirror_writer_counters(const struct mirror_writer *);

/* Returns why nothing is stored; "": nothing is in the way. The action says whether it passes. */
const char *mirror_writer_trouble(const struct mirror_writer *, enum questdb_action *);

#endif
