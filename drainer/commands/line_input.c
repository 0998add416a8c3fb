/* line_input.c: see line_input.h. One buffer, which holds a line of the greatest length and a
 * newline. */
#include "drainer/commands/line_input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY (LINE_INPUT_BYTES_MAX + 1)

void line_input_open(struct line_input *input, int fd, const sigset_t *waiting_mask)
{
    *input =
        (struct line_input){.fd = fd, .waiting_mask = waiting_mask, .buffer = malloc(CAPACITY)};
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
static enum line_result line_input_fill(struct line_input *input)
{
    struct pollfd ready = {.fd = input->fd, .events = POLLIN};

    if (input->begin > 0) {
        memmove(input->buffer, input->buffer + input->begin, input->length);
        input->begin = 0;
    }
    /* signals arrive here and nowhere else, so none is missed between looking for one and waiting
     */
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

static void drop(struct line_input *input, size_t length)
{
    input->begin += length;
    input->length -= length;
    input->searched = 0;
}

/* Finds the end of the line; NULL: it is not there yet. What was looked at before is not looked at
 * again: a line may come byte by byte. */
static const char *find_newline(struct line_input *input)
{
    const char *begin = input->buffer + input->begin;
    const char *newline = memchr(begin + input->searched, '\n', input->length - input->searched);

    input->searched = input->length;
    return newline;
}

/* Skips the rest of a line that was too long, as far as it is in the buffer. */
static void skip_rest(struct line_input *input)
{
    const char *begin = input->buffer + input->begin, *newline = find_newline(input);

    drop(input, newline == NULL ? input->length : (size_t)(newline - begin) + 1);
    input->skipping = newline == NULL;
}

/* Takes the next line that is in the buffer. False: there is no whole one. */
static bool line_input_take_line(struct line_input *input, enum line_result *result,
                                 const char **text, size_t *length)
{
    const char *begin = input->buffer + input->begin, *newline = find_newline(input);
    bool full = input->length == CAPACITY;

    if (newline == NULL && !full && (!input->ended || input->length == 0)) {
        return false;
    }
    *text = begin;
    *length = newline == NULL ? input->length : (size_t)(newline - begin);
    *result = newline == NULL && full ? LINE_TOO_LONG : LINE_TEXT;
    input->skipping = *result == LINE_TOO_LONG;
    input->number++;
    drop(input, *length + (newline != NULL));
    return true;
}

enum line_result line_input_next(struct line_input *input, const char **text, size_t *length)
{
    enum line_result result = LINE_TEXT;

    while (result == LINE_TEXT) {
        if (input->skipping) {
            skip_rest(input);
        }
        if (!input->skipping && line_input_take_line(input, &result, text, length)) {
            return result;
        }
        result = input->ended ? LINE_END : line_input_fill(input);
    }
    return result;
}
