/* stalls.c: see stalls.h. */
#include "drainer/commands/stalls.h"

#include <stdlib.h>
#include <string.h>

#include "drainer/commands/report.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/redis/redis_reply.h"
#include "producer/sentinel.h"

enum { PATIENCE_MS = 5000 };

static int64_t number_in(const PGresult *result, const char *column)
{
    return strtoll(PQgetvalue(result, 0, PQfnumber(result, column)), NULL, 10);
}

bool load_facts_read(struct load_facts *facts, struct pg *pg)
{
    PGresult *result =
        pg_query(pg,
                 "SELECT *, extract(epoch FROM blotter_internal.books_lag()) AS books_lag_seconds "
                 "FROM blotter_internal.load_status()",
                 0, NULL);

    if (result == NULL) {
        return false;
    }
    int last_load = PQfnumber(result, "last_load_seconds");
    *facts = (struct load_facts){
        .open_rejects = number_in(result, "open_rejects"),
        .open_incidents = number_in(result, "open_incidents"),
        .drainers = number_in(result, "drainers"),
        .last_load_seconds =
            PQgetisnull(result, 0, last_load) ? -1 : strtod(PQgetvalue(result, 0, last_load), NULL),
        .books_lag_seconds =
            strtod(PQgetvalue(result, 0, PQfnumber(result, "books_lag_seconds")), NULL),
        .read_only = PQgetvalue(result, 0, PQfnumber(result, "read_only"))[0] == 't'};
    snprintf(facts->blocked, sizeof facts->blocked, "%s",
             PQgetvalue(result, 0, PQfnumber(result, "blocked")));
    snprintf(facts->foreign_lock, sizeof facts->foreign_lock, "%s",
             PQgetvalue(result, 0, PQfnumber(result, "foreign_lock")));
    PQclear(result);
    return true;
}

bool stalls_redis_is_master(struct redis *redis)
{
    redisReply *reply = redis_ask(redis, "ROLE", NULL);
    bool refused = reply != NULL && reply->type == REDIS_REPLY_ERROR; /* NOPERM: not known */
    bool master = refused || (reply != NULL && sentinel_is_master(reply));

    redis_reply_free(reply);
    return master;
}

static const char *stall_reason(const struct surveyed_stream *stream,
                                const struct load_facts *facts, bool redis_is_master)
{
    return !redis_is_master   ? "Redis is a replica and refuses writes: give the master's address"
           : facts->read_only ? "PostgreSQL is read-only: it is a standby, or was set so"
           : facts->drainers == 0
               ? "no drainer is connected to this database: start `blotter drain`"
           : facts->blocked[0] != '\0'      ? facts->blocked
           : facts->foreign_lock[0] != '\0' ? facts->foreign_lock
           : !stream->group
               ? "no drainer has ever read it: does the setting streams of a drainer match it?"
           : stream->pending > 0
               ? "a drainer has read records and cannot commit them: see its log or its /readyz"
               : "drainers are connected and do not read it: see their log or their /readyz";
}

void stalls_add_part_of_cluster(struct report *report, struct redis *redis)
{
    redisReply *reply = redis->url.cluster ? NULL : redis_ask(redis, "CLUSTER", "INFO", NULL);

    if (reply != NULL && reply_is_string(reply) && strstr(reply->str, "cluster_size:1\r") == NULL) {
        report_cell(report, "of other nodes");
        report_seconds(report, 0);
        report_cell(report, "not seen: Redis is one node of a cluster: give "
                            "redis+cluster://host,host");
    }
    redis_reply_free(reply);
}

struct report *stalls_find(const struct stream_survey *survey, const struct load_facts *facts,
                           bool redis_is_master, int64_t max_behind_ms)
{
    struct report *report = report_create();
    int64_t patience_ms = max_behind_ms > 0 ? max_behind_ms : PATIENCE_MS;

    report_column(report, "stream", REPORT_TEXT);
    report_column(report, "since_s", REPORT_NUMBER);
    report_column(report, "why", REPORT_TEXT);
    for (size_t i = 0; i < survey->count; i++) {
        const struct surveyed_stream *stream = &survey->streams[i];

        if (stream->behind_ms > patience_ms) {
            report_cell(report, stream->name);
            report_seconds(report, stream->behind_ms);
            report_cell(report, stall_reason(stream, facts, redis_is_master));
        }
    }
    return report;
}
