/* redis_url.h: a Redis URL taken apart: redis://[user[:password]@]host[:port][/db], rediss:// the
 * same with TLS and, behind it, ?cacert=FILE&cert=FILE&key=FILE, each as wanted;
 * unix://[user[:password]@]/path[?db=N]. User, password, path and files may be percent-encoded; an
 * @ or & in a file's path has to be. */
#ifndef BLOTTER_PRODUCER_REDIS_URL_H
#define BLOTTER_PRODUCER_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

enum { REDIS_URL_PART_BYTES = 512 };

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
    char place[REDIS_URL_PART_BYTES +
               32]; /* the URL again without user and password, for messages */
};

/* 0; or -1 with a message that repeats nothing of the URL but its scheme, as the rest may hold a
 * secret. */
int redis_url_parse(struct redis_url *, const char *text, char *error, size_t error_size);

#endif
