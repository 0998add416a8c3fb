/* questdb_conf.c: see questdb_conf.h. */
#include "drainer/mirror/questdb_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Settings of the clients' buffers and of what they send. */
static const char *const ignored[] = {
    "auto_flush",    "auto_flush_rows",       "auto_flush_bytes", "auto_flush_interval",
    "init_buf_size", "max_buf_size",          "max_name_len",     "protocol_version",
    "retry_timeout", "request_min_throughput"};

static int complain(char *error, size_t size, const char *what, const char *about)
{
    snprintf(error, size, "%s%s%s", about == NULL ? "" : about, about == NULL ? "" : ": ", what);
    return -1;
}

/* Copies a value up to its semicolon. Returns where the next name begins; NULL: it is too long. */
static const char *take_value(const char *at, char value[QUESTDB_PART_BYTES])
{
    size_t length = 0;

    for (; *at != '\0'; at++) {
        if (*at == ';' && at[1] != ';') {
            at++;
            break;
        }
        at += *at == ';';
        if (length + 1 == QUESTDB_PART_BYTES) {
            return NULL;
        }
        value[length++] = *at;
    }
    value[length] = '\0';
    return at;
}

/* Splits HOST, HOST:PORT or [IPV6]:PORT. False: it is none of these. */
static bool take_address(struct questdb_conf *conf, const char *value)
{
    const char *host = value, *colon = strrchr(value, ':');
    size_t length = colon == NULL ? strlen(value) : (size_t)(colon - value);
    char *end = NULL;

    conf->port = QUESTDB_PORT;
    if (value[0] == '[') {
        const char *close = strchr(value, ']');

        if (close == NULL || (close[1] != '\0' && close[1] != ':')) {
            return false;
        }
        host = value + 1;
        length = (size_t)(close - host);
        colon = close[1] == ':' ? close + 1 : NULL;
    }
    if (colon != NULL) {
        long port = strtol(colon + 1, &end, 10);

        if (end == colon + 1 || *end != '\0' || port < 1 || port > 65535) {
            return false;
        }
        conf->port = (int)port;
    }
    snprintf(conf->host, sizeof conf->host, "%.*s", (int)length, host);
    return length > 0 && length < sizeof conf->host;
}

static bool take_timeout(struct questdb_conf *conf, const char *value)
{
    char *end;
    long ms = strtol(value, &end, 10);

    conf->timeout_ms = ms;
    return end != value && *end == '\0' && ms >= 100 && ms <= 3600000;
}

static bool is_ignored(const char *name)
{
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        if (strcmp(ignored[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes one setting. Returns NULL, or what is wrong. */
static const char *conf_take_pair(struct questdb_conf *conf, const char *name, const char *value)
{
    const struct {
        const char *name;
        char *place;
    } texts[] = {{"username", conf->username},
                 {"password", conf->password},
                 {"token", conf->token},
                 {"tls_roots", conf->tls_roots}};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(texts[i].name, name) == 0) {
            snprintf(texts[i].place, QUESTDB_PART_BYTES, "%s", value);
            return NULL;
        }
    }
    if (strcmp(name, "addr") == 0) {
        return take_address(conf, value) ? NULL : "it is not HOST:PORT";
    }
    if (strcmp(name, "request_timeout") == 0) {
        return take_timeout(conf, value) ? NULL
                                         : "it is not a number of milliseconds up to an hour";
    }
    if (strcmp(name, "tls_verify") == 0) {
        conf->unverified = strcmp(value, "unsafe_off") == 0;
        return conf->unverified || strcmp(value, "on") == 0 ? NULL
                                                            : "it is neither on nor unsafe_off";
    }
    return is_ignored(name) ? NULL : "there is no such setting";
}

static int take_pairs(struct questdb_conf *conf, const char *at, char *error, size_t error_size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz_";
    char name[32], value[QUESTDB_PART_BYTES];

    while (*at != '\0') {
        size_t length = strspn(at, plain);

        if (length == 0 || length >= sizeof name || at[length] != '=') {
            return complain(error, error_size, "expected NAME=VALUE; behind the scheme", NULL);
        }
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        at = take_value(at + length + 1, value);
        const char *wrong = at == NULL ? "it is too long" : conf_take_pair(conf, name, value);
        explicit_bzero(value, sizeof value);
        if (wrong != NULL) {
            return complain(error, error_size, wrong, name);
        }
    }
    return 0;
}

int questdb_conf_parse(struct questdb_conf *conf, const char *text, char *error, size_t error_size)
{
    *conf = (struct questdb_conf){.timeout_ms = QUESTDB_TIMEOUT_MS};
    conf->tls = strncmp(text, "https::", 7) == 0;
    if (!conf->tls && strncmp(text, "http::", 6) != 0) {
        return complain(error, error_size,
                        "expected http::addr=HOST:PORT; or https::addr=HOST:PORT; (ILP over TCP "
                        "tells no client what was stored)",
                        NULL);
    }
    if (take_pairs(conf, text + (conf->tls ? 7 : 6), error, error_size) != 0) {
        return -1;
    }
    if (conf->host[0] == '\0') {
        return complain(error, error_size, "it is missing", "addr");
    }
    bool ipv6 = strchr(conf->host, ':') != NULL;
    snprintf(conf->place, sizeof conf->place, "%s://%s%s%s:%d", conf->tls ? "https" : "http",
             ipv6 ? "[" : "", conf->host, ipv6 ? "]" : "", conf->port);
    return 0;
}
