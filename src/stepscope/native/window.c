/* Windows: between open_window and seal every thread appends records to chunks of its own.

   Both are called with the GIL held. Sealing takes every thread's chunks, O(threads), and touches no record. */

#include "recorder.h"

#include "span.h"

#include <stddef.h>
#include <stdlib.h>
#include <structmember.h>

static tick_point_t opened;

/* The functions here run Python code now and then, during which another thread may not call one of them. */
static int busy;

/* ---- a sealed window -------------------------------------------------------------------------------------- */

static void window_dealloc(window_t *window) {
    int ours = window->epoch == recorder.epoch;
    for (size_t i = 0; i < window->thread_count; i++) {
        Py_XDECREF(window->threads[i].name);
        part_clear(&window->threads[i].part, ours);
    }
    free(window->threads);
    Py_XDECREF(window->labels.ids);
    Py_XDECREF(window->series.ids);
    Py_XDECREF(window->lanes.ids);
    Py_XDECREF(window->lane_names);
    if (ours) recorder.sealed_text_bytes -= window->text_bytes;
    PyObject_Free(window);
}

static PyMemberDef window_members[] = {
    {"unsure", T_ULONGLONG, offsetof(window_t, unsure), READONLY,
     PyDoc_STR("How many ends may have been of the same span on another thread.")},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject Window_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.SealedWindow",
    .tp_doc = PyDoc_STR("All threads' records from one tick to another; nothing writes to it any more."),
    .tp_basicsize = sizeof(window_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)window_dealloc,
    .tp_members = window_members,
};

/* The thread's name now, as str; "" if it does not say. */
static PyObject *thread_name(PyObject *thread) {
    if (thread == Py_None) return PyUnicode_FromString("");
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
    window->labels = recorder.labels;
    window->series = recorder.series;
    window->lanes = recorder.lanes;
    window->lane_names = NULL;
    window->threads = threads;
    window->thread_count = count;
    window->text_bytes = recorder.text_bytes;
    window->lost = recorder.lost;
    window->unsure = recorder.unsure;
    window->epoch = recorder.epoch;
    recorder.labels = recorder.series = recorder.lanes = (registry_t){NULL, 0};
    recorder.sealed_text_bytes += recorder.text_bytes;
    recorder.text_bytes = 0;
    recorder.lost = 0;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) { /* the latest first */
        PyObject *thread = Py_NewRef(buffer->thread ? buffer->thread : Py_None);
        threads[--count] = (sealed_thread_t){buffer->tid, thread, buffer_hand_over(buffer)};
    }
    return window;
}

/* {lane: its task's name now, or when it ended}; NULL with an exception. */
static PyObject *lane_names(PyObject *lanes) {
    PyObject *list = PyDict_Keys(lanes), *names = list == NULL ? NULL : PyDict_New();
    for (Py_ssize_t i = 0; names != NULL && i < PyList_GET_SIZE(list); i++) {
        lane_t *lane = (lane_t *)PyList_GET_ITEM(list, i);
        lane_ask_name(lane);
        if (PyDict_SetItem(names, (PyObject *)lane, lane->name) < 0) Py_CLEAR(names);
    }
    Py_XDECREF(list);
    return names;
}

/* Replace the threads by their names, and ask the tasks for theirs; 0, or -1 with an exception. */
static int window_ask_names(window_t *window) {
    window->lane_names = lane_names(window->lanes.ids);
    if (window->lane_names == NULL) return -1;
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

/* Where the begin of a span with arguments is noted. */
typedef struct {
    buffer_t *buffer;
    uint32_t place;
} noted_t;

/* The spans that the buffers' threads have open when a window opens. */
typedef struct {
    PyObject *with_args; /* list: those that have arguments */
    noted_t *of;         /* where each of them is */
} open_spans_t;

/* Note where the last span with arguments is; 0, or -1 with an exception. */
static int noted_add(open_spans_t *spans, span_t *span, noted_t noted) {
    size_t count = (size_t)PyList_GET_SIZE(spans->with_args);
    if ((count & (count - 1)) == 0) { /* it is full at each power of two */
        noted_t *grown = realloc(spans->of, (count ? 2 * count : 1) * sizeof *grown);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        spans->of = grown;
    }
    spans->of[count] = noted;
    return PyList_Append(spans->with_args, (PyObject *)span);
}

/* Note a thread's spans that are open on one lane, without their arguments; 0, or -1 with an exception. */
static int open_note(open_spans_t *spans, buffer_t *buffer, const open_t *open, uint32_t lane) {
    begun_list_t *begun = &buffer->part.begun;
    for (size_t i = 0; i < open->count; i++) {
        span_t *span = open->of[i];
        record_t begin[2] = {{opened.ticks, 0, REC_BEGIN, 0}, {span->serial, NO_PAYLOAD, REC_PAYLOAD, 0}};
        if (span->args != NULL) begin->kind = REC_BEGIN_ARGS;
        if (span->registry != recorder.registry && span_register(span) < 0) {
            buffer->part.dropped++;
            continue;
        }
        begin->id = span->id;
        if (begun_add(begun, begin, lane, 1) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        if (span->args != NULL && noted_add(spans, span, (noted_t){buffer, begun->count - 1}) < 0) return -1;
    }
    return 0;
}

/* Note the spans that are open; 0, or -1 with an exception. Runs no Python code: no thread records in between. */
static int open_spans_note(open_spans_t *spans) {
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        if (open_note(spans, buffer, &buffer->open, 0) < 0) return -1;
        while (buffer->lanes != NULL && PyDict_Next(buffer->lanes, &at, &key, &value)) {
            const open_t *open = &((lane_t *)value)->open;
            int64_t lane = open->count ? lane_id(value) : 0;
            if (lane < 0)
                buffer->part.dropped += open->count;
            else if (open->count && open_note(spans, buffer, open, (uint32_t)lane) < 0)
                return -1;
        }
    }
    return 0;
}

static int is_begin_of(const begun_list_t *begun, uint32_t place, uint64_t serial) {
    return place < begun->count && begun->of[place].record->kind == REC_BEGIN_ARGS &&
           begun->of[place].record[1].ticks == serial && begun->of[place].record[1].id == NO_PAYLOAD;
}

/* Give arguments to the begin of the span with that serial, if it is still there: the place is where it was, and spans
   that have ended since have only brought it nearer to the front. */
static void open_span_give(noted_t noted, uint64_t serial, PyObject *args) {
    begun_list_t *begun = &noted.buffer->part.begun;
    uint32_t payload = payload_add(noted.buffer, Py_NewRef(args)); /* may take begins away to make room */
    for (uint32_t place = noted.place + 1; payload != NO_PAYLOAD && place-- > 0;) {
        if (!is_begin_of(begun, place, serial)) continue;
        begun->of[place].record[1].id = payload;
        return;
    }
    payload_free(&noted.buffer->part.payloads, payload);
}

static PyObject *open_window(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    look_for_asyncio();
    PyObject *labels = PyDict_New(), *series = PyDict_New(), *lanes = PyDict_New(), *tick = NULL;
    open_spans_t spans = {PyList_New(0), NULL};
    recorder.walkers++;
    recorder.recording = recorder.besides = 0;
    if (labels == NULL || series == NULL || lanes == NULL || spans.with_args == NULL) goto finish;
    Py_XSETREF(recorder.labels.ids, Py_NewRef(labels));
    Py_XSETREF(recorder.series.ids, Py_NewRef(series));
    Py_XSETREF(recorder.lanes.ids, Py_NewRef(lanes));
    recorder.labels.next = recorder.series.next = 0;
    recorder.lanes.next = 1;
    recorder.text_bytes = 0;
    recorder.unsure = 0;
    recorder.window++;
    recorder.registry++;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) buffer_clear(buffer);
    opened = ticks_point();
    tick = PyLong_FromUnsignedLongLong(opened.ticks);
    if (tick == NULL) goto finish;
    if (open_spans_note(&spans) < 0) {
        Py_CLEAR(tick);
        goto finish;
    }
    recorder.recording = 1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(spans.with_args); i++) {
        span_t *span = (span_t *)PyList_GET_ITEM(spans.with_args, i);
        PyObject *args = span_frozen_args(span); /* may run Python code */
        if (recorder.recording && args != NULL) open_span_give(spans.of[i], span->serial, args);
        Py_XDECREF(args);
    }
finish:
    free(spans.of);
    Py_XDECREF(spans.with_args);
    Py_XDECREF(lanes);
    Py_XDECREF(series);
    Py_XDECREF(labels);
    recorder.walkers--;
    busy = 0;
    return tick;
}

static PyObject *seal(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    window_t *window = NULL;
    if (!recorder.recording) {
        PyErr_SetString(PyExc_RuntimeError, "seal() without open_window()");
        goto finish;
    }
    recorder.recording = recorder.besides = 0;
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

static PyObject *discard(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (busy_enter() < 0) return NULL;
    recorder.recording = recorder.besides = 0;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) buffer_clear(buffer);
    busy = 0;
    Py_RETURN_NONE;
}

/* A forked child starts clean: the parent's records are the parent's. */
static PyObject *after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    busy = 0;
    buffers_reset();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"open_window", open_window, METH_NOARGS, PyDoc_STR("Begin to record; the tick at which the window opens.")},
    {"seal", seal, METH_NOARGS, PyDoc_STR("End the window and take what was recorded in it.")},
    {"discard", discard, METH_NOARGS, PyDoc_STR("End the window, if there is one, and forget what was recorded.")},
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
