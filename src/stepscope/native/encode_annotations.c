/* Arguments as DebugAnnotations:

       {"k": 1, "s": "x"}      22 04 08 1 20 01 | 22 05 08 2 32 01 78      k has id 1, s has id 2

   A length stands before what it is of: room is left for one byte, and more is made when it is known. */

#include "encode_args.h"
#include "perfetto.h"

/* The fields of a DebugAnnotation, and of what holds them. */
enum { IID = 0x08, BOOL = 0x10, INT = 0x20, DOUBLE = 0x29, STRING = 0x32, NAME = 0x52, ENTRY = 0x5a, ITEM = 0x62 };
enum { ANNOTATION = 0x22 }; /* of a TrackEvent */
enum { MOST_VARINT = 10 };

static void put_uint(bytes_t *out, uint64_t number) {
    out->used = (size_t)((char *)put_varint((uint8_t *)out->at + out->used, number) - out->at);
}

/* Begin a field whose length is told behind it; where that stands. -1: no memory. */
static Py_ssize_t length_begin(bytes_t *out, char tag) {
    if (bytes_grow(out, 2) < 0)
        return -1;
    bytes_put(out, tag);
    bytes_put(out, 0);
    return (Py_ssize_t)out->used;
}

static said_t length_end(bytes_t *out, Py_ssize_t begin) {
    uint8_t length[MOST_VARINT];
    size_t payload = out->used - (size_t)begin, more = (size_t)(put_varint(length, payload) - length) - 1;
    if (bytes_grow(out, more) < 0)
        return FAILED;
    char *at = out->at + begin;
    if (more)
        memmove(at + more, at, payload);
    memcpy(at - 1, length, more + 1);
    out->used += more;
    return PLAIN;
}

static said_t annotation_text(bytes_t *out, char tag, PyObject *text) {
    size_t length;
    const char *utf8 = utf8_of(text, &length);
    if (!utf8)
        return ODD;
    if (bytes_grow(out, length + 1 + MOST_VARINT) < 0)
        return FAILED;
    bytes_put(out, tag);
    put_uint(out, length);
    bytes_add(out, utf8, length);
    return PLAIN;
}

static said_t annotation_value(bytes_t *out, PyObject *value, int depth);

/* What a container holds: each a field of its own, with its name if it has one. */
static said_t annotation_item(bytes_t *out, char tag, PyObject *name, PyObject *value, int depth) {
    Py_ssize_t begin = length_begin(out, tag);
    said_t said = begin < 0 ? FAILED : name ? annotation_text(out, NAME, name) : PLAIN;
    if (said == PLAIN)
        said = annotation_value(out, value, depth);
    return said == PLAIN ? length_end(out, begin) : said;
}

static said_t annotation_container(bytes_t *out, PyObject *value, int depth) {
    PyObject *key, *item;
    Py_ssize_t place = 0;
    said_t said = PLAIN;
    if (PyDict_CheckExact(value)) {
        while (said == PLAIN && PyDict_Next(value, &place, &key, &item))
            said = annotation_item(out, ENTRY, key, item, depth);
        return said;
    }
    for (Py_ssize_t i = 0; said == PLAIN && i < PyList_GET_SIZE(value); i++)
        said = annotation_item(out, ITEM, NULL, PyList_GET_ITEM(value, i), depth);
    return said;
}

static said_t annotation_value(bytes_t *out, PyObject *value, int depth) {
    if (PyUnicode_CheckExact(value))
        return annotation_text(out, STRING, value);
    if (bytes_grow(out, 1 + MOST_VARINT) < 0)
        return FAILED;
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        bytes_put(out, INT);
        put_uint(out, (uint64_t)number);
        return overflow ? ODD : PLAIN;
    }
    if (PyFloat_CheckExact(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        bytes_put(out, DOUBLE);
        for (int i = 0; i < 8; i++)
            bytes_put(out, (char)(bits >> 8 * i));
        return PLAIN;
    }
    if (PyBool_Check(value)) {
        bytes_put(out, BOOL);
        bytes_put(out, value == Py_True);
        return PLAIN;
    }
    if (depth == MAX_ARGS_DEPTH || (!PyDict_CheckExact(value) && !PyList_CheckExact(value)))
        return ODD;
    return annotation_container(out, value, depth + 1);
}

said_t annotation_put(bytes_t *out, uint32_t name, PyObject *value) {
    Py_ssize_t begin = length_begin(out, ANNOTATION);
    if (begin < 0 || bytes_grow(out, 1 + MOST_VARINT) < 0)
        return FAILED;
    bytes_put(out, IID);
    put_uint(out, name);
    said_t said = annotation_value(out, value, 0);
    return said == PLAIN ? length_end(out, begin) : said;
}
