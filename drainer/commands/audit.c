/* audit.c: `blotter audit`: is every accepted record in PostgreSQL? The views of schema/sql say;
 * this prints them. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/report.h"
#include "drainer/postgres/pg_blocking.h"

static const char audit_sql[] =
    "SELECT producer_id, exchange, lane, state, up_to_seq, last_seq, stored, rejected, gone, "
    "missing, "
    "missing_seqs, in_flight, to_char(last_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS last_at "
    "FROM blotter.audit ORDER BY state = 'missing', exchange, first_at, producer_id";
static const char quick_sql[] =
    "SELECT producer_id, exchange, lane, state, settled, last_seq, "
    "to_char(last_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS last_at "
    "FROM blotter_internal.audit_quick ORDER BY state = 'missing', exchange, last_at, producer_id";

struct verdict {
    int complete, open, missing; /* producers */
};

static struct verdict judge(const PGresult *result)
{
    int column = PQfnumber(result, "state");
    struct verdict verdict = {0, 0, 0};

    for (int row = 0; row < PQntuples(result); row++) {
        const char *state = PQgetvalue(result, row, column);

        verdict.complete += strcmp(state, "complete") == 0;
        verdict.open += strcmp(state, "open") == 0;
        verdict.missing += strcmp(state, "missing") == 0;
    }
    return verdict;
}

static const char *state_of(struct verdict verdict)
{
    return verdict.missing > 0 ? "missing" : verdict.open > 0 ? "open" : "complete";
}

static void print_json(const struct report *report, struct verdict verdict)
{
    report_print_json(json_pack("{s:s, s:i, s:i, s:i, s:o}", "state", state_of(verdict), "complete",
                                verdict.complete, "open", verdict.open, "missing", verdict.missing,
                                "producers", report_json(report)),
                      stdout);
}

/* One line for each producer of which something is missing, after the table. */
static void print_missing(const PGresult *result)
{
    int seqs = PQfnumber(result, "missing_seqs"), count = PQfnumber(result, "missing");

    for (int row = 0; row < PQntuples(result); row++) {
        if (strcmp(PQgetvalue(result, row, PQfnumber(result, "state")), "missing") != 0) {
            continue;
        }
        printf("missing: producer %s of %s", PQgetvalue(result, row, 0),
               PQgetvalue(result, row, PQfnumber(result, "exchange")));
        if (seqs >= 0) {
            printf(", seq %s (%s records)\n", PQgetvalue(result, row, seqs),
                   PQgetvalue(result, row, count));
        } else {
            printf("; `blotter audit` without --quick says which seq\n");
        }
    }
}

static void print_text(const PGresult *result, const struct report *report, struct verdict verdict)
{
    report_print(report, stdout);
    printf("\n%s: %d producers complete, %d open, %d with records missing\n", state_of(verdict),
           verdict.complete, verdict.open, verdict.missing);
    if (verdict.open > 0) {
        printf("open: complete up to up_to_seq; what comes after is on its way, or nothing was "
               "heard of it since last_at\n");
    }
    print_missing(result);
}

static int print(const struct settings *settings, const PGresult *result)
{
    struct report *report = report_of_result(result);
    struct verdict verdict = judge(result);

    if (settings->json) {
        print_json(report, verdict);
    } else if (report_rows(report) == 0) {
        printf("complete: no producer was ever heard of\n");
    } else {
        print_text(result, report, verdict);
    }
    report_destroy(report);
    return verdict.missing > 0 ? EXIT_CODE_NO : EXIT_CODE_DONE;
}

int command_audit(const struct settings *settings)
{
    struct pg pg;
    int code;
    PGresult *result = NULL;

    if (pg_open(&pg, settings) && pg_check_schema(&pg)) {
        result = pg_query(&pg, settings->quick ? quick_sql : audit_sql, 0, NULL);
    }
    code = result == NULL ? pg.exit_code : print(settings, result);
    PQclear(result);
    pg_close(&pg);
    return code;
}
