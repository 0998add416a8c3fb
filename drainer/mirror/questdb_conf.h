/* questdb_conf.h: QuestDB's configuration string, as its own clients take it.
 *
 *     http::addr=HOST[:PORT];username=NAME;password=TEXT;
 *     https::addr=...;tls_roots=FILE;tls_verify=on;
 *
 * `;;` stands for a semicolon in a value. token=TEXT takes the place of user and password;
 * request_timeout=MS bounds a request. What tunes the clients' own buffers (auto_flush ...) is
 * accepted and has no effect here. */
#ifndef BLOTTER_DRAINER_MIRROR_QUESTDB_CONF_H
#define BLOTTER_DRAINER_MIRROR_QUESTDB_CONF_H

#include <stdbool.h>
#include <stddef.h>

enum {
    QUESTDB_PART_BYTES = 512,
    QUESTDB_PORT = 9000,
    QUESTDB_TIMEOUT_MS = 60000,
};

struct questdb_conf {
    bool tls;
    bool unverified; /* tls_verify=unsafe_off */
    char host[QUESTDB_PART_BYTES];
    int port;
    char username[QUESTDB_PART_BYTES], password[QUESTDB_PART_BYTES], token[QUESTDB_PART_BYTES];
    char tls_roots[QUESTDB_PART_BYTES]; /* PEM; "": the system's */
    long timeout_ms;
    char place[QUESTDB_PART_BYTES + 32]; /* scheme, host and port, for messages */
};

/* Reads a connection string. Returns 0; or -1 with a message that repeats nothing of the string but
 * names of settings. */
int questdb_conf_parse(struct questdb_conf *, const char *text, char *error, size_t error_size);

#endif
