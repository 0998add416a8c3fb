/* check.c: `blotter check`: are there versions, rights or settings under which records would be
 * lost or refused, or do records wait and not move?
 *
 * bad: records would be lost, or not stored; exit status 1. warning: they are safe as long as
 * journals hold them, somebody could read or forge them, or it could not be looked at. With
 * --exchange it looks as a producer of that exchange does: at Redis only. */
#include <inttypes.h>
#include <jansson.h>

#include "drainer/commands/check_report.h"
#include "drainer/commands/report.h"
#include "drainer/commands/stalls.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/settings.h"

static void report_misspelt(void *arg, const char *name, const char *meant)
{
    if (meant != NULL) {
        check_report(arg, CHECK_WARNING, "settings", "environment",
                     "%s is no setting; did you mean %s?", name, meant);
    }
}

static void check_stalls(struct check *check, struct redis *redis,
                         const struct stream_survey *survey, const struct load_facts *facts)
{
    struct report *stalls =
        stalls_find(survey, facts, stalls_redis_is_master(redis), check->settings->max_behind);

    for (size_t row = 0; row < report_rows(stalls); row++) {
        check_report(check, CHECK_BAD, "stream", report_text(stalls, row, 0),
                     "records have waited for %s s: %s", report_text(stalls, row, 1),
                     report_text(stalls, row, 2));
    }
    if (facts->open_incidents > 0) {
        check_report(check, CHECK_BAD, "postgres", "incidents",
                     "%" PRId64 " are open: records may be lost; `blotter audit` shows them",
                     facts->open_incidents);
    }
    report_destroy(stalls);
}

/* Reports a server that could not be looked at. The reason is on stderr. */
static void report_unseen(struct check *check, bool seen, const char *where)
{
    if (!seen) {
        check_report(check, CHECK_BAD, where, "connection", "none: its error stands above");
    }
}

static int check_print(const struct check *check)
{
    if (check->settings->json) {
        report_print_json(
            json_pack("{s:b, s:o}", "ok", !check->bad, "checks", report_json(check->report)));
    } else {
        report_print(check->report);
    }
    return check->bad ? EXIT_CODE_NO : EXIT_CODE_DONE;
}

int command_check(const struct settings *settings)
{
    struct check check = {.settings = settings, .report = report_create(), .redis = "redis"};
    struct stream_survey survey = {.streams = NULL};
    struct load_facts facts = {.drainers = 0};
    struct redis redis;
    struct pg pg = {.settings = settings};
    bool producer = settings->exchange != NULL;

    report_column(check.report, "result", REPORT_TEXT);
    report_column(check.report, "where", REPORT_TEXT);
    report_column(check.report, "what", REPORT_TEXT);
    report_column(check.report, "finding", REPORT_TEXT);
    settings_find_misspelt(report_misspelt, &check);
    bool redis_seen = redis_open(&redis, settings) && check_look_at_redis(&check, &redis, &survey);
    bool pg_seen =
        producer || (pg_open(&pg, settings) && check_look_at_postgres(&check, &pg, &facts));
    report_unseen(&check, redis_seen, "redis");
    report_unseen(&check, pg_seen, "postgres");
    if (redis_seen && check.facts_known) {
        check_stalls(&check, &redis, &survey, &facts);
    }
    int code = check_print(&check);
    code = !redis_seen ? redis.exit_code : !pg_seen ? pg.exit_code : code;
    stream_survey_release(&survey);
    report_destroy(check.report);
    redis_close(&redis);
    pg_close(&pg);
    return code;
}
