/* gather.c: see gather.h. */
#include "drainer/gather.h"

#include <stdlib.h>

#include "drainer/redis_reply.h"
#include "producer/redis_link.h"

#define ENTRY_BYTES_GUESS 512 /* before any has been seen */

void gather_init(struct gather *gather, struct redis_link *link, struct batch **batch, size_t batch_rows, size_t batch_bytes)
{
    *gather = (struct gather){
        .link = link, .batch = batch, .batch_rows = batch_rows, .batch_bytes = batch_bytes, .entry_bytes = ENTRY_BYTES_GUESS};
}

void gather_release(struct gather *gather)
{
    free(gather->fields);
    gather->fields = NULL;
}

struct batch *gather_batch(struct gather *gather)
{
    struct batch *batch = *gather->batch;

    if (batch->count == 0) {
        batch->epoch = redis_link_epoch(gather->link);
    }
    return batch;
}

/* An entry of many fields is no record, but all of it is kept with the reject. */
static void reserve_fields(struct gather *gather, size_t count)
{
    if (count > gather->field_capacity) {
        gather->field_capacity = count;
        gather->fields = realloc(gather->fields, count * sizeof *gather->fields);
        if (gather->fields == NULL) {
            abort();
        }
    }
}

void gather_entry(struct gather *gather, struct stream *stream, const redisReply *reply, uint16_t deliveries, int64_t wall_ns)
{
    struct stream_entry_id id;
    const redisReply *values;
    size_t bytes = 0;

    if (!reply_is_array(reply, 2) || !reply_parse_id(reply->element[0], &id) || reply->element[1]->type != REDIS_REPLY_ARRAY) {
        return;
    }
    values = reply->element[1];
    reserve_fields(gather, values->elements);
    for (size_t i = 0; i < values->elements; i++) {
        bool text = reply_is_string(values->element[i]);

        gather->fields[i] = (struct raw_field){text ? values->element[i]->str : "", text ? values->element[i]->len : 0};
        bytes += gather->fields[i].length;
    }
    gather->entry_bytes = (gather->entry_bytes * 63 + bytes) / 64 + 1;
    batch_add(gather_batch(gather), stream, stream->exchange, stream->name, id, gather->fields, values->elements, deliveries,
              wall_ns);
    stream->in_hand++;
    if (id.ms > stream->last_read.ms || (id.ms == stream->last_read.ms && id.seq > stream->last_read.seq)) {
        stream->last_read = id;
    }
}

size_t gather_room(const struct gather *gather, size_t streams, size_t most)
{
    const struct batch *batch = *gather->batch;
    size_t rows = gather->batch_rows - batch->count;
    size_t by_bytes = (gather->batch_bytes - batch_bytes(batch)) / (2 * (gather->entry_bytes + 1)) + 1;

    rows = rows < by_bytes ? rows : by_bytes;
    rows = rows < most ? rows : most;
    return rows < streams ? 1 : rows / streams;
}

bool gather_is_full(const struct gather *gather)
{
    const struct batch *batch = *gather->batch;

    return batch->count >= gather->batch_rows || batch_bytes(batch) >= gather->batch_bytes;
}
