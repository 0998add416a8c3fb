/* xadd.c: see xadd.h. Written by hand, as printf and hiredis' own formatting take several times as
 * long. */
#include "producer/xadd.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool xadd_init(struct xadd *xadd, const struct journal *journal, const char *stream)
{
    xadd->journal = journal;
    xadd->stream = stream;
    for (unsigned kind = 0; kind < RECORD_WIRE_KINDS; kind++) {
        if (!record_kind_known(kind)) {
            continue;
        }
        const char *name = record_schemas[kind].name;
        int length = snprintf(xadd->prefix[kind], XADD_PREFIX_BYTES,
                              "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$%zu\r\n%s\r\n",
                              strlen(stream), stream, strlen(name), name);
        assert(length > 0 && length < XADD_PREFIX_BYTES);
        xadd->prefix_length[kind] = (size_t)length;
    }
    xadd->bytes = malloc(XADD_PREFIX_BYTES + 32 + RECORD_HEAD_BYTES_MAX + journal->slot_bytes);
    return xadd->bytes != NULL;
}

void xadd_release(struct xadd *xadd)
{
    free(xadd->bytes);
    xadd->bytes = NULL;
}

static char *append(char *at, const void *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

const char *xadd_command(struct xadd *xadd, const struct journal_slot *slot, size_t *length)
{
    struct journal_slot is;
    journal_slot_head(slot, &is);
    if (!record_kind_known(is.kind) ||
        is.length > xadd->journal->slot_bytes - JOURNAL_SLOT_HEAD_BYTES) {
        return NULL;
    }
    struct record_identity identity = {is.producer_id, is.seq, is.recorded_at_ns,
                                       xadd->journal->exchange};
    unsigned char head[RECORD_HEAD_BYTES_MAX];
    size_t head_length = record_encode_head(&identity, is.fields, head);
    char bulk[24];
    int bulk_length = snprintf(bulk, sizeof bulk, "$%zu\r\n", head_length + is.length);
    char *at = append(xadd->bytes, xadd->prefix[is.kind], xadd->prefix_length[is.kind]);
    at = append(at, bulk, (size_t)bulk_length);
    at = append(at, head, head_length);
    at = append(at, slot->body, is.length);
    at = append(at, "\r\n", 2);
    *length = (size_t)(at - xadd->bytes);
    return xadd->bytes;
}
