/* limits.h: how large anything may be, in one place; both the producer and the drainer enforce
 * these.
 *
 * Sizes are bytes, terminating NULs not counted. */
#ifndef BLOTTER_SCHEMA_LIMITS_H
#define BLOTTER_SCHEMA_LIMITS_H

#define LIMIT_EXCHANGE_BYTES 32 /* also a lane's name */
#define LIMIT_TEXT_BYTES 1024   /* one text field; the longest seen in real messages is 79 */
#define LIMIT_DECIMAL_BYTES 256 /* one decimal as text, canonical or as given */
#define LIMIT_DECIMAL_DIGITS \
    128 /* digits before and after the point together, once written without exponent */
#define LIMIT_EXTRA_BYTES 49152  /* `extra` as JSON text */
#define LIMIT_AMOUNTS_BYTES 2048 /* one field of amounts as JSON text */
#define LIMIT_NESTING 16         /* maps and arrays within `extra`, the outermost counted */
#define LIMIT_KEYS 256           /* keys of a record's map */
#define LIMIT_RECORD_BYTES 65536 /* one record on the wire */
#define LIMIT_RECORDED_AT_MIN_NS \
    INT64_C(1420070400000000000) /* 2015-01-01: earlier is a broken clock */
/* any other time, from 2001-09-09 to 2099-12-03; the same digits in milliseconds, microseconds or
 * seconds are outside */
#define LIMIT_TIME_MIN_NS INT64_C(1000000000000000000)
#define LIMIT_TIME_END_NS INT64_C(4100000000000000000)
#define LIMIT_FUTURE_NS \
    INT64_C(86400000000000) /* recorded_at: at most a day ahead of the drainer */

#endif
