/* redis_moves.c: follows the master of a connection: a node of a cluster says where a slot is; or,
 * while an answer is late, sentinels and other nodes are asked whether the master is another one by
 * now, sentinels now and then in any case. Its place is then noted, and the connection given up for
 * one to there. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "producer/redis_link_private.h"
#include "producer/resolve.h"
#include "producer/sentinel.h"
#include "schema/clock.h"

enum {
    OTHERS_OVERDUE_MS = 1000, /* so late an answer is when others are asked */
    ASK_AGAIN_MS = 1500,   /* from one question to the sentinels to the next, while all is well */
    REDIRECTS_AT_ONCE = 3, /* in a row; then with back-off, as nodes may send us round in circles */
    REDIRECTS_NAMED_MS = 5000,
};

void redis_link_learn(struct redis_link *link, const struct redis_host *node)
{
    for (unsigned i = 0; i < link->learned_count; i++) {
        if (cluster_host_equal(&link->learned[i], node)) {
            return;
        }
    }
    link->learned[link->learned_next] = *node;
    link->learned_next = (link->learned_next + 1) % CLUSTER_LEARNED;
    if (link->learned_count < CLUSTER_LEARNED) {
        link->learned_count++;
    }
}

bool redis_link_follow(struct redis_link *link, const char *error)
{
    struct cluster_redirect redirect;
    char why[160], to[80];
    if (link->stream == NULL || !redis_link_is_open(link) ||
        !cluster_redirect_parse(error, link->url.host, &redirect)) {
        return false;
    }
    int64_t now = clock_monotonic_coarse_ms();
    link->redirected_ms = link->redirects == 0 ? now : link->redirected_ms;
    redis_host_format(to, sizeof to, redirect.to.host, redirect.to.port);
    snprintf(why, sizeof why, "slot %d %s %s%s", redirect.slot,
             redirect.ask ? "is being moved to" : "is served by", to,
             now - link->redirected_ms >= REDIRECTS_NAMED_MS
                 ? "; if that does not end: redis-cli --cluster fix"
                 : "");
    redis_link_lose(link, why);
    link->redirect = redirect;
    redis_link_learn(link, &redirect.to);
    if (link->redirects++ < REDIRECTS_AT_ONCE) {
        link->attempts = 0;
    }
    return true;
}

struct background *redis_link_ask_nodes(struct redis_link *link, const struct redis_host *avoid,
                                        cluster_done *done)
{
    return cluster_start(link->options.base,
                         &(struct cluster_question){.url = &link->url,
                                                    .learned = link->learned,
                                                    .learned_count = link->learned_count,
                                                    .avoid = avoid,
                                                    .first = link->first_asked,
                                                    .stream = link->stream},
                         done, link);
}

static void on_master_again(void *owner, const struct sentinel_answer *answer)
{
    struct redis_link *link = owner;
    link->question = NULL;
    snprintf(link->doubt, sizeof link->doubt, "%s", answer->found ? "" : answer->why);
    if (!answer->found || (answer->epoch >= 0 && answer->epoch <= link->master_epoch)) {
        return; /* one that was not asked before may still name an old master */
    }
    link->master_epoch = answer->epoch;
    if (answer->port != link->url.port || strcmp(answer->host, link->url.host) != 0) {
        redis_link_lose(link, "the sentinels name another master");
    }
}

/* Says whether the connection is one to this address. */
static bool peer_is(const struct redis_link *link, const char *address)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    char text[RESOLVE_ADDRESS_BYTES];
    return getpeername(link->context->c.fd, (struct sockaddr *)&peer, &length) == 0 &&
           getnameinfo((struct sockaddr *)&peer, length, text, sizeof text, NULL, 0,
                       NI_NUMERICHOST) == 0 &&
           strcmp(text, address) == 0;
}

static void on_node_again(void *owner, const struct cluster_answer *answer)
{
    struct redis_link *link = owner;
    link->question = NULL;
    if (answer->found && (answer->master.port != link->url.port ||
                          (strcmp(answer->master.host, link->url.host) != 0 &&
                           answer->address[0] != '\0' && !peer_is(link, answer->address)))) {
        redis_link_lose(link, "the cluster names another master");
        link->redirect = (struct cluster_redirect){.to = answer->master};
        redis_link_learn(link, &answer->master);
    }
}

void redis_link_ask_others(struct redis_link *link, int64_t late_ms)
{
    int64_t now = clock_monotonic_coarse_ms();
    bool again = link->url.sentinel && now - link->asked_ms >= ASK_AGAIN_MS;
    if ((late_ms < OTHERS_OVERDUE_MS && !again) || link->question != NULL) {
        return;
    }
    link->asked_ms = now;
    if (link->url.sentinel) {
        link->question = sentinel_start(link->options.base, &link->url, link->first_asked,
                                        link->master_epoch + 1, on_master_again, link);
    } else if (link->stream != NULL) {
        struct redis_host here = {.port = link->url.port};
        snprintf(here.host, sizeof here.host, "%.*s", (int)sizeof here.host - 1, link->url.host);
        link->question = redis_link_ask_nodes(link, &here, on_node_again);
    }
}
