/* The ring: chunks of records, and the budget they are made from.

   A thread writes into a buffer of its own, chunk after chunk. A window that is sealed takes the chunks over, and gives
   them back when it is freed. Memory is bounded: a budget of bytes for all chunks, labels and arguments there are, sealed
   ones included. When it is spent, a thread that needs more drops its further records of the window, or takes the
   oldest there are (recycle.c); either is counted. */

#include "recorder.h"

#include <stdlib.h>
#include <sys/mman.h>

recorder_t recorder;

/* A thread's first chunks are small, for there may be thousands of threads. Pages are touched by the system when a
   chunk is made, all at once: touched one by one, by the records, they cost more than the records. */
#define CHUNK_BYTES ((uint32_t)1 << 20)
static const uint32_t CHUNK_BYTES_OF[] = {1 << 12, 1 << 16, CHUNK_BYTES}; /* the first, the second, all others */
#define POOL_CHUNKS 64 /* full-sized ones, kept for the next window rather than given back to the system */

#ifndef MAP_POPULATE
#define MAP_POPULATE 0
#endif

static chunk_t *pool;
static size_t pool_count;
static size_t chunk_bytes, args_bytes, bytes_allowed = (size_t)1 << 30; /* the pool's are nobody's */
static int recycles;

int recorder_has_room(size_t bytes) {
    return chunk_bytes + args_bytes + recorder.text_bytes + recorder.sealed_text_bytes + bytes <= bytes_allowed;
}

int recorder_recycles(void) { return recycles; }

/* ---- chunks ----------------------------------------------------------------------------------------------- */

void chunk_free(chunk_t *chunk) {
    chunk_bytes -= chunk->bytes;
    if (chunk->bytes == CHUNK_BYTES && pool_count < POOL_CHUNKS) {
        chunk->next = pool;
        pool = chunk;
        pool_count++;
    } else {
        munmap(chunk, chunk->bytes);
    }
}

static chunk_t *chunk_new(uint32_t bytes) {
    if (!recorder_has_room(bytes)) return NULL;
    chunk_t *chunk = pool;
    if (chunk != NULL && bytes == CHUNK_BYTES) {
        pool = chunk->next;
        pool_count--;
    } else {
        chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (chunk == MAP_FAILED) return NULL;
        chunk->bytes = bytes;
    }
    chunk_bytes += bytes;
    return chunk;
}

/* A chunk for a thread that has had so many: the larger, the longer it records, but no larger than there is room for;
   NULL: there is none. */
static chunk_t *chunk_after(uint32_t chunks) {
    chunk_t *chunk = NULL;
    for (int size = chunks < 2 ? (int)chunks : 2; chunk == NULL && size >= 0; size--) chunk = chunk_new(CHUNK_BYTES_OF[size]);
    return chunk;
}

record_t *buffer_grow(buffer_t *buffer) {
    part_t *part = &buffer->part;
    if (part->last != NULL) part->last->used = (uint32_t)(buffer->pos - part->last->records);
    chunk_t *chunk = NULL;
    /* A thread that has dropped a record drops the rest, too: an end would find the wrong begin. */
    if (recycles || !part->full) chunk = chunk_after(part->chunks);
    if (chunk == NULL && recycles) chunk = chunk_recycle();
    if (chunk == NULL) {
        part->full = 1;
        part->dropped++;
        return NULL;
    }
    chunk->next = NULL;
    chunk->used = 0;
    if (part->last != NULL)
        part->last->next = chunk;
    else
        part->first = chunk;
    part->last = chunk;
    part->chunks++;
    buffer->pos = chunk->records;
    /* One short of the end: a record and its payload are never torn apart. */
    buffer->end = chunk->records + (chunk->bytes - sizeof *chunk) / sizeof(record_t) - 1;
    return buffer->pos;
}

/* ---- arguments -------------------------------------------------------------------------------------------- */

/* About what frozen arguments take in memory. */
static size_t value_bytes(PyObject *value) {
    size_t bytes = 32;
    if (PyUnicode_CheckExact(value)) return bytes + text_bytes(value);
    if (Py_IS_TYPE(value, &Keywords_Type)) return keywords_bytes(value);
    if (PyDict_CheckExact(value)) {
        PyObject *key, *item;
        Py_ssize_t place = 0;
        bytes = 256;
        while (PyDict_Next(value, &place, &key, &item)) bytes += text_bytes(key) + value_bytes(item);
    } else if (PyList_CheckExact(value)) {
        bytes = 64;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(value); i++) bytes += value_bytes(PyList_GET_ITEM(value, i));
    }
    return bytes;
}

static int is_free(PyObject *place) { return (uintptr_t)place & 1; }

/* Make room in the budget for that many bytes; whether there is. */
static int make_room(size_t bytes) {
    if (bytes > bytes_allowed / 2) return 0; /* not at the price of everything else */
    while (!recorder_has_room(bytes))
        if (!recycles || !records_recycle()) return 0;
    return 1;
}

/* Whether there is a place for one more, if need be at the price of the oldest records, whose places are free then. */
static int payloads_have_place(payloads_t *payloads) {
    if (payloads->free || payloads->count < payloads->room) return 1;
    uint32_t room = payloads->room ? 2 * payloads->room : 256;
    size_t more = (room - payloads->room) * sizeof *payloads->args;
    if (room <= payloads->room || !make_room(more)) return 0;
    if (payloads->free) return 1;
    PyObject **grown = realloc(payloads->args, room * sizeof *payloads->args);
    if (grown == NULL) return 0;
    args_bytes += more;
    payloads->args = grown;
    payloads->room = room;
    return 1;
}

uint32_t payload_add(buffer_t *buffer, PyObject *args) {
    payloads_t *payloads = &buffer->part.payloads;
    size_t bytes = value_bytes(args);
    uint32_t place = NO_PAYLOAD;
    if (payloads_have_place(payloads) && make_room(bytes)) {
        if (payloads->free) {
            place = payloads->free - 1;
            payloads->free = (uint32_t)((uintptr_t)payloads->args[place] >> 1);
        } else {
            place = payloads->count++;
        }
    }
    if (place == NO_PAYLOAD) {
        buffer->part.dropped++;
        Py_DECREF(args);
        return place;
    }
    args_bytes += bytes;
    payloads->args[place] = args;
    return place;
}

PyObject *payload_at(const payloads_t *payloads, uint32_t place) {
    return place == NO_PAYLOAD ? NULL : payloads->args[place];
}

void payload_free(payloads_t *payloads, uint32_t place) {
    if (place == NO_PAYLOAD) return;
    PyObject *args = payloads->args[place];
    payloads->args[place] = (PyObject *)((uintptr_t)payloads->free << 1 | 1);
    payloads->free = place + 1;
    args_bytes -= value_bytes(args);
    Py_DECREF(args); /* plain values: no code of the program's runs */
}

/* ---- labels, series, lanes ---------------------------------------------------------------------------------- */

/* The id of a key, which is given one if there is room; -1 if not. Leaves an exception that is on its way alone: a
   decorated call ends its span with one. */
static int64_t key_id(registry_t *registry, PyObject *key, size_t bytes) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyObject *known = PyDict_GetItemWithError(registry->ids, key), *number = NULL;
    int64_t id = known == NULL ? -1 : PyLong_AsLongLong(known);
    if (known == NULL && !PyErr_Occurred()) {
        while (recycles && !recorder_has_room(bytes) && make_room(bytes)) registries_compact();
        if (registry->next < UINT32_MAX && recorder_has_room(bytes)) number = PyLong_FromUnsignedLong(registry->next);
        if (number != NULL && PyDict_SetItem(registry->ids, key, number) == 0) {
            recorder.text_bytes += bytes;
            id = registry->next++;
        }
        Py_XDECREF(number);
    }
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
    return id;
}

int64_t label_id(PyObject *label) { return key_id(&recorder.labels, label, label_bytes(label)); }

int64_t series_id(PyObject *series) { return key_id(&recorder.series, series, series_bytes(series)); }

int64_t lane_id(PyObject *lane) { return key_id(&recorder.lanes, lane, LANE_BYTES); }

void program_error_clear(void) {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        recorder.interrupts++;
        PyErr_SetInterrupt();
    }
    PyErr_Clear();
}

/* ---- a window's part -------------------------------------------------------------------------------------- */

void part_clear(part_t *part, int ours) {
    part_t old = *part;
    *part = (part_t){0};
    for (chunk_t *chunk = old.first, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (ours)
            chunk_free(chunk);
        else
            munmap(chunk, chunk->bytes);
    }
    for (uint32_t i = 0; i < old.payloads.count; i++) {
        PyObject *args = old.payloads.args[i];
        if (is_free(args)) continue;
        if (ours) args_bytes -= value_bytes(args);
        Py_DECREF(args);
    }
    if (ours) args_bytes -= old.payloads.room * sizeof *old.payloads.args;
    free(old.payloads.args);
    free(old.begun.of);
}

void budget_reset(void) {
    chunk_bytes = args_bytes = 0;
    recorder.text_bytes = recorder.sealed_text_bytes = 0;
    Py_CLEAR(recorder.labels.ids);
    Py_CLEAR(recorder.series.ids);
    Py_CLEAR(recorder.lanes.ids);
}

/* ---- the module's part ------------------------------------------------------------------------------------ */

static PyObject *limit(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "limit() takes a number of bytes and whether the oldest records give way");
        return NULL;
    }
    size_t wanted = PyLong_AsSize_t(args[0]);
    int ring = wanted == (size_t)-1 && PyErr_Occurred() ? -1 : PyObject_IsTrue(args[1]);
    if (ring < 0) return NULL;
    bytes_allowed = wanted;
    recycles = ring;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"limit", (PyCFunction)(void (*)(void))limit, METH_FASTCALL,
     PyDoc_STR("limit($module, size_bytes, ring)\n--\n\nAllow that many bytes of records, names and arguments.")},
    {NULL, NULL, 0, NULL},
};

int ring_add(PyObject *module) { return PyModule_AddFunctions(module, functions); }
