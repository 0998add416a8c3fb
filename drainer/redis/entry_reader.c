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
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/redis/redis_reply.h"

enum { KEPT_BYTES_MAX = 65536 }; /* an entry of an unusual size leaves no more behind */

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

/* How many arrays the value is in, as far as that matters: 0 to 3. */
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

static void *grown(void *memory, size_t *capacity, size_t wanted, size_t element_bytes)
{
    if (wanted > *capacity) {
        *capacity = wanted * 2;
        memory = realloc(memory, *capacity * element_bytes);
        if (memory == NULL) {
            abort();
        }
    }
    return memory;
}

static void begin_entry(struct entry_reader *reader)
{
    reader->has_id = false;
    reader->value_count = reader->kept_length = 0;
}

static void end_entry(struct entry_reader *reader)
{
    const char *at = reader->kept;

    for (size_t i = 0; i + 1 < reader->value_count; i++) {
        reader->values[i].bytes = reader->values[i].length == 0 ? "" : at;
        at += reader->values[i].length;
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

/* The last value, nearly always the record, is used where it lies; what came before may be gone
 * from hiredis' buffer by then. */
static void add_value(struct entry_reader *reader, const char *bytes, size_t length)
{
    reader->values = grown(reader->values, &reader->value_capacity, reader->value_count + 1,
                           sizeof *reader->values);
    reader->values[reader->value_count++] = (struct raw_field){bytes, length};
    if (reader->value_count == reader->value_total) {
        end_entry(reader);
    } else if (length > 0) {
        reader->kept = grown(reader->kept, &reader->kept_capacity, reader->kept_length + length, 1);
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

/* An answer begins, as an array or not. */
static void begin_answer(struct entry_reader *reader, const redisReadTask *task)
{
    if (task->parent == NULL) {
        reader->list = NULL;
        reader->place = task->type == REDIS_REPLY_ARRAY
                            ? reader->options.on_answer(reader->options.owner)
                            : ENTRIES_NOWHERE;
    }
}

static void *create_array_of_tree(struct entry_reader *reader, const redisReadTask *task,
                                  element_count count)
{
    void *array;

    begin_answer(reader, task);
    if (reader->place == ENTRIES_BY_STREAM && depth_of(task) == 1) {
        reader->options.on_stream(reader->options.owner, "", 0);
    }
    if (!is_list(reader, task)) {
        return reader->trees.createArray(task, count);
    }
    array = reader->trees.createArray(task, 0);
    reader->list = array;
    return array;
}

static void *create_array(const redisReadTask *task, element_count count)
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

static void *create_string(const redisReadTask *task, char *bytes, size_t length)
{
    struct entry_reader *reader = task->privdata;
    bool text = task->type == REDIS_REPLY_STRING || task->type == REDIS_REPLY_STATUS;

    switch (part_of(reader, task)) {
    case PART_TREE:
        begin_answer(reader, task);
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

/* A value that is no string and no array. True: it belongs to the tree. */
static bool is_of_tree(struct entry_reader *reader, const redisReadTask *task)
{
    enum part part = part_of(reader, task);

    if (part == PART_TREE) {
        begin_answer(reader, task);
    } else if (part == PART_FIELD) {
        add_value(reader, "", 0);
    }
    return part == PART_TREE;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct entry_reader *reader = task->privdata;

    return is_of_tree(reader, task) ? reader->trees.createInteger(task, value) : &reader->ignored;
}

static void *create_nil(const redisReadTask *task)
{
    struct entry_reader *reader = task->privdata;

    return is_of_tree(reader, task) ? reader->trees.createNil(task) : &reader->ignored;
}

#if HIREDIS_MAJOR >= 1
/* Kinds of RESP 3, which nobody asked for. */
static void *create_double(const redisReadTask *task, double value, char *text, size_t length)
{
    struct entry_reader *reader = task->privdata;

    return is_of_tree(reader, task) ? reader->trees.createDouble(task, value, text, length)
                                    : &reader->ignored;
}

static void *create_bool(const redisReadTask *task, int value)
{
    struct entry_reader *reader = task->privdata;

    return is_of_tree(reader, task) ? reader->trees.createBool(task, value) : &reader->ignored;
}
#endif

/* --- the interface --- */

struct entry_reader *entry_reader_create(const struct entry_reader_options *options)
{
    struct entry_reader *reader = calloc(1, sizeof *reader);
    redisReader *plain = redisReaderCreate(); /* the only way to hiredis' own functions */

    if (reader == NULL || plain == NULL) {
        abort();
    }
    reader->options = *options;
    reader->trees = reader->functions = *plain->fn;
    redisReaderFree(plain);
    reader->functions.createArray = create_array;
    reader->functions.createString = create_string;
    reader->functions.createInteger = create_integer;
    reader->functions.createNil = create_nil;
#if HIREDIS_MAJOR >= 1
    reader->functions.createDouble = create_double;
    reader->functions.createBool = create_bool;
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
