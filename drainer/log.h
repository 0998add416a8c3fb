/* log.h: lines to stderr, one write each: ts=… level=info object=blotter:binance msg="…", or the
 * same pairs as a JSON object.
 *
 * A line that is the same as one written shortly before, but for its digits, is held back; when the
 * window is over the last of them is written, with repeated=N. So a server that is away for an hour
 * makes one line every ten seconds. Lines of level debug are never held back.
 *
 * object: what the line is about: a stream's name, batch, lease, redis, postgres …
 * Callers keep payloads and secrets out. Control characters are escaped here.
 * Threads: any. */
#ifndef BLOTTER_DRAINER_LOG_H
#define BLOTTER_DRAINER_LOG_H

/* clang-format off */
#define LOG_LEVELS(X) \
    X(DEBUG, debug) \
    X(INFO, info) \
    X(WARN, warn) \
    X(ERROR, error)
/* clang-format on */
#define X(level, name) LOG_##level,
enum log_level { LOG_LEVELS(X) };
#undef X

enum log_format { LOG_LOGFMT, LOG_JSON };

/* Drops lines below the level from now on. Before, the level is info. */
void log_open(enum log_level);
void log_set_format(enum log_format);

/* Returns the level of that name, or -1. */
int log_level_of(const char *name);

/* Sets how long repeats are held back; 0: not at all. */
void log_set_window_ms(unsigned);

/* Writes the lines that are held back. The program calls it at exit. */
void log_flush(void);

void log_line(enum log_level, const char *object, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(object, ...) log_line(LOG_DEBUG, object, __VA_ARGS__)
#define log_info(object, ...) log_line(LOG_INFO, object, __VA_ARGS__)
#define log_warn(object, ...) log_line(LOG_WARN, object, __VA_ARGS__)
#define log_error(object, ...) log_line(LOG_ERROR, object, __VA_ARGS__)

#endif
