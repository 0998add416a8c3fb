/* log.c: see log.h. A few recent lines are remembered, by a hash over level, object and text in
 * which runs of digits count as one. */
#include "drainer/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    WINDOW_MS = 10000,
    REMEMBERED = 32,
    TEXT_BYTES = 768,
};
#define LINE_BYTES (2 * TEXT_BYTES + 256)

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
static unsigned window_ms = WINDOW_MS;
static struct recent recents[REMEMBERED];

/* --- one line
 * ------------------------------------------------------------------------------------------------------------
 */

struct line {
    char bytes[LINE_BYTES];
    size_t length;
};

/* One byte is kept for the newline. */
static void put(struct line *line, char c)
{
    if (line->length < sizeof line->bytes - 1) {
        line->bytes[line->length++] = c;
    }
}

static void put_text(struct line *line, const char *text)
{
    while (*text != '\0') {
        put(line, *text++);
    }
}

/* In quotes, with control characters escaped: a line stays a line whatever a server says. */
static void put_quoted(struct line *line, const char *text)
{
    put(line, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        char escaped[8];

        if (c == '"' || c == '\\') {
            snprintf(escaped, sizeof escaped, "\\%c", c);
        } else if (c == '\n') {
            snprintf(escaped, sizeof escaped, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escaped, sizeof escaped, "\\x%02x", c);
        } else {
            snprintf(escaped, sizeof escaped, "%c", c);
        }
        put_text(line, escaped);
    }
    put(line, '"');
}

static void put_value(struct line *line, const char *text)
{
    bool plain = text[0] != '\0';

    for (const char *at = text; *at != '\0'; at++) {
        plain = plain && (unsigned char)*at > ' ' && *at != '"' && *at != '=' && *at != '\\' &&
                *at != 0x7f;
    }
    if (plain) {
        put_text(line, text);
    } else {
        put_quoted(line, text);
    }
}

static void put_time(struct line *line)
{
    struct timespec now;
    struct tm utc;
    char text[64];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t length = strftime(text, sizeof text, "ts=%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, sizeof text - length, ".%03ldZ", now.tv_nsec / 1000000);
    put_text(line, text);
}

static void write_line(enum log_level level, const char *object, const char *text,
                       unsigned repeated)
{
    struct line line = {.length = 0};
    char count[32];

    put_time(&line);
    put_text(&line, " level=");
    put_text(&line, level_names[level]);
    put_text(&line, " object=");
    put_value(&line, object);
    if (repeated > 0) {
        snprintf(count, sizeof count, " repeated=%u", repeated);
        put_text(&line, count);
    }
    put_text(&line, " msg=");
    put_quoted(&line, text);
    line.bytes[line.length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line.bytes, line.length);
    (void)written; /* nowhere to say so */
}

/* --- repeats
 * -------------------------------------------------------------------------------------------------------------
 */

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t hash_byte(uint64_t hash, unsigned char c)
{
    return (hash ^ c) * UINT64_C(1099511628211); /* FNV-1a */
}

/* Never 0. */
static uint64_t line_hash(enum log_level level, const char *object, const char *text)
{
    uint64_t hash = hash_byte(UINT64_C(14695981039346656037), (unsigned char)level);
    bool digits = false;

    for (; *object != '\0'; object++) {
        hash = hash_byte(hash, (unsigned char)*object);
    }
    hash = hash_byte(hash, 0);
    for (; *text != '\0'; text++) {
        bool digit = *text >= '0' && *text <= '9';

        if (!digit || !digits) {
            hash = hash_byte(hash, digit ? '0' : (unsigned char)*text);
        }
        digits = digit;
    }
    return hash | 1;
}

static void forget(struct recent *recent)
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
            forget(&recents[i]);
        }
    }
}

/* The place of that line, or else the one to be used for it: the oldest. */
static struct recent *find(uint64_t hash)
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

/* False: it is held back. */
static bool remember(enum log_level level, const char *object, const char *text)
{
    int64_t now = now_ms();
    uint64_t hash = line_hash(level, object, text);

    forget_old(now);
    struct recent *recent = find(hash);
    if (recent->hash == hash) {
        recent->held_back++;
        snprintf(recent->text, sizeof recent->text, "%s", text);
        return false;
    }
    forget(recent);
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
        forget(&recents[i]);
    }
    pthread_mutex_unlock(&mutex);
}

void log_line(enum log_level level, const char *object, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&mutex);
    if (level >= threshold &&
        (level == LOG_DEBUG || window_ms == 0 || remember(level, object, text))) {
        write_line(level, object, text, 0);
    }
    pthread_mutex_unlock(&mutex);
}
