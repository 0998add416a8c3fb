/* decoder.h: what the parts of the decoder share: decode.c walks the map, decode_value.c decodes a
 * field's value, decode_ccxt.c takes what ccxt names in its own way, decode_extra.c keeps what has
 * no field. */
#ifndef BLOTTER_SCHEMA_DECODER_H
#define BLOTTER_SCHEMA_DECODER_H

#include "schema/ccxt_names.h"
#include "schema/json_write.h"
#include "schema/record.h"
#include "schema/unpack.h"

/* Keys of ccxt's that were met. Values are kept as the place where they begin: what they mean is
 * known when all keys have been seen. */
struct ccxt_keys {
    bool any;
    uint64_t fields; /* given under a name of ccxt's: which, and where */
    const struct ccxt_name *names[RECORD_FIELDS_MAX];
    const unsigned char *values[RECORD_FIELDS_MAX];
    const unsigned char *fee, *fees, *datetime, *direction, *side;
};

struct decoder {
    struct unpack_reader reader;
    const struct record_schema *schema;
    struct record *record;
    uint64_t seen;           /* keys met, nil or not */
    uint64_t present;        /* fields that have a value */
    unsigned expected;       /* the field that would be next if keys came in order */
    unsigned extra;          /* index of the field `extra` */
    struct json_writer json; /* members of `extra` that had to be written */
    bool comma;              /* there are some */
    char *low;               /* the lowest byte used at the scratch's end */
    const char *field;       /* being decoded, for the problem */
    uint64_t misplaced;      /* fields whose value went to `extra` ... */
    unsigned misplaced_count;
    uint8_t faults[RECORD_FIELDS_MAX]; /* ... and why */
    struct ccxt_keys ccxt;
};

/* Keeps text that was made here, as a value. */
enum record_fault decoder_keep(struct decoder *, struct record_value *out, const char *text,
                               int length);

/* Writes the canonical text of a number, or of text that is one, and sets its length. */
enum record_fault decoder_canonical(const struct unpack_value *, char text[LIMIT_DECIMAL_BYTES],
                                    int *length);

/* Decodes a value, whose head has been read, to its field. */
enum record_fault decoder_value(struct decoder *, unsigned index, const struct unpack_value *);

/* Writes the value that begins at `first` as a member of `extra`. The reader is then behind it. */
enum record_fault decoder_extra_member(struct decoder *, const char *name, size_t length,
                                       const unsigned char *first);

/* The same, and counts it: the field cannot take the value that came under that name. */
enum record_fault decoder_misplace(struct decoder *, unsigned index, const char *name,
                                   const unsigned char *first, enum record_fault why);

/* Reads an integer, also one that came as a double. */
bool decoder_integer(const struct unpack_value *, int64_t *integer);

void decoder_ccxt_begin(struct ccxt_keys *);
const struct ccxt_name *decoder_ccxt_find(enum record_kind, const char *key, size_t length);
bool decoder_ccxt_same(const struct record_value *, const struct record_value *);

/* Takes the value of a key of ccxt's, which the reader is at. */
enum record_fault decoder_ccxt_key(struct decoder *, const struct ccxt_name *);

/* Takes the value that begins at `first` if a field of that name has it in ccxt's objects, but not
 * in ours: a fee with its currency, a list of fees, a time in milliseconds. False: it is none of
 * these, and the reader is where it was. */
bool decoder_ccxt_value(struct decoder *, unsigned index, const unsigned char *first,
                        enum record_fault *fault);

/* Concludes from all keys: fees, the sign of amounts, the time as text. */
enum record_fault decoder_ccxt_finish(struct decoder *);

#endif
