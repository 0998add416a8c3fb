/* history.c: see history.h. */
#include "drainer/postgres/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/postgres/pg_result.h"

const char history_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED; "
                           "SET LOCAL synchronous_commit = on; "
                           "SELECT * FROM blotter_internal.open_history(); COMMIT";
enum { HISTORY_ID, HISTORY_SYSTEM, HISTORY_TIMELINE, HISTORY_ACCEPTS };

/* Lists the ids of all rows, comma separated; malloc()ed. */
static char *history_chain(const PGresult *result)
{
    struct sql_text chain = {0};

    for (int row = 0; row < PQntuples(result); row++) {
        sql_text_add(&chain, "%s%s", row == 0 ? "" : ",", pg_result_text(result, row, HISTORY_ID));
    }
    return chain.text;
}

void history_learn(struct stream_history *history, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        return;
    }
    const char *id = pg_result_text(result, 0, HISTORY_ID);
    if (strcmp(history->id, id) != 0) {
        log_info("postgres", "history %s: system %s, timeline %s, server %d of this database", id,
                 pg_result_text(result, 0, HISTORY_SYSTEM),
                 pg_result_text(result, 0, HISTORY_TIMELINE), PQntuples(result));
    }
    snprintf(history->id, sizeof history->id, "%s", id);
    snprintf(history->system, sizeof history->system, "%s",
             pg_result_text(result, 0, HISTORY_SYSTEM));
    history->timeline = atoi(pg_result_text(result, 0, HISTORY_TIMELINE));
    history->accepts = pg_result_text(result, 0, HISTORY_ACCEPTS)[0] == 't';
    free(history->chain);
    history->chain = history_chain(result);
}

static void history_ask_incident(const char *stream, const struct stream_incident *incident,
                                 struct sql_text *sql)
{
    sql_text_add(sql,
                 "INSERT INTO blotter_internal.incidents (stream, what, from_id, to_id, from_n, "
                 "to_n) SELECT i.* FROM (VALUES ('%s', $what$%s$what$, '%" PRIu64 "-%" PRIu64
                 "', '%" PRIu64 "-%" PRIu64 "', %" PRId64 "::bigint, %" PRId64 "::bigint)) AS i "
                 "(stream, what, from_id, to_id, from_n, to_n) WHERE NOT EXISTS (SELECT FROM "
                 "blotter_internal.incidents o WHERE o.closed_at IS NULL AND "
                 "(o.stream, o.from_id, o.to_id) = (i.stream, i.from_id, i.to_id)); ",
                 stream, incident->what, incident->from.ms, incident->from.seq, incident->to.ms,
                 incident->to.seq, incident->from_n, incident->to_n);
}

void history_ask_incidents(const struct streams *streams, struct sql_text *sql)
{
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->incident != NULL) {
            history_ask_incident(streams->all[i]->name, streams->all[i]->incident, sql);
        }
    }
}

void history_incidents_stored(const struct streams *streams)
{
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->incident != NULL) {
            log_error(stream->name, "incident: %s; `blotter audit` shows it until it is closed",
                      stream->incident->what);
            free(stream->incident);
            stream->incident = NULL;
        }
    }
}
