/* check.c: `blotter check`: are there versions, rights or settings under which records would be
 * lost or refused?
 *
 * bad: records would be lost, or not stored; exit status 1. warning: they are safe as long as
 * journals hold them, or it could not be looked at. */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/commands/report.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/redis/redis_blocking.h"
#include "drainer/redis/redis_reply.h"

enum {
    SKEW_WARNING_MS = 1000,
    SKEW_BAD_MS = 3600000,
};

struct check {
    const struct settings *settings;
    struct report *report;
    bool bad;
};

enum finding { FINE, WARNING, BAD };

static void find(struct check *check, enum finding finding, const char *where, const char *what,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
static void find(struct check *check, enum finding finding, const char *where, const char *what,
                 const char *format, ...)
{
    static const char *const words[] = {"ok", "warning", "bad"};
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report_cell(check->report, words[finding]);
    report_cell(check->report, where);
    report_cell(check->report, what);
    report_cell(check->report, text);
    check->bad = check->bad || finding == BAD;
}

/* --- clocks
 * --------------------------------------------------------------------------------------------------------------
 */

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* before, after: our clock around the question. */
static void find_skew(struct check *check, const char *where, int64_t before, int64_t theirs,
                      int64_t after)
{
    int64_t skew = theirs < before ? before - theirs : theirs > after ? theirs - after : 0;
    enum finding finding = skew >= SKEW_BAD_MS ? BAD : skew >= SKEW_WARNING_MS ? WARNING : FINE;

    find(check, finding, where, "clock", "%" PRId64 " ms %s this machine's%s", skew,
         theirs < before  ? "behind"
         : theirs > after ? "ahead of"
                          : "from",
         finding == FINE ? ""
                         : "; records from the future are refused, and times cannot be compared");
}

/* --- Redis
 * ---------------------------------------------------------------------------------------------------------------
 */

/* The value of a line `key:value` of INFO's answer; "" if there is none. */
static const char *info_value(const char *info, const char *key, char out[128])
{
    size_t length = strlen(key);

    out[0] = '\0';
    for (const char *line = info; line != NULL && *line != '\0';
         line = strchr(line, '\n'), line = line == NULL ? NULL : line + 1) {
        if (strncmp(line, key, length) == 0 && line[length] == ':') {
            snprintf(out, 128, "%.*s", (int)strcspn(line + length + 1, "\r\n"), line + length + 1);
            break;
        }
    }
    return out;
}

static void check_redis_version(struct check *check, const char *info)
{
    char value[128];
    const char *version = info_value(info, "redis_version", value);
    int major = atoi(version),
        minor = strchr(version, '.') == NULL ? 0 : atoi(strchr(version, '.') + 1);
    bool enough = major > 6 || (major == 6 && minor >= 2);

    find(check,
         !enough     ? BAD
         : major < 7 ? WARNING
                     : FINE,
         "redis", "version", "%s%s", version,
         !enough     ? "; needs 6.2, for XAUTOCLAIM and XTRIM MINID"
         : major < 7 ? "; 7.0 is the oldest tested"
                     : "");
}

static void check_redis_role(struct check *check, const char *info)
{
    char value[128], replicas[128];

    info_value(info, "role", value);
    info_value(info, "connected_slaves", replicas);
    bool master = strcmp(value, "master") == 0;
    find(check, master ? FINE : BAD, "redis", "role", "%s%s%s%s", value,
         master ? ", replicas: " : "", master ? replicas : "",
         master ? "" : "; writes are refused: give the master's address");
}

static void check_redis_memory(struct check *check, const char *info)
{
    char policy[128], most[128];

    info_value(info, "maxmemory_policy", policy);
    info_value(info, "maxmemory", most);
    bool evicts = strcmp(policy, "noeviction") != 0, limited = strcmp(most, "0") != 0;
    find(check,
         !evicts   ? FINE
         : limited ? BAD
                   : WARNING,
         "redis", "maxmemory-policy", "%s, maxmemory %s%s", policy, most,
         evicts ? "; streams with records may be evicted: set maxmemory-policy noeviction" : "");
}

static void check_redis_persistence(struct check *check, const char *info)
{
    char aof[128], written[128], saved[128];
    bool on = strcmp(info_value(info, "aof_enabled", aof), "1") == 0;
    bool failing = strcmp(info_value(info, "aof_last_write_status", written), "err") == 0 ||
                   strcmp(info_value(info, "rdb_last_bgsave_status", saved), "err") == 0;

    find(check, on ? FINE : WARNING, "redis", "appendonly", "%s%s", on ? "yes" : "no",
         on ? ""
            : "; a restart empties the streams: journals send again what they hold, other clients' "
              "records are lost");
    if (failing) {
        find(check, BAD, "redis", "persistence",
             "the last write to disk failed; writes may be refused (MISCONF)");
    }
}

/* Which settings INFO does not tell. Not every user may ask. */
static void check_redis_fsync(struct check *check, struct redis *redis)
{
    redisReply *reply = redis_ask(redis, "CONFIG", "GET", "appendfsync", NULL);
    const redisReply *value = reply == NULL ? NULL : reply_map_get(reply, "appendfsync");

    if (reply == NULL) {
        return;
    }
    if (value == NULL || !reply_is_string(value)) {
        find(check, WARNING, "redis", "appendfsync", "not known: this user may not use CONFIG GET");
    } else {
        bool always = strcmp(value->str, "always") == 0, never = strcmp(value->str, "no") == 0;
        find(check, never ? WARNING : FINE, "redis", "appendfsync", "%s%s", value->str,
             always ? ""
                    : "; what was written last is lost with the server: journals send it again, "
                      "other clients do not");
    }
    redis_reply_free(reply);
}

/* What the sender and the drainer do; %s is the user's name. */
#define MAY "ACL DRYRUN %s "
static const char *const commands_used[] = {
    MAY "XADD blotter:check * order x",
    MAY "XREADGROUP GROUP drainers check STREAMS blotter:check >",
    MAY "XACK blotter:check drainers 0-1",
    MAY "XAUTOCLAIM blotter:check drainers check 0 0-0",
    MAY "XGROUP CREATE blotter:check drainers 0",
    MAY "XINFO GROUPS blotter:check",
    MAY "XPENDING blotter:check drainers",
    MAY "XRANGE blotter:check - +",
    MAY "XREAD STREAMS blotter:check 0",
    MAY "XTRIM blotter:check MINID 0-1",
    MAY "EVAL x 1 blotter:check",
    MAY "SCAN 0",
    MAY "EXPIRE blotter-ack:{blotter:check}:1 1",
};

/* Adds the command to what the user may not do. False: the server does not tell, or does not know
 * ACL DRYRUN (before 7.0). */
static bool try_right(struct redis *redis, const char *user, const char *command, char *missing,
                      size_t size)
{
    redisReply *reply = redisCommand(redis->context, command, user);
    bool told = reply != NULL && reply_is_string(reply);
    const char *word = command + strlen(MAY);
    size_t used = strlen(missing);

    if (told && strcmp(reply->str, "OK") != 0) {
        snprintf(missing + used, size - used, " %.*s", (int)strcspn(word, " "), word);
    }
    redis_reply_free(reply);
    return told;
}

static void check_redis_rights(struct check *check, struct redis *redis)
{
    redisReply *user = redis_ask(redis, "ACL", "WHOAMI", NULL);
    bool told = user != NULL && reply_is_string(user);
    char missing[512] = "";

    for (size_t i = 0; told && i < sizeof commands_used / sizeof commands_used[0]; i++) {
        told = try_right(redis, user->str, commands_used[i], missing, sizeof missing);
    }
    if (!told) {
        find(check, WARNING, "redis", "rights",
             "not known: this user may not use ACL WHOAMI and ACL DRYRUN");
    } else {
        find(check, missing[0] == '\0' ? FINE : BAD, "redis", "rights", "user %s %s%s", user->str,
             missing[0] == '\0' ? "may send and drain"
                                : "may not use, on keys blotter:* and blotter-ack:*:",
             missing);
    }
    redis_reply_free(user);
}

static bool check_redis_clock(struct check *check, struct redis *redis)
{
    int64_t before = clock_ms();
    redisReply *reply = redis_ask(redis, "TIME", NULL);

    if (reply != NULL && reply_is_array(reply, 2) && reply_is_string(reply->element[0]) &&
        reply_is_string(reply->element[1])) {
        int64_t theirs = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
                         strtoll(reply->element[1]->str, NULL, 10) / 1000;
        find_skew(check, "redis", before, theirs, clock_ms());
    }
    redis_reply_free(reply);
    return reply != NULL;
}

static bool check_redis(struct check *check, struct redis *redis)
{
    redisReply *info = redis_ask(redis, "INFO", NULL);

    if (info == NULL) {
        return false;
    }
    if (reply_is_string(info)) {
        check_redis_version(check, info->str);
        check_redis_role(check, info->str);
        check_redis_memory(check, info->str);
        check_redis_persistence(check, info->str);
    } else {
        find(check, WARNING, "redis", "INFO", "not known: %s",
             info->type == REDIS_REPLY_ERROR ? info->str : "no text");
    }
    redis_reply_free(info);
    check_redis_fsync(check, redis);
    check_redis_rights(check, redis);
    return check_redis_clock(check, redis);
}

/* --- PostgreSQL
 * ----------------------------------------------------------------------------------------------------------
 */

static void check_pg_setting(struct check *check, PGconn *connection, const char *name,
                             const char *wanted, enum finding otherwise, const char *why)
{
    const char *const values[] = {name};
    PGresult *result =
        PQexecParams(connection, "SELECT current_setting($1)", 1, NULL, values, NULL, NULL, 0);
    const char *value =
        PQresultStatus(result) == PGRES_TUPLES_OK ? PQgetvalue(result, 0, 0) : "unknown";
    bool as_wanted = strcmp(value, wanted) == 0;

    find(check, as_wanted ? FINE : otherwise, "postgres", name, "%s%s%s", value,
         as_wanted ? "" : "; ", as_wanted ? "" : why);
    PQclear(result);
}

static void check_pg_settings(struct check *check, struct pg *pg)
{
    int version = PQserverVersion(pg->connection);
    PGconn *connection = pg->connection;

    find(check, version < 150000 ? BAD : FINE, "postgres", "version", "%d.%d%s", version / 10000,
         version % 10000, version < 150000 ? "; needs 15" : "");
    check_pg_setting(check, connection, "fsync", "on", BAD,
                     "committed records are lost in a crash of the machine");
    check_pg_setting(check, connection, "full_page_writes", "on", BAD,
                     "a crash of the machine may tear pages");
    check_pg_setting(check, connection, "synchronous_commit", "on", FINE,
                     "drainers set it themselves; other writers do not");
    check_pg_setting(check, connection, "transaction_read_only", "off", BAD,
                     "nothing can be stored: a standby, or read-only");
    check_pg_setting(check, connection, "server_encoding", "UTF8", BAD, "Blotter needs UTF8");
}

static bool check_pg_clock(struct check *check, struct pg *pg)
{
    int64_t before = clock_ms();
    PGresult *result =
        pg_query(pg, "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint", 0, NULL);

    if (result != NULL) {
        find_skew(check, "postgres", before, strtoll(PQgetvalue(result, 0, 0), NULL, 10),
                  clock_ms());
    }
    PQclear(result);
    return result != NULL;
}

/* What a drainer needs and this user lacks. Without USAGE on the schema nothing in it can be asked. */
static const char usage_sql[] =
    "SELECT CASE WHEN has_schema_privilege('blotter_internal', 'USAGE') THEN '' ELSE "
    "'USAGE on schema blotter_internal' END, current_user";
static const char rights_sql[] =
    "SELECT concat_ws(', ', blotter_internal.missing_rights(current_user, 'blotter_drainer'), "
    "CASE WHEN NOT has_database_privilege(current_database(), 'TEMP') THEN 'TEMPORARY on the "
    "database' END), current_user";

static bool check_pg_schema(struct check *check, struct pg *pg)
{
    int version = pg_schema_version(pg);

    if (version <= 0) {
        find(check, BAD, "postgres", "schema", "%s",
             version == 0 ? "there is none; run `blotter migrate`" : "cannot be read");
        return version == 0;
    }
    find(check, version < pg_schema_needed() ? BAD : FINE, "postgres", "schema",
         "version %d, this program needs %d%s", version, pg_schema_needed(),
         version < pg_schema_needed() ? "; run `blotter migrate`" : "");
    PGresult *result = pg_query(pg, usage_sql, 0, NULL);
    if (result != NULL && PQgetvalue(result, 0, 0)[0] == '\0') {
        PQclear(result);
        result = pg_query(pg, rights_sql, 0, NULL);
    }
    if (result == NULL) {
        return false;
    }
    const char *missing = PQgetvalue(result, 0, 0);
    find(check, missing[0] == '\0' ? FINE : BAD, "postgres", "rights", "user %s%s%s",
         PQgetvalue(result, 0, 1),
         missing[0] == '\0' ? " may load" : " cannot load; grant blotter_drainer; missing: ",
         missing);
    PQclear(result);
    return true;
}

static bool check_pg(struct check *check, struct pg *pg)
{
    check_pg_settings(check, pg);
    return check_pg_clock(check, pg) && check_pg_schema(check, pg);
}

/* --- both
 * ----------------------------------------------------------------------------------------------------------------
 */

/* Why it was not seen, or not to its end, has been said on stderr. */
static void find_unseen(struct check *check, bool seen, const char *where)
{
    if (!seen) {
        find(check, BAD, where, "connection", "none, or it was lost");
    }
}

static int print(const struct check *check)
{
    if (check->settings->json) {
        report_print_json(
            json_pack("{s:b, s:o}", "ok", !check->bad, "checks", report_json(check->report)),
            stdout);
    } else {
        report_print(check->report, stdout);
    }
    return check->bad ? EXIT_CODE_NO : EXIT_CODE_DONE;
}

int command_check(const struct settings *settings)
{
    struct check check = {.settings = settings, .report = report_create()};
    struct redis redis;
    struct pg pg = {.settings = settings};
    int code;

    report_column(check.report, "result", REPORT_TEXT);
    report_column(check.report, "where", REPORT_TEXT);
    report_column(check.report, "what", REPORT_TEXT);
    report_column(check.report, "finding", REPORT_TEXT);
    bool redis_seen = redis_open(&redis, settings) && check_redis(&check, &redis);
    bool pg_seen = pg_open(&pg, settings) && check_pg(&check, &pg);
    find_unseen(&check, redis_seen, "redis");
    find_unseen(&check, pg_seen, "postgres");
    code = print(&check);
    code = !redis_seen ? redis.exit_code : !pg_seen ? pg.exit_code : code;
    report_destroy(check.report);
    redis_close(&redis);
    pg_close(&pg);
    return code;
}
