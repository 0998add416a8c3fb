/* log.h: logfmt lines to stderr: ts=… level=info object=blotter:binance msg="…", one write per
 * line.
 *
 * A line that is the same as one written shortly before, but for its digits, is held back; when the
 * window is over the last of them is written, with repeated=N. So a server that is away for an hour
 * makes one line every ten seconds. Lines of level debug are never held back.
 *
 * object: what the line is about: a stream's name, batch, lease, redis, postgres …
 * Never a payload, never a secret: callers keep both out.
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

/* Lines below the level are dropped. Before it is called the level is info. */
void log_open(enum log_level);

/* The level of that name, or -1. */
int log_level_of(const char *name);

/* How long repeats are held back; 0: they are not. */
void log_set_window_ms(unsigned);

/* Writes what is held back. The program calls it at exit. */
void log_flush(void);

void log_line(enum log_level, const char *object, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(object, ...) log_line(LOG_DEBUG, object, __VA_ARGS__)
#define log_info(object, ...) log_line(LOG_INFO, object, __VA_ARGS__)
#define log_warn(object, ...) log_line(LOG_WARN, object, __VA_ARGS__)
#define log_error(object, ...) log_line(LOG_ERROR, object, __VA_ARGS__)

#endif
