/* http_server.h: answers a few requests by HTTP, in the event loop of a program that has other work
 * to do: the pages of `drain --metrics` and `ship --metrics`, and `blotter web`.
 *
 * Everything is bounded, since anybody on the host can connect: the number of connections, the time
 * from connecting to the whole request, and 8 KiB for a request. A connection serves one request.
 * One connection too many closes the oldest that has not asked yet, or the oldest that is no event
 * stream; of its own address, if that has too many. Connections wait a second in the kernel's queue
 * while the process has no descriptor left. One thread. */
#ifndef BLOTTER_DRAINER_HTTP_SERVER_H
#define BLOTTER_DRAINER_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct evbuffer;
struct event_base;
struct http_request;
struct http_server;

struct http_server_options {
    const char *where;        /* "HOST:PORT", "[::1]:PORT", or "PORT" or ":PORT" on 127.0.0.1 */
    unsigned max_connections; /* 0: 32 */
    unsigned max_per_address; /* 0: any number */
    int request_timeout_s;    /* for the request, and again for the answer to be taken; 0: 5 */
    void (*handler)(struct http_request *, void *arg); /* answers now or later */
    void *arg;
};

/* Listens. NULL, with a text in error: the address is wrong, or cannot be listened on. */
struct http_server *http_server_open(struct event_base *, const struct http_server_options *,
                                     char *error, size_t error_size);
void http_server_close(struct http_server *); /* ends all connections; takes NULL */

/* Returns HOST:PORT as a client on this host writes it: where the server listens on all addresses,
 * that of loopback. */
const char *http_server_address(const struct http_server *);

/* --- a request: GET or HEAD, others are refused before --- */

const char *http_request_path(const struct http_request *); /* decoded, without the query */

/* Returns the value of a header line, or NULL. */
const char *http_request_header(const struct http_request *, const char *name);

enum http_query { HTTP_QUERY_ABSENT, HTTP_QUERY_GIVEN, HTTP_QUERY_BAD };

/* Writes the decoded value of the first name=value in the query. HTTP_QUERY_BAD: it is malformed,
 * holds a NUL, or does not fit. */
enum http_query http_request_query(const struct http_request *, const char *name, char *out,
                                   size_t size);

/* Calls on_closed once when the connection ends before http_request_reply or http_request_end. The
 * request is gone then. */
void http_request_on_closed(struct http_request *, void (*on_closed)(void *arg), void *arg);

/* Answers; the request is gone. type: of the body; headers: more lines, each with its CRLF, or
 * NULL. */
void http_request_reply(struct http_request *, int code, const char *type, const char *headers,
                        const void *body, size_t length);

/* Begins an answer without end, such as text/event-stream. */
void http_request_stream(struct http_request *, const char *type, const char *headers);
void http_request_send(struct http_request *, const void *bytes, size_t length);
size_t http_request_backlog(const struct http_request *); /* bytes that were not taken yet */
void http_request_end(struct http_request *);             /* closes; the request is gone */

#endif
