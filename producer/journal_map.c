/* journal_map.c: see journal_map.h.
 *
 * Header and slots are two mappings. The header's page lies behind the handle's, because something
 * has to stay in its place for ever: a thread may be about to look at `next`. */
#include "producer/journal_map.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_handle.h"
#include "producer/journal_lock.h"

/* Returns 0 or an errno. Signals are blocked: where one arrives, the kernel may give up and undo
 * what it has done, however often it is asked. */
static int allocate(int fd, uint64_t from, uint64_t bytes)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int problem;
    do {
        problem = posix_fallocate(fd, (off_t)from, (off_t)bytes);
    } while (problem == EINTR);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return problem;
}

/* Fills the holes that a copied file may have. What is there is not touched, as others may be at
 * work in it. */
static int fill_holes(int fd, uint64_t bytes)
{
    int result;
    do {
        result = fallocate(fd, 0, 0, (off_t)bytes);
    } while (result != 0 && errno == EINTR);
    /* other errors: the file system cannot, and holes stay holes */
    return result != 0 && (errno == ENOSPC || errno == EDQUOT) ? errno : 0;
}

/* Reserves the file's blocks. The limit is looked at before, as exceeding it raises SIGXFSZ. */
static int reserve_blocks(int fd, uint64_t size, uint64_t bytes)
{
    struct rlimit limit;
    if (size < bytes && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        bytes > limit.rlim_cur) {
        return EFBIG;
    }
    int problem = size < bytes ? allocate(fd, size, bytes - size) : 0;
    return problem == 0 && size > 0 ? fill_holes(fd, size) : problem;
}

int journal_reserve(int fd, const char *path, bool fresh, uint64_t size, uint64_t bytes,
                    char *error)
{
    if (fresh && size > bytes) {
        if (ftruncate(fd, (off_t)bytes) != 0) { /* the last page has its place at the end */
            return journal_fail(error, BLOTTER_SYSTEM, "%s: %s", path, strerror(errno));
        }
        size = bytes;
    }
    int problem = reserve_blocks(fd, size, bytes);
    if (problem == 0) {
        return 0;
    }
    int status = journal_fail(
        error, BLOTTER_SYSTEM,
        "%s: cannot reserve %llu bytes: %s; make room, or choose fewer slots or another folder",
        path, (unsigned long long)bytes, strerror(problem));
    if (fresh && size == 0) {
        unlink(path);
    } else if (ftruncate(fd, (off_t)size) != 0) {
        return status; /* as it was, but for its length */
    }
    return status;
}

static bool map_part(void *at, size_t bytes, off_t offset, bool populate, int fd, void **out)
{
    void *map =
        mmap(at, bytes, PROT_READ | PROT_WRITE,
             MAP_SHARED | (at != NULL ? MAP_FIXED : 0) | (populate ? MAP_POPULATE : 0), fd, offset);
    if (map == MAP_FAILED) {
        return false;
    }
    *out = map;
    return madvise(map, bytes, MADV_DONTFORK) == 0;
}

static bool map_parts(struct journal *journal, size_t bytes, int fd)
{
    void *header = NULL;
    void *slots = NULL;
    if (!map_part((char *)journal + JOURNAL_PAGE_BYTES, JOURNAL_PAGE_BYTES, 0, journal->writer, fd,
                  &header)) {
        return false;
    }
    journal->header = header;
    journal->map_bytes = bytes;
    bool mapped =
        map_part(NULL, bytes - JOURNAL_PAGE_BYTES, JOURNAL_PAGE_BYTES, journal->writer, fd, &slots);
    journal->slot_area = slots;
    return mapped;
}

/* Opens a second description of the same file, so that the mapping does not keep the lock's alive.
 */
static int open_again(struct journal *journal, const char *path, char *error)
{
    struct stat locked, mapped;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT) {
        journal_fail(error, 0, "%s: %s", path, strerror(errno));
        return -1;
    }
    if (fd >= 0 && fstat(fd, &mapped) == 0 && fstat(journal->lock_fd, &locked) == 0 &&
        mapped.st_ino == locked.st_ino && mapped.st_dev == locked.st_dev) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    journal_fail(error, 0, "%s: was removed while it was opened", path);
    return -1;
}

int journal_map(struct journal *journal, const char *path, size_t bytes, char *error)
{
    int fd = open_again(journal, path, error);
    if (fd < 0) {
        return BLOTTER_SYSTEM;
    }
    bool mapped = map_parts(journal, bytes, fd);
    int problem = errno;
    close(fd);
    if (!mapped) {
        return journal_fail(error, BLOTTER_SYSTEM, "%s: mmap: %s", path, strerror(problem));
    }
    if (journal->writer) { /* RLIMIT_MEMLOCK is often 8 MiB: best effort */
        (void)mlock(journal->header, JOURNAL_PAGE_BYTES);
        (void)mlock(journal->slot_area, bytes - JOURNAL_PAGE_BYTES);
    }
    return 0;
}

void journal_unmap(struct journal *journal)
{
    if (journal->slot_area != NULL) {
        munmap(journal->slot_area, journal->map_bytes - JOURNAL_PAGE_BYTES);
    }
    journal_end_handle(journal);
}

/* Touches each page. Adding nothing atomically keeps what a process on the other side may be
 * storing. */
static void touch(char *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += JOURNAL_PAGE_BYTES) {
        atomic_fetch_or_explicit((_Atomic uint64_t *)(from + at), 0, memory_order_relaxed);
    }
}

void journal_touch_pages(struct journal *journal)
{
    touch((char *)journal->header, JOURNAL_PAGE_BYTES);
    touch((char *)journal->slot_area, journal->map_bytes - JOURNAL_PAGE_BYTES);
}
