/* journals.h: small journals in a folder of the test's own, and processes that die, for the unit tests of the journal. */
#ifndef BLOTTER_TESTS_JOURNALS_H
#define BLOTTER_TESTS_JOURNALS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "producer/blotter.h"
#include "producer/journal.h"

enum { SLOTS = 64, SLOT_BYTES = 256, FILE_BYTES = SLOTS * SLOT_BYTES + 2 * JOURNAL_PAGE_BYTES };

static char folder[64];
static char path[128];
static char error[JOURNAL_ERROR_BYTES];

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_journal.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
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

static const struct journal_options both = {
    .exchange = "okx", .slots = SLOTS, .slot_bytes = SLOT_BYTES, .write = true, .send = true, .create = true};

static inline struct journal *open_at(const char *at)
{
    struct journal *journal;
    int status = journal_open(&journal, at, &both, error);
    if (status != 0)
        fail_msg("%s: %s", blotter_status_text(status), error);
    return journal;
}

/* As a process that dies: the file stays as it is, the locks go. */
static inline void die(struct journal *journal)
{
    int fd = journal->lock_fd;
    munmap(journal->header, journal->map_bytes);
    /* the handle stays in the list of what a fork closes; a descriptor that is closed twice in a child harms nobody */
    journal->lock_fd = -1;
    close(fd);
}

static inline int64_t add(struct journal *journal, unsigned value)
{
    unsigned char body[96];
    memset(body, (int)(value & 127), sizeof body);
    return journal_append(journal, RECORD_ORDER, body, 40 + value % 50, 3);
}

#endif
