/* journal_file.h: what the parts of the journal share with each other, and hardly anybody else
 * needs. */
#ifndef BLOTTER_PRODUCER_JOURNAL_FILE_H
#define BLOTTER_PRODUCER_JOURNAL_FILE_H

#include "producer/journal.h"

enum journal_lock { JOURNAL_LOCK_WRITER, JOURNAL_LOCK_SENDER };

int journal_lock(int fd, enum journal_lock); /* -1 with errno; EAGAIN: somebody else has it */
void journal_unlock(int fd, enum journal_lock);
bool journal_is_locked(int fd, enum journal_lock);
uint64_t journal_inode(int fd);
bool journal_is_at(int fd, const char *path); /* does the path still name the file that is open? */

/* On the list of what a forked child has to close; forgetting closes it here. False: errno. */
bool journal_remember(struct journal *);
void journal_forget(struct journal *);
int journal_open_file(struct journal *, const char *path,
                      int flags); /* the descriptor that is locked; -1: errno */
void journal_close_file(struct journal *);
void journal_retain(struct journal *, struct journal **list);

/* Reads the geometry from either place. 0, or CORRUPT or FORMAT with a text. */
int journal_read_geometry(int fd, uint64_t size, struct journal_geometry *, char *error);
void journal_boot_id(char out[40]); /* "" if the kernel does not say */

/* Holding the writer's lock: decides `next` and every slot, closes for a dead owner, fills in
 * `found` and `follows`; with no_sender also the sender's cursors. Leaves the journal CLOSED. */
void journal_recover(struct journal *, bool no_sender);

/* Has its last writer written `closed`, or nothing at all? */
bool journal_is_closed(const struct journal *);

void journal_try_opened(
    struct journal *); /* writes `opened` if there is room; else the first append with room does */

/* Fills a claimed slot and publishes it. */
void journal_publish(struct journal *, uint64_t position, const struct journal_slot *head,
                     const unsigned char *body, uint64_t body_checksum);

/* Encodes a session record that surely fits: what is too long for the slot is left out. Returns the
 * body's length. */
enum { JOURNAL_SESSION_BYTES = 1024 };
uint32_t journal_encode_session(const struct journal *, const struct blotter_session *,
                                unsigned char *body, unsigned *fields);

bool journal_slot_holds(const struct journal *, const struct journal_slot *, uint64_t position);

static inline size_t journal_bytes(uint32_t slots, uint32_t slot_bytes)
{
    return (size_t)slots * slot_bytes + 2 * JOURNAL_PAGE_BYTES;
}

#endif
