/* journal_handle.h: an open journal, as all that works on it shares it.
 *
 * A handle has a page of its own, of which whoever opens the journal may use the rest. When the
 * journal is released the page turns to zeroes, and its address is never used again: a thread that
 * comes late finds it closed, and nothing is kept for it. At any moment it may begin to read
 * zeroes, so it reads a pointer once, by the functions at the end, and asks whether it is NULL. */
#ifndef BLOTTER_PRODUCER_JOURNAL_HANDLE_H
#define BLOTTER_PRODUCER_JOURNAL_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/blotter.h"
#include "producer/journal_clock.h"
#include "producer/journal_format.h"

enum {
    JOURNAL_PATH_BYTES = 256,          /* as it is given */
    JOURNAL_ABSOLUTE_PATH_BYTES = 768, /* behind the folder that the process is in */
};

/* The findings of opening in a file of a former owner. */
struct journal_found {
    uint64_t leftovers; /* records kept, valid */
    uint64_t voided;    /* claimed, never accepted: made `void` records */
    uint64_t damaged;   /* lost: a gap that the audit will name */
};

struct journal {
    /* read by every submit, written only while opening */
    struct journal_header *header;
    unsigned char *slot_area;
    const volatile uint32_t *alive; /* 0 in a forked child */
    uint32_t slots, slot_bytes, body_capacity, version;
    int64_t producer_id;
    uint64_t base;
    /* written about once a second */
    _Alignas(128) struct journal_clock clock;
    _Atomic uint64_t full; /* appends that found no room */
    /* cold */
    _Alignas(128) size_t map_bytes;
    int lock_fd;
    int pid;
    uint64_t intact_bytes; /* of the file, as recovery has to see it: it may have been cut short */
    uint64_t adopted;      /* journal_adopt: `next` as it left it; 0: it has adopted nothing */
    bool writer, sender;
    bool in_memory;            /* the file system does not outlive the machine's boot */
    struct journal *next_open; /* list of those that are not released */
    char path[JOURNAL_ABSOLUTE_PATH_BYTES];
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];
    struct journal_found found;
    struct {
        int64_t producer_id, last_seq, confirmed_seq; /* 0: none */
    } follows;
};

/* Says whether it is the handle of a parent process. No system call. */
static inline bool journal_forked(const struct journal *journal)
{
    return *journal->alive == 0;
}

/* Returns what a call that comes late has to answer, CLOSED or FORKED; or OK. */
static inline int journal_state(const struct journal *journal)
{
    const volatile uint32_t *alive = *(const volatile uint32_t *const volatile *)&journal->alive;
    return __builtin_expect(alive == NULL, 0) ? BLOTTER_CLOSED
           : __builtin_expect(*alive == 0, 0) ? BLOTTER_FORKED
                                              : BLOTTER_OK;
}

/* Returns NULL for a journal that is released. A thread that has the header already finds a page of
 * zeroes in its place, where `next` says closed, too. */
static inline struct journal_header *journal_header_late(const struct journal *journal)
{
    return *(struct journal_header *const volatile *)&journal->header;
}

#endif
