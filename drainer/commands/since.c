/* since.c: see since.h. */
#include "drainer/commands/since.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "drainer/commands.h"
#include "drainer/settings_table.h"
#include "schema/iso_time.h"

/* Recognises 2026-05-01, or with a time in UTC: 2026-05-01T12:00Z, 2026-05-01T12:00:00Z. */
static bool since_is_time(const char *text)
{
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"};

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm tm;
        const char *end = strptime(text, formats[i], &tm);

        if (end != NULL && *end == '\0') {
            return true;
        }
    }
    return false;
}

bool since_parse(const struct settings *settings, const char *setting, const char *text,
                 char out[SINCE_BYTES])
{
    int64_t ago_ms;

    out[0] = '\0';
    if (text == NULL) {
        return true;
    }
    if (setting_parse_duration(text, &ago_ms)) {
        iso_time_write(time(NULL) - ago_ms / 1000, out);
        return out[0] != '\0';
    }
    if (since_is_time(text) && strlen(text) < SINCE_BYTES) {
        snprintf(out, SINCE_BYTES, "%s", text);
        return true;
    }
    command_fail(settings, EXIT_CODE_USAGE,
                 "setting %s: \"%.64s\" is not a time, as in 2h, 2026-05-01 or "
                 "2026-05-01T12:00:00Z",
                 setting, text);
    return false;
}
