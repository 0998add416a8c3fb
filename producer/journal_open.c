/* journal_open.c: see journal_open.h. The file's bytes: journal_format.h; what is believed of it:
 * journal_recover.c. */
#include "producer/journal_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_lock.h"
#include "producer/journal_map.h"
#include "producer/journal_recover.h"
#include "schema/clock.h"

enum {
    LOCK_TRIES = 16,
    LOCK_STEP_MS = 10,
    WRITER_WAIT_MS = 200,  /* a shipper adopts a journal within that */
    SENDER_WAIT_MS = 2000, /* and looks whether a new owner waits for it within that */
    NAMES_ASIDE_MAX = 1000,
};

/* --- locking --- */

/* Says whether the process that opened the file last has ended. A hint: it may be another
 * container's. */
static bool is_owner_dead(int fd)
{
    struct journal_geometry geometry;
    struct journal_owner owner;
    char error[JOURNAL_ERROR_BYTES];
    return journal_read_geometry(fd, 0, &geometry, error) == 0 &&
           pread(fd, &owner, sizeof owner, offsetof(struct journal_header, owner)) ==
               (ssize_t)sizeof owner &&
           journal_owner_valid(&owner, geometry.version) && kill((pid_t)owner.pid, 0) != 0 &&
           errno == ESRCH;
}

/* Returns how long to wait for the role that another process has. `blotter ship` has the writer's
 * lock of a dead process' journal for the moment in which it adopts it; the sender's it gives back
 * when it sees that another process has the writer's and waits. */
static int journal_open_patience_ms(int fd, const struct journal_options *options, bool has_writer)
{
    if (!options->write || !options->patient) {
        return 0;
    }
    if (has_writer) {
        return SENDER_WAIT_MS;
    }
    return is_owner_dead(fd) ? WRITER_WAIT_MS : 0;
}

/* Returns 0; or -1 with errno, EAGAIN: another process has one of the roles. */
static int take_roles(int fd, const struct journal_options *options)
{
    for (int waited_ms = 0;; waited_ms += LOCK_STEP_MS) {
        bool writer = !options->write || journal_lock(fd, JOURNAL_LOCK_WRITER) == 0;
        if (writer && (!options->send || journal_lock(fd, JOURNAL_LOCK_SENDER) == 0)) {
            return 0;
        }
        int problem = errno;
        if (problem != EAGAIN || waited_ms >= journal_open_patience_ms(fd, options, writer)) {
            errno = problem;
            return -1;
        }
        usleep(LOCK_STEP_MS * 1000);
    }
}

static int open_or_create(struct journal *journal, const char *path,
                          const struct journal_options *options)
{
    int fd = journal_open_file(journal, path, 0);
    if (fd < 0 && errno == ENOENT && options->create) {
        fd = journal_open_file(journal, path, O_CREAT | O_EXCL);
    }
    return fd;
}

static int fail_as_not_ours(const char *path, const struct stat *file, char *error)
{
    return journal_fail(error, BLOTTER_NOT_OURS,
                        "%s: %s, of user %u, mode %03o, %lu names: only a file of this user, not "
                        "writable by others, with one name is opened",
                        path,
                        S_ISREG(file->st_mode)   ? "a file"
                        : S_ISLNK(file->st_mode) ? "a link"
                                                 : "no file",
                        (unsigned)file->st_uid, (unsigned)file->st_mode & 0777,
                        (unsigned long)file->st_nlink);
}

static int check_file(int fd, const char *path, char *error)
{
    struct stat file;
    if (fstat(fd, &file) != 0) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
    }
    return journal_is_ours(&file) ? 0 : fail_as_not_ours(path, &file, error);
}

/* Says why it cannot be opened. Others may have put there what cannot even be opened: a link, a
 * folder, a file of theirs. */
static int fail_to_open(const char *path, int problem, char *error)
{
    struct stat file;
    if (lstat(path, &file) == 0 && !journal_is_ours(&file)) {
        return fail_as_not_ours(path, &file, error);
    }
    return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(problem));
}

/* Opens and locks. The file that path names at the end is the one that is locked: a closer may have
 * removed another. */
static int open_locked(struct journal *journal, const char *path,
                       const struct journal_options *options, char *error)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        journal_close_file(journal);
        int fd = open_or_create(journal, path, options);
        if (fd < 0 && errno == EEXIST) {
            continue; /* made by another meanwhile */
        }
        if (fd < 0) {
            return fail_to_open(path, errno, error);
        }
        int status = check_file(fd, path, error);
        if (status != 0) {
            return status;
        }
        if (take_roles(fd, options) != 0) {
            return errno == EAGAIN
                       ? journal_fail(error, BLOTTER_BUSY, "%s: in use by another process", path)
                       : journal_fail(error, BLOTTER_SYSTEM, "%s: lock: %s", path, strerror(errno));
        }
        if (journal_is_at(fd, path)) {
            return 0;
        }
    }
    return journal_fail(error, BLOTTER_BUSY, "%s: other processes keep opening it: try again",
                        path);
}

/* --- what the file is --- */

static void make_geometry(struct journal_geometry *geometry, const struct journal_options *options)
{
    memset(geometry, 0, sizeof *geometry);
    geometry->slots = options->slots ? options->slots : JOURNAL_SLOTS_DEFAULT;
    geometry->slot_bytes = options->slot_bytes ? options->slot_bytes : JOURNAL_SLOT_BYTES_DEFAULT;
    geometry->created_ns = clock_wall_ns();
    snprintf(geometry->exchange, sizeof geometry->exchange, "%s", options->exchange);
    snprintf(geometry->lane, sizeof geometry->lane, "%s",
             options->lane != NULL ? options->lane : "");
    journal_geometry_seal(geometry);
}

static int check_name(const struct journal_geometry *geometry,
                      const struct journal_options *options, const char *path, char *error)
{
    const char *lane = options->lane != NULL ? options->lane : "";
    if (options->exchange == NULL ||
        (strcmp(options->exchange, geometry->exchange) == 0 && strcmp(lane, geometry->lane) == 0)) {
        return 0;
    }
    return journal_fail(error, BLOTTER_OPTION, "journal: %s holds records of %s%s%s, not of %s%s%s",
                        path, geometry->exchange, geometry->lane[0] != '\0' ? ":" : "",
                        geometry->lane, options->exchange, lane[0] != '\0' ? ":" : "", lane);
}

static int find_geometry(int fd, uint64_t size, const struct journal_options *options,
                         struct journal_geometry *geometry, bool *fresh, char *error)
{
    int status = journal_read_geometry(fd, size, geometry, error);
    *fresh = status != 0 && options->create && journal_is_unfinished(fd, size);
    if (*fresh) {
        *error = '\0';
        make_geometry(geometry, options);
        return 0;
    }
    if (status == 0 && size < JOURNAL_PAGE_BYTES) {
        return journal_fail(error, BLOTTER_CORRUPT, "it ends before the first record");
    }
    return status;
}

/* Says whether the file's records are for another Redis than the writer's, going by the URLs. */
static bool is_for_another(int fd, const char *url)
{
    struct journal_target raw, target;
    return url != NULL &&
           pread(fd, &raw, sizeof raw, offsetof(struct journal_header, target)) ==
               (ssize_t)sizeof raw &&
           journal_target_get(&raw, &target) && strcmp(target.url, url) != 0;
}

/* Says whether a writer cannot use it for new records. */
static bool is_other(int fd, const struct journal_geometry *geometry,
                     const struct journal_options *options)
{
    return geometry->version != JOURNAL_VERSION ||
           (options->slots != 0 && options->slots != geometry->slots) ||
           (options->slot_bytes != 0 && options->slot_bytes != geometry->slot_bytes) ||
           is_for_another(fd, options->url);
}

/* --- laying it out in memory --- */

static void adopt_geometry(struct journal *journal, const struct journal_geometry *geometry)
{
    size_t wire_limit = LIMIT_RECORD_BYTES - RECORD_HEAD_BYTES_MAX;
    size_t capacity = geometry->slot_bytes - JOURNAL_SLOT_HEAD_BYTES;
    journal->version = geometry->version;
    journal->slots = geometry->slots;
    journal->slot_bytes = geometry->slot_bytes;
    journal->body_capacity = (uint32_t)(capacity < wire_limit ? capacity : wire_limit);
    snprintf(journal->exchange, sizeof journal->exchange, "%.32s", geometry->exchange);
    snprintf(journal->lane, sizeof journal->lane, "%.32s", geometry->lane);
}

/* Writes the last page first: from when it is whole to when the first is, the journal has a
 * geometry. See journal_is_unfinished. */
static void write_geometry(struct journal *journal, const struct journal_geometry *geometry)
{
    memcpy(journal->slot_area + (size_t)geometry->slots * geometry->slot_bytes, geometry,
           sizeof *geometry);
    atomic_signal_fence(memory_order_seq_cst); /* as a process sees it that comes after our death */
    memcpy(&journal->header->geometry, geometry, sizeof *geometry);
}

/* Recovers, with the writer's lock held. The cursors belong to the sender: they are decided here
 * only if there is none now. A fresh file has none, even if a process that looks for work has the
 * lock for a moment. */
static void recover(struct journal *journal, bool fresh)
{
    bool locked = !journal->sender && journal_lock(journal->lock_fd, JOURNAL_LOCK_SENDER) == 0;
    journal_recover(journal, journal->sender || locked || fresh);
    if (locked) {
        journal_unlock(journal->lock_fd, JOURNAL_LOCK_SENDER);
    }
}

/* Recovers, as a sender, what a dead writer left; a living one has done that, or is about to. */
static int join(struct journal *journal, const char *path, char *error)
{
    if (journal_adopt(journal) || journal_mend_cursors(journal)) {
        return 0;
    }
    return journal_fail(error, BLOTTER_BUSY, "%s: its writer is still opening it", path);
}

static bool is_in_memory(int fd)
{
    struct statfs system;
    return fstatfs(fd, &system) == 0 && system.f_type == TMPFS_MAGIC;
}

static int map_file(struct journal *journal, const char *path,
                    const struct journal_options *options, const struct journal_geometry *geometry,
                    bool fresh, uint64_t size, char *error)
{
    size_t bytes = journal_bytes(geometry->slots, geometry->slot_bytes);
    int status = journal_reserve(journal->lock_fd, path, fresh, size, bytes, error);
    if (status == 0) {
        status = journal_map(journal, path, bytes, error);
    }
    if (status != 0) {
        return status;
    }
    adopt_geometry(journal, geometry);
    write_geometry(journal, geometry);
    journal->intact_bytes = fresh ? bytes : size;
    journal->in_memory = is_in_memory(journal->lock_fd);
    if (!options->write) {
        return join(journal, path, error);
    }
    journal_touch_pages(journal);
    recover(journal, fresh);
    return 0;
}

static int lay_out(struct journal *journal, const char *path, const struct journal_options *options,
                   char *error)
{
    struct journal_geometry geometry;
    struct stat file;
    bool fresh;
    if (fstat(journal->lock_fd, &file) != 0) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
    }
    uint64_t size = (uint64_t)file.st_size;
    int status = find_geometry(journal->lock_fd, size, options, &geometry, &fresh, error);
    if (status != 0) {
        char what[JOURNAL_ERROR_BYTES];
        memcpy(what, error, sizeof what);
        return journal_fail(error, status, "%.255s: %.200s", path, what);
    }
    status = check_name(&geometry, options, path, error);
    if (status != 0) {
        return status;
    }
    if (options->write && !fresh && is_other(journal->lock_fd, &geometry, options)) {
        return JOURNAL_OTHER;
    }
    return map_file(journal, path, options, &geometry, fresh, size, error);
}

/* --- becoming the writer --- */

static int new_producer_id(int64_t *out)
{
    uint64_t drawn = 0;
    do {
        if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn) {
            return -1;
        }
        drawn >>= 2;
    } while (drawn == 0);
    *out = (int64_t)drawn;
    return 0;
}

static int become_owner(struct journal *journal, char *error)
{
    struct journal_owner owner = {.pid = getpid(), .opened_ns = journal_clock_now(&journal->clock)};
    uint64_t next = journal_next(journal);
    if (new_producer_id(&owner.producer_id) != 0) {
        return journal_fail(error, BLOTTER_SYSTEM, "getrandom: %s", strerror(errno));
    }
    owner.base = next - 1;
    owner.inode = journal_inode(journal->lock_fd);
    if (gethostname(owner.host, sizeof owner.host - 1) != 0) {
        owner.host[0] = '\0';
    }
    journal_boot_id(owner.boot);
    journal_owner_seal(&owner, journal->version);
    journal->pid = (int)owner.pid;
    journal->producer_id = owner.producer_id;
    journal->base = owner.base;
    memcpy(&journal->header->owner, &owner, sizeof owner);
    /* release: the owner's part is there before anything is claimed */
    atomic_store_explicit(&journal->header->next.value, next | NEXT_OPENING, memory_order_release);
    return 0;
}

/* --- opening --- */

/* Sets the path, made absolute: a relative one would name another file once the process has changed
 * its directory. */
static int set_path(struct journal *journal, const char *path, char *error)
{
    char folder[JOURNAL_ABSOLUTE_PATH_BYTES] = "";
    bool is_absolute = path[0] == '/';
    if ((!is_absolute && getcwd(folder, sizeof folder) == NULL) ||
        snprintf(journal->path, sizeof journal->path, "%s%s%s", folder, is_absolute ? "" : "/",
                 path) >= (int)sizeof journal->path) {
        return journal_fail(error, BLOTTER_SYSTEM,
                            "journal: %s: its absolute path is longer than %d bytes, or unknown",
                            path, JOURNAL_ABSOLUTE_PATH_BYTES - 1);
    }
    return 0;
}

static int journal_open_open_parts(struct journal *journal, const char *path,
                                   const struct journal_options *options, char *error)
{
    journal->writer = options->write;
    journal->sender = options->send;
    journal_clock_init(&journal->clock);
    int status = set_path(journal, path, error);
    if (status == 0) {
        status = open_locked(journal, path, options, error);
    }
    if (status == 0) {
        status = lay_out(journal, path, options, error);
    }
    return status == 0 && options->write ? become_owner(journal, error) : status;
}

static int check_size(const struct journal_options *options, char *error)
{
    uint32_t slots = options->slots ? options->slots : JOURNAL_SLOTS_DEFAULT;
    uint32_t slot_bytes = options->slot_bytes ? options->slot_bytes : JOURNAL_SLOT_BYTES_DEFAULT;
    if (journal_size_valid(slots, slot_bytes)) {
        return 0;
    }
    return journal_fail(error, BLOTTER_OPTION,
                        "slots %u, slot_bytes %u: slots is a power of two in %d .. %d, slot_bytes "
                        "a multiple of 64 in %d .. %d",
                        options->slots, options->slot_bytes, JOURNAL_SLOTS_MIN, JOURNAL_SLOTS_MAX,
                        JOURNAL_SLOT_BYTES_MIN, JOURNAL_SLOT_BYTES_MAX);
}

/* Renames the file that is locked to the next free <path>.<n>. */
static int rename_aside(const char *path, char aside[JOURNAL_PATH_BYTES], char *error)
{
    for (int n = 1; n < NAMES_ASIDE_MAX; n++) {
        if (snprintf(aside, JOURNAL_PATH_BYTES, "%s.%d", path, n) >= JOURNAL_PATH_BYTES) {
            break;
        }
        if (renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_NOREPLACE) == 0) {
            return 0;
        }
        if (errno != EEXIST) {
            return journal_fail(error, BLOTTER_SYSTEM, "%s: rename to %s: %s", path, aside,
                                strerror(errno));
        }
    }
    return journal_fail(error, BLOTTER_SYSTEM,
                        "%s: cannot put it aside: every name beside it is taken", path);
}

static void journal_open_add_other(struct journal_others *others, const char *path)
{
    if (others != NULL && others->count < JOURNAL_OTHERS_MAX) {
        snprintf(others->path[others->count++], JOURNAL_PATH_BYTES, "%s", path);
    }
}

static int journal_open_or(struct journal **out, const char *path,
                           const struct journal_options *options, bool aside, char *error)
{
    char name[JOURNAL_PATH_BYTES];
    struct journal *journal = journal_make_handle();
    if (journal == NULL) {
        return journal_fail(error, BLOTTER_SYSTEM, "out of memory: %s", strerror(errno));
    }
    int status = journal_open_open_parts(journal, path, options, error);
    if (status == JOURNAL_OTHER && aside) {
        int renamed = rename_aside(path, name, error);
        status = renamed != 0 ? renamed : JOURNAL_OTHER;
    }
    if (status == 0) {
        *out = journal;
        return 0;
    }
    journal_unmap(journal);
    if (status == JOURNAL_OTHER) {
        journal_open_add_other(options->others, aside ? name : path);
    }
    return status;
}

static int check_path(const char *path, const struct journal_options *options, char *error)
{
    *error = '\0';
    if (strlen(path) >= JOURNAL_PATH_BYTES) {
        return journal_fail(error, BLOTTER_OPTION, "journal: the path is longer than %d bytes",
                            JOURNAL_PATH_BYTES - 1);
    }
    return check_size(options, error);
}

int journal_open_named(struct journal **out, const char *path,
                       const struct journal_options *options, char error[JOURNAL_ERROR_BYTES])
{
    *out = NULL;
    int status = check_path(path, options, error);
    return status != 0 ? status : journal_open_or(out, path, options, false, error);
}

int journal_open(struct journal **out, const char *path, const struct journal_options *options,
                 char error[JOURNAL_ERROR_BYTES])
{
    *out = NULL;
    int status = check_path(path, options, error);
    if (status == 0) {
        status = journal_open_or(out, path, options, true, error);
    }
    if (status == JOURNAL_OTHER) { /* its name is free now */
        status = journal_open_or(out, path, options, false, error);
    }
    return status == JOURNAL_OTHER
               ? journal_fail(error, BLOTTER_BUSY, "%s: other processes keep opening it: try again",
                              path)
               : status;
}
