/* journal_open.h: finding, making, locking and adopting a journal's file. */
#ifndef BLOTTER_PRODUCER_JOURNAL_OPEN_H
#define BLOTTER_PRODUCER_JOURNAL_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/journal.h"

/* Journals that a writer found and could not use for new records. They hold records of another
 * geometry, format version or Redis, and lack a sender. */
enum { JOURNAL_OTHERS_MAX = 8 };
struct journal_others {
    unsigned count;
    char path[JOURNAL_OTHERS_MAX][JOURNAL_PATH_BYTES];
};

struct journal_options {
    const char *exchange;          /* may be NULL for a sender: whatever the file says */
    const char *lane;              /* NULL or "": none */
    uint32_t slots, slot_bytes;    /* of a new file; 0: the default for it, and any that is there */
    bool write, send;              /* the roles to take */
    bool create;                   /* make the file if there is none */
    bool patient;                  /* wait for `blotter ship` to give the file back */
    const char *url;               /* a writer's Redis without credentials; NULL: any */
    struct journal_others *others; /* may be NULL */
};

/* Opens, or makes, the file at path, takes the roles, and as a writer (or as a sender whose writer
 * is dead) recovers what is in it. A file that a writer cannot use for new records is renamed to
 * the next free <path>.<n>. Returns 0 or a blotter_status (BUSY, CORRUPT, FORMAT, NOT_OURS, SYSTEM,
 * OPTION), with a text in error. BUSY for a sender also while its writer is opening it. */
int journal_open(struct journal **, const char *path, const struct journal_options *,
                 char error[JOURNAL_ERROR_BYTES]);

/* Does the same for the first <exchange>[:<lane>].<n> of a folder that is free and can be used. */
int journal_open_in_folder(struct journal **, const char *folder, const struct journal_options *,
                           char error[JOURNAL_ERROR_BYTES]);

/* Says whether it is a folder, or meant to be one by a slash at its end. */
bool journal_is_folder(const char *path);

/* Says whether journal_open would find a journal there that lacks a sender. Locks and changes
 * nothing. OK; BUSY: it has one, or its writer is still making it; or CORRUPT, FORMAT, NOT_OURS,
 * SYSTEM with a text. */
int journal_probe(const char *path, char error[JOURNAL_ERROR_BYTES]);

/* Says whether it is a file that will be a journal, and holds nothing yet. Reads all of it. */
bool journal_is_unmade(const char *path);
#define JOURNAL_UNMADE                                                                      \
    "it holds nothing: the process that made it ended before it recorded anything, or the " \
    "machine "                                                                              \
    "before anything was on its disk; the next producer that opens a journal of this name uses it"

/* Makes the default folder, /dev/shm/blotter-<uid>, if need be, and refuses one that belongs to
 * another user. */
int journal_default_folder(char out[JOURNAL_PATH_BYTES], char error[JOURNAL_ERROR_BYTES]);

/* Like journal_open, but a file that cannot be used for new records is not renamed: returns
 * JOURNAL_OTHER. For journal_folder.c. */
enum { JOURNAL_OTHER = 1 };
int journal_open_named(struct journal **, const char *path, const struct journal_options *,
                       char error[JOURNAL_ERROR_BYTES]);

#endif
