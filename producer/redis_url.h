/* redis_url.h: the parts of a Redis URL.
 *
 *     redis://[user[:password]@]host[:port][/db]
 *     rediss://...[?cacert=FILE&cert=FILE&key=FILE]             the same with TLS
 *     redis+sentinel://[user[:password]@]host[:port],.../NAME[/db][?sentinel_password=...]
 *                                     the master of that name, which these sentinels know
 *     rediss+sentinel://...           the same with TLS to the master
 *     ...&sentinel_tls=yes            with TLS to the sentinels
 *     redis+cluster://[user[:password]@]host[:port],...
 *                                     a Redis Cluster, of which these nodes are asked for the rest
 *     rediss+cluster://...            the same with TLS to each node
 *     unix://[user[:password]@]/path[?db=N]
 *
 * User, password, path and parameters may be percent-encoded; an @ or & in a parameter has to be.
 */
#ifndef BLOTTER_PRODUCER_REDIS_URL_H
#define BLOTTER_PRODUCER_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

enum {
    REDIS_URL_PART_BYTES = 512,
    REDIS_URL_HOST_BYTES = 256, /* of one of several */
    REDIS_URL_HOSTS = 16,
};

struct redis_host {
    char host[REDIS_URL_HOST_BYTES];
    int port;
};

struct redis_url {
    bool tls;
    bool unix_socket;
    char host[REDIS_URL_PART_BYTES]; /* or the socket's path */
    int port;
    int db;
    char user[REDIS_URL_PART_BYTES];     /* "": none */
    char password[REDIS_URL_PART_BYTES]; /* "": none */
    char cacert[REDIS_URL_PART_BYTES];   /* authorities' certificates, PEM; "": the system's */
    char cert[REDIS_URL_PART_BYTES];     /* our certificate, PEM; "": none */
    char key[REDIS_URL_PART_BYTES];      /* and its key; both or none */
    bool sentinel;                       /* host and port are not known: the sentinels are asked */
    bool sentinel_tls;                   /* the sentinels take TLS, with the same files */
    bool cluster;                        /* host and port are those of the first node, and change */
    struct redis_host hosts[REDIS_URL_HOSTS]; /* the sentinels, or nodes of the cluster */
    unsigned host_count;
    char service[REDIS_URL_HOST_BYTES]; /* the master's name */
    char sentinel_user[REDIS_URL_PART_BYTES], sentinel_password[REDIS_URL_PART_BYTES];
    char place[REDIS_URL_PART_BYTES +
               32]; /* the URL again without user and password, for messages */
};

/* Reads the digits of a port. False: it is none. */
bool redis_port_parse(const char *text, size_t length, int *port);

/* Writes "host:port", with an IPv6 address in brackets. Returns the length, as snprintf does. */
size_t redis_host_format(char *out, size_t size, const char *host, int port);

/* Returns 0; or -1 with a message that repeats nothing of the URL but its scheme, as the rest may
 * hold a secret. */
int redis_url_parse(struct redis_url *, const char *text, char *error, size_t error_size);

#endif
