/* The calls record_function(name, args=None, **kwargs), which makes spans, and instant(name, args=None, **kwargs); the
   same for labels, span_of(label, args=None, frozen=False) and instant_of(label, args=None).

   A span without arguments is shared by every use of its name. It is found by the very str object that was passed, in a
   table by the object's address; where another name has taken its place there, by its text in a dict. */

#include "span.h"

#define CACHE_BITS 12
/* As in the twin: names built at run time must not fill memory. */
#define MAX_CACHED 4096
#define MAX_SHARED_LENGTH 1000

typedef struct {
    PyObject *key;   /* the very str object that was passed; strong */
    span_t *span;    /* strong */
    PyObject *leave; /* the span's; strong, or NULL */
} cache_entry_t;

static cache_entry_t cache[1 << CACHE_BITS]; /* by the name's address */
static PyObject *spans_by_name;              /* dict: str -> span without arguments */
static PyObject *legal_name;                 /* stepscope.core.values.legal_name */
static PyObject *scoped_instant;             /* stepscope.core.scopes.scoped_instant */

/* ---- the span of a name ----------------------------------------------------------------------------------- */

static PyObject *made_legal(PyObject *name) {
    if (text_is_plain(name) && PyUnicode_GET_LENGTH(name) > 0) return Py_NewRef(name);
    return PyObject_CallOneArg(legal_name, name);
}

/* As long as a span knows its __exit__, an entry of it holds that: it goes with the first of them that does. */
static void cache_set(cache_entry_t *entry, PyObject *key, span_t *span) {
    /* Making one may run the garbage collector, and so other threads, which fill the cache meanwhile. */
    PyObject *made = span->leave == NULL ? span_leave_new(span) : NULL;
    PyObject *leave = span->leave != NULL ? Py_NewRef(span->leave) : Py_XNewRef(made);
    cache_entry_t old = *entry;
    if (old.span != NULL) old.span->leave = NULL;
    span->leave = leave;
    *entry = (cache_entry_t){Py_NewRef(key), (span_t *)Py_NewRef((PyObject *)span), leave};
    Py_XDECREF(made);
    Py_XDECREF(old.key);
    Py_XDECREF(old.leave);
    Py_XDECREF(old.span);
}

static inline cache_entry_t *cache_entry(PyObject *name) {
    return &cache[((uint64_t)(uintptr_t)name * 0x9E3779B97F4A7C15u) >> (64 - CACHE_BITS)];
}

/* The shared span of a name that is not at its place in the cache; a new reference. */
static __attribute__((noinline)) PyObject *span_shared(PyObject *name) {
    if (!PyUnicode_CheckExact(name)) {
        PyObject *legal = PyObject_CallOneArg(legal_name, name);
        return legal == NULL ? NULL : (PyObject *)span_new(legal, NULL, NULL);
    }
    span_t *span = (span_t *)PyDict_GetItemWithError(spans_by_name, name);
    if (span != NULL) {
        Py_INCREF(span);
    } else {
        if (PyErr_Occurred()) return NULL;
        PyObject *legal = made_legal(name);
        span = legal == NULL ? NULL : span_new(legal, NULL, NULL);
        if (span == NULL) return NULL;
        if (PyUnicode_GET_LENGTH(name) > MAX_SHARED_LENGTH) return (PyObject *)span;
        if (PyDict_GET_SIZE(spans_by_name) >= MAX_CACHED) PyDict_Clear(spans_by_name);
        if (PyDict_SetItem(spans_by_name, name, (PyObject *)span) < 0) {
            Py_DECREF(span);
            return NULL;
        }
    }
    look_for_asyncio(); /* a name that is new may be a coroutine's */
    cache_set(cache_entry(name), name, span);
    return (PyObject *)span;
}

/* ---- what a call is handed -------------------------------------------------------------------------------- */

/* The parameters of record_function and instant: name, args=None, **kwargs. */
typedef struct {
    PyObject *name;       /* borrowed */
    PyObject *args;       /* new reference to a dict, or NULL: none */
    PyObject *positional; /* borrowed, or NULL */
} call_t;

static int call_parse(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *names, call_t *call) {
    PyObject *given[2] = {nargs > 0 ? args[0] : NULL, nargs > 1 ? args[1] : NULL};
    static const char *const known[2] = {"name", "args"};
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    PyObject *others = NULL;
    if (nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes a name and args, got %zd positional arguments", function, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *key = PyTuple_GET_ITEM(names, i);
        int which = -1;
        for (int k = 0; k < 2; k++)
            if (PyUnicode_CompareWithASCIIString(key, known[k]) == 0) which = k;
        if (which < 0) {
            if (others == NULL && (others = PyDict_New()) == NULL) return -1;
            if (PyDict_SetItem(others, key, args[nargs + i]) < 0) goto fail;
        } else if (given[which] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", function, known[which]);
            goto fail;
        } else {
            given[which] = args[nargs + i];
        }
    }
    if (given[0] == NULL) {
        PyErr_Format(PyExc_TypeError, "%s() missing 1 required argument: 'name'", function);
        goto fail;
    }
    call->name = given[0];
    call->positional = given[1] == Py_None ? NULL : given[1];
    if (call->positional != NULL && others == NULL && (others = PyDict_New()) == NULL) return -1;
    call->args = others;
    return 0;
fail:
    Py_XDECREF(others);
    return -1;
}

/* ---- the module's functions ------------------------------------------------------------------------------- */

PyObject *record_function(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
    if (likely(nargs == 1 && names == NULL)) {
        cache_entry_t *entry = cache_entry(args[0]);
        if (likely(entry->key == args[0])) return Py_NewRef((PyObject *)entry->span);
        return span_shared(args[0]);
    }
    call_t call = {nargs == 1 ? args[0] : NULL, NULL, NULL};
    if (nargs == 1) call.args = keywords_new(names, args + 1);
    if (call.args == NULL && (PyErr_Occurred() || call_parse("record_function", args, nargs, names, &call) < 0))
        return NULL;
    if (call.args == NULL) return span_shared(call.name);
    PyObject *legal = made_legal(call.name);
    if (legal == NULL) {
        Py_DECREF(call.args);
        return NULL;
    }
    return (PyObject *)span_new(legal, call.args, Py_XNewRef(call.positional));
}

/* Record the point at which a span would begin; takes over the reference, which may be NULL with an exception. */
static inline PyObject *mark(PyObject *made) {
    if (made == NULL) return NULL;
    span_t *span = (span_t *)made;
    buffer_t *buffer = buffer_here();
    if (buffer != NULL && unlikely(recorder.besides)) {
        record_besides(buffer, EVENT_MARKS);
        buffer = buffer_mine(); /* Python code may have run */
    }
    if (buffer != NULL && recorder.recording) {
        if (span->args == NULL)
            record_put(buffer, span, REC_INSTANT);
        else
            record_put_args(buffer, span, REC_INSTANT_ARGS);
    }
    Py_DECREF(made);
    Py_RETURN_NONE;
}

/* Whether a keyword is "scope": such an instant is made in Python. */
static int has_scope(PyObject *names) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++)
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "scope") == 0) return 1;
    return 0;
}

static PyObject *instant(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
    if (unlikely(names != NULL) && has_scope(names)) return PyObject_Vectorcall(scoped_instant, args, (size_t)nargs, names);
    if (!recorder.recording) Py_RETURN_NONE;
    return mark(record_function(NULL, args, nargs, names));
}

/* The label and the arguments of span_of and instant_of; a new reference to a span, or NULL with an exception. */
static PyObject *span_labelled(const char *function, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs < 1 || nargs > 3 || !PyTuple_Check(args[0]) || PyTuple_GET_SIZE(args[0]) != 3 ||
        (nargs > 1 && args[1] != Py_None && !PyDict_Check(args[1]))) {
        PyErr_Format(PyExc_TypeError, "%s() takes a Label, a dict of arguments or None, and if they are frozen", function);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < 3; i++) {
        if (PyUnicode_CheckExact(PyTuple_GET_ITEM(args[0], i))) continue;
        PyErr_Format(PyExc_TypeError, "%s() takes a Label of three str", function);
        return NULL;
    }
    PyObject *own = NULL;
    if (nargs > 1 && args[1] != Py_None && (own = PyDict_Copy(args[1])) == NULL) return NULL;
    span_t *span = span_new(Py_NewRef(args[0]), own, NULL);
    if (span != NULL && own != NULL && nargs > 2 && args[2] == Py_True) {
        PyObject_GC_UnTrack((PyObject *)span); /* frozen arguments refer to nothing that refers back */
        span->plain = 1;
    }
    return (PyObject *)span;
}

static PyObject *span_of(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
    return span_labelled("span_of", args, nargs);
}

static PyObject *instant_of(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
    if (!recorder.recording) Py_RETURN_NONE;
    return mark(span_labelled("instant_of", args, nargs));
}

static PyMethodDef functions[] = {
    {"record_function", (PyCFunction)(void (*)(void))record_function, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("record_function($module, name, args=None, **kwargs)\n--\n\nA span to hold open with `with`, or to "
               "decorate with.")},
    {"instant", (PyCFunction)(void (*)(void))instant, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("instant($module, name, args=None, **kwargs)\n--\n\nMark a point in time on the calling thread, or with "
               "scope= for the process or all.")},
    {"span_of", (PyCFunction)(void (*)(void))span_of, METH_FASTCALL,
     PyDoc_STR("span_of($module, label, args=None, frozen=False, /)\n--\n\nA span of a Label.")},
    {"instant_of", (PyCFunction)(void (*)(void))instant_of, METH_FASTCALL,
     PyDoc_STR("instant_of($module, label, args=None, /)\n--\n\nMark a point in time with a Label.")},
    {NULL, NULL, 0, NULL},
};

int call_add(PyObject *module) {
    Py_XSETREF(legal_name, imported("stepscope.core.values", "legal_name"));
    if (legal_name == NULL) return -1;
    Py_XSETREF(scoped_instant, imported("stepscope.core.scopes", "scoped_instant"));
    if (scoped_instant == NULL) return -1;
    if (spans_by_name == NULL && (spans_by_name = PyDict_New()) == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
