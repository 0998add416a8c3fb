/* journal_open.c: finding, making, locking and mapping a journal's file. Its format and the rules
 * are in journal.c. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_file.h"
#include "schema/stream.h"

enum {
    NAMES_MAX = 100000,
    LOCK_TRIES = 16,
    LOCK_STEP_MS = 10,
    WRITER_WAIT_MS = 200,  /* a shipper adopts a journal within that */
    SENDER_WAIT_MS = 2000, /* and looks whether somebody waits for it within that */
};

static const char magic[8] = "blotter\n";

static int fail(char *error, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(char *error, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, JOURNAL_ERROR_BYTES, format, args);
    va_end(args);
    return status;
}

/* --- geometry and owner
 * ---------------------------------------------------------------------------------------------------
 */

static uint64_t geometry_sum(const struct journal_geometry *geometry)
{
    return journal_body_checksum((const unsigned char *)geometry,
                                 offsetof(struct journal_geometry, checksum));
}

void journal_geometry_seal(struct journal_geometry *geometry)
{
    memcpy(geometry->magic, magic, sizeof magic);
    geometry->version = JOURNAL_VERSION;
    geometry->checksum = geometry_sum(geometry);
}

static bool size_valid(uint32_t slots, uint32_t slot_bytes)
{
    return slots >= JOURNAL_SLOTS_MIN && slots <= JOURNAL_SLOTS_MAX && (slots & (slots - 1)) == 0 &&
           slot_bytes >= JOURNAL_SLOT_BYTES_MIN && slot_bytes <= JOURNAL_SLOT_BYTES_MAX &&
           slot_bytes % 64 == 0;
}

static bool version_known(uint32_t version)
{
    return version >= JOURNAL_VERSION_OLDEST && version <= JOURNAL_VERSION;
}

static bool names_valid(const struct journal_geometry *geometry)
{
    size_t exchange = strnlen(geometry->exchange, sizeof geometry->exchange),
           lane = strnlen(geometry->lane, sizeof geometry->lane);
    return stream_name_part_valid(geometry->exchange, exchange) &&
           (lane == 0 || stream_name_part_valid(geometry->lane, lane));
}

bool journal_geometry_valid(const struct journal_geometry *geometry)
{
    return memcmp(geometry->magic, magic, sizeof magic) == 0 && version_known(geometry->version) &&
           geometry->checksum == geometry_sum(geometry) &&
           size_valid(geometry->slots, geometry->slot_bytes) && names_valid(geometry);
}

static uint64_t owner_sum(const struct journal_owner *owner)
{
    return journal_body_checksum((const unsigned char *)owner,
                                 offsetof(struct journal_owner, checksum));
}

void journal_owner_seal(struct journal_owner *owner)
{
    owner->checksum = owner_sum(owner);
}

bool journal_owner_valid(const struct journal_owner *owner)
{
    return owner->checksum == owner_sum(owner) && owner->producer_id > 0 &&
           memchr(owner->host, 0, sizeof owner->host) != NULL &&
           memchr(owner->boot, 0, sizeof owner->boot) != NULL;
}

int journal_read_geometry(int fd, uint64_t size, struct journal_geometry *out, char *error)
{
    struct journal_geometry second;
    if (pread(fd, out, sizeof *out, 0) == (ssize_t)sizeof *out && journal_geometry_valid(out)) {
        return 0;
    }
    if (size >= 2 * JOURNAL_PAGE_BYTES &&
        pread(fd, &second, sizeof second, (off_t)(size - JOURNAL_PAGE_BYTES)) ==
            (ssize_t)sizeof second &&
        journal_geometry_valid(&second) && journal_bytes(second.slots, second.slot_bytes) == size) {
        *out = second;
        return 0;
    }
    if (memcmp(out->magic, magic, sizeof magic) == 0 && size >= sizeof *out &&
        !version_known(out->version)) {
        return fail(error, BLOTTER_FORMAT, "format version %u, this version knows %u to %u",
                    out->version, JOURNAL_VERSION_OLDEST, JOURNAL_VERSION);
    }
    return fail(error, BLOTTER_CORRUPT,
                "the geometry is damaged in both places, or this is no journal");
}

/* --- the file
 * -------------------------------------------------------------------------------------------------------------
 */

static int try_roles(int fd, const struct journal_options *options)
{
    if (options->write && journal_lock(fd, JOURNAL_LOCK_WRITER) != 0) {
        return -1;
    }
    if (options->send && journal_lock(fd, JOURNAL_LOCK_SENDER) != 0) {
        return -1;
    }
    return 0;
}

/* `blotter ship` has the writer's lock of a dead process' journal for the moment in which it adopts
 * it; the sender's it gives back when it sees that somebody has the writer's and waits. */
static int take_roles(int fd, const struct journal_options *options)
{
    for (int waited_ms = 0; try_roles(fd, options) != 0; waited_ms += LOCK_STEP_MS) {
        int problem = errno;
        bool writer = journal_lock(fd, JOURNAL_LOCK_WRITER) == 0;
        errno = problem;
        if (!options->patient || problem != EAGAIN ||
            waited_ms >= (writer ? SENDER_WAIT_MS : WRITER_WAIT_MS)) {
            return -1;
        }
        usleep(LOCK_STEP_MS * 1000);
    }
    return 0;
}

/* Opens and locks; the file that path names at the end is the one that is locked: a closer may have
 * removed another. */
static int open_locked(struct journal *journal, const char *path,
                       const struct journal_options *options, char *error)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        journal_close_file(journal);
        int fd = journal_open_file(journal, path, 0);
        if (fd < 0 && errno == ENOENT && options->create) {
            fd = journal_open_file(journal, path, O_CREAT | O_EXCL);
        }
        if (fd < 0 && errno == EEXIST) {
            continue; /* made by another meanwhile */
        }
        if (fd < 0) {
            return fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
        }
        if (take_roles(fd, options) != 0) {
            return errno == EAGAIN
                       ? fail(error, BLOTTER_BUSY, "%s: in use by another process", path)
                       : fail(error, BLOTTER_SYSTEM, "%s: lock: %s", path, strerror(errno));
        }
        if (journal_is_at(fd, path)) {
            return 0;
        }
    }
    return fail(error, BLOTTER_BUSY, "%s: changes hands all the time", path);
}

/* Reserves the blocks, so that no later store meets a full disk (SIGBUS); also those of holes that
 * a copied file may have. What is there is not touched, as others may be at work in it. The limit
 * is looked at before, as exceeding it raises SIGXFSZ. */
static int reserve(int fd, const char *path, uint64_t size, uint64_t bytes, char *error)
{
    struct rlimit limit;
    int problem = 0;
    if (size < bytes && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        bytes > limit.rlim_cur) {
        problem = EFBIG;
    }
    if (problem == 0 && size < bytes) {
        problem = posix_fallocate(fd, (off_t)size, (off_t)(bytes - size));
    }
    if (problem == 0 && size > 0 && fallocate(fd, 0, 0, (off_t)size) != 0 &&
        (errno == ENOSPC || errno == EDQUOT)) {
        problem = errno; /* other errors: the file system cannot, and holes stay holes */
    }
    if (problem == 0) {
        return 0;
    }
    return fail(
        error, BLOTTER_SYSTEM,
        "%s: cannot reserve %llu bytes: %s; make room, or choose fewer slots or another folder",
        path, (unsigned long long)bytes, strerror(problem));
}

static bool all_zero(int fd, uint64_t from, uint64_t to)
{
    unsigned char page[JOURNAL_PAGE_BYTES];
    for (uint64_t at = from; at < to;) {
        ssize_t got =
            pread(fd, page, to - at < sizeof page ? (size_t)(to - at) : sizeof page, (off_t)at);
        if (got <= 0) {
            return false;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (page[i]) {
                return false;
            }
        }
        at += (uint64_t)got;
    }
    return true;
}

static int make_geometry(struct journal_geometry *geometry, const struct journal_options *options)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    memset(geometry, 0, sizeof *geometry);
    geometry->slots = options->slots ? options->slots : JOURNAL_SLOTS_DEFAULT;
    geometry->slot_bytes = options->slot_bytes ? options->slot_bytes : JOURNAL_SLOT_BYTES_DEFAULT;
    geometry->created_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    snprintf(geometry->exchange, sizeof geometry->exchange, "%s", options->exchange);
    snprintf(geometry->lane, sizeof geometry->lane, "%s",
             options->lane != NULL ? options->lane : "");
    journal_geometry_seal(geometry);
    return 0;
}

static int check_name(const struct journal_geometry *geometry,
                      const struct journal_options *options, const char *path, char *error)
{
    const char *lane = options->lane != NULL ? options->lane : "";
    if (options->exchange == NULL ||
        (strcmp(options->exchange, geometry->exchange) == 0 && strcmp(lane, geometry->lane) == 0)) {
        return 0;
    }
    return fail(error, BLOTTER_OPTION, "journal: %s holds records of %s%s%s, not of %s%s%s", path,
                geometry->exchange, *geometry->lane ? ":" : "", geometry->lane, options->exchange,
                *lane ? ":" : "", lane);
}

/* A second description of the same file, so that the mapping does not keep the lock's alive. */
static int map_file(struct journal *journal, const char *path, size_t bytes, char *error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat locked, mapped;
    if (fd < 0 || fstat(fd, &mapped) != 0 || fstat(journal->lock_fd, &locked) != 0 ||
        mapped.st_ino != locked.st_ino || mapped.st_dev != locked.st_dev) {
        if (fd >= 0) {
            close(fd);
        }
        return fail(error, BLOTTER_SYSTEM, "%s: was removed while it was opened", path);
    }
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_SHARED | (journal->writer ? MAP_POPULATE : 0), fd, 0);
    int problem = errno;
    close(fd);
    if (map == MAP_FAILED) {
        return fail(error, BLOTTER_SYSTEM, "%s: mmap: %s", path, strerror(problem));
    }
    if (madvise(map, bytes, MADV_DONTFORK) != 0) {
        munmap(map, bytes);
        return fail(error, BLOTTER_SYSTEM, "%s: madvise: %s", path, strerror(errno));
    }
    if (journal->writer) {
        (void)mlock(map, bytes); /* RLIMIT_MEMLOCK is often 8 MiB: best effort */
    }
    journal->header = map;
    journal->slot_area = (unsigned char *)map + JOURNAL_PAGE_BYTES;
    journal->map_bytes = bytes;
    return 0;
}

/* Makes every page writable now, so that no submit has to wait for a fault. Adding nothing
 * atomically keeps what a process on the other side may be storing. */
static void touch_pages(struct journal *journal)
{
    for (size_t at = 0; at < journal->map_bytes; at += JOURNAL_PAGE_BYTES) {
        atomic_fetch_or_explicit((_Atomic uint64_t *)((char *)journal->header + at), 0,
                                 memory_order_relaxed);
    }
}

static void adopt_geometry(struct journal *journal, const struct journal_geometry *geometry)
{
    size_t wire_limit = LIMIT_RECORD_BYTES - RECORD_HEAD_BYTES_MAX,
           capacity = geometry->slot_bytes - JOURNAL_SLOT_HEAD_BYTES;
    journal->slots = geometry->slots;
    journal->slot_bytes = geometry->slot_bytes;
    journal->body_capacity = (uint32_t)(capacity < wire_limit ? capacity : wire_limit);
    snprintf(journal->exchange, sizeof journal->exchange, "%.32s", geometry->exchange);
    snprintf(journal->lane, sizeof journal->lane, "%.32s", geometry->lane);
}

/* The last page first: from when it is whole to when the first is, the journal has a geometry. See
 * is_unfinished. */
static void write_geometry(struct journal *journal, const struct journal_geometry *geometry)
{
    memcpy(journal->slot_area + (size_t)geometry->slots * geometry->slot_bytes, geometry,
           sizeof *geometry);
    atomic_signal_fence(memory_order_seq_cst); /* as seen by who comes after our death */
    memcpy(&journal->header->geometry, geometry, sizeof *geometry);
}

/* --- becoming the writer
 * --------------------------------------------------------------------------------------------------
 */

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

void journal_boot_id(char out[40])
{
    memset(out, 0, 40);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t got = read(fd, out, 36);
    if (got != 36) {
        memset(out, 0, 40);
    }
    close(fd);
}

static int become_owner(struct journal *journal, char *error)
{
    struct journal_owner owner = {.pid = getpid(), .opened_ns = journal_now_ns(journal)};
    uint64_t next = journal_next(journal);
    if (new_producer_id(&owner.producer_id) != 0) {
        return fail(error, BLOTTER_SYSTEM, "getrandom: %s", strerror(errno));
    }
    owner.base = next - 1;
    owner.inode = journal_inode(journal->lock_fd);
    snprintf(owner.host, sizeof owner.host, "%s", journal->host);
    journal_boot_id(owner.boot);
    journal_owner_seal(&owner);
    journal->producer_id = owner.producer_id;
    journal->base = owner.base;
    memcpy(&journal->header->owner, &owner, sizeof owner);
    /* release: the owner's part is there before anything is claimed */
    atomic_store_explicit(&journal->header->next.value, next | NEXT_OPENING, memory_order_release);
    journal_try_opened(journal);
    return 0;
}

/* The writer's lock is held. The cursors belong to the sender: they are decided here only if there
 * is none now. A fresh file has none, even if a process that looks for work has the lock for a
 * moment. */
static void recover(struct journal *journal, bool fresh)
{
    bool locked = !journal->sender && journal_lock(journal->lock_fd, JOURNAL_LOCK_SENDER) == 0;
    journal_recover(journal, journal->sender || locked || fresh);
    if (locked) {
        journal_unlock(journal->lock_fd, JOURNAL_LOCK_SENDER);
    }
}

/* As a sender: what a dead writer left is recovered here; a living one has done that, or is about
 * to. */
static int join(struct journal *journal, const char *path, char *error)
{
    if (journal_adopt(journal) || journal_mend_cursors(journal)) {
        return 0;
    }
    return fail(error, BLOTTER_BUSY, "%s: its writer is still opening it", path);
}

/* --- opening
 * --------------------------------------------------------------------------------------------------------------
 */

/* Nothing was recorded in it: it is empty, or its maker died in the middle. The last page's
 * geometry is written first, and may be there in part. */
static bool is_unfinished(int fd, uint64_t size)
{
    static const struct journal_geometry nothing;
    struct journal_geometry part = nothing;
    if (size <= 2 * JOURNAL_PAGE_BYTES) {
        return all_zero(fd, 0, size);
    }
    uint64_t before_last = size - JOURNAL_PAGE_BYTES;
    if (pread(fd, &part, sizeof part, (off_t)before_last) < 0) {
        return false;
    }
    bool ours = memcmp(part.magic, nothing.magic, sizeof magic) == 0 ||
                memcmp(part.magic, magic, sizeof magic) == 0;
    return ours && all_zero(fd, 0, before_last) && all_zero(fd, before_last + sizeof part, size);
}

static int find_geometry(int fd, uint64_t size, const struct journal_options *options,
                         struct journal_geometry *geometry, bool *fresh, char *error)
{
    int status = journal_read_geometry(fd, size, geometry, error);
    *fresh = status != 0 && options->create && is_unfinished(fd, size);
    if (*fresh) {
        *error = 0;
        return make_geometry(geometry, options);
    }
    if (status == 0 && size < JOURNAL_PAGE_BYTES) {
        return fail(error, BLOTTER_CORRUPT, "it ends before the first record");
    }
    return status;
}

static int set_size(int fd, const char *path, bool fresh, uint64_t size, uint64_t bytes,
                    char *error)
{
    if (fresh && size > bytes) {
        if (ftruncate(fd, (off_t)bytes) != 0) { /* the last page has its place at the end */
            return fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
        }
        size = bytes;
    }
    int status = reserve(fd, path, size, bytes, error);
    if (status != 0 && fresh && size == 0) {
        unlink(path);
    } else if (status != 0 && ftruncate(fd, (off_t)size) != 0) {
        return status; /* as it was, but for its length */
    }
    return status;
}

static int lay_out(struct journal *journal, const char *path, const struct journal_options *options,
                   char *error)
{
    struct journal_geometry geometry;
    struct stat st;
    bool fresh;
    if (fstat(journal->lock_fd, &st) != 0) {
        return fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(error, BLOTTER_SYSTEM, "%s: is not a file", path);
    }
    uint64_t size = (uint64_t)st.st_size;
    int status = find_geometry(journal->lock_fd, size, options, &geometry, &fresh, error);
    if (status != 0) {
        char what[JOURNAL_ERROR_BYTES];
        memcpy(what, error, sizeof what);
        return fail(error, status, "%.255s: %.200s", path, what);
    }
    size_t bytes = journal_bytes(geometry.slots, geometry.slot_bytes);
    if ((status = check_name(&geometry, options, path, error)) != 0) {
        return status;
    }
    if ((status = set_size(journal->lock_fd, path, fresh, size, bytes, error)) != 0) {
        return status;
    }
    if ((status = map_file(journal, path, bytes, error)) != 0) {
        return status;
    }
    adopt_geometry(journal, &geometry);
    write_geometry(journal, &geometry);
    journal->intact_bytes = fresh ? bytes : size;
    if (!options->write) {
        return join(journal, path, error);
    }
    touch_pages(journal);
    recover(journal, fresh);
    return 0;
}

static int open_parts(struct journal *journal, const char *path,
                      const struct journal_options *options, char *error)
{
    if (!journal_remember(journal)) {
        return fail(error, BLOTTER_SYSTEM, "a page that a forked child finds empty: %s",
                    strerror(errno));
    }
    int status = open_locked(journal, path, options, error);
    if (status == 0) {
        status = lay_out(journal, path, options, error);
    }
    return status == 0 && options->write ? become_owner(journal, error) : status;
}

static void undo(struct journal *journal)
{
    journal_forget(journal);
    if (journal->header != NULL) {
        munmap(journal->header, journal->map_bytes);
    }
    free(journal);
}

int journal_open(struct journal **out, const char *path, const struct journal_options *options,
                 char error[JOURNAL_ERROR_BYTES])
{
    *out = NULL;
    *error = 0;
    if (strlen(path) >= JOURNAL_PATH_BYTES) {
        return fail(error, BLOTTER_OPTION, "journal: the path is longer than %d bytes",
                    JOURNAL_PATH_BYTES - 1);
    }
    if ((options->slots || options->slot_bytes) &&
        !size_valid(options->slots ? options->slots : JOURNAL_SLOTS_DEFAULT,
                    options->slot_bytes ? options->slot_bytes : JOURNAL_SLOT_BYTES_DEFAULT)) {
        return fail(error, BLOTTER_OPTION,
                    "slots %u, slot_bytes %u: slots is a power of two in %d .. %d, slot_bytes a "
                    "multiple of 64 in %d .. %d",
                    options->slots, options->slot_bytes, JOURNAL_SLOTS_MIN, JOURNAL_SLOTS_MAX,
                    JOURNAL_SLOT_BYTES_MIN, JOURNAL_SLOT_BYTES_MAX);
    }
    struct journal *journal = aligned_alloc(_Alignof(struct journal), sizeof *journal);
    if (journal == NULL) {
        return fail(error, BLOTTER_SYSTEM, "out of memory");
    }
    memset(journal, 0, sizeof *journal);
    journal->lock_fd = -1;
    journal->writer = options->write;
    journal->sender = options->send;
    atomic_init(&journal->clock_offset_ns, INT64_MIN / 2);
    atomic_init(&journal->clock_checked_ns, INT64_MIN / 2);
    (void)journal_now_ns(journal); /* measures the offset */
    if (gethostname(journal->host, sizeof journal->host - 1) != 0) {
        journal->host[0] = 0;
    }
    snprintf(journal->path, sizeof journal->path, "%s", path);
    int status = open_parts(journal, path, options, error);
    if (status != 0) {
        undo(journal);
    } else {
        *out = journal;
    }
    return status;
}

/* The lowest number from this one on of a journal that is there already; NAMES_MAX: none. */
static unsigned next_existing(const char *folder, const char *name, unsigned from)
{
    DIR *entries = opendir(folder);
    size_t length = strlen(name);
    unsigned lowest = NAMES_MAX;
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries));) {
        char *end;
        if (strncmp(entry->d_name, name, length) != 0 || entry->d_name[length] < '0' ||
            entry->d_name[length] > '9') {
            continue;
        }
        unsigned long n = strtoul(entry->d_name + length, &end, 10);
        if (*end == 0 && n >= from && n < lowest) {
            lowest = (unsigned)n;
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    return lowest;
}

/* What a dead process left goes before a new journal: nobody might ever open as many at a time as
 * there were then. */
int journal_open_in_folder(struct journal **out, const char *folder,
                           const struct journal_options *options, char error[JOURNAL_ERROR_BYTES])
{
    char path[JOURNAL_PATH_BYTES], name[2 * LIMIT_EXCHANGE_BYTES + 3];
    const char *lane = options->lane != NULL ? options->lane : "";
    snprintf(name, sizeof name, "%.32s%s%.32s.", options->exchange, *lane ? ":" : "", lane);
    if (strlen(folder) + strlen(name) + sizeof "/99999" > sizeof path) {
        return fail(error, BLOTTER_OPTION, "journal: the folder's path is too long");
    }
    for (unsigned n = next_existing(folder, name, 0); n < NAMES_MAX;
         n = next_existing(folder, name, n + 1)) {
        snprintf(path, sizeof path, "%s/%s%u", folder, name, n);
        if (journal_open(out, path, options, error) == 0) {
            return 0;
        }
    }
    for (unsigned n = 0; n < NAMES_MAX; n++) {
        snprintf(path, sizeof path, "%s/%s%u", folder, name, n);
        int status = journal_open(out, path, options, error);
        if (status != BLOTTER_BUSY && status != BLOTTER_CORRUPT && status != BLOTTER_FORMAT) {
            return status;
        }
    }
    return fail(error, BLOTTER_BUSY, "%s: no free name", folder);
}

static int probe_file(int fd, const char *path, char *error)
{
    struct journal_geometry geometry;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(error, BLOTTER_CORRUPT, "not a file");
    }
    if (journal_is_locked(fd, JOURNAL_LOCK_SENDER)) {
        return fail(error, BLOTTER_BUSY, "%s: has a sender", path);
    }
    int status = journal_read_geometry(fd, (uint64_t)st.st_size, &geometry, error);
    if (status != 0 && journal_is_locked(fd, JOURNAL_LOCK_WRITER)) {
        return fail(error, BLOTTER_BUSY, "%s: is being made", path);
    }
    return status;
}

int journal_probe(const char *path, char error[JOURNAL_ERROR_BYTES])
{
    *error = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
    }
    int status = probe_file(fd, path, error);
    close(fd);
    return status;
}

bool journal_is_folder(const char *path)
{
    struct stat st;
    size_t length = strlen(path);
    return (length > 0 && path[length - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

int journal_default_folder(char out[JOURNAL_PATH_BYTES], char error[JOURNAL_ERROR_BYTES])
{
    struct stat st;
    snprintf(out, JOURNAL_PATH_BYTES, "/dev/shm/blotter-%u", (unsigned)geteuid());
    if (mkdir(out, 0700) != 0 && errno != EEXIST) {
        return fail(error, BLOTTER_SYSTEM, "%s: %s", out, strerror(errno));
    }
    if (lstat(out, &st) != 0) {
        return fail(error, BLOTTER_SYSTEM, "%s: %s", out, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        return fail(error, BLOTTER_SYSTEM, "%s: is not a folder of this user", out);
    }
    if ((st.st_mode & 077) != 0 && chmod(out, 0700) != 0) {
        return fail(error, BLOTTER_SYSTEM, "%s: is open to other users: %s", out, strerror(errno));
    }
    return 0;
}
