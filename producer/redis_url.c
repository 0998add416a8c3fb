/* redis_url.c: parses a Redis URL. Messages say what is wrong, never what was given: a mistyped URL
 * still holds its password. */
#include "producer/redis_url.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_PORT = 6379, PORT_MAX = 65535, DB_MAX = 99999 };

struct slice {
    const char *at;
    size_t length;
};

static int wrong(char *error, size_t error_size, const char *what)
{
    snprintf(error, error_size,
             "Redis URL: %s; expected redis://[user:password@]host[:port][/db], "
             "rediss://...[?cacert=FILE&cert=FILE&key=FILE], "
             "or unix:///path[?db=N]",
             what);
    return -1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* Copies with percent-decoding. False: too long, a malformed escape, or a NUL in it. */
static bool decode(struct slice from, char out[REDIS_URL_PART_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < from.length; i++) {
        int c = (unsigned char)from.at[i];
        if (c == '%') {
            if (i + 2 >= from.length || hex_digit(from.at[i + 1]) < 0 ||
                hex_digit(from.at[i + 2]) < 0) {
                return false;
            }
            c = hex_digit(from.at[i + 1]) << 4 | hex_digit(from.at[i + 2]);
            i += 2;
        }
        if (c == 0 || used + 1 >= REDIS_URL_PART_BYTES) {
            return false;
        }
        out[used++] = (char)c;
    }
    out[used] = 0;
    return true;
}

static bool number(struct slice text, int max, int *out)
{
    if (text.length == 0 || text.length > 6) {
        return false;
    }
    int value = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        value = value * 10 + (text.at[i] - '0');
    }
    *out = value;
    return value <= max;
}

/* Cuts `from` at its first (or last) `c`. False, and nothing written, if there is none. */
static bool cut(struct slice from, char c, bool last, struct slice *before, struct slice *after)
{
    const char *at = last ? memrchr(from.at, c, from.length) : memchr(from.at, c, from.length);
    if (at == NULL) {
        return false;
    }
    size_t length = (size_t)(at - from.at);
    *before = (struct slice){from.at, length};
    *after = (struct slice){at + 1, from.length - length - 1};
    return true;
}

static bool take_user(struct redis_url *url, struct slice *authority)
{
    struct slice who, user, password, rest;
    if (!cut(*authority, '@', true, &who, &rest)) {
        return true;
    }
    *authority = rest;
    if (!cut(who, ':', false, &user, &password)) {
        return decode(who, url->user);
    }
    return decode(user, url->user) && decode(password, url->password);
}

static bool take_host(struct redis_url *url, struct slice text)
{
    struct slice host = text, port = {NULL, 0}, behind;
    if (text.length > 0 && text.at[0] == '[') { /* [::1]:6379 */
        if (!cut((struct slice){text.at + 1, text.length - 1}, ']', false, &host, &behind)) {
            return false;
        }
        if (behind.length > 0 && behind.at[0] != ':') {
            return false;
        }
        if (behind.length > 0) {
            port = (struct slice){behind.at + 1, behind.length - 1};
        }
    } else {
        cut(text, ':', true, &host, &port);
    }
    url->port = DEFAULT_PORT;
    if (port.at != NULL && (!number(port, PORT_MAX, &url->port) || url->port == 0)) {
        return false;
    }
    return host.length > 0 && decode(host, url->host);
}

static int parse_unix(struct redis_url *url, struct slice text, char *error, size_t error_size)
{
    struct slice path, query = {NULL, 0};
    const char *slash = memchr(text.at, '/', text.length);
    if (slash == NULL) {
        return wrong(error, error_size, "the socket's path is missing");
    }
    struct slice authority = {text.at, (size_t)(slash - text.at)};
    text = (struct slice){slash, text.length - authority.length};
    if (authority.length > 0 && (!take_user(url, &authority) || authority.length > 0)) {
        return wrong(error, error_size, "user or password is malformed");
    }
    path = text;
    cut(text, '?', false, &path, &query);
    if (!decode(path, url->host) || strlen(url->host) > 107) { /* sockaddr_un */
        return wrong(error, error_size, "the socket's path is malformed or longer than 107 bytes");
    }
    if (query.at != NULL &&
        (query.length < 4 || memcmp(query.at, "db=", 3) != 0 ||
         !number((struct slice){query.at + 3, query.length - 3}, DB_MAX, &url->db))) {
        return wrong(error, error_size, "behind the path only ?db=N is known");
    }
    url->unix_socket = true;
    if (url->db) {
        snprintf(url->place, sizeof url->place, "unix://%s?db=%d", url->host, url->db);
    } else {
        snprintf(url->place, sizeof url->place, "unix://%s", url->host);
    }
    return 0;
}

/* name=value, the name being one of redis-cli's options. */
static bool take_file(struct redis_url *url, struct slice parameter)
{
    struct slice name, value;
    if (!cut(parameter, '=', false, &name, &value) || value.length == 0) {
        return false;
    }
    if (name.length == 6 && memcmp(name.at, "cacert", 6) == 0) {
        return decode(value, url->cacert);
    }
    if (name.length == 4 && memcmp(name.at, "cert", 4) == 0) {
        return decode(value, url->cert);
    }
    return name.length == 3 && memcmp(name.at, "key", 3) == 0 && decode(value, url->key);
}

static bool take_files(struct redis_url *url, struct slice query)
{
    struct slice parameter;
    while (cut(query, '&', false, &parameter, &query)) {
        if (!take_file(url, parameter)) {
            return false;
        }
    }
    return take_file(url, query) && !*url->cert == !*url->key;
}

static int parse_tcp(struct redis_url *url, struct slice text, char *error, size_t error_size)
{
    struct slice authority = text, path = {NULL, 0}, query = {NULL, 0}, ignored;
    /* The password may hold a slash or a question mark, so database and files begin at the first
     * one behind the last @. */
    const char *at = memrchr(text.at, '@', text.length);
    size_t before = at ? (size_t)(at - text.at) : 0;
    struct slice tail = {text.at + before, text.length - before};
    if (cut(tail, '?', false, &tail, &query)) {
        authority.length = before + tail.length;
    }
    if (cut(tail, '/', false, &ignored, &path)) {
        authority.length = (size_t)(path.at - 1 - text.at);
    }
    if (!take_user(url, &authority)) {
        return wrong(error, error_size, "user or password is malformed");
    }
    if (!take_host(url, authority)) {
        return wrong(error, error_size, "host or port is missing or malformed");
    }
    if (path.length > 0 && !number(path, DB_MAX, &url->db)) {
        return wrong(error, error_size, "the database is not a number");
    }
    if (query.at != NULL && !url->tls) {
        return wrong(error, error_size, "only rediss:// takes files of certificates");
    }
    if (query.at != NULL && !take_files(url, query)) {
        return wrong(
            error, error_size,
            "behind the ? only cacert=FILE is known, and cert=FILE with key=FILE, joined by &");
    }
    bool v6 = strchr(url->host, ':') != NULL;
    snprintf(url->place, sizeof url->place, "%s://%s%s%s:%d/%d", url->tls ? "rediss" : "redis",
             v6 ? "[" : "", url->host, v6 ? "]" : "", url->port, url->db);
    return 0;
}

int redis_url_parse(struct redis_url *url, const char *text, char *error, size_t error_size)
{
    memset(url, 0, sizeof *url);
    struct slice rest = {text, strlen(text)};
    static const char tcp[] = "redis://", tls[] = "rediss://", local[] = "unix://";
    if (strncmp(text, local, sizeof local - 1) == 0) {
        rest = (struct slice){text + sizeof local - 1, rest.length - (sizeof local - 1)};
        return parse_unix(url, rest, error, error_size);
    }
    url->tls = strncmp(text, tls, sizeof tls - 1) == 0;
    size_t scheme = url->tls ? sizeof tls - 1 : sizeof tcp - 1;
    if (!url->tls && strncmp(text, tcp, sizeof tcp - 1) != 0) {
        return wrong(error, error_size, "it begins with none of redis://, rediss://, unix://");
    }
    rest = (struct slice){text + scheme, rest.length - scheme};
    return parse_tcp(url, rest, error, error_size);
}
