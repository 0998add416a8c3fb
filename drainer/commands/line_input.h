/* line_input.h: lines from a file or pipe, in bounded memory. */
#ifndef BLOTTER_DRAINER_COMMANDS_LINE_INPUT_H
#define BLOTTER_DRAINER_COMMANDS_LINE_INPUT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_INPUT_BYTES_MAX (1 << 20)

enum line_result {
    LINE_TEXT,     /* a line, without its newline */
    LINE_TOO_LONG, /* one longer than LINE_INPUT_BYTES_MAX: only its beginning is given, the rest is
                      skipped */
    LINE_END,      /* no more lines */
    LINE_INTERRUPTED, /* a signal came that is let in only while waiting */
    LINE_FAILED       /* errno */
};

struct line_input {
    int fd;
    const sigset_t *waiting_mask; /* blocked signals while waiting for input; NULL: as always */
    uint64_t number;              /* of the last line given, from 1 */
    /* internal */
    char *buffer;
    size_t length, begin, searched;
    bool ended, skipping;
};

void line_input_open(struct line_input *, int fd, const sigset_t *waiting_mask);
void line_input_close(struct line_input *); /* leaves the descriptor open */

/* Reads the next line. text is valid until the next call. */
enum line_result line_input_next(struct line_input *, const char **text, size_t *length);

#endif
