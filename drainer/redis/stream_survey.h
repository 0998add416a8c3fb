/* stream_survey.h: what Redis says of the streams, for the commands `status` and `check`. */
#ifndef BLOTTER_DRAINER_REDIS_STREAM_SURVEY_H
#define BLOTTER_DRAINER_REDIS_STREAM_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drainer/redis/redis_blocking.h"
#include "schema/stream.h"

/* A large entry that comes next for a group (gauge.lua). */
struct surveyed_large {
    char behind[STREAM_ENTRY_ID_BYTES], next[STREAM_ENTRY_ID_BYTES]; /* "": none */
};

struct surveyed_stream {
    char name[STREAM_NAME_BYTES];
    bool group;   /* is our consumer group there? */
    bool counted; /* Redis did not know the lag (after an AOF reload, on a replica): it was counted
                     here ... */
    bool more;    /* ... and there are more than was counted */
    int64_t length;  /* entries, also those that are committed and kept */
    int64_t lag;     /* not read yet; -1: not known, as Redis forbids EVAL */
    int64_t pending; /* read, not acknowledged */
    int64_t consumers;
    int64_t oldest_pending_ms; /* since it was added; -1: none */
    int64_t mirror_lag;        /* not stored in QuestDB yet, read or not; -1: there is no mirror */
    int64_t mirror_missed;     /* removed before a mirror had read them: QuestDB misses them */
    int64_t behind_ms; /* how long the oldest entry not yet committed has waited; 0: none; -1: not
                          known, as Redis forbids EVAL */
    struct surveyed_large large[2]; /* for our group, and for the mirrors */
};

struct stream_survey {
    struct surveyed_stream *streams; /* sorted by name */
    size_t count, capacity;
    int64_t now_ms; /* the server's clock */
};

/* Looks at every stream that settings->streams matches, again where it holds a survey. False: said.
 * Release it in both cases. */
bool stream_survey_take(struct stream_survey *, struct redis *);
void stream_survey_release(struct stream_survey *);

#endif
