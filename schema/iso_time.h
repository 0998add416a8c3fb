/* iso_time.h: times of ISO 8601, as ccxt's `datetime` has them. */
#ifndef BLOTTER_SCHEMA_ISO_TIME_H
#define BLOTTER_SCHEMA_ISO_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Counts the days from 1970 to a date of the Gregorian calendar. */
int64_t iso_time_days(int64_t year, int64_t month, int64_t day);

/* Reads 2026-11-29T12:00:00.123Z, in nanoseconds since 1970. A blank may stand for the T, and
 * +01:00 or +0100 for the Z; digits behind the ninth of the fraction have to be zeros. False: it is
 * something else, there is no such day, or 64 bits do not hold it. */
bool iso_time_read(const char *text, size_t length, int64_t *time_ns);

enum { ISO_TIME_BYTES = 32 };

/* Writes a time, in seconds since 1970, as 2026-11-29T12:00:00Z; "" where no year can be made. */
void iso_time_write(int64_t seconds, char out[ISO_TIME_BYTES]);

#endif
