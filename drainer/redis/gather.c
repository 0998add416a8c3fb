/* gather.c: see gather.h. */
#include "drainer/redis/gather.h"

#include "producer/redis_link.h"

enum { ENTRY_BYTES_GUESS = 512 }; /* before any has been seen */

void gather_init(struct gather *gather, struct redis_link *link, struct batch **batch,
                 size_t batch_rows, size_t batch_bytes)
{
    *gather = (struct gather){.link = link,
                              .batch = batch,
                              .batch_rows = batch_rows,
                              .batch_bytes = batch_bytes,
                              .entry_bytes = ENTRY_BYTES_GUESS};
}

struct batch *gather_batch(struct gather *gather)
{
    struct batch *batch = *gather->batch;

    if (batch->count == 0) {
        batch->epoch = redis_link_epoch(gather->link);
    }
    return batch;
}

void gather_entry(struct gather *gather, struct stream *stream, struct stream_entry_id id,
                  const struct raw_field *fields, size_t field_count, uint16_t deliveries)
{
    size_t bytes = 0;

    for (size_t i = 0; i < field_count; i++) {
        bytes += fields[i].length;
    }
    gather->entry_bytes = (gather->entry_bytes * 63 + bytes) / 64 + 1;
    batch_add(gather_batch(gather), stream, stream->exchange, stream->name, id, fields, field_count,
              deliveries, gather->wall_ns);
    stream->in_hand++;
    if (id.ms > stream->last_read.ms ||
        (id.ms == stream->last_read.ms && id.seq > stream->last_read.seq)) {
        stream->last_read = id;
    }
}

size_t gather_room(const struct gather *gather, size_t streams, size_t most)
{
    const struct batch *batch = *gather->batch;
    size_t rows = gather->batch_rows - batch->count;
    size_t by_bytes =
        (gather->batch_bytes - batch_bytes(batch)) / (2 * (gather->entry_bytes + 1)) + 1;

    rows = rows < by_bytes ? rows : by_bytes;
    rows = rows < most ? rows : most;
    return rows < streams ? 1 : rows / streams;
}

bool gather_is_full(const struct gather *gather)
{
    const struct batch *batch = *gather->batch;

    return batch->count >= gather->batch_rows || batch_bytes(batch) >= gather->batch_bytes;
}
