/* redis_connect.c: an attempt to connect: finds the host or the master, opens the socket. */
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "producer/redis_link_private.h"
#include "producer/resolve.h"
#include "producer/sentinel.h"

enum {
    KEEPALIVE_IDLE_S = 10,
    KEEPALIVE_INTERVAL_S = 3,
    KEEPALIVE_COUNT = 3,
};

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    if (status != REDIS_OK) {
        link->context = NULL; /* hiredis frees it when we return */
    }
    if (link->state != REDIS_LINK_CONNECTING) {
        return; /* given up meanwhile */
    }
    if (status != REDIS_OK) {
        redis_link_lose(link, context->c.errstr); /* the context's own errstr is not set yet */
        return;
    }
    redis_link_set_state(link, REDIS_LINK_GREETING);
    redis_link_greet(link);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    (void)status;
    struct redis_link *link = context->data;
    link->context = NULL; /* hiredis frees it when we return */
    redis_link_lose(link, context->err ? context->errstr : "closed by the server");
}

/* Sets options of the socket, which may fail on exotic systems; the watch over answers is what
 * finds a dead peer, these only help. */
static void set_socket_options(const struct redis_link *link, int fd)
{
    int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;
    unsigned user_timeout_ms = link->options.answer_timeout_ms;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

static bool is_awaited(void *owner)
{
    const struct redis_link *link = owner;
    return link->in_flight.count > 0 || link->greetings > 0;
}

static void on_fault(void *owner, const char *fault)
{
    redis_link_lose(owner, fault);
}

bool redis_link_expects_answer(struct redis_link *link)
{
    if (!is_awaited(link)) {
        on_fault(link, "Redis sends an answer to no command");
        return false;
    }
    return true;
}

/* Sets the reply functions before any byte comes: hiredis prepares for an answer before it begins.
 */
static bool attach_reader(struct redis_link *link)
{
    const struct redis_link_options *options = &link->options;
    redisReader *hiredis = link->context->c.reader;
    const struct redisReplyObjectFunctions *functions =
        options->reply_functions != NULL ? options->reply_functions : redis_reader_functions();
    link->reader =
        redis_reader_attach(link->context, options->base,
                            &(struct redis_reader_options){.string_bytes = options->string_bytes,
                                                           .on_piece = options->on_piece,
                                                           .piece_owner = options->reply_privdata,
                                                           .is_awaited = is_awaited,
                                                           .on_fault = on_fault,
                                                           .owner = link});
    if (link->reader == NULL || functions == NULL) {
        return false;
    }
    hiredis->fn = (redisReplyObjectFunctions *)functions;
    hiredis->privdata =
        options->reply_functions != NULL ? options->reply_privdata : (void *)link->reader;
    return true;
}

/* Connects. address: of the host, as text; NULL for a Unix socket. */
static void connect_to(struct redis_link *link, const char *address)
{
    redis_link_set_state(link, REDIS_LINK_CONNECTING);
    redisAsyncContext *context = address != NULL ? redisAsyncConnect(address, link->url.port)
                                                 : redisAsyncConnectUnix(link->url.host);
    link->context = context;
    if (context == NULL || context->err) {
        redis_link_lose(link, context != NULL ? context->errstr : "out of memory");
        return;
    }
    context->data = link;
    if (address != NULL) {
        set_socket_options(link, context->c.fd);
    }
    if (link->tls != NULL && redis_tls_start(link->tls, link->url.host, &context->c) != 0) {
        redis_link_lose(link, context->c.err ? context->c.errstr : "TLS cannot be started");
        return;
    }
    if (!attach_reader(link)) {
        redis_link_lose(link, "cannot be attached to the event loop");
        return;
    }
    redisAsyncSetConnectCallback(context,
                                 on_connect); /* waits for the first write event: attached before */
    redisAsyncSetDisconnectCallback(context, on_disconnect);
}

static void on_resolved(void *owner, const char *address, const char *why)
{
    struct redis_link *link = owner;
    link->lookup = NULL;
    if (address != NULL) {
        connect_to(link, address);
    } else {
        redis_link_lose(link, why);
    }
}

/* Connects to the URL's host, or looks up its name first, in RESOLVING. */
static void connect_to_host(struct redis_link *link)
{
    if (resolve_is_literal(link->url.host)) {
        connect_to(link, link->url.host);
        return;
    }
    if (link->state != REDIS_LINK_RESOLVING) {
        redis_link_set_state(link, REDIS_LINK_RESOLVING);
    }
    link->lookup =
        resolve_start(link->options.base, link->url.host, link->attempts, on_resolved, link);
    if (link->lookup == NULL) {
        redis_link_lose(link, strerror(errno));
    }
}

static void on_master_found(void *owner, const struct sentinel_answer *answer)
{
    struct redis_link *link = owner;
    link->lookup = NULL;
    if (!answer->found) {
        redis_link_lose(link, answer->why);
        return;
    }
    link->first_asked = answer->sentinel;
    link->master_epoch = answer->epoch;
    snprintf(link->url.host, sizeof link->url.host, "%s", answer->host);
    link->url.port = answer->port;
    connect_to_host(link);
}

static void go_to_node(struct redis_link *link, const struct redis_host *node)
{
    snprintf(link->url.host, sizeof link->url.host, "%s", node->host);
    link->url.port = node->port;
    connect_to_host(link);
}

static void on_node_found(void *owner, const struct cluster_answer *answer)
{
    struct redis_link *link = owner;
    link->lookup = NULL;
    if (answer->found) {
        redis_link_learn(link, &answer->master);
        go_to_node(link, &answer->master);
    } else {
        redis_link_lose(link, answer->why);
    }
}

/* Goes where a node has sent us; else asks for the master of the stream's slot, in RESOLVING. */
static void attempt_cluster(struct redis_link *link)
{
    struct cluster_redirect redirect = link->redirect;
    link->redirect.to.port = 0;
    link->asking = redirect.to.port != 0 && redirect.ask;
    if (redirect.to.port != 0) {
        go_to_node(link, &redirect.to);
        return;
    }
    redis_link_set_state(link, REDIS_LINK_RESOLVING);
    link->lookup = redis_link_ask_nodes(link, NULL, on_node_found);
    if (link->lookup == NULL) {
        redis_link_lose(link, strerror(errno));
    }
}

void redis_link_attempt(struct redis_link *link)
{
    if (link->url.unix_socket) {
        connect_to(link, NULL);
    } else if (link->url.sentinel) {
        redis_link_set_state(link, REDIS_LINK_RESOLVING);
        link->lookup = sentinel_start(link->options.base, &link->url, link->first_asked,
                                      link->master_epoch, on_master_found, link);
        if (link->lookup == NULL) {
            redis_link_lose(link, strerror(errno));
        }
    } else if (link->stream != NULL) {
        attempt_cluster(link);
    } else {
        connect_to_host(link);
    }
}
