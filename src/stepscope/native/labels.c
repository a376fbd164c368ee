/* Hashes of texts and of arguments; the twin of twin/labels.py.

   The hash of a text is what is left of a number by a prime somewhat below 2**64. The number is the text's bytes, least
   first, with a 1 behind them:

       b0 | b1 | ... | bn | 1

   and 2**64 leaves PRIME_BELOW, so that eight bytes go in at a time. Arguments are hashed by the text that Python has for a
   sorted list of them, which is put together here: [('at', 5), ('name', 'x')]. */

#include "native.h"

#include <stdio.h>
#include <string.h>

#define PRIME_BELOW UINT64_C(0x9E3779EB)
#define PRIME (UINT64_MAX - PRIME_BELOW + 1)
/* Arguments of more keys are Python's to hash: here they are sorted one by one. */
enum { MAX_KEYS = 64 };

/* ---- texts ---- */

/* high * 2**64 + low, less as many primes as go into it. */
static inline uint64_t left_over(unsigned __int128 number) {
    number = (number >> 64) * PRIME_BELOW + (uint64_t)number;
    number = (number >> 64) * PRIME_BELOW + (uint64_t)number;
    return (uint64_t)number >= PRIME ? (uint64_t)number - PRIME : (uint64_t)number;
}

static inline uint64_t word_at(const uint8_t *bytes, size_t count) {
    uint64_t word = 0;
    while (count)
        word = word << 8 | bytes[--count];
    return word;
}

/* The hash of some bytes; never 0. */
static uint64_t hash_bytes(const char *text, size_t length) {
    const uint8_t *bytes = (const uint8_t *)text;
    size_t rest = length % 8;
    uint64_t hash = (UINT64_C(1) << 8 * rest) + word_at(bytes + length - rest, rest);
    for (size_t at = length - rest; at; at -= 8)
        hash = left_over((unsigned __int128)hash * PRIME_BELOW + word_at(bytes + at - 8, 8));
    return hash ? hash : 1;
}

/* The hash of a str; 0, or -1 with an exception set. */
static int hash_text(PyObject *text, uint64_t *hash) {
    if (PyUnicode_GET_LENGTH(text) == 0) {
        *hash = 0;
    } else if (PyUnicode_IS_COMPACT_ASCII(text)) {
        *hash = hash_bytes((const char *)PyUnicode_1BYTE_DATA(text), (size_t)PyUnicode_GET_LENGTH(text));
    } else {
        PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
        if (!bytes)
            return -1;
        *hash = hash_bytes(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
        Py_DECREF(bytes);
    }
    return 0;
}

PyDoc_STRVAR(hash_texts_doc, "hash_texts(texts, /)\n--\n\n"
                             "A hash of each text; 0 for one that is empty, and for no other.");

static PyObject *hash_texts(PyObject *Py_UNUSED(module), PyObject *texts) {
    Py_buffer held;
    PyObject *copy = PySequence_Tuple(texts);
    PyObject *hashes = copy ? array_new_held('Q', PyTuple_GET_SIZE(copy), &held) : NULL;
    if (!hashes) {
        Py_XDECREF(copy);
        return NULL;
    }
    for (Py_ssize_t at = 0; hashes && at < PyTuple_GET_SIZE(copy); at++) {
        PyObject *text = PyTuple_GET_ITEM(copy, at);
        if (!PyUnicode_Check(text)) {
            PyErr_Format(PyExc_TypeError, "texts[%zd]: must be str, not %.100s", at, Py_TYPE(text)->tp_name);
            Py_CLEAR(hashes);
        } else if (hash_text(text, (uint64_t *)held.buf + at) < 0) {
            Py_CLEAR(hashes);
        }
    }
    PyBuffer_Release(&held);
    Py_DECREF(copy);
    return hashes;
}

/* ---- arguments ---- */

/* A text that grows. */
typedef struct {
    char *at;
    size_t length, room;
} said_t;

/* The parts of an ArgsLabels, borrowed; empty is a dict to unwrap others with. */
typedef struct {
    PyObject *is_compared, *normal, *other, *empty;
    said_t said;
} hashing_t;

/* 0, or -1 with an exception set. */
static int say(said_t *said, const char *text, size_t length) {
    if (said->room - said->length < length) {
        size_t room = (said->room + length) * 2 + 64;
        char *at = PyMem_Realloc(said->at, room);
        if (!at) {
            PyErr_NoMemory();
            return -1;
        }
        said->at = at;
        said->room = room;
    }
    memcpy(said->at + said->length, text, length);
    said->length += length;
    return 0;
}

/* Say what Python calls an object. */
static int say_repr(said_t *said, PyObject *object) {
    Py_ssize_t length;
    PyObject *repr = PyObject_Repr(object);
    const char *text = repr ? PyUnicode_AsUTF8AndSize(repr, &length) : NULL;
    int status = text ? say(said, text, (size_t)length) : -1;
    Py_XDECREF(repr);
    return status;
}

/* Say a str in quotes; most are what they are. */
static int say_text(said_t *said, PyObject *text) {
    if (!PyUnicode_IS_COMPACT_ASCII(text))
        return say_repr(said, text);
    const uint8_t *bytes = PyUnicode_1BYTE_DATA(text);
    size_t length = (size_t)PyUnicode_GET_LENGTH(text), at = 0;
    while (at < length && bytes[at] >= ' ' && bytes[at] < 0x7f && bytes[at] != '\'' && bytes[at] != '\\')
        at++;
    if (at < length)
        return say_repr(said, text);
    return say(said, "'", 1) < 0 || say(said, (const char *)bytes, length) < 0 ? -1 : say(said, "'", 1);
}

/* Say a number, or text without what belongs to one run only. */
static int say_value(hashing_t *hashing, PyObject *value) {
    said_t *said = &hashing->said;
    if (PyUnicode_CheckExact(value)) {
        PyObject *normal = PyObject_GetItem(hashing->normal, value);
        int status = -1;
        if (normal && !PyUnicode_CheckExact(normal))
            PyErr_Format(PyExc_TypeError, "labels.normal has %.100s: it must have str", Py_TYPE(normal)->tp_name);
        else if (normal)
            status = say_text(said, normal);
        Py_XDECREF(normal);
        return status;
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        char digits[24];
        if (!overflow)
            return say(said, digits, (size_t)snprintf(digits, sizeof digits, "%lld", number));
    }
    return say_repr(said, value);
}

/* Whether a value is a number or text. */
static inline int is_plain(PyObject *value) {
    return PyLong_CheckExact(value) || PyUnicode_CheckExact(value) || PyBool_Check(value) || PyFloat_CheckExact(value);
}

/* Put what is compared of some arguments in order of their keys; how many, -1 with an exception set, or -2: they are not
   all numbers and text, or too many. */
static int sort_compared(const hashing_t *hashing, PyObject *args, PyObject *keys[], PyObject *values[]) {
    PyObject *key, *value;
    Py_ssize_t place = 0;
    int count = 0;
    if (PyDict_GET_SIZE(args) > MAX_KEYS)
        return -2;
    while (PyDict_Next(args, &place, &key, &value))
        if (!PyUnicode_CheckExact(key) || !is_plain(value))
            return -2;
    /* The dict is a copy: what runs here cannot change it. */
    for (place = 0; PyDict_Next(args, &place, &key, &value);) {
        PyObject *answer = PyObject_GetItem(hashing->is_compared, key);
        int is = answer ? PyObject_IsTrue(answer) : -1, at = count;
        Py_XDECREF(answer);
        if (is < 0)
            return -1;
        if (!is)
            continue;
        for (; at && PyUnicode_Compare(keys[at - 1], key) > 0; at--) {
            keys[at] = keys[at - 1];
            values[at] = values[at - 1];
        }
        keys[at] = key;
        values[at] = value;
        count++;
    }
    return count;
}

/* The hash of arguments, in a dict of our own; 0, or -1 with an exception set, or -2: they are not plain. */
static int hash_plain(hashing_t *hashing, PyObject *args, uint64_t *hash) {
    PyObject *keys[MAX_KEYS], *values[MAX_KEYS];
    said_t *said = &hashing->said;
    int count = sort_compared(hashing, args, keys, values);
    *hash = 0;
    if (count <= 0)
        return count;
    said->length = 0;
    for (int at = 0; at < count; at++) {
        const char *before = at ? "), (" : "[(";
        if (say(said, before, strlen(before)) < 0 || say_text(said, keys[at]) < 0 || say(said, ", ", 2) < 0 ||
            say_value(hashing, values[at]) < 0)
            return -1;
    }
    if (say(said, ")]", 2) < 0)
        return -1;
    *hash = hash_bytes(said->at, said->length);
    return 0;
}

/* The hash of any arguments; 0, or -1 with an exception set. */
static int hash_one(hashing_t *hashing, PyObject *args, uint64_t *hash) {
    /* A mappingproxy gives what is in it only so. */
    PyObject *copy = PyDict_CheckExact(args)                      ? PyDict_Copy(args)
                     : Py_IS_TYPE(args, &PyDictProxy_Type)        ? PyNumber_Or(args, hashing->empty)
                                                                  : Py_NewRef(Py_None);
    if (!copy)
        return -1;
    int status = PyDict_CheckExact(copy) ? hash_plain(hashing, copy, hash) : -2;
    Py_DECREF(copy);
    if (status != -2)
        return status;
    PyObject *number = PyObject_CallFunctionObjArgs(hashing->other, args, NULL);
    *hash = number ? PyLong_AsUnsignedLongLong(number) : 0;
    Py_XDECREF(number);
    return PyErr_Occurred() ? -1 : 0;
}

/* Set the hash of one item's row; 0, or -1 with an exception set. */
static int hash_item(hashing_t *hashing, PyObject *item, const Py_buffer *hashes) {
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) {
        PyErr_SetString(PyExc_TypeError, "items: must be pairs of a row and its arguments");
        return -1;
    }
    Py_ssize_t row = PyNumber_AsSsize_t(PyTuple_GET_ITEM(item, 0), PyExc_IndexError), rows = hashes->len / 8;
    if (row == -1 && PyErr_Occurred())
        return -1;
    if (row < 0 || row >= rows) {
        PyErr_Format(PyExc_IndexError, "row %zd has arguments, but there are %zd rows", row, rows);
        return -1;
    }
    uint64_t hash;
    if (hash_one(hashing, PyTuple_GET_ITEM(item, 1), &hash) < 0)
        return -1;
    ((uint64_t *)hashes->buf)[row] = hash;
    return 0;
}

PyDoc_STRVAR(hash_args_doc, "hash_args(items, hashes, labels)\n--\n\n"
                            "Set the hash of each row's arguments: of the text that is the same for those that are "
                            "compared as equal.");

static PyObject *hash_args(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"items", "hashes", "labels", NULL};
    PyObject *items, *array, *labels, *item, *iterator = NULL;
    hashing_t hashing = {0};
    Py_buffer hashes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO!:hash_args", names, &items, &array, &PyTuple_Type, &labels) ||
        !PyArg_ParseTuple(labels, "OOO;labels: must be an ArgsLabels", &hashing.is_compared, &hashing.normal,
                          &hashing.other) ||
        array_get(array, (array_is_t){"hash_args", "hashes", 'Q'}, 1, &hashes) < 0)
        return NULL;
    hashing.empty = PyDict_New();
    iterator = hashing.empty ? PyObject_GetIter(items) : NULL;
    while (iterator && (item = PyIter_Next(iterator))) {
        int status = hash_item(&hashing, item, &hashes);
        Py_DECREF(item);
        if (status < 0)
            break;
    }
    Py_XDECREF(iterator);
    Py_XDECREF(hashing.empty);
    PyMem_Free(hashing.said.at);
    PyBuffer_Release(&hashes);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"hash_texts", hash_texts, METH_O, hash_texts_doc},
    {"hash_args", (PyCFunction)(void (*)(void))hash_args, METH_VARARGS | METH_KEYWORDS, hash_args_doc},
    {NULL, NULL, 0, NULL},
};

int labels_add(PyObject *module) { return PyModule_AddFunctions(module, METHODS); }
