/* redis_reader.c: see redis_reader.h.
 *
 * hiredis keeps bytes in its reader until a value is complete. A string that is not complete yet
 * stands there as its length and what has come of it: "1048576\r\nabc", the type before it being
 * consumed. Nothing else is left standing with digits and an end of line, so that is how a string
 * that is too long is found, before each read. From then on its bytes are read here, and at its end
 * hiredis' reader gets a shorter string in its place.
 *
 * hiredis frees the connection inside of redisAsyncHandleRead, and this with it (on_cleanup), so
 * nothing is touched behind that call. */
#include "producer/redis_reader.h"

#include <errno.h>
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/sds.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schema/clock.h"

enum {
    STRING_BYTES_MAX = 1 << 20,
    ANSWER_BYTES_MAX = 16 << 20, /* all strings of an answer together ... */
    ANSWER_ELEMENTS_MAX = 65536, /* ... and all elements of its arrays */
    PIECE_BYTES = 65536,
    PIECES_PER_TURN = 16, /* others of the loop have their turn in between */
    LENGTH_DIGITS_MAX = 20,
    LINE_END = 2, /* "\r\n" */
};

struct redis_reader {
    redisAsyncContext *context;
    struct redis_reader_options options;
    struct event *readable, *writable;
    int64_t heard_ms;
    size_t answer_bytes, answer_elements; /* of the answer being read */

    /* the string that is too long, while it arrives */
    uint64_t total,
        left;           /* its bytes; those to come, with its end of line. left 0: there is none */
    char *head, *piece; /* its first string_bytes + 1; a buffer */
    size_t head_length;
};

/* --- a string that is too long --- */

/* Finds the length of the string at the reader's position, and where its bytes begin. False: no
 * string stands there. */
static bool find_string(const redisReader *reader, uint64_t *length, size_t *begin)
{
    const char *at = reader->buf + reader->pos, *end = reader->buf + reader->len;
    int digits = 0;

    *length = 0;
    for (; at < end && *at >= '0' && *at <= '9' && digits < LENGTH_DIGITS_MAX; at++, digits++) {
        *length = *length * 10 + (uint64_t)(*at - '0');
    }
    if (digits == 0 || digits == LENGTH_DIGITS_MAX || end - at < LINE_END || *at != '\r') {
        return false;
    }
    *begin = (size_t)(at + LINE_END - reader->buf);
    return true;
}

/* Takes bytes of the string, of which the last two are its end of line. */
static void take_piece(struct redis_reader *reader, const char *bytes, size_t length)
{
    uint64_t of_string = reader->left > LINE_END ? reader->left - LINE_END : 0;
    size_t wanted = reader->options.string_bytes + 1 - reader->head_length;
    size_t part = length < of_string ? length : (size_t)of_string;

    wanted = part < wanted ? part : wanted;
    memcpy(reader->head + reader->head_length, bytes, wanted);
    reader->head_length += wanted;
    reader->left -= length;
    if (part > 0) {
        reader->options.on_piece(reader->options.piece_owner, reader->total, bytes, part);
    }
}

/* Looks whether the string that hiredis waits for is too long. Returns false: it is, and nothing
 * can be done with it, so the connection is given up. */
static bool begin_long_string(struct redis_reader *reader)
{
    redisReader *hiredis = reader->context->c.reader;
    uint64_t length;
    size_t begin, there;

    if (!find_string(hiredis, &length, &begin) || length <= reader->options.string_bytes) {
        return true;
    }
    if (reader->options.on_piece == NULL) {
        return false;
    }
    reader->head = malloc(reader->options.string_bytes + 1);
    reader->piece = malloc(PIECE_BYTES);
    if (reader->head == NULL || reader->piece == NULL) {
        return false;
    }
    reader->head_length = 0;
    reader->total = length;
    reader->left = length + LINE_END;
    there = hiredis->len - begin;
    take_piece(reader, hiredis->buf + begin, there < reader->left ? there : (size_t)reader->left);
    hiredis->len = hiredis->pos;
    hiredis->buf[hiredis->len] = '\0';
    sdssetlen(hiredis->buf, hiredis->len);
    return true;
}

/* Hands hiredis the beginning of a string that has come, as if that were all. */
static void end_long_string(struct redis_reader *reader)
{
    redisReader *hiredis = reader->context->c.reader;
    char line[32];

    redisReaderFeed(hiredis, line,
                    (size_t)snprintf(line, sizeof line, "%zu\r\n", reader->head_length));
    redisReaderFeed(hiredis, reader->head, reader->head_length);
    redisReaderFeed(hiredis, "\r\n", LINE_END);
    free(reader->head);
    free(reader->piece);
    reader->head = reader->piece = NULL;
}

/* Reads up to `size` bytes. 0: none are there; -1: hiredis finds out why when it reads. */
static ssize_t read_bytes(struct redis_reader *reader, char *out, size_t size)
{
#if HIREDIS_MAJOR >= 1
    return reader->context->c.funcs->read(&reader->context->c, out, size);
#else
    ssize_t got = read(reader->context->c.fd, out, size);

    if (got > 0) {
        return got;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
#endif
}

/* Reads more of the string. True: it is at its end, or the connection is. */
static bool read_long_string(struct redis_reader *reader)
{
    for (int i = 0; i < PIECES_PER_TURN && reader->left > 0; i++) {
        size_t wanted = reader->left < PIECE_BYTES ? (size_t)reader->left : PIECE_BYTES;
        ssize_t got = read_bytes(reader, reader->piece, wanted);

        if (got <= 0) {
            return got < 0;
        }
        take_piece(reader, reader->piece, (size_t)got);
    }
    if (reader->left > 0) {
        event_active(reader->readable, EV_READ, 0); /* TLS may hold bytes that no socket shows */
        return false;
    }
    end_long_string(reader);
    return true;
}

/* --- events --- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_reader *reader = arg;

    (void)fd, (void)what;
    reader->heard_ms = clock_monotonic_coarse_ms();
    if (reader->left == 0 && !begin_long_string(reader)) {
        reader->options.on_fault(reader->options.owner,
                                 "Redis sends a string that is longer than any answer's");
        event_del(reader->readable);
        return;
    }
    if (reader->left == 0 || read_long_string(reader)) {
        redisAsyncHandleRead(reader->context);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_reader *reader = arg;

    (void)fd, (void)what;
    redisAsyncHandleWrite(reader->context);
}

static void add_read(void *arg)
{
    event_add(((struct redis_reader *)arg)->readable, NULL);
}

static void delete_read(void *arg)
{
    event_del(((struct redis_reader *)arg)->readable);
}

static void add_write(void *arg)
{
    event_add(((struct redis_reader *)arg)->writable, NULL);
}

static void delete_write(void *arg)
{
    event_del(((struct redis_reader *)arg)->writable);
}

static void redis_reader_release(struct redis_reader *reader)
{
    if (reader->readable != NULL) {
        event_free(reader->readable);
    }
    if (reader->writable != NULL) {
        event_free(reader->writable);
    }
    free(reader->head);
    free(reader->piece);
    free(reader);
}

static void on_cleanup(void *arg)
{
    redis_reader_release(arg);
}

struct redis_reader *redis_reader_attach(struct redisAsyncContext *context, struct event_base *base,
                                         const struct redis_reader_options *options)
{
    struct redis_reader *reader = calloc(1, sizeof *reader);

    if (reader == NULL) {
        return NULL;
    }
    reader->context = context;
    reader->options = *options;
    if (options->string_bytes == 0) {
        reader->options.string_bytes = STRING_BYTES_MAX;
    }
    reader->readable = event_new(base, context->c.fd, EV_READ | EV_PERSIST, on_readable, reader);
    reader->writable = event_new(base, context->c.fd, EV_WRITE, on_writable, reader);
    if (reader->readable == NULL || reader->writable == NULL ||
        event_add(reader->readable, NULL) != 0 || event_add(reader->writable, NULL) != 0) {
        redis_reader_release(reader);
        return NULL;
    }
    context->ev.addRead = add_read;
    context->ev.delRead = delete_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = delete_write;
    context->ev.cleanup = on_cleanup;
    context->ev.data = reader;
    return reader;
}

int64_t redis_reader_heard_ms(const struct redis_reader *reader)
{
    return reader->heard_ms;
}

/* --- reply functions --- */

/* hiredis' own, which only its reader shows. */
static redisReplyObjectFunctions hiredis_functions;

/* Checks a value before it is made: an answer begins with it, or it adds to one. */
static bool redis_reader_may_create(const redisReadTask *task, size_t elements, size_t bytes)
{
    struct redis_reader *reader = task->privdata;

    if (task->parent == NULL) {
        reader->answer_elements = reader->answer_bytes = 0;
        if (task->type != REDIS_REPLY_ERROR && /* hiredis ends the connection by itself then */
            !reader->options.is_awaited(reader->options.owner)) {
            reader->options.on_fault(reader->options.owner, "Redis sends an answer to no command");
            return false;
        }
    }
    reader->answer_elements += elements;
    reader->answer_bytes += bytes;
    if (reader->answer_elements > ANSWER_ELEMENTS_MAX || reader->answer_bytes > ANSWER_BYTES_MAX) {
        reader->options.on_fault(reader->options.owner, "Redis sends an answer that is too large");
        return false;
    }
    return true;
}

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

static void *redis_reader_create_string(const redisReadTask *task, char *bytes, size_t length)
{
    return redis_reader_may_create(task, 0, length)
               ? hiredis_functions.createString(task, bytes, length)
               : NULL;
}

static void *redis_reader_create_array(const redisReadTask *task, element_count count)
{
    size_t elements = count > 0 ? (size_t)count : 0;

    return redis_reader_may_create(task, elements, 0) ? hiredis_functions.createArray(task, count)
                                                      : NULL;
}

static void *redis_reader_create_integer(const redisReadTask *task, long long value)
{
    return redis_reader_may_create(task, 0, 0) ? hiredis_functions.createInteger(task, value)
                                               : NULL;
}

static void *redis_reader_create_nil(const redisReadTask *task)
{
    return redis_reader_may_create(task, 0, 0) ? hiredis_functions.createNil(task) : NULL;
}

#if HIREDIS_MAJOR >= 1
static void *redis_reader_create_double(const redisReadTask *task, double value, char *text,
                                        size_t length)
{
    return redis_reader_may_create(task, 0, length)
               ? hiredis_functions.createDouble(task, value, text, length)
               : NULL;
}

static void *redis_reader_create_bool(const redisReadTask *task, int value)
{
    return redis_reader_may_create(task, 0, 0) ? hiredis_functions.createBool(task, value) : NULL;
}
#endif

static void *redis_reader_create_bounded_array(const redisReadTask *task, element_count count)
{
    return count > 0 && (size_t)count > ANSWER_ELEMENTS_MAX
               ? NULL
               : hiredis_functions.createArray(task, count);
}

static redisReplyObjectFunctions checked_functions, bounded_functions;

static void make_functions(void)
{
    redisReader *plain = redisReaderCreate();

    if (plain == NULL) {
        return; /* out of memory: no connection then */
    }
    checked_functions = bounded_functions = hiredis_functions = *plain->fn;
    redisReaderFree(plain);
    bounded_functions.createArray = redis_reader_create_bounded_array;
    checked_functions.createString = redis_reader_create_string;
    checked_functions.createArray = redis_reader_create_array;
    checked_functions.createInteger = redis_reader_create_integer;
    checked_functions.createNil = redis_reader_create_nil;
#if HIREDIS_MAJOR >= 1
    checked_functions.createDouble = redis_reader_create_double;
    checked_functions.createBool = redis_reader_create_bool;
#endif
}

static bool functions_are_made(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_functions);
    return hiredis_functions.createString != NULL;
}

const struct redisReplyObjectFunctions *redis_reader_functions(void)
{
    return functions_are_made() ? &checked_functions : NULL;
}

void redis_reader_bound(struct redisReader *reader)
{
    if (functions_are_made()) {
        reader->fn = &bounded_functions;
    }
}
