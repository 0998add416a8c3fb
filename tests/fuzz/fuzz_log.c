/* fuzz_log.c: texts of anybody's making on their way to a person: lines of the log in both forms,
 * what is printed on a terminal, and lines that are read from a file. The first byte says which.
 *
 * It is checked that a line of the log is one line that its readers can read, and has the text in
 * it; that nothing printed moves a terminal's cursor; and that a file's lines are all of it. */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/check.h"

static ssize_t capture(int fd, const void *bytes, size_t length);
/* its lines go to us instead of to stderr, where libFuzzer writes */
#define write capture
#include "drainer/log.c"
#undef write
#include "drainer/commands/line_input.h"
#include "schema/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char captured[2 * LINE_BYTES];
static size_t captured_length;

static ssize_t capture(int fd, const void *bytes, size_t length)
{
    CHECK(fd == STDERR_FILENO && length <= LINE_BYTES);
    memcpy(captured, bytes, length);
    captured_length = length;
    captured[length] = '\0';
    return (ssize_t)length;
}

/* Checks that a terminal shows it and obeys nothing in it. */
static void check_printable(const char *text, size_t length)
{
    for (size_t at = 0, each; at < length; at += each) {
        each = terminal_character(text + at, text + length);
        CHECK(each > 0);
    }
}

/* --- the log --- */

/* Says whether the message is the text, or its beginning: of a byte that may not be printed JSON
 * has the character of that number. */
static bool begins_alike(const char *message, const char *text)
{
    const char *end = text + strlen(text);
    char point[5] = "";

    while (*message != '\0' && text < end) {
        size_t length = terminal_character(text, end), shown = length;

        if (length == 0) {
            length = 1;
            shown = (size_t)(text_put_utf8(point, (unsigned char)*text) - point);
        }
        if (strncmp(message, shown > length || length == 1 ? point : text, shown) != 0 &&
            strncmp(message, text, length) != 0) {
            return false;
        }
        message += shown;
        text += length;
    }
    return *message == '\0';
}

static void check_json(const char *text)
{
    json_t *json = json_loads(captured, 0, NULL);
    const char *message = json_string_value(json_object_get(json, "msg"));

    CHECK(message != NULL &&
          json_object_size(json) == 4 + (json_object_get(json, "repeated") != NULL));
    CHECK(begins_alike(message, text));
    CHECK(strlen(message) >= strlen(text) || captured_length > LINE_BYTES - 2 * TAIL_BYTES);
    json_decref(json);
}

static void check_logfmt(void)
{
    const char *message = strstr(captured, " msg=\"");
    size_t length = captured_length - 1;

    CHECK(message != NULL && captured[length - 1] == '"');
    for (const char *at = message + 6; at < captured + length - 1; at++) {
        CHECK(*at != '"');
        at += *at == '\\';
    }
}

static void try_log(const char *text, const char *object, enum log_format form)
{
    char cut[TEXT_BYTES];

    snprintf(cut, sizeof cut, "%s", text); /* as the log does */
    log_set_window_ms(0);
    log_set_format(form);
    captured_length = 0;
    log_line(LOG_WARN, object, "%s", text);
    CHECK(captured_length > 0 && captured[captured_length - 1] == '\n');
    check_printable(captured, captured_length - 1);
    if (form == LOG_JSON) {
        check_json(cut);
    } else {
        check_logfmt();
    }
}

/* --- the terminal --- */

static void try_terminal(const char *text)
{
    char *printed = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&printed, &length);

    terminal_print(out, text);
    fclose(out);
    check_printable(printed, length);
    free(printed);
}

/* --- a file's lines --- */

static void try_lines(const char *bytes, size_t size)
{
    struct line_input input;
    const char *text;
    size_t length, at = 0;
    int fd = memfd_create("lines", MFD_CLOEXEC);

    CHECK(fd >= 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
    line_input_open(&input, fd, NULL);
    while (line_input_next(&input, &text, &length) == LINE_TEXT) {
        CHECK(length <= size - at && memcmp(text, bytes + at, length) == 0);
        at += length;
        CHECK(at == size || bytes[at] == '\n');
        at += at < size;
    }
    CHECK(at == size);
    line_input_close(&input);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length = size > 0 ? size - 1 : 0;
    char *text = malloc(length + 1);

    memcpy(text, size > 0 ? (const char *)data + 1 : "", length);
    text[length] = '\0';
    switch (size > 0 ? data[0] % 4 : 0) {
    case 0:
        try_log(text, "postgres", LOG_LOGFMT);
        break;
    case 1:
        try_log(text, "postgres", LOG_JSON);
        break;
    case 2:
        try_terminal(text);
        break;
    default:
        try_lines(text, length);
    }
    free(text);
    return 0;
}
