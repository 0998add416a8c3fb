/* http_server.c: see http_server.h. A connection goes reading → answering → freed; the deadline, an
 * error and the end of the answer all free it. Its own code, because evhttp cannot limit the number
 * of connections, nor the time of a whole request. */
#include "drainer/http_server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"

enum {
    CONNECTIONS_MAX = 32,
    REQUEST_BYTES = 8192,
    BACKLOG = 64,
    HOST_BYTES = 128,
    PATH_BYTES = 64,
};
static const struct timeval deadline = {.tv_sec = 5};
static const struct timeval pause_without_descriptors = {.tv_sec = 1};

struct http_connection {
    struct http_server *server;
    struct http_connection *older, *newer;
    struct bufferevent *stream;
    struct event *timer;
    bool answered;
};

struct http_server {
    struct event_base *base;
    const struct http_page *pages;
    size_t page_count;
    void *arg;
    struct evconnlistener *listener;
    struct event *resume; /* listens again after the process had no descriptor */
    struct http_connection *oldest, *newest;
    unsigned count;
};

/* --- connections --- */

static void connection_free(struct http_connection *connection)
{
    struct http_server *server = connection->server;

    *(connection->older == NULL ? &server->oldest : &connection->older->newer) = connection->newer;
    *(connection->newer == NULL ? &server->newest : &connection->newer->older) = connection->older;
    server->count--;
    if (connection->timer != NULL) {
        event_free(connection->timer);
    }
    bufferevent_free(connection->stream);
    free(connection);
}

static void connection_answer(struct http_connection *connection, int code, const char *type,
                              struct evbuffer *body, bool head_only)
{
    struct evbuffer *out = bufferevent_get_output(connection->stream);
    const char *reason = code == HTTP_SERVER_OK            ? "OK"
                         : code == HTTP_SERVER_UNAVAILABLE ? "Service Unavailable"
                                                           : "Refused";

    connection->answered = true;
    bufferevent_disable(connection->stream, EV_READ);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                        "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                        code, reason, type, evbuffer_get_length(body));
    if (!head_only) {
        evbuffer_add_buffer(out, body);
    }
}

static void connection_refuse(struct http_connection *connection, int code, const char *why)
{
    struct evbuffer *body = evbuffer_new();

    evbuffer_add_printf(body, "%s\n", why);
    connection_answer(connection, code, "text/plain", body, false);
    evbuffer_free(body);
}

static void connection_serve(struct http_connection *connection, const char *path, bool head_only)
{
    const struct http_server *server = connection->server;

    for (size_t i = 0; i < server->page_count; i++) {
        const struct http_page *page = &server->pages[i];

        if (strcmp(page->path, path) == 0) {
            struct evbuffer *body = evbuffer_new();
            int code = page->fill(body, server->arg);

            connection_answer(connection, code, page->type, body, head_only);
            evbuffer_free(body);
            return;
        }
    }
    connection_refuse(connection, 404, "there is no such page");
}

/* Takes the request's first line apart: "GET /metrics?x HTTP/1.1". */
static void connection_take(struct http_connection *connection, const char *line)
{
    char method[8], target[PATH_BYTES], version[16];

    if (sscanf(line, "%7s %63s %15s", method, target, version) != 3 ||
        strncmp(version, "HTTP/1.", strlen("HTTP/1.")) != 0) {
        connection_refuse(connection, 400, "this is no request of HTTP/1.1");
    } else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        connection_refuse(connection, 405, "only GET and HEAD are answered");
    } else {
        target[strcspn(target, "?#")] = '\0';
        connection_serve(connection, target, strcmp(method, "HEAD") == 0);
    }
}

/* --- events --- */

static void on_readable(struct bufferevent *stream, void *arg)
{
    struct http_connection *connection = arg;
    struct evbuffer *in = bufferevent_get_input(stream);

    if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos >= 0) {
        char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF_STRICT);

        connection_take(connection, line == NULL ? "" : line);
        free(line);
    } else if (evbuffer_get_length(in) >= REQUEST_BYTES) {
        connection_refuse(connection, 431, "the request is too long");
    }
}

static void on_written(struct bufferevent *stream, void *arg)
{
    struct http_connection *connection = arg;

    (void)stream;
    if (connection->answered) {
        connection_free(connection);
    }
}

static void on_broken(struct bufferevent *stream, short what, void *arg)
{
    (void)stream;
    (void)what;
    connection_free(arg);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    connection_free(arg);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
                          struct sockaddr *address, int length, void *arg)
{
    struct http_server *server = arg;
    struct http_connection *connection = calloc(1, sizeof *connection);

    (void)listener;
    (void)address;
    (void)length;
    if (connection == NULL) {
        abort();
    }
    if (server->count == CONNECTIONS_MAX) {
        connection_free(server->oldest);
    }
    connection->server = server;
    connection->stream = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
    connection->older = server->newest;
    *(server->newest == NULL ? &server->oldest : &server->newest->newer) = connection;
    server->newest = connection;
    server->count++;
    connection->timer = evtimer_new(server->base, on_deadline, connection);
    evtimer_add(connection->timer, &deadline);
    bufferevent_setcb(connection->stream, on_readable, on_written, on_broken, connection);
    bufferevent_setwatermark(connection->stream, EV_READ, 0, REQUEST_BYTES);
    bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
}

/* Without a pause libevent would try again, and log, a hundred thousand times a second. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct http_server *server = arg;

    log_warn("http", "cannot accept a connection: %s",
             evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    evconnlistener_disable(listener);
    evtimer_add(server->resume, &pause_without_descriptors);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *server = arg;

    (void)fd;
    (void)what;
    evconnlistener_enable(server->listener);
}

/* --- the interface --- */

/* Splits "HOST:PORT". False: it is something else. */
static bool split_address(const char *address, char host[HOST_BYTES], char port[8])
{
    const char *colon = strrchr(address, ':'), *digits = colon == NULL ? address : colon + 1;
    size_t length = colon == NULL ? 0 : (size_t)(colon - address);
    char *end;
    unsigned long number = strtoul(digits, &end, 10);

    if (length > 1 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    }
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || number == 0 || number > UINT16_MAX ||
        length >= HOST_BYTES) {
        return false;
    }
    snprintf(port, 8, "%lu", number);
    snprintf(host, HOST_BYTES, "%.*s", length == 0 ? 9 : (int)length,
             length == 0 ? "127.0.0.1" : address);
    return true;
}

static bool http_server_listen(struct http_server *server, const char *address, char *error,
                               size_t error_size)
{
    struct evutil_addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                    .ai_flags = EVUTIL_AI_PASSIVE | EVUTIL_AI_NUMERICSERV};
    struct evutil_addrinfo *found = NULL;
    char host[HOST_BYTES], port[8];

    if (!split_address(address, host, port)) {
        snprintf(error, error_size,
                 "\"%.64s\" is not HOST:PORT, with a port from 1 to 65535, as in 127.0.0.1:9187",
                 address);
        return false;
    }
    int failure = evutil_getaddrinfo(host, port, &hints, &found);
    if (failure != 0) {
        snprintf(error, error_size, "cannot look up %s: %s", host, evutil_gai_strerror(failure));
        return false;
    }
    server->listener =
        evconnlistener_new_bind(server->base, on_connection, server,
                                LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
                                BACKLOG, found->ai_addr, (int)found->ai_addrlen);
    int reason = errno;
    evutil_freeaddrinfo(found);
    if (server->listener == NULL) {
        snprintf(error, error_size, "cannot listen on %s, port %s: %s", host, port,
                 strerror(reason));
        return false;
    }
    evconnlistener_set_error_cb(server->listener, on_accept_error);
    return true;
}

struct http_server *http_server_create(struct event_base *base, const char *address,
                                       const struct http_page *pages, size_t page_count, void *arg,
                                       char *error, size_t error_size)
{
    struct http_server *server = calloc(1, sizeof *server);

    if (server == NULL) {
        abort();
    }
    server->base = base;
    server->pages = pages;
    server->page_count = page_count;
    server->arg = arg;
    server->resume = evtimer_new(base, on_resume, server);
    if (!http_server_listen(server, address, error, error_size)) {
        http_server_destroy(server);
        return NULL;
    }
    return server;
}

void http_server_destroy(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    while (server->oldest != NULL) {
        connection_free(server->oldest);
    }
    if (server->listener != NULL) {
        evconnlistener_free(server->listener);
    }
    event_free(server->resume);
    free(server);
}
