/* The span: `with record_function("forward"):`, or as a decorator.

   __enter__ and __exit__ are descriptors that return the span itself, and the span's vectorcall tells the calls apart by
   their number of arguments: 0 enters, 3 exit, 1 decorates. So `with` allocates no bound method. The __exit__ of a span
   that is found by its name is a built-in method, made once: calls of those are what the interpreter is fastest at, a
   sixth of a span that is not recorded. Nothing here raises into the program but a wrong call. */

#include "span.h"

#include <stddef.h>
#include <stdlib.h>

static uint64_t next_serial = 1;
static span_t *spare; /* the memory of a span that went, for the next one: a tenth of a span with arguments */
static PyObject *freeze_args, *freeze_call, *decorate; /* functions of stepscope.core */

/* ---- recording: what happens seldom ----------------------------------------------------------------------- */

int span_register(span_t *span) {
    int64_t id = label_id(span->label);
    if (id < 0) return -1;
    span->id = (uint32_t)id;
    span->registry = recorder.registry;
    return 0;
}

void record_put_args(buffer_t *buffer, span_t *span, uint16_t kind) {
    uint32_t window = recorder.window;
    uint64_t interrupts = recorder.interrupts;
    PyObject *args = span_frozen_args(span); /* may run Python code, which may end the window, or fork */
    if (!recorder.recording || recorder.window != window || thread_slot.epoch != recorder.epoch) {
        Py_XDECREF(args);
        return;
    }
    if (args == NULL) {
        buffer->part.dropped += recorder.interrupts == interrupts;
        return;
    }
    uint32_t payload = payload_add(buffer, args);
    if (payload == NO_PAYLOAD) return;
    record_t *record = record_room(buffer, span);
    if (record == NULL) {
        payload_free(&buffer->part.payloads, payload);
        return;
    }
    record[0].id = span->id;
    record[0].kind = kind;
    record[1].ticks = span->serial;
    record[1].id = payload;
    record[1].kind = REC_PAYLOAD;
    record[0].ticks = ticks_now();
    buffer->pos = record + 2;
}

/* The end of a span with arguments. */
static void record_end_args(buffer_t *buffer, span_t *span) {
    record_t *record = record_room(buffer, span);
    if (record != NULL) record_fill(buffer, record, (uint32_t)span->serial, REC_END_SERIAL);
}

void record_fill_clock(buffer_t *buffer, record_t *record, uint32_t id, uint16_t kind) {
    record->id = id;
    record->kind = kind;
    record->ticks = ticks_now();
    buffer->pos = record + 1;
}

void span_record_begin(buffer_t *buffer, span_t *span) {
    if (recorder.besides) {
        record_besides(buffer, EVENT_BEGINS);
        buffer = recorder.recording ? buffer_mine() : NULL; /* Python code may have run */
        if (buffer == NULL) return;
    }
    if (span->args == NULL)
        record_put(buffer, span, REC_BEGIN);
    else
        record_put_args(buffer, span, REC_BEGIN_ARGS);
}

void span_record_end(buffer_t *buffer, span_t *span) {
    if (recorder.besides) record_besides(buffer, EVENT_ENDS);
    if (span->args == NULL)
        record_put(buffer, span, REC_END);
    else
        record_end_args(buffer, span);
}

void span_begin_slowly(span_t *span) {
    buffer_t *buffer = buffer_mine();
    open_t *open = buffer == NULL ? NULL : asks(buffer) ? turn(&buffer, 0) : &buffer->open;
    /* Without memory to follow it, it is not recorded either: nobody would know that it ends. */
    if (open == NULL || (open->count == open->room && open_grow(open) < 0)) {
        recorder.lost++;
        return;
    }
    open->of[open->count++] = span;
    span->entries++;
    if (recorder.recording) span_record_begin(buffer, span);
}

void span_end_slowly(span_t *span) {
    buffer_t *buffer = buffer_mine();
    open_t *open = buffer == NULL ? NULL : asks(buffer) ? turn(&buffer, 1) : &buffer->open;
    if (open == NULL) return;
    if (open->count > 0 && open->of[open->count - 1] == span) {
        open->count--;
        span->entries--;
    } else {
        buffer = open_take(buffer, span);
        if (buffer == NULL) return; /* it began before a fork, or without memory */
    }
    if (recorder.recording) span_record_end(buffer, span);
}

/* ---- arguments -------------------------------------------------------------------------------------------- */

/* Whether arguments can be recorded as they are; ours alone, so nobody changes the dict. */
static int args_are_plain(PyObject *args) {
    PyObject *key, *value;
    Py_ssize_t place = 0;
    while (PyDict_Next(args, &place, &key, &value)) {
        if (!key_is_plain(key) || !value_is_plain(value)) return 0;
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
    if (frozen == NULL) program_error_clear();
    PyErr_Restore(kind, error, trace);
    return frozen;
}

/* ---- the type --------------------------------------------------------------------------------------------- */

static PyObject *span_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names) {
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (names == NULL) {
        if (nargs == 0) {
            span_begin((span_t *)self);
            return Py_NewRef(self);
        }
        if (nargs == 3) {
            span_end((span_t *)self);
            Py_RETURN_NONE;
        }
        if (nargs == 1) return PyObject_CallFunctionObjArgs(decorate, self, args[0], NULL);
    }
    PyErr_SetString(PyExc_TypeError, "a span is entered, exited, or called with the function to decorate");
    return NULL;
}

/* __exit__(kind=None, error=None, trace=None) of a span that has it as a built-in method. */
static PyObject *span_leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (unlikely(nargs != 3)) return span_vectorcall(self, args, (size_t)nargs, NULL);
    span_end((span_t *)self);
    Py_RETURN_NONE;
}

static PyMethodDef leave_method = {"__exit__", (PyCFunction)(void (*)(void))span_leave, METH_FASTCALL,
                                   PyDoc_STR("End the span.")};

PyObject *span_leave_new(span_t *span) {
    if (PY_VERSION_HEX < 0x030B0000) return NULL; /* there the span itself is called faster, by 1 to 2 ns */
    PyObject *leave = PyCFunction_New(&leave_method, (PyObject *)span);
    if (leave == NULL) PyErr_Clear();
    return leave;
}

span_t *span_new(PyObject *label, PyObject *args, PyObject *positional) {
    span_t *span = spare;
    spare = NULL;
    span = span != NULL ? (span_t *)PyObject_Init((PyObject *)span, &Span_Type) : PyObject_GC_New(span_t, &Span_Type);
    if (span == NULL) {
        Py_DECREF(label);
        Py_XDECREF(args);
        Py_XDECREF(positional);
        return NULL;
    }
    span->vectorcall = span_vectorcall;
    span->label = label;
    span->args = args;
    span->positional = positional;
    span->serial = args == NULL ? 0 : next_serial++;
    span->id = 0;
    span->registry = 0; /* the first is 1 */
    span->entries = 0;
    span->leave = NULL;
    span->plain = args != NULL && positional == NULL && (!PyDict_CheckExact(args) || args_are_plain(args));
    /* Plain arguments refer to nothing: there is no cycle to find. */
    if (args != NULL && !span->plain) PyObject_GC_Track((PyObject *)span);
    return span;
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
    if (self->entries) open_forget(self);
    Py_DECREF(self->label);
    Py_XDECREF(self->args);
    Py_XDECREF(self->positional);
    if (spare == NULL)
        spare = self;
    else
        PyObject_GC_Del(self);
}

/* A span like this one that is told apart from every other, so that calls that overlap are not mixed up. */
static PyObject *span_alone(span_t *self, PyObject *Py_UNUSED(ignored)) {
    look_for_asyncio(); /* a coroutine is about to run */
    PyObject *args = self->args == NULL ? PyDict_New() : Py_NewRef(self->args);
    return args == NULL ? NULL : (PyObject *)span_new(Py_NewRef(self->label), args, Py_XNewRef(self->positional));
}

/* End it with more arguments, which are taken as they are now. Where it is not the thread's innermost span, it ends
   without them. */
static PyObject *span_finish(span_t *self, PyObject *more) {
    if (!PyDict_Check(more)) {
        PyErr_SetString(PyExc_TypeError, "finish() takes a dict of arguments");
        return NULL;
    }
    PyObject *args = NULL;
    if (recorder.recording && self->args != NULL) { /* may run Python code, which may end the window */
        args = args_are_plain(more) ? PyDict_Copy(more) : PyObject_CallOneArg(freeze_args, more);
        if (args == NULL) program_error_clear();
    }
    buffer_t *buffer = buffer_mine();
    open_t *open = buffer == NULL ? NULL : turn(&buffer, 1);
    uint32_t payload = NO_PAYLOAD;
    if (args != NULL && recorder.recording && open != NULL && open->count > 0 && open->of[open->count - 1] == self)
        payload = payload_add(buffer, args);
    else
        Py_XDECREF(args);
    if (payload == NO_PAYLOAD) {
        span_end(self);
        Py_RETURN_NONE;
    }
    open->count--;
    self->entries--;
    if (recorder.besides) record_besides(buffer, EVENT_ENDS);
    record_t *record = record_room(buffer, self);
    if (record == NULL) {
        payload_free(&buffer->part.payloads, payload);
        Py_RETURN_NONE;
    }
    record[1] = (record_t){0, payload, REC_PAYLOAD, 0};
    record[0] = (record_t){0, (uint32_t)self->serial, REC_END_ARGS, 0};
    record[0].ticks = ticks_now();
    buffer->pos = record + 2;
    Py_RETURN_NONE;
}

static PyMethodDef span_methods[] = {
    {"finish", (PyCFunction)span_finish, METH_O, PyDoc_STR("End it with more arguments.")},
    {"alone", (PyCFunction)span_alone, METH_NOARGS, PyDoc_STR("A span like this one, told apart from every other.")},
    {NULL, NULL, 0, NULL},
};

static PyObject *span_name(span_t *self) {
    return PyUnicode_Check(self->label) ? self->label : PyTuple_GET_ITEM(self->label, 0);
}

static PyObject *span_repr(span_t *self) { return PyUnicode_FromFormat("record_function(%R)", span_name(self)); }

static PyObject *span_get_name(span_t *self, void *Py_UNUSED(closure)) { return Py_NewRef(span_name(self)); }

static PyGetSetDef span_attributes[] = {
    {"name", (getter)span_get_name, NULL, PyDoc_STR("The slice's name."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Span_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.Span",
    .tp_doc = PyDoc_STR("A named stretch of a thread's time; made by `record_function`."),
    .tp_basicsize = sizeof(span_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(span_t, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_dealloc = (destructor)span_dealloc,
    .tp_traverse = (traverseproc)span_traverse,
    .tp_clear = (inquiry)span_clear,
    .tp_repr = (reprfunc)span_repr,
    .tp_methods = span_methods,
    .tp_getset = span_attributes,
};

/* ---- the descriptors that return their owner --------------------------------------------------------------- */

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

static PyObject *leave_get(PyObject *self, PyObject *owner, PyObject *Py_UNUSED(type)) {
    if (owner == NULL || owner == Py_None) return Py_NewRef(self);
    PyObject *leave = ((span_t *)owner)->leave;
    return Py_NewRef(leave != NULL ? leave : owner);
}

static PyTypeObject Leave_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native._Leave",
    .tp_base = &Itself_Type,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_descr_get = leave_get,
};

/* ---- the module's part ------------------------------------------------------------------------------------ */

/* Give spans a descriptor: 0, or -1 with an exception. */
static int span_type_give(const char *name, PyTypeObject *descriptor) {
    itself_t *itself = PyObject_New(itself_t, descriptor);
    if (itself == NULL) return -1;
    itself->vectorcall = itself_vectorcall;
    int result = PyDict_SetItemString(Span_Type.tp_dict, name, (PyObject *)itself);
    Py_DECREF(itself);
    return result;
}

static int span_type_ready(void) {
    if (PyType_Ready(&Keywords_Type) < 0 || PyType_Ready(&Itself_Type) < 0 || PyType_Ready(&Leave_Type) < 0) return -1;
    if (PyType_Ready(&Span_Type) < 0) return -1;
    int result = span_type_give("__enter__", &Itself_Type);
    if (result == 0) result = span_type_give("__exit__", &Leave_Type);
    PyObject *enter = imported("stepscope.core.decorate", "enter_awaited");
    PyObject *leave = imported("stepscope.core.decorate", "exit_awaited");
    if (enter == NULL || leave == NULL) result = -1;
    if (result == 0) result = PyDict_SetItemString(Span_Type.tp_dict, "__aenter__", enter);
    if (result == 0) result = PyDict_SetItemString(Span_Type.tp_dict, "__aexit__", leave);
    Py_XDECREF(enter);
    Py_XDECREF(leave);
    PyType_Modified(&Span_Type);
    return result;
}

int span_add(PyObject *module) {
    if (span_type_ready() < 0) return -1;
    Py_XSETREF(freeze_call, imported("stepscope.core.values", "freeze_call"));
    if (freeze_call == NULL) return -1;
    Py_XSETREF(freeze_args, imported("stepscope.core.values", "freeze_args"));
    if (freeze_args == NULL) return -1;
    Py_XSETREF(decorate, imported("stepscope.core.decorate", "decorate_native"));
    if (decorate == NULL) return -1;
    return PyModule_AddObjectRef(module, "Span", (PyObject *)&Span_Type);
}
