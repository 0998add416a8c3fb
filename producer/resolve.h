/* resolve.h: looks up a host's name without blocking the event loop.
 *
 * getaddrinfo in a thread of its own (background.h): it may take tens of seconds, and only it knows
 * all that the host is configured for (nsswitch, /etc/hosts, mDNS, containers). An event loop's own
 * resolver would know less. */
#ifndef BLOTTER_PRODUCER_RESOLVE_H
#define BLOTTER_PRODUCER_RESOLVE_H

#include <stdbool.h>

struct background;
struct event_base;

enum { RESOLVE_ADDRESS_BYTES = 64 }; /* an address as text */

/* `address` is the numeric text of the (pick modulo count)-th answer, NULL with `why` if there is
 * none. Called once, from the loop, unless cancelled. */
typedef void resolve_done(void *owner, const char *address, const char *why);

/* Says whether it is an IPv4 or IPv6 address already. */
bool resolve_is_literal(const char *host);

/* Starts to look a name up; to be cancelled by background_cancel until `done` is called. NULL: no
 * memory, descriptor or thread (errno says which); `done` is not called then. */
struct background *resolve_start(struct event_base *, const char *host, unsigned pick,
                                 resolve_done *, void *owner);

#endif
