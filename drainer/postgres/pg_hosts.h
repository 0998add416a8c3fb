/* pg_hosts.h: an attempt to connect, and which of several hosts in a conninfo it begins with.
 *
 * libpq tries the next host where one refuses. Not where one takes the connection and says nothing,
 * as a server that is stopped does: there it waits, and PQconnectStart() knows no time-out. So
 * whoever gives an attempt up begins the next one with another host. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_HOSTS_H
#define BLOTTER_DRAINER_POSTGRES_PG_HOSTS_H

#include <libpq-fe.h>

/* The lists of the conninfo, as values of the keywords of the same names, which are to stand behind
 * it. NULL: as it says itself. */
struct pg_hosts {
    char *host, *hostaddr, *port;
};

/* Makes the lists begin with that host, counted from 0 and round again. */
void pg_hosts_begin_with(struct pg_hosts *, const char *conninfo, unsigned first);
void pg_hosts_release(struct pg_hosts *);

/* Returns how many hosts there are, at least 1. */
unsigned pg_hosts_count(const char *conninfo);

/* Returns how long an attempt may take, in milliseconds, so that all hosts are tried within all_ms
 * together; but 2 s at least, which a distant one with TLS may need. */
unsigned pg_hosts_patience_ms(const char *conninfo, unsigned all_ms);

/* Returns the number of the host behind the one that an attempt, which began with `first`, waits
 * for: those before it have refused. */
unsigned pg_hosts_behind(const char *conninfo, unsigned first, const PGconn *);

/* Goes on with an attempt. Returns what to wait for, EV_READ or EV_WRITE; 0: it is connected; -1:
 * it has failed. The socket may be another one each time. */
int pg_hosts_poll(PGconn *);

#endif
