/* lease.c: see lease.h. A run unlocks what is given back and looks at PostgreSQL's table of locks,
 * which tells the number of drainers and what is free; a second query locks as many of these as the
 * share lacks.
 *
 * To look costs PostgreSQL some 2 us for each lock that there is. Of many streams most runs only
 * see whether the drainers' sessions are still the same ones; a look is due when they are not, and
 * now and then.
 *
 * Streams that others give up are read by nobody until they are taken. So those that are over a
 * share are given up piece by piece, the next one once the last is locked by others, and these lock
 * no more before they have claimed most of it in Redis. While the shares are settling each run of a
 * drainer that lacks streams tries to lock what it does not hold, without a look, which costs a
 * third of one. */
#include "drainer/postgres/lease.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/postgres/history.h"
#include "drainer/postgres/pg_result.h"
#include "drainer/postgres/sql_text.h"
#include "schema/clock.h"
#include "schema/hash.h"

/* The first number of the drainers' common lock, in the two-number form:
 * blotter_internal.lock_class() + 1.
 */
#define MEMBERS_CLASS "1651273589"
enum {
    CEILING_MS = 600000,
    BEYOND_MS = 600000,
    LOOK_ALWAYS = 256,        /* of so many streams, each run looks */
    LOOK_STREAM_US = 400,     /* else from one look to the next, for each stream ... */
    NEW_STREAM_US = 50,       /* ... sooner where others have appeared */
    SETTLE_MS = 5000,         /* after a drainer has come or gone */
    HURRY_MS = 20,            /* from one run to the next while streams change hands */
    HANDOVER_FIRST = 16,      /* streams are given up first: others try at each interval ... */
    HANDOVER_STREAMS = 64,    /* ... then so many for each drainer, as they hurry by then */
    TRY_STREAMS = 256,        /* are tried at a time without a look, at most ... */
    CLAIMING_MAX = 128,       /* ... unless so many are locked and not claimed in Redis yet */
    LOCKS_PER_STATEMENT = 64, /* where it fails, it is not known which of them were locked */
};

/* Streams in the order in which they were added. */
struct stream_list {
    struct stream **each;
    size_t count, capacity;
};

struct lease {
    struct pg_link *link;
    struct lease_options options;
    int64_t ran_at_ms;   /* 0: not since the session began */
    uint32_t member_key; /* the second number of the common lock that is held; 0: none is */
    unsigned members;
    size_t present;       /* streams there were at the last run */
    int64_t looked_at_ms; /* 0: not since the session began */
    int64_t settling_until_ms;
    struct stream_list given;   /* over the share, and given up last */
    size_t waiting;             /* of these: nobody has taken them, as the last run has seen */
    int64_t taking_until_ms;    /* a try has got streams that others give up */
    bool undo_wanted;           /* locks may be held that are not known */
    bool looks, look_wanted;    /* this run; the next one */
    long long drainers;         /* a number made of their sessions */
    struct stream_list asked;   /* those that this run's queries name, by their places here */
    struct stream_list free;    /* those that nobody holds, as this run has seen */
    struct stream *stuck;       /* its holder is to be ended at the next run */
    struct stream *fenced;      /* ... is ended in this run */
    struct stream_list foreign; /* held by others than drainers, as this run has shown */
    bool history_open;          /* streams->history is that of this session's server */
    struct stream_list fresh;   /* locked, and not yet given to the reading side */
    bool name_blockers;
    size_t ceiling; /* most streams to hold until ceiling_until_ms */
    int64_t ceiling_until_ms;
    int64_t beyond_until_ms; /* all streams are taken that nobody has */
    const char *distrust;    /* why the session cannot be trusted; NULL: it can */
    struct sql_text sql;
};

struct lease *lease_create(struct pg_link *link, const struct lease_options *options)
{
    struct lease *lease = memory_or_abort(calloc(1, sizeof *lease));

    lease->link = link;
    lease->options = *options;
    lease->members = 1;
    return lease;
}

void lease_destroy(struct lease *lease)
{
    if (lease != NULL) {
        sql_text_release(&lease->sql);
        free(lease->asked.each);
        free(lease->free.each);
        free(lease->fresh.each);
        free(lease->foreign.each);
        free(lease->given.each);
        free(lease);
    }
}

static void lease_list_add(struct stream_list *list, struct stream *stream)
{
    list->each =
        array_grow_or_abort(list->each, &list->capacity, list->count + 1, sizeof(struct stream *));
    list->each[list->count++] = stream;
}

static size_t lease_present_streams(const struct streams *streams)
{
    size_t present = 0;

    for (size_t i = 0; i < streams->count; i++) {
        present += streams->all[i]->present || stream_is_held(streams->all[i]);
    }
    return present;
}

static size_t lease_share(const struct lease *lease)
{
    size_t present = lease_present_streams(lease->options.streams);
    bool all = lease->options.take_all || clock_monotonic_ms() < lease->beyond_until_ms;
    size_t share = all ? present : (present + lease->members - 1) / lease->members;
    bool capped = clock_monotonic_ms() < lease->ceiling_until_ms && lease->ceiling < share;

    return capped ? lease->ceiling : share;
}

/* Says whether the share is not reached yet since a drainer has come or gone. By one for each
 * drainer it need not be, as it is rounded up. */
static bool lease_is_settling(const struct lease *lease)
{
    return clock_monotonic_ms() < lease->settling_until_ms &&
           streams_kept(lease->options.streams) + lease->members <= lease_share(lease);
}

unsigned lease_interval_ms(const struct lease *lease)
{
    int64_t now = clock_monotonic_ms();
    bool gives = lease->given.count > 0 && now < lease->settling_until_ms;
    bool takes = now < lease->taking_until_ms && lease_is_settling(lease);

    return (gives || takes) && HURRY_MS < lease->options.interval_ms ? HURRY_MS
                                                                     : lease->options.interval_ms;
}

/* Says whether a run is due. A stream that has just appeared does not wait for the interval. But
 * where thousands appear one after the other, a run for each few of them would look at all of them.
 * A run that only comes round is due later where records wait: it would hold them up for longer
 * than their load takes, and mostly a pause follows that. */
bool lease_due(const struct lease *lease, bool records_wait)
{
    int64_t since = clock_monotonic_ms() - lease->ran_at_ms;
    int64_t interval = lease_interval_ms(lease);
    size_t present = lease_present_streams(lease->options.streams);

    interval += records_wait ? interval / 2 : 0;
    if (lease->ran_at_ms == 0 || since >= interval ||
        (present > lease->present && since >= (int64_t)present * NEW_STREAM_US / 1000)) {
        return true;
    }
    for (size_t i = 0; i < lease->options.streams->count; i++) {
        const struct stream *stream = lease->options.streams->all[i];

        if (stream_is_left(stream) || stream->state == STREAM_LOCKED) {
            return true;
        }
    }
    return false;
}

/* Behind a list of locks' numbers. */
#define LEASE_KEYS_END "}'::bigint[]) WITH ORDINALITY AS k (key, n); "

static void lease_ask_to_unlock(struct lease *lease)
{
    const struct streams *streams = lease->options.streams;
    size_t first = lease->asked.count;

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream_is_left(stream)) {
            sql_text_add(&lease->sql, "%s%" PRId64,
                         lease->asked.count == first
                             ? "SELECT 'left', n - 1, pg_advisory_unlock(key)::text FROM unnest('{"
                             : ",",
                         stream->lock_key);
            lease_list_add(&lease->asked, stream);
        }
    }
    if (lease->asked.count > first) {
        sql_text_add(&lease->sql, LEASE_KEYS_END);
    }
}

/* Returns the second number of the common lock: of the pattern, and of the first stream that is
 * there, so that drainers of other patterns, or of another Redis, are not counted. Drainers that
 * see different streams for a moment count too few members, which only makes them try more. */
static uint32_t lease_member_key_of(const struct lease *lease)
{
    const struct streams *streams = lease->options.streams;
    const char *pattern = lease->options.pattern == NULL ? "" : lease->options.pattern;
    uint64_t h = hash64(pattern, strlen(pattern));

    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->present || stream_is_held(streams->all[i])) {
            h ^= (uint64_t)streams->all[i]->lock_key;
            break;
        }
    }
    return (uint32_t)(h >> 32 ^ h) | 1;
}

static void lease_ask_to_join(struct lease *lease)
{
    uint32_t key = lease_member_key_of(lease);

    if (key == lease->member_key) {
        return;
    }
    if (lease->member_key != 0) {
        sql_text_add(&lease->sql,
                     "SELECT 'parted', 0, pg_advisory_unlock_shared(" MEMBERS_CLASS ", %d)::text; ",
                     (int)lease->member_key);
    }
    sql_text_add(&lease->sql,
                 "SELECT 'joined', 0, pg_try_advisory_lock_shared(" MEMBERS_CLASS ", %d)::text; ",
                 (int)key);
    lease->member_key = key;
}

/* Asks, behind the locks, how far the streams are loaded that are tried, or that were locked by a
 * run that failed. */
static void lease_ask_for_counters(struct lease *lease)
{
    const struct streams *streams = lease->options.streams;

    sql_text_add(&lease->sql, "SELECT 'loaded', n, stream || ' ' || coalesce(last_id, '0-0') "
                              "FROM blotter_internal.loaded WHERE stream IN (''");
    for (size_t i = 0; i < lease->asked.count; i++) {
        sql_text_add(&lease->sql, ", '%s'", lease->asked.each[i]->name);
    }
    for (size_t i = 0; i < streams->count && lease->fresh.count > 0; i++) {
        if (streams->all[i]->state == STREAM_LOCKED) {
            sql_text_add(&lease->sql, ", '%s'", streams->all[i]->name);
        }
    }
    sql_text_add(&lease->sql, ")");
}

/* Tries to get so many of the free streams. Drainers that look at the same time begin at different
 * places. */
static void lease_ask_to_lock(struct lease *lease, size_t lacking)
{
    size_t first = lease->free.count == 0 ? 0 : (size_t)random() % lease->free.count;
    size_t count = lease->free.count < lacking ? lease->free.count : lacking;

    sql_text_clear(&lease->sql);
    lease->asked.count = 0;
    for (size_t n = 0; n < count; n++) {
        struct stream *stream = lease->free.each[(first + n) % lease->free.count];

        if (n % LOCKS_PER_STATEMENT == 0) {
            sql_text_add(
                &lease->sql,
                "SELECT 'taken', n - 1 + %zu, pg_try_advisory_lock(key)::text FROM unnest('{", n);
        }
        lease_list_add(&lease->asked, stream);
        sql_text_add(&lease->sql, "%" PRId64 "%s", stream->lock_key,
                     (n + 1) % LOCKS_PER_STATEMENT != 0 && n + 1 < count ? "," : LEASE_KEYS_END);
    }
    lease_ask_for_counters(lease);
}

/* Notes that a lock was obtained. The stream is read once its counter is known, which is asked for
 * behind the lock: until then its predecessor may have committed. */
static void lease_on_locked(struct lease *lease, struct stream *stream)
{
    stream_enter(stream, STREAM_LOCKED);
    stream->loaded_n = 0;
    stream->loaded_id = (struct stream_entry_id){0, 0};
    lease_list_add(&lease->fresh, stream);
}

/* Notes the locks that a run before this one obtained, and whose streams wait: it has failed, or
 * another drainer has claimed them in Redis. This run shows whether the session, and so the lock,
 * is still there. */
static void lease_list_locked(struct lease *lease)
{
    const struct streams *streams = lease->options.streams;

    lease->fresh.count = 0;
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->state == STREAM_LOCKED) {
            lease_on_locked(lease, streams->all[i]);
        }
    }
}

/* Takes a stream's counter, and its newest loaded entry: "blotter:okx 1767225600000-3". */
static void lease_on_loaded(struct lease *lease, long long n, const char *text)
{
    size_t length = strcspn(text, " ");
    struct stream *stream = streams_find(lease->options.streams, text, length);
    const char *id = text[length] == '\0' ? "" : text + length + 1;

    if (stream != NULL) {
        stream->loaded_n = n;
        stream_entry_id_parse(id, strlen(id), &stream->loaded_id);
    }
}

/* Finds the stream of a row of the answer, which names it by its place. NULL: none that was asked
 * about. */
static struct stream *lease_stream_of(const struct lease *lease, long long place)
{
    return place >= 0 && (size_t)place < lease->asked.count ? lease->asked.each[place] : NULL;
}

#define LEASE_DATABASE "(SELECT oid FROM pg_database WHERE datname = current_database())"

/* Asks whether this session is still the server's own one, and for a number that is another one
 * when a drainer has come or gone. */
static void lease_ask_for_sessions(struct lease *lease)
{
    sql_text_add(&lease->sql,
                 "SELECT 'backend', pg_backend_pid(), '' "
                 "UNION ALL SELECT 'drainers', coalesce(sum(hashint4(pid)), 0), '' "
                 "FROM pg_stat_get_activity(NULL) "
                 "WHERE application_name LIKE 'blotter drain%%' AND datid = " LEASE_DATABASE "; ");
}

/* Lists the numbers of the streams that may be free. */
static void lease_list_free(struct lease *lease)
{
    const struct streams *streams = lease->options.streams;
    size_t first = lease->asked.count;

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->state == STREAM_FREE && stream->present && !stream->key_taken) {
            sql_text_add(&lease->sql, "%s%" PRId64, lease->asked.count > first ? "," : "",
                         stream->lock_key);
            lease_list_add(&lease->asked, stream);
        }
    }
}

static size_t lease_claiming_streams(const struct streams *streams)
{
    size_t claiming = 0;

    for (size_t i = 0; i < streams->count; i++) {
        enum stream_state state = streams->all[i]->state;

        claiming += state == STREAM_LOCKED || state == STREAM_GROUPING || state == STREAM_FENCING;
    }
    return claiming;
}

/* Locks as many as the share lacks of those that others have given up, if they have. */
static void lease_ask_to_try(struct lease *lease)
{
    size_t lacking = lease_share(lease) - streams_kept(lease->options.streams);

    if (lease_claiming_streams(lease->options.streams) > CLAIMING_MAX) {
        return;
    }
    sql_text_add(&lease->sql, "SELECT 'taken', n - 1 + %zu, 't' FROM unnest('{",
                 lease->asked.count);
    lease_list_free(lease);
    sql_text_add(&lease->sql,
                 "}'::bigint[]) WITH ORDINALITY AS k (key, n) WHERE pg_try_advisory_lock(key) "
                 "LIMIT %zu; ",
                 lacking < TRY_STREAMS ? lacking : (size_t)TRY_STREAMS);
}

/* Asks how many of the streams that were given up last nobody has taken: their locks can be got. */
static void lease_ask_about_given(struct lease *lease)
{
    size_t listed = 0;

    lease->waiting = 0;
    for (size_t i = 0; i < lease->given.count; i++) {
        const struct stream *stream = lease->given.each[i];

        lease->waiting += stream->state == STREAM_LEAVING;
        if (stream->state == STREAM_FREE && stream->present) {
            sql_text_add(&lease->sql, "%s%" PRId64,
                         listed++ == 0 ? "SELECT 'waiting', count(*), '' FROM unnest('{" : ",",
                         stream->lock_key);
        }
    }
    if (listed > 0) {
        sql_text_add(&lease->sql,
                     "}'::bigint[]) AS k (key) WHERE CASE WHEN pg_try_advisory_lock_shared(key) "
                     "THEN pg_advisory_unlock_shared(key) ELSE false END; ");
    }
}

/* Gives back what the session holds and the drainer does not know of. */
static void lease_ask_to_undo(struct lease *lease)
{
    const struct streams *streams = lease->options.streams;

    if (!lease->undo_wanted) {
        return;
    }
    lease->undo_wanted = false;
    sql_text_add(&lease->sql, "SELECT 'undone', count(pg_advisory_unlock(key)), '' FROM (SELECT "
                              "classid::bigint << 32 | objid::bigint AS key FROM pg_locks WHERE "
                              "locktype = 'advisory' AND objsubid = 1 AND granted AND "
                              "pid = pg_backend_pid()) AS l WHERE key <> ALL ('{");
    for (size_t i = 0, listed = 0; i < streams->count; i++) {
        if (stream_is_held(streams->all[i])) {
            sql_text_add(&lease->sql, "%s%" PRId64, listed++ > 0 ? "," : "",
                         streams->all[i]->lock_key);
        }
    }
    sql_text_add(&lease->sql, "}'); ");
}

/* Asks for the table of locks: who shares the streams, which locks this session holds, which
 * streams nobody holds, and who holds one and is no drainer. NOT IN, and IN that cannot be made a
 * join, hash: a join of lists whose lengths the planner does not know compares each stream with
 * each lock. */
static void lease_ask_for_locks(struct lease *lease)
{
    struct sql_text *sql = &lease->sql;
    size_t first = lease->asked.count;

    sql_text_add(sql, "WITH l AS MATERIALIZED (SELECT pid, classid, objid, objsubid, "
                      "classid::bigint << 32 | objid::bigint AS key FROM pg_locks "
                      "WHERE locktype = 'advisory' AND granted AND database = " LEASE_DATABASE "), "
                      "w AS MATERIALIZED (SELECT key, n FROM unnest('{");
    lease_list_free(lease);
    sql_text_add(
        sql,
        "}'::bigint[]) WITH ORDINALITY AS w (key, n)), "
        "f AS MATERIALIZED (SELECT pid, key FROM l WHERE objsubid = 1 AND "
        "(pid NOT IN (SELECT pid FROM l WHERE classid = " MEMBERS_CLASS ")) AND "
        "(key IN (SELECT key FROM w)) IS TRUE) "
        "SELECT 'members', count(*), '' FROM l "
        "WHERE classid = " MEMBERS_CLASS " AND objid = %u AND objsubid = 2 "
        "UNION ALL SELECT 'held', count(*), coalesce(bit_xor(key), 0)::text FROM l "
        "WHERE objsubid = 1 AND pid = pg_backend_pid() "
        "UNION ALL SELECT 'free', n - 1 + %zu, '' FROM w WHERE "
        "key NOT IN (SELECT key FROM l WHERE objsubid = 1) "
        "UNION ALL SELECT 'foreign', n - 1 + %zu, format('pid %%s, role %%s, application \"%%s\"', "
        "pid, usename, application_name) FROM f JOIN w USING (key) JOIN pg_stat_activity USING "
        "(pid); ",
        lease->member_key, first, first);
}

/* Asks for sessions that are no drainer's and hold what a loading transaction may wait for: the
 * lock of a merge of orders, or a table. The books have a session, and locks, of their own. */
static void lease_ask_for_blockers(struct lease *lease)
{
    if (!lease->name_blockers) {
        return;
    }
    lease->name_blockers = false;
    sql_text_add(
        &lease->sql,
        "SELECT 'blocker', pid, format('pid %%s, role %%s, application \"%%s\", %%s on %%s', "
        "pid, usename, application_name, l.mode, "
        "coalesce(l.relation::regclass::text, 'an advisory lock of Blotter''s')) "
        "FROM pg_locks l JOIN pg_stat_activity USING (pid) WHERE l.granted AND "
        "pid <> pg_backend_pid() AND application_name NOT LIKE 'blotter books %%' AND "
        "l.database = " LEASE_DATABASE
        " AND NOT EXISTS (SELECT FROM pg_locks m WHERE m.pid = l.pid AND "
        "m.locktype = 'advisory' AND m.classid = " MEMBERS_CLASS ") AND "
        "(l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid::bigint = " MEMBERS_CLASS " - 1 "
        "OR l.relation IN (SELECT c.oid FROM pg_class c JOIN pg_namespace s ON s.oid = "
        "c.relnamespace WHERE s.nspname LIKE 'blotter%%') AND l.mode IN ('ShareLock', "
        "'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) LIMIT 5; ");
}

/* Compares the locks that the drainer believes it holds with those of the server's table. */
static bool lease_believes(const struct lease *lease, long long count, long long keys)
{
    const struct streams *streams = lease->options.streams;
    long long held = 0;
    int64_t all = 0;

    for (size_t i = 0; i < streams->count; i++) {
        if (stream_is_held(streams->all[i])) {
            held++;
            all ^= streams->all[i]->lock_key;
        }
    }
    return held == count && all == keys;
}

static void lease_on_members(struct lease *lease, long long number)
{
    if (number != (long long)lease->members) {
        log_info("lease", "%lld drainers share the streams", number);
        lease->settling_until_ms = clock_monotonic_ms() + SETTLE_MS;
    }
    lease->members = number == 0 ? 1 : (unsigned)number;
}

/* Wants a look where a drainer has come or gone since the last one. */
static void lease_on_drainers(struct lease *lease, long long number)
{
    lease->look_wanted = !lease->looks && number != lease->drainers;
    lease->drainers = number;
}

static void lease_on_foreign_holder(struct lease *lease, struct stream *stream, const char *who)
{
    streams_trouble(lease->options.streams, stream, TROUBLE_LEASE,
                    "its lease is held by a session that is no drainer's: %s; end that session",
                    who);
    lease_list_add(&lease->foreign, stream);
}

static bool lease_is_foreign(const struct lease *lease, const struct stream *stream)
{
    for (size_t i = 0; i < lease->foreign.count; i++) {
        if (lease->foreign.each[i] == stream) {
            return true;
        }
    }
    return false;
}

/* Ends the troubles over leases that the run has not met again. */
static void lease_end_troubles(struct lease *lease)
{
    struct streams *streams = lease->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->troubles[TROUBLE_LEASE].since_ms != 0 && !lease_is_foreign(lease, stream)) {
            streams_trouble_over(streams, stream, TROUBLE_LEASE);
        }
    }
    if (clock_monotonic_ms() >= lease->ceiling_until_ms) {
        streams_trouble_over(streams, NULL, TROUBLE_LEASE);
    }
}

/* Takes more than the share from now on: records wait in a stream that nobody holds, as it was
 * given up for a drainer that stands still, or may hold no more. While shares are settling another
 * one may just be taking it. */
static void lease_go_beyond(struct lease *lease)
{
    if (clock_monotonic_ms() < lease->settling_until_ms) {
        return;
    }
    log_warn(lease->fenced->name, "no drainer has taken it: what nobody holds is taken beyond the "
                                  "share, for ten minutes");
    lease->beyond_until_ms = clock_monotonic_ms() + BEYOND_MS;
}

/* Takes what became of a stuck stream's holder. pid 0: it could not be ended; who: it is, or "":
 * nobody holds the lock. */
static void lease_on_fenced(struct lease *lease, long long pid, const char *who)
{
    if (lease->fenced == NULL) {
        return;
    }
    if (pid != 0) {
        log_warn("lease", "the session of a stuck drainer was terminated, pid %lld", pid);
    } else if (who[0] == '\0') {
        lease_go_beyond(lease);
    } else {
        lease_on_foreign_holder(lease, lease->fenced, who);
        log_warn(lease->fenced->name,
                 "the session that holds its lease cannot be ended: %s; the owner of Blotter's "
                 "schema has to be a member of pg_read_all_stats and pg_signal_backend",
                 who);
    }
}

/* Takes a row about a stream's lock. False: it was not asked for. */
static bool lease_on_stream_row(struct lease *lease, const char *what, struct stream *stream,
                                const char *text)
{
    if (stream == NULL) {
        return false;
    }
    if (strcmp(what, "foreign") == 0) {
        lease_on_foreign_holder(lease, stream, text);
        return true;
    }
    if (strcmp(what, "left") == 0 && stream_is_left(stream)) {
        stream_enter(stream, STREAM_FREE);
        return true;
    }
    if (strcmp(what, "free") == 0 && stream->state == STREAM_FREE) {
        lease_list_add(&lease->free, stream);
        return true;
    }
    if (strcmp(what, "taken") == 0 && stream->state == STREAM_FREE) {
        if (text[0] == 't') {
            lease_on_locked(lease, stream);
        }
        return true;
    }
    return false;
}

static bool lease_is_stream_row(const char *what)
{
    return strcmp(what, "left") == 0 || strcmp(what, "free") == 0 || strcmp(what, "taken") == 0 ||
           strcmp(what, "foreign") == 0;
}

static void lease_on_row(struct lease *lease, const char *what, long long number, const char *text)
{
    if (lease_is_stream_row(what)) {
        if (!lease_on_stream_row(lease, what, lease_stream_of(lease, number), text)) {
            lease->distrust = "PostgreSQL answers about a lock that was not asked for";
        }
    } else if (strcmp(what, "members") == 0) {
        lease_on_members(lease, number);
    } else if (strcmp(what, "drainers") == 0) {
        lease_on_drainers(lease, number);
    } else if (strcmp(what, "waiting") == 0) {
        lease->waiting += (size_t)number;
    } else if (strcmp(what, "loaded") == 0) {
        lease_on_loaded(lease, number, text);
    } else if (strcmp(what, "fenced") == 0) {
        lease_on_fenced(lease, number, text);
    } else if (strcmp(what, "held") == 0 &&
               !lease_believes(lease, number, strtoll(text, NULL, 10))) {
        lease->distrust = "PostgreSQL says that this session holds other locks than its streams'";
    } else if (strcmp(what, "backend") == 0 && number != pg_link_backend(lease->link)) {
        lease->distrust = "a pooler in transaction mode is between here and PostgreSQL: connect to "
                          "the server, or set pool_mode = session";
    } else if (strcmp(what, "blocker") == 0) {
        streams_trouble(lease->options.streams, NULL, TROUBLE_BLOCKER,
                        "loading waits for a lock of a session that is no drainer's: %s; end "
                        "that transaction",
                        text);
    }
}

static void lease_on_rows(void *owner, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        lease_on_row(owner, pg_result_text(result, i, 0),
                     strtoll(pg_result_text(result, i, 1), NULL, 10), pg_result_text(result, i, 2));
    }
}

/* Gives up what is over the share: first, and all of them, streams that the reading side does not
 * have yet; then at most so many others. */
static void lease_give_up(struct lease *lease, size_t most)
{
    struct streams *streams = lease->options.streams;
    size_t kept = streams_kept(streams), wanted = lease_share(lease);

    for (; lease->fresh.count > 0 && kept > wanted; kept--) {
        stream_enter(lease->fresh.each[--lease->fresh.count], STREAM_LEAVING);
    }
    lease->given.count = 0;
    for (size_t i = 0; i < streams->count && kept > wanted && lease->given.count < most; i++) {
        if (streams->all[i]->state == STREAM_READING) {
            stream_enter(streams->all[i], STREAM_LEAVING);
            kept--;
            lease_list_add(&lease->given, streams->all[i]);
        }
    }
    lease->waiting = lease->given.count;
}

/* Gives up what is over the share, a piece once the one before is taken: from then on nobody reads
 * a stream until another drainer has claimed it, which takes longer the more there are. */
static void lease_give_up_excess(struct lease *lease)
{
    bool first = lease->given.count == 0;

    if (lease->waiting > 0) {
        return;
    }
    if (!first) {
        lease->settling_until_ms = clock_monotonic_ms() + SETTLE_MS;
    }
    lease_give_up(lease, first ? HANDOVER_FIRST : HANDOVER_STREAMS * lease->members);
}

/* Gives the streams that were locked, and whose counters are known, to the reading side. */
static void lease_hand_over(struct lease *lease)
{
    for (size_t i = 0; i < lease->fresh.count; i++) {
        if (lease->fresh.each[i]->state ==
            STREAM_LOCKED) { /* else its random id has changed meanwhile */
            lease->options.on_taken(lease->options.owner, lease->fresh.each[i]);
        }
    }
    lease->fresh.count = 0;
}

static void lease_on_done(void *owner, const struct pg_failure *failure)
{
    struct lease *lease = owner;
    const char *distrust = lease->distrust;

    lease->ran_at_ms = lease->look_wanted ? 0 : clock_monotonic_ms();
    lease->distrust = NULL;
    lease->fenced = NULL;
    if (failure == NULL && distrust == NULL) {
        lease_hand_over(lease);
    }
    lease->undo_wanted = failure != NULL;
    if (failure != NULL && failure->lock_table_full) {
        lease_relieve(lease);
    }
    if (failure == NULL) {
        history_incidents_stored(lease->options.streams);
        lease_end_troubles(lease);
        lease_give_up_excess(lease);
    }
    lease->options.on_done(lease->options.owner, failure);
    if (failure == NULL && distrust != NULL) {
        pg_link_reconnect(lease->link, distrust);
    }
}

/* Leases streams whose random id has changed by another number from now on. */
static void lease_renew_keys(struct lease *lease)
{
    struct streams *streams = lease->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];
        int64_t key = stream_lease_key(stream);

        if (key == stream->lock_key && !stream->key_taken) {
            continue;
        }
        if (stream->state == STREAM_FREE) {
            streams_set_lock_key(streams, stream, key);
        } else if (stream->state == STREAM_READING) {
            stream_enter(stream, STREAM_LEAVING);
        }
    }
}

static void lease_ask_to_fence(struct lease *lease)
{
    lease->fenced = lease->stuck;
    lease->stuck = NULL;
    if (lease->fenced != NULL) {
        int64_t key = lease->fenced->lock_key;

        sql_text_add(&lease->sql,
                     "SELECT 'fenced', coalesce(blotter_internal.fence(%" PRId64 "), 0), "
                     "coalesce(blotter_internal.lock_holder(%" PRId64 "), ''); ",
                     key, key);
    }
}

static void lease_send(struct lease *lease, void (*on_done)(void *owner, const struct pg_failure *))
{
    pg_link_run(lease->link, &(struct pg_command){.sql = lease->sql.text,
                                                  .on_rows = lease_on_rows,
                                                  .on_done = on_done,
                                                  .owner = lease});
}

/* Ends a run that has tried to lock. A stream that was free may be another's by now: then the next
 * run looks again, at once unless it comes soon. */
static void lease_on_tried(void *owner, const struct pg_failure *failure)
{
    struct lease *lease = owner;

    lease->look_wanted = failure == NULL && !lease_is_settling(lease) &&
                         streams_kept(lease->options.streams) < lease_share(lease);
    lease_on_done(lease, failure);
}

static void lease_on_looked(void *owner, const struct pg_failure *failure)
{
    struct lease *lease = owner;
    size_t kept = streams_kept(lease->options.streams), wanted = lease_share(lease);
    size_t lacking = kept < wanted ? wanted - kept : 0;
    bool tries = (lease->free.count > 0 && lacking > 0) || lease->fresh.count > 0;

    if (lease->fresh.count > 0) {
        lease->taking_until_ms = clock_monotonic_ms() + 2 * (int64_t)lease->options.interval_ms;
        lease->settling_until_ms = clock_monotonic_ms() + SETTLE_MS;
    }
    if (failure == NULL && lease->distrust == NULL && tries) {
        lease_ask_to_lock(lease, lacking);
        lease_send(lease, lease_on_tried);
    } else {
        lease_on_done(lease, failure);
    }
}

static bool lease_is_look_due(const struct lease *lease, size_t present)
{
    size_t count = lease->options.streams->count;
    int64_t now = clock_monotonic_ms();

    return lease->looked_at_ms == 0 || lease->look_wanted || count <= LOOK_ALWAYS ||
           present > lease->present || lease->stuck != NULL || lease->name_blockers ||
           now - lease->looked_at_ms >= (int64_t)count * LOOK_STREAM_US / 1000;
}

static void lease_run_locks(struct lease *lease)
{
    size_t present = lease_present_streams(lease->options.streams);

    lease->looks = lease_is_look_due(lease, present);
    lease->present = present;
    lease_list_locked(lease);
    lease->asked.count = lease->free.count = 0;
    lease->look_wanted = false;
    sql_text_clear(&lease->sql);
    if (lease->looks) {
        lease->looked_at_ms = clock_monotonic_ms();
        lease->foreign.count = 0;
        lease_renew_keys(lease);
    }
    lease_ask_to_undo(lease);
    lease_ask_to_fence(lease);
    lease_ask_to_unlock(lease);
    lease_ask_about_given(lease);
    lease_ask_to_join(lease);
    lease_ask_for_blockers(lease);
    history_ask_incidents(lease->options.streams, &lease->sql);
    lease_ask_for_sessions(lease);
    if (lease->looks) {
        lease_ask_for_locks(lease);
    } else if (lease_is_settling(lease)) {
        lease_ask_to_try(lease);
    }
    lease_send(lease, lease_on_looked);
}

static void lease_on_history_rows(void *owner, const PGresult *result)
{
    struct lease *lease = owner;

    history_learn(&lease->options.streams->history, result);
}

static void lease_on_history(void *owner, const struct pg_failure *failure)
{
    struct lease *lease = owner;

    lease->history_open = failure == NULL;
    if (failure == NULL) {
        lease_run_locks(lease);
    } else {
        lease_on_done(lease, failure);
    }
}

/* Says whether to ask for the history: once a session, and while a stream is refused, as a person
 * may have accepted it. */
static bool lease_asks_history(const struct lease *lease)
{
    const struct streams *streams = lease->options.streams;

    for (size_t i = 0; lease->history_open && i < streams->count; i++) {
        if (streams->all[i]->state == STREAM_REFUSED) {
            return true;
        }
    }
    return !lease->history_open;
}

void lease_run(struct lease *lease)
{
    if (lease_asks_history(lease)) {
        pg_link_run(lease->link, &(struct pg_command){.sql = history_sql,
                                                      .on_rows = lease_on_history_rows,
                                                      .on_done = lease_on_history,
                                                      .owner = lease});
    } else {
        lease_run_locks(lease);
    }
}

void lease_name_blockers(struct lease *lease)
{
    lease->name_blockers = true;
}

void lease_relieve(struct lease *lease)
{
    size_t kept = streams_kept(lease->options.streams);

    lease->ceiling = kept > 1 ? kept / 2 : 1;
    lease->ceiling_until_ms = clock_monotonic_ms() + CEILING_MS;
    streams_trouble(
        lease->options.streams, NULL, TROUBLE_LEASE,
        "PostgreSQL's table of locks is full: %zu of %zu streams are given back for ten "
        "minutes; raise max_locks_per_transaction, or take fewer streams",
        kept - (kept < lease->ceiling ? kept : lease->ceiling), kept);
    lease_give_up(lease, SIZE_MAX);
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
    lease->ran_at_ms = lease->looked_at_ms = 0;
    lease->undo_wanted = false;
    lease->given.count = lease->waiting = 0;
    lease->member_key = 0;
    lease->distrust = NULL;
    lease->fresh.count = 0;
    lease->history_open = false;
}

unsigned lease_members(const struct lease *lease)
{
    return lease->members;
}
