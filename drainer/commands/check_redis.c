/* check_redis.c: what `blotter check` looks at in Redis: version, role, memory, persistence,
 * rights, transport, and whether the streams are where the settings say. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/check_report.h"
#include "drainer/redis/redis_blocking.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/stream_survey.h"
#include "schema/clock.h"

enum {
    MIRROR_PATIENCE = 10000, /* entries that may wait for the mirror */
    VALUE_BYTES = 128,
    WORDS_MAX = 16,
    KEY_BYTES = 256,
};

/* --- INFO --- */

/* Returns the value of a line `key:value` of INFO's answer; "" if there is none. */
static const char *info_value(const char *info, const char *key, char out[VALUE_BYTES])
{
    size_t length = strlen(key);

    out[0] = '\0';
    for (const char *line = info; line != NULL && *line != '\0';
         line = strchr(line, '\n'), line = line == NULL ? NULL : line + 1) {
        if (strncmp(line, key, length) == 0 && line[length] == ':') {
            snprintf(out, VALUE_BYTES, "%.*s", (int)strcspn(line + length + 1, "\r\n"),
                     line + length + 1);
            break;
        }
    }
    return out;
}

/* Checks the version. Valkey says that it is some Redis, too. */
static void check_version(struct check *check, const char *info)
{
    char value[VALUE_BYTES], valkey[VALUE_BYTES];
    const char *version = info_value(info, "redis_version", value);
    int major = atoi(version),
        minor = strchr(version, '.') == NULL ? 0 : atoi(strchr(version, '.') + 1);
    bool enough = major > 6 || (major == 6 && minor >= 2);

    info_value(info, "valkey_version", valkey);
    check_report(check,
                 !enough     ? CHECK_BAD
                 : major < 7 ? CHECK_WARNING
                             : CHECK_FINE,
                 check->redis, "version", "%s%s%s%s%s", valkey[0] == '\0' ? "" : "Valkey ", valkey,
                 valkey[0] == '\0' ? "" : ", as Redis ", version,
                 !enough     ? "; needs 6.2, for XAUTOCLAIM and XTRIM MINID"
                 : major < 7 ? "; 7.0 is the oldest tested"
                             : "");
}

static void check_mode(struct check *check, const char *info)
{
    char mode[VALUE_BYTES];
    bool cluster = strcmp(info_value(info, "redis_mode", mode), "cluster") == 0;
    bool expected = strstr(check->settings->redis, "+cluster://") != NULL;

    if (cluster != expected) {
        check_report(check, CHECK_BAD, check->redis, "mode", "%s; %s", mode,
                     cluster ? "a node of a cluster answers for its own streams only: give "
                               "redis+cluster://host,host"
                             : "the setting redis says redis+cluster://");
    }
}

/* Reads a setting of the server, for which a user with the smallest rights may not ask: false, and
 * that is reported. */
static bool read_config(struct check *check, struct redis *redis, const char *name,
                        char out[VALUE_BYTES])
{
    redisReply *reply = redis_ask(redis, "CONFIG", "GET", name, NULL);
    const redisReply *value = reply == NULL ? NULL : reply_map_get(reply, name);
    bool known = value != NULL && reply_is_string(value);

    if (known) {
        snprintf(out, VALUE_BYTES, "%s", value->str);
    } else {
        check_report(check, CHECK_WARNING, check->redis, name,
                     "not known: this user may not use CONFIG GET");
    }
    redis_reply_free(reply);
    return known;
}

/* Checks that it is a master, and says where a failover would lose records. */
static void check_role(struct check *check, struct redis *redis, const char *info)
{
    char role[VALUE_BYTES], replicas[VALUE_BYTES];
    bool master = strcmp(info_value(info, "role", role), "master") == 0;

    info_value(info, "connected_slaves", replicas);
    check_report(check, master ? CHECK_FINE : CHECK_BAD, check->redis, "role", "%s%s%s", role,
                 master ? ", replicas: " : "; writes are refused: give the master's address",
                 master ? replicas : "");
    if (!master || strcmp(replicas, "0") == 0) {
        return;
    }
    char least[VALUE_BYTES];
    if (read_config(check, redis, "min-replicas-to-write", least)) {
        bool none = strcmp(least, "0") == 0;

        check_report(check, none ? CHECK_WARNING : CHECK_FINE, check->redis,
                     "min-replicas-to-write", "%s%s", least,
                     none ? "; a master that is cut off takes records that the next one lacks: "
                            "set it to 1"
                          : "");
    }
}

static void check_memory(struct check *check, const char *info)
{
    char policy[VALUE_BYTES], most[VALUE_BYTES];

    info_value(info, "maxmemory_policy", policy);
    info_value(info, "maxmemory", most);
    bool evicts = strcmp(policy, "noeviction") != 0, limited = strcmp(most, "0") != 0;
    check_report(check,
                 !evicts   ? CHECK_FINE
                 : limited ? CHECK_BAD
                           : CHECK_WARNING,
                 check->redis, "maxmemory-policy", "%s, maxmemory %s%s", policy, most,
                 evicts ? "; streams with records may be evicted: set maxmemory-policy noeviction"
                        : "");
}

/* Returns whether Redis writes an append-only file. */
static bool check_persistence(struct check *check, const char *info)
{
    char aof[VALUE_BYTES], written[VALUE_BYTES], saved[VALUE_BYTES];
    bool on = strcmp(info_value(info, "aof_enabled", aof), "1") == 0;
    bool failing = strcmp(info_value(info, "aof_last_write_status", written), "err") == 0 ||
                   strcmp(info_value(info, "rdb_last_bgsave_status", saved), "err") == 0;

    check_report(check, on ? CHECK_FINE : CHECK_WARNING, check->redis, "appendonly", "%s%s",
                 on ? "yes" : "no",
                 on ? ""
                    : "; a restart empties the streams: journals send again what they hold, the "
                      "records of other clients are lost");
    if (failing) {
        check_report(check, CHECK_BAD, check->redis, "persistence",
                     "the last write to disk failed; writes may be refused (MISCONF)");
    }
    return on;
}

static void check_fsync(struct check *check, struct redis *redis)
{
    char value[VALUE_BYTES];

    if (read_config(check, redis, "appendfsync", value)) {
        bool always = strcmp(value, "always") == 0, never = strcmp(value, "no") == 0;

        check_report(check, never ? CHECK_WARNING : CHECK_FINE, check->redis, "appendfsync", "%s%s",
                     value,
                     always ? ""
                            : "; the last records written are lost with the server: journals send "
                              "them again, other clients do not");
    }
}

/* --- rights --- */

/* The commands of a drainer and of a producer; # stands for the stream. */
static const char *const of_drainers[] = {
    "XREADGROUP GROUP drainers check STREAMS # >",
    "XACK # drainers 0-1",
    "XAUTOCLAIM # drainers check 0 0-0",
    "XGROUP CREATE # drainers 0",
    "XGROUP DELCONSUMER # drainers check",
    "XINFO GROUPS #",
    "XINFO CONSUMERS # drainers",
    "XINFO STREAM #",
    "XPENDING # drainers",
    "XRANGE # - +",
    "XREAD STREAMS # 0",
    "XLEN #",
    "XTRIM # MINID 0-1",
    "EVAL x 1 #",
    "SCAN 0",
    "DBSIZE",
    "SET blotter-id:{#} x NX",
    "GET blotter-id:{#}",
    "PERSIST blotter-id:{#}",
    "PERSIST blotter-load:{#}",
    "HSET blotter-load:{#} n 1",
    "HGETALL blotter-load:{#}",
    "HMGET blotter-load:{#} n",
    "XADD blotter-ack:{#}:1 * ok x",
    "EXPIRE blotter-ack:{#}:1 1",
    "RPUSH blotter-ack:{#} x",
    "LPOP blotter-ack:{#}",
    "DEL blotter-ack:{#}:1",
};
static const char *const of_producers[] = {
    "XADD # * order x",
    "XRANGE # - +",
    "XPENDING # drainers",
    "XINFO GROUPS #",
    "XRANGE blotter-ack:{#}:1 - +",
    "SET blotter-id:{#} x NX",
    "GET blotter-id:{#}",
};
/* In a cluster, too. */
static const char of_cluster_drainers[] = "CLUSTER SLOTS";
static const char of_cluster_producers[] = "ASKING";

/* Makes `ACL DRYRUN user command ...` and asks. Adds a command that is refused to missing. False:
 * the server does not tell, or does not know ACL DRYRUN (before 7.0). */
static bool try_right(struct redis *redis, const char *user, const char *command,
                      const char *stream, char *missing, size_t size)
{
    char copy[128], keys[WORDS_MAX][2 * KEY_BYTES], *rest = NULL;
    const char *words[WORDS_MAX] = {"ACL", "DRYRUN", user};
    int count = 3;
    size_t used = strlen(missing);

    snprintf(copy, sizeof copy, "%s", command);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        const char *mark = strchr(word, '#');

        if (mark != NULL) {
            snprintf(keys[count], sizeof keys[count], "%.*s%s%s", (int)(mark - word), word, stream,
                     mark + 1);
        }
        words[count] = mark == NULL ? word : keys[count];
        count++;
    }
    redisReply *reply = redisCommandArgv(redis->context, count, words, NULL);
    bool known = reply != NULL && reply_is_string(reply);
    if (known && strcmp(reply->str, "OK") != 0) {
        snprintf(missing + used, size - used, "%s%s", used == 0 ? "" : ", ", command);
    }
    redis_reply_free(reply);
    return known;
}

/* Returns the stream to ask for: the exchange's, that of the setting streams, or one that it
 * matches. */
static void choose_stream(const struct settings *settings, char out[KEY_BYTES])
{
    if (settings->exchange != NULL) {
        snprintf(out, KEY_BYTES, "blotter:%s%s%s", settings->exchange,
                 settings->lane == NULL ? "" : ":", settings->lane == NULL ? "" : settings->lane);
    } else if (strpbrk(settings->streams, "*?[,") == NULL) {
        snprintf(out, KEY_BYTES, "%s", settings->streams);
    } else {
        snprintf(out, KEY_BYTES, "blotter:check");
    }
}

static void check_rights(struct check *check, struct redis *redis)
{
    bool producer = check->settings->exchange != NULL;
    const char *const *commands_used = producer ? of_producers : of_drainers;
    size_t count = producer ? sizeof of_producers / sizeof of_producers[0]
                            : sizeof of_drainers / sizeof of_drainers[0];
    redisReply *user = redis_ask(redis, "ACL", "WHOAMI", NULL);
    bool known = user != NULL && reply_is_string(user);
    char missing[512] = "", stream[KEY_BYTES];

    choose_stream(check->settings, stream);
    for (size_t i = 0; known && i < count; i++) {
        known = try_right(redis, user->str, commands_used[i], stream, missing, sizeof missing);
    }
    if (known && redis->url.cluster) {
        known = try_right(redis, user->str, producer ? of_cluster_producers : of_cluster_drainers,
                          stream, missing, sizeof missing);
    }
    if (!known) {
        check_report(check, CHECK_WARNING, "redis", "rights",
                     "not known: this user may not use ACL WHOAMI and ACL DRYRUN");
    } else if (missing[0] == '\0') {
        check_report(check, CHECK_FINE, "redis", "rights", "user %s may %s %s", user->str,
                     producer ? "send to" : "drain", stream);
    } else {
        check_report(check, CHECK_BAD, "redis", "rights",
                     "user %s may not (# is the stream): %s; see deploy/redis-users.acl", user->str,
                     missing);
    }
    redis_reply_free(user);
}

/* --- transport, places --- */

static void check_transport(struct check *check, const struct redis *redis)
{
    const struct redis_url *url = &redis->url;

    if (!url->tls && !url->unix_socket && !check_host_is_local(url->host)) {
        check_report(check, CHECK_WARNING, check->redis, "transport",
                     "plain text to %s: who can listen reads %sthe records; use rediss://",
                     url->host, url->password[0] == '\0' ? "" : "the password and ");
    }
}

/* Checks whether there are streams where the settings look, or elsewhere. */
static void check_places(struct check *check, const struct stream_survey *survey, const char *info)
{
    const char *keyspace = strstr(info, "# Keyspace");
    char here[32], others[VALUE_BYTES] = "";

    if (survey->count > 0) {
        check_report(check, CHECK_FINE, "redis", "streams", "%zu match %s", survey->count,
                     check->settings->streams);
        return;
    }
    snprintf(here, sizeof here, "db%d:", check->db);
    for (const char *line = keyspace == NULL ? NULL : strchr(keyspace, '\n');
         line != NULL && line[1] != '\0'; line = strchr(line + 1, '\n')) {
        size_t used = strlen(others);

        if (strncmp(line + 1, "db", 2) == 0 && strncmp(line + 1, here, strlen(here)) != 0) {
            snprintf(others + used, sizeof others - used, " %.*s", (int)strcspn(line + 1, ":"),
                     line + 1);
        }
    }
    bool odd = strncmp(check->settings->streams, "blotter:", strlen("blotter:")) != 0;
    check_report(check, odd || others[0] != '\0' ? CHECK_WARNING : CHECK_FINE, "redis", "streams",
                 "none matches %s in database %d%s%s%s", check->settings->streams, check->db,
                 odd ? "; streams are named blotter:EXCHANGE" : "",
                 others[0] == '\0' ? "" : "; other databases with keys:", others);
}

/* Reports what waits for `blotter mirror`: its group holds back trimming, also where no mirror runs
 * any more. */
static void check_mirrors(struct check *check, const struct stream_survey *survey)
{
    int64_t waiting = 0;
    size_t mirrored = 0;

    for (size_t i = 0; i < survey->count; i++) {
        const struct surveyed_stream *stream = &survey->streams[i];

        if (stream->mirror_missed > 0) {
            check_report(check, CHECK_WARNING, "redis", "mirror",
                         "stream %s: %" PRId64 " entries were trimmed before a mirror had read "
                         "them, and QuestDB misses them: see group_limit; once it is seen to, "
                         "HDEL blotter-load:{%s} mirrors_missed",
                         stream->name, stream->mirror_missed, stream->name);
        }
        mirrored += survey->streams[i].mirror_lag >= 0;
        waiting += survey->streams[i].mirror_lag > 0 ? survey->streams[i].mirror_lag : 0;
    }
    if (mirrored > 0) {
        check_report(
            check, waiting > MIRROR_PATIENCE ? CHECK_WARNING : CHECK_FINE, "redis", "mirror",
            "%zu streams are mirrored, %" PRId64 " entries wait for it and are not trimmed%s",
            mirrored, waiting,
            waiting > MIRROR_PATIENCE
                ? "; start `blotter mirror`, or drop its group: XGROUP DESTROY STREAM mirrors"
                : "");
    }
}

static bool check_clock(struct check *check, struct redis *redis)
{
    int64_t before = clock_wall_ms();
    redisReply *reply = redis_ask(redis, "TIME", NULL);

    if (reply != NULL && reply_is_array(reply, 2) && reply_is_string(reply->element[0]) &&
        reply_is_string(reply->element[1])) {
        int64_t theirs = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
                         strtoll(reply->element[1]->str, NULL, 10) / 1000;

        check_report_clock(check, check->redis, before, theirs, clock_wall_ms());
    }
    redis_reply_free(reply);
    return reply != NULL;
}

/* Checks whether each slot is served, and none was left half moved. */
static void check_cluster(struct check *check, struct redis *redis)
{
    redisReply *info = redis_ask(redis, "CLUSTER", "INFO", NULL);
    redisReply *nodes = redis_ask(redis, "CLUSTER", "NODES", NULL);
    char state[VALUE_BYTES], assigned[VALUE_BYTES];

    if (info == NULL || nodes == NULL || !reply_is_string(info) || !reply_is_string(nodes)) {
        check_report(check, CHECK_WARNING, check->redis, "cluster",
                     "not known: this user may not use CLUSTER INFO and CLUSTER NODES");
    } else {
        bool good = strcmp(info_value(info->str, "cluster_state", state), "ok") == 0;
        /* of slots that are being moved only the node itself tells: [slot->-node], [slot-<-node] */
        const char *myself = strstr(nodes->str, "myself");
        const char *moving = myself == NULL ? NULL : strchr(myself, '[');
        bool half = moving != NULL && moving < myself + strcspn(myself, "\n");

        info_value(info->str, "cluster_slots_assigned", assigned);
        check_report(check,
                     !good  ? CHECK_BAD
                     : half ? CHECK_WARNING
                            : CHECK_FINE,
                     check->redis, "cluster", "state %s, slots %s%s%.*s%s", state, assigned,
                     half ? ", being moved: " : "", half ? (int)strcspn(moving, "\n") : 0,
                     half ? moving : "",
                     half ? "; if no reshard is under way: redis-cli --cluster fix" : "");
    }
    redis_reply_free(info);
    redis_reply_free(nodes);
}

/* Looks at the server that the connection leads to. */
static bool check_server(struct check *check, struct redis *redis, redisReply **info)
{
    bool appends = true;

    *info = redis_ask(redis, "INFO", NULL);
    if (*info == NULL) {
        return false;
    }
    if (reply_is_string(*info)) {
        check_version(check, (*info)->str);
        check_mode(check, (*info)->str);
        check_role(check, redis, (*info)->str);
        check_memory(check, (*info)->str);
        appends = check_persistence(check, (*info)->str);
    } else {
        check_report(check, CHECK_WARNING, check->redis, "INFO", "not known: %s",
                     (*info)->type == REDIS_REPLY_ERROR ? (*info)->str : "the answer is no text");
    }
    if (appends) {
        check_fsync(check, redis);
    }
    check_transport(check, redis);
    return true;
}

/* Looks at each master of the cluster, and leaves the connection at the last. A producer's user may
 * not ask for the others. */
static bool check_nodes(struct check *check, struct redis *redis, redisReply **info)
{
    struct cluster_masters masters = {NULL, 0};
    bool alone = check->settings->exchange != NULL;
    bool seen = alone || redis_masters(redis, &masters);
    char where[REDIS_URL_HOST_BYTES + 32];

    if (alone) {
        return check_server(check, redis, info);
    }
    for (size_t i = 0; seen && i < masters.count; i++) {
        redis_reply_free(*info);
        *info = NULL;
        snprintf(where, sizeof where, "redis ");
        redis_host_format(where + strlen(where), sizeof where - strlen(where),
                          masters.nodes[i].host, masters.nodes[i].port);
        check->redis = where;
        seen = redis_go_to(redis, &masters.nodes[i]) && check_server(check, redis, info);
        if (seen) {
            check_cluster(check, redis);
            seen = check_clock(check, redis);
        }
    }
    check->redis = "redis";
    cluster_masters_release(&masters);
    return seen;
}

bool check_look_at_redis(struct check *check, struct redis *redis, struct stream_survey *survey)
{
    bool cluster = redis->url.cluster;
    redisReply *info = NULL;
    bool seen = cluster ? check_nodes(check, redis, &info) : check_server(check, redis, &info);

    check->db = redis->url.db;
    if (seen) {
        check_rights(check, redis);
    }
    bool looks = check->settings->exchange == NULL; /* a producer may not look for streams */
    if (seen && looks) {
        seen = stream_survey_take(survey, redis);
    }
    if (seen && looks) {
        check_places(check, survey, info != NULL && reply_is_string(info) ? info->str : "");
        check_mirrors(check, survey);
    }
    redis_reply_free(info);
    return seen && ((cluster && looks) || check_clock(check, redis));
}
