/* Threads: each one's buffer, from its first event on. */

#include "recorder.h"

#include "span.h"

#include <stdlib.h>

_Thread_local thread_slot_t thread_slot TLS_MODEL = {NULL, UINT64_MAX};

#define MANY_ASKS 64
#define MANY_BUFFERS 64 /* with so many more than after the last time, those of threads that have ended are looked for */

/* Buffers of threads that have ended, for the next ones. They are not freed: a thread may end a span after its thread
   state has said that it goes. */
static buffer_t *spare;
static size_t buffer_count, many_buffers = MANY_BUFFERS;
static PyObject *active_threads, *native_id; /* of module threading: Thread by ident, and a function */

/* ---- a thread's buffer ------------------------------------------------------------------------------------ */

void buffer_clear(buffer_t *buffer) {
    buffer->pos = buffer->end = NULL;
    part_clear(&buffer->part, 1);
}

part_t buffer_hand_over(buffer_t *buffer) {
    part_t part = buffer->part;
    if (part.last != NULL) part.last->used = (uint32_t)(buffer->pos - part.last->records);
    buffer->part = (part_t){0};
    buffer->pos = buffer->end = NULL;
    return part;
}

static void life_leave(life_t *life) {
    if (life != NULL && --life->holders == 0) PyMem_RawFree(life);
}

/* The thread state goes, and with it what it holds. */
static void life_end(PyObject *capsule) {
    life_t *life = PyCapsule_GetPointer(capsule, NULL);
    life->ended = 1;
    life_leave(life);
}

/* Whether the calling thread lives: held by its thread state, and by a buffer; NULL with an exception. */
static life_t *life_new(void) {
    PyObject *state = PyThreadState_GetDict(); /* borrowed */
    life_t *life = state == NULL ? NULL : PyMem_RawMalloc(sizeof *life);
    if (life == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *life = (life_t){0, 1};
    PyObject *capsule = PyCapsule_New(life, NULL, life_end);
    if (capsule == NULL) {
        PyMem_RawFree(life);
        return NULL;
    }
    life->holders++;
    int failed = PyDict_SetItemString(state, "stepscope", capsule) < 0;
    Py_DECREF(capsule);
    if (!failed) return life;
    life_leave(life);
    return NULL;
}

static void buffer_retire(buffer_t *buffer) {
    buffer_clear(buffer);
    open_clear(&buffer->open);
    lanes_forget(buffer);
    life_leave(buffer->life);
    buffer->life = NULL;
    PyObject *thread = buffer->thread;
    buffer->thread = NULL;
    buffer->next = spare;
    spare = buffer;
    Py_XDECREF(thread); /* may run Python code as it goes */
}

/* A buffer for the thread of that life, whose Thread object and native id these are; takes over the life. NULL with an
   exception. */
static buffer_t *buffer_new(life_t *life, PyObject *thread, unsigned long tid) {
    buffer_t *buffer = spare;
    if (life == NULL) return NULL;
    if (buffer != NULL) {
        spare = buffer->next;
        buffer_clear(buffer); /* its thread may have ended spans after all */
        open_clear(&buffer->open);
        lanes_forget(buffer);
    } else if ((buffer = calloc(1, sizeof *buffer)) == NULL) {
        life_leave(life);
        PyErr_NoMemory();
        return NULL;
    }
    buffer->life = life;
    buffer->thread = Py_XNewRef(thread);
    buffer->tid = tid;
    buffer->thread_asks = MANY_ASKS;
    buffer->calls_window = buffer->profiled_window = 0;
    buffer->muted = 0;
    buffer->next = recorder.buffers;
    recorder.buffers = buffer;
    buffer_count++;
    return buffer;
}

/* Asking module threading would make one that stays for ever. */
PyObject *thread_of(unsigned long ident) {
    PyObject *number = PyLong_FromUnsignedLong(ident);
    PyObject *thread = number == NULL ? NULL : PyDict_GetItemWithError(active_threads, number);
    Py_XDECREF(number);
    return thread;
}

void buffer_ask_thread(buffer_t *buffer) {
    if (buffer->thread_asks <= 0) return;
    buffer->thread_asks--;
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    buffer->thread = Py_XNewRef(thread_of(PyThread_get_thread_ident()));
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
}

buffer_t *buffer_adopt(void) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    look_for_asyncio();
    if (buffer_count >= many_buffers && !recorder.recording) {
        buffers_prune();
        many_buffers = 2 * buffer_count + MANY_BUFFERS;
    }
    PyObject *thread = thread_of(PyThread_get_thread_ident());
    PyObject *number = PyErr_Occurred() ? NULL : PyObject_CallNoArgs(native_id);
    unsigned long tid = number == NULL ? 0 : PyLong_AsUnsignedLong(number);
    buffer_t *buffer = PyErr_Occurred() ? NULL : buffer_new(life_new(), thread, tid);
    if (buffer != NULL) thread_slot = (thread_slot_t){buffer, recorder.epoch};
    Py_XDECREF(number);
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
    return buffer;
}

buffer_t *buffer_of(PyThreadState *state) {
    PyObject *capsule = state->dict == NULL ? NULL : PyDict_GetItemString(state->dict, "stepscope");
    life_t *life = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, NULL);
    for (buffer_t *buffer = recorder.buffers; life != NULL && buffer != NULL; buffer = buffer->next)
        if (buffer->life == life) return buffer;
    return NULL;
}

buffer_t *buffer_for_other(PyObject *thread, unsigned long tid) {
    life_t *life = PyMem_RawMalloc(sizeof *life);
    if (life == NULL) return NULL;
    *life = (life_t){1, 1}; /* as if it had ended: the thread itself will make another one */
    buffer_t *buffer = buffer_new(life, thread, tid);
    if (buffer == NULL) PyErr_Clear();
    return buffer;
}

/* ---- all buffers ------------------------------------------------------------------------------------------ */

void buffers_prune(void) {
    buffer_t *ended = NULL;
    if (recorder.walkers) return;
    for (buffer_t **link = &recorder.buffers; *link != NULL;) {
        buffer_t *buffer = *link;
        if (!buffer->life->ended || buffer->open.count || lanes_hold_open(buffer)) { /* another thread may end what it has open */
            link = &buffer->next;
        } else {
            *link = buffer->next;
            buffer->next = ended;
            ended = buffer;
            buffer_count--;
        }
    }
    while (ended != NULL) {
        buffer_t *next = ended->next;
        buffer_retire(ended);
        ended = next;
    }
}

void buffers_reset(void) {
    buffer_t *buffer = recorder.buffers;
    recorder.buffers = NULL;
    recorder.recording = recorder.besides = 0;
    recorder.epoch++;
    recorder.walkers = 0;
    buffer_count = 0;
    while (buffer != NULL) {
        buffer_t *next = buffer->next;
        buffer_retire(buffer);
        buffer = next;
    }
    budget_reset();
}

/* ---- the module's part ------------------------------------------------------------------------------------ */

static PyObject *thread_id(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyObject_CallNoArgs(native_id);
}

static PyMethodDef functions[] = {
    {"thread_id", thread_id, METH_NOARGS, PyDoc_STR("The calling thread's native id, as its records carry it.")},
    {NULL, NULL, 0, NULL},
};

int threads_add(PyObject *module) {
    Py_XSETREF(active_threads, imported("threading", "_active"));
    if (active_threads == NULL || !PyDict_Check(active_threads)) return -1;
    Py_XSETREF(native_id, imported("threading", "get_native_id"));
    if (native_id == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
