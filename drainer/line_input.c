/* line_input.c: see line_input.h. One buffer, which holds a line of the greatest length and a newline. */
#include "drainer/line_input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY (LINE_INPUT_BYTES_MAX + 1)

void line_input_open(struct line_input *input, int fd, const sigset_t *waiting_mask)
{
    *input = (struct line_input){.fd = fd, .waiting_mask = waiting_mask, .buffer = malloc(CAPACITY)};
    if (input->buffer == NULL) {
        abort();
    }
}

void line_input_close(struct line_input *input)
{
    free(input->buffer);
    input->buffer = NULL;
}

/* Reads more behind what is there. LINE_TEXT: something came, or the end. */
static enum line_result fill(struct line_input *input)
{
    struct pollfd ready = {.fd = input->fd, .events = POLLIN};

    memmove(input->buffer, input->buffer + input->begin, input->length);
    input->begin = 0;
    /* signals arrive here and nowhere else, so none is missed between looking for one and waiting */
    if (ppoll(&ready, 1, NULL, input->waiting_mask) < 0) {
        return errno == EINTR ? LINE_INTERRUPTED : LINE_FAILED;
    }
    ssize_t count = read(input->fd, input->buffer + input->length, CAPACITY - input->length);
    if (count < 0) {
        return errno == EINTR || errno == EAGAIN ? LINE_INTERRUPTED : LINE_FAILED;
    }
    input->ended = count == 0;
    input->length += (size_t)count;
    return LINE_TEXT;
}

/* Takes `length` bytes, and the newline behind them if there is one. */
static void take(struct line_input *input, size_t length, bool newline, const char **text, size_t *text_length)
{
    *text = input->buffer + input->begin;
    *text_length = length;
    input->begin += length + newline;
    input->length -= length + newline;
}

/* The next line that is in the buffer. False: there is none. */
static bool take_line(struct line_input *input, enum line_result *result, const char **text, size_t *length)
{
    const char *begin = input->buffer + input->begin, *newline = memchr(begin, '\n', input->length);
    bool skipped = input->skipping;

    *result = LINE_TEXT;
    if (newline != NULL) {
        take(input, (size_t)(newline - begin), true, text, length);
        input->skipping = false;
        input->number += !skipped;
        return !skipped;
    }
    if (input->length == CAPACITY || (input->ended && input->length > 0)) {
        input->skipping = !input->ended;
        *result = input->length > LINE_INPUT_BYTES_MAX ? LINE_TOO_LONG : LINE_TEXT;
        take(input, input->length, false, text, length);
        input->number += !skipped;
        return !skipped;
    }
    return false;
}

enum line_result line_input_next(struct line_input *input, const char **text, size_t *length)
{
    enum line_result result;

    for (;;) {
        bool had_some = input->length > 0;

        if (had_some && take_line(input, &result, text, length)) {
            return result;
        }
        if (input->ended) {
            return LINE_END;
        }
        if (!had_some || input->length < CAPACITY) {
            result = fill(input);
        }
        if (result != LINE_TEXT) {
            return result;
        }
    }
}
