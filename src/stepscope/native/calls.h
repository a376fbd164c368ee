/* Function tracing: which calls are recorded, and the hot path that records their begin and their end.

   A call is two plain records in its thread's buffer, a begin and an end of one label, which is found by the address of
   the code object, or of the method definition of a C function:

       table   key | label, or NULL: it is not recorded | id in registry | what keeps the key's address taken

   calls.c keeps the table, calls_monitoring.c is called by sys.monitoring (Python 3.12), and calls_profile.c by the
   profile function of each thread (before). */

#ifndef STEPSCOPE_CALLS_H
#define STEPSCOPE_CALLS_H

#include "recorder.h"

typedef struct {
    const void *key; /* NULL: a free place */
    PyObject *label, *owner;
    uint32_t id, registry;
} call_t;

typedef struct {
    int active;
    uint32_t window;      /* the one in which they are traced */
    PyObject *describe;   /* code object -> Label, or None: it is not traced */
    PyObject *describe_c; /* the same for what C_CALL is about; NULL: C functions are not traced */
    int32_t max_depth;    /* 0: any */
    uint64_t min_ticks;   /* calls that are shorter are forgotten as they end; 0: none is */
    call_t *table;
    size_t places, count; /* places: a power of two, or 0 */
} calls_t;

extern calls_t calls;

static inline int calls_on(void) { return calls.active && recorder.recording && recorder.window == calls.window; }

/* Look a call up, or describe it and add it; NULL: there is none, as tracing has ended meanwhile, or for want of
   memory. What it returns is good until anything is added. */
__attribute__((noinline)) call_t *call_describe(const void *key, PyObject *described, PyObject *describe, PyObject *owner);
/* The first event of a thread in the window: what it has had open all the time is noted as begun. inside: that
   includes the frame that runs. 0, or -1: it is not to be traced. May run Python code. */
__attribute__((noinline)) int calls_join(buffer_t *buffer, int inside);
/* Give the call's label an id in the open window; -1 if there is no room: then the event is dropped. */
__attribute__((noinline)) int call_register(call_t *call);

/* Whether a thread's events come at all; calls_profile.c. */
int calls_profiled(const PyThreadState *state);
/* Whether a thread has begun since calls are traced, and its first calls are not seen. */
int calls_thread_is_new(PyThreadState *state);

static inline call_t *call_find(const void *key) {
    if (unlikely(calls.places == 0)) return NULL;
    size_t mask = calls.places - 1, place = (size_t)(((uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u) >> 32) & mask;
    for (; calls.table[place].key != NULL; place = (place + 1) & mask)
        if (likely(calls.table[place].key == key)) return &calls.table[place];
    return NULL;
}

static inline call_t *call_of_code(PyObject *code) {
    call_t *call = call_find(code);
    return likely(call != NULL) ? call : call_describe(code, code, calls.describe, code);
}

/* What tells a C function from others, and what keeps that address taken without keeping the program's objects alive:
   the method definition, and the module or type it belongs to. NULL: it is none whose return is seen as well. */
static inline const void *c_function_key(PyObject *callable, PyObject **owner) {
    if (PyCFunction_Check(callable)) {
        PyObject *self = PyCFunction_GET_SELF(callable);
        *owner = self == NULL || PyModule_Check(self) || PyType_Check(self) ? self : (PyObject *)Py_TYPE(self);
        return ((PyCFunctionObject *)callable)->m_ml;
    }
    if (Py_IS_TYPE(callable, &PyMethodDescr_Type)) {
        *owner = (PyObject *)PyDescr_TYPE(callable);
        return ((PyMethodDescrObject *)callable)->d_method;
    }
    return NULL;
}

static inline call_t *call_of_callable(PyObject *callable) {
    PyObject *owner = NULL;
    const void *key = c_function_key(callable, &owner);
    if (key == NULL) return NULL;
    call_t *call = call_find(key);
    return call != NULL ? call : call_describe(key, callable, calls.describe_c, owner);
}

/* The calling thread's buffer, which has joined the window; NULL: it is not traced. */
static inline buffer_t *calls_buffer(int inside) {
    buffer_t *buffer = buffer_mine();
    if (unlikely(buffer == NULL)) {
        recorder.lost++;
        return NULL;
    }
    if (unlikely(buffer->calls_window != calls.window) && calls_join(buffer, inside) < 0) return NULL;
    return buffer;
}

static inline void call_put(buffer_t *buffer, call_t *call, uint16_t kind, uint64_t ticks) {
    if (unlikely(call->registry != recorder.registry) && call_register(call) < 0) {
        buffer->part.dropped++;
        return;
    }
    record_t *record = buffer->pos; /* a new label may have taken the chunk */
    if (unlikely(record >= buffer->end) && (record = buffer_grow(buffer)) == NULL) return;
    record->id = call->id;
    record->kind = kind;
    record->ticks = ticks;
    buffer->pos = record + 1;
}

static inline void call_begin(buffer_t *buffer, call_t *call) {
    if (unlikely(calls.max_depth) && buffer->call_depth++ >= calls.max_depth) return;
    call_put(buffer, call, REC_CALL, ticks_now());
}

/* Forget a call that has just begun if it was short; whether it was. */
static inline int call_forget(buffer_t *buffer, const call_t *call, uint64_t ticks) {
    const chunk_t *chunk = buffer->part.last;
    if (chunk == NULL || buffer->pos == NULL || buffer->pos == chunk->records) return 0;
    const record_t *last = buffer->pos - 1;
    if (last->kind != REC_CALL || last->id != call->id || call->registry != recorder.registry) return 0;
    if (ticks - last->ticks >= calls.min_ticks) return 0;
    buffer->pos--;
    return 1;
}

static inline void call_end(buffer_t *buffer, call_t *call) {
    if (unlikely(calls.max_depth) && --buffer->call_depth >= calls.max_depth) return;
    uint64_t ticks = ticks_now();
    if (unlikely(calls.min_ticks) && call_forget(buffer, call, ticks)) return;
    call_put(buffer, call, REC_RETURN, ticks);
}

#endif
