/* http_server.h: a few pages by HTTP, in the event loop of a program that has other work to do.
 *
 * Everything is bounded, since anybody on the host can connect: 32 connections, the oldest of which
 * is closed when one more comes; 5 seconds from connecting to the end of the answer; 8 KiB for a
 * request. A connection serves one request. Where the process has no descriptor left, connections
 * wait a second in the kernel's queue. One thread. */
#ifndef BLOTTER_DRAINER_HTTP_SERVER_H
#define BLOTTER_DRAINER_HTTP_SERVER_H

#include <stddef.h>

struct evbuffer;
struct event_base;
struct http_server;

enum { HTTP_SERVER_OK = 200, HTTP_SERVER_UNAVAILABLE = 503 };

struct http_page {
    const char *path;                              /* "/metrics" */
    const char *type;                              /* "text/plain" */
    int (*fill)(struct evbuffer *body, void *arg); /* returns HTTP_SERVER_… */
};

/* Listens on address: "HOST:PORT", "[::1]:PORT", or "PORT" on 127.0.0.1. The pages, arg and base
 * are borrowed. NULL, with a text in error: the address is wrong, or cannot be listened on. */
struct http_server *http_server_create(struct event_base *, const char *address,
                                       const struct http_page *pages, size_t page_count, void *arg,
                                       char *error, size_t error_size);
void http_server_destroy(struct http_server *); /* takes NULL */

#endif
