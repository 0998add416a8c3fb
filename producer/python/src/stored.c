/* stored.c: see stored.h. */
#include <stdio.h>
#include <string.h>

#include "schema/clock.h"
#include "stored.h"

enum {
    HEAD_BYTES = RECORD_HEAD_BYTES_MAX,
    SLOT_BYTES_DEFAULT = 1024, /* as blotter.h says of slot_bytes */
    SLOT_HEAD_BYTES = 64,
};

static char problem_text[200]; /* the GIL guards it */

const char *stored_problem(void)
{
    return problem_text;
}

/* Says what is wrong with a record. index: of it among those that are recorded together. */
static int64_t refuse_record(const struct producer *producer, const struct record_problem *problem,
                             size_t index)
{
    bool too_long = problem->fault == RECORD_FAULT_TOO_LONG && problem->field == NULL;
    int length = snprintf(problem_text, sizeof problem_text, "entry %zu: %s: %s", index,
                          problem->field != NULL ? problem->field : "the record",
                          record_fault_text(problem->fault));
    if (too_long) {
        snprintf(problem_text + length, sizeof problem_text - (size_t)length,
                 ": a slot takes %zu bytes", producer->slot_capacity);
    }
    return too_long ? BLOTTER_TOO_LONG : BLOTTER_INVALID;
}

void stored_set_slot(struct producer *producer, uint32_t slot_bytes)
{
    size_t bytes = slot_bytes != 0 ? slot_bytes : SLOT_BYTES_DEFAULT;
    size_t limit = LIMIT_RECORD_BYTES - HEAD_BYTES;
    bytes -= bytes > SLOT_HEAD_BYTES ? SLOT_HEAD_BYTES : bytes;
    producer->slot_capacity = bytes < limit ? bytes : limit;
}

/* Returns a value as Python would read it from PostgreSQL, but times as nanoseconds and JSON as
 * text. */
static PyObject *value_object(const struct producer *producer, enum field_kind kind,
                              const struct record_value *value)
{
    switch (kind) {
    case FIELD_TIME:
    case FIELD_INT:
        return PyLong_FromLongLong(value->integer);
    case FIELD_BOOL:
        return PyBool_FromLong((long)value->integer);
    case FIELD_DECIMAL:
        return PyObject_CallFunction(producer->core->decimal_type, "s#", value->bytes,
                                     (Py_ssize_t)value->length);
    default:
        return PyUnicode_DecodeUTF8(value->bytes, (Py_ssize_t)value->length, "strict");
    }
}

static PyObject *row_object(const struct producer *producer, const struct record *record)
{
    const struct record_schema *schema = &record_schemas[record->kind];
    PyObject *dict = PyDict_New();
    for (unsigned i = 0; dict != NULL && i < schema->field_count; i++) {
        if (!record->values[i].present) {
            continue;
        }
        PyObject *value = value_object(producer, schema->fields[i].kind, &record->values[i]);
        if (value == NULL || PyDict_SetItemString(dict, schema->fields[i].name, value) != 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    return dict != NULL ? Py_BuildValue("sN", schema->name, dict) : NULL;
}

/* Adds one record to the list. */
static int64_t stored_add(struct producer *producer, const struct blotter_entry *entry, int64_t seq,
                          unsigned char *bytes, struct record_scratch *scratch, PyObject *list)
{
    size_t index = (size_t)PyList_GET_SIZE(list);
    enum record_kind kind = (enum record_kind)entry->kind;
    struct record_identity identity = {1, seq, clock_wall_ns(),
                                       PyUnicode_AsUTF8(producer->exchange)};
    struct record_problem problem;
    struct record record;
    unsigned fields;
    int length = record_encode(kind, entry->record, bytes + HEAD_BYTES, producer->slot_capacity,
                               &fields, &problem);
    if (length < 0) {
        return refuse_record(producer, &problem, index);
    }
    producer->misplaced += problem.misplaced;
    unsigned char head[RECORD_HEAD_BYTES_MAX];
    size_t head_length = record_encode_head(&identity, fields, head);
    unsigned char *begin = bytes + HEAD_BYTES - head_length;
    memcpy(begin, head, head_length);
    if (record_decode(kind, NULL, begin, head_length + (size_t)length, scratch, &record,
                      &problem) != 0) {
        return refuse_record(producer, &problem, index);
    }
    PyObject *object = row_object(producer, &record);
    int status = object != NULL ? PyList_Append(list, object) : -1;
    Py_XDECREF(object);
    return status == 0 ? seq : BLOTTER_SYSTEM;
}

int64_t stored_submit(struct producer *producer, const struct blotter_entry *entries, size_t count)
{
    int64_t first = PyList_GET_SIZE(producer->tape) + 1, status = BLOTTER_SYSTEM;
    unsigned char *bytes = PyMem_Malloc(HEAD_BYTES + producer->slot_capacity);
    size_t room = LIMIT_RECORD_BYTES + 8 * producer->slot_capacity; /* more than a slot's needs */
    struct record_scratch scratch = {PyMem_Malloc(room), room, 0};
    PyObject *list = PyList_New(0);
    if (producer->closed) {
        status = BLOTTER_CLOSED;
    } else if (bytes != NULL && scratch.bytes != NULL && list != NULL) {
        status = first;
        for (size_t i = 0; status > 0 && i < count; i++) {
            status = stored_add(producer, &entries[i], first + (int64_t)i, bytes, &scratch, list);
        }
    }
    if (status > 0 && PyList_SetSlice(producer->tape, first - 1, first - 1, list) != 0) {
        status = BLOTTER_SYSTEM;
    }
    PyMem_Free(bytes);
    PyMem_Free(scratch.bytes);
    Py_XDECREF(list);
    return status > 0 ? first : status;
}
