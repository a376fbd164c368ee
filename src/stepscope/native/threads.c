/* Threads: each one's buffer, from its first event on, and the spans that it has open.

   Open spans are followed all the time, not only while a window is open: what is open when one opens would be missing
   from it otherwise. */

#include "recorder.h"

#include "span.h"

#include <stdlib.h>

_Thread_local thread_slot_t thread_slot TLS_MODEL = {NULL, UINT64_MAX};

#define MANY_BUFFERS 64 /* with so many more than after the last time, those of threads that have ended are looked for */

/* Buffers of threads that have ended, for the next ones. They are not freed: a thread may end a span after all that
   its threading.Thread knows of. */
static buffer_t *spare;
static size_t buffer_count, many_buffers = MANY_BUFFERS;
static PyObject *current_thread, *native_id; /* functions of module threading */

/* ---- open spans ------------------------------------------------------------------------------------------- */

int open_grow(buffer_t *buffer) {
    size_t room = buffer->open_room ? 2 * buffer->open_room : 64;
    span_t **open = realloc(buffer->open, room * sizeof *open);
    if (open == NULL) return -1;
    buffer->open = open;
    buffer->open_room = room;
    return 0;
}

static int open_remove(buffer_t *buffer, span_t *span) {
    for (size_t place = buffer->open_count; place-- > 0;) {
        if (buffer->open[place] != span) continue;
        buffer->open_count--;
        memmove(&buffer->open[place], &buffer->open[place + 1], (buffer->open_count - place) * sizeof(span_t *));
        Py_DECREF(span);
        return 1;
    }
    return 0;
}

buffer_t *open_take(buffer_t *mine, span_t *span) {
    if (open_remove(mine, span)) return mine;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next)
        if (open_remove(buffer, span)) return buffer;
    return NULL;
}

/* ---- a thread's buffer ------------------------------------------------------------------------------------ */

void buffer_clear(buffer_t *buffer) {
    buffer->pos = buffer->end = NULL;
    part_clear(&buffer->part);
}

part_t buffer_hand_over(buffer_t *buffer) {
    part_t part = buffer->part;
    if (part.last != NULL) part.last->used = (uint32_t)(buffer->pos - part.last->records);
    buffer->part = (part_t){0};
    buffer->pos = buffer->end = NULL;
    return part;
}

static void buffer_retire(buffer_t *buffer) {
    buffer_clear(buffer);
    while (buffer->open_count) {
        span_t *span = buffer->open[--buffer->open_count];
        Py_DECREF(span); /* its arguments may run Python code when they go */
    }
    Py_CLEAR(buffer->thread);
    buffer->next = spare;
    spare = buffer;
}

static buffer_t *buffer_new(PyObject *thread, unsigned long tid) {
    buffer_t *buffer = spare;
    if (buffer != NULL) {
        spare = buffer->next;
        buffer_clear(buffer);
    } else if ((buffer = calloc(1, sizeof *buffer)) == NULL) {
        return NULL;
    }
    buffer->thread = Py_NewRef(thread);
    buffer->tid = tid;
    buffer->next = recorder.buffers;
    recorder.buffers = buffer;
    buffer_count++;
    return buffer;
}

buffer_t *buffer_adopt(void) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    if (buffer_count >= many_buffers && !recorder.recording) {
        buffers_prune();
        many_buffers = 2 * buffer_count + MANY_BUFFERS;
    }
    uint64_t epoch = recorder.epoch; /* asking for the thread may run Python code */
    PyObject *thread = PyObject_CallNoArgs(current_thread), *number = NULL;
    buffer_t *buffer = NULL;
    if (thread != NULL) number = PyObject_CallNoArgs(native_id);
    unsigned long tid = number == NULL ? 0 : PyLong_AsUnsignedLong(number);
    if (!PyErr_Occurred() && epoch == recorder.epoch) {
        if (thread_slot.epoch == epoch)
            buffer = thread_slot.buffer; /* that code has adopted it */
        else
            buffer = buffer_new(thread, tid);
    }
    if (buffer != NULL) thread_slot = (thread_slot_t){buffer, epoch};
    Py_XDECREF(thread);
    Py_XDECREF(number);
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
    return buffer;
}

/* ---- all buffers ------------------------------------------------------------------------------------------ */

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
    if (recorder.walkers) return;
    recorder.walkers++;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next)
        buffer->ended = !thread_is_alive(buffer->thread);
    recorder.walkers--;
    buffer_t *ended = NULL;
    for (buffer_t **link = &recorder.buffers; *link != NULL;) {
        buffer_t *buffer = *link;
        if (!buffer->ended) {
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
    recorder.recording = 0;
    recorder.epoch++;
    Py_CLEAR(recorder.names);
    Py_CLEAR(recorder.series);
    recorder.text_bytes = 0;
    recorder.walkers = 0;
    buffer_count = 0;
    while (buffer != NULL) {
        buffer_t *next = buffer->next;
        buffer_retire(buffer);
        buffer = next;
    }
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
    Py_XSETREF(current_thread, imported("threading", "current_thread"));
    if (current_thread == NULL) return -1;
    Py_XSETREF(native_id, imported("threading", "get_native_id"));
    if (native_id == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
