/* http_server.c: see http_server.h. Its own code, because evhttp limits neither the number of
 * connections nor the time of a whole request.
 *
 *     READING ──► HANDLED ──► ANSWERED      the timer runs in READING and ANSWERED
 *                    └──────► STREAMING
 *
 * An error, the other side's end and the deadline free a connection in every state; nothing else
 * refers to it then but its owner, who is called by on_closed. */
#include "drainer/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "producer/timer.h"
#include "schema/text.h"

enum {
    REQUEST_BYTES = 8192,
    CONNECTIONS_USUAL = 32,
    TIMEOUT_USUAL_S = 5,
    BACKLOG = 64,
    PAUSE_WITHOUT_DESCRIPTORS_MS = 1000,
    HOST_BYTES = 128,
    ADDRESS_BYTES = HOST_BYTES + 16,
};

enum request_state { REQUEST_READING, REQUEST_HANDLED, REQUEST_STREAMING, REQUEST_ANSWERED };

struct http_request {
    struct http_server *server;
    struct http_request *older, *newer;
    struct bufferevent *stream;
    struct event *timer;
    enum request_state state;
    char address[INET6_ADDRSTRLEN];
    char *head;        /* the request up to its empty line, lines ended by NUL */
    char *path;        /* in head */
    const char *query; /* in head; "" none */
    char *headers;     /* in head: the lines behind the first, the last is empty */
    bool head_only;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

struct http_server {
    struct event_base *base;
    struct http_server_options options;
    struct evconnlistener *listener;
    struct event *resume; /* listens again after the process had no descriptor */
    struct http_request *oldest, *newest;
    unsigned count;
    char address[ADDRESS_BYTES];
};

/* --- ending --- */

static void request_free(struct http_request *request)
{
    struct http_server *server = request->server;
    void (*on_closed)(void *) = request->on_closed;
    void *arg = request->closed_arg;

    *(request->older == NULL ? &server->oldest : &request->older->newer) = request->newer;
    *(request->newer == NULL ? &server->newest : &request->newer->older) = request->older;
    server->count--;
    event_free(request->timer);
    bufferevent_free(request->stream);
    free(request->head);
    free(request);
    if (on_closed != NULL) {
        on_closed(arg);
    }
}

static void request_set_deadline(struct http_request *request)
{
    timer_start(request->timer, request->server->options.request_timeout_s * 1000);
}

/* --- answering --- */

static const char *http_reason(int code)
{
    static const struct {
        int code;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {431, "Request Header Fields Too Large"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"}};

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].code == code) {
            return reasons[i].reason;
        }
    }
    return "Answer";
}

void http_request_reply(struct http_request *request, int code, const char *type,
                        const char *headers, const void *body, size_t length)
{
    struct evbuffer *out = bufferevent_get_output(request->stream);

    request->on_closed = NULL;
    request->state = REQUEST_ANSWERED;
    request_set_deadline(request);
    if (evbuffer_add_printf(out,
                            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                            "Cache-Control: no-store\r\nConnection: close\r\n%s\r\n",
                            code, http_reason(code), type, length,
                            headers == NULL ? "" : headers) < 0 ||
        (!request->head_only && evbuffer_add(out, body, length) != 0)) {
        abort();
    }
}

static void request_refuse(struct http_request *request, int code, const char *why)
{
    char body[64];
    int length = snprintf(body, sizeof body, "%s\n", why);

    http_request_reply(request, code, "text/plain", NULL, body, (size_t)length);
}

void http_request_stream(struct http_request *request, const char *type, const char *headers)
{
    request->state = REQUEST_STREAMING;
    if (evbuffer_add_printf(bufferevent_get_output(request->stream),
                            "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: no-store\r\n"
                            "Connection: close\r\n%s\r\n",
                            type, headers == NULL ? "" : headers) < 0) {
        abort();
    }
}

void http_request_send(struct http_request *request, const void *bytes, size_t length)
{
    if (evbuffer_add(bufferevent_get_output(request->stream), bytes, length) != 0) {
        abort();
    }
}

size_t http_request_backlog(const struct http_request *request)
{
    return evbuffer_get_length(bufferevent_get_output(request->stream));
}

void http_request_end(struct http_request *request)
{
    request->on_closed = NULL;
    request_free(request);
}

void http_request_on_closed(struct http_request *request, void (*on_closed)(void *arg), void *arg)
{
    request->on_closed = on_closed;
    request->closed_arg = arg;
}

/* --- the request --- */

/* Decodes %41, and + as a blank in a query. False: it is malformed, holds a NUL, or does not fit.
 */
static bool decode_percent(const char *from, size_t length, bool query, char *out, size_t size)
{
    const char *end = from + length;
    size_t used = 0;

    while (from < end) {
        char c = query && *from == '+' ? ' ' : *from;
        int taken = 1;

        if (c == '%') {
            int high = end - from < 3 ? -1 : text_hex_digit(from[1]);
            int low = high < 0 ? -1 : text_hex_digit(from[2]);

            c = low < 0 ? '\0' : (char)(high * 16 + low);
            taken = 3;
        }
        if (c == '\0' || used + 1 == size) {
            return false;
        }
        out[used++] = c;
        from += taken;
    }
    out[used] = '\0';
    return true;
}

/* Takes the first line apart: "GET /path?query HTTP/1.1". Returns 0, or the code to refuse with. */
static int request_take_line(struct http_request *request, char *line)
{
    char *rest = NULL, *method = strtok_r(line, " ", &rest), *target = strtok_r(NULL, " ", &rest);
    const char *version = strtok_r(NULL, " ", &rest);

    if (method == NULL || target == NULL || version == NULL || target[0] != '/' ||
        strncmp(version, "HTTP/1.", strlen("HTTP/1.")) != 0) {
        return 400;
    }
    request->head_only = strcmp(method, "HEAD") == 0;
    if (!request->head_only && strcmp(method, "GET") != 0) {
        return 405;
    }
    size_t length = strcspn(target, "?#");
    request->query = target[length] == '?' ? target + length + 1 : "";
    request->path = target;
    /* the decoded path is never longer, so it fits in its own place */
    return decode_percent(target, length, false, target, length + 1) ? 0 : 400;
}

/* Splits the head into lines that end with NUL, in place. */
static int request_take_head(struct http_request *request, size_t length)
{
    struct evbuffer *in = bufferevent_get_input(request->stream);

    request->head = memory_or_abort(malloc(length + 2));
    evbuffer_remove(in, request->head, length);
    evbuffer_drain(in, evbuffer_get_length(in)); /* a body is of no interest */
    memset(request->head + length, '\0', 2);
    if (memchr(request->head, '\0', length) != NULL) {
        return 400;
    }
    char *end = strstr(request->head, "\r\n");
    *end = '\0';
    request->headers = end + 2;
    for (char *at = request->headers; (at = strstr(at, "\r\n")) != NULL; at += 2) {
        at[0] = '\0';
        at[1] = '\0';
    }
    return request_take_line(request, request->head);
}

const char *http_request_path(const struct http_request *request)
{
    return request->path;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = request->headers; *line != '\0'; line += strlen(line) + 2) {
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            return line + length + 1 + strspn(line + length + 1, " \t");
        }
    }
    return NULL;
}

enum http_query http_request_query(const struct http_request *request, const char *name, char *out,
                                   size_t size)
{
    size_t length = strlen(name);

    for (const char *at = request->query; *at != '\0'; at += *at == '&') {
        size_t each = strcspn(at, "&");

        if (each > length && strncmp(at, name, length) == 0 && at[length] == '=') {
            return decode_percent(at + length + 1, each - length - 1, true, out, size)
                       ? HTTP_QUERY_GIVEN
                       : HTTP_QUERY_BAD;
        }
        at += each;
    }
    return HTTP_QUERY_ABSENT;
}

/* --- events --- */

static void on_request_bytes(struct bufferevent *stream, void *arg)
{
    struct http_request *request = arg;
    struct evbuffer *in = bufferevent_get_input(stream);

    if (request->state != REQUEST_READING) {
        evbuffer_drain(in, evbuffer_get_length(in)); /* one request a connection */
        return;
    }
    ssize_t end = evbuffer_search(in, "\r\n\r\n", 4, NULL).pos;
    if (end >= 0) {
        int refused = request_take_head(request, (size_t)end + 2);

        event_del(request->timer);
        request->state = REQUEST_HANDLED;
        if (refused == 0) {
            request->server->options.handler(request, request->server->options.arg);
        } else {
            request_refuse(request, refused,
                           refused == 405 ? "only GET and HEAD are answered"
                                          : "this is no request of HTTP/1.1");
        }
    } else if (evbuffer_get_length(in) >= REQUEST_BYTES) {
        request_refuse(request, 431, "the request is too long");
    }
}

static void on_written(struct bufferevent *stream, void *arg)
{
    struct http_request *request = arg;

    (void)stream;
    if (request->state == REQUEST_ANSWERED) {
        request_free(request);
    }
}

static void on_broken(struct bufferevent *stream, short what, void *arg)
{
    (void)stream;
    (void)what;
    request_free(arg);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    request_free(arg);
}

/* --- connections --- */

static void write_address(const struct sockaddr *from, char out[INET6_ADDRSTRLEN])
{
    const void *address =
        from->sa_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)(const void *)from)->sin6_addr
            : (const void *)&((const struct sockaddr_in *)(const void *)from)->sin_addr;

    if (inet_ntop(from->sa_family, address, out, INET6_ADDRSTRLEN) == NULL) {
        out[0] = '\0';
    }
}

/* Closes the oldest connection that has not asked yet, else the oldest that is no event stream.
 * address: only one from there; NULL: any. False: there is none. */
static bool server_close_one(struct http_server *server, const char *address)
{
    struct http_request *idle = NULL, *silent = NULL;

    for (struct http_request *each = server->newest; each != NULL; each = each->older) {
        if (address == NULL || strcmp(each->address, address) == 0) {
            idle = each->state == REQUEST_STREAMING ? idle : each;
            silent = each->state == REQUEST_READING ? each : silent;
        }
    }
    silent = silent == NULL ? idle : silent;
    if (silent != NULL) {
        request_free(silent);
    }
    return silent != NULL;
}

/* Makes place for one more connection from that address, which on loopback all users of the host
 * share. False: there is none. */
static bool server_make_room(struct http_server *server, const char *address)
{
    unsigned same = 0;

    for (struct http_request *each = server->newest; each != NULL; each = each->older) {
        same += strcmp(each->address, address) == 0;
    }
    if (server->options.max_per_address > 0 && same >= server->options.max_per_address) {
        return server_close_one(server, address);
    }
    return server->count < server->options.max_connections || server_close_one(server, NULL);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
                          struct sockaddr *from, int length, void *arg)
{
    struct http_server *server = arg;
    char address[INET6_ADDRSTRLEN];

    (void)listener;
    (void)length;
    write_address(from, address);
    if (!server_make_room(server, address)) {
        evutil_closesocket(fd);
        return;
    }
    struct http_request *request = memory_or_abort(calloc(1, sizeof *request));
    memcpy(request->address, address, sizeof address);
    request->server = server;
    request->stream = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
    request->older = server->newest;
    *(server->newest == NULL ? &server->oldest : &server->newest->newer) = request;
    server->newest = request;
    server->count++;
    request->timer = evtimer_new(server->base, on_deadline, request);
    request_set_deadline(request);
    bufferevent_setcb(request->stream, on_request_bytes, on_written, on_broken, request);
    bufferevent_setwatermark(request->stream, EV_READ, 0, REQUEST_BYTES);
    bufferevent_enable(request->stream, EV_READ | EV_WRITE);
}

/* Pauses: else libevent would try again, and log, a hundred thousand times a second. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct http_server *server = arg;

    log_warn("http", "cannot accept a connection: %s",
             evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    evconnlistener_disable(listener);
    timer_start(server->resume, PAUSE_WITHOUT_DESCRIPTORS_MS);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *server = arg;

    (void)fd;
    (void)what;
    evconnlistener_enable(server->listener);
}

/* --- listening --- */

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

static void server_name_address(struct http_server *server, const char *host, const char *port)
{
    const char *name = strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1"
                       : strcmp(host, "::") == 0    ? "::1"
                                                    : host;
    bool brackets = strchr(name, ':') != NULL;

    snprintf(server->address, sizeof server->address, brackets ? "[%s]:%s" : "%s:%s", name, port);
}

const char *http_server_address(const struct http_server *server)
{
    return server->address;
}

static bool http_server_listen(struct http_server *server, char *error, size_t error_size)
{
    struct evutil_addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                    .ai_flags = EVUTIL_AI_PASSIVE | EVUTIL_AI_NUMERICSERV};
    struct evutil_addrinfo *found = NULL;
    char host[HOST_BYTES], port[8];

    if (!split_address(server->options.where, host, port)) {
        snprintf(error, error_size,
                 "\"%.64s\" is not HOST:PORT, with a port from 1 to 65535, as in 127.0.0.1:9187",
                 server->options.where);
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
    server_name_address(server, host, port);
    return true;
}

struct http_server *http_server_open(struct event_base *base,
                                     const struct http_server_options *options, char *error,
                                     size_t error_size)
{
    struct http_server *server = memory_or_abort(calloc(1, sizeof *server));

    server->base = base;
    server->options = *options;
    if (options->max_connections == 0) {
        server->options.max_connections = CONNECTIONS_USUAL;
    }
    if (options->request_timeout_s == 0) {
        server->options.request_timeout_s = TIMEOUT_USUAL_S;
    }
    server->resume = evtimer_new(base, on_resume, server);
    if (!http_server_listen(server, error, error_size)) {
        http_server_close(server);
        return NULL;
    }
    return server;
}

void http_server_close(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    while (server->oldest != NULL) {
        request_free(server->oldest);
    }
    if (server->listener != NULL) {
        evconnlistener_free(server->listener);
    }
    event_free(server->resume);
    free(server);
}
