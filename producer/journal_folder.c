/* journal_folder.c: the folder in which a user's journals lie. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_lock.h"
#include "producer/journal_open.h"

enum { NAMES_MAX = 100000 };

/* Finds the lowest number from this one on of a journal that is there already; NAMES_MAX: none. */
static unsigned next_existing(const char *folder, const char *name, unsigned from)
{
    DIR *entries = opendir(folder);
    size_t length = strlen(name);
    unsigned lowest = NAMES_MAX;
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        char *end;
        if (strncmp(entry->d_name, name, length) != 0 || entry->d_name[length] < '0' ||
            entry->d_name[length] > '9') {
            continue;
        }
        unsigned long n = strtoul(entry->d_name + length, &end, 10);
        if (*end == '\0' && n >= from && n < lowest) {
            lowest = (unsigned)n;
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    return lowest;
}

/* Takes the first journal that a dead process left: before a new one is made, as nobody might ever
 * open as many at a time as there were then. `blotter ship`, which may be sending it, gives it
 * back, which is waited for once. Returns JOURNAL_OTHER: there is none. */
static int open_existing(struct journal **out, const char *folder, const char *name,
                         const struct journal_options *options, char *error)
{
    char path[JOURNAL_PATH_BYTES];
    struct journal_options wanted = *options;
    wanted.patient = true;
    for (unsigned n = next_existing(folder, name, 0); n < NAMES_MAX;
         n = next_existing(folder, name, n + 1)) {
        snprintf(path, sizeof path, "%s/%s%u", folder, name, n);
        int64_t begin_ns = clock_monotonic_ns();
        if (journal_open_named(out, path, &wanted, error) == 0) {
            return 0;
        }
        wanted.patient = wanted.patient && clock_monotonic_ns() - begin_ns < 1000000000;
    }
    return JOURNAL_OTHER;
}

static bool is_name_taken(int status)
{
    return status == BLOTTER_BUSY || status == BLOTTER_CORRUPT || status == BLOTTER_FORMAT ||
           status == BLOTTER_NOT_OURS || status == JOURNAL_OTHER;
}

static int open_new(struct journal **out, const char *folder, const char *name,
                    const struct journal_options *options, char *error)
{
    char path[JOURNAL_PATH_BYTES];
    struct journal_options wanted = *options;
    wanted.others = NULL; /* they were seen by open_existing */
    for (unsigned n = 0; n < NAMES_MAX; n++) {
        snprintf(path, sizeof path, "%s/%s%u", folder, name, n);
        int status = journal_open_named(out, path, &wanted, error);
        if (!is_name_taken(status)) {
            return status;
        }
    }
    return journal_fail(
        error, BLOTTER_BUSY,
        "%s: each of the %u names for a journal of this exchange is in use: name another folder",
        folder, NAMES_MAX);
}

int journal_open_in_folder(struct journal **out, const char *folder,
                           const struct journal_options *options, char error[JOURNAL_ERROR_BYTES])
{
    char name[2 * LIMIT_EXCHANGE_BYTES + 3];
    const char *lane = options->lane != NULL ? options->lane : "";
    snprintf(name, sizeof name, "%.32s%s%.32s.", options->exchange, lane[0] != '\0' ? ":" : "",
             lane);
    if (strlen(folder) + strlen(name) + sizeof "/99999" > JOURNAL_PATH_BYTES) {
        return journal_fail(error, BLOTTER_OPTION, "journal: the folder's path is too long");
    }
    int status = open_existing(out, folder, name, options, error);
    return status == JOURNAL_OTHER ? open_new(out, folder, name, options, error) : status;
}

static int probe_file(int fd, const char *path, char *error)
{
    struct journal_geometry geometry;
    struct stat file;
    if (fstat(fd, &file) != 0) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(file.st_mode)) {
        return journal_fail(error, BLOTTER_CORRUPT, "not a file");
    }
    if (!journal_is_ours(&file)) {
        return journal_fail(
            error, BLOTTER_NOT_OURS,
            "belongs to another user, or is writable by others, or has several names");
    }
    if (journal_is_locked(fd, JOURNAL_LOCK_SENDER)) {
        return journal_fail(error, BLOTTER_BUSY, "%s: another process sends what is in it", path);
    }
    int status = journal_read_geometry(fd, (uint64_t)file.st_size, &geometry, error);
    if (status != 0 && journal_is_locked(fd, JOURNAL_LOCK_WRITER)) {
        return journal_fail(error, BLOTTER_BUSY, "%s: another process is just making it", path);
    }
    return status;
}

int journal_probe(const char *path, char error[JOURNAL_ERROR_BYTES])
{
    *error = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
    }
    int status = probe_file(fd, path, error);
    close(fd);
    return status;
}

bool journal_is_unmade(const char *path)
{
    struct stat file;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    bool unmade = fstat(fd, &file) == 0 && journal_is_ours(&file) &&
                  journal_is_unfinished(fd, (uint64_t)file.st_size);
    close(fd);
    return unmade;
}

bool journal_is_folder(const char *path)
{
    struct stat file;
    size_t length = strlen(path);
    return (length > 0 && path[length - 1] == '/') ||
           (stat(path, &file) == 0 && S_ISDIR(file.st_mode));
}

int journal_default_folder(char out[JOURNAL_PATH_BYTES], char error[JOURNAL_ERROR_BYTES])
{
    struct stat file;
    snprintf(out, JOURNAL_PATH_BYTES, "/dev/shm/blotter-%u", (unsigned)geteuid());
    if (mkdir(out, 0700) != 0 && errno != EEXIST) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", out, strerror(errno));
    }
    if (lstat(out, &file) != 0) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", out, strerror(errno));
    }
    if (!S_ISDIR(file.st_mode) || file.st_uid != geteuid()) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: is not a folder of this user", out);
    }
    if ((file.st_mode & 077) != 0 && chmod(out, 0700) != 0) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: is open to other users: %s", out,
                            strerror(errno));
    }
    return 0;
}
