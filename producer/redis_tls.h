/* redis_tls.h: TLS to Redis, for rediss:// URLs.
 *
 * The server's certificate is always checked: its authority (the file that ?cacert= names, else the
 * system's), its dates, and that it is for the URL's host, name or address, which hiredis by itself
 * does not look at. Nothing is sent before that. ?cert= and ?key= name ours, for a server that asks
 * for one, as Redis does unless its tls-auth-clients says otherwise.
 *
 * Built without a hiredis that has TLS (Debian 12's) there is none: redis_tls_create says so. */
#ifndef BLOTTER_PRODUCER_REDIS_TLS_H
#define BLOTTER_PRODUCER_REDIS_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct redisContext;
struct redis_tls;
struct redis_url;

/* Reads the files of a URL with `tls`. NULL with a message in error. */
struct redis_tls *redis_tls_create(const struct redis_url *, char *error, size_t error_size);
void redis_tls_destroy(struct redis_tls *); /* takes NULL; after the contexts that use it */

/* Begins TLS on a connection; with one that blocks, also waits for it. -1: see redis_tls_explain.
 */
int redis_tls_start(struct redis_tls *, const char *host, struct redisContext *);

/* Explains the end of a connection, and says what to do. tls: NULL for one without;
 * connected: it was made; greeted: the server has answered on it; why: what hiredis says. At once,
 * in the thread that saw the end. */
void redis_tls_explain(struct redis_tls *tls, bool connected, bool greeted, const char *why,
                       char *text, size_t size);

#endif
