/* journals.h: what the tests of the journal share: a small one in a folder of its own, records that
 * can be told by their number, and the death of its process. */
#ifndef BLOTTER_TESTS_JOURNALS_H
#define BLOTTER_TESTS_JOURNALS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_lock.h"
#include "producer/journal_map.h"
#include "producer/journal_open.h"
#include "producer/journal_recover.h"

enum { SLOTS = 64, SLOT_BYTES = 256, FILE_BYTES = SLOTS * SLOT_BYTES + 2 * JOURNAL_PAGE_BYTES };

static char folder[64];
static char path[JOURNAL_PATH_BYTES];
static char error[JOURNAL_ERROR_BYTES];

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/dev/shm/test_journal.XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/j", folder);
    return 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const struct journal_options both = {.exchange = "okx",
                                            .slots = SLOTS,
                                            .slot_bytes = SLOT_BYTES,
                                            .write = true,
                                            .send = true,
                                            .create = true};

static inline struct journal *open_at(const char *at)
{
    struct journal *journal;
    struct journal_options options = both;
    if (access(at, F_OK) == 0) { /* whatever its size */
        options.slots = options.slot_bytes = 0;
    }
    int status = journal_open(&journal, at, &options, error);
    if (status != 0) {
        fail_msg("%s: %s", blotter_status_text(status), error);
    }
    return journal;
}

/* As a process that dies: the file stays as it is, the locks go. */
static inline void die(struct journal *journal)
{
    journal_unmap(journal);
}

static inline void read_file(const char *from, unsigned char *bytes, size_t *size)
{
    FILE *file = fopen(from, "rb");
    assert_non_null(file);
    *size = fread(bytes, 1, FILE_BYTES, file);
    fclose(file);
}

static inline void write_file(const char *to, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(
        to, "wb"); /* one that is there keeps its inode, so that it does not pass for a copy */
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static inline int64_t add(struct journal *journal, unsigned value)
{
    unsigned char body[96];
    memset(body, (int)(value & 127), sizeof body);
    return journal_append(journal, RECORD_ORDER, body, 40 + value % 50, 3);
}

/* Every record of `producer_id` that is in the journal is one that add() made, or of the library's
 * own. Returns their number. */
static inline unsigned check_records(const struct journal *journal, int64_t producer_id)
{
    unsigned found = 0;
    uint64_t next = journal_next(journal);
    for (uint64_t at = journal_cursor(&journal->header->floor); at < next; at++) {
        const struct journal_slot *slot = NULL;
        enum journal_read read = journal_read(journal, at, &slot);
        assert_true(read == JOURNAL_RECORD || read == JOURNAL_LEFT_OUT);
        if (read == JOURNAL_LEFT_OUT || slot->producer_id != producer_id ||
            slot->kind != RECORD_ORDER) {
            continue;
        }
        unsigned value = (unsigned)slot->seq - 1; /* `opened` was seq 1 */
        assert_int_equal(slot->length, 40 + value % 50);
        for (unsigned i = 0; i < slot->length; i++) {
            assert_int_equal(slot->body[i], value & 127);
        }
        found++;
    }
    return found;
}

#endif
