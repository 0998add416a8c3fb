/* check_report.c: see check_report.h. */
#include "drainer/commands/check_report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "drainer/commands/report.h"

enum {
    SKEW_WARNING_MS = 1000,
    SKEW_BAD_MS = 3600000,
};

void check_report(struct check *check, enum check_result result, const char *where,
                  const char *what, const char *format, ...)
{
    static const char *const words[] = {"ok", "warning", "bad"};
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report_cell(check->report, words[result]);
    report_cell(check->report, where);
    report_cell(check->report, what);
    report_cell(check->report, text);
    check->bad = check->bad || result == CHECK_BAD;
}

void check_report_clock(struct check *check, const char *where, int64_t before_ms,
                        int64_t theirs_ms, int64_t after_ms)
{
    int64_t skew = theirs_ms < before_ms  ? before_ms - theirs_ms
                   : theirs_ms > after_ms ? theirs_ms - after_ms
                                          : 0;
    enum check_result result = skew >= SKEW_BAD_MS       ? CHECK_BAD
                               : skew >= SKEW_WARNING_MS ? CHECK_WARNING
                                                         : CHECK_FINE;

    check_report(check, result, where, "clock", "%" PRId64 " ms %s this machine's%s", skew,
                 theirs_ms < before_ms  ? "behind"
                 : theirs_ms > after_ms ? "ahead of"
                                        : "from",
                 result == CHECK_FINE
                     ? ""
                     : "; records from the future are refused, and times cannot be compared");
}

bool check_host_is_local(const char *host)
{
    return host == NULL || host[0] == '\0' || host[0] == '/' || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}
