/* journal_lock.c: see journal_lock.h.
 *
 * Locks are open-file-description locks: a process that has a duplicate of the descriptor has the
 * lock. So a child closes the descriptors of all journals that are open, or being opened, when it
 * is forked; they are opened and closed under the mutex that fork takes too, so that there is none
 * it does not know of. A mapping keeps its description alive, also in a forked child, where the
 * lock would then outlive the parent: so the locked descriptor is never mapped. A page that
 * children find wiped (MADV_WIPEONFORK) tells them that the handle is not theirs, without a system
 * call. */
#include "producer/journal_lock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "producer/journal_handle.h"

/* --- locks --- */

static struct flock lock_of(enum journal_lock which, short type)
{
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = INT64_C(1) << 60 | which, .l_len = 1};
}

int journal_lock(int fd, enum journal_lock which)
{
    struct flock lock = lock_of(which, F_WRLCK);
    int result = fcntl(fd, F_OFD_SETLK, &lock);
    if (result != 0 && errno == EACCES) {
        errno = EAGAIN;
    }
    return result;
}

void journal_unlock(int fd, enum journal_lock which)
{
    struct flock lock = lock_of(which, F_UNLCK);
    fcntl(fd, F_OFD_SETLK, &lock);
}

bool journal_is_locked(int fd, enum journal_lock which)
{
    struct flock lock = lock_of(which, F_WRLCK);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

uint64_t journal_inode(int fd)
{
    struct stat opened;
    return fstat(fd, &opened) == 0 ? opened.st_ino : 0;
}

bool journal_is_ours(const struct stat *file)
{
    return S_ISREG(file->st_mode) && file->st_uid == geteuid() &&
           (file->st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           file->st_nlink <= 1; /* 0: removed just now */
}

bool journal_is_at(int fd, const char *path)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

/* --- handles and forks --- */

enum {
    AREA_BYTES = 4 << 20,
    HANDLE_BYTES = 2 * JOURNAL_PAGE_BYTES,
    PAGE_TABLE_BYTES = 2 << 20, /* what a page table maps */
};

static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static struct journal *open_journals;
static volatile uint32_t *alive_page; /* 1, and 0 in a child */
static char *area, *area_before;      /* where handles are made, and where they were before */
static size_t area_used = AREA_BYTES;

static void close_lock_fd(struct journal *journal)
{
    if (journal->lock_fd >= 0) {
        close(journal->lock_fd);
    }
    journal->lock_fd = -1;
}

static void journal_lock_before_fork(void)
{
    pthread_mutex_lock(&open_mutex);
}

static void journal_lock_after_fork_in_parent(void)
{
    pthread_mutex_unlock(&open_mutex);
}

/* Leaves the areas alone: in a child they have holes, where headers were, which may hold anything
 * by now. */
static void journal_lock_after_fork_in_child(void)
{
    for (struct journal *each = open_journals; each != NULL; each = each->next_open) {
        close_lock_fd(each);
    }
    open_journals = NULL;
    area = area_before = NULL;
    area_used = AREA_BYTES;
    pthread_mutex_unlock(&open_mutex);
}

static void install_fork_handlers(void)
{
    pthread_atfork(journal_lock_before_fork, journal_lock_after_fork_in_parent,
                   journal_lock_after_fork_in_child);
}

/* Makes the page that all journals of this process share; a child that opens its own makes another.
 * Never unmapped. */
static const volatile uint32_t *alive_word(void)
{
    if (alive_page != NULL && *alive_page) {
        return alive_page;
    }
    void *page =
        mmap(NULL, JOURNAL_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    if (madvise(page, JOURNAL_PAGE_BYTES, MADV_WIPEONFORK) != 0) {
        munmap(page, JOURNAL_PAGE_BYTES);
        return NULL;
    }
    alive_page = page;
    *alive_page = 1;
    return alive_page;
}

/* Puts pages of zeroes in the place of what is there. A thread that looks meanwhile finds the one
 * or the other: the kernel lets no access fall between the two. They are writable, as a late
 * compare-and-swap writes where it changes nothing. By a system call, as ThreadSanitizer takes mmap
 * for a plain write to every byte. */
static bool put_zeroes(void *at, size_t bytes)
{
    return syscall(SYS_mmap, at, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != -1;
}

/* Maps an area that begins and ends where a page table does: the last place for one in what the
 * kernel gives, which gives from above, so that areas lie side by side. */
static char *map_area(void)
{
    char *map = mmap(NULL, AREA_BYTES + PAGE_TABLE_BYTES, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    size_t behind = (uintptr_t)map % PAGE_TABLE_BYTES;
    char *from = map + PAGE_TABLE_BYTES - behind;
    munmap(map, PAGE_TABLE_BYTES - behind);
    if (behind > 0) {
        munmap(from + AREA_BYTES, behind);
    }
    return from;
}

static bool is_area_in_use(const char *from)
{
    for (struct journal *each = open_journals; each != NULL; each = each->next_open) {
        if ((char *)each >= from && (char *)each < from + AREA_BYTES) {
            return true;
        }
    }
    return false;
}

/* Maps an area over that has had its time, together with those beside it: they become one mapping,
 * without page tables. Zeroes that are moved there are neither locked nor filled, whatever the
 * process has asked of mlockall for all that it maps. */
static void retire_area(char *from)
{
    static char *begin, *end;

    if (from + AREA_BYTES != begin) {
        end = from + AREA_BYTES;
    }
    begin = from;
    size_t bytes = (size_t)(end - begin);
    void *zeroes = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeroes != MAP_FAILED &&
        (munlock(zeroes, bytes) != 0 || mprotect(zeroes, bytes, PROT_READ | PROT_WRITE) != 0 ||
         mremap(zeroes, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, begin) == MAP_FAILED)) {
        munmap(zeroes, bytes);
    }
}

/* Begins another area, and retires the one before the last: it is zeroes by now, unless it has
 * handles of a long life. */
static bool begin_area(void)
{
    char *fresh = map_area();
    if (fresh == NULL) {
        return false;
    }
    if (area_before != NULL && !is_area_in_use(area_before)) {
        retire_area(area_before);
    }
    area_before = area;
    area = fresh;
    area_used = 0;
    return true;
}

static struct journal *take_handle(void)
{
    const volatile uint32_t *alive = alive_word();
    if (alive == NULL || (area_used == AREA_BYTES && !begin_area()) ||
        !put_zeroes(area + area_used, JOURNAL_PAGE_BYTES)) {
        return NULL;
    }
    struct journal *journal = (struct journal *)(area + area_used);
    area_used += HANDLE_BYTES;
    journal->alive = alive;
    journal->lock_fd = -1;
    journal->next_open = open_journals;
    open_journals = journal;
    return journal;
}

struct journal *journal_make_handle(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_fork_handlers);
    pthread_mutex_lock(&open_mutex);
    struct journal *journal = take_handle();
    pthread_mutex_unlock(&open_mutex);
    return journal;
}

static void forget_handle(const struct journal *journal, struct journal *next)
{
    for (struct journal **each = &open_journals; *each != NULL; each = &(*each)->next_open) {
        if (*each == journal) {
            *each = next;
            break;
        }
    }
}

/* Gives the lock back last: as soon as it is free another process may open the file, and a late
 * thread must not find its `next`. Where the process may map no more, as its limit was lowered,
 * header and lock stay until it ends. */
void journal_end_handle(struct journal *journal)
{
    size_t bytes = journal_forked(journal) ? JOURNAL_PAGE_BYTES : HANDLE_BYTES;
    pthread_mutex_lock(&open_mutex);
    int lock_fd = journal->lock_fd;
    struct journal *next = journal->next_open;
    if (put_zeroes(journal, bytes)) {
        munlock(journal, bytes); /* filled already, after mlockall */
        madvise(journal, bytes, MADV_DONTNEED);
        forget_handle(journal, next);
        if (lock_fd >= 0) {
            close(lock_fd);
        }
    }
    pthread_mutex_unlock(&open_mutex);
}

int journal_open_file(struct journal *journal, const char *path, int flags)
{
    pthread_mutex_lock(&open_mutex);
    assert(journal->lock_fd < 0);
    int fd = journal->lock_fd =
        open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags, 0600);
    int problem = errno;
    pthread_mutex_unlock(&open_mutex);
    errno = problem;
    return fd;
}

void journal_close_file(struct journal *journal)
{
    pthread_mutex_lock(&open_mutex);
    close_lock_fd(journal);
    pthread_mutex_unlock(&open_mutex);
}
