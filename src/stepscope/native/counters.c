/* Counter values in both formats, one event or packet a value; the twin of twin/counters.py.

       {"ph":"C", | head of the track | 1.5 | },"ts": | 0.001 | }

       TracePacket       0a len | 40 timestamp delta | 50 sequence | 5a len TrackEvent
       TrackEvent        48 04 | f0 01 integer value, or e1 02 double value

   Whole numbers below 2**53 are written as integers. Each call encodes about 1 MiB without the GIL, straight into the
   bytes object that it returns, and says where to go on. */

#include "chrome.h"
#include "perfetto.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

PyTypeObject *counters_type;

static const char VALUE_HEAD[] = ",\n{\"ph\":\"C\",", TIME_HEAD[] = "},\"ts\":";
/* What a value takes beside its track's head, and what a packet takes. */
enum { VALUE_SLACK = 128 + TEXT_SLACK, PACKET_SLACK = 64 };

/* How far a call has come. */
typedef struct {
    Py_ssize_t at;
    const char *refuse; /* why the value at `at` cannot be encoded, or NULL */
} progress_t;

void counters_release(counters_t *counters) {
    while (counters->count)
        PyBuffer_Release(&counters->held[--counters->count]);
}

int counters_get(PyObject *tuple, counters_t *counters) {
    static const array_is_t IS[] = {{"counters", "ts", 'q'}, {"counters", "value", 'd'}, {"counters", "track", 'I'}};
    Py_buffer *held = counters->held;
    counters->count = 0;
    if (!PyObject_TypeCheck(tuple, counters_type) || PyTuple_GET_SIZE(tuple) != 3) {
        PyErr_Format(PyExc_TypeError, "counters: must be a stepscope.core.rows.Counters, not %.100s",
                     Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; counters->count < 3; counters->count++)
        if (array_get(PyTuple_GET_ITEM(tuple, counters->count), IS[counters->count], 0, &held[counters->count]) < 0)
            goto failed;
    counters->values = held[0].len / 8;
    if ((uint64_t)counters->values > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "counters has %zd values: at most 2**32 - 1 can be numbered", counters->values);
        goto failed;
    }
    if (held[1].len / 8 != counters->values || held[2].len / 4 != counters->values) {
        PyErr_Format(PyExc_ValueError, "counters has %zd ts, %zd value and %zd track: each must have one item a value",
                     counters->values, held[1].len / 8, held[2].len / 4);
        goto failed;
    }
    counters->ts = held[0].buf;
    counters->value = held[1].buf;
    counters->track = held[2].buf;
    return 0;

failed:
    counters_release(counters);
    return -1;
}

/* 0, or -1 with an exception set: there is no such value. */
static int check_at(const counters_t *counters, Py_ssize_t at) {
    if (at >= 0 && at <= counters->values)
        return 0;
    PyErr_Format(PyExc_ValueError, "at is %zd, but there are %zd values", at, counters->values);
    return -1;
}

/* ---- numbers ---- */

/* Whether a value is written as an integer. */
static inline int is_whole(double value) {
    return value > -9007199254740992.0 && value < 9007199254740992.0 && value == (double)(int64_t)value;
}

/* Copy a number that printf has made: its decimal point is the locale's, which may be several bytes. */
static char *copy_number(char *to, const char *from) {
    int point = 0;
    for (; *from; from++) {
        if ((*from >= '0' && *from <= '9') || *from == '-' || *from == '+' || *from == 'e') {
            *to++ = *from;
        } else if (!point) {
            *to++ = '.';
            point = 1;
        }
    }
    return to;
}

/* Fifteen digits where they say the value exactly, else seventeen, and those of a small number not behind zeros: the
   twin says why. */
static char *print_double(char *to, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, fabs(value) >= 0.01 ? "%.17g" : "%.16e", value);
    return copy_number(to, text);
}

static char *print_value(char *to, double value) {
    if (!is_whole(value))
        return print_double(to, value);
    int64_t whole = (int64_t)value;
    if (whole < 0)
        *to++ = '-';
    return print_unsigned(to, (uint64_t)(whole < 0 ? -whole : whole));
}

static uint8_t *put_value(uint8_t *to, double value) {
    if (value >= 0 && is_whole(value)) {
        memcpy(to, "\xf0\x01", 2);
        return put_varint(to + 2, (uint64_t)value);
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    memcpy(to, "\xe1\x02", 2);
    for (int byte = 0; byte < 8; byte++)
        to[2 + byte] = (uint8_t)(bits >> 8 * byte);
    return to + 10;
}

/* ---- values until a chunk is full ---- */

static char *print_values(const counters_t *counters, const texts_t *heads, char *to, const char *end,
                          progress_t *progress) {
    for (; progress->at < counters->values; progress->at++) {
        uint32_t track = counters->track[progress->at];
        if (track >= (size_t)heads->count) {
            progress->refuse = "there is no such track";
            break;
        }
        const text_t head = heads->of[track];
        if ((size_t)(end - to) < head.length + VALUE_SLACK)
            break;
        to = paste(to, head.at, head.length);
        to = print_value(to, counters->value[progress->at]);
        memcpy(to, TIME_HEAD, sizeof TIME_HEAD - 1);
        to = print_us(to + sizeof TIME_HEAD - 1, counters->ts[progress->at]);
        *to++ = '}';
    }
    return to;
}

/* Bytes in which any value fits. */
static Py_ssize_t chunk_size(const texts_t *heads) {
    size_t longest = 0;
    for (Py_ssize_t i = 0; i < heads->count; i++)
        longest = heads->of[i].length > longest ? heads->of[i].length : longest;
    return longest + VALUE_SLACK > CHUNK_BYTES ? (Py_ssize_t)(longest + VALUE_SLACK) : CHUNK_BYTES;
}

/* The sequences of perfetto_counters, held: of each track its number and where its clock stands. */
typedef struct {
    Py_buffer numbers, last;
    Py_ssize_t count;
} clocks_t;

static uint8_t *put_values(const counters_t *counters, const clocks_t *clocks, uint8_t *to, const uint8_t *end,
                           progress_t *progress) {
    const uint32_t *numbers = clocks->numbers.buf;
    int64_t *last = clocks->last.buf;
    for (; progress->at < counters->values && end - to >= PACKET_SLACK; progress->at++) {
        uint32_t track = counters->track[progress->at];
        int64_t ts = counters->ts[progress->at];
        if (track >= (size_t)clocks->count || ts < last[track]) {
            progress->refuse = track >= (size_t)clocks->count ? "there is no such track"
                                                              : "it is before the one before it on its track";
            break;
        }
        uint8_t *body = to + 2, *event;
        to[0] = 0x0a;
        to[2] = 0x40;
        to = put_varint(to + 3, (uint64_t)ts - (uint64_t)last[track]);
        *to++ = 0x50;
        to = put_varint(to, numbers[track]);
        *to++ = 0x5a;
        event = ++to;
        memcpy(to, "\x48\x04", 2);
        to = put_value(to + 2, counters->value[progress->at]);
        event[-1] = (uint8_t)(to - event);
        body[-1] = (uint8_t)(to - body);
        last[track] = ts;
    }
    return to;
}

/* ---- the calls ---- */

/* (chunk, where to go on), taking the reference to chunk; NULL with an exception. */
static PyObject *result_of(const counters_t *counters, PyObject *chunk, Py_ssize_t length, const progress_t *progress) {
    if (progress->refuse) {
        PyErr_Format(PyExc_ValueError, "value %zd, of track %u: %s", progress->at, counters->track[progress->at],
                     progress->refuse);
        Py_CLEAR(chunk);
    } else {
        _PyBytes_Resize(&chunk, length);
    }
    return chunk ? Py_BuildValue("(Nn)", chunk, progress->at) : NULL;
}

PyDoc_STRVAR(chrome_counters_doc, "chrome_counters(counters, heads, at)\n--\n\n"
                                  "Print some of the values from `at` on: bytes, and where to go on.");

static PyObject *chrome_counters(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"counters", "heads", "at", NULL};
    PyObject *tuple, *sequence, *chunk, *result = NULL;
    counters_t counters;
    texts_t heads;
    progress_t progress = {0};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOn:chrome_counters", names, &tuple, &sequence, &progress.at))
        return NULL;
    if (counters_get(tuple, &counters) < 0)
        return NULL;
    if (texts_get(sequence, "heads", VALUE_HEAD, "", &heads) < 0)
        goto counters_held;
    if (check_at(&counters, progress.at) < 0)
        goto heads_held;
    Py_ssize_t size = chunk_size(&heads);
    if (!(chunk = PyBytes_FromStringAndSize(NULL, size)))
        goto heads_held;
    char *start = PyBytes_AS_STRING(chunk), *end;
    Py_BEGIN_ALLOW_THREADS
    end = print_values(&counters, &heads, start, start + size, &progress);
    Py_END_ALLOW_THREADS
    result = result_of(&counters, chunk, end - start, &progress);

heads_held:
    texts_release(&heads);
counters_held:
    counters_release(&counters);
    return result;
}

/* Hold what perfetto_counters is told of sequences; 0, or -1 with an exception set and nothing held. */
static int clocks_get(PyObject *numbers, PyObject *last, clocks_t *clocks) {
    if (array_get(numbers, (array_is_t){"sequences", "number", 'I'}, 0, &clocks->numbers) < 0)
        return -1;
    if (array_get(last, (array_is_t){"sequences", "last", 'q'}, 1, &clocks->last) < 0) {
        PyBuffer_Release(&clocks->numbers);
        return -1;
    }
    clocks->count = clocks->numbers.len / 4;
    if (clocks->last.len / 8 == clocks->count)
        return 0;
    PyErr_Format(PyExc_ValueError, "there are %zd sequences and %zd last: each track has one of both", clocks->count,
                 clocks->last.len / 8);
    PyBuffer_Release(&clocks->numbers);
    PyBuffer_Release(&clocks->last);
    return -1;
}

PyDoc_STRVAR(perfetto_counters_doc, "perfetto_counters(counters, sequences, last, at)\n--\n\n"
                                    "Encode some of the values from `at` on: bytes, and where to go on.");

static PyObject *perfetto_counters(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"counters", "sequences", "last", "at", NULL};
    PyObject *tuple, *sequences, *last, *chunk, *result = NULL;
    counters_t counters;
    clocks_t clocks;
    progress_t progress = {0};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOn:perfetto_counters", names, &tuple, &sequences, &last,
                                     &progress.at))
        return NULL;
    if (counters_get(tuple, &counters) < 0)
        return NULL;
    if (clocks_get(sequences, last, &clocks) < 0)
        goto counters_held;
    if (check_at(&counters, progress.at) < 0 || !(chunk = PyBytes_FromStringAndSize(NULL, CHUNK_BYTES)))
        goto clocks_held;
    uint8_t *start = (uint8_t *)PyBytes_AS_STRING(chunk), *end;
    Py_BEGIN_ALLOW_THREADS
    end = put_values(&counters, &clocks, start, start + CHUNK_BYTES, &progress);
    Py_END_ALLOW_THREADS
    result = result_of(&counters, chunk, end - start, &progress);

clocks_held:
    PyBuffer_Release(&clocks.numbers);
    PyBuffer_Release(&clocks.last);
counters_held:
    counters_release(&counters);
    return result;
}

static PyMethodDef METHODS[] = {
    {"chrome_counters", (PyCFunction)(void (*)(void))chrome_counters, METH_VARARGS | METH_KEYWORDS,
     chrome_counters_doc},
    {"perfetto_counters", (PyCFunction)(void (*)(void))perfetto_counters, METH_VARARGS | METH_KEYWORDS,
     perfetto_counters_doc},
    {NULL, NULL, 0, NULL},
};

int counters_add(PyObject *module) {
    PyObject *type = imported("stepscope.core.rows", "Counters");
    if (!type)
        return -1;
    Py_XSETREF(counters_type, (PyTypeObject *)type);
    return PyModule_AddFunctions(module, METHODS);
}
