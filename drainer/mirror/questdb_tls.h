/* questdb_tls.h: TLS to QuestDB, where the program was built with libevent's TLS and OpenSSL.
 *
 * The server's certificate is checked: its authority (the file tls_roots, else the system's), its
 * dates, and that it is for the host that was asked for, unless tls_verify is unsafe_off. */
#ifndef BLOTTER_DRAINER_MIRROR_QUESTDB_TLS_H
#define BLOTTER_DRAINER_MIRROR_QUESTDB_TLS_H

#include <stddef.h>

#include "drainer/mirror/questdb_conf.h"

struct bufferevent;
struct event_base;
struct questdb_tls;

/* Reads the files. NULL, with a text in error: there is no TLS here, or the file cannot be read. */
struct questdb_tls *questdb_tls_create(const struct questdb_conf *, char *error, size_t error_size);
void questdb_tls_destroy(struct questdb_tls *); /* takes NULL */

/* Makes a stream for one connection. NULL: no memory. */
struct bufferevent *questdb_tls_stream(struct questdb_tls *, struct event_base *, const char *host);

/* Replaces `why` where TLS was the reason that the connection ended. */
void questdb_tls_explain(struct bufferevent *, char *why, size_t size);

#endif
