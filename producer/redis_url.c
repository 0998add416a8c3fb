/* redis_url.c: parses a Redis URL. Messages say what is wrong, never what was given: a mistyped URL
 * still holds its password. */
#include "producer/redis_url.h"

#include <stdio.h>
#include <string.h>

#include "schema/text.h"

enum { DEFAULT_PORT = 6379, SENTINEL_PORT = 26379, PORT_MAX = 65535, DB_MAX = 99999 };

struct slice {
    const char *at;
    size_t length;
};

static int wrong(char *error, size_t error_size, const char *what)
{
    snprintf(error, error_size,
             "Redis URL: %s; expected redis://[user:password@]host[:port][/db], "
             "rediss://...[?cacert=FILE&cert=FILE&key=FILE], "
             "redis+sentinel://[user:password@]host[:port],.../NAME[/db], "
             "redis+cluster://[user:password@]host[:port],..., or unix:///path[?db=N]",
             what);
    return -1;
}

/* Copies with percent-decoding. False: too long, a malformed escape, or a NUL in it. */
static bool url_decode(struct slice from, char out[REDIS_URL_PART_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < from.length; i++) {
        int c = (unsigned char)from.at[i];
        if (c == '%') {
            int high = i + 2 < from.length ? text_hex_digit(from.at[i + 1]) : -1;
            int low = high < 0 ? -1 : text_hex_digit(from.at[i + 2]);
            if (low < 0) {
                return false;
            }
            c = high << 4 | low;
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

bool redis_port_parse(const char *text, size_t length, int *port)
{
    return number((struct slice){text, length}, PORT_MAX, port) && *port > 0;
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
        return url_decode(who, url->user);
    }
    return url_decode(user, url->user) && url_decode(password, url->password);
}

static bool take_host(struct slice text, int default_port, char out[REDIS_URL_PART_BYTES],
                      int *port_out)
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
    *port_out = default_port;
    if (port.at != NULL && !redis_port_parse(port.at, port.length, port_out)) {
        return false;
    }
    return host.length > 0 && url_decode(host, out);
}

static bool add_host(struct redis_url *url, struct slice text)
{
    char host[REDIS_URL_PART_BYTES];
    if (url->host_count == REDIS_URL_HOSTS) {
        return false;
    }
    struct redis_host *to = &url->hosts[url->host_count++];
    if (!take_host(text, url->sentinel ? SENTINEL_PORT : DEFAULT_PORT, host, &to->port) ||
        strlen(host) >= sizeof to->host) {
        return false;
    }
    strcpy(to->host, host);
    return true;
}

static bool take_hosts(struct redis_url *url, struct slice text)
{
    struct slice one;
    while (cut(text, ',', false, &one, &text)) {
        if (!add_host(url, one)) {
            return false;
        }
    }
    return add_host(url, text);
}

size_t redis_host_format(char *out, size_t size, const char *host, int port)
{
    bool v6 = strchr(host, ':') != NULL;
    return (size_t)snprintf(out, size, "%s%s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", port);
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
    if (!url_decode(path, url->host) || strlen(url->host) > 107) { /* sockaddr_un */
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

static bool take_yes(struct slice value, bool *out)
{
    *out = value.length == 3 && memcmp(value.at, "yes", 3) == 0;
    return *out;
}

/* Takes name=value: of the files the name is that of redis-cli's option. */
static bool take_parameter(struct redis_url *url, struct slice parameter)
{
    struct {
        const char *name;
        char *out;
        bool allowed;
    } known[] = {
        {"cacert", url->cacert, url->tls || url->sentinel},
        {"cert", url->cert, url->tls || url->sentinel},
        {"key", url->key, url->tls || url->sentinel},
        {"sentinel_user", url->sentinel_user, url->sentinel},
        {"sentinel_password", url->sentinel_password, url->sentinel},
    };
    struct slice name, value;
    if (!cut(parameter, '=', false, &name, &value) || value.length == 0) {
        return false;
    }
    static const char sentinel_tls[] = "sentinel_tls";
    if (url->sentinel && name.length == sizeof sentinel_tls - 1 &&
        memcmp(name.at, sentinel_tls, name.length) == 0) {
        return take_yes(value, &url->sentinel_tls);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].allowed && strlen(known[i].name) == name.length &&
            memcmp(known[i].name, name.at, name.length) == 0) {
            return url_decode(value, known[i].out);
        }
    }
    return false;
}

static bool take_parameters(struct redis_url *url, struct slice query)
{
    struct slice parameter;
    while (cut(query, '&', false, &parameter, &query)) {
        if (!take_parameter(url, parameter)) {
            return false;
        }
    }
    if (!take_parameter(url, query)) {
        return false;
    }
    bool files = url->cacert[0] != '\0' || url->cert[0] != '\0';
    return (!files || url->tls || url->sentinel_tls) &&
           (url->cert[0] == '\0') == (url->key[0] == '\0');
}

/* Says whether a parameter is that of unix:// alone, which some other clients take everywhere. */
static bool has_db(struct slice query)
{
    struct slice parameter;
    while (cut(query, '&', false, &parameter, &query)) {
        if (parameter.length >= 3 && memcmp(parameter.at, "db=", 3) == 0) {
            return true;
        }
    }
    return query.length >= 3 && memcmp(query.at, "db=", 3) == 0;
}

/* Takes NAME[/DB]. */
static bool take_service(struct redis_url *url, struct slice path)
{
    struct slice name = path, db = {NULL, 0};
    char service[REDIS_URL_PART_BYTES];
    cut(path, '/', false, &name, &db);
    if (name.length == 0 || !url_decode(name, service) || strlen(service) >= sizeof url->service) {
        return false;
    }
    strcpy(url->service, service);
    return db.length == 0 || number(db, DB_MAX, &url->db);
}

/* Writes the URL again: the scheme and the hosts. Returns how long it is. */
static size_t place_hosts(struct redis_url *url, const char *scheme)
{
    size_t size = sizeof url->place;
    size_t length =
        (size_t)snprintf(url->place, size, "%s%s://", url->tls ? "rediss" : "redis", scheme);
    for (unsigned i = 0; i < url->host_count && length + 1 < size; i++) {
        length += (size_t)snprintf(url->place + length, size - length, "%s", i == 0 ? "" : ",");
        length += redis_host_format(url->place + length, size - length, url->hosts[i].host,
                                    url->hosts[i].port);
    }
    return length < size ? length : size - 1;
}

static int parse_sentinel(struct redis_url *url, struct slice authority, struct slice path,
                          char *error, size_t error_size)
{
    if (!take_hosts(url, authority)) {
        return wrong(error, error_size,
                     "a sentinel's host or port is missing or malformed, or they are more than 16");
    }
    if (path.length == 0 || !take_service(url, path)) {
        return wrong(
            error, error_size,
            "the master's name behind the sentinels is missing, or the database is not a number");
    }
    size_t length = place_hosts(url, "+sentinel");
    snprintf(url->place + length, sizeof url->place - length, "/%s/%d", url->service, url->db);
    return 0;
}

static int parse_cluster(struct redis_url *url, struct slice authority, struct slice path,
                         char *error, size_t error_size)
{
    if (!take_hosts(url, authority)) {
        return wrong(error, error_size,
                     "a node's host or port is missing or malformed, or they are more than 16");
    }
    if (path.length > 0 && (!number(path, DB_MAX, &url->db) || url->db != 0)) {
        return wrong(error, error_size, "a cluster has database 0 only");
    }
    snprintf(url->host, sizeof url->host, "%s", url->hosts[0].host);
    url->port = url->hosts[0].port;
    place_hosts(url, "+cluster");
    return 0;
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
    if (query.at != NULL && has_db(query)) {
        return wrong(error, error_size, "the database is given as /N, not as ?db=N");
    }
    if (query.at != NULL && !url->tls && !url->sentinel) {
        return wrong(error, error_size, "only rediss:// takes files of certificates");
    }
    if (query.at != NULL && !take_parameters(url, query)) {
        return wrong(error, error_size,
                     url->sentinel
                         ? "behind the ? only sentinel_user=, sentinel_password= and "
                           "sentinel_tls=yes are known, and with TLS cacert=FILE, cert=FILE with "
                           "key=FILE, joined by &"
                         : "behind the ? only cacert=FILE is known, and cert=FILE with key=FILE, "
                           "joined by &");
    }
    if (url->sentinel) {
        return parse_sentinel(url, authority, path, error, error_size);
    }
    if (url->cluster) {
        return parse_cluster(url, authority, path, error, error_size);
    }
    if (!take_host(authority, DEFAULT_PORT, url->host, &url->port)) {
        return wrong(error, error_size, "host or port is missing or malformed");
    }
    if (path.length > 0 && !number(path, DB_MAX, &url->db)) {
        return wrong(error, error_size, "the database is not a number");
    }
    char where[REDIS_URL_PART_BYTES + 16];
    redis_host_format(where, sizeof where, url->host, url->port);
    snprintf(url->place, sizeof url->place, "%s://%s/%d", url->tls ? "rediss" : "redis", where,
             url->db);
    return 0;
}

int redis_url_parse(struct redis_url *url, const char *text, char *error, size_t error_size)
{
    memset(url, 0, sizeof *url);
    static const struct {
        const char *begin;
        bool tls, sentinel, cluster;
    } schemes[] = {
        {"redis://", false, false, false},         {"rediss://", true, false, false},
        {"redis+sentinel://", false, true, false}, {"rediss+sentinel://", true, true, false},
        {"redis+cluster://", false, false, true},  {"rediss+cluster://", true, false, true},
    };
    static const char local[] = "unix://";
    struct slice rest = {text, strlen(text)};
    if (strncmp(text, local, sizeof local - 1) == 0) {
        rest = (struct slice){text + sizeof local - 1, rest.length - (sizeof local - 1)};
        return parse_unix(url, rest, error, error_size);
    }
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t scheme = strlen(schemes[i].begin);
        if (strncmp(text, schemes[i].begin, scheme) == 0) {
            url->tls = schemes[i].tls;
            url->sentinel = schemes[i].sentinel;
            url->cluster = schemes[i].cluster;
            rest = (struct slice){text + scheme, rest.length - scheme};
            return parse_tcp(url, rest, error, error_size);
        }
    }
    return wrong(error, error_size,
                 "it begins with none of redis://, rediss://, redis+sentinel://, redis+cluster://, "
                 "unix://");
}
