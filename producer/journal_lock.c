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

/* --- forks --- */

enum { PAGES_PER_AREA = 1024 };

static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static struct journal *open_journals;
static struct journal *retained;      /* reachable, so no leak to a checker */
static volatile uint32_t *alive_page; /* 1, and 0 in a child */
static char *free_pages;
static unsigned free_page_count;

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

static void journal_lock_after_fork_in_child(void)
{
    for (struct journal *each = open_journals; each != NULL; each = each->next_open) {
        close_lock_fd(each);
    }
    open_journals = NULL;
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

bool journal_remember(struct journal *journal)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_fork_handlers);
    pthread_mutex_lock(&open_mutex);
    journal->alive = alive_word();
    if (journal->alive != NULL) {
        journal->next_open = open_journals;
        open_journals = journal;
    }
    pthread_mutex_unlock(&open_mutex);
    return journal->alive != NULL;
}

void journal_forget(struct journal *journal)
{
    pthread_mutex_lock(&open_mutex);
    for (struct journal **each = &open_journals; *each != NULL; each = &(*each)->next_open) {
        if (*each == journal) {
            *each = journal->next_open;
            break;
        }
    }
    close_lock_fd(journal);
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

void journal_retain(struct journal *journal)
{
    pthread_mutex_lock(&open_mutex);
    journal->next_open = retained;
    retained = journal;
    pthread_mutex_unlock(&open_mutex);
}

void *journal_reserve_page(void)
{
    pthread_mutex_lock(&open_mutex);
    if (free_page_count == 0) {
        void *area = mmap(NULL, (size_t)PAGES_PER_AREA * JOURNAL_PAGE_BYTES, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        free_pages = area;
        free_page_count = area == MAP_FAILED ? 0 : PAGES_PER_AREA;
    }
    void *page = NULL;
    if (free_page_count > 0) {
        page = free_pages;
        free_pages += JOURNAL_PAGE_BYTES;
        free_page_count--;
    }
    pthread_mutex_unlock(&open_mutex);
    return page;
}
