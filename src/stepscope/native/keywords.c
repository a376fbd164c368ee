/* Keyword arguments as they came: the call's own tuple of names, and the values behind it. Only what is recorded as it
   is can stand so, and a call's tuple is one object for as long as its code is: a span with arguments makes no dict, and
   its keys are looked at once. Readers make the dict that the twin records. */

#include "span.h"

#define SEEN_BITS 6

typedef struct {
    PyObject_VAR_HEAD
    size_t bytes; /* about what it takes in memory */
    PyObject *names;
    PyObject *values[];
} keywords_t;

static PyObject *seen[1 << SEEN_BITS]; /* names that can be recorded as they are, by address; strong */

/* Whether none is a parameter of the call, or recorded by another name; adds to bytes what they take. */
static __attribute__((noinline)) int names_are_plain(PyObject *names, size_t *bytes) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *key = PyTuple_GET_ITEM(names, i);
        if (!key_is_plain(key)) return 0;
        if (PyUnicode_CompareWithASCIIString(key, "name") == 0) return 0;
        if (PyUnicode_CompareWithASCIIString(key, "args") == 0) return 0;
        *bytes += 64 + text_bytes(key);
    }
    return 1;
}

/* The same; those that were seen before belong to code, and take nothing more. */
static inline int names_known(PyObject *names, size_t *bytes) {
    PyObject **place = &seen[((uint64_t)(uintptr_t)names * 0x9E3779B97F4A7C15u) >> (64 - SEEN_BITS)];
    if (likely(*place == names)) return 1;
    if (!names_are_plain(names, bytes)) return 0;
    Py_XSETREF(*place, Py_NewRef(names));
    return 1;
}

PyObject *keywords_new(PyObject *names, PyObject *const *values) {
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    size_t bytes = 64;
    if (!names_known(names, &bytes)) return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!value_is_plain(values[i])) return NULL;
        bytes += 40 + (PyUnicode_CheckExact(values[i]) ? text_bytes(values[i]) : 0);
    }
    keywords_t *keywords = PyObject_NewVar(keywords_t, &Keywords_Type, count);
    if (keywords == NULL) return NULL;
    keywords->bytes = bytes;
    keywords->names = Py_NewRef(names);
    for (Py_ssize_t i = 0; i < count; i++) keywords->values[i] = Py_NewRef(values[i]);
    return (PyObject *)keywords;
}

PyObject *keywords_dict(PyObject *self) {
    const keywords_t *keywords = (keywords_t *)self;
    PyObject *args = PyDict_New();
    for (Py_ssize_t i = 0; args != NULL && i < Py_SIZE(self); i++)
        if (PyDict_SetItem(args, PyTuple_GET_ITEM(keywords->names, i), keywords->values[i]) < 0) Py_CLEAR(args);
    return args;
}

size_t keywords_bytes(PyObject *keywords) { return ((keywords_t *)keywords)->bytes; }

static void keywords_dealloc(PyObject *self) {
    keywords_t *keywords = (keywords_t *)self;
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) Py_DECREF(keywords->values[i]);
    Py_DECREF(keywords->names);
    PyObject_Free(self);
}

PyTypeObject Keywords_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.Keywords",
    .tp_doc = PyDoc_STR("A span's keyword arguments."),
    .tp_basicsize = sizeof(keywords_t),
    .tp_itemsize = sizeof(PyObject *),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = keywords_dealloc,
};
