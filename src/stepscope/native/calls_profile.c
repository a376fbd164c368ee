/* Function tracing by the profile function of each thread, before Python 3.12.

   The threads there are get it from here; a new one gets it as threading's profile function, an object that puts the C
   function in its own place when it is called first. So does sys.setprofile() with what sys.getprofile() returned: a
   function that puts back what it has replaced puts this back.

   A thread that module threading does not begin is not seen, even if it is over when tracing stops. Thread states are
   numbered as they are made: of those made since tracing began, as many were missed as did not come by threading. */

#include "calls.h"

#include <frameobject.h>
#include <stddef.h>

#if PY_VERSION_HEX < 0x030C0000

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
} profiler_t;

static PyObject *profiler;       /* the one object of its type */
static uint64_t last_before;     /* the number of the last thread state that was made before calls were traced */
static Py_ssize_t new_profiled;  /* how many of those made since then have come by threading's profile function */

/* The number of a thread state made now; 0 without memory, with an exception. */
static uint64_t next_number(void) {
    PyThreadState *made = PyThreadState_New(PyInterpreterState_Get());
    if (made == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    uint64_t number = PyThreadState_GetID(made);
    PyThreadState_Clear(made);
    PyThreadState_Delete(made);
    return number;
}

int calls_thread_is_new(PyThreadState *state) { return PyThreadState_GetID(state) > last_before; }

/* The calling thread comes by threading's profile function. */
static void profiled_note(void) {
    buffer_t *buffer = buffer_mine();
    if (buffer == NULL || buffer->profiled_window == calls.window) return;
    buffer->profiled_window = calls.window;
    new_profiled += calls_thread_is_new(PyThreadState_Get());
}

static inline __attribute__((always_inline)) void frame_event(PyFrameObject *frame, int begins) {
    PyObject *code = (PyObject *)PyFrame_GetCode(frame);
    call_t *call = call_of_code(code);
    if (likely(call != NULL && call->label != NULL)) {
        buffer_t *buffer = buffer_mine();
        if (unlikely(buffer == NULL || buffer->calls_window != calls.window)) {
            buffer = calls_buffer(!begins); /* may change the table */
            call = buffer == NULL ? NULL : call_find(code);
        }
        if (call != NULL) {
            if (begins)
                call_begin(buffer, call);
            else
                call_end(buffer, call);
        }
    }
    Py_DECREF(code);
}

static __attribute__((noinline)) void callable_event(PyFrameObject *frame, PyObject *callable, int begins) {
    PyObject *code = (PyObject *)PyFrame_GetCode(frame);
    call_t *caller = call_of_code(code);
    if (caller != NULL && caller->label != NULL) {
        buffer_t *buffer = calls_buffer(1);
        call_t *call = buffer == NULL ? NULL : call_of_callable(callable);
        if (call != NULL && call->label != NULL) {
            if (begins)
                call_begin(buffer, call);
            else
                call_end(buffer, call);
        }
    }
    Py_DECREF(code);
}

static int on_event(PyObject *Py_UNUSED(self), PyFrameObject *frame, int what, PyObject *arg) {
    /* Events of C functions come whether they are wanted or not, and more often than all others. */
    if (what != PyTrace_CALL && what != PyTrace_RETURN) {
        if (unlikely(calls.describe_c != NULL) && calls_on()) callable_event(frame, arg, what == PyTrace_C_CALL);
        return 0;
    }
    if (unlikely(!calls_on())) return 0;
    if (what == PyTrace_CALL)
        frame_event(frame, 1);
    else
        frame_event(frame, 0);
    return 0;
}

/* profiler(frame, event, arg): as sys.setprofile() and threading.setprofile() have it called. */
static PyObject *profiler_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *Py_UNUSED(names)) {
    static const struct {
        const char *name;
        int what;
    } EVENTS[] = {{"call", PyTrace_CALL},         {"return", PyTrace_RETURN},     {"c_call", PyTrace_C_CALL},
                  {"c_return", PyTrace_C_RETURN}, {"c_exception", PyTrace_C_EXCEPTION}};
    if (PyVectorcall_NARGS(nargsf) != 3 || !PyFrame_Check(args[0]) || !PyUnicode_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "a profile function takes a frame, an event and its argument");
        return NULL;
    }
    if (!calls_on()) { /* it came too late */
        PyEval_SetProfile(NULL, NULL);
        Py_RETURN_NONE;
    }
    PyEval_SetProfile(on_event, self);
    profiled_note();
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++)
        if (PyUnicode_CompareWithASCIIString(args[1], EVENTS[i].name) == 0)
            on_event(self, (PyFrameObject *)args[0], EVENTS[i].what, args[2]);
    Py_RETURN_NONE;
}

static PyTypeObject Profiler_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.CallProfiler",
    .tp_doc = PyDoc_STR("A profile function that traces calls while a window is open."),
    .tp_basicsize = sizeof(profiler_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(profiler_t, vectorcall),
    .tp_call = PyVectorcall_Call,
};

int calls_profiled(const PyThreadState *state) { return state->c_profilefunc == on_event; }

/* What profiles a thread besides this: borrowed; NULL: nothing. */
static PyObject *profiled_by(const PyThreadState *state) {
    if (state->c_profilefunc == NULL || state->c_profilefunc == on_event || state->c_profileobj == profiler) return NULL;
    return state->c_profileobj == NULL ? Py_None : state->c_profileobj;
}

/* profile_threads() -> the profile function of a thread that has one, in the way; None: calls of all threads come. */
static PyObject *profile_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    PyThreadState *state = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (PyThreadState *other = state; other != NULL; other = PyThreadState_Next(other))
        if (profiled_by(other) != NULL) return Py_NewRef(profiled_by(other));
    if ((last_before = next_number()) == 0) return NULL;
    new_profiled = 0;
    for (; state != NULL; state = PyThreadState_Next(state))
        if (_PyEval_SetProfile(state, on_event, profiler) < 0) return NULL;
    Py_RETURN_NONE;
}

/* unprofile_threads() -> (threads whose profile function has been replaced, threads that were not seen). */
static PyObject *unprofile_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    uint64_t last = next_number();
    if (last == 0) return NULL;
    Py_ssize_t replaced = 0, unseen = last_before ? (Py_ssize_t)(last - last_before - 1) - new_profiled : 0;
    PyThreadState *state = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; state != NULL; state = PyThreadState_Next(state)) {
        if (state->c_profilefunc == on_event || state->c_profileobj == profiler) {
            if (_PyEval_SetProfile(state, NULL, NULL) < 0) return NULL;
            continue;
        }
        const buffer_t *buffer = buffer_of(state);
        if (buffer != NULL && buffer->muted) continue;
        if (!calls_thread_is_new(state) || (buffer != NULL && buffer->profiled_window == calls.window)) replaced++;
    }
    last_before = 0;
    return Py_BuildValue("(nn)", replaced, unseen);
}

static PyObject *call_profiler(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return Py_NewRef(profiler);
}

static PyMethodDef functions[] = {
    {"profile_threads", profile_threads, METH_NOARGS, PyDoc_STR("Trace the calls of the threads there are.")},
    {"unprofile_threads", unprofile_threads, METH_NOARGS, PyDoc_STR("Trace no thread's calls any more.")},
    {"call_profiler", call_profiler, METH_NOARGS, PyDoc_STR("A profile function for threads to come.")},
    {NULL, NULL, 0, NULL},
};

int calls_profile_add(PyObject *module) {
    if (PyType_Ready(&Profiler_Type) < 0) return -1;
    profiler_t *made = PyObject_New(profiler_t, &Profiler_Type);
    if (made == NULL) return -1;
    made->vectorcall = profiler_call;
    Py_XSETREF(profiler, (PyObject *)made);
    return PyModule_AddFunctions(module, functions);
}

#else

int calls_profiled(const PyThreadState *state) { return state != NULL; }

/* A thread's very first call is an event: none of its calls has begun before. */
int calls_thread_is_new(PyThreadState *state) { return state == NULL; }

int calls_profile_add(PyObject *module) {
    (void)module;
    return 0;
}

#endif
