/* questdb_link.c: see questdb_link.h. libevent may not free a connection inside of its callbacks,
 * so an answer is copied, and handed over from the event loop. */
#include "drainer/mirror/questdb_link.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/mirror/base64.h"
#include "drainer/mirror/questdb_tls.h"

enum {
    ANSWER_BYTES = 256 << 20, /* of a list of rejects */
    HEAD_BYTES = 2 * QUESTDB_PART_BYTES + 2,
};

struct questdb_link {
    struct event_base *base;
    struct questdb_conf conf;
    struct questdb_tls *tls; /* NULL: without */
    struct evhttp_connection *connection;
    bool ended; /* the connection cannot be used any more */
    char authorization[4 * HEAD_BYTES / 3 + 16];
    struct event *delivery;
    bool busy;
    questdb_reply *reply;
    void *owner;
    int code;
    char *body;
    size_t length;
    char why[256]; /* there is no answer */
};

/* --- what an answer means --- */

static bool is_passing(int code)
{
    return code == 0 || code == 408 || code == 429 || code >= 500;
}

/* Reads the message, and the line that it names, of an error as QuestDB writes it. */
static void read_error(struct questdb_answer *answer)
{
    json_t *json = json_loadb(answer->body, answer->length, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "message"));
    const char *error = json_string_value(json_object_get(json, "error"));
    json_int_t line = json_integer_value(json_object_get(json, "line"));

    answer->line = line > 0 ? (size_t)line : 0;
    snprintf(answer->message, sizeof answer->message, "HTTP %d: %.400s", answer->code,
             text != NULL    ? text
             : error != NULL ? error
                             : answer->body);
    for (char *at = answer->message; *at != '\0'; at++) {
        *at = *at == '\n' || *at == '\r' ? ' ' : *at;
    }
    json_decref(json);
}

static void judge_answer(const struct questdb_link *link, struct questdb_answer *answer)
{
    if (answer->code >= 200 && answer->code < 300) {
        answer->action = QUESTDB_DONE;
        return;
    }
    if (answer->code == 0) {
        answer->action = QUESTDB_RETRY;
        snprintf(answer->message, sizeof answer->message, "%s", link->why);
        return;
    }
    read_error(answer);
    if (answer->code == 401 || answer->code == 403) {
        snprintf(answer->message, sizeof answer->message,
                 "HTTP %d: the server refuses user, password or right: see questdb_password_file",
                 answer->code);
    }
    answer->action = is_passing(answer->code)                  ? QUESTDB_RETRY
                     : answer->code == 400 && answer->line > 0 ? QUESTDB_RECORD
                                                               : QUESTDB_PERSON;
}

/* --- the answer --- */

static void on_delivery(evutil_socket_t fd, short what, void *arg)
{
    struct questdb_link *link = arg;
    char *body = link->body;
    struct questdb_answer answer = {
        .code = link->code, .body = body == NULL ? "" : body, .length = link->length};

    (void)fd, (void)what;
    link->body = NULL;
    link->length = 0;
    link->busy = false;
    if (link->ended && link->connection != NULL) {
        evhttp_connection_free(link->connection);
        link->connection = NULL;
    }
    judge_answer(link, &answer);
    link->reply(link->owner, &answer);
    free(body);
}

static void deliver(struct questdb_link *link)
{
    event_active(link->delivery, EV_TIMEOUT, 0);
}

static void on_request_error(enum evhttp_request_error error, void *arg)
{
    static const char *const texts[] = {[EVREQ_HTTP_TIMEOUT] = "no answer within request_timeout",
                                        [EVREQ_HTTP_EOF] = "the connection was closed",
                                        [EVREQ_HTTP_INVALID_HEADER] = "the answer is not HTTP",
                                        [EVREQ_HTTP_BUFFER_ERROR] = "the connection is lost",
                                        [EVREQ_HTTP_REQUEST_CANCEL] = "the request was cancelled",
                                        [EVREQ_HTTP_DATA_TOO_LONG] = "the answer is too long"};
    struct questdb_link *link = arg;

    snprintf(link->why, sizeof link->why, "%s", texts[error]);
}

static void on_response(struct evhttp_request *request, void *arg)
{
    struct questdb_link *link = arg;

    link->code = request == NULL ? 0 : evhttp_request_get_response_code(request);
    if (link->code == 0) {
        link->ended = true;
        if (link->tls != NULL) {
            questdb_tls_explain(evhttp_connection_get_bufferevent(link->connection), link->why,
                                sizeof link->why);
        }
    } else {
        struct evbuffer *body = evhttp_request_get_input_buffer(request);

        link->length = evbuffer_get_length(body);
        link->body = memory_or_abort(malloc(link->length + 1));
        evbuffer_remove(body, link->body, link->length);
        link->body[link->length] = '\0';
    }
    deliver(link);
}

static void on_closed(struct evhttp_connection *connection, void *arg)
{
    struct questdb_link *link = arg;

    (void)connection;
    link->ended = true;
}

/* --- requests --- */

/* Makes a connection, unless there is one. False: there is no memory or descriptor for it. */
static bool connect_if_needed(struct questdb_link *link)
{
    struct bufferevent *stream = NULL;

    if (link->connection != NULL && !link->ended) {
        return true;
    }
    if (link->connection != NULL) {
        evhttp_connection_free(link->connection);
        link->connection = NULL;
    }
    if (link->tls != NULL &&
        (stream = questdb_tls_stream(link->tls, link->base, link->conf.host)) == NULL) {
        return false;
    }
    link->ended = false;
    link->connection = evhttp_connection_base_bufferevent_new(
        link->base, NULL, stream, link->conf.host, (unsigned short)link->conf.port);
    if (link->connection == NULL) {
        return false;
    }
    struct timeval timeout = {link->conf.timeout_ms / 1000, link->conf.timeout_ms % 1000 * 1000};
    evhttp_connection_set_timeout_tv(link->connection, &timeout);
    evhttp_connection_set_max_body_size(link->connection, ANSWER_BYTES);
    evhttp_connection_set_closecb(link->connection, on_closed, link);
    return true;
}

static void add_headers(const struct questdb_link *link, struct evhttp_request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

    evhttp_add_header(headers, "Host", strstr(link->conf.place, "//") + 2);
    evhttp_add_header(headers, "User-Agent", "blotter");
    evhttp_add_header(headers, "Content-Type", "text/plain; charset=utf-8");
    if (link->authorization[0] != '\0') {
        evhttp_add_header(headers, "Authorization", link->authorization);
    }
}

static void request(struct questdb_link *link, enum evhttp_cmd_type type, const char *path,
                    struct evbuffer *body, questdb_reply *reply, void *owner)
{
    assert(!link->busy);
    link->busy = true;
    link->reply = reply;
    link->owner = owner;
    link->code = 0;
    snprintf(link->why, sizeof link->why, "cannot connect");
    struct evhttp_request *sent =
        connect_if_needed(link) ? evhttp_request_new(on_response, link) : NULL;
    if (sent == NULL) {
        deliver(link);
        return;
    }
    evhttp_request_set_error_cb(sent, on_request_error);
    add_headers(link, sent);
    if (body != NULL) {
        evbuffer_add_buffer(evhttp_request_get_output_buffer(sent), body);
    }
    if (evhttp_make_request(link->connection, sent, type, path) != 0) {
        link->ended = true; /* libevent has freed the request */
        deliver(link);
    }
}

void questdb_write(struct questdb_link *link, struct evbuffer *lines, questdb_reply *reply,
                   void *owner)
{
    request(link, EVHTTP_REQ_POST, "/write?precision=u", lines, reply, owner);
}

void questdb_exec(struct questdb_link *link, const char *sql, questdb_reply *reply, void *owner)
{
    char *encoded = memory_or_abort(evhttp_uriencode(sql, -1, 0));
    size_t size = strlen(encoded) + 32;
    char *path = memory_or_abort(malloc(size));

    snprintf(path, size, "/exec?query=%s", encoded);
    request(link, EVHTTP_REQ_GET, path, NULL, reply, owner);
    free(encoded);
    free(path);
}

void questdb_get(struct questdb_link *link, const char *path, questdb_reply *reply, void *owner)
{
    request(link, EVHTTP_REQ_GET, path, NULL, reply, owner);
}

const char *questdb_link_place(const struct questdb_link *link)
{
    return link->conf.place;
}

/* --- life --- */

static void authorize(struct questdb_link *link)
{
    const struct questdb_conf *conf = &link->conf;
    char both[HEAD_BYTES];

    if (conf->token[0] != '\0') {
        snprintf(link->authorization, sizeof link->authorization, "Bearer %s", conf->token);
    } else if (conf->username[0] != '\0') {
        int length = snprintf(both, sizeof both, "%s:%s", conf->username, conf->password);

        snprintf(link->authorization, sizeof link->authorization, "Basic ");
        base64_encode(link->authorization + strlen("Basic "), both, (size_t)length);
        explicit_bzero(both, sizeof both);
    }
}

struct questdb_link *questdb_link_create(struct event_base *base, const struct questdb_conf *conf,
                                         char *error, size_t error_size)
{
    struct questdb_link *link = memory_or_abort(calloc(1, sizeof *link));

    link->base = base;
    link->conf = *conf;
    if (conf->tls && (link->tls = questdb_tls_create(conf, error, error_size)) == NULL) {
        free(link);
        return NULL;
    }
    authorize(link);
    link->delivery = event_new(base, -1, 0, on_delivery, link);
    return link;
}

void questdb_link_destroy(struct questdb_link *link)
{
    if (link == NULL) {
        return;
    }
    if (link->connection != NULL) {
        evhttp_connection_free(link->connection);
    }
    event_free(link->delivery);
    questdb_tls_destroy(link->tls);
    free(link->body);
    explicit_bzero(&link->conf, sizeof link->conf);
    explicit_bzero(link->authorization, sizeof link->authorization);
    free(link);
}
