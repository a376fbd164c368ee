/* The span: `with record_function("forward"):`, or as a decorator.

   __enter__ and __exit__ are one descriptor that returns the span itself, and the span's vectorcall tells the calls
   apart by their number of arguments: 0 enters, 3 exit, 1 decorates. So `with` allocates no bound method. A span
   without arguments is shared by every use of its name. Nothing here raises into the program but a wrong call. */

#include "recorder.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_BITS 12
#define MAX_CACHED 4096 /* as in the twin: names built at run time must not fill memory */

typedef struct {
    PyObject *key; /* the very str object that was passed; strong */
    span_t *span;  /* strong */
} cache_entry_t;

static cache_entry_t cache[1 << CACHE_BITS]; /* by the name's address */
static PyObject *spans_by_name;              /* dict: str -> span without arguments */
static uint64_t next_serial = 1;
static PyObject *legal_name, *freeze_call, *decorate; /* functions of stepscope.core */

/* ---- recording --------------------------------------------------------------------------------------------- */

/* Give the span's name an id in the open window; -1 if there is no room: then the event is dropped. */
static __attribute__((noinline)) int span_register(span_t *span) {
    Py_ssize_t id = PyList_GET_SIZE(recorder.names);
    if (id >= UINT32_MAX || !recorder_has_room(0) || PyList_Append(recorder.names, span->name) < 0) {
        PyErr_Clear();
        return -1;
    }
    recorder.name_bytes += (size_t)PyUnicode_GET_LENGTH(span->name) + 64;
    span->id = (uint32_t)id;
    span->window = recorder.window;
    return 0;
}

/* Room for a record of the span and, behind it, one payload; NULL if dropped. */
static inline record_t *record_room(buffer_t *buffer, span_t *span) {
    record_t *record = buffer->pos;
    if (unlikely(span->window != recorder.window) && span_register(span) < 0) {
        buffer->dropped++;
        return NULL;
    }
    return unlikely(record >= buffer->end) ? buffer_grow(buffer) : record;
}

static inline void record_put(buffer_t *buffer, span_t *span, uint16_t kind) {
    record_t *record = record_room(buffer, span);
    if (unlikely(record == NULL)) return;
    record->id = span->id;
    record->kind = kind;
    record->ticks = ticks_now();
    buffer->pos = record + 1;
}

/* The same for a span with arguments, which stand behind the record: as they are now. */
static __attribute__((noinline)) void record_put_args(buffer_t *buffer, span_t *span, uint16_t kind) {
    PyObject *args = span_frozen_args(span); /* may run Python code, which may end the window */
    if (recorder.mode != MODE_RECORDING || thread_slot.buffer != buffer || thread_slot.epoch != recorder.epoch) {
        Py_XDECREF(args);
        return;
    }
    if (args == NULL || payloads_add(&buffer->payloads, args) < 0) {
        buffer->dropped++;
        return;
    }
    record_t *record = record_room(buffer, span);
    if (record == NULL) return;
    record[0].id = span->id;
    record[0].kind = kind;
    record[1].ticks = span->serial;
    record[1].id = buffer->payloads.count - 1;
    record[1].kind = REC_PAYLOAD;
    record[0].ticks = ticks_now();
    buffer->pos = record + 2;
    if (kind == REC_BEGIN_ARGS) span->begun = recorder.window;
}

/* The end of a span with arguments: the window has them, unless the span began before it. */
static inline void record_end_args(buffer_t *buffer, span_t *span) {
    if (unlikely(span->begun != recorder.window)) {
        record_put_args(buffer, span, REC_END_ARGS);
        return;
    }
    record_t *record = record_room(buffer, span);
    if (unlikely(record == NULL)) return;
    record->id = (uint32_t)span->serial;
    record->kind = REC_END_SERIAL;
    record->ticks = ticks_now();
    buffer->pos = record + 1;
}

static inline void open_push(buffer_t *buffer, span_t *span) {
    if (unlikely(buffer->open_count == buffer->open_room)) {
        size_t room = buffer->open_room ? 2 * buffer->open_room : 64;
        span_t **open = realloc(buffer->open, room * sizeof *open);
        if (open == NULL) return; /* the span is not known as open: it may be lost if it spans a whole window */
        buffer->open = open;
        buffer->open_room = room;
    }
    buffer->open[buffer->open_count++] = (span_t *)Py_NewRef((PyObject *)span);
}

/* Forget a span that ends before one it contains, as tasks that take turns on a thread do. */
static __attribute__((noinline)) void open_remove_inner(buffer_t *buffer, span_t *span) {
    for (size_t place = buffer->open_count; place-- > 0;) {
        if (buffer->open[place] == span) {
            buffer->open_count--;
            memmove(&buffer->open[place], &buffer->open[place + 1], (buffer->open_count - place) * sizeof(span_t *));
            Py_DECREF(span);
            return;
        }
    }
}

static inline void open_pop(buffer_t *buffer, span_t *span) {
    size_t count = buffer->open_count;
    if (likely(count > 0 && buffer->open[count - 1] == span)) {
        buffer->open_count = count - 1;
        Py_DECREF(span); /* the caller holds it too */
    } else {
        open_remove_inner(buffer, span);
    }
}

static inline void span_begin(span_t *span) {
    buffer_t *buffer = buffer_mine();
    if (unlikely(buffer == NULL)) return;
    open_push(buffer, span);
    if (recorder.mode != MODE_RECORDING) return;
    if (likely(span->args == NULL))
        record_put(buffer, span, REC_BEGIN);
    else
        record_put_args(buffer, span, REC_BEGIN_ARGS);
}

static inline void span_end(span_t *span) {
    buffer_t *buffer = buffer_mine();
    if (unlikely(buffer == NULL)) return;
    if (recorder.mode == MODE_RECORDING) {
        if (likely(span->args == NULL))
            record_put(buffer, span, REC_END);
        else
            record_end_args(buffer, span);
    }
    open_pop(buffer, span);
}

/* ---- arguments --------------------------------------------------------------------------------------------- */

static int text_is_plain(PyObject *text) {
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) return 0;
    return memchr(PyUnicode_DATA(text), 0, (size_t)PyUnicode_GET_LENGTH(text)) == NULL;
}

/* Whether a value would be frozen to itself. */
static int value_is_plain(PyObject *value) {
    if (PyUnicode_CheckExact(value)) return text_is_plain(value);
    if (PyBool_Check(value)) return 1;
    if (PyFloat_CheckExact(value)) return isfinite(PyFloat_AS_DOUBLE(value));
    if (!PyLong_CheckExact(value)) return 0;
    int overflow;
    (void)PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow == 0;
}

/* Whether arguments can be recorded as they are; ours alone, so nobody changes the dict. */
static int args_are_plain(PyObject *args) {
    PyObject *key, *value;
    Py_ssize_t place = 0;
    while (PyDict_Next(args, &place, &key, &value)) {
        /* A key of the form of our own marks has to be renamed. */
        if (!text_is_plain(key) || *(const char *)PyUnicode_DATA(key) == 's') return 0;
        if (!value_is_plain(value)) return 0;
    }
    return 1;
}

PyObject *span_frozen_args(span_t *span) {
    if (span->args == NULL) return NULL;
    if (span->plain) return Py_NewRef(span->args);
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyObject *positional = span->positional == NULL ? Py_None : span->positional;
    PyObject *frozen = PyObject_CallFunctionObjArgs(freeze_call, positional, span->args, NULL);
    if (frozen == NULL) PyErr_Clear();
    PyErr_Restore(kind, error, trace);
    return frozen;
}

/* ---- making spans ------------------------------------------------------------------------------------------ */

static PyObject *span_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names);

/* A span of that name; takes over the references to name, args and positional. */
static span_t *span_new(PyObject *name, PyObject *args, PyObject *positional) {
    span_t *span = PyObject_GC_New(span_t, &Span_Type);
    if (span == NULL) {
        Py_DECREF(name);
        Py_XDECREF(args);
        Py_XDECREF(positional);
        return NULL;
    }
    span->vectorcall = span_vectorcall;
    span->name = name;
    span->args = args;
    span->positional = positional;
    span->serial = args == NULL ? 0 : next_serial++;
    span->id = 0;
    span->window = span->begun = 0; /* the first window is 1 */
    span->plain = args != NULL && positional == NULL && args_are_plain(args);
    /* Plain arguments refer to nothing: there is no cycle to find. */
    if (args != NULL && !span->plain) PyObject_GC_Track((PyObject *)span);
    return span;
}

static PyObject *made_legal(PyObject *name) {
    if (text_is_plain(name) && PyUnicode_GET_LENGTH(name) > 0) return Py_NewRef(name);
    return PyObject_CallOneArg(legal_name, name);
}

static void cache_set(cache_entry_t *entry, PyObject *key, span_t *span) {
    PyObject *old_key = entry->key;
    span_t *old_span = entry->span;
    entry->key = Py_NewRef(key);
    entry->span = (span_t *)Py_NewRef((PyObject *)span);
    Py_XDECREF(old_key);
    Py_XDECREF(old_span);
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
        if (PyDict_GET_SIZE(spans_by_name) >= MAX_CACHED) PyDict_Clear(spans_by_name);
        if (PyDict_SetItem(spans_by_name, name, (PyObject *)span) < 0) {
            Py_DECREF(span);
            return NULL;
        }
    }
    cache_set(cache_entry(name), name, span);
    return (PyObject *)span;
}

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

/* The arguments of a call whose keywords are arguments of the span, none of them "name" or "args"; else NULL, without
   an exception unless memory ran out. */
static PyObject *simple_args(PyObject *const *values, PyObject *names) {
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *key = PyTuple_GET_ITEM(names, i);
        Py_ssize_t length = PyUnicode_GET_LENGTH(key);
        if (length == 4) return NULL; /* may be one of them: `call_parse` looks */
    }
    PyObject *args = PyDict_New();
    for (Py_ssize_t i = 0; args != NULL && i < count; i++)
        if (PyDict_SetItem(args, PyTuple_GET_ITEM(names, i), values[i]) < 0) Py_CLEAR(args);
    return args;
}

static PyObject *record_function(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *names) {
    if (likely(nargs == 1 && names == NULL)) {
        cache_entry_t *entry = cache_entry(args[0]);
        if (likely(entry->key == args[0])) return Py_NewRef((PyObject *)entry->span);
        return span_shared(args[0]);
    }
    call_t call = {nargs == 1 ? args[0] : NULL, NULL, NULL};
    if (nargs == 1) call.args = simple_args(args + 1, names);
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

static PyObject *instant(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
    if (recorder.mode != MODE_RECORDING) Py_RETURN_NONE;
    PyObject *made = record_function(NULL, args, nargs, names);
    if (made == NULL) return NULL;
    span_t *span = (span_t *)made;
    buffer_t *buffer = buffer_mine();
    if (buffer != NULL && recorder.mode == MODE_RECORDING) {
        if (span->args == NULL)
            record_put(buffer, span, REC_INSTANT);
        else
            record_put_args(buffer, span, REC_INSTANT_ARGS);
    }
    Py_DECREF(made);
    Py_RETURN_NONE;
}

/* ---- the span's type --------------------------------------------------------------------------------------- */

static PyObject *span_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names) {
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (names == NULL) {
        if (nargs == 0) {
            if (recorder.mode != MODE_OFF) span_begin((span_t *)self);
            return Py_NewRef(self);
        }
        if (nargs == 3) {
            if (recorder.mode != MODE_OFF) span_end((span_t *)self);
            Py_RETURN_NONE;
        }
        if (nargs == 1) return PyObject_CallFunctionObjArgs(decorate, self, args[0], NULL);
    }
    PyErr_SetString(PyExc_TypeError, "a span is entered, exited, or called with the function to decorate");
    return NULL;
}

static int span_traverse(span_t *self, visitproc visit, void *arg) {
    Py_VISIT(self->args);
    Py_VISIT(self->positional);
    return 0;
}

/* Its arguments are emptied, not dropped: a span with none is another kind of span. */
static int span_clear(span_t *self) {
    if (self->args != NULL) PyDict_Clear(self->args);
    Py_CLEAR(self->positional);
    return 0;
}

static void span_dealloc(span_t *self) {
    PyObject_GC_UnTrack((PyObject *)self);
    Py_DECREF(self->name);
    Py_XDECREF(self->args);
    Py_XDECREF(self->positional);
    PyObject_GC_Del(self);
}

/* A span like this one that is told apart from every other, so that calls that overlap are not mixed up. */
static PyObject *span_alone(span_t *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *args = self->args == NULL ? PyDict_New() : Py_NewRef(self->args);
    return args == NULL ? NULL : (PyObject *)span_new(Py_NewRef(self->name), args, Py_XNewRef(self->positional));
}

static PyMethodDef span_methods[] = {
    {"alone", (PyCFunction)span_alone, METH_NOARGS, PyDoc_STR("A span like this one, told apart from every other.")},
    {NULL, NULL, 0, NULL},
};

static PyObject *span_repr(span_t *self) { return PyUnicode_FromFormat("record_function(%R)", self->name); }

static PyObject *span_get_name(span_t *self, void *Py_UNUSED(closure)) { return Py_NewRef(self->name); }

static PyGetSetDef span_attributes[] = {
    {"name", (getter)span_get_name, NULL, PyDoc_STR("The slice's name."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Span_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.Span",
    .tp_doc = PyDoc_STR("A named stretch of a thread's time; made by `record_function`."),
    .tp_basicsize = sizeof(span_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(span_t, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_dealloc = (destructor)span_dealloc,
    .tp_traverse = (traverseproc)span_traverse,
    .tp_clear = (inquiry)span_clear,
    .tp_repr = (reprfunc)span_repr,
    .tp_methods = span_methods,
    .tp_getset = span_attributes,
};

/* ---- the descriptor that returns its owner ----------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
} itself_t;

/* Called unbound, as contextlib.ExitStack does: the first argument is the span. */
static PyObject *itself_vectorcall(PyObject *Py_UNUSED(self), PyObject *const *args, size_t nargsf, PyObject *names) {
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (nargs < 1 || !Py_IS_TYPE(args[0], &Span_Type)) {
        PyErr_SetString(PyExc_TypeError, "the first argument must be a span");
        return NULL;
    }
    return span_vectorcall(args[0], args + 1, (size_t)(nargs - 1), names);
}

static PyObject *itself_get(PyObject *self, PyObject *owner, PyObject *Py_UNUSED(type)) {
    return Py_NewRef(owner != NULL && owner != Py_None ? owner : self);
}

static PyTypeObject Itself_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native._Itself",
    .tp_basicsize = sizeof(itself_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(itself_t, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = itself_get,
};

/* ---- a decorated call -------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    span_t *span;
    PyObject *function;
    PyObject *dict;
} call_wrapper_t;

static PyObject *call_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names) {
    call_wrapper_t *call = (call_wrapper_t *)self;
    if (recorder.mode == MODE_OFF) return PyObject_Vectorcall(call->function, args, nargsf, names);
    span_t *span = (span_t *)Py_NewRef((PyObject *)call->span); /* the call may drop the wrapper */
    span_begin(span);
    PyObject *result = PyObject_Vectorcall(call->function, args, nargsf, names);
    if (recorder.mode != MODE_OFF) span_end(span);
    Py_DECREF(span);
    return result;
}

static PyObject *call_get(PyObject *self, PyObject *owner, PyObject *Py_UNUSED(type)) {
    return owner == NULL || owner == Py_None ? Py_NewRef(self) : PyMethod_New(self, owner);
}

static int call_traverse(call_wrapper_t *self, visitproc visit, void *arg) {
    Py_VISIT(self->span);
    Py_VISIT(self->function);
    Py_VISIT(self->dict);
    return 0;
}

static int call_clear(call_wrapper_t *self) {
    Py_CLEAR(self->dict);
    return 0;
}

static void call_dealloc(call_wrapper_t *self) {
    PyObject_GC_UnTrack((PyObject *)self);
    Py_DECREF(self->span);
    Py_DECREF(self->function);
    Py_XDECREF(self->dict);
    PyObject_GC_Del(self);
}

/* Pickled as functions are: by name. */
static PyObject *call_reduce(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyObject *call_repr(call_wrapper_t *self) {
    return PyUnicode_FromFormat("<%R around %R>", self->span, self->function);
}

static PyMethodDef call_methods[] = {
    {"__reduce__", call_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef call_attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Call_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.DecoratedCall",
    .tp_doc = PyDoc_STR("A function with a span around each call."),
    .tp_basicsize = sizeof(call_wrapper_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
                Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(call_wrapper_t, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_dealloc = (destructor)call_dealloc,
    .tp_traverse = (traverseproc)call_traverse,
    .tp_clear = (inquiry)call_clear,
    .tp_repr = (reprfunc)call_repr,
    .tp_methods = call_methods,
    .tp_getset = call_attributes,
    .tp_dictoffset = offsetof(call_wrapper_t, dict),
    .tp_descr_get = call_get,
};

static PyObject *around_call(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2 || !Py_IS_TYPE(args[0], &Span_Type) || !PyCallable_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "around_call() takes a span and a function");
        return NULL;
    }
    call_wrapper_t *call = PyObject_GC_New(call_wrapper_t, &Call_Type);
    if (call == NULL) return NULL;
    call->vectorcall = call_vectorcall;
    call->span = (span_t *)Py_NewRef(args[0]);
    call->function = Py_NewRef(args[1]);
    call->dict = NULL;
    PyObject_GC_Track((PyObject *)call);
    return (PyObject *)call;
}

/* ---- the module's part ------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"record_function", (PyCFunction)(void (*)(void))record_function, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("record_function($module, name, args=None, **kwargs)\n--\n\nA span to hold open with `with`, or to "
               "decorate with.")},
    {"instant", (PyCFunction)(void (*)(void))instant, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("instant($module, name, args=None, **kwargs)\n--\n\nMark a point in time on the calling thread.")},
    {"around_call", (PyCFunction)(void (*)(void))around_call, METH_FASTCALL,
     PyDoc_STR("A function with a span around each call.")},
    {NULL, NULL, 0, NULL},
};

static PyObject *import_from(const char *module, const char *name) {
    PyObject *from = PyImport_ImportModule(module);
    PyObject *found = from == NULL ? NULL : PyObject_GetAttrString(from, name);
    Py_XDECREF(from);
    return found;
}

static int span_type_ready(void) {
    if (PyType_Ready(&Itself_Type) < 0 || PyType_Ready(&Call_Type) < 0 || PyType_Ready(&Span_Type) < 0) return -1;
    itself_t *itself = PyObject_New(itself_t, &Itself_Type);
    if (itself == NULL) return -1;
    itself->vectorcall = itself_vectorcall;
    int result = PyDict_SetItemString(Span_Type.tp_dict, "__enter__", (PyObject *)itself);
    if (result == 0) result = PyDict_SetItemString(Span_Type.tp_dict, "__exit__", (PyObject *)itself);
    Py_DECREF(itself);
    PyType_Modified(&Span_Type);
    return result;
}

int span_add(PyObject *module) {
    if (span_type_ready() < 0) return -1;
    Py_XSETREF(legal_name, import_from("stepscope.core.values", "legal_name"));
    Py_XSETREF(freeze_call, import_from("stepscope.core.values", "freeze_call"));
    Py_XSETREF(decorate, import_from("stepscope.core.decorate", "decorate_native"));
    if (legal_name == NULL || freeze_call == NULL || decorate == NULL) return -1;
    if (spans_by_name == NULL && (spans_by_name = PyDict_New()) == NULL) return -1;
    if (PyModule_AddObjectRef(module, "Span", (PyObject *)&Span_Type) < 0) return -1;
    return PyModule_AddFunctions(module, functions);
}
