/* Windows: when threads record, and the records they leave.

       off        nothing is kept
       armed      a profile is started: threads keep the spans they have open
       recording  threads append records to chunks of their own

   arm, open_window, seal and disarm go from one to another, all with the GIL held. Sealing takes every thread's chunks,
   O(threads), and touches no record. */

#include "recorder.h"

#include "span.h"

#include <stdlib.h>

static tick_point_t opened;

/* The functions here run Python code now and then, during which another thread may not call one of them. */
static int busy;

/* ---- a sealed window -------------------------------------------------------------------------------------- */

static void window_dealloc(window_t *window) {
    for (size_t i = 0; i < window->thread_count; i++) sealed_thread_release(&window->threads[i]);
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

/* A window of the buffers' records, earliest thread first, each `name` a thread that is still to be asked for it; NULL
   with an exception. */
static window_t *window_new(void) {
    size_t count = 0;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) count++;
    sealed_thread_t *threads = calloc(count ? count : 1, sizeof *threads);
    window_t *window = threads == NULL ? NULL : PyObject_New(window_t, &Window_Type);
    if (window == NULL) {
        free(threads);
        PyErr_NoMemory();
        return NULL;
    }
    window->opened = opened;
    window->sealed = ticks_point();
    window->names = recorder.names;
    window->threads = threads;
    window->thread_count = count;
    recorder.names = NULL;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next)
        buffer_hand_over(buffer, &threads[--count]); /* the list has the latest first */
    return window;
}

/* Replace the threads by their names; 0, or -1 with an exception. */
static int window_ask_names(window_t *window) {
    for (size_t i = 0; i < window->thread_count; i++) {
        sealed_thread_t *thread = &window->threads[i];
        Py_SETREF(thread->name, thread_name(thread->name));
        if (thread->name == NULL) return -1;
    }
    return 0;
}

/* ---- the module's functions ------------------------------------------------------------------------------- */

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
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) buffer_clear(buffer);
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) {
        if (buffer_note_open(buffer) < 0) {
            PyErr_NoMemory();
            goto finish;
        }
    }
    opened = ticks_point();
    tick = PyLong_FromUnsignedLongLong(opened.ticks);
    if (tick == NULL) goto finish;
    recorder.mode = MODE_RECORDING;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next)
        for (size_t i = 0; i < buffer->at_start_count; i++)
            buffer->at_start[i].args = span_frozen_args(buffer->at_start[i].span);
finish:
    busy = 0;
    return tick;
}

static PyObject *seal(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    window_t *window = NULL;
    if (recorder.mode != MODE_RECORDING) {
        PyErr_SetString(PyExc_RuntimeError, "seal() without open_window()");
        goto finish;
    }
    recorder.mode = MODE_ARMED;
    window = window_new();
    if (window == NULL) goto finish;
    if (window_ask_names(window) < 0) {
        Py_CLEAR(window);
        goto finish;
    }
    buffers_prune();
finish:
    busy = 0;
    return (PyObject *)window;
}

/* A forked child starts clean: the parent's records are the parent's. */
static PyObject *after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    busy = 0;
    buffers_reset();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"arm", arm, METH_NOARGS, PyDoc_STR("A profile starts: threads keep the spans they have open.")},
    {"disarm", disarm, METH_NOARGS, PyDoc_STR("The profile has stopped: spans cost next to nothing again.")},
    {"open_window", open_window, METH_NOARGS, PyDoc_STR("Begin to record; the tick at which the window opens.")},
    {"seal", seal, METH_NOARGS, PyDoc_STR("End the window and take what was recorded in it.")},
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

int window_add(PyObject *module) {
    if (PyType_Ready(&Window_Type) < 0) return -1;
    if (PyModule_AddObjectRef(module, "SealedWindow", (PyObject *)&Window_Type) < 0) return -1;
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    return register_at_fork(module);
}
