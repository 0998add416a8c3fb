/* redis_blocking.c: see redis_blocking.h. */
#include "drainer/redis/redis_blocking.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/redis/redis_reply.h"
#include "producer/redis_error.h"
#include "producer/redis_reader.h"
#include "producer/redis_tls.h"
#include "producer/sentinel.h"

enum { WORDS_MAX = 16, REDIRECTS_MAX = 5 };

/* Returns the exit code of an answer. A server that does not let us in is as good as none. */
static enum exit_code code_of(const redisReply *reply)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return EXIT_CODE_UNREACHABLE;
    }
    switch (redis_error_action(reply->str)) {
    case REDIS_ERROR_LOGIN:
    case REDIS_ERROR_CLIENTS:
    case REDIS_ERROR_WAIT:
        return EXIT_CODE_UNREACHABLE;
    case REDIS_ERROR_RIGHTS:
    case REDIS_ERROR_SETTING:
        return EXIT_CODE_USAGE;
    default:
        return EXIT_CODE_NO;
    }
}

int redis_fail(struct redis *redis, const redisReply *reply, const char *doing)
{
    const char *why = redis->context == NULL ? "out of memory" : redis->context->errstr;
    char explained[256], node[REDIS_URL_PART_BYTES + 16] = "";

    if (reply == NULL && redis->context != NULL && redis->context->err == REDIS_ERR_IO &&
        errno == EAGAIN) {
        why = "no answer in the time given by the setting connect_timeout";
    }
    if (reply != NULL) {
        const char *of_setting = redis_error_of_setting(reply_problem(reply));
        why = of_setting != NULL ? of_setting : reply_problem(reply);
    } else {
        redis_tls_explain(redis->tls, redis->connected, redis->greeted, why, explained,
                          sizeof explained);
        why = explained;
    }
    if (redis->url.cluster) {
        redis_host_format(node, sizeof node, redis->url.host, redis->url.port);
    }
    redis->exit_code = code_of(reply);
    return command_fail(redis->settings, (enum exit_code)redis->exit_code,
                        "setting redis: %s: %s%s%s%s: %s", redis->url.place,
                        node[0] == '\0' ? "" : "node ", node, node[0] == '\0' ? "" : ": ", doing,
                        why);
}

static redisReply *ask_here(struct redis *redis, int count, const char **words)
{
    redisReply *reply = redisCommandArgv(redis->context, count, words, NULL);

    if (reply == NULL) {
        redis_fail(redis, NULL, "connection lost");
    }
    return reply;
}

/* Asks, and asks the other node where a node of a cluster sends us there. */
static redisReply *ask_where_it_is(struct redis *redis, int count, const char **words)
{
    struct cluster_redirect redirect;
    redisReply *reply = ask_here(redis, count, words);

    for (int i = 0; i < REDIRECTS_MAX && redis->url.cluster && reply != NULL &&
                    reply->type == REDIS_REPLY_ERROR &&
                    cluster_redirect_parse(reply->str, redis->url.host, &redirect);
         i++) {
        freeReplyObject(reply);
        reply = NULL;
        if (redis_go_to(redis, &redirect.to)) {
            if (redirect.ask) {
                redis_reply_free(ask_here(redis, 1, (const char *[]){"ASKING"}));
            }
            reply = ask_here(redis, count, words);
        }
    }
    return reply;
}

redisReply *redis_ask(struct redis *redis, const char *word, ...)
{
    const char *words[WORDS_MAX] = {word};
    int count = 1;
    va_list arguments;

    va_start(arguments, word);
    while (count < WORDS_MAX && (words[count] = va_arg(arguments, const char *)) != NULL) {
        count++;
    }
    va_end(arguments);
    return ask_where_it_is(redis, count, words);
}

static bool start_tls(struct redis *redis)
{
    if (redis->tls != NULL && redis_tls_start(redis->tls, redis->url.host, redis->context) != 0) {
        redis_fail(redis, NULL, "cannot connect");
        return false;
    }
    return true;
}

/* Checks that the answer is no error, and frees it. False: the error has been printed. */
static bool expect_ok(struct redis *redis, redisReply *reply, const char *doing)
{
    bool ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;

    if (reply != NULL && !ok) {
        redis_fail(redis, reply, doing);
    }
    redis_reply_free(reply);
    return ok;
}

/* Follows no redirection: a node that answers every greeting with MOVED would be greeted for ever.
 */
static bool redis_blocking_greet(struct redis *redis)
{
    const struct redis_url *url = &redis->url;
    const char *with_user[] = {"AUTH", url->user, url->password};
    const char *without_user[] = {"AUTH", url->password};
    char db[16];

    if (url->password[0] != '\0' &&
        !expect_ok(redis,
                   url->user[0] != '\0' ? ask_here(redis, 3, with_user)
                                        : ask_here(redis, 2, without_user),
                   "cannot log in")) {
        return false;
    }
    snprintf(db, sizeof db, "%d", url->db);
    if (url->db != 0 && !expect_ok(redis, ask_here(redis, 2, (const char *[]){"SELECT", db}),
                                   "cannot select the database")) {
        return false;
    }
    return expect_ok(redis, ask_here(redis, 1, (const char *[]){"PING"}), "cannot be used");
}

/* Asks the sentinels where the master is. False: the error has been printed. */
static bool find_master(struct redis *redis)
{
    struct sentinel_answer answer;

    sentinel_ask(&redis->url, 0, INT64_MAX, &answer);
    if (!answer.found) {
        redis->exit_code = EXIT_CODE_UNREACHABLE;
        command_fail(redis->settings, EXIT_CODE_UNREACHABLE, "setting redis: %s: %s",
                     redis->url.place, answer.why);
        return false;
    }
    snprintf(redis->url.host, sizeof redis->url.host, "%s", answer.host);
    redis->url.port = answer.port;
    return true;
}

/* Checks that the server that sentinels name is a master: it may be the old one. False: the error
 * has been printed. */
static bool expect_master(struct redis *redis)
{
    redisReply *reply = redis_ask(redis, "ROLE", NULL);
    bool master = reply != NULL && sentinel_is_master(reply);

    if (reply != NULL && !master) {
        redis->exit_code = EXIT_CODE_UNREACHABLE;
        command_fail(redis->settings, EXIT_CODE_UNREACHABLE,
                     "setting redis: %s: the server that the sentinels name, %s:%d, is not the "
                     "master; try again once they have agreed",
                     redis->url.place, redis->url.host, redis->url.port);
    }
    redis_reply_free(reply);
    return master;
}

static bool connect_now(struct redis *redis)
{
    int64_t ms = redis->settings->connect_timeout;
    struct timeval timeout = {ms / 1000, ms % 1000 * 1000};

    redis->context = redis->url.unix_socket
                         ? redisConnectUnixWithTimeout(redis->url.host, timeout)
                         : redisConnectWithTimeout(redis->url.host, redis->url.port, timeout);
    if (redis->context == NULL || redis->context->err != 0) {
        redis_fail(redis, NULL, "cannot connect");
        return false;
    }
    redis_reader_bound(redis->context->reader);
    redisSetTimeout(redis->context, timeout);
    redis->connected = true;
    return true;
}

/* Chooses a node of the URL that can be reached: the first, where none can, which will say why. */
static void find_seed(struct redis *redis)
{
    const struct redis_url *url = &redis->url;
    bool found = false;

    for (unsigned i = 0; i < url->host_count && !found; i++) {
        const struct redis_host *host = &url->hosts[i];
        struct redis_visit visit;

        found = redis_visit_begin(&visit, &(struct redis_visit_options){.what = "cluster node",
                                                                        .host = host->host,
                                                                        .port = host->port,
                                                                        .user = "",
                                                                        .password = ""});
        redis_visit_end(&visit);
        if (found) {
            snprintf(redis->url.host, sizeof redis->url.host, "%s", host->host);
            redis->url.port = host->port;
        }
    }
}

static bool connect_and_greet(struct redis *redis)
{
    return connect_now(redis) && start_tls(redis) && redis_blocking_greet(redis);
}

/* Finds the context of a node that was left before; NULL: there is none. */
static redisContext *take_place(struct redis *redis, const struct redis_host *host)
{
    for (size_t i = 0; i < redis->place_count; i++) {
        if (cluster_host_equal(&redis->places[i].host, host)) {
            redisContext *context = redis->places[i].context;

            redis->places[i] = redis->places[--redis->place_count];
            return context;
        }
    }
    return NULL;
}

bool redis_go_to(struct redis *redis, const struct redis_host *host)
{
    if (host->port == redis->url.port && strcmp(host->host, redis->url.host) == 0) {
        return true;
    }
    redis->places = array_grow_or_abort(redis->places, &redis->place_capacity,
                                        redis->place_count + 1, sizeof *redis->places);
    struct redis_place *left = &redis->places[redis->place_count++];
    left->context = redis->context;
    left->host.port = redis->url.port;
    snprintf(left->host.host, sizeof left->host.host, "%.*s", (int)sizeof left->host.host - 1,
             redis->url.host);
    snprintf(redis->url.host, sizeof redis->url.host, "%s", host->host);
    redis->url.port = host->port;
    redis->context = take_place(redis, host);
    return redis->context != NULL || connect_and_greet(redis);
}

bool redis_masters(struct redis *redis, struct cluster_masters *masters)
{
    struct redis_host here = {.port = redis->url.port};

    snprintf(here.host, sizeof here.host, "%.*s", (int)sizeof here.host - 1, redis->url.host);
    if (!redis->url.cluster) {
        masters->nodes = memory_or_abort(calloc(1, sizeof here));
        masters->count = 1;
        masters->nodes[0] = here;
        return true;
    }
    redisReply *reply = redis_ask(redis, "CLUSTER", "SLOTS", NULL);
    bool known = reply != NULL && cluster_masters_parse(reply, &here, masters);
    if (reply != NULL && !known) {
        redis_fail(redis, reply, "cannot ask for the cluster's masters (CLUSTER SLOTS)");
    }
    redis_reply_free(reply);
    return known;
}

bool redis_open(struct redis *redis, const struct settings *settings)
{
    char error[512];

    *redis = (struct redis){.settings = settings, .exit_code = EXIT_CODE_USAGE};
    if (redis_url_parse(&redis->url, settings->redis, error, sizeof error) != 0) {
        command_fail(settings, EXIT_CODE_USAGE, "setting redis: %s", error);
        return false;
    }
    if (settings->redis_password != NULL) {
        snprintf(redis->url.password, sizeof redis->url.password, "%s", settings->redis_password);
    }
    if (redis->url.tls &&
        (redis->tls = redis_tls_create(&redis->url, error, sizeof error)) == NULL) {
        command_fail(settings, EXIT_CODE_USAGE, "setting redis: %s", error);
        return false;
    }
    if (redis->url.cluster) {
        find_seed(redis);
    }
    redis->greeted = (!redis->url.sentinel || find_master(redis)) && connect_and_greet(redis) &&
                     (!redis->url.sentinel || expect_master(redis));
    return redis->greeted;
}

void redis_close(struct redis *redis)
{
    if (redis->context != NULL) {
        redisFree(redis->context);
    }
    for (size_t i = 0; i < redis->place_count; i++) {
        if (redis->places[i].context != NULL) {
            redisFree(redis->places[i].context);
        }
    }
    free(redis->places);
    redis_tls_destroy(redis->tls);
    explicit_bzero(&redis->url, sizeof redis->url);
}
