/* journal_format.c: see journal_format.h. */
#include "producer/journal_format.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_checksum.h"
#include "schema/stream.h"

static const char magic[8] = "blotter\n";

/* clang-format off */
_Static_assert(RECORD_ORDER == 0 && RECORD_TRADE == 1 && RECORD_SESSION == 2 && RECORD_CASH == 3 &&
               RECORD_BALANCE == 4 && RECORD_POSITION == 5 && RECORD_INSTRUMENT == 6,
               "a slot's kind is a number in the file's format: new kinds come behind");
/* clang-format on */

int journal_fail(char *error, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, JOURNAL_ERROR_BYTES, format, args);
    va_end(args);
    return status;
}

/* --- checksums --- */

uint64_t journal_slot_checksum_1(const struct journal_slot *head, uint64_t position, uint64_t shape,
                                 uint64_t body_checksum)
{
    uint64_t a = journal_checksum_mix(body_checksum, position);
    uint64_t b = journal_checksum_mix(5, (uint64_t)head->seq);
    a = journal_checksum_mix(a, (uint64_t)head->producer_id);
    b = journal_checksum_mix(b, (uint64_t)head->recorded_at_ns);
    return journal_checksum_mix(journal_checksum_mix(a, b), shape);
}

void journal_slot_head(const struct journal_slot *slot, struct journal_slot *head)
{
    memcpy(head, slot, sizeof *head);
    __asm__ volatile("" : "+m"(*head)); /* not read again instead */
}

bool journal_slot_holds(uint32_t version, uint32_t slot_bytes, const struct journal_slot *slot,
                        uint64_t position)
{
    struct journal_slot head;
    journal_slot_head(slot, &head);
    bool kind_known = record_kind_known(head.kind) || head.kind == SLOT_LEFT_OUT;
    return kind_known && head.length <= slot_bytes - JOURNAL_SLOT_HEAD_BYTES &&
           head.checksum ==
               journal_slot_checksum(version, &head, position,
                                     journal_checksum(version, slot->body, head.length));
}

/* --- the parts of the header --- */

static bool version_known(uint32_t version)
{
    return version >= JOURNAL_VERSION_OLDEST && version <= JOURNAL_VERSION;
}

bool journal_size_valid(uint32_t slots, uint32_t slot_bytes)
{
    return slots >= JOURNAL_SLOTS_MIN && slots <= JOURNAL_SLOTS_MAX && (slots & (slots - 1)) == 0 &&
           slot_bytes >= JOURNAL_SLOT_BYTES_MIN && slot_bytes <= JOURNAL_SLOT_BYTES_MAX &&
           slot_bytes % 64 == 0;
}

static uint64_t geometry_sum(const struct journal_geometry *geometry)
{
    return journal_checksum(geometry->version, (const unsigned char *)geometry,
                            offsetof(struct journal_geometry, checksum));
}

void journal_geometry_seal(struct journal_geometry *geometry)
{
    memcpy(geometry->magic, magic, sizeof magic);
    geometry->version = JOURNAL_VERSION;
    geometry->checksum = geometry_sum(geometry);
}

static bool names_valid(const struct journal_geometry *geometry)
{
    size_t exchange = strnlen(geometry->exchange, sizeof geometry->exchange);
    size_t lane = strnlen(geometry->lane, sizeof geometry->lane);
    return stream_name_part_valid(geometry->exchange, exchange) &&
           (lane == 0 || stream_name_part_valid(geometry->lane, lane));
}

bool journal_geometry_valid(const struct journal_geometry *geometry)
{
    return memcmp(geometry->magic, magic, sizeof magic) == 0 && version_known(geometry->version) &&
           geometry->checksum == geometry_sum(geometry) &&
           journal_size_valid(geometry->slots, geometry->slot_bytes) && names_valid(geometry);
}

static uint64_t owner_sum(const struct journal_owner *owner, uint32_t version)
{
    return journal_checksum(version, (const unsigned char *)owner,
                            offsetof(struct journal_owner, checksum));
}

void journal_owner_seal(struct journal_owner *owner, uint32_t version)
{
    owner->checksum = owner_sum(owner, version);
}

bool journal_owner_valid(const struct journal_owner *owner, uint32_t version)
{
    return owner->checksum == owner_sum(owner, version) && owner->producer_id > 0 &&
           memchr(owner->host, 0, sizeof owner->host) != NULL &&
           memchr(owner->boot, 0, sizeof owner->boot) != NULL;
}

static uint64_t target_sum(const struct journal_target *target)
{
    return journal_checksum(2, target, offsetof(struct journal_target, checksum));
}

void journal_target_set(struct journal_target *target, const char *url, const char *stream_id)
{
    struct journal_target wanted;
    memset(&wanted, 0, sizeof wanted);
    snprintf(wanted.url, sizeof wanted.url, "%s", url);
    snprintf(wanted.stream_id, sizeof wanted.stream_id, "%s", stream_id);
    wanted.checksum = target_sum(&wanted);
    if (memcmp(target, &wanted, sizeof wanted) != 0) {
        memcpy(target, &wanted, sizeof wanted);
    }
}

bool journal_target_get(const struct journal_target *target, struct journal_target *out)
{
    memcpy(out, target, sizeof *out);
    return out->checksum == target_sum(out) && out->url[0] != '\0' &&
           memchr(out->url, 0, sizeof out->url) != NULL &&
           memchr(out->stream_id, 0, sizeof out->stream_id) != NULL;
}

/* --- the file --- */

int journal_read_geometry(int fd, uint64_t size, struct journal_geometry *out, char *error)
{
    struct journal_geometry second;
    memset(out, 0, sizeof *out);
    if (pread(fd, out, sizeof *out, 0) == (ssize_t)sizeof *out && journal_geometry_valid(out)) {
        return 0;
    }
    if (size >= 2 * JOURNAL_PAGE_BYTES &&
        pread(fd, &second, sizeof second, (off_t)(size - JOURNAL_PAGE_BYTES)) ==
            (ssize_t)sizeof second &&
        journal_geometry_valid(&second) && journal_bytes(second.slots, second.slot_bytes) == size) {
        *out = second;
        return 0;
    }
    if (memcmp(out->magic, magic, sizeof magic) == 0 && size >= sizeof *out &&
        !version_known(out->version)) {
        return journal_fail(error, BLOTTER_FORMAT, "format version %u, this version knows %u to %u",
                            out->version, JOURNAL_VERSION_OLDEST, JOURNAL_VERSION);
    }
    return journal_fail(error, BLOTTER_CORRUPT,
                        "this is not a journal, or its geometry is damaged in both places");
}

uint64_t journal_skip_hole(int fd, uint64_t at, uint64_t end)
{
    off_t data = lseek(fd, (off_t)at, SEEK_DATA);
    if (data < 0) { /* ENXIO: there is nothing more; else the file system knows of no holes */
        return errno == ENXIO ? end : at;
    }
    return (uint64_t)data < end ? (uint64_t)data : end;
}

static bool all_zero(int fd, uint64_t from, uint64_t to)
{
    unsigned char page[JOURNAL_PAGE_BYTES];
    for (uint64_t at = journal_skip_hole(fd, from, to); at < to;
         at = journal_skip_hole(fd, at, to)) {
        ssize_t got =
            pread(fd, page, to - at < sizeof page ? (size_t)(to - at) : sizeof page, (off_t)at);
        if (got <= 0) {
            return false;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (page[i] != 0) {
                return false;
            }
        }
        at += (uint64_t)got;
    }
    return true;
}

/* Says whether the file was never finished. The last page's geometry is written first, and may be
 * there in part. */
bool journal_is_unfinished(int fd, uint64_t size)
{
    static const struct journal_geometry nothing;
    struct journal_geometry part = nothing;
    if (size <= 2 * JOURNAL_PAGE_BYTES) {
        return all_zero(fd, 0, size);
    }
    uint64_t before_last = size - JOURNAL_PAGE_BYTES;
    if (pread(fd, &part, sizeof part, (off_t)before_last) < 0) {
        return false;
    }
    bool ours = memcmp(part.magic, nothing.magic, sizeof magic) == 0 ||
                memcmp(part.magic, magic, sizeof magic) == 0;
    return ours && all_zero(fd, 0, before_last) && all_zero(fd, before_last + sizeof part, size);
}
