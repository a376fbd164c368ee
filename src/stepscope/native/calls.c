/* Function tracing: the table of calls, and the frames that are open when a thread's first event comes.

   A thread joins the window at its first call or return in it: whatever is on its stack then, besides a call that is
   just beginning, has been open since the window's start, and is noted as begun there; of a thread that has begun since,
   as begun when it joins. The stacks of threads without any event are read when tracing stops. */

#include "calls.h"

#include "span.h"

#include <frameobject.h>
#include <stdlib.h>
#include <string.h>

calls_t calls;

enum { FIRST_PLACES = 1 << 10, MAX_CALLS = 1 << 16 }; /* code that is made at run time must not fill memory */

/* ---- the table -------------------------------------------------------------------------------------------- */

static void table_drop(call_t *table, size_t places) {
    for (size_t i = 0; i < places; i++) {
        Py_XDECREF(table[i].label);
        Py_XDECREF(table[i].owner);
    }
    free(table);
}

/* Forget all calls. What was in the table goes last: that may run Python code. */
static void table_clear(void) {
    call_t *table = calls.table;
    size_t places = calls.places;
    calls.table = NULL;
    calls.places = calls.count = 0;
    table_drop(table, places);
}

static call_t *place_of(call_t *table, size_t places, const void *key) {
    size_t place = (size_t)(((uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u) >> 32) & (places - 1);
    while (table[place].key != NULL && table[place].key != key) place = (place + 1) & (places - 1);
    return &table[place];
}

/* Room for one more call, at most half of the places taken; 0, or -1 without memory. */
static int table_grow(void) {
    if (calls.count >= MAX_CALLS) table_clear();
    if (2 * (calls.count + 1) <= calls.places) return 0;
    size_t places = calls.places ? 2 * calls.places : FIRST_PLACES;
    call_t *table = calloc(places, sizeof *table);
    if (table == NULL) return -1;
    for (size_t i = 0; i < calls.places; i++)
        if (calls.table[i].key != NULL) *place_of(table, places, calls.table[i].key) = calls.table[i];
    free(calls.table);
    calls.table = table;
    calls.places = places;
    return 0;
}

call_t *call_describe(const void *key, PyObject *described, PyObject *describe, PyObject *owner) {
    if (!calls_on() || describe == NULL) return NULL;
    Py_INCREF(describe);
    PyObject *kept = Py_XNewRef(owner), *label;
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    label = PyObject_CallOneArg(describe, described); /* runs Python code, in which no event comes */
    if (label == NULL) program_error_clear();
    PyErr_Restore(kind, error, trace);
    Py_DECREF(describe);
    if (label == Py_None) Py_CLEAR(label);
    call_t *call = calls_on() && table_grow() == 0 ? place_of(calls.table, calls.places, key) : NULL;
    if (call != NULL && call->key == NULL) { /* another thread may have been faster */
        *call = (call_t){key, label, kept, 0, 0};
        calls.count++;
        return call;
    }
    Py_XDECREF(label);
    Py_XDECREF(kept);
    return calls_on() ? call_find(key) : NULL;
}

int call_register(call_t *call) {
    int64_t id = label_id(call->label);
    if (id < 0) return -1;
    call->id = (uint32_t)id;
    call->registry = recorder.registry;
    return 0;
}

/* ---- open frames ------------------------------------------------------------------------------------------ */

/* The code objects of a frame and those that wait for it, innermost first; takes over the reference. NULL without
   memory. */
static PyObject *stack_codes(PyFrameObject *frame) {
    PyObject *codes = PyList_New(0);
    while (frame != NULL && codes != NULL) {
        PyObject *code = (PyObject *)PyFrame_GetCode(frame);
        if (PyList_Append(codes, code) < 0) Py_CLEAR(codes);
        Py_DECREF(code);
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF((PyObject *)frame);
    return codes;
}

/* Describe the code objects of a stack; 0, or -1: tracing has ended meanwhile. */
static int stack_describe(PyObject *codes) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(codes); i++)
        if (call_of_code(PyList_GET_ITEM(codes, i)) == NULL && !calls_on()) return -1;
    return 0;
}

/* Note what a thread has open as begun at that tick, outermost first; 0: before the window. */
static void stack_note(buffer_t *buffer, PyObject *codes, uint64_t ticks) {
    buffer->call_depth = 0;
    for (Py_ssize_t i = PyList_GET_SIZE(codes); i-- > 0;) {
        call_t *call = call_find(PyList_GET_ITEM(codes, i));
        if (call == NULL || call->label == NULL) continue;
        if (calls.max_depth && buffer->call_depth++ >= calls.max_depth) continue;
        record_t begin[2] = {{ticks, 0, REC_CALL, 0}, {0, NO_PAYLOAD, REC_PAYLOAD, 0}};
        if (call->registry == recorder.registry || call_register(call) == 0) {
            begin->id = call->id;
            if (begun_add(&buffer->part.begun, begin, 0, 1) == 0) continue;
        }
        buffer->part.dropped++;
    }
}

int calls_join(buffer_t *buffer, int inside) {
    if (buffer->muted) return -1;
    buffer->calls_window = calls.window;
    buffer->call_depth = 0;
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyFrameObject *frame = (PyFrameObject *)Py_XNewRef((PyObject *)PyEval_GetFrame());
    if (frame != NULL && !inside) {
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    PyObject *codes = stack_codes(frame);
    int result = codes == NULL ? 0 : stack_describe(codes);
    if (codes != NULL && result == 0)
        stack_note(buffer, codes, calls_thread_is_new(PyThreadState_Get()) ? ticks_now() : 0);
    Py_XDECREF(codes);
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
    return result;
}

/* ---- threads without an event ------------------------------------------------------------------------------- */

typedef struct {
    buffer_t *buffer;  /* NULL: it has never recorded anything */
    PyObject *codes, *thread;
    unsigned long tid;
} idle_t;

static unsigned long native_tid(PyThreadState *state, PyObject *thread) {
#if PY_VERSION_HEX >= 0x030B0000
    (void)thread;
    return state->native_thread_id;
#else
    (void)state;
    PyObject *number = thread == NULL ? NULL : PyObject_GetAttrString(thread, "_native_id");
    unsigned long tid = number == NULL ? 0 : PyLong_AsUnsignedLong(number);
    Py_XDECREF(number);
    if (PyErr_Occurred()) PyErr_Clear();
    return tid;
#endif
}

/* Read the stacks of the threads that have had no event; how many are in *idle. No Python code runs meanwhile. */
static size_t idle_find(idle_t **idle) {
    size_t count = 0;
    int collected = PyGC_Disable();
    PyThreadState *state = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; state != NULL; state = PyThreadState_Next(state)) {
        buffer_t *buffer = buffer_of(state);
        if (!calls_profiled(state)) continue;
        if (buffer != NULL && (buffer->muted || buffer->calls_window == calls.window)) continue;
        PyFrameObject *frame = PyThreadState_GetFrame(state);
        PyObject *codes = frame == NULL ? NULL : stack_codes(frame);
        if (codes == NULL) continue;
        idle_t *grown = realloc(*idle, (count + 1) * sizeof *grown);
        if (grown == NULL) {
            Py_DECREF(codes);
            break;
        }
        *idle = grown;
        PyObject *thread = Py_XNewRef(thread_of(state->thread_id));
        grown[count++] = (idle_t){buffer, codes, thread, native_tid(state, thread)};
    }
    if (collected) PyGC_Enable();
    PyErr_Clear();
    return count;
}

static void idle_note(void) {
    idle_t *idle = NULL;
    recorder.walkers++;
    size_t count = idle_find(&idle);
    for (size_t i = 0; i < count; i++) {
        if (stack_describe(idle[i].codes) < 0) break; /* it runs Python code */
        if (idle[i].buffer != NULL && idle[i].buffer->calls_window == calls.window) continue;
        if (idle[i].buffer == NULL && idle[i].tid != 0) idle[i].buffer = buffer_for_other(idle[i].thread, idle[i].tid);
        if (idle[i].buffer == NULL) continue;
        idle[i].buffer->calls_window = calls.window;
        stack_note(idle[i].buffer, idle[i].codes, 0);
    }
    recorder.walkers--;
    for (size_t i = 0; i < count; i++) {
        Py_DECREF(idle[i].codes);
        Py_XDECREF(idle[i].thread);
    }
    free(idle);
}

/* ---- the module's part ------------------------------------------------------------------------------------ */

/* A number of ns in ticks. */
static uint64_t ticks_of(uint64_t ns) {
    tick_point_t now = ticks_point();
    uint64_t slope = ticks_scale(now, now).slope;
    return slope ? (uint64_t)(((unsigned __int128)ns << 32) / slope) : ns;
}

static PyObject *start_calls(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *describe, *describe_c;
    int max_depth;
    unsigned long long min_ns;
    if (!PyArg_ParseTuple(args, "OOiK:start_calls", &describe, &describe_c, &max_depth, &min_ns)) return NULL;
    table_clear();
    Py_XSETREF(calls.describe, Py_NewRef(describe));
    Py_XSETREF(calls.describe_c, describe_c == Py_None ? NULL : Py_NewRef(describe_c));
    calls.max_depth = max_depth;
    calls.min_ticks = ticks_of(min_ns);
    calls.window = recorder.window;
    calls.active = 1;
    Py_RETURN_NONE;
}

static PyObject *stop_calls(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (calls_on()) idle_note();
    calls.active = 0;
    Py_CLEAR(calls.describe);
    Py_CLEAR(calls.describe_c);
    table_clear();
    Py_RETURN_NONE;
}

static PyObject *mute_thread(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    buffer_t *buffer = buffer_mine();
    if (buffer != NULL) {
        buffer->muted = 1;
        buffer_clear(buffer); /* the calls that led here */
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"start_calls", start_calls, METH_VARARGS,
     PyDoc_STR("start_calls($module, describe, describe_c, max_depth, min_ns, /)\n--\n\nTrace calls from now on.")},
    {"stop_calls", stop_calls, METH_NOARGS, PyDoc_STR("Trace no more calls; the window is still open.")},
    {"mute_thread", mute_thread, METH_NOARGS, PyDoc_STR("Trace no calls of the calling thread, ever; forget what it has recorded.")},
    {NULL, NULL, 0, NULL},
};

int calls_add(PyObject *module) { return PyModule_AddFunctions(module, functions); }
