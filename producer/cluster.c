/* cluster.c: see cluster.h. */
#include "producer/cluster.h"

#include <hiredis/hiredis.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "producer/background.h"
#include "producer/redis_error.h"

enum { PORT_MAX = 65535, SLOT_MAX = 16383 };

bool cluster_host_equal(const struct redis_host *a, const struct redis_host *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* --- redirections --- */

/* Says whether a node knows its own name: else it gives none, or "?". */
static bool is_named(const char *host, size_t length)
{
    return length > 0 && !(length == 1 && host[0] == '?');
}

static bool cluster_take_host(struct redis_host *out, const char *host, size_t length,
                              const char *here)
{
    if (!is_named(host, length)) {
        host = here;
        length = strlen(here);
    }
    if (length == 0 || length >= sizeof out->host) {
        return false;
    }
    memcpy(out->host, host, length);
    out->host[length] = '\0';
    return true;
}

bool cluster_redirect_parse(const char *error, const char *here, struct cluster_redirect *redirect)
{
    *redirect = (struct cluster_redirect){.ask = strncmp(error, "ASK ", 4) == 0};
    if (!redirect->ask && strncmp(error, "MOVED ", 6) != 0) {
        return false;
    }
    const char *slot = strchr(error, ' ') + 1, *host = strchr(slot, ' ');
    const char *colon =
        host == NULL ? NULL : strrchr(host, ':'); /* the last: an IPv6 host has some */
    char *slot_end;
    long number = strtol(slot, &slot_end, 10);
    if (slot_end != host || number < 0 || number > SLOT_MAX || colon == NULL ||
        !redis_port_parse(colon + 1, strlen(colon + 1), &redirect->to.port)) {
        return false;
    }
    redirect->slot = (int)number;
    return cluster_take_host(&redirect->to, host + 1, (size_t)(colon - host - 1), here);
}

/* --- the nodes to ask --- */

static const struct redis_host *cluster_node(const struct cluster_question *question, size_t i)
{
    size_t count = question->learned_count + question->url->host_count;
    size_t at = (question->first + i) % count;
    return at < question->learned_count ? &question->learned[at]
                                        : &question->url->hosts[at - question->learned_count];
}

static bool cluster_visit(struct redis_visit *visit, const struct cluster_question *question,
                          const struct redis_host *node)
{
    const struct redis_url *url = question->url;
    return redis_visit_begin(visit,
                             &(struct redis_visit_options){.what = "cluster node",
                                                           .host = node->host,
                                                           .port = node->port,
                                                           .tls_files = url->tls ? url : NULL,
                                                           .user = url->user,
                                                           .password = url->password});
}

/* Asks node after node until `ask` is content. */
static bool cluster_ask_each(const struct cluster_question *question,
                             bool (*ask)(struct redis_visit *, const struct cluster_question *,
                                         const struct redis_host *, void *out),
                             void *out, char why[REDIS_VISIT_WHY_BYTES])
{
    size_t count = question->learned_count + question->url->host_count;
    bool found = false;

    snprintf(why, REDIS_VISIT_WHY_BYTES, "no other node of the cluster is known");
    for (size_t i = 0; i < count && !found; i++) {
        const struct redis_host *node = cluster_node(question, i);
        struct redis_visit visit;

        if (question->avoid != NULL && cluster_host_equal(node, question->avoid)) {
            continue;
        }
        found = cluster_visit(&visit, question, node) && ask(&visit, question, node, out);
        if (!found) {
            snprintf(why, REDIS_VISIT_WHY_BYTES, "%s", visit.why);
        }
        redis_visit_end(&visit);
    }
    return found;
}

/* --- the node of one stream --- */

/* Looks up the number behind a name, by which a connection's other side can be compared. */
static void cluster_look_up(struct cluster_answer *answer)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;

    answer->address[0] = '\0';
    if (getaddrinfo(answer->master.host, NULL, &hints, &found) == 0) {
        if (getnameinfo(found->ai_addr, found->ai_addrlen, answer->address, sizeof answer->address,
                        NULL, 0, NI_NUMERICHOST) != 0) {
            answer->address[0] = '\0';
        }
        freeaddrinfo(found);
    }
}

/* Asks for nothing of the stream: only its master does that without sending us elsewhere. One
 * whose user may not ask is taken for it: a refused XADD leads on. */
static bool cluster_ask_stream(struct redis_visit *visit, const struct cluster_question *question,
                               const struct redis_host *node, void *out)
{
    const char *words[] = {"XRANGE", question->stream, "+", "-", "COUNT", "1"};
    struct cluster_answer *answer = out;
    struct cluster_redirect redirect;
    redisReply *reply = redis_visit_ask(visit, 6, words);

    if (reply == NULL) {
        return false;
    }
    if (reply->type != REDIS_REPLY_ERROR || redis_error_action(reply->str) == REDIS_ERROR_RIGHTS) {
        answer->master = *node;
        answer->found = true;
    } else if (cluster_redirect_parse(reply->str, node->host, &redirect)) {
        answer->master = redirect.ask ? *node : redirect.to;
        answer->found = true;
    } else {
        redis_visit_fail(visit, reply->str);
    }
    redis_reply_free(reply);
    return answer->found;
}

/* --- all masters --- */

static void cluster_add_master(struct cluster_masters *masters, const struct redis_host *node)
{
    for (size_t i = 0; i < masters->count; i++) {
        if (cluster_host_equal(&masters->nodes[i], node)) {
            return;
        }
    }
    if (masters->count < CLUSTER_MASTERS) {
        masters->nodes[masters->count++] = *node;
    }
}

/* Takes a range of slots: [from, to, [host, port, id, ...], replica, ...]. A host may be nil. */
static bool cluster_take_range(struct cluster_masters *masters, const redisReply *range,
                               const struct redis_host *here)
{
    struct redis_host node;

    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 ||
        range->element[2]->type != REDIS_REPLY_ARRAY || range->element[2]->elements < 2) {
        return false;
    }
    const redisReply *host = range->element[2]->element[0], *port = range->element[2]->element[1];
    bool named = host->type == REDIS_REPLY_STRING;

    if ((!named && host->type != REDIS_REPLY_NIL) || port->type != REDIS_REPLY_INTEGER ||
        port->integer < 0 || port->integer > PORT_MAX ||
        !cluster_take_host(&node, named ? host->str : "", named ? strlen(host->str) : 0,
                           here->host)) {
        return false;
    }
    node.port = port->integer == 0 ? here->port : (int)port->integer;
    cluster_add_master(masters, &node);
    return true;
}

bool cluster_masters_parse(const redisReply *reply, const struct redis_host *here,
                           struct cluster_masters *masters)
{
    *masters = (struct cluster_masters){.nodes = calloc(CLUSTER_MASTERS, sizeof *masters->nodes)};
    bool sound = masters->nodes != NULL && reply->type == REDIS_REPLY_ARRAY;

    for (size_t i = 0; sound && i < reply->elements; i++) {
        sound = cluster_take_range(masters, reply->element[i], here);
    }
    if (sound && masters->count > 0) {
        return true;
    }
    cluster_masters_release(masters);
    return false;
}

void cluster_masters_release(struct cluster_masters *masters)
{
    free(masters->nodes);
    *masters = (struct cluster_masters){NULL, 0};
}

static bool cluster_ask_masters(struct redis_visit *visit, const struct cluster_question *question,
                                const struct redis_host *node, void *out)
{
    const char *words[] = {"CLUSTER", "SLOTS"};
    redisReply *reply = redis_visit_ask(visit, 2, words);
    bool found = reply != NULL && cluster_masters_parse(reply, node, out);

    (void)question;
    if (reply != NULL && !found) {
        redis_visit_fail(visit, reply->type == REDIS_REPLY_ERROR ? reply->str
                                                                 : "it knows no master with slots");
    }
    redis_reply_free(reply);
    return found;
}

/* Blocks until one of the nodes has answered. False: why says what the last one said. */
static bool cluster_masters_ask(const struct cluster_question *question,
                                struct cluster_masters *masters, char why[REDIS_VISIT_WHY_BYTES])
{
    *masters = (struct cluster_masters){NULL, 0};
    return cluster_ask_each(question, cluster_ask_masters, masters, why);
}

/* --- in the background --- */

struct cluster_task {
    struct cluster_question question; /* points into what follows */
    struct redis_url url;             /* a copy, with its passwords */
    struct redis_host *learned, avoid;
    char *stream;
    struct cluster_answer answer;
    cluster_done *done;
    struct cluster_masters masters;
    cluster_masters_done *masters_done;
    char why[REDIS_VISIT_WHY_BYTES];
    void *owner;
};

static void cluster_task_work(void *arg)
{
    struct cluster_task *task = arg;

    if (task->masters_done != NULL) {
        cluster_masters_ask(&task->question, &task->masters, task->why);
    } else if (cluster_ask_each(&task->question, cluster_ask_stream, &task->answer,
                                task->answer.why)) {
        cluster_look_up(&task->answer);
    }
}

static void cluster_task_done(void *arg)
{
    struct cluster_task *task = arg;

    if (task->masters_done != NULL) {
        task->masters_done(task->owner, &task->masters, task->why);
    } else {
        task->done(task->owner, &task->answer);
    }
}

static void cluster_task_release(void *arg)
{
    struct cluster_task *task = arg;

    cluster_masters_release(&task->masters);
    explicit_bzero(&task->url, sizeof task->url);
    free(task->learned);
    free(task->stream);
    free(task);
}

/* Copies what the question points at, which the thread outlives. False: no memory. */
static bool cluster_task_copy(struct cluster_task *task, const struct cluster_question *question)
{
    size_t count = question->learned_count;

    task->question = *question;
    task->url = *question->url;
    task->question.url = &task->url;
    task->learned = calloc(count + 1, sizeof *task->learned);
    task->stream = strdup(question->stream == NULL ? "" : question->stream);
    if (task->learned == NULL || task->stream == NULL) {
        return false;
    }
    if (count > 0) {
        memcpy(task->learned, question->learned, count * sizeof *task->learned);
    }
    task->question.learned = task->learned;
    task->question.stream = task->stream;
    if (question->avoid != NULL) {
        task->avoid = *question->avoid;
        task->question.avoid = &task->avoid;
    }
    return true;
}

static const struct background_task cluster_task_functions = {cluster_task_work, cluster_task_done,
                                                              cluster_task_release};

/* Starts asking on a thread. One of `done` and `masters_done` is NULL. */
static struct background *cluster_task_start(struct event_base *base,
                                             const struct cluster_question *question,
                                             cluster_done *done, cluster_masters_done *masters_done,
                                             void *owner)
{
    struct cluster_task *task = calloc(1, sizeof *task);

    if (task == NULL) {
        return NULL;
    }
    if (!cluster_task_copy(task, question)) {
        cluster_task_release(task);
        return NULL;
    }
    task->done = done;
    task->masters_done = masters_done;
    task->owner = owner;
    return background_start(base, &cluster_task_functions, task);
}

struct background *cluster_start(struct event_base *base, const struct cluster_question *question,
                                 cluster_done *done, void *owner)
{
    return cluster_task_start(base, question, done, NULL, owner);
}

struct background *cluster_masters_start(struct event_base *base,
                                         const struct cluster_question *question,
                                         cluster_masters_done *done, void *owner)
{
    return cluster_task_start(base, question, NULL, done, owner);
}
