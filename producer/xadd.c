/* xadd.c: see xadd.h. Written by hand, as printf and hiredis' own formatting take several times as
 * long. */
#include "producer/xadd.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes the words in front of the record: *5 XADD stream * kind, or *6 XADD stream NOMKSTREAM *
 * kind. */
static size_t xadd_prefix(char out[XADD_PREFIX_BYTES], const char *stream, bool existing_only,
                          const char *kind)
{
    int length = snprintf(out, XADD_PREFIX_BYTES,
                          "*%d\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n%s$1\r\n*\r\n$%zu\r\n%s\r\n",
                          existing_only ? 6 : 5, strlen(stream), stream,
                          existing_only ? "$10\r\nNOMKSTREAM\r\n" : "", strlen(kind), kind);
    assert(length > 0 && length < XADD_PREFIX_BYTES);
    return (size_t)length;
}

bool xadd_init(struct xadd *xadd, const struct journal *journal, const char *stream)
{
    xadd->journal = journal;
    xadd->stream = stream;
    xadd->existing_only = false;
    for (unsigned kind = 0; kind < RECORD_WIRE_KINDS; kind++) {
        for (int only = 0; record_kind_known(kind) && only < 2; only++) {
            xadd->prefix_length[only][kind] =
                xadd_prefix(xadd->prefix[only][kind], stream, only != 0, record_schemas[kind].name);
        }
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
    char *at = append(xadd->bytes, xadd->prefix[xadd->existing_only][is.kind],
                      xadd->prefix_length[xadd->existing_only][is.kind]);
    at = append(at, bulk, (size_t)bulk_length);
    at = append(at, head, head_length);
    at = append(at, slot->body, is.length);
    at = append(at, "\r\n", 2);
    *length = (size_t)(at - xadd->bytes);
    return xadd->bytes;
}
