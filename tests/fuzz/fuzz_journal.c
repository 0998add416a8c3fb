/* fuzz_journal.c: opening a journal whose file may hold anything.
 *
 * An input is either the bytes of a file, or a journal of our own making and what is to be done to
 * it: bytes written over, the end cut off, cursors set, and checksums made right again, so that
 * what is wrong is met behind them too. The file is then looked at, opened as its next owner or as
 * a sender does, read to its end, and opened once more.
 *
 * It is checked that a file that is refused stays as it was; that what is handed out as a record is
 * in the file as it is, with its checksum; that nothing is changed by reading it twice; and that
 * whatever it was, it is a journal again that takes records.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_checksum.h"
#include "producer/journal_lock.h"
#include "producer/journal_map.h"
#include "producer/journal_open.h"
#include "producer/journal_recover.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SLOTS = 64,
    SLOT_BYTES = 256,
    FILE_BYTES = SLOTS * SLOT_BYTES + 2 * JOURNAL_PAGE_BYTES,
    LIMIT_BYTES = 1 << 20
};

struct image {
    unsigned char bytes[LIMIT_BYTES];
    size_t size;
};

static char path[64], error[JOURNAL_ERROR_BYTES];
static const struct journal_options next_owner = {.exchange = "okx",
                                                  .slots = SLOTS,
                                                  .slot_bytes = SLOT_BYTES,
                                                  .write = true,
                                                  .send = true,
                                                  .create = true};
static const struct journal_options only_sender = {.send = true};

/* --- files --- */

static void write_image(const struct image *image)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, image->bytes, image->size) == (ssize_t)image->size);
    close(fd);
}

static void read_image(struct image *image)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t got = read(fd, image->bytes, sizeof image->bytes);
    CHECK(got >= 0);
    image->size = (size_t)got;
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
}

/* Whatever size a file claims, it gets no more than this. */
static void begin(void)
{
    struct rlimit limit = {LIMIT_BYTES, LIMIT_BYTES};
    if (*path) {
        return;
    }
    snprintf(path, sizeof path, "/dev/shm/fuzz_journal.%d", (int)getpid());
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    signal(SIGXFSZ, SIG_IGN);
    atexit(remove_file);
}

/* --- journals of our own making --- */

/* As a process that dies: the file stays as it is, the locks go. */
static void die(struct journal *journal)
{
    journal_unmap(journal);
}

static void add(struct journal *journal, int count)
{
    unsigned char body[SLOT_BYTES - JOURNAL_SLOT_HEAD_BYTES];
    for (int i = 0; i < count; i++) {
        memset(body, 'a' + i % 26, sizeof body);
        journal_append(journal, i & 1 ? RECORD_TRADE : RECORD_ORDER, body,
                       (uint32_t)(i * 7) % sizeof body, (unsigned)i % 30);
    }
}

static void make(struct image *image, bool laps, bool unpublished, bool closed)
{
    struct journal *journal;
    image->size = 0;
    write_image(image); /* the inode stays, or else they would all be copies of one another */
    CHECK(journal_open(&journal, path, &next_owner, error) == 0);
    add(journal, laps ? SLOTS - 1 : 10);
    for (int i = 0; laps && i < SLOTS / 2; i++) {
        journal_cursor_set(&journal->header->sent, (uint64_t)i + 8);
        journal_cursor_set(&journal->header->committed, (uint64_t)i + 5);
        journal_cursor_set(&journal->header->floor, (uint64_t)i + 2);
        add(journal, 1);
    }
    if (unpublished) {
        journal_cursor_set(&journal->header->floor, journal_cursor(&journal->header->sent));
        atomic_fetch_add(&journal->header->next.value, 1);
        add(journal, 2);
    }
    if (closed) {
        journal_close_writing(journal);
    }
    die(journal);
    read_image(image);
}

static const struct image *made(unsigned which)
{
    static struct image images[8];
    struct image *image = &images[which % 8];
    if (image->size == 0) {
        make(image, which & 1, which & 2, which & 4);
    }
    return image;
}

/* --- what is done to them --- */

struct script {
    const uint8_t *at, *end;
};

static uint64_t take(struct script *script, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && script->at < script->end; i++) {
        value = value << 8 | *script->at++;
    }
    return value;
}

/* Small ones, powers of two, and the one before each. */
static uint64_t take_position(struct script *script, unsigned *flag)
{
    unsigned shape = (unsigned)take(script, 1);
    *flag = shape & 64;
    return (take(script, 2) << (shape & 63)) - (shape >> 7);
}

static struct journal_header *header_of(struct image *image)
{
    return (struct journal_header *)(void *)image->bytes;
}

static struct journal_slot *slot_of(struct image *image, uint64_t n)
{
    return (struct journal_slot *)(void *)(image->bytes + JOURNAL_PAGE_BYTES +
                                           n % SLOTS * SLOT_BYTES);
}

static void write_over(struct image *image, struct script *script)
{
    size_t at = take(script, 2) % LIMIT_BYTES;
    for (unsigned length = (unsigned)take(script, 1) % 64; length > 0 && at < image->size;
         length--) {
        image->bytes[at++] = (unsigned char)take(script, 1);
    }
}

/* A slot of that position, as right as can be. */
static void seal_slot(struct image *image, struct script *script)
{
    unsigned flag;
    uint64_t position = take_position(script, &flag);
    struct journal_slot *slot = slot_of(image, position);
    uint32_t length = slot->length <= SLOT_BYTES - JOURNAL_SLOT_HEAD_BYTES ? slot->length : 0;
    uint32_t version = header_of(image)->geometry.version;
    slot->checksum = journal_slot_checksum(version, slot, position,
                                           journal_checksum(version, slot->body, length));
    atomic_store(&slot->published, position);
}

static void seal_geometry(struct image *image, struct script *script)
{
    struct journal_geometry *geometry = &header_of(image)->geometry;
    if (take(script, 1) & 1) {
        geometry->slots = UINT32_C(1) << take(script, 1) % 32;
        geometry->slot_bytes = (uint32_t)take(script, 2) * 64;
    }
    journal_geometry_seal(geometry);
    if (take(script, 1) & 1) {
        memcpy(image->bytes + FILE_BYTES - JOURNAL_PAGE_BYTES, geometry, sizeof *geometry);
    }
}

static void set_cursor(struct image *image, struct script *script)
{
    struct journal_header *header = header_of(image);
    struct journal_cursor *cursors[] = {&header->next, &header->sent, &header->committed,
                                        &header->floor};
    struct journal_cursor *cursor = cursors[take(script, 1) % 4];
    unsigned with_check;
    uint64_t position = take_position(script, &with_check);
    atomic_store(&cursor->value, position);
    if (with_check) {
        atomic_store(&cursor->check, ~position);
    }
}

static void change(struct image *image, struct script *script)
{
    switch (take(script, 1) % 8) {
    case 0:
    case 1:
        write_over(image, script);
        break;
    case 2:
        seal_slot(image, script);
        break;
    case 3:
        seal_geometry(image, script);
        break;
    case 4:
        journal_owner_seal(&header_of(image)->owner, JOURNAL_VERSION);
        break;
    case 5: {
        uint64_t from = take(script, 1), to = take(script, 1);
        if (from % SLOTS != to % SLOTS) {
            memcpy(slot_of(image, to), slot_of(image, from), SLOT_BYTES);
        }
        break;
    }
    case 6:
        set_cursor(image, script);
        break;
    case 7:
        image->size = (image->size + take(script, 2)) % (FILE_BYTES + 64);
        break;
    }
}

static void make_input(const uint8_t *data, size_t size, struct image *image)
{
    memset(image, 0, sizeof *image);
    if (size == 0 || data[0] & 0x80) {
        image->size = size ? size - 1 : 0;
        image->size = image->size < FILE_BYTES ? image->size : FILE_BYTES;
        memcpy(image->bytes, data + (size != 0), image->size);
        return;
    }
    const struct image *own = made(data[0]);
    struct script script = {data + 1, data + size};
    memcpy(image->bytes, own->bytes, own->size);
    image->size = own->size;
    while (script.at < script.end) {
        change(image, &script);
    }
}

/* --- what must hold --- */

struct seen {
    unsigned records;
    uint64_t sum;
};

/* `published` and the unused end of the head are not part of what the checksum is for. */
static bool is_in(const struct image *image, const struct journal *journal, uint64_t position,
                  const struct journal_slot *slot)
{
    size_t at = JOURNAL_PAGE_BYTES + (position & (journal->slots - 1)) * journal->slot_bytes,
           after = sizeof slot->published;
    return at + JOURNAL_SLOT_HEAD_BYTES + slot->length <= image->size &&
           memcmp(image->bytes + at + after, (const unsigned char *)slot + after,
                  offsetof(struct journal_slot, entry_ms) - after) == 0 &&
           memcmp(image->bytes + at + JOURNAL_SLOT_HEAD_BYTES, slot->body, slot->length) == 0;
}

static void check_slot(const struct image *image, const struct journal *journal, uint64_t position,
                       struct seen *seen)
{
    const struct journal_slot *slot = NULL;
    enum journal_read read = journal_read(journal, position, &slot);
    CHECK(read == JOURNAL_RECORD || read == JOURNAL_LEFT_OUT);
    if (read == JOURNAL_LEFT_OUT || slot->kind == RECORD_SESSION) {
        return;
    }
    CHECK(slot->length <= journal->slot_bytes - JOURNAL_SLOT_HEAD_BYTES);
    CHECK(slot->checksum ==
          journal_slot_checksum(journal->version, slot, position,
                                journal_checksum(journal->version, slot->body, slot->length)));
    CHECK(is_in(image, journal, position, slot));
    CHECK(record_kind_known(slot->kind));
    seen->records++;
    seen->sum += slot->checksum;
}

static struct seen check_journal(const struct image *image, const struct journal *journal)
{
    struct seen seen = {0, 0};
    const struct journal_header *header = journal->header;
    uint64_t floor = journal_cursor(&header->floor), next = journal_next(journal),
             sent = journal_cursor(&header->sent);
    uint64_t committed = journal_cursor(&header->committed);
    CHECK(floor >= 1 && floor <= sent && sent <= next && next - floor <= journal->slots);
    CHECK(committed >= 1 && committed <= next);
    for (uint64_t position = floor; position < next; position++) {
        check_slot(image, journal, position, &seen);
    }
    return seen;
}

static void check_refused(const struct image *image)
{
    static struct image left;
    CHECK(*error);
    read_image(&left);
    CHECK(left.size == image->size && memcmp(left.bytes, image->bytes, left.size) == 0);
}

static void check_writer(const struct image *image, struct journal *journal)
{
    static const unsigned char body[16];
    struct seen before = check_journal(image, journal), after;
    int64_t seq = journal_append(journal, RECORD_SESSION, body, sizeof body, 1);
    /* a writer's first record needs room for `opened`, too */
    bool full =
        journal_next(journal) - journal_cursor(&journal->header->floor) + 2 > journal->slots;
    CHECK(seq > 0 || (seq == BLOTTER_FULL && full));
    die(journal);
    CHECK(journal_open(&journal, path, &next_owner, error) == 0);
    after = check_journal(image, journal);
    CHECK(before.records == after.records && before.sum == after.sum);
    journal_close_writing(journal);
    die(journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct image image;
    struct journal *journal;
    struct journal_picture picture;
    begin();
    make_input(data, size, &image);
    write_image(&image);
    (void)journal_inspect(path, &picture, error);
    const struct journal_options *options = size && data[0] & 0x40 ? &only_sender : &next_owner;
    if (journal_open(&journal, path, options, error) != 0) {
        check_refused(&image);
        return 0;
    }
    CHECK(*error == 0);
    if (options->write) {
        check_writer(&image, journal);
        return 0;
    }
    if (journal_adopt(journal)) {
        (void)check_journal(&image, journal);
    }
    die(journal);
    return 0;
}
