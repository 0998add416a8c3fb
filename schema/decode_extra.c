/* decode_extra.c: what of a record goes to its field `extra`, as members of a JSON object. */
#include <string.h>

#include "schema/decoder.h"

enum record_fault decoder_extra_member(struct decoder *decoder, const char *name,
                                       const unsigned char *first)
{
    struct unpack_value value;

    decoder->reader.at = first;
    json_write_comma(&decoder->json, &decoder->comma);
    json_write_string(&decoder->json, name, strlen(name));
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

    decoder_forget_field(decoder, index);
    decoder_count_wrong(decoder, index, why);
    enum record_fault fault = decoder_extra_member(decoder, name, first);
    decoder->json.changed = changed; /* the value counts once */
    return fault;
}

void decoder_count_wrong(struct decoder *decoder, unsigned index, enum record_fault why)
{
    decoder->misplaced |= UINT64_C(1) << index;
    decoder->misplaced_count++;
    decoder->faults[index] = (uint8_t)why;
}

void decoder_extra_text(struct decoder *decoder, const char *name, const struct record_value *value)
{
    json_write_comma(&decoder->json, &decoder->comma);
    json_write_string(&decoder->json, name, strlen(name));
    json_write(&decoder->json, ":", 1);
    json_write_string(&decoder->json, value->bytes, value->length);
}

bool decoder_write_rest(struct decoder *decoder, const unsigned char *map,
                        decoder_keep_member *keep, const struct unpack_value *of, unsigned depth)
{
    struct decoder_walk walk = decoder_walk_at(decoder, map);
    struct json_writer *json = &decoder->json;
    char *begin = json->at;
    struct unpack_value value;
    bool comma = false;

    json_write(json, "{", 1);
    for (struct unpack_reader pair = walk.reader; walk.map && decoder_walk_next(&walk, &value);
         pair = walk.reader) {
        if (keep(decoder, of, &walk, &value)) {
            json->prune = true;
            json_write_members(json, &pair, 1, &comma, depth + 1);
            json->prune = false;
        }
    }
    json_write(json, "}", 1);
    json->at = comma ? json->at : begin;
    return comma;
}

void decoder_extra_rest(struct decoder *decoder, const char *name, const unsigned char *map,
                        decoder_keep_member *keep)
{
    char *begin = decoder->json.at;
    bool comma = decoder->comma;

    json_write_comma(&decoder->json, &decoder->comma);
    json_write_string(&decoder->json, name, strlen(name));
    json_write(&decoder->json, ":", 1);
    if (!decoder_write_rest(decoder, map, keep, NULL, 1)) {
        decoder->json.at = begin;
        decoder->comma = comma;
    }
}
