/* Arguments as JSON, where they are spelled as they are: no text has to be escaped, no name is one that loaders keep for
   themselves, no number is written with an exponent. The bytes are orjson's. */

#include "encode_args.h"

#include <math.h>

enum { MAX_DECIMALS = 18 }; /* more, and formats/chrome.py writes an exponent */

/* A text that has nothing to escape, in quotes. */
static said_t json_text(bytes_t *out, PyObject *text) {
    size_t length;
    const char *utf8 = utf8_of(text, &length);
    if (!utf8)
        return ODD;
    if (bytes_grow(out, length + 8) < 0)
        return FAILED;
    char *to = out->at + out->used;
    *to++ = '"';
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)utf8[i];
        if (unlikely(byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f))
            return ODD;
        *to++ = (char)byte;
    }
    *to++ = '"';
    out->used = (size_t)(to - out->at);
    return PLAIN;
}

/* The name of an argument: one that loaders keep for themselves is spelled otherwise (formats/chrome_reserved.py). */
static said_t json_name(bytes_t *out, PyObject *name) {
    said_t said = json_text(out, name);
    if (said != PLAIN)
        return said;
    static const char *const reserved[] = {"stream\"", "correlation\""};
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(reserved[i]);
        if (out->used > length && !memcmp(out->at + out->used - length, reserved[i], length))
            return ODD;
    }
    return PLAIN;
}

static said_t json_int(bytes_t *out, PyObject *value) {
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return ODD;
    if (bytes_grow(out, 24) < 0)
        return FAILED;
    char digits[24], *first = digits + sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        *--first = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        *--first = '-';
    bytes_add(out, first, (size_t)(digits + sizeof digits - first));
    return PLAIN;
}

/* A number as Python writes it, if that is how the format does: without an exponent, and with few decimals. */
static said_t json_float(bytes_t *out, double value) {
    if (!isfinite(value))
        return ODD;
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!text) {
        PyErr_Clear();
        return FAILED;
    }
    size_t length = strlen(text);
    const char *point = strchr(text, '.');
    said_t said = strchr(text, 'e') || !point || length - (size_t)(point - text) - 1 > MAX_DECIMALS ? ODD : PLAIN;
    if (said == PLAIN && bytes_grow(out, length) < 0)
        said = FAILED;
    if (said == PLAIN)
        bytes_add(out, text, length);
    PyMem_Free(text);
    return said;
}

static said_t json_value(bytes_t *out, PyObject *value, int depth);

/* The items of a dict, whose names are arguments' or not. */
static said_t json_items(bytes_t *out, PyObject *dict, said_t (*name_of)(bytes_t *, PyObject *), int depth) {
    PyObject *key, *value;
    Py_ssize_t place = 0;
    for (int first = 1; PyDict_Next(dict, &place, &key, &value); first = 0) {
        if (bytes_grow(out, 4) < 0)
            return FAILED;
        if (!first)
            bytes_put(out, ',');
        said_t said = name_of(out, key);
        if (said != PLAIN)
            return said;
        bytes_put(out, ':'); /* json_text has left room */
        said = json_value(out, value, depth);
        if (said != PLAIN)
            return said;
    }
    return PLAIN;
}

static said_t json_list(bytes_t *out, PyObject *list, int depth) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (bytes_grow(out, 4) < 0)
            return FAILED;
        if (i)
            bytes_put(out, ',');
        said_t said = json_value(out, PyList_GET_ITEM(list, i), depth);
        if (said != PLAIN)
            return said;
    }
    return PLAIN;
}

static said_t json_value(bytes_t *out, PyObject *value, int depth) {
    if (PyUnicode_CheckExact(value))
        return json_text(out, value);
    if (PyLong_CheckExact(value))
        return json_int(out, value);
    if (PyFloat_CheckExact(value))
        return json_float(out, PyFloat_AS_DOUBLE(value));
    if (bytes_grow(out, 8) < 0)
        return FAILED;
    if (PyBool_Check(value)) {
        bytes_add(out, value == Py_True ? "true" : "false", value == Py_True ? 4 : 5);
        return PLAIN;
    }
    int is_dict = PyDict_CheckExact(value);
    if (depth == MAX_ARGS_DEPTH || (!is_dict && !PyList_CheckExact(value)))
        return ODD;
    bytes_put(out, is_dict ? '{' : '[');
    said_t said = is_dict ? json_items(out, value, json_text, depth + 1) : json_list(out, value, depth + 1);
    if (said == PLAIN && bytes_grow(out, 1) < 0)
        said = FAILED;
    if (said == PLAIN)
        bytes_put(out, is_dict ? '}' : ']');
    return said;
}

said_t json_args(bytes_t *out, PyObject *args) { return json_items(out, args, json_name, 0); }
