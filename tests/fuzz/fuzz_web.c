/* fuzz_web.c: what a browser, or anybody who can connect, sends to `blotter web`: through the HTTP
 * server, which `drain --metrics` has as well, and the checks of Host, Origin and token to the
 * parameters of the API.
 *
 * The first byte says in which pieces the request comes. PostgreSQL is away, so a question that
 * gets so far is answered 503. It is checked that each answer is HTTP and nothing else, that what
 * went into it has not changed its head, and that nobody gets data without the token. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "drainer/self_spawn.h"
/* taken apart, as its command runs until a signal comes */
#include "drainer/web/web.c"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IDLE_TURNS = 4, ANSWER_BYTES = 65536, TRIES = 100 };

struct page_file page_files[] = {
    {"/index.html", "text/html", (const unsigned char *)"a page\n", 7}};
const size_t page_file_count = sizeof page_files / sizeof page_files[0];

static const char token[] = "0123456789abcdef";
static struct web web;
static struct sockaddr_in place = {.sin_family = AF_INET};

/* No child is started, as it would be this program again. */
pid_t self_spawn(const struct settings *settings, enum command_id command, char *const argv[],
                 int out, int err)
{
    (void)settings, (void)command, (void)argv, (void)out, (void)err;
    errno = EAGAIN;
    return -1;
}

int command_fail(const struct settings *settings, enum exit_code code, const char *format, ...)
{
    (void)settings, (void)format;
    return code;
}

/* Chooses a free port. */
static void choose_port(char *listen, size_t size)
{
    socklen_t length = sizeof place;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    place.sin_port = 0;
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&place, sizeof place) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&place, &length) == 0);
    close(fd);
    snprintf(listen, size, "127.0.0.1:%d", ntohs(place.sin_port));
}

static void begin(void)
{
    static struct settings settings = {.postgres = (char *)"host=/nowhere",
                                       .web_hosts = (char *)"desk.example,other",
                                       .web_token_file = (char *)"-"};
    static char listen[32];
    int tries = 0;

    log_open(LOG_ERROR);
    memcpy(web.token, token, sizeof token);
    settings.listen = listen;
    web.settings = &settings;
    web.base = event_base_new();
    web.pool = web_pool_create(web.base, &settings, QUERY_TIMEOUT_MS);
    web.status = web_status_create(web.base, &settings);
    web.answers = web_answers_create(web.pool);
    web.live = web_live_create(web.base, web.pool, web.status);
    do {
        choose_port(listen, sizeof listen);
        CHECK(tries++ < TRIES);
    } while (web_listen(&web) != EXIT_CODE_DONE);
}

/* --- a request and its answer --- */

static int connect_to_web(void)
{
    /* the end is a reset: ports that wait would run out */
    struct linger at_once = {.l_onoff = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    CHECK(connect(fd, (struct sockaddr *)&place, sizeof place) == 0);
    return fd;
}

static ssize_t take_answer(int fd, char *answer, size_t length)
{
    event_base_loop(web.base, EVLOOP_NONBLOCK);
    CHECK(length < ANSWER_BYTES);
    return recv(fd, answer + length, ANSWER_BYTES - length, MSG_DONTWAIT);
}

static size_t ask(const uint8_t *data, size_t size, size_t piece, char answer[ANSWER_BYTES])
{
    int fd = connect_to_web();
    size_t length = 0;
    ssize_t got = -1;

    for (size_t at = 0; at < size; at += piece) {
        size_t part = size - at < piece ? size - at : piece;

        if (send(fd, data + at, part, MSG_NOSIGNAL) != (ssize_t)part) {
            break;
        }
        event_base_loop(web.base, EVLOOP_NONBLOCK);
    }
    for (int idle = 0; got != 0 && idle < IDLE_TURNS; idle++) {
        got = take_answer(fd, answer, length);
        length += got > 0 ? (size_t)got : 0;
        idle = got > 0 ? 0 : idle;
    }
    close(fd);
    event_base_loop(web.base, EVLOOP_NONBLOCK);
    return length;
}

/* --- what must hold --- */

static bool holds(const uint8_t *data, size_t size, const char *text)
{
    return memmem(data, size, text, strlen(text)) != NULL;
}

static bool is_known_line(const char *line)
{
    static const char *const names[] = {"HTTP/1.1 ",
                                        "Content-Type: ",
                                        "Content-Length: ",
                                        "Cache-Control: ",
                                        "Connection: ",
                                        "Content-Security-Policy: ",
                                        "Referrer-Policy:",
                                        "X-Content-Type-Options:",
                                        "Cross-Origin-Opener-Policy:",
                                        "Cross-Origin-Resource-Policy:"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncmp(line, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* Reads the head, whose lines end with NUL then. Returns the length of the body that it tells;
 * SIZE_MAX: a stream of events. */
static size_t check_head(char *head, int *code)
{
    size_t length = SIZE_MAX;
    char *rest = NULL;

    CHECK(sscanf(head, "HTTP/1.1 %d ", code) == 1);
    for (char *line = strtok_r(head, "\r\n", &rest); line != NULL;
         line = strtok_r(NULL, "\r\n", &rest)) {
        CHECK(is_known_line(line));
        if (strncmp(line, "Content-Length: ", 16) == 0) {
            length = strtoul(line + 16, NULL, 10);
        }
    }
    return length;
}

static void check_body(const char *body, size_t length, int code)
{
    json_t *json;

    if (length == 0 || body[0] != '{') { /* of HEAD; the page; what is no request */
        CHECK(code == 200 || code == 400 || code == 405 || code == 431 || length == 0);
        return;
    }
    CHECK(code != 200);
    json = json_loadb(body, length, 0, NULL);
    CHECK(json_is_string(json_object_get(json, "error")));
    json_decref(json);
}

static void check_answer(char *answer, size_t length, const uint8_t *data, size_t size)
{
    char *end = memmem(answer, length, "\r\n\r\n", 4), *body = end + 4;
    int code = 0;

    CHECK(end != NULL);
    end[2] = '\0';
    size_t behind = length - (size_t)(body - answer), told = check_head(answer, &code);
    if (told == SIZE_MAX) {
        CHECK(code == 200 && holds(data, size, token));
        return;
    }
    CHECK(behind == told || (behind == 0 && holds(data, size, "HEAD ")));
    check_body(body, behind, code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[ANSWER_BYTES + 1];

    if (web.base == NULL) {
        begin();
    }
    if (size < 2) {
        return 0;
    }
    size_t length = ask(data + 1, size - 1, data[0] == 0 ? size : data[0], answer);
    answer[length] = '\0';
    if (length > 0) {
        check_answer(answer, length, data + 1, size - 1);
    }
    return 0;
}
