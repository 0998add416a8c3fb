/* journal_handle.h: an open journal, as all that works on it shares it. */
#ifndef BLOTTER_PRODUCER_JOURNAL_HANDLE_H
#define BLOTTER_PRODUCER_JOURNAL_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/journal_clock.h"
#include "producer/journal_format.h"

enum { JOURNAL_PATH_BYTES = 256 };

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
    struct journal *next_open; /* list for the fork handler */
    char *path;                /* absolute */
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

#endif
