/* events.c: see events.h. Objects are made while the ring is not locked, as making one may run any
 * code. */
#include "events.h"

#include <string.h>

#define X(name, value, word, meaning) [value] = (word),
static const char *const words[] = {BLOTTER_EVENTS(X)};
#undef X

static PyObject *make_name(int what)
{
    if (what >= 0 && (size_t)what < sizeof words / sizeof *words) {
        return PyUnicode_InternFromString(words[what]);
    }
    return PyUnicode_FromFormat("event_%d", what); /* of a newer library */
}

static PyObject *make_event(const struct event *event)
{
    PyObject *text = PyUnicode_DecodeUTF8(event->text, (Py_ssize_t)strlen(event->text), "replace");
    PyObject *name = make_name(event->what);
    PyObject *result = NULL;
    if (name != NULL && text != NULL) {
        result = Py_BuildValue("OOLK", name, text, (long long)event->at_ns,
                               (unsigned long long)event->missed);
    }
    Py_XDECREF(name);
    Py_XDECREF(text);
    return result;
}

PyObject *events_take(struct event_ring *ring, int fd)
{
    struct event event;
    PyObject *list = PyList_New(0);
    while (list != NULL && event_ring_take(ring, fd, &event)) {
        PyObject *object = make_event(&event);
        if (object == NULL || PyList_Append(list, object) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(object);
    }
    return list;
}
