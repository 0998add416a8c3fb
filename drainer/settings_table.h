/* settings_table.h: every setting of the program, in one table. It drives the flags (--batch-rows),
 * the environment (BLOTTER_BATCH_ROWS), the file given by --config (batch_rows = …), the defaults,
 * --help, the shells' completion and deploy/blotter.conf.sample. */
#ifndef BLOTTER_DRAINER_SETTINGS_TABLE_H
#define BLOTTER_DRAINER_SETTINGS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drainer/command_list.h"

/* X(name, type, default, commands, what is allowed, meaning)
 *
 * type      C         as text
 * STRING    char *    any; NONE: NULL unless it is given
 * PLACE     char *    the same, never printed
 * SECRET    char *    the same, and no flag
 * CHOICE    char *    one of CHOICES
 * BOOL      bool      yes, no, true, false, on, off, 1, 0
 * DURATION  int64_t   500ms, 5s, 2m, 1h, 7d; in milliseconds
 * SIZE      int64_t   4096, 64KiB, 4MiB, 1GiB; in bytes
 * COUNT     int64_t   digits */
/* clang-format off */
#define SETTINGS(X) \
    X(config, STRING, NONE, EVERY, VALUE("FILE"), "read settings from this file") \
    X(log_level, CHOICE, "info", EVERY, CHOICES("debug|info|warn|error"), \
      "least serious level of the log on stderr") \
    X(log_format, CHOICE, "logfmt", EVERY, CHOICES("logfmt|json"), "form of a line of the log") \
    X(redis, PLACE, \
      "redis://127.0.0.1:6379", DRAIN | PUBLISH | SHIP | STATUS | CHECK | WEB | MIRROR, \
      VALUE("URL"), \
      "where Redis is: redis://[user@]host[:port][/db], " \
      "rediss://...[?cacert=FILE&cert=FILE&key=FILE], " \
      "redis+sentinel://host[:port],.../NAME[/db], redis+cluster://host[:port],..., " \
      "unix:///path[?db=N]") \
    X(redis_password, SECRET, NONE, DRAIN | PUBLISH | SHIP | STATUS | CHECK | WEB | MIRROR, \
      VALUE("TEXT"), \
      "password for Redis; it is used instead of one in the URL") \
    X(redis_password_file, STRING, NONE, DRAIN | PUBLISH | SHIP | STATUS | CHECK | WEB | MIRROR, \
      VALUE("FILE"), \
      "file whose first line is the password for Redis") \
    X(postgres, PLACE, "", \
      MIGRATE | DRAIN | STATUS | AUDIT | REJECTS | PARTITIONS | CHECK | FOLLOW | EXPORT | WEB, \
      VALUE("CONNINFO"), \
      "where PostgreSQL is: a libpq connection string or URL; libpq takes what is missing from " \
      "PGHOST, PGPASSWORD, ~/.pgpass ...") \
    X(questdb, PLACE, NONE, MIRROR, VALUE("CONF"), \
      "where QuestDB is, as its own clients take it: http::addr=HOST:PORT;username=NAME; or " \
      "https::...") \
    X(questdb_password, SECRET, NONE, MIRROR, VALUE("TEXT"), \
      "password for QuestDB; it is used instead of one in questdb") \
    X(questdb_password_file, STRING, NONE, MIRROR, VALUE("FILE"), \
      "file whose first line is the password for QuestDB") \
    X(connect_timeout, DURATION, "5s", \
      MIGRATE | PUBLISH | SHIP | STATUS | AUDIT | REJECTS | PARTITIONS | CHECK | FOLLOW | EXPORT | \
          MIRROR, \
      RANGE(1000, 600000), "how long to wait for a server") \
    X(streams, STRING, "blotter:*", DRAIN | STATUS | CHECK | WEB | MIRROR, VALUE("PATTERNS"), \
      "which streams to take: Redis glob patterns, comma separated") \
    X(once, BOOL, "no", DRAIN | SHIP | FOLLOW | MIRROR, ANY, \
      "drain, mirror: load the entries that are there now, ship: send the records that are " \
      "there now, " \
      "follow: print what is committed now; then exit") \
    X(from, STRING, NONE, DRAIN, VALUE("ID|TIME"), \
      "load again what the streams still hold, from this entry id or time (2026-05-01T12:00:00Z) " \
      "on") \
    X(consumer, STRING, NONE, DRAIN | MIRROR, VALUE("NAME"), \
      "this drainer's name in the consumer group; HOST-PID by default") \
    X(claim_idle, DURATION, "60s", DRAIN, RANGE(1000, 86400000), \
      "disconnect a drainer that holds a stream and has not moved for this long, and take the " \
      "stream over") \
    X(batch_rows, COUNT, "10000", DRAIN | MIRROR, RANGE(1, 100000), \
      "most records in a transaction") \
    X(batch_bytes, SIZE, "4MiB", DRAIN | MIRROR, RANGE(65536, 268435456), \
      "most bytes in a transaction") \
    X(orders, BOOL, "yes", DRAIN | REJECTS, ANY, \
      "keep the table blotter.orders: the latest state of every order") \
    X(keep_entries, COUNT, "10000", DRAIN, RANGE(0, 1000000000), \
      "committed entries that each stream keeps") \
    X(keep_time, DURATION, "5m", DRAIN, RANGE(0, 604800000), \
      "how long entries are kept in each stream behind what is committed, where that is more " \
      "than keep_entries") \
    X(keep_bytes, SIZE, "0", DRAIN, RANGE(0, 1099511627776), \
      "most bytes that all streams keep together behind what is committed; 0: a quarter of " \
      "Redis' maxmemory, else 1GiB") \
    X(trim_interval, DURATION, "5s", DRAIN, RANGE(100, 3600000), "how often streams are trimmed") \
    X(group_limit, COUNT, "1000000", DRAIN, RANGE(0, 1000000000), \
      "trimming waits for other consumer groups until this many entries wait for one of them") \
    X(max_streams, COUNT, "10000", DRAIN | MIRROR, RANGE(1, 1000000), \
      "most streams loaded; further ones are left out and named") \
    X(max_lanes, COUNT, "1000", DRAIN | MIRROR, RANGE(1, 1000000), \
      "most lanes loaded of an exchange; further ones are left out and named") \
    X(metrics, STRING, NONE, DRAIN | MIRROR | SHIP, VALUE("HOST:PORT"), \
      "answer /metrics (Prometheus), /healthz and /readyz at this address; there is no login, so " \
      "keep it on loopback") \
    X(rebalance_interval, DURATION, "250ms", DRAIN | MIRROR, RANGE(10, 60000), \
      "how often drainers look for streams to take or to give up") \
    X(accept_history, BOOL, "no", MIGRATE, ANY, \
      "let this server take over streams that Redis says were loaded into another PostgreSQL, " \
      "such as one before a restore; see FAILOVER in blotter(1)") \
    X(lock_timeout, DURATION, "5s", DRAIN | REJECTS | PARTITIONS, RANGE(100, 600000), \
      "how long a transaction waits for a lock in PostgreSQL") \
    X(postgres_timeout, DURATION, "60s", DRAIN | REJECTS, RANGE(1000, 3600000), \
      "how long a transaction may take before the connection is given up") \
    X(exchange, STRING, NONE, PUBLISH | AUDIT | FOLLOW | EXPORT | CHECK, VALUE("NAME"), \
      "publish: required, [a-z0-9._-]{1,32}, the stream is blotter:NAME; else: only this " \
      "exchange") \
    X(lane, STRING, NONE, PUBLISH | CHECK, VALUE("NAME"), \
      "a lane of the exchange: the stream is blotter:EXCHANGE:LANE") \
    X(journal, STRING, NONE, PUBLISH | SHIP, VALUE("PATH"), \
      "a journal file, or a folder of journals: publish uses the first free one, ship sends all; " \
      "/dev/shm/blotter-UID by default") \
    X(slots, COUNT, "32768", PUBLISH, RANGE(64, 16777216), \
      "records that a new journal holds: a power of two") \
    X(slot_bytes, SIZE, "1024", PUBLISH, RANGE(256, 65536), \
      "bytes for each record in a new journal: a multiple of 64") \
    X(sync, CHOICE, "none", PUBLISH | SHIP, CHOICES("none|interval"), \
      "interval: write journals on a disk out every 100 ms; none: leave that to the kernel") \
    X(until, CHOICE, "sent", PUBLISH | SHIP, CHOICES("sent|committed"), \
      "when publish, and ship with once, are done: every record is in Redis (sent) or in " \
      "PostgreSQL (committed)") \
    X(timeout, DURATION, "0", PUBLISH | SHIP, RANGE(0, 604800000), \
      "give up after this time without any progress; 0: never") \
    X(poll_interval, DURATION, "1ms", SHIP, RANGE(1, 1000), \
      "how often ship looks for new records in all its journals; 10ms costs a tenth of the " \
      "processor time of 1ms") \
    X(retarget, BOOL, "no", SHIP, ANY, \
      "ship: send also journals whose records are for another Redis; from then on they are for " \
      "this " \
      "one") \
    X(records, BOOL, "no", JOURNAL, ANY, "print each record as a line of JSON") \
    X(json, BOOL, "no", STATUS | AUDIT | REJECTS | PARTITIONS | JOURNAL | CHECK | MIRROR, ANY, \
      "print JSON") \
    X(watch, BOOL, "no", STATUS, ANY, \
      "print again every interval, until interrupted or a server is lost") \
    X(interval, DURATION, "2s", STATUS, RANGE(100, 3600000), "how often --watch prints") \
    X(tables, BOOL, "yes", STATUS, ANY, \
      "show how full the tables are, for which those below 256 MiB are counted") \
    X(max_behind, DURATION, "0", STATUS | DRAIN | CHECK | MIRROR, RANGE(0, 604800000), \
      "longest time that a record may wait in a stream: beyond it status exits with 1 and " \
      "/readyz " \
      "of drain answers 503; 0: any") \
    X(stop_timeout, DURATION, "20s", DRAIN, RANGE(10, 3600000), \
      "how long a drainer that is told to stop waits for the books, if they are behind; what is " \
      "left the next one books") \
    X(quick, BOOL, "no", AUDIT, ANY, \
      "trust the counts of the drainers instead of looking at rows") \
    X(full, BOOL, "no", AUDIT, ANY, \
      "read every row, also of days that no load has changed since the last audit") \
    X(reason, STRING, NONE, REJECTS, VALUE("TEXT"), "only rejects whose reason contains this") \
    X(stream, STRING, NONE, REJECTS, VALUE("NAME"), "only rejects of this stream: blotter:okx") \
    X(since, STRING, NONE, REJECTS | AUDIT | EXPORT, VALUE("TIME"), \
      "only what was stored since then: 2h (two hours ago), 2026-05-01, 2026-05-01T12:00:00Z") \
    X(before, STRING, NONE, EXPORT, VALUE("TIME"), "only rows before then, as since") \
    X(after, STRING, "now", FOLLOW, VALUE("TOKEN|now|beginning"), \
      "where to begin: behind a token that follow has printed, now, or at the first record") \
    X(output, STRING, NONE, FOLLOW, VALUE("FILE"), \
      "append to this file instead of stdout, and go on behind its last token") \
    X(dry_run, BOOL, "no", REJECTS | PARTITIONS, ANY, \
      "change nothing; print what replay, discard or drop would do") \
    X(older_than, STRING, NONE, PARTITIONS, VALUE("DAYS|DATE"), \
      "drop days, or roll fills, that have been over for this long (90d), or those before a day " \
      "(2026-05-01); UTC") \
    X(limit, COUNT, "50", REJECTS | MIRROR, RANGE(1, 1000000), \
      "most rejects listed, the latest first") \
    X(web, BOOL, "no", DRAIN, ANY, \
      "serve the page of `blotter web` too, from a process of its own beside the drainer") \
    X(listen, STRING, "127.0.0.1:8187", DRAIN | WEB, VALUE("HOST:PORT"), \
      "where the page is served; for other hosts put a proxy with TLS in front") \
    X(web_hosts, STRING, NONE, DRAIN | WEB, VALUE("NAMES"), \
      "host names, comma separated, that browsers may use for the page beside those of loopback") \
    X(web_token_file, STRING, NONE, DRAIN | WEB, VALUE("FILE"), \
      "file whose first line is the page's token; without it each start draws one and prints it") \
    X(sample_config, BOOL, "no", HELP, ANY, \
      "print a file for --config with every setting and its default")
/* clang-format on */

/* clang-format off */
#define SETTING_TYPES(X) \
    X(STRING, char *) \
    X(PLACE, char *) \
    X(SECRET, char *) \
    X(CHOICE, char *) \
    X(BOOL, bool) \
    X(DURATION, int64_t) \
    X(SIZE, int64_t) \
    X(COUNT, int64_t)
/* clang-format on */
/* clang-format off */
enum setting_type {
#define X(type, c_type) SETTING_##type,
    SETTING_TYPES(X)
#undef X
};
/* clang-format on */
#define X(type, c_type) typedef c_type setting_##type;
SETTING_TYPES(X)
#undef X

/* clang-format off */
struct settings {
#define X(name, type, default_text, commands, allowed, meaning) setting_##type name;
    SETTINGS(X)
#undef X
    enum command_id command;
    int argument_count; /* words of the command line that are not flags */
    char **arguments;   /* borrowed from argv */
    char *warnings;     /* lines for the log, NULL: none */
};
/* clang-format on */

struct setting {
    const char *name;
    const char *default_text; /* NULL: none */
    const char *meaning;
    const char *value;   /* what stands for a value in --help: FILE */
    const char *choices; /* "sent|committed" */
    int64_t min, max;    /* in the type's unit */
    unsigned commands;   /* bit 1 << enum command_id */
    enum setting_type type;
    size_t offset; /* in struct settings */
};
enum { SETTING_NAME_BYTES = 72 };
extern const struct setting setting_table[];
extern const size_t setting_count;

/* Writes a setting's name as a flag, without the dashes; or as a variable of the environment. */
void setting_flag_name(char out[SETTING_NAME_BYTES], const char *name);
void setting_variable_name(char out[SETTING_NAME_BYTES], const char *name);

/* Finds the setting of that name; '-' and '_' are the same. NULL: there is none. */
const struct setting *setting_find(const char *name, size_t length);

/* Finds the setting that was probably meant by a misspelt name, among those whose commands share a
 * bit with `commands_wanted`. NULL: none is near. */
const struct setting *setting_nearest(const char *name, unsigned commands_wanted);

/* Gives a setting the value that the text means. False: it is not allowed, and nothing changed. */
bool setting_assign(struct settings *, const struct setting *, const char *text);

/* Replaces a text; NULL removes it. */
void setting_set_text(char **member, const char *text);
bool setting_is_text(const struct setting *);

/* Reads 500ms, 5s, 2m, 1h, 7d. */
bool setting_parse_duration(const char *text, int64_t *ms);

/* Writes what is allowed: "a duration from 1s to 1d, as in 500ms, 5s, 2m, 1h". */
void setting_describe_allowed(const struct setting *, char *out, size_t size);

/* Says whether a URL or connection string holds a password. */
bool setting_holds_password(const char *place);

#endif
