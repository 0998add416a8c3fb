/* journal_inspect.c: a picture of a journal, taken without locking or changing it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal.h"
#include "producer/journal_open.h"
#include "producer/journal_recover.h"
#include "producer/journal_span.h"

struct inspection {
    struct journal_picture *picture;
    journal_inspector *each; /* NULL: none */
    void *arg;
};

static void inspect_record(const struct inspection *inspection, const struct journal *journal,
                           uint64_t position)
{
    struct journal_picture *picture = inspection->picture;
    const char *state = "committed";
    picture->valid++;
    if (position >= picture->sent) {
        picture->unsent++;
        state = "unsent";
    } else if (position >= picture->committed) {
        picture->unconfirmed++;
        state = "unconfirmed";
    }
    if (inspection->each != NULL) {
        inspection->each(inspection->arg, position, journal_slot_at(journal, position), state);
    }
}

static void inspect_slots(const struct journal_span *span, const struct inspection *inspection)
{
    for (uint64_t position = span->floor; position < span->next; position++) {
        switch (journal_slot_state(span, position)) {
        case SLOT_VALID:
            inspect_record(inspection, span->journal, position);
            break;
        case SLOT_UNPUBLISHED:
            inspection->picture->unpublished++;
            break;
        case SLOT_DAMAGED:
            inspection->picture->damaged++;
            break;
        }
    }
}

static void fill_picture(const struct journal *journal, uint64_t size,
                         const struct inspection *inspection)
{
    struct journal_picture *picture = inspection->picture;
    const struct journal_header *header = journal->header;
    struct journal_span span = {.journal = journal, .intact_bytes = size, .same_boot = true};
    journal_decide_span(&span);
    picture->closed =
        (atomic_load_explicit(&header->next.value, memory_order_acquire) & NEXT_CLOSED) != 0;
    picture->next = span.next;
    picture->floor = span.floor;
    picture->sent = journal_hint(&header->sent, span.floor, span.next, span.floor);
    picture->committed = journal_hint(&header->committed, 1, span.next, span.floor);
    picture->owner_valid = journal_owner_valid(&header->owner, journal->version);
    if (picture->owner_valid) {
        picture->producer_id = header->owner.producer_id;
        picture->base = header->owner.base;
        picture->pid = header->owner.pid;
        picture->opened_ns = header->owner.opened_ns;
        memcpy(picture->host, header->owner.host, sizeof picture->host);
    }
    inspect_slots(&span, inspection);
}

/* Copies the file into memory of the size that its geometry says: it may be shorter. Its holes take
 * no memory. */
static int map_copy(int fd, uint64_t size, size_t bytes, void **out)
{
    unsigned char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t end = size < bytes ? size : bytes;
    if (map == MAP_FAILED) {
        return -1;
    }
    for (uint64_t at = journal_skip_hole(fd, 0, end); at < end;
         at = journal_skip_hole(fd, at, end)) {
        off_t hole = lseek(fd, (off_t)at, SEEK_HOLE);
        uint64_t to = hole > (off_t)at && (uint64_t)hole < end ? (uint64_t)hole : end;
        ssize_t got = pread(fd, map + at, (size_t)(to - at), (off_t)at);
        if (got <= 0) {
            break;
        }
        at += (uint64_t)got;
    }
    *out = map;
    return 0;
}

static int inspect_open(int fd, const char *path, const struct inspection *inspection, char *error)
{
    struct journal_picture *picture = inspection->picture;
    struct stat st;
    struct journal_geometry geometry;
    struct journal journal = {.lock_fd = -1};
    void *map;
    if (fstat(fd, &st) != 0) {
        snprintf(error, JOURNAL_ERROR_BYTES, "%.255s: %s", path, strerror(errno));
        return BLOTTER_SYSTEM;
    }
    if (!S_ISREG(st.st_mode)) {
        return journal_fail(error, BLOTTER_CORRUPT, "this is a %s, not a journal",
                            S_ISDIR(st.st_mode) ? "folder" : "special file");
    }
    int status = journal_read_geometry(fd, (uint64_t)st.st_size, &geometry, error);
    if (status == BLOTTER_CORRUPT && journal_is_unfinished(fd, (uint64_t)st.st_size)) {
        return journal_fail(error, status, JOURNAL_UNMADE);
    }
    if (status != 0) {
        return status;
    }
    picture->file_bytes = (uint64_t)st.st_size;
    picture->expected_bytes = journal_bytes(geometry.slots, geometry.slot_bytes);
    if (map_copy(fd, picture->file_bytes, picture->expected_bytes, &map) != 0) {
        snprintf(error, JOURNAL_ERROR_BYTES, "%.255s: out of memory", path);
        return BLOTTER_SYSTEM;
    }
    journal.header = map;
    journal.slot_area = (unsigned char *)map + JOURNAL_PAGE_BYTES;
    journal.slots = picture->slots = geometry.slots;
    journal.slot_bytes = picture->slot_bytes = geometry.slot_bytes;
    picture->version = geometry.version;
    memcpy(picture->exchange, geometry.exchange, sizeof picture->exchange);
    memcpy(picture->lane, geometry.lane, sizeof picture->lane);
    journal.version = geometry.version;
    if (!journal_target_get(&journal.header->target, &picture->target)) {
        memset(&picture->target, 0, sizeof picture->target);
    }
    fill_picture(&journal, picture->file_bytes, inspection);
    munmap(map, picture->expected_bytes);
    return 0;
}

int journal_inspect_records(const char *path, journal_inspector *each, void *arg,
                            struct journal_picture *picture, char error[JOURNAL_ERROR_BYTES])
{
    memset(picture, 0, sizeof *picture);
    *error = '\0';
    /* a FIFO may be there, which nobody writes to */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        snprintf(error, JOURNAL_ERROR_BYTES, "%.255s: %s", path, strerror(errno));
        return BLOTTER_SYSTEM;
    }
    int status = inspect_open(fd, path, &(struct inspection){picture, each, arg}, error);
    close(fd);
    return status;
}

int journal_inspect(const char *path, struct journal_picture *picture,
                    char error[JOURNAL_ERROR_BYTES])
{
    return journal_inspect_records(path, NULL, NULL, picture, error);
}
