/* web.c: `blotter web`: serves the page and its JSON API, read-only, from a process of its own.
 *
 * The page's files are public: they hold no data. Everything under /api/ takes the token, as
 * "Authorization: Bearer TOKEN"; the page reads it from the part of its address behind '#', which
 * browsers send to nobody. Host and Origin are checked, so that no other site can ask through a
 * viewer's browser. */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "drainer/commands.h"
#include "drainer/http_server.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/record_json.h"
#include "drainer/settings.h"
#include "drainer/web/api.h"
#include "drainer/web/web_answers.h"
#include "drainer/web/web_live.h"
#include "drainer/web/web_pool.h"
#include "drainer/web/web_status.h"

enum {
    TOKEN_RANDOM_BYTES = 24,
    TOKEN_BYTES_MIN = 16,
    TOKEN_BYTES_MAX = 256,
    CONNECTIONS_MAX = 256,
    CONNECTIONS_MAX_PER_ADDRESS = 32,
    REQUEST_TIMEOUT_S = 30,
    QUERY_TIMEOUT_MS = 5000,
    HOST_BYTES = 256,
};

struct web {
    const struct settings *settings;
    struct event_base *base;
    struct http_server *http;
    struct web_pool *pool;
    struct web_answers *answers;
    struct web_status *status;
    struct web_live *live;
    char token[TOKEN_BYTES_MAX + 1];
};

static const struct api_query api_queries[] = {
#define X(name, parameters, meaning) {#name, parameters},
    API_QUERIES(X)
#undef X
};

/* One API request that waits for its query. */
struct web_request {
    struct http_request *request;
    struct web_waiter *waiter;
    bool has_record; /* the answer ends with a record's bytes */
};

/* --- answers --- */

/* The page may load its own files and nothing else, and no other site may show or read it. */
static const char response_headers[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; worker-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n";

static void web_reply_json(struct http_request *request, int code, const char *text, size_t length)
{
    http_request_reply(request, code, "application/json; charset=utf-8", response_headers, text,
                       length);
}

/* Answers an error as JSON: {"error": reason}. The reason is put into quotes as JSON wants it. */
static void web_refuse(struct http_request *request, int code, const char *reason)
{
    char text[1024];
    size_t length = (size_t)snprintf(text, sizeof text, "{\"error\": \"");
    for (const char *c = reason; *c != '\0' && length < sizeof text - 16; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < ' ') {
            text[length++] = ' ';
        } else {
            if (byte == '"' || byte == '\\') {
                text[length++] = '\\';
            }
            text[length++] = (char)byte;
        }
    }
    length += (size_t)snprintf(text + length, sizeof text - length, "\"}\n");
    web_reply_json(request, code, text, length);
}

/* --- who may ask --- */

/* Compares in a time that does not depend on where the texts differ. */
static bool tokens_equal(const char *given, const char *token)
{
    size_t length = strlen(token);
    unsigned char differs = strlen(given) != length;
    for (size_t i = 0; i < length; i++) {
        differs |= (unsigned char)token[i] ^ (unsigned char)given[differs ? 0 : i];
    }
    return differs == 0;
}

static bool host_is_allowed(const struct web *web, const char *host)
{
    char name[HOST_BYTES];
    if (host == NULL || strlen(host) >= sizeof name) {
        return false;
    }
    snprintf(name, sizeof name, "%s", host);
    char *port = strrchr(name, ':');
    if (port != NULL && strchr(port, ']') == NULL) {
        *port = '\0';
    }
    static const char *const loopback[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof loopback / sizeof loopback[0]; i++) {
        if (strcasecmp(name, loopback[i]) == 0) {
            return true;
        }
    }
    const char *hosts = web->settings->web_hosts;
    size_t length = strlen(name);
    for (const char *at = hosts; at != NULL && *at != '\0';) {
        size_t part = strcspn(at, ",");
        if (part == length && strncasecmp(at, name, part) == 0) {
            return true;
        }
        at += part + (at[part] == ',');
    }
    return false;
}

/* Says whether an Origin is that of the page itself: scheme://HOST. */
static bool origin_is_ours(const char *origin, const char *host)
{
    const char *place = strstr(origin, "://");
    return place != NULL && strcasecmp(place + 3, host) == 0;
}

static bool web_may_ask(struct web *web, struct http_request *request)
{
    const char *host = http_request_header(request, "Host");
    const char *origin = http_request_header(request, "Origin");
    if (!host_is_allowed(web, host)) {
        web_refuse(request, 403, "this Host is not served: name it with the setting web_hosts");
        return false;
    }
    if (origin != NULL && !origin_is_ours(origin, host)) {
        web_refuse(request, 403, "another site's page may not ask");
        return false;
    }
    return true;
}

static bool web_has_token(struct web *web, struct http_request *request)
{
    const char *given = http_request_header(request, "Authorization");
    if (given != NULL && strncmp(given, "Bearer ", 7) == 0 && tokens_equal(given + 7, web->token)) {
        return true;
    }
    web_refuse(request, 401, "open the address that `blotter web` has printed: it holds the token");
    return false;
}

/* --- the API --- */

static void on_request_gone(void *arg)
{
    struct web_request *waiting = arg;
    web_answers_cancel(waiting->waiter);
    free(waiting);
}

/* Decodes a record from its bytes in hexadecimal, as PostgreSQL writes them. Returns JSON of a
 * string that holds JSON, so that no number of the record is read as a double by a browser; "null"
 * where the bytes are no record. The caller frees it. */
static char *record_text_of_hex(const char *hex, size_t digits)
{
    char *decoded = record_json_of_hex(hex, digits);
    json_t *string = decoded == NULL ? json_null() : json_string(decoded);
    char *text =
        memory_or_abort(json_dumps(string == NULL ? json_null() : string, JSON_ENCODE_ANY));
    json_decref(string);
    free(decoded);
    return text;
}

/* Answers {..., "record": text} from an answer that has the record's bytes on a second line. */
static void web_reply_record(struct http_request *request, const char *text, size_t length)
{
    const char *line_end = memchr(text, '\n', length);
    if (line_end == NULL) { /* there is no such reject */
        web_reply_json(request, 200, text, length);
        return;
    }
    char *record = record_text_of_hex(line_end + 1, length - (size_t)(line_end + 1 - text));
    size_t before = (size_t)(line_end - text) - 1; /* without its brace */
    size_t room = before + strlen(record) + 32;
    char *body = memory_or_abort(malloc(room));
    memcpy(body, text, before);
    int behind = snprintf(body + before, room - before, ", \"record\": %s}", record);
    web_reply_json(request, 200, body, before + (size_t)behind);
    free(body);
    free(record);
}

static void web_reply_answer(struct http_request *request, bool has_record, const char *text,
                             size_t length)
{
    if (has_record) {
        web_reply_record(request, text, length);
    } else {
        web_reply_json(request, 200, text, length);
    }
}

static void web_on_answer(void *arg, enum web_answer answer, const char *text, size_t length)
{
    struct web_request *waiting = arg;
    struct http_request *request = waiting->request;
    bool has_record = waiting->has_record;
    free(waiting);
    switch (answer) {
    case WEB_ANSWER_OK:
        web_reply_answer(request, has_record, text, length);
        break;
    case WEB_ANSWER_AWAY:
        web_refuse(request, 503, text);
        break;
    case WEB_ANSWER_TIMEOUT:
        web_refuse(request, 504,
                   "the query took longer than 5 s: ask for less, a shorter time or one strategy");
        break;
    default:
        web_refuse(request, 400, text);
    }
}

/* Reads the parameters that the query takes; others are ignored. False: one of them cannot be read,
 * which has been answered: without it the answer would be to another question. */
static bool api_read(const struct api_query *query, struct http_request *request,
                     struct api_values *values)
{
    values->count = 0;
    for (const char *at = query->parameters; *at != '\0';) {
        char name[32];
        size_t length = strcspn(at, " ");
        int n = values->count++;
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        assert(n < API_PARAMETERS_MAX);
        enum http_query given =
            http_request_query(request, name, values->bytes[n], API_VALUE_BYTES);
        if (given == HTTP_QUERY_BAD) {
            char reason[96];
            snprintf(reason, sizeof reason,
                     "the parameter %s is malformed, or longer than %d bytes", name,
                     API_VALUE_BYTES - 1);
            web_refuse(request, 400, reason);
            return false;
        }
        values->value[n] = given == HTTP_QUERY_GIVEN ? values->bytes[n] : NULL;
        at += length + (at[length] == ' ');
    }
    return true;
}

static void api_answer(struct web *web, struct http_request *request, const struct api_query *query)
{
    struct api_values values;
    bool has_record = strcmp(query->name, "reject") == 0;
    unsigned generation = web_live_generation(web->live);
    const char *text;
    size_t length;

    if (!api_read(query, request, &values)) {
        return;
    }
    if (web_answers_find(web->answers, query, &values, generation, &text, &length)) {
        web_reply_answer(request, has_record, text, length);
        return;
    }
    struct web_request *waiting = memory_or_abort(calloc(1, sizeof *waiting));
    *waiting = (struct web_request){.request = request, .has_record = has_record};
    waiting->waiter =
        web_answers_ask(web->answers, query, &values, generation, web_on_answer, waiting);
    if (waiting->waiter == NULL) {
        free(waiting);
        web_refuse(request, 503, "too many queries wait: ask again");
    } else {
        http_request_on_closed(request, on_request_gone, waiting);
    }
}

static void api_route(struct web *web, struct http_request *request, const char *name)
{
    if (!web_has_token(web, request)) {
        return;
    }
    if (strcmp(name, "live") == 0) {
        web_live_add(web->live, request, response_headers);
        return;
    }
    for (size_t i = 0; i < sizeof api_queries / sizeof *api_queries; i++) {
        if (strcmp(name, api_queries[i].name) == 0) {
            api_answer(web, request, &api_queries[i]);
            return;
        }
    }
    web_refuse(request, 404, "/openapi.json lists what there is");
}

static void on_web_request(struct http_request *request, void *arg)
{
    struct web *web = arg;
    const char *path = http_request_path(request);
    if (!web_may_ask(web, request)) {
        return;
    }
    path = strcmp(path, "/") == 0 ? "/index.html" : path;
    if (strncmp(path, "/api/", 5) == 0) {
        api_route(web, request, path + 5);
        return;
    }
    for (size_t i = 0; i < page_file_count; i++) {
        if (strcmp(path, page_files[i].path) == 0) {
            http_request_reply(request, 200, page_files[i].type, response_headers,
                               page_files[i].bytes, page_files[i].length);
            return;
        }
    }
    web_refuse(request, 404, "/openapi.json lists what there is");
}

/* --- start and end --- */

static bool token_is_plain(const char *token)
{
    size_t length =
        strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-");
    return token[length] == '\0' && length >= TOKEN_BYTES_MIN && length <= TOKEN_BYTES_MAX;
}

static int token_read(struct web *web, const char *path)
{
    char line[TOKEN_BYTES_MAX + 2] = "";
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(line, sizeof line, file) == NULL) {
        int error = errno;
        if (file != NULL) {
            fclose(file);
        }
        return command_fail(web->settings, EXIT_CODE_USAGE, "setting web_token_file: %s: %s", path,
                            file == NULL ? strerror(error) : "it holds no line");
    }
    fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    if (!token_is_plain(line)) {
        return command_fail(web->settings, EXIT_CODE_USAGE,
                            "setting web_token_file: %s: its first line has to be %d to %d "
                            "letters, digits or ._~-",
                            path, TOKEN_BYTES_MIN, TOKEN_BYTES_MAX);
    }
    memcpy(web->token, line, strlen(line) + 1);
    return EXIT_CODE_DONE;
}

static int token_make(struct web *web)
{
    unsigned char random[TOKEN_RANDOM_BYTES];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return command_fail(web->settings, EXIT_CODE_USAGE, "no random bytes for the token: %s",
                            strerror(errno));
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(web->token + 2 * i, 3, "%02x", random[i]);
    }
    return EXIT_CODE_DONE;
}

static void on_web_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

static void web_run(struct web *web)
{
    struct event *term = evsignal_new(web->base, SIGTERM, on_web_signal, web->base);
    struct event *interrupt = evsignal_new(web->base, SIGINT, on_web_signal, web->base);
    evsignal_add(term, NULL);
    evsignal_add(interrupt, NULL);
    event_base_dispatch(web->base);
    event_free(term);
    event_free(interrupt);
}

static int web_listen(struct web *web)
{
    char error[256];
    const struct http_server_options options = {
        .where = web->settings->listen,
        .max_connections = CONNECTIONS_MAX,
        .max_per_address = CONNECTIONS_MAX_PER_ADDRESS,
        .request_timeout_s = REQUEST_TIMEOUT_S,
        .handler = on_web_request,
        .arg = web,
    };
    web->http = http_server_open(web->base, &options, error, sizeof error);
    if (web->http == NULL) {
        return command_fail(web->settings, EXIT_CODE_USAGE, "setting listen: %s", error);
    }
    /* the one line on stdout, for people and scripts */
    const char *address = http_server_address(web->http);
    if (web->settings->web_token_file == NULL) {
        printf("http://%s/#%s\n", address, web->token);
    } else {
        printf("http://%s/#TOKEN, with the token of %s\n", address, web->settings->web_token_file);
    }
    fflush(stdout);
    return EXIT_CODE_DONE;
}

int command_web(const struct settings *settings)
{
    struct web web = {.settings = settings};
    if (page_file_count == 0) {
        log_warn("web", "this build has no page, only the API, as npm was missing: "
                        "deploy/packages.sh page, then make");
    }
    int code = settings->web_token_file == NULL ? token_make(&web)
                                                : token_read(&web, settings->web_token_file);
    if (code != EXIT_CODE_DONE) {
        return code;
    }
    web.base = event_base_new();
    web.pool = web_pool_create(web.base, settings, QUERY_TIMEOUT_MS);
    web.status = web_status_create(web.base, settings);
    web.answers = web_answers_create(web.pool);
    web.live = web_live_create(web.base, web.pool, web.status);
    code = web_listen(&web);
    if (code == EXIT_CODE_DONE) {
        web_pool_ask(web.pool, "SELECT 1", 0, NULL, NULL, NULL); /* a pooler shows at once */
        web_run(&web);
        code = web_pool_exit_code(web.pool);
    }
    web_live_destroy(web.live);
    http_server_close(web.http);
    web_status_destroy(web.status);
    web_answers_destroy(web.answers);
    web_pool_destroy(web.pool);
    event_base_free(web.base);
    return code;
}
