/* iso_time.c: see iso_time.h. */
#include "schema/iso_time.h"

#include <time.h>

static const int64_t NS_PER_S = 1000000000;

struct iso_scan {
    const char *at, *end;
};

/* Counts in years that begin in March, so that the leap day is the last. */
int64_t iso_time_days(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year % 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool is_calendar_day(int64_t year, int64_t month, int64_t day)
{
    return month >= 1 && month <= 12 && day >= 1 &&
           (day <= 28 || day <= iso_time_days(year + month / 12, month % 12 + 1, 1) -
                                    iso_time_days(year, month, 1));
}

static bool read_byte(struct iso_scan *scan, char byte)
{
    bool found = scan->at < scan->end && *scan->at == byte;

    scan->at += found;
    return found;
}

/* Reads `count` digits; -1: one is missing. */
static int64_t read_digits(struct iso_scan *scan, int count)
{
    int64_t number = 0;

    for (; count > 0; count--, scan->at++) {
        if (scan->at == scan->end || *scan->at < '0' || *scan->at > '9') {
            return -1;
        }
        number = number * 10 + (*scan->at - '0');
    }
    return number;
}

/* Reads the digits behind the byte. */
static int64_t read_part(struct iso_scan *scan, char byte)
{
    return read_byte(scan, byte) ? read_digits(scan, 2) : -1;
}

/* Reads ".123", or nothing, in nanoseconds; -1: a tenth digit is no zero. */
static int64_t read_fraction(struct iso_scan *scan)
{
    int64_t ns = 0, unit = NS_PER_S / 10;

    if (!read_byte(scan, '.')) {
        return 0;
    }
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++, unit /= 10) {
        if (unit == 0 && *scan->at != '0') {
            return -1;
        }
        ns += (*scan->at - '0') * unit;
    }
    return ns;
}

/* Reads the zone, in minutes. */
static bool read_zone(struct iso_scan *scan, int64_t *minutes)
{
    *minutes = 0;
    if (read_byte(scan, 'Z')) {
        return true;
    }
    int sign = read_byte(scan, '-') ? -1 : read_byte(scan, '+') ? 1 : 0;
    int64_t hours = sign != 0 ? read_digits(scan, 2) : -1;

    read_byte(scan, ':');
    int64_t rest = hours >= 0 ? read_digits(scan, 2) : -1;
    *minutes = sign * (hours * 60 + rest);
    return rest >= 0;
}

bool iso_time_read(const char *text, size_t length, int64_t *time_ns)
{
    struct iso_scan scan = {text, text + length};
    int64_t zone;

    int64_t year = read_digits(&scan, 4);
    int64_t month = read_part(&scan, '-'), day = read_part(&scan, '-');
    if (year < 0 || !is_calendar_day(year, month, day) ||
        !(read_byte(&scan, 'T') || read_byte(&scan, ' '))) {
        return false;
    }
    int64_t hour = read_digits(&scan, 2), minute = read_part(&scan, ':');
    int64_t second = read_part(&scan, ':'), fraction = read_fraction(&scan);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
        second > 60 || /* a leap second */
        fraction < 0 || !read_zone(&scan, &zone) || scan.at != scan.end) {
        return false;
    }
    int64_t seconds =
        iso_time_days(year, month, day) * 86400 + (hour * 60 + minute - zone) * 60 + second;
    return !__builtin_mul_overflow(seconds, NS_PER_S, time_ns) &&
           !__builtin_add_overflow(*time_ns, fraction, time_ns);
}

void iso_time_write(int64_t seconds, char out[ISO_TIME_BYTES])
{
    time_t time = (time_t)seconds;
    struct tm utc;

    if (gmtime_r(&time, &utc) == NULL ||
        strftime(out, ISO_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        out[0] = '\0';
    }
}
