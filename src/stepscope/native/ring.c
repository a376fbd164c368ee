/* The ring: each thread's chunks of records, and the budget they are made from.

   A thread writes into a buffer of its own, chunk after chunk. A window that is sealed takes the chunks over, and gives
   them back when it is freed. Memory is bounded: a budget of bytes for all chunks and names there are, sealed ones
   included; when it is spent, events are dropped and counted. */

#include "recorder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

recorder_t recorder;
_Thread_local thread_slot_t thread_slot TLS_MODEL = {NULL, UINT64_MAX};

/* A thread's first chunk is small, for there may be thousands of threads. Pages are touched by the system when a chunk
   is made, all at once: touched one by one, by the records, they cost more than the records. */
#define FIRST_CHUNK_BYTES ((uint32_t)1 << 16)
#define CHUNK_BYTES ((uint32_t)1 << 20)
#define POOL_CHUNKS 64 /* full-sized ones, kept for the next window rather than given back to the system */

#ifndef MAP_POPULATE
#define MAP_POPULATE 0
#endif

static chunk_t *pool;
static size_t pool_count;
static size_t bytes_used, bytes_allowed = (size_t)1 << 30;
static PyObject *current_thread, *native_id; /* functions of module threading */

/* ---- chunks ----------------------------------------------------------------------------------------------- */

int recorder_has_room(size_t bytes) { return bytes_used + recorder.name_bytes + bytes <= bytes_allowed; }

static chunk_t *chunk_new(uint32_t bytes) {
    chunk_t *chunk = pool;
    if (chunk != NULL && bytes == CHUNK_BYTES) {
        pool = chunk->next;
        pool_count--;
    } else {
        if (!recorder_has_room(bytes)) return NULL;
        chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (chunk == MAP_FAILED) return NULL;
        bytes_used += bytes;
        chunk->bytes = bytes;
    }
    chunk->next = NULL;
    chunk->used = 0;
    return chunk;
}

static void chunks_free(chunk_t *chunk) {
    while (chunk != NULL) {
        chunk_t *next = chunk->next;
        if (chunk->bytes == CHUNK_BYTES && pool_count < POOL_CHUNKS) {
            chunk->next = pool;
            pool = chunk;
            pool_count++;
        } else {
            bytes_used -= chunk->bytes;
            munmap(chunk, chunk->bytes);
        }
        chunk = next;
    }
}

record_t *buffer_grow(buffer_t *buffer) {
    chunk_t *chunk = chunk_new(buffer->first == NULL ? FIRST_CHUNK_BYTES : CHUNK_BYTES);
    if (chunk == NULL) {
        buffer->dropped++;
        return NULL;
    }
    if (buffer->last != NULL) {
        buffer->last->used = (uint32_t)(buffer->pos - buffer->last->records);
        buffer->last->next = chunk;
    } else {
        buffer->first = chunk;
    }
    buffer->last = chunk;
    buffer->pos = chunk->records;
    /* One short of the end: a record and its payload are never torn apart. */
    buffer->end = chunk->records + (chunk->bytes - sizeof *chunk) / sizeof(record_t) - 1;
    return buffer->pos;
}

/* ---- what a buffer holds ---------------------------------------------------------------------------------- */

static void open_spans_free(open_span_t *spans, size_t count) {
    for (size_t i = 0; i < count; i++) {
        Py_DECREF(spans[i].span);
        Py_XDECREF(spans[i].args);
    }
    free(spans);
}

int payloads_add(payloads_t *payloads, PyObject *args) {
    if (unlikely(payloads->count == payloads->room)) {
        uint32_t room = payloads->room ? 2 * payloads->room : 256;
        size_t bytes = room * sizeof *payloads->args;
        PyObject **grown = room > payloads->room && recorder_has_room(bytes) ? realloc(payloads->args, bytes) : NULL;
        if (grown == NULL) {
            Py_DECREF(args);
            return -1;
        }
        payloads->args = grown;
        payloads->room = room;
    }
    payloads->args[payloads->count++] = args;
    return 0;
}

static void payloads_free(payloads_t *payloads) {
    for (uint32_t i = 0; i < payloads->count; i++) Py_DECREF(payloads->args[i]);
    free(payloads->args);
    *payloads = (payloads_t){NULL, 0, 0};
}

void buffer_clear(buffer_t *buffer) {
    chunks_free(buffer->first);
    buffer->first = buffer->last = NULL;
    buffer->pos = buffer->end = NULL;
    buffer->dropped = 0;
    payloads_free(&buffer->payloads);
    open_spans_free(buffer->at_start, buffer->at_start_count);
    buffer->at_start = NULL;
    buffer->at_start_count = 0;
}

static void buffer_free(buffer_t *buffer) {
    buffer_clear(buffer);
    for (size_t i = 0; i < buffer->open_count; i++) Py_DECREF(buffer->open[i]);
    free(buffer->open);
    Py_XDECREF(buffer->thread);
    free(buffer);
}

int buffer_note_open(buffer_t *buffer) {
    size_t count = buffer->open_count;
    if (count == 0) return 0;
    open_span_t *spans = malloc(count * sizeof *spans);
    if (spans == NULL) return -1;
    for (size_t i = 0; i < count; i++) {
        spans[i].span = (span_t *)Py_NewRef((PyObject *)buffer->open[i]);
        spans[i].args = NULL;
    }
    buffer->at_start = spans;
    buffer->at_start_count = count;
    return 0;
}

void buffer_hand_over(buffer_t *buffer, sealed_thread_t *thread) {
    if (buffer->last != NULL) buffer->last->used = (uint32_t)(buffer->pos - buffer->last->records);
    thread->tid = buffer->tid;
    thread->name = Py_NewRef(buffer->thread); /* until it is asked for its name */
    thread->first = buffer->first;
    thread->dropped = buffer->dropped;
    thread->payloads = buffer->payloads;
    thread->at_start = buffer->at_start;
    thread->at_start_count = buffer->at_start_count;
    buffer->first = buffer->last = NULL;
    buffer->pos = buffer->end = NULL;
    buffer->dropped = 0;
    buffer->payloads = (payloads_t){NULL, 0, 0};
    buffer->at_start = NULL;
    buffer->at_start_count = 0;
}

void sealed_thread_release(sealed_thread_t *thread) {
    Py_XDECREF(thread->name);
    payloads_free(&thread->payloads);
    chunks_free(thread->first);
    open_spans_free(thread->at_start, thread->at_start_count);
}

/* ---- threads ---------------------------------------------------------------------------------------------- */

buffer_t *buffer_adopt(void) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    uint64_t epoch = recorder.epoch; /* asking for the thread may run Python code */
    PyObject *thread = PyObject_CallNoArgs(current_thread), *number = NULL;
    buffer_t *buffer = calloc(1, sizeof *buffer);
    if (thread != NULL) number = PyObject_CallNoArgs(native_id);
    if (buffer == NULL || number == NULL || epoch != recorder.epoch) goto fail;
    buffer->tid = PyLong_AsUnsignedLong(number);
    if (PyErr_Occurred()) goto fail;
    buffer->thread = thread;
    thread = NULL;
    buffer->next = recorder.buffers;
    recorder.buffers = buffer;
    thread_slot.buffer = buffer;
    thread_slot.epoch = epoch;
    Py_DECREF(number);
    PyErr_Restore(kind, error, trace);
    return buffer;
fail:
    free(buffer);
    Py_XDECREF(thread);
    Py_XDECREF(number);
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
    return NULL;
}

static int thread_is_alive(PyObject *thread) {
    PyObject *answer = PyObject_CallMethod(thread, "is_alive", NULL);
    int alive = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (alive < 0) PyErr_Clear();
    return alive != 0;
}

/* Asking runs Python code, and other threads, which may add buffers: so first all are asked, then some are taken
   out. */
void buffers_prune(void) {
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next)
        buffer->ended = !thread_is_alive(buffer->thread);
    buffer_t *ended = NULL;
    for (buffer_t **link = &recorder.buffers; *link != NULL;) {
        buffer_t *buffer = *link;
        if (!buffer->ended) {
            link = &buffer->next;
        } else {
            *link = buffer->next;
            buffer->next = ended;
            ended = buffer;
        }
    }
    while (ended != NULL) {
        buffer_t *next = ended->next;
        buffer_free(ended);
        ended = next;
    }
}

void buffers_reset(void) {
    buffer_t *buffer = recorder.buffers;
    recorder.buffers = NULL;
    recorder.mode = MODE_OFF;
    recorder.epoch++;
    Py_CLEAR(recorder.names);
    recorder.name_bytes = 0;
    while (buffer != NULL) {
        buffer_t *next = buffer->next;
        buffer_free(buffer);
        buffer = next;
    }
}

/* ---- the module's part ------------------------------------------------------------------------------------ */

static PyObject *thread_id(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyObject_CallNoArgs(native_id);
}

static PyObject *limit(PyObject *Py_UNUSED(module), PyObject *bytes) {
    size_t wanted = PyLong_AsSize_t(bytes);
    if (wanted == (size_t)-1 && PyErr_Occurred()) return NULL;
    size_t before = bytes_allowed;
    bytes_allowed = wanted;
    return PyLong_FromSize_t(before);
}

static PyMethodDef functions[] = {
    {"thread_id", thread_id, METH_NOARGS, PyDoc_STR("The calling thread's native id, as its records carry it.")},
    {"limit", limit, METH_O, PyDoc_STR("Allow that many bytes of records and names; the number before.")},
    {NULL, NULL, 0, NULL},
};

int ring_add(PyObject *module) {
    Py_XSETREF(current_thread, imported("threading", "current_thread"));
    if (current_thread == NULL) return -1;
    Py_XSETREF(native_id, imported("threading", "get_native_id"));
    if (native_id == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
