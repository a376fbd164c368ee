/* Function tracing by sys.monitoring, from Python 3.12 on: what it calls at each event.

   Each hook is an object whose vectorcall is the hook itself, so that nothing stands between. It returns DISABLE for
   code that is not traced, which then costs nothing until events are restarted. Before 3.12 there are no hooks. */

#include "calls.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
} hook_t;

static PyObject *disable; /* sys.monitoring.DISABLE */

static inline PyObject *hook_code(PyObject *const *args, size_t nargsf) {
    if (likely(PyVectorcall_NARGS(nargsf) >= 2 && PyCode_Check(args[0]))) return args[0];
    PyErr_SetString(PyExc_TypeError, "a hook is called by sys.monitoring");
    return NULL;
}

/* Record an event of a code object; what its hook returns. */
static inline PyObject *code_event(PyObject *const *args, size_t nargsf, int begins, PyObject *not_traced) {
    PyObject *code = hook_code(args, nargsf);
    if (unlikely(code == NULL)) return NULL;
    if (unlikely(!calls_on())) Py_RETURN_NONE;
    call_t *call = call_of_code(code);
    if (unlikely(call == NULL)) Py_RETURN_NONE;
    if (call->label == NULL) return Py_NewRef(not_traced);
    buffer_t *buffer = buffer_mine();
    if (unlikely(buffer == NULL || buffer->calls_window != calls.window)) {
        buffer = calls_buffer(!begins); /* may change the table */
        call = buffer == NULL ? NULL : call_find(code);
        if (call == NULL) Py_RETURN_NONE;
    }
    if (begins) {
        /* sys.monitoring sees a thread before module threading knows it. */
        if (unlikely(buffer->thread == NULL)) buffer_ask_thread(buffer);
        call_begin(buffer, call);
    } else {
        call_end(buffer, call);
    }
    Py_RETURN_NONE;
}

#define UNUSED_HOOK_ARGS PyObject *Py_UNUSED(self), PyObject *const *args, size_t nargsf, PyObject *Py_UNUSED(names)

static PyObject *on_start(UNUSED_HOOK_ARGS) { return code_event(args, nargsf, 1, disable); }

static PyObject *on_throw(UNUSED_HOOK_ARGS) { return code_event(args, nargsf, 1, Py_None); }

static PyObject *on_return(UNUSED_HOOK_ARGS) { return code_event(args, nargsf, 0, disable); }

static PyObject *on_unwind(UNUSED_HOOK_ARGS) { return code_event(args, nargsf, 0, Py_None); }

/* Record an event of a C function that a code object calls. */
static PyObject *c_event(PyObject *const *args, size_t nargsf, int begins) {
    PyObject *code = hook_code(args, nargsf);
    if (code == NULL) return NULL;
    if (PyVectorcall_NARGS(nargsf) < 3 || !calls_on()) Py_RETURN_NONE;
    call_t *caller = call_of_code(code);
    if (caller == NULL) Py_RETURN_NONE;
    if (caller->label == NULL) return Py_NewRef(begins ? disable : Py_None);
    buffer_t *buffer = calls_buffer(1);
    call_t *call = buffer == NULL ? NULL : call_of_callable(args[2]);
    if (call == NULL || call->label == NULL) Py_RETURN_NONE;
    if (begins)
        call_begin(buffer, call);
    else
        call_end(buffer, call);
    Py_RETURN_NONE;
}

static PyObject *on_call(UNUSED_HOOK_ARGS) { return c_event(args, nargsf, 1); }

static PyObject *on_c_return(UNUSED_HOOK_ARGS) { return c_event(args, nargsf, 0); }

static const struct {
    const char *event;
    vectorcallfunc hook;
} HOOKS[] = {
    {"PY_START", on_start},   {"PY_RESUME", on_start}, {"PY_THROW", on_throw}, {"PY_RETURN", on_return},
    {"PY_YIELD", on_return},  {"PY_UNWIND", on_unwind}, {"CALL", on_call},     {"C_RETURN", on_c_return},
    {"C_RAISE", on_c_return},
};

static PyTypeObject Hook_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.CallHook",
    .tp_doc = PyDoc_STR("What sys.monitoring calls at an event."),
    .tp_basicsize = sizeof(hook_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(hook_t, vectorcall),
    .tp_call = PyVectorcall_Call,
};

/* call_hooks() -> {name of an event: its hook}. */
static PyObject *call_hooks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    PyObject *monitoring = PySys_GetObject("monitoring"), *hooks = PyDict_New(); /* borrowed, new */
    if (hooks == NULL || monitoring == NULL) return hooks;
    PyObject *found = PyObject_GetAttrString(monitoring, "DISABLE");
    if (found == NULL) Py_CLEAR(hooks);
    Py_XSETREF(disable, found);
    for (size_t i = 0; hooks != NULL && i < sizeof HOOKS / sizeof *HOOKS; i++) {
        hook_t *hook = PyObject_New(hook_t, &Hook_Type);
        if (hook != NULL) hook->vectorcall = HOOKS[i].hook;
        if (hook == NULL || PyDict_SetItemString(hooks, HOOKS[i].event, (PyObject *)hook) < 0) Py_CLEAR(hooks);
        Py_XDECREF(hook);
    }
    return hooks;
}

static PyMethodDef functions[] = {
    {"call_hooks", call_hooks, METH_NOARGS, PyDoc_STR("What sys.monitoring is to call, by the name of the event.")},
    {NULL, NULL, 0, NULL},
};

int calls_monitoring_add(PyObject *module) {
    return PyType_Ready(&Hook_Type) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
