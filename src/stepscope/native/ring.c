/* The ring: chunks of records that change hands.

   off        nothing is kept
   armed      a profile is started: threads keep the spans they have open
   recording  threads append records to chunks of their own

   Sealing takes every thread's chunks, O(threads), and touches no record. Memory is bounded: a budget of bytes for
   all chunks and names there are, sealed ones included; when it is spent, events are dropped and counted. */

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

static buffer_t *buffers; /* of the present epoch, the latest first */
static tick_point_t opened;
static chunk_t *pool;
static size_t pool_count;
static size_t bytes_used, bytes_allowed = (size_t)1 << 30;
static PyObject *current_thread, *native_id; /* functions of module threading */

/* ---- chunks ------------------------------------------------------------------------------------------------ */

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

/* ---- buffers ----------------------------------------------------------------------------------------------- */

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

/* Forget what the window holds; the open spans stay. */
static void buffer_clear(buffer_t *buffer) {
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
    buffer->next = buffers;
    buffers = buffer;
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

/* Note which spans the buffer's thread has open. Runs no Python code: no thread records in between. */
static int buffer_note_open(buffer_t *buffer) {
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

static void buffers_reset(void) {
    buffer_t *buffer = buffers;
    buffers = NULL;
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

/* ---- the window -------------------------------------------------------------------------------------------- */

static void window_dealloc(window_t *window) {
    for (size_t i = 0; i < window->thread_count; i++) {
        sealed_thread_t *thread = &window->threads[i];
        Py_XDECREF(thread->name);
        payloads_free(&thread->payloads);
        chunks_free(thread->first);
        open_spans_free(thread->at_start, thread->at_start_count);
    }
    free(window->threads);
    Py_XDECREF(window->names);
    PyObject_Free(window);
}

PyTypeObject Window_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.SealedWindow",
    .tp_doc = PyDoc_STR("All threads' records from one tick to another; nothing writes to it any more."),
    .tp_basicsize = sizeof(window_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)window_dealloc,
};

/* The thread's name now, as str; "" if it does not say. */
static PyObject *thread_name(PyObject *thread) {
    PyObject *name = PyObject_GetAttrString(thread, "name");
    PyObject *text = name == NULL ? NULL : PyObject_Str(name);
    Py_XDECREF(name);
    if (text == NULL) {
        PyErr_Clear();
        text = PyUnicode_FromString("");
    }
    return text;
}

static int thread_is_alive(PyObject *thread) {
    PyObject *answer = PyObject_CallMethod(thread, "is_alive", NULL);
    int alive = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (alive < 0) PyErr_Clear();
    return alive != 0;
}

/* Hand a buffer's records over to a part of the window. */
static void buffer_hand_over(buffer_t *buffer, sealed_thread_t *thread) {
    if (buffer->last != NULL) buffer->last->used = (uint32_t)(buffer->pos - buffer->last->records);
    thread->tid = buffer->tid;
    thread->name = Py_NewRef(buffer->thread); /* until `seal` asks it */
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

/* Drop the buffers of threads that have ended. Asking runs Python code, and other threads, which may add buffers:
   so first all are asked, then some are taken out. */
static void buffers_prune(void) {
    for (buffer_t *buffer = buffers; buffer != NULL; buffer = buffer->next)
        buffer->ended = !thread_is_alive(buffer->thread);
    buffer_t *ended = NULL;
    for (buffer_t **link = &buffers; *link != NULL;) {
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

/* ---- the module's functions -------------------------------------------------------------------------------- */

/* These functions run Python code here and there, during which another thread may not call one of them. */
static int busy;

static int busy_enter(void) {
    if (busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is starting or stopping the recorder just now");
        return -1;
    }
    busy = 1;
    return 0;
}

static PyObject *arm(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    buffers_reset();
    busy = 0;
    recorder.mode = MODE_ARMED;
    Py_RETURN_NONE;
}

static PyObject *disarm(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    buffers_reset();
    busy = 0;
    Py_RETURN_NONE;
}

static PyObject *open_window(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    PyObject *names = PyList_New(0), *tick = NULL;
    if (names == NULL) goto finish;
    Py_XSETREF(recorder.names, names);
    recorder.name_bytes = 0;
    recorder.window++;
    for (buffer_t *buffer = buffers; buffer != NULL; buffer = buffer->next) buffer_clear(buffer);
    for (buffer_t *buffer = buffers; buffer != NULL; buffer = buffer->next) {
        if (buffer_note_open(buffer) < 0) {
            PyErr_NoMemory();
            goto finish;
        }
    }
    opened = ticks_point();
    tick = PyLong_FromUnsignedLongLong(opened.ticks);
    if (tick == NULL) goto finish;
    recorder.mode = MODE_RECORDING;
    for (buffer_t *buffer = buffers; buffer != NULL; buffer = buffer->next)
        for (size_t i = 0; i < buffer->at_start_count; i++)
            buffer->at_start[i].args = span_frozen_args(buffer->at_start[i].span);
finish:
    busy = 0;
    return tick;
}

static PyObject *seal(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    window_t *window = NULL;
    size_t count = 0;
    if (recorder.mode != MODE_RECORDING) {
        PyErr_SetString(PyExc_RuntimeError, "seal() without open_window()");
        goto finish;
    }
    recorder.mode = MODE_ARMED;
    for (buffer_t *buffer = buffers; buffer != NULL; buffer = buffer->next) count++;
    sealed_thread_t *threads = calloc(count ? count : 1, sizeof *threads);
    window = threads == NULL ? NULL : PyObject_New(window_t, &Window_Type);
    if (window == NULL) {
        free(threads);
        PyErr_NoMemory();
        goto finish;
    }
    window->opened = opened;
    window->sealed = ticks_point();
    window->names = recorder.names;
    window->threads = threads;
    window->thread_count = count;
    recorder.names = NULL;
    for (buffer_t *buffer = buffers; buffer != NULL; buffer = buffer->next)
        buffer_hand_over(buffer, &threads[--count]); /* the list has the latest first, a window the earliest */
    for (size_t i = 0; i < window->thread_count; i++) {
        Py_SETREF(threads[i].name, thread_name(threads[i].name));
        if (threads[i].name == NULL) {
            Py_CLEAR(window);
            goto finish;
        }
    }
    buffers_prune();
finish:
    busy = 0;
    return (PyObject *)window;
}

static PyObject *thread_id(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyObject_CallNoArgs(native_id);
}

/* A forked child starts clean: the parent's records are the parent's. */
static PyObject *after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    busy = 0;
    buffers_reset();
    Py_RETURN_NONE;
}

static PyObject *limit(PyObject *Py_UNUSED(module), PyObject *bytes) {
    size_t wanted = PyLong_AsSize_t(bytes);
    if (wanted == (size_t)-1 && PyErr_Occurred()) return NULL;
    size_t before = bytes_allowed;
    bytes_allowed = wanted;
    return PyLong_FromSize_t(before);
}

static PyMethodDef functions[] = {
    {"arm", arm, METH_NOARGS, PyDoc_STR("A profile starts: threads keep the spans they have open.")},
    {"disarm", disarm, METH_NOARGS, PyDoc_STR("The profile has stopped: spans cost next to nothing again.")},
    {"open_window", open_window, METH_NOARGS, PyDoc_STR("Begin to record; the tick at which the window opens.")},
    {"seal", seal, METH_NOARGS, PyDoc_STR("End the window and take what was recorded in it.")},
    {"thread_id", thread_id, METH_NOARGS, PyDoc_STR("The calling thread's native id, as its records carry it.")},
    {"limit", limit, METH_O, PyDoc_STR("Allow that many bytes of records and names; the number before.")},
    {"_after_fork", after_fork, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* os.register_at_fork(after_in_child=module._after_fork), where there is fork. */
static int register_at_fork(PyObject *module) {
    PyObject *os = PyImport_ImportModule("os"), *hook = NULL, *call = NULL, *arguments = NULL, *named = NULL;
    PyObject *done = NULL;
    int result = -1;
    if (os == NULL) goto finish;
    call = PyObject_GetAttrString(os, "register_at_fork");
    if (call == NULL) {
        PyErr_Clear();
        result = 0;
        goto finish;
    }
    hook = PyObject_GetAttrString(module, "_after_fork");
    arguments = PyTuple_New(0);
    named = hook == NULL ? NULL : Py_BuildValue("{sO}", "after_in_child", hook);
    if (arguments == NULL || named == NULL) goto finish;
    done = PyObject_Call(call, arguments, named);
    result = done == NULL ? -1 : 0;
finish:
    Py_XDECREF(done);
    Py_XDECREF(named);
    Py_XDECREF(arguments);
    Py_XDECREF(hook);
    Py_XDECREF(call);
    Py_XDECREF(os);
    return result;
}

int ring_add(PyObject *module) {
    PyObject *threading = PyImport_ImportModule("threading");
    if (threading == NULL) return -1;
    Py_XSETREF(current_thread, PyObject_GetAttrString(threading, "current_thread"));
    Py_XSETREF(native_id, PyObject_GetAttrString(threading, "get_native_id"));
    Py_DECREF(threading);
    if (current_thread == NULL || native_id == NULL) return -1;
    if (PyType_Ready(&Window_Type) < 0) return -1;
    if (PyModule_AddObjectRef(module, "SealedWindow", (PyObject *)&Window_Type) < 0) return -1;
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    return register_at_fork(module);
}
