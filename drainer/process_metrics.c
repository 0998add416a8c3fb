/* process_metrics.c: see process_metrics.h. A number that cannot be read is left out. */
#include "drainer/process_metrics.h"

#include <dirent.h>
#include <event2/buffer.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void put(struct evbuffer *out, const char *name, const char *type, const char *meaning,
                double value)
{
    evbuffer_add_printf(out, "# HELP process_%s %s\n# TYPE process_%s %s\nprocess_%s %.15g\n", name,
                        meaning, name, type, name, value);
}

static int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = -3; /* ".", "..", and the folder's own */

    if (folder == NULL) {
        return -1;
    }
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* Reads the numbers behind the name in /proc/self/stat, which may hold blanks: virtual memory,
 * resident memory, start since boot. False: it cannot be read. */
static bool read_stat(double *virtual_bytes, double *resident_bytes, double *start_s)
{
    unsigned long long start, virtual;
    long resident;
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t length = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);

    if (file != NULL) {
        fclose(file);
    }
    text[length] = '\0';
    const char *behind = strrchr(text, ')');
    /* fields 3 to 21, then starttime, vsize, rss */
    if (behind == NULL ||
        sscanf(behind + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu "
               "%llu %ld",
               &start, &virtual, &resident) != 3) {
        return false;
    }
    *start_s = (double)start / (double)sysconf(_SC_CLK_TCK);
    *virtual_bytes = (double)virtual;
    *resident_bytes = (double)resident * (double)sysconf(_SC_PAGESIZE);
    return true;
}

void process_metrics_put(struct evbuffer *out)
{
    struct timespec boot, wall;
    struct rusage usage;
    struct rlimit limit;
    double virtual_bytes, resident_bytes, start_s;
    int descriptors = count_descriptors();

    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        put(out, "cpu_seconds_total", "counter", "processor time, user and system",
            (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6);
    }
    if (descriptors >= 0) {
        put(out, "open_fds", "gauge", "open descriptors", descriptors);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        put(out, "max_fds", "gauge", "most descriptors", (double)limit.rlim_cur);
    }
    if (read_stat(&virtual_bytes, &resident_bytes, &start_s)) {
        clock_gettime(CLOCK_BOOTTIME, &boot);
        clock_gettime(CLOCK_REALTIME, &wall);
        put(out, "virtual_memory_bytes", "gauge", "virtual memory", virtual_bytes);
        put(out, "resident_memory_bytes", "gauge", "resident memory", resident_bytes);
        put(out, "start_time_seconds", "gauge", "when it was started, since 1970",
            (double)wall.tv_sec - (double)boot.tv_sec + start_s);
    }
}
