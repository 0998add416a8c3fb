/* fuzz_link.c: whatever a server sends on a connection: redis_link.h from its greeting on, with
 * redis_reader.h between the socket and hiredis.
 *
 * The first byte says in which pieces it comes and what the connection is for. It is checked that
 * every command gets its one callback, that a string which is too long comes in pieces and never as
 * a whole, and that the owner hears of up and down in turns. */
#include <errno.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "producer/redis_link.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STRING_BYTES = 48, COMMANDS = 3, TURNS = 64, TAKES_PIECES = 1, HAS_DATABASE = 2 };

static struct event_base *base;
static struct sockaddr_un place = {.sun_family = AF_UNIX};
static int listener;

struct owner {
    struct redis_link *link;
    bool up;
    unsigned sent, answered;
    uint64_t total, come; /* of the string that comes in pieces */
    char last;
};

static void remove_socket(void)
{
    unlink(place.sun_path);
}

static void begin(void)
{
    snprintf(place.sun_path, sizeof place.sun_path, "/dev/shm/fuzz_link.%d", (int)getpid());
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    unlink(place.sun_path);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&place, sizeof place) == 0);
    CHECK(listen(listener, 4) == 0);
    atexit(remove_socket);
    base = event_base_new();
}

/* --- the owner --- */

/* Looks at all of an answer, so that a sanitizer sees what is not there. */
static size_t measure(const redisReply *reply)
{
    size_t bytes = 1;

    if (reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements; i++) {
            bytes += measure(reply->element[i]);
        }
    } else if (reply->str != NULL) {
        CHECK(strlen(reply->str) <= reply->len);
        CHECK(reply->type != REDIS_REPLY_STRING || reply->len <= STRING_BYTES + 1);
        bytes += reply->len;
    }
    return bytes;
}

static void on_answer(void *arg, uintptr_t tag, struct redisReply *reply)
{
    struct owner *owner = arg;

    CHECK(tag == owner->answered % COMMANDS);
    owner->answered++;
    if (reply != NULL) {
        measure(reply);
    }
}

static void on_piece(void *arg, uint64_t total, const char *bytes, size_t length)
{
    struct owner *owner = arg;

    owner->come = owner->total != total || owner->come == total ? 0 : owner->come;
    owner->total = total;
    owner->come += length;
    CHECK(total > STRING_BYTES && length > 0 && owner->come <= total);
    owner->last = bytes[length - 1];
}

static void on_change(void *arg, bool up, const char *why)
{
    struct owner *owner = arg;
    const char *argv[] = {"XRANGE", "key", "-", "+"};

    CHECK(up != owner->up && why[0] != '\0');
    owner->up = up;
    for (uintptr_t i = 0; up && i < COMMANDS; i++) {
        owner->sent += redis_link_sendv(owner->link, on_answer, i, 4, argv) == 0;
    }
}

/* --- the server --- */

static int serve(const uint8_t *data, size_t size, size_t piece)
{
    int fd = -1;

    for (int turn = 0; turn < TURNS && fd < 0; turn++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    }
    CHECK(fd >= 0);
    for (size_t at = 0; at < size; at += piece) {
        size_t part = size - at < piece ? size - at : piece;

        if (send(fd, data + at, part, MSG_NOSIGNAL) != (ssize_t)part) {
            break;
        }
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char url[160], error[256];
    unsigned choice = size > 0 ? data[0] : 0;
    struct owner owner = {.up = false};

    if (base == NULL) {
        begin();
    }
    snprintf(url, sizeof url, "unix://:password@%s%s", place.sun_path,
             (choice & HAS_DATABASE) != 0 ? "?db=2" : "");
    struct redis_link_options options = {.base = base,
                                         .url = url,
                                         .name = (choice & HAS_DATABASE) != 0 ? "fuzz" : NULL,
                                         .on_change = on_change,
                                         .owner = &owner,
                                         .string_bytes = STRING_BYTES,
                                         .on_piece = (choice & TAKES_PIECES) != 0 ? on_piece : NULL,
                                         .reply_privdata = &owner};
    owner.link = redis_link_create(&options, error, sizeof error);
    CHECK(owner.link != NULL);
    redis_link_start(owner.link);
    int fd = serve(size > 0 ? data + 1 : data, size > 0 ? size - 1 : 0, 1 + choice / 4);
    redis_link_destroy(owner.link);
    close(fd);
    CHECK(owner.answered == owner.sent);
    return 0;
}
