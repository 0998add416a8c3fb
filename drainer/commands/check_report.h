/* check_report.h: the report of `blotter check`, and the parts that fill it: check_redis.c,
 * check_postgres.c. */
#ifndef BLOTTER_DRAINER_COMMANDS_CHECK_REPORT_H
#define BLOTTER_DRAINER_COMMANDS_CHECK_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct load_facts;
struct pg;
struct redis;
struct stream_survey;
struct report;
struct settings;

struct check {
    const struct settings *settings;
    struct report *report;
    const char *redis; /* the server that is looked at: "redis", with its address in a cluster */
    int db;            /* of Redis */
    bool facts_known;  /* PostgreSQL has told of the loading */
    bool bad;
};

enum check_result { CHECK_FINE, CHECK_WARNING, CHECK_BAD };

/* Adds a row to the report. */
void check_report(struct check *, enum check_result, const char *where, const char *what,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Reports how far a server's clock is from ours; before, after: our clock around the question. */
void check_report_clock(struct check *, const char *where, int64_t before_ms, int64_t theirs_ms,
                        int64_t after_ms);

/* Says whether it is this machine, so that nobody can listen. NULL: a socket file. */
bool check_host_is_local(const char *host);

/* Looks at Redis, and at its streams unless it is asked for a producer. False: the connection was
 * lost, which has been printed. */
bool check_look_at_redis(struct check *, struct redis *, struct stream_survey *);

/* Looks at PostgreSQL, and fills the facts of its loading where they can be asked for. False: the
 * connection was lost, which has been printed. */
bool check_look_at_postgres(struct check *, struct pg *, struct load_facts *);

#endif
