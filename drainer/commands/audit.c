/* audit.c: `blotter audit`: is every accepted record in PostgreSQL? The proof is the views' of
 * schema/sql/code/audit.sql; this prints it. */
#include <jansson.h>
#include <string.h>

#include "drainer/commands/report.h"
#include "drainer/commands/since.h"
#include "drainer/postgres/pg_blocking.h"

/* X(state, what it means; NULL: nothing to worry about) */
/* clang-format off */
#define AUDIT_STATES(X) \
    X(complete, NULL) \
    X(open, NULL) \
    X(unproven, NULL) \
    X(missing, "records are missing") \
    X(doubled, "more rows than records") \
    X(forged, "the same producer id in several streams: one of them is forged")
/* clang-format on */

#define X(state, problem) AUDIT_##state,
enum audit_state { AUDIT_STATES(X) AUDIT_STATE_COUNT };
#undef X
static const struct {
    const char *name, *problem;
} audit_states[] = {
#define X(state, problem) {#state, problem},
    AUDIT_STATES(X)
#undef X
};

struct audit {
    const struct settings *settings;
    PGresult *producers, *incidents;
    int counts[AUDIT_STATE_COUNT];
};

/* An incident stays until somebody closes it, so its message tells how. */
static const char close_sql[] = "UPDATE blotter_internal.incidents SET closed_at = now(), "
                                "closed_by = current_user WHERE id = ";

static const char *audit_value_of(const PGresult *result, int row, const char *column)
{
    int at = PQfnumber(result, column);

    return at < 0 || PQgetisnull(result, row, at) ? NULL : PQgetvalue(result, row, at);
}

static enum audit_state state_of(const PGresult *result, int row)
{
    const char *name = audit_value_of(result, row, "state");
    int state = 0;

    while (state + 1 < AUDIT_STATE_COUNT && strcmp(audit_states[state].name, name) != 0) {
        state++;
    }
    return (enum audit_state)state;
}

/* Returns the worst state that a producer has. */
static enum audit_state verdict_of(const struct audit *audit)
{
    int worst = AUDIT_STATE_COUNT - 1;

    while (worst > 0 && audit->counts[worst] == 0) {
        worst--;
    }
    return (enum audit_state)worst;
}

static void audit_print_json(const struct audit *audit, const struct report *report)
{
    struct report *incidents = report_of_result(audit->incidents);
    json_t *json = json_pack("{s:s}", "state", audit_states[verdict_of(audit)].name);

    for (int state = 0; state < AUDIT_STATE_COUNT; state++) {
        json_object_set_new(json, audit_states[state].name, json_integer(audit->counts[state]));
    }
    json_object_set_new(json, "incidents", report_json(incidents));
    json_object_set_new(json, "producers", report_json(report));
    report_print_json(json);
    report_destroy(incidents);
}

/* Prints a line for each producer that has a problem. */
static void print_problems(const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        enum audit_state state = state_of(result, row);
        const char *seqs = audit_value_of(result, row, "missing_seqs"),
                   *streams = audit_value_of(result, row, "streams");

        if (audit_states[state].problem == NULL) {
            continue;
        }
        printf("%s: producer %s of %s", audit_states[state].name,
               audit_value_of(result, row, "producer_id"), audit_value_of(result, row, "exchange"));
        if (state == AUDIT_missing && seqs != NULL) {
            printf(", seq %s (%s records)\n", seqs, audit_value_of(result, row, "missing"));
        } else if (state == AUDIT_missing) {
            printf("; `blotter audit` without --quick lists the sequence numbers\n");
        } else if (state == AUDIT_forged && streams != NULL) {
            printf(": %s: %s\n", audit_states[state].problem, streams);
        } else {
            printf(": %s\n", audit_states[state].problem);
        }
    }
}

static void print_incidents(const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        printf("incident %s: %s, %s: %s; once it is dealt with: %s%s\n",
               audit_value_of(result, row, "id"), audit_value_of(result, row, "at"),
               audit_value_of(result, row, "stream"), audit_value_of(result, row, "what"),
               close_sql, audit_value_of(result, row, "id"));
    }
}

static void audit_print_text(const struct audit *audit, const struct report *report)
{
    const int *counts = audit->counts;

    if (report_rows(report) == 0) {
        printf("complete: there are no records%s\n",
               audit->settings->exchange != NULL || audit->settings->since != NULL
                   ? " of that exchange or time"
                   : " yet");
        return;
    }
    report_print(report);
    printf("\n%s: %d producers complete, %d open, %d with records missing",
           audit_states[verdict_of(audit)].name, counts[AUDIT_complete], counts[AUDIT_open],
           counts[AUDIT_missing]);
    for (int state = AUDIT_unproven; state < AUDIT_STATE_COUNT; state++) {
        if (counts[state] > 0 && state != AUDIT_missing) {
            printf(", %d %s", counts[state], audit_states[state].name);
        }
    }
    printf("\n");
    if (counts[AUDIT_open] > 0) {
        printf("open: complete up to up_to_seq; later records are on their way, or the producer "
               "has been silent since last_at\n");
    }
    if (counts[AUDIT_unproven] > 0) {
        printf(
            "unproven: a tap on the wire recorded them, which cannot tell what it has not seen\n");
    }
    print_problems(audit->producers);
}

static int audit_print(const struct audit *audit)
{
    struct report *report = report_of_result(audit->producers);

    if (audit->settings->json) {
        audit_print_json(audit, report);
    } else {
        audit_print_text(audit, report);
        print_incidents(audit->incidents);
    }
    report_destroy(report);
    return audit_states[verdict_of(audit)].problem != NULL || PQntuples(audit->incidents) > 0
               ? EXIT_CODE_NO
               : EXIT_CODE_DONE;
}

/* Brings the summaries of the days up to date, each in a transaction of its own. Nothing is done on
 * a standby, or for a user who may only read. */
static bool audit_summarise(const struct audit *audit, struct pg *pg, bool *done)
{
    PGresult *days = pg_query(pg, "SELECT * FROM blotter_internal.days_to_summarise()", 0, NULL);
    bool ok = days != NULL;

    for (int row = 0; ok && row < PQntuples(days); row++) {
        const char *const values[] = {PQgetvalue(days, row, 0), audit->settings->full ? "t" : "f"};
        PGresult *result = pg_query(pg, "SELECT blotter_internal.summarise_day($1, $2)", 2, values);

        ok = result != NULL;
        PQclear(result);
    }
    *done = ok && PQntuples(days) > 0;
    PQclear(days);
    return ok;
}

static PGresult *query_producers(const struct audit *audit, struct pg *pg, const char *since)
{
    const char *values[] = {audit->settings->exchange, since[0] == '\0' ? NULL : since, "f"};
    bool summarised = false;

    if (audit->settings->quick) {
        return pg_query(pg,
                        "SELECT * FROM blotter_internal.audit_quick_report($1, $2::timestamptz)", 2,
                        values);
    }
    if (!audit_summarise(audit, pg, &summarised)) {
        return NULL;
    }
    values[2] = audit->settings->full && !summarised ? "t" : "f";
    return pg_query(pg, "SELECT * FROM blotter_internal.audit_report($1, $2::timestamptz, $3)", 3,
                    values);
}

static bool query(struct audit *audit, struct pg *pg, const char *since)
{
    audit->producers = query_producers(audit, pg, since);
    audit->incidents = audit->producers == NULL
                           ? NULL
                           : pg_query(pg, "SELECT * FROM blotter_internal.open_incidents", 0, NULL);
    for (int row = 0; audit->incidents != NULL && row < PQntuples(audit->producers); row++) {
        audit->counts[state_of(audit->producers, row)]++;
    }
    return audit->incidents != NULL;
}

int command_audit(const struct settings *settings)
{
    struct audit audit = {.settings = settings};
    struct pg pg = {.settings = settings, .exit_code = EXIT_CODE_USAGE};
    char since[SINCE_BYTES];
    int code = EXIT_CODE_USAGE;

    if (since_parse(settings, "since", settings->since, since)) {
        bool done = pg_open_session(&pg, settings) && query(&audit, &pg, since);

        code = done ? audit_print(&audit) : pg.exit_code;
        pg_close(&pg);
    }
    PQclear(audit.producers);
    PQclear(audit.incidents);
    return code;
}
