/* entry_reader.c: see entry_reader.h.
 *
 * hiredis calls a function for each value, parents first, with the value's place: its index, and
 * through its parent the object that was returned for that. The objects here are only marks that
 * say what their children are:
 *
 *     list ──► entry ──► id, fields ──► field, value, …        anything else below: ignored
 *
 * The list itself is an array of hiredis' own with nothing in it, and what stands above or beside
 * it is built by hiredis' own functions. hiredis neither reads nor frees the objects of children.
 */
#include "drainer/redis/entry_reader.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"

enum {
    KEPT_BYTES_MAX = 65536, /* an entry of an unusual size leaves no more behind */
    KIND_BYTES_KEPT = 256,
    TREE_ELEMENTS_MAX = 65536, /* of an answer, beside its entries */
    TREE_BYTES_MAX = 16 << 20,
};

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

enum part { PART_TREE, PART_ENTRY, PART_OF_ENTRY, PART_FIELD, PART_IGNORED };

struct entry_reader {
    struct entry_reader_options options;
    redisReplyObjectFunctions functions, trees; /* ours; hiredis' own */
    enum entry_place place;                     /* of the answer being read */
    const void *list; /* the object of the list being read; NULL: none yet in this answer */
    char entry, fields, ignored; /* marks: only their addresses count */
    bool has_id;
    struct stream_entry_id id;
    struct raw_field *values; /* of the entry being read; the bytes of all but the last are in
                                 `kept`, one behind the other */
    size_t value_count, value_capacity, value_total;
    char *kept;
    size_t kept_length, kept_capacity;
    size_t raw_length;                /* of the entry, about, in the form that a reject keeps */
    size_t tree_elements, tree_bytes; /* of the answer being read */

    /* an entry that is too long: it is not in `values` any more */
    bool is_long, in_pieces;
    size_t long_values; /* of its values, those that have come */
    char kind[KIND_BYTES_KEPT];
    size_t kind_length;
    char long_raw[LIMIT_RECORD_BYTES];
    size_t long_raw_length;
    uint64_t long_length;
    struct sha256 sha256;
};

/* --- places --- */

static enum part part_of(const struct entry_reader *reader, const redisReadTask *task)
{
    const void *parent = task->parent == NULL ? NULL : task->parent->obj;

    if (reader->list == NULL || parent == NULL) {
        return PART_TREE;
    }
    return parent == reader->list       ? PART_ENTRY
           : parent == &reader->entry   ? PART_OF_ENTRY
           : parent == &reader->fields  ? PART_FIELD
           : parent == &reader->ignored ? PART_IGNORED
                                        : PART_TREE;
}

/* Counts the arrays that the value is in, as far as that matters: 0 to 3. */
static int depth_of(const redisReadTask *task)
{
    int depth = 0;

    for (; task->parent != NULL && depth < 3; task = task->parent) {
        depth++;
    }
    return depth;
}

static bool is_list(const struct entry_reader *reader, const redisReadTask *task)
{
    switch (reader->place) {
    case ENTRIES_REFUSED:
    case ENTRIES_NOWHERE:
        return false;
    case ENTRIES_ALONE:
        return task->parent == NULL;
    case ENTRIES_BEHIND_CURSOR:
        return depth_of(task) == 1 && task->idx == 1;
    case ENTRIES_BY_STREAM:
        return depth_of(task) == 2 && task->idx == 1;
    }
    abort();
}

/* --- an entry --- */

static void begin_entry(struct entry_reader *reader)
{
    reader->has_id = reader->is_long = reader->in_pieces = false;
    reader->value_count = reader->kept_length = reader->raw_length = 0;
}

/* Adds bytes of an entry that is too long. */
static void add_long_bytes(struct entry_reader *reader, const char *bytes, size_t length)
{
    size_t room = sizeof reader->long_raw - reader->long_raw_length;
    size_t part = length < room ? length : room;

    memcpy(reader->long_raw + reader->long_raw_length, bytes, part);
    reader->long_raw_length += part;
    reader->long_length += length;
    sha256_add(&reader->sha256, bytes, length);
}

/* Begins a value of an entry that is too long. As batch.c keeps a reject: of an entry of one field
 * the value alone, else every part behind its length. */
static void begin_long_value(struct entry_reader *reader, uint64_t length)
{
    char head[32];

    reader->long_values++;
    if (reader->value_total != 2) {
        add_long_bytes(reader, head,
                       (size_t)snprintf(head, sizeof head, "$%" PRIu64 "\r\n", length));
    }
}

static void add_to_long_value(struct entry_reader *reader, const char *bytes, size_t length)
{
    if (reader->long_values == 1 && reader->kind_length < sizeof reader->kind) {
        size_t room = sizeof reader->kind - reader->kind_length;
        size_t part = length < room ? length : room;

        memcpy(reader->kind + reader->kind_length, bytes, part);
        reader->kind_length += part;
    }
    if (reader->value_total != 2 || reader->long_values == 2) {
        add_long_bytes(reader, bytes, length);
    }
}

static void end_long_value(struct entry_reader *reader)
{
    if (reader->value_total != 2) {
        add_long_bytes(reader, "\r\n", 2);
    }
}

/* Adds up what has come of an entry that turns out to be too long. */
static void begin_long_entry(struct entry_reader *reader)
{
    const char *at = reader->kept;

    reader->is_long = true;
    reader->long_values = reader->long_raw_length = reader->kind_length = 0;
    reader->long_length = 0;
    sha256_begin(&reader->sha256);
    for (size_t i = 0; i < reader->value_count; i++) {
        size_t length = reader->values[i].length;

        begin_long_value(reader, length);
        if (length > 0) {
            add_to_long_value(reader, at, length);
            at += length;
        }
        end_long_value(reader);
    }
}

static void end_long_entry(struct entry_reader *reader)
{
    struct long_entry entry = {.kind = reader->kind,
                               .kind_length = reader->kind_length,
                               .raw = reader->long_raw,
                               .raw_length = reader->long_raw_length,
                               .length = reader->long_length};

    sha256_end(&reader->sha256, entry.sha256);
    if (reader->has_id) {
        reader->options.on_long_entry(reader->options.owner, reader->id, &entry);
    }
}

static void end_entry(struct entry_reader *reader)
{
    const char *at = reader->kept;

    for (size_t i = 0; i + 1 < reader->value_count; i++) {
        reader->values[i].bytes = reader->values[i].length == 0 ? "" : at;
        if (reader->values[i].length > 0) { /* of nothing there may be no address */
            at += reader->values[i].length;
        }
    }
    if (reader->has_id) {
        reader->options.on_entry(reader->options.owner, reader->id, reader->values,
                                 reader->value_count);
    }
    if (reader->kept_capacity + reader->value_capacity * sizeof *reader->values > KEPT_BYTES_MAX) {
        free(reader->kept);
        free(reader->values);
        reader->kept = NULL;
        reader->values = NULL;
        reader->kept_capacity = reader->value_capacity = 0;
    }
}

static void add_value_to_long_entry(struct entry_reader *reader, const char *bytes, size_t length)
{
    if (!reader->in_pieces) {
        begin_long_value(reader, length);
        add_to_long_value(reader, bytes, length);
    }
    reader->in_pieces = false;
    end_long_value(reader);
    if (reader->long_values == reader->value_total) {
        end_long_entry(reader);
    }
}

void entry_reader_on_piece(void *owner, uint64_t total, const char *bytes, size_t length)
{
    struct entry_reader *reader = owner;

    if (!reader->is_long) {
        begin_long_entry(reader);
    }
    if (!reader->in_pieces) {
        reader->in_pieces = true;
        begin_long_value(reader, total);
    }
    add_to_long_value(reader, bytes, length);
}

/* Takes a value. The last, nearly always the record, is used where it lies; what came before may be
 * gone from hiredis' buffer by then. */
static void add_value(struct entry_reader *reader, const char *bytes, size_t length)
{
    enum { PART_BYTES = 6 }; /* about what a part's length takes */

    reader->raw_length += reader->value_total == 2 && reader->value_count == 0
                              ? 0
                              : length + (reader->value_total == 2 ? 0 : PART_BYTES);
    if (!reader->is_long &&
        (reader->raw_length > LIMIT_RECORD_BYTES || length > LIMIT_RECORD_BYTES)) {
        begin_long_entry(reader);
    }
    if (reader->is_long) {
        add_value_to_long_entry(reader, bytes, length);
        return;
    }
    reader->values = array_grow_or_abort(reader->values, &reader->value_capacity,
                                         reader->value_count + 1, sizeof *reader->values);
    reader->values[reader->value_count++] = (struct raw_field){bytes, length};
    if (reader->value_count == reader->value_total) {
        end_entry(reader);
    } else if (length > 0) {
        reader->kept = array_grow_or_abort(reader->kept, &reader->kept_capacity,
                                           reader->kept_length + length, 1);
        memcpy(reader->kept + reader->kept_length, bytes, length);
        reader->kept_length += length;
    }
}

static void *begin_fields(struct entry_reader *reader, size_t count)
{
    reader->value_total = count;
    if (count == 0) {
        end_entry(reader);
    }
    return &reader->fields;
}

/* --- hiredis' functions --- */

/* Checks a value of the tree before it is made; the answer may begin with it. */
static bool entry_reader_may_create(struct entry_reader *reader, const redisReadTask *task,
                                    size_t elements, size_t bytes)
{
    if (task->parent == NULL) {
        reader->list = NULL;
        reader->tree_elements = reader->tree_bytes = 0;
        reader->place = ENTRIES_NOWHERE;
        if (task->type !=
            REDIS_REPLY_ERROR) { /* an error to no command: hiredis ends it by itself */
            reader->place = reader->options.on_answer(reader->options.owner);
        }
        if (reader->place == ENTRIES_REFUSED) {
            return false;
        }
        if (task->type != REDIS_REPLY_ARRAY) {
            reader->place = ENTRIES_NOWHERE;
        }
    }
    reader->tree_elements += elements;
    reader->tree_bytes += bytes;
    return reader->tree_elements <= TREE_ELEMENTS_MAX && reader->tree_bytes <= TREE_BYTES_MAX;
}

static void *create_array_of_tree(struct entry_reader *reader, const redisReadTask *task,
                                  element_count count)
{
    bool begins = task->parent == NULL;
    void *array;

    if (begins && !entry_reader_may_create(reader, task, 0, 0)) {
        return NULL;
    }
    if (reader->place == ENTRIES_BY_STREAM && depth_of(task) == 1) {
        reader->options.on_stream(reader->options.owner, "", 0);
    }
    if (!is_list(reader, task)) {
        reader->tree_elements += count > 0 ? (size_t)count : 0;
        return reader->tree_elements > TREE_ELEMENTS_MAX ? NULL
                                                         : reader->trees.createArray(task, count);
    }
    array = reader->trees.createArray(task, 0);
    reader->list = array;
    return array;
}

static void *entry_reader_create_array(const redisReadTask *task, element_count count)
{
    struct entry_reader *reader = task->privdata;

    switch (part_of(reader, task)) {
    case PART_TREE:
        return create_array_of_tree(reader, task, count);
    case PART_ENTRY:
        begin_entry(reader);
        return &reader->entry;
    case PART_OF_ENTRY:
        return task->idx == 1 ? begin_fields(reader, (size_t)count) : &reader->ignored;
    case PART_FIELD:
        add_value(reader, "", 0);
        return &reader->ignored;
    case PART_IGNORED:
        return &reader->ignored;
    }
    abort();
}

static void *entry_reader_create_string(const redisReadTask *task, char *bytes, size_t length)
{
    struct entry_reader *reader = task->privdata;
    bool text = task->type == REDIS_REPLY_STRING || task->type == REDIS_REPLY_STATUS;

    switch (part_of(reader, task)) {
    case PART_TREE:
        if (!entry_reader_may_create(reader, task, 0, length)) {
            return NULL;
        }
        if (reader->place == ENTRIES_BY_STREAM && text && depth_of(task) == 2 && task->idx == 0) {
            reader->options.on_stream(reader->options.owner, bytes, length);
        }
        return reader->trees.createString(task, bytes, length);
    case PART_OF_ENTRY:
        if (task->idx == 0) {
            reader->has_id = text && stream_entry_id_parse(bytes, length, &reader->id);
        }
        break;
    case PART_FIELD:
        add_value(reader, text ? bytes : "", text ? length : 0);
        break;
    default:
        break;
    }
    return &reader->ignored;
}

/* A value that is no string and no array: makes it as hiredis does where it belongs to the tree. */
#define CREATE_OTHER(reader, task, create)                                                \
    (part_of(reader, task) != PART_TREE            ? entry_reader_add_other(reader, task) \
     : entry_reader_may_create(reader, task, 0, 0) ? (reader)->trees.create               \
                                                   : NULL)

static void *entry_reader_add_other(struct entry_reader *reader, const redisReadTask *task)
{
    if (part_of(reader, task) == PART_FIELD) {
        add_value(reader, "", 0);
    }
    return &reader->ignored;
}

static void *entry_reader_create_integer(const redisReadTask *task, long long value)
{
    struct entry_reader *reader = task->privdata;

    return CREATE_OTHER(reader, task, createInteger(task, value));
}

static void *entry_reader_create_nil(const redisReadTask *task)
{
    struct entry_reader *reader = task->privdata;

    return CREATE_OTHER(reader, task, createNil(task));
}

#if HIREDIS_MAJOR >= 1
/* Takes a kind of RESP 3, as those below do: nobody asked for one. */
static void *entry_reader_create_double(const redisReadTask *task, double value, char *text,
                                        size_t length)
{
    struct entry_reader *reader = task->privdata;

    return CREATE_OTHER(reader, task, createDouble(task, value, text, length));
}

static void *entry_reader_create_bool(const redisReadTask *task, int value)
{
    struct entry_reader *reader = task->privdata;

    return CREATE_OTHER(reader, task, createBool(task, value));
}
#endif

/* --- the interface --- */

struct entry_reader *entry_reader_create(const struct entry_reader_options *options)
{
    struct entry_reader *reader = memory_or_abort(calloc(1, sizeof *reader));
    /* the only way to hiredis' own functions */
    redisReader *plain = memory_or_abort(redisReaderCreate());

    reader->options = *options;
    reader->trees = reader->functions = *plain->fn;
    redisReaderFree(plain);
    reader->functions.createArray = entry_reader_create_array;
    reader->functions.createString = entry_reader_create_string;
    reader->functions.createInteger = entry_reader_create_integer;
    reader->functions.createNil = entry_reader_create_nil;
#if HIREDIS_MAJOR >= 1
    reader->functions.createDouble = entry_reader_create_double;
    reader->functions.createBool = entry_reader_create_bool;
#endif
    return reader;
}

void entry_reader_destroy(struct entry_reader *reader)
{
    if (reader != NULL) {
        free(reader->values);
        free(reader->kept);
        free(reader);
    }
}

void entry_reader_reset(struct entry_reader *reader)
{
    reader->place = ENTRIES_NOWHERE;
    reader->list = NULL;
}

redisReplyObjectFunctions *entry_reader_functions(struct entry_reader *reader)
{
    return &reader->functions;
}
