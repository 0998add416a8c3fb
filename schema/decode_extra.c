/* decode_extra.c: what of a record goes to its field `extra`, as members of a JSON object. */
#include <string.h>

#include "schema/decoder.h"

enum record_fault decoder_extra_member(struct decoder *decoder, const char *name, size_t length,
                                       const unsigned char *first)
{
    struct unpack_value value;

    decoder->reader.at = first;
    json_write_comma(&decoder->json, &decoder->comma);
    json_write_string(&decoder->json, name, length);
    json_write(&decoder->json, ":", 1);
    enum record_fault fault = unpack_next(&decoder->reader, &value);
    decoder->json.prune = true;
    if (!fault) {
        fault = json_write_value(&decoder->json, &decoder->reader, &value, 1);
    }
    decoder->json.prune = false;
    return fault;
}

enum record_fault decoder_misplace(struct decoder *decoder, unsigned index, const char *name,
                                   const unsigned char *first, enum record_fault why)
{
    unsigned changed = decoder->json.changed;

    decoder->record->values[index] = (struct record_value){0};
    decoder->present &= ~(UINT64_C(1) << index);
    decoder->misplaced |= UINT64_C(1) << index;
    decoder->misplaced_count++;
    decoder->faults[index] = (uint8_t)why;
    enum record_fault fault = decoder_extra_member(decoder, name, strlen(name), first);
    decoder->json.changed = changed; /* the value counts once */
    return fault;
}
