/* log.c: see log.h. A few recent lines are remembered, by a hash over level, object and text in
 * which runs of digits count as one. */
#include "drainer/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drainer/terminal.h"
#include "schema/clock.h"
#include "schema/hash.h"
#include "schema/iso_time.h"

enum {
    WINDOW_MS = 10000,
    REMEMBERED = 32,
    TEXT_BYTES = 768,
    LINE_BYTES = 2 * TEXT_BYTES + 256,
    TAIL_BYTES = 16, /* kept for an escape, a quote, the end */
};

struct recent {
    uint64_t hash;      /* 0: unused */
    int64_t since_ms;   /* when the line was last written, monotonic */
    unsigned held_back; /* since then */
    enum log_level level;
    char object[128];
    char text[TEXT_BYTES]; /* the last one held back */
};

/* clang-format off */
static const char *const level_names[] = {
#define X(level, name) #name,
    LOG_LEVELS(X)
#undef X
};
/* clang-format on */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static enum log_level threshold = LOG_INFO;
static enum log_format format = LOG_LOGFMT;
static unsigned window_ms = WINDOW_MS;
static struct recent recents[REMEMBERED];

/* --- one line --- */

struct line {
    char bytes[LINE_BYTES];
    size_t length;
};

static void line_put(struct line *line, const char *bytes, size_t length)
{
    if (line->length + length <= sizeof line->bytes) {
        memcpy(line->bytes + line->length, bytes, length);
        line->length += length;
    }
}

static void line_put_text(struct line *line, const char *text)
{
    line_put(line, text, strlen(text));
}

/* Writes a byte that a line cannot hold as it is. JSON has an escape for characters only. */
static void line_put_escaped(struct line *line, unsigned char c)
{
    char escaped[8];

    if (c == '"' || c == '\\') {
        snprintf(escaped, sizeof escaped, "\\%c", c);
    } else if (c == '\n') {
        snprintf(escaped, sizeof escaped, "\\n");
    } else {
        snprintf(escaped, sizeof escaped, format == LOG_JSON ? "\\u%04x" : "\\x%02x", c);
    }
    line_put_text(line, escaped);
}

/* Writes text in quotes: a line stays a line, and harmless to a terminal, whatever a server says.
 * Text that does not fit is cut. */
static void line_put_quoted(struct line *line, const char *text)
{
    const char *end = text + strlen(text);

    line_put(line, "\"", 1);
    while (text < end && line->length < sizeof line->bytes - TAIL_BYTES) {
        size_t length = *text == '"' || *text == '\\' ? 0 : terminal_character(text, end);

        if (length == 0) {
            line_put_escaped(line, (unsigned char)*text++);
        } else {
            line_put(line, text, length);
            text += length;
        }
    }
    line_put(line, "\"", 1);
}

static void line_put_value(struct line *line, const char *text)
{
    bool plain = text[0] != '\0' && format == LOG_LOGFMT;

    for (const char *at = text; *at != '\0'; at++) {
        plain = plain && *at > ' ' && *at < 0x7f && *at != '"' && *at != '=' && *at != '\\';
    }
    if (plain) {
        line_put_text(line, text);
    } else {
        line_put_quoted(line, text);
    }
}

/* Begins a pair: ` name=`, or `, "name": `. */
static void line_put_name(struct line *line, const char *name)
{
    bool first = line->length == 0;

    line_put_text(line, format == LOG_JSON ? (first ? "{\"" : ", \"") : first ? "" : " ");
    line_put_text(line, name);
    line_put_text(line, format == LOG_JSON ? "\": " : "=");
}

static void line_put_time(struct line *line)
{
    int64_t now = clock_wall_ms();
    char seconds[ISO_TIME_BYTES], text[ISO_TIME_BYTES + 4];

    iso_time_write(now / 1000, seconds);
    snprintf(text, sizeof text, "%.*s.%03dZ", (int)strcspn(seconds, "Z"), seconds,
             (int)(now % 1000));
    line_put_value(line, text);
}

static void write_line(enum log_level level, const char *object, const char *text,
                       unsigned repeated)
{
    struct line line = {.length = 0};
    char count[32];

    line_put_name(&line, "ts");
    line_put_time(&line);
    line_put_name(&line, "level");
    line_put_value(&line, level_names[level]);
    line_put_name(&line, "object");
    line_put_value(&line, object);
    if (repeated > 0) {
        snprintf(count, sizeof count, "%u", repeated);
        line_put_name(&line, "repeated");
        line_put_text(&line, count);
    }
    line_put_name(&line, "msg");
    line_put_quoted(&line, text);
    line_put_text(&line, format == LOG_JSON ? "}\n" : "\n");
    ssize_t written = write(STDERR_FILENO, line.bytes, line.length);
    (void)written; /* there is no other place to report a failure to */
}

/* --- repeats --- */

/* Returns a number that lines have in common which differ in their numbers alone; never 0. */
static uint64_t line_hash(enum log_level level, const char *object, const char *text)
{
    static const char digits[] = "0123456789";
    uint64_t hash = hash64_add((uint64_t)level, object, strlen(object));

    for (;;) {
        size_t length = strcspn(text, digits);

        hash = hash64_add(hash, text, length);
        text += length;
        if (*text == '\0') {
            return hash | 1;
        }
        text += strspn(text, digits);
    }
}

static void recent_forget(struct recent *recent)
{
    if (recent->held_back > 0) {
        write_line(recent->level, recent->object, recent->text, recent->held_back);
    }
    *recent = (struct recent){0};
}

static void forget_old(int64_t now)
{
    for (size_t i = 0; i < REMEMBERED; i++) {
        if (recents[i].hash != 0 && now - recents[i].since_ms >= (int64_t)window_ms) {
            recent_forget(&recents[i]);
        }
    }
}

/* Finds the entry of that line, or else the one to be used for it: the oldest. */
static struct recent *recent_find(uint64_t hash)
{
    struct recent *oldest = &recents[0];

    for (size_t i = 0; i < REMEMBERED; i++) {
        if (recents[i].hash == hash) {
            return &recents[i];
        }
        if (recents[i].hash == 0 || (oldest->hash != 0 && recents[i].since_ms < oldest->since_ms)) {
            oldest = &recents[i];
        }
    }
    return oldest;
}

/* Says whether to write the line. False: it is held back, as a repetition. */
static bool recent_add(enum log_level level, const char *object, const char *text)
{
    int64_t now = clock_monotonic_ms();
    uint64_t hash = line_hash(level, object, text);

    forget_old(now);
    struct recent *recent = recent_find(hash);
    if (recent->hash == hash) {
        recent->held_back++;
        snprintf(recent->text, sizeof recent->text, "%s", text);
        return false;
    }
    recent_forget(recent);
    recent->hash = hash;
    recent->since_ms = now;
    recent->level = level;
    snprintf(recent->object, sizeof recent->object, "%s", object);
    return true;
}

/* --- for the rest of the program --- */

void log_open(enum log_level level)
{
    pthread_mutex_lock(&mutex);
    threshold = level;
    pthread_mutex_unlock(&mutex);
}

void log_set_format(enum log_format wanted)
{
    pthread_mutex_lock(&mutex);
    format = wanted;
    pthread_mutex_unlock(&mutex);
}

int log_level_of(const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

void log_set_window_ms(unsigned ms)
{
    pthread_mutex_lock(&mutex);
    window_ms = ms;
    pthread_mutex_unlock(&mutex);
}

void log_flush(void)
{
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < REMEMBERED; i++) {
        recent_forget(&recents[i]);
    }
    pthread_mutex_unlock(&mutex);
}

void log_line(enum log_level level, const char *object, const char *form, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;

    va_start(arguments, form);
    vsnprintf(text, sizeof text, form, arguments);
    va_end(arguments);
    pthread_mutex_lock(&mutex);
    if (level >= threshold &&
        (level == LOG_DEBUG || window_ms == 0 || recent_add(level, object, text))) {
        write_line(level, object, text, 0);
    }
    pthread_mutex_unlock(&mutex);
}
