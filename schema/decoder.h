/* decoder.h: what the parts of the decoder share: decode.c walks the map, decode_value.c decodes a
 * field's value, decode_ccxt.c takes what ccxt names in its own way, decode_fees.c, decode_cash.c
 * and decode_instrument.c what it says in several keys, decode_extra.c keeps what has no field. */
#ifndef BLOTTER_SCHEMA_DECODER_H
#define BLOTTER_SCHEMA_DECODER_H

#include "schema/ccxt_names.h"
#include "schema/json_write.h"
#include "schema/record.h"
#include "schema/unpack.h"

/* Keys of ccxt's that were met. Values are kept as the place where they begin: what they mean is
 * known when all keys have been seen. */
struct ccxt_keys {
    bool any;        /* there are some: else nothing of `at` is set */
    uint64_t fields; /* given under a name of ccxt's: which, and where */
    const struct ccxt_name *names[RECORD_FIELDS_MAX];
    const unsigned char *values[RECORD_FIELDS_MAX];
    struct {
        const unsigned char *fee, *fees, *datetime;                  /* of several kinds */
        const unsigned char *direction, *before, *address_to, *info; /* of cash flows */
        const unsigned char *side;                                   /* of positions */
        const unsigned char *precision, *limits;                     /* of instruments */
        bool market, contract;                                       /* the same */
    } at;
};

struct decoder {
    const char *exchange;               /* NULL: not known */
    const struct record_object *object; /* NULL: a record on the wire */
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
enum record_fault decoder_extra_member(struct decoder *, const char *name,
                                       const unsigned char *first);

/* Does the same, and counts it: the field cannot take the value that came under that name. */
enum record_fault decoder_misplace(struct decoder *, unsigned index, const char *name,
                                   const unsigned char *first, enum record_fault why);

/* Counts a value that its field cannot take, and that is kept in `extra`. */
void decoder_count_wrong(struct decoder *, unsigned index, enum record_fault why);

/* Writes the text of a field as a member of `extra`. */
void decoder_extra_text(struct decoder *, const char *name, const struct record_value *);

/* Reads an integer, also one that came as a double. */
bool decoder_integer(const struct unpack_value *, int64_t *integer);

void decoder_ccxt_meet(struct ccxt_keys *); /* there is one */
const struct ccxt_name *decoder_ccxt_find(enum record_kind, const char *key, size_t length);
bool decoder_ccxt_same(const struct record_value *, const struct record_value *);

/* Says whether a field of text has an empty one. */
bool decoder_is_empty(const struct decoder *, unsigned index);

/* Takes the value of a key of ccxt's, which the reader is at. */
enum record_fault decoder_ccxt_key(struct decoder *, const struct ccxt_name *);

/* Takes the value that begins at `first` if a field of that name has it in ccxt's objects, but not
 * in ours: a fee with its currency, a list of fees, a time in milliseconds. False: it is none of
 * these, and the reader is somewhere in it. */
bool decoder_ccxt_value(struct decoder *, unsigned index, const unsigned char *first,
                        enum record_fault *fault);

/* Concludes from all keys: fees, the sign of amounts, the time as text. */
enum record_fault decoder_ccxt_finish(struct decoder *);
enum record_fault decoder_fees_finish(struct decoder *);
enum record_fault decoder_cash_finish(struct decoder *);
enum record_fault decoder_instrument_finish(struct decoder *);

/* Decodes a value to a field that has none, if the field can take it. */
void decoder_set_field(struct decoder *, unsigned index, const struct unpack_value *);
void decoder_set_word(struct decoder *, unsigned index, const char *word); /* of static storage */
void decoder_forget_field(struct decoder *, unsigned index);

/* Gives an amount the other sign; 0 has none. */
enum record_fault decoder_negate(struct decoder *, unsigned index);
bool decoder_is_positive(const struct record_value *);

/* --- values --- */

static inline bool decoder_has(const struct decoder *decoder, unsigned index)
{
    return (decoder->present >> index & 1) != 0;
}

/* Says whether it is that exchange's stream, or one of its parts', as binance.usdm is. */
static inline bool decoder_exchange_begins(const struct decoder *decoder, const char *name)
{
    return decoder->exchange != NULL && strncmp(decoder->exchange, name, strlen(name)) == 0;
}

static inline bool decoder_text_is(const struct unpack_value *value, const char *text)
{
    return value->type == UNPACK_STR && value->length == strlen(text) &&
           memcmp(value->bytes, text, value->length) == 0;
}

static inline bool decoder_value_is(const struct record_value *value, const char *text)
{
    return value->present && value->length == strlen(text) &&
           memcmp(value->bytes, text, value->length) == 0;
}

/* Says whether it is as good as a missing key. */
static inline bool decoder_is_nothing(const struct unpack_value *value)
{
    return value->type == UNPACK_NIL ||
           ((value->type == UNPACK_STR || unpack_is_container(value)) && value->length == 0);
}

/* Returns the reader of a value that has been skipped, so that it is whole. */
static inline struct unpack_reader decoder_reader_at(const struct decoder *decoder,
                                                     const unsigned char *first)
{
    return (struct unpack_reader){first, decoder->reader.end};
}

/* Reads a value, or a container's head; NIL where `first` is NULL. */
static inline struct unpack_value decoder_value_at(const struct decoder *decoder,
                                                   const unsigned char *first)
{
    struct unpack_value value = {.type = UNPACK_NIL};
    struct unpack_reader reader = decoder_reader_at(decoder, first);

    if (first != NULL) {
        unpack_next(&reader, &value);
    }
    return value;
}

/* Walks the members of a map, or the elements of an array, that has been skipped before. */
struct decoder_walk {
    struct unpack_reader reader; /* at what comes next */
    uint64_t left;
    bool map;
    struct unpack_value key;    /* of a map */
    const unsigned char *first; /* of the value */
};

static inline struct decoder_walk decoder_walk_at(const struct decoder *decoder,
                                                  const unsigned char *first)
{
    struct decoder_walk walk = {.reader = decoder_reader_at(decoder, first)};
    struct unpack_value head = {.type = UNPACK_NIL};

    if (first != NULL) {
        unpack_next(&walk.reader, &head);
    }
    walk.map = head.type == UNPACK_MAP;
    walk.left = unpack_is_container(&head) ? head.length : 0;
    return walk;
}

/* Moves on to the next one, whose head is then `value`. False: there is none. */
static inline bool decoder_walk_next(struct decoder_walk *walk, struct unpack_value *value)
{
    bool left = walk->left > 0;

    if (left && walk->map) {
        left = unpack_next(&walk->reader, &walk->key) == RECORD_FAULT_NONE &&
               unpack_skip(&walk->reader, &walk->key) == RECORD_FAULT_NONE;
    }
    walk->left -= left;
    walk->first = walk->reader.at;
    return left && unpack_next(&walk->reader, value) == RECORD_FAULT_NONE &&
           unpack_skip(&walk->reader, value) == RECORD_FAULT_NONE;
}

/* Writes those of a map's members that `keep` keeps, as an object; false: there are none, and
 * nothing is written. Of the member `walk` knows the key and the place; `of`: handed on to keep. */
typedef bool decoder_keep_member(struct decoder *, const struct unpack_value *of,
                                 const struct decoder_walk *, const struct unpack_value *value);
bool decoder_write_rest(struct decoder *, const unsigned char *map, decoder_keep_member *keep,
                        const struct unpack_value *of, unsigned depth);

/* Does the same, as a member of `extra`. */
void decoder_extra_rest(struct decoder *, const char *name, const unsigned char *map,
                        decoder_keep_member *keep);

#endif
