/* mirror_lease.c: see mirror_lease.h. Each stream has a key in its own slot of a cluster, which its
 * candidates write themselves into: so each knows how many they are, without a list of mirrors. */
#include "drainer/mirror/mirror_lease.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/redis/intake.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/scripts.h"
#include "producer/redis_link.h"

#define LEASE_MS "5000"

struct mirror_lease {
    struct intake *intake;
    struct streams *streams;
    const char *name;
    bool takes_all;
    unsigned members, members_seen; /* at the last run; in the answers of this one */
    unsigned awaited;               /* answers */
    size_t runs;
    bool ending;         /* leases were given back */
    bool asked, settled; /* for every stream, after a look for them; and answered */
};

/* Returns how many streams this mirror should read. */
static size_t fair_share(const struct mirror_lease *lease)
{
    size_t present = 0;

    for (size_t i = 0; i < lease->streams->count; i++) {
        present += lease->streams->all[i]->present;
    }
    return lease->takes_all || lease->members < 2 ? present
                                                  : (present + lease->members - 1) / lease->members;
}

static void mirror_lease_on_answer(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct mirror_lease *lease = owner;
    struct stream *stream = (struct stream *)tag;

    lease->awaited -= lease->awaited > 0;
    if (reply == NULL) {
        return;
    }
    if (!reply_is_array(reply, 2) || reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_INTEGER) {
        log_warn(stream->name, "asking for its lease: %s", reply_problem(reply));
        return;
    }
    unsigned members = (unsigned)reply->element[1]->integer;
    bool ours = reply->element[0]->integer == 1;

    lease->members_seen = members > lease->members_seen ? members : lease->members_seen;
    if (ours && stream->state == STREAM_FREE) {
        intake_take(lease->intake, stream);
    } else if (!ours && stream_is_held(stream) && stream->state != STREAM_LEAVING &&
               !lease->ending) {
        log_warn(stream->name, "another mirror reads it");
        stream_enter(stream, STREAM_LEAVING);
    }
}

static void ask_for_stream(struct mirror_lease *lease, struct stream *stream, bool wants)
{
    char key[STREAM_KEY_BYTES];

    stream_mirror_name(key, stream->name);
    const char *argv[] = {"EVAL",   script_mirror_lease, "1", key, lease->name,
                          LEASE_MS, wants ? "1" : "0"};
    lease->awaited += redis_link_sendv_as(stream->link, lease, mirror_lease_on_answer,
                                          (uintptr_t)stream, 7, argv) == 0;
}

/* Frees a stream that is given up once all that was read of it is stored. */
static void leave(struct stream *stream)
{
    if (stream_is_left(stream)) {
        stream_enter(stream, STREAM_FREE);
    }
}

void mirror_lease_run(struct mirror_lease *lease)
{
    size_t kept = streams_kept(lease->streams), wanted = 0, count = lease->streams->count;

    if (lease->awaited > 0) {
        return;
    }
    lease->members = lease->members_seen;
    lease->members_seen = 0;
    size_t share = fair_share(lease);
    lease->settled = lease->asked;
    lease->asked = intake_looked(lease->intake);
    lease->runs++;
    for (size_t i = 0; i < count; i++) {
        /* beginning elsewhere each time: those asked for last may be another's */
        struct stream *stream = lease->streams->all[(i + lease->runs) % count];

        leave(stream);
        if (stream->state == STREAM_READING && kept > share) {
            stream_enter(stream, STREAM_LEAVING);
            kept--;
        }
        if (stream->state == STREAM_FREE && stream->present && kept + wanted < share) {
            wanted++;
            ask_for_stream(lease, stream, true);
        } else if (stream->present || stream_is_held(stream)) {
            ask_for_stream(lease, stream, stream_is_held(stream));
        }
    }
}

void mirror_lease_give_back(struct mirror_lease *lease)
{
    lease->ending = true;
    for (size_t i = 0; i < lease->streams->count; i++) {
        if (stream_is_held(lease->streams->all[i])) {
            ask_for_stream(lease, lease->streams->all[i], false);
        }
    }
}

bool mirror_lease_settled(const struct mirror_lease *lease)
{
    return lease->settled;
}

unsigned mirror_lease_members(const struct mirror_lease *lease)
{
    return lease->members;
}

struct mirror_lease *mirror_lease_create(struct intake *intake, struct streams *streams,
                                         const char *name, bool takes_all)
{
    struct mirror_lease *lease = memory_or_abort(calloc(1, sizeof *lease));

    *lease = (struct mirror_lease){
        .intake = intake, .streams = streams, .name = name, .takes_all = takes_all};
    return lease;
}

void mirror_lease_destroy(struct mirror_lease *lease)
{
    free(lease);
}
