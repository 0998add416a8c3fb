/* journal_lock.h: the two locks of a journal, its descriptor, and what a forked child must not keep
 * of them; the memory of handles, which outlives them. */
#ifndef BLOTTER_PRODUCER_JOURNAL_LOCK_H
#define BLOTTER_PRODUCER_JOURNAL_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct journal;
struct stat;

enum journal_lock { JOURNAL_LOCK_WRITER, JOURNAL_LOCK_SENDER };

int journal_lock(int fd, enum journal_lock); /* -1 with errno; EAGAIN: somebody else has it */
void journal_unlock(int fd, enum journal_lock);
bool journal_is_locked(int fd, enum journal_lock);

uint64_t journal_inode(int fd);
/* Says whether the path still names the file that is open. */
bool journal_is_at(int fd, const char *path);

/* Says whether the file may be trusted: it is this user's, no other may write it, and it has one
 * name only. */
bool journal_is_ours(const struct stat *);

/* Makes a handle: zeroes but for `alive` and the descriptor, which is -1 and which a forked child
 * closes. The page behind it is for the header. NULL: errno. */
struct journal *journal_make_handle(void);

/* Closes the descriptor, and turns both pages to zeroes, the header's only in the process that
 * mapped it. */
void journal_end_handle(struct journal *);

/* Opens the descriptor that is locked. -1: errno. */
int journal_open_file(struct journal *, const char *path, int flags);
void journal_close_file(struct journal *);

#endif
