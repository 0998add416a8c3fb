/* lease.c: see lease.h. A run is one query: unlock what is left, try what is wanted, count the
 * members. How many streams are wanted follows from the members seen at the run before; shares
 * settle within two runs. */
#include "drainer/postgres/lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/postgres/sql_text.h"

struct lease {
    struct pg_link *link;
    struct lease_options options;
    int64_t ran_at_ms; /* 0: not since the session began */
    unsigned members;
    size_t present;    /* streams there were at the last run */
    size_t tried_next; /* where the next run begins to try, so that one locked stream does not hide
                          another */
    struct stream *stuck;
    struct sql_text sql;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

struct lease *lease_create(struct pg_link *link, const struct lease_options *options)
{
    struct lease *lease = calloc(1, sizeof *lease);

    if (lease == NULL) {
        abort();
    }
    lease->link = link;
    lease->options = *options;
    lease->members = 1;
    return lease;
}

void lease_destroy(struct lease *lease)
{
    if (lease != NULL) {
        sql_text_release(&lease->sql);
        free(lease);
    }
}

static bool is_left(const struct stream *stream)
{
    return stream->state == STREAM_LEAVING && stream->in_hand == 0 && !stream->asked;
}

static size_t present_streams(const struct streams *streams)
{
    size_t present = 0;

    for (size_t i = 0; i < streams->count; i++) {
        present += streams->all[i]->present || stream_is_held(streams->all[i]);
    }
    return present;
}

/* A stream that has just appeared does not wait for the interval. */
bool lease_due(const struct lease *lease)
{
    if (lease->ran_at_ms == 0 ||
        now_ms() - lease->ran_at_ms >= (int64_t)lease->options.interval_ms ||
        present_streams(lease->options.streams) > lease->present) {
        return true;
    }
    for (size_t i = 0; i < lease->options.streams->count; i++) {
        if (is_left(lease->options.streams->all[i])) {
            return true;
        }
    }
    return false;
}

/* Those that are LEAVING are given up already: counted, they would take others with them. */
static size_t kept_streams(const struct streams *streams)
{
    size_t kept = 0;

    for (size_t i = 0; i < streams->count; i++) {
        kept += stream_is_held(streams->all[i]) && streams->all[i]->state != STREAM_LEAVING;
    }
    return kept;
}

static size_t share(const struct lease *lease)
{
    size_t present = present_streams(lease->options.streams);

    return lease->options.take_all ? present : (present + lease->members - 1) / lease->members;
}

static void ask_to_unlock(struct lease *lease)
{
    for (size_t i = 0; i < lease->options.streams->count; i++) {
        struct stream *stream = lease->options.streams->all[i];

        if (is_left(stream)) {
            sql_text_add(&lease->sql,
                         "SELECT 'left', %" PRId64 ", pg_advisory_unlock(%" PRId64 "); ",
                         stream->lock_key, stream->lock_key);
        }
    }
}

/* Tries to get free streams, as many as are wanting for the share. */
static void ask_to_lock(struct lease *lease)
{
    struct streams *streams = lease->options.streams;
    size_t kept = kept_streams(streams), wanted = share(lease);

    for (size_t n = 0; n < streams->count && kept < wanted; n++) {
        const struct stream *stream = streams->all[(lease->tried_next + n) % streams->count];

        if (stream->state == STREAM_FREE && stream->present) {
            sql_text_add(&lease->sql,
                         "SELECT 'taken', %" PRId64 ", pg_try_advisory_lock(%" PRId64 "); ",
                         stream->lock_key, stream->lock_key);
        }
    }
    if (streams->count > 0) {
        lease->tried_next = (lease->tried_next + 1) % streams->count;
    }
}

static void on_locked(struct lease *lease, struct stream *stream, bool locked)
{
    if (!locked) {
        return;
    }
    if (kept_streams(lease->options.streams) >= share(lease)) {
        stream_enter(
            stream,
            STREAM_GROUPING); /* more than the share came at once: given back at the next run */
        stream_enter(stream, STREAM_LEAVING);
    } else {
        lease->options.on_taken(lease->options.owner, stream);
    }
}

/* The answer names streams by their keys: places in the list change when a new one is found
 * meanwhile. */
static struct stream *stream_of(const struct lease *lease, long long lock_key)
{
    const struct streams *streams = lease->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->lock_key == lock_key) {
            return streams->all[i];
        }
    }
    abort(); /* streams never go away */
}

static void on_rows(void *owner, const PGresult *result)
{
    struct lease *lease = owner;
    const char *what = PQgetvalue(result, 0, 0);
    long long number = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    bool yes = PQgetvalue(result, 0, 2)[0] == 't';

    if (strcmp(what, "members") == 0) {
        if (number != (long long)lease->members) {
            log_info("lease", "%lld drainers share the streams", number);
        }
        lease->members = number == 0 ? 1 : (unsigned)number;
    } else if (strcmp(what, "left") == 0) {
        stream_enter(stream_of(lease, number), STREAM_FREE);
    } else if (strcmp(what, "taken") == 0) {
        on_locked(lease, stream_of(lease, number), yes);
    } else if (strcmp(what, "fenced") == 0) {
        log_warn("lease", "the session of a stuck drainer was terminated, pid %lld", number);
    }
}

static void give_up_excess(struct lease *lease)
{
    struct streams *streams = lease->options.streams;
    size_t kept = kept_streams(streams), wanted = share(lease);

    for (size_t i = 0; i < streams->count && kept > wanted; i++) {
        if (streams->all[i]->state == STREAM_READING) {
            stream_enter(streams->all[i], STREAM_LEAVING);
            kept--;
        }
    }
}

static void on_done(void *owner, const struct pg_failure *failure)
{
    struct lease *lease = owner;

    lease->ran_at_ms = now_ms();
    if (failure == NULL) {
        give_up_excess(lease);
    }
    lease->options.on_done(lease->options.owner, failure);
}

void lease_run(struct lease *lease)
{
    lease->present = present_streams(lease->options.streams);
    sql_text_clear(&lease->sql);
    if (lease->stuck != NULL) {
        sql_text_add(&lease->sql,
                     "SELECT 'fenced', coalesce(blotter_internal.fence(%" PRId64 "), 0), true; ",
                     lease->stuck->lock_key);
        lease->stuck = NULL;
    }
    ask_to_unlock(lease);
    ask_to_lock(lease);
    sql_text_add(&lease->sql, "SELECT 'members', count(*), true FROM pg_locks WHERE locktype = "
                              "'advisory' AND classid = " LEASE_MEMBERS_CLASS " AND "
                              "objid = 1 AND granted AND database = (SELECT oid FROM pg_database "
                              "WHERE datname = current_database())");
    pg_link_run(lease->link, &(struct pg_command){.sql = lease->sql.text,
                                                  .on_rows = on_rows,
                                                  .on_done = on_done,
                                                  .owner = lease});
}

void lease_fence(struct lease *lease, struct stream *stream)
{
    lease->stuck = stream;
    lease->ran_at_ms = 0;
}

void lease_forget(struct lease *lease)
{
    struct streams *streams = lease->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        if (stream_is_held(streams->all[i])) {
            streams->all[i]->in_hand = 0;
            stream_enter(streams->all[i], STREAM_FREE);
        }
    }
    lease->ran_at_ms = 0;
}

unsigned lease_members(const struct lease *lease)
{
    return lease->members;
}
