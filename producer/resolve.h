/* resolve.h: looks up a host's name without blocking the event loop.
 *
 * getaddrinfo in a thread of its own, gone when it is done: it may take tens of seconds, and only
 * it knows all that the host is configured for (nsswitch, /etc/hosts, mDNS, containers). An event
 * loop's own resolver would know less. */
#ifndef BLOTTER_PRODUCER_RESOLVE_H
#define BLOTTER_PRODUCER_RESOLVE_H

#include <stdbool.h>

struct event_base;
struct resolve;

enum { RESOLVE_ADDRESS_BYTES = 64 }; /* an address as text */

/* `address` is the numeric text of the (pick modulo count)-th answer, NULL with `why` if there is
 * none. Called once, from the loop, unless cancelled. The lookup is over then; do not cancel it. */
typedef void resolve_done(void *owner, const char *address, const char *why);

/* Is it an IPv4 or IPv6 address already? */
bool resolve_is_literal(const char *host);

/* NULL: no memory, descriptor or thread (errno says which); `done` is not called then. */
struct resolve *resolve_start(struct event_base *, const char *host, unsigned pick, resolve_done *,
                              void *owner);
void resolve_cancel(struct resolve *); /* takes NULL; `done` is not called any more */

#endif
