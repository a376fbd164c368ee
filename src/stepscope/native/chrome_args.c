/* Arguments of plain events that need no parsing now: the twin of twin/chrome_args.py, which says which they are.

   Their text is copied as it stands, one object behind the other, and parsed when somebody asks:

       {"k":1}{"shape":[4,8],"s":"x"}...     rows  7, 9, ...     ends  7, 30, ... */

#include "chrome_read.h"

#include <string.h>

enum { MAX_DEPTH = 4, MAX_DIGITS = 18, MAX_FRACTION = 17, MAX_EXPONENT = 2 };

/* What of an object is known while it is looked through. */
typedef struct {
    const uint8_t *data;
    Py_ssize_t end;
    int loose; /* it holds what a trace spells otherwise */
} look_t;

static Py_ssize_t look_value(look_t *look, Py_ssize_t at, int depth);

static Py_ssize_t look_space(const look_t *look, Py_ssize_t at) {
    while (at < look->end && (look->data[at] == ' ' || look->data[at] == '\n' || look->data[at] == '\t' ||
                              look->data[at] == '\r'))
        at++;
    return at;
}

static int follows(const uint8_t *bytes, Py_ssize_t left, int count) {
    if (left <= count)
        return 0;
    for (int number = 1; number <= count; number++)
        if (bytes[number] < 0x80 || bytes[number] > 0xbf)
            return 0;
    return 1;
}

/* How many bytes a character of UTF-8 takes that is not ASCII; 0: it is none. */
static int utf8_length(const uint8_t *bytes, Py_ssize_t left) {
    uint8_t first = bytes[0], second = left > 1 ? bytes[1] : 0;
    if (first >= 0xc2 && first <= 0xdf)
        return follows(bytes, left, 1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef) {
        int wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f);
        return !wrong && follows(bytes, left, 2) ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        int wrong = (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
        return !wrong && follows(bytes, left, 3) ? 4 : 0;
    }
    return 0;
}

static int hex_digit(uint8_t byte) {
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* How many bytes an escape takes, from its backslash on; 0: it is none, or half of a character, or NUL. */
static int escape_length(const uint8_t *bytes, Py_ssize_t left) {
    if (left < 2)
        return 0;
    if (bytes[1] != 'u')
        return bytes[1] && strchr("\"\\/bfnrt", bytes[1]) ? 2 : 0;
    if (left < 6)
        return 0;
    int code = 0;
    for (int number = 2; number < 6; number++) {
        int digit = hex_digit(bytes[number]);
        if (digit < 0)
            return 0;
        code = code << 4 | digit;
    }
    return code && (code < 0xd800 || code > 0xdfff) ? 6 : 0;
}

/* Behind the string whose quote is at `at`, or 0. */
static Py_ssize_t look_text(const look_t *look, Py_ssize_t at) {
    for (at++; at < look->end;) {
        uint8_t byte = look->data[at];
        int length = 1;
        if (byte == '"')
            return at + 1;
        if (byte == '\\')
            length = escape_length(look->data + at, look->end - at);
        else if (byte >= 0x80)
            length = utf8_length(look->data + at, look->end - at);
        else if (byte < 0x20)
            length = 0;
        if (!length)
            return 0;
        at += length;
    }
    return 0;
}

/* Behind the digits from `at` on, no more than `most`; `at` itself: there are none, or more. */
static Py_ssize_t look_digits(const look_t *look, Py_ssize_t at, int most) {
    Py_ssize_t start = at;
    while (at < look->end && look->data[at] >= '0' && look->data[at] <= '9')
        at++;
    return at - start > most ? start : at;
}

/* Behind the number at `at`, or 0. */
static Py_ssize_t look_number(const look_t *look, Py_ssize_t at) {
    at += at < look->end && look->data[at] == '-';
    Py_ssize_t start = at;
    at = look_digits(look, at, MAX_DIGITS);
    if (at == start || (look->data[start] == '0' && at - start > 1))
        return 0;
    if (at < look->end && look->data[at] == '.') {
        start = ++at;
        at = look_digits(look, at, MAX_FRACTION);
        if (at == start)
            return 0;
    }
    if (at < look->end && (look->data[at] | 0x20) == 'e') {
        at++;
        at += at < look->end && (look->data[at] == '+' || look->data[at] == '-');
        start = at;
        at = look_digits(look, at, MAX_EXPONENT);
        if (at == start)
            return 0;
    }
    return at;
}

/* Behind a word at `at`, or 0. */
static Py_ssize_t look_word(const look_t *look, Py_ssize_t at, const char *word) {
    Py_ssize_t length = (Py_ssize_t)strlen(word);
    return look->end - at >= length && !memcmp(look->data + at, word, (size_t)length) ? at + length : 0;
}

/* Behind a key and its colon, from the key's quote on, or 0. */
static Py_ssize_t look_key(const look_t *look, Py_ssize_t at) {
    if (at >= look->end || look->data[at] != '"')
        return 0;
    at = look_text(look, at);
    if (!at)
        return 0;
    at = look_space(look, at);
    return at < look->end && look->data[at] == ':' ? look_space(look, at + 1) : 0;
}

/* Behind the object or array whose bracket is at `at`, which has `depth` around it, or 0. */
static Py_ssize_t look_container(look_t *look, Py_ssize_t at, int depth) {
    uint8_t close = look->data[at] == '{' ? '}' : ']';
    if (depth == MAX_DEPTH)
        return 0;
    at = look_space(look, at + 1);
    if (at < look->end && look->data[at] == close) {
        look->loose = 1;
        return at + 1;
    }
    for (;;) {
        if (close == '}' && !(at = look_key(look, at)))
            return 0;
        if (!(at = look_value(look, at, depth + 1)))
            return 0;
        at = look_space(look, at);
        if (at >= look->end)
            return 0;
        if (look->data[at] == close)
            return at + 1;
        if (look->data[at] != ',')
            return 0;
        at = look_space(look, at + 1);
    }
}

static Py_ssize_t look_value(look_t *look, Py_ssize_t at, int depth) {
    if (at >= look->end)
        return 0;
    switch (look->data[at]) {
    case '{':
    case '[':
        return look_container(look, at, depth);
    case '"':
        return look_text(look, at);
    case 't':
        return look_word(look, at, "true");
    case 'f':
        return look_word(look, at, "false");
    case 'n':
        look->loose = 1;
        return look_word(look, at, "null");
    default:
        return look_number(look, at);
    }
}

/* Whether the keys of an object that has been looked through are spelled without escapes, and none begins with what is
   reserved. */
static int keys_are_plain(const look_t *object, Py_ssize_t at, const Py_buffer *reserved) {
    look_t look = *object;
    for (at++;;) {
        at = look_space(&look, at);
        Py_ssize_t end = look_text(&look, at);
        const uint8_t *key = look.data + at + 1;
        size_t length = (size_t)(end - at - 2);
        int is_reserved = length >= (size_t)reserved->len && !memcmp(key, reserved->buf, (size_t)reserved->len);
        if (is_reserved || memchr(key, '\\', length))
            return 0;
        at = look_space(&look, look_value(&look, look_key(&look, at), 1));
        if (look.data[at++] == '}')
            return 1;
    }
}

/* ---- what Python makes of it ---- */

static PyObject *picked_type; /* stepscope.core.rows */

/* The arrays that are filled; room for all. */
typedef struct {
    uint8_t *text;
    Py_ssize_t used;
    uint32_t *rows;
    int64_t *ends;
    uint8_t *loose;
    Py_ssize_t count;
    int64_t *rest;
    Py_ssize_t left;
} picked_t;

static void pick(picked_t *picked, const Py_buffer *data, const Py_buffer *ranges, const Py_buffer *reserved) {
    const int64_t *range = ranges->buf, *behind = range + ranges->len / (Py_ssize_t)sizeof *range;
    for (; range < behind; range += 3) {
        look_t look = {data->buf, (Py_ssize_t)range[2], 0};
        Py_ssize_t start = (Py_ssize_t)range[1], first = look_space(&look, start + 1);
        int plain = look.data[start] == '{' && first < look.end && look.data[first] == '"' &&
                    look_container(&look, start, 0) == look.end && keys_are_plain(&look, start, reserved);
        if (!plain) {
            memcpy(picked->rest + picked->left, range, 3 * sizeof *range);
            picked->left += 3;
            continue;
        }
        memcpy(picked->text + picked->used, look.data + start, (size_t)(look.end - start));
        picked->used += look.end - start;
        picked->rows[picked->count] = (uint32_t)range[0];
        picked->ends[picked->count] = picked->used;
        picked->loose[picked->count++] = (uint8_t)look.loose;
    }
}

/* 0, or -1 with an exception set: the ranges are not three integers each, or not within the data. */
static int check_ranges(const Py_buffer *data, const Py_buffer *ranges, Py_ssize_t *bytes) {
    const int64_t *of = ranges->buf;
    Py_ssize_t count = ranges->len / (Py_ssize_t)sizeof *of;
    *bytes = 0;
    for (Py_ssize_t at = 0; at + 2 < count; at += 3) {
        if (of[at] < 0 || of[at] > UINT32_MAX || of[at + 1] < 0 || of[at + 1] >= of[at + 2] || of[at + 2] > data->len) {
            PyErr_Format(PyExc_IndexError, "range %zd is not within the %zd bytes of data", at / 3, data->len);
            return -1;
        }
        *bytes += (Py_ssize_t)(of[at + 2] - of[at + 1]);
    }
    if (count % 3 == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "ranges has %zd integers; it takes three for each", count);
    return -1;
}

/* The first `count` items of an array, as an array. */
static PyObject *shortened(PyObject *array, Py_ssize_t count) {
    return array ? PySequence_GetSlice(array, 0, count) : NULL;
}

static PyObject *picked_of(const Py_buffer *data, const Py_buffer *ranges, const Py_buffer *reserved) {
    Py_ssize_t bytes, most = ranges->len / (Py_ssize_t)(3 * sizeof(int64_t));
    Py_buffer held[4] = {{0}};
    PyObject *arrays[4] = {NULL}, *text = NULL, *result = NULL;
    static const char codes[] = "IqBq";
    if (check_ranges(data, ranges, &bytes) < 0)
        return NULL;
    for (int number = 0; number < 4; number++) {
        arrays[number] = array_new_held(codes[number], number == 3 ? most * 3 : most, &held[number]);
        if (!arrays[number])
            goto done;
    }
    text = PyBytes_FromStringAndSize(NULL, bytes);
    if (!text)
        goto done;
    picked_t picked = {(uint8_t *)PyBytes_AS_STRING(text), 0, held[0].buf, held[1].buf, held[2].buf, 0, held[3].buf, 0};
    Py_BEGIN_ALLOW_THREADS
    pick(&picked, data, ranges, reserved);
    Py_END_ALLOW_THREADS
    for (int number = 0; number < 4; number++) {
        PyBuffer_Release(&held[number]);
        Py_XSETREF(arrays[number], shortened(arrays[number], number == 3 ? picked.left : picked.count));
        if (!arrays[number])
            goto done;
    }
    if (_PyBytes_Resize(&text, picked.used) == 0)
        result = PyObject_CallFunctionObjArgs(picked_type, text, arrays[0], arrays[1], arrays[2], arrays[3], NULL);
done:
    for (int number = 0; number < 4; number++) {
        PyBuffer_Release(&held[number]);
        Py_XDECREF(arrays[number]);
    }
    Py_XDECREF(text);
    return result;
}

PyDoc_STRVAR(pick_args_doc, "pick_args(data, ranges, reserved)\n--\n\nThe arguments that need no parsing now.");

static PyObject *pick_args(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"data", "ranges", "reserved", NULL};
    Py_buffer data, ranges, reserved;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*y*:pick_args", names, &data, &ranges, &reserved))
        return NULL;
    PyObject *picked = picked_of(&data, &ranges, &reserved);
    PyBuffer_Release(&data);
    PyBuffer_Release(&ranges);
    PyBuffer_Release(&reserved);
    return picked;
}

static PyMethodDef METHODS[] = {
    {"pick_args", (PyCFunction)(void (*)(void))pick_args, METH_VARARGS | METH_KEYWORDS, pick_args_doc},
    {NULL, NULL, 0, NULL},
};

int chrome_args_add(PyObject *module) {
    Py_XSETREF(picked_type, imported("stepscope.core.rows", "PickedArgs"));
    return picked_type ? PyModule_AddFunctions(module, METHODS) : -1;
}
