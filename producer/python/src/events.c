/* events.c: see events.h. Objects are made while the ring is not locked: making one may run
 * anything. */
#include "events.h"

#include <string.h>

#define X(name, value, word, meaning) [value] = (word),
static const char *const words[] = {BLOTTER_EVENTS(X)};
#undef X

static PyStructSequence_Field fields[] = {
    {"name", "what has changed, one of the words above"},
    {"text", "more on it, '' where there is nothing to say"},
    {"at_ns", "when, nanoseconds since 1970"},
    {"missed",
     "how many events just before this one were told and forgotten before they were fetched"},
    {NULL, NULL},
};

#define X(name, value, word, meaning) "    " word "\n        " meaning "\n"
static PyStructSequence_Desc description = {
    .name = "blotter.Event",
    .doc = "What has changed between a producer and PostgreSQL, told once per change. By "
           "name:\n\n" BLOTTER_EVENTS(X),
    .fields = fields,
    .n_in_sequence = sizeof fields / sizeof *fields - 1,
};
#undef X

PyObject *event_type_create(void)
{
    return (PyObject *)PyStructSequence_NewType(&description);
}

static PyObject *make_name(int what)
{
    if (what >= 0 && (size_t)what < sizeof words / sizeof *words) {
        return PyUnicode_InternFromString(words[what]);
    }
    return PyUnicode_FromFormat("event_%d", what); /* of a library newer than we are */
}

static PyObject *make_event(PyTypeObject *type, const struct event *event)
{
    PyObject *result = PyStructSequence_New(type);
    if (result == NULL) {
        return NULL;
    }
    PyStructSequence_SetItem(result, 0, make_name(event->what));
    PyStructSequence_SetItem(
        result, 1, PyUnicode_DecodeUTF8(event->text, (Py_ssize_t)strlen(event->text), "replace"));
    PyStructSequence_SetItem(result, 2, PyLong_FromLongLong(event->at_ns));
    PyStructSequence_SetItem(result, 3, PyLong_FromUnsignedLongLong(event->missed));
    if (PyErr_Occurred() != NULL) {
        Py_CLEAR(result);
    }
    return result;
}

PyObject *events_take(struct event_ring *ring, int fd, PyTypeObject *event_type)
{
    struct event event;
    PyObject *list = PyList_New(0);
    while (list != NULL && event_ring_take(ring, fd, &event)) {
        PyObject *object = make_event(event_type, &event);
        if (object == NULL || PyList_Append(list, object) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(object);
    }
    return list;
}
