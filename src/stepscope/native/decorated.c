/* A decorated call: a function with a span around each call of it.

   The wrapper is an object whose vectorcall hands the arguments on as they are: no frame, nothing packed anew. It
   binds as functions do. */

#include "span.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    span_t *span;
    PyObject *function;
    PyObject *dict;
} decorated_t;

static PyObject *decorated_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names) {
    decorated_t *decorated = (decorated_t *)self;
    span_t *span = (span_t *)Py_NewRef((PyObject *)decorated->span); /* the call may drop the wrapper */
    span_begin(span);
    PyObject *result = PyObject_Vectorcall(decorated->function, args, nargsf, names);
    span_end(span);
    Py_DECREF(span);
    return result;
}

static PyObject *decorated_get(PyObject *self, PyObject *owner, PyObject *Py_UNUSED(type)) {
    return owner == NULL || owner == Py_None ? Py_NewRef(self) : PyMethod_New(self, owner);
}

static int decorated_traverse(decorated_t *self, visitproc visit, void *arg) {
    Py_VISIT(self->span);
    Py_VISIT(self->function);
    Py_VISIT(self->dict);
    return 0;
}

static int decorated_clear(decorated_t *self) {
    Py_CLEAR(self->dict);
    return 0;
}

static void decorated_dealloc(decorated_t *self) {
    PyObject_GC_UnTrack((PyObject *)self);
    Py_DECREF(self->span);
    Py_DECREF(self->function);
    Py_XDECREF(self->dict);
    PyObject_GC_Del(self);
}

/* Pickled as functions are: by name. */
static PyObject *decorated_reduce(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyObject *decorated_repr(decorated_t *self) {
    return PyUnicode_FromFormat("<%R around %R>", self->span, self->function);
}

static PyMethodDef decorated_methods[] = {
    {"__reduce__", decorated_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef decorated_attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Decorated_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.DecoratedCall",
    .tp_doc = PyDoc_STR("A function with a span around each call."),
    .tp_basicsize = sizeof(decorated_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
                Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(decorated_t, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_dealloc = (destructor)decorated_dealloc,
    .tp_traverse = (traverseproc)decorated_traverse,
    .tp_clear = (inquiry)decorated_clear,
    .tp_repr = (reprfunc)decorated_repr,
    .tp_methods = decorated_methods,
    .tp_getset = decorated_attributes,
    .tp_dictoffset = offsetof(decorated_t, dict),
    .tp_descr_get = decorated_get,
};

static PyObject *around_call(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2 || !Py_IS_TYPE(args[0], &Span_Type) || !PyCallable_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "around_call() takes a span and a function");
        return NULL;
    }
    decorated_t *decorated = PyObject_GC_New(decorated_t, &Decorated_Type);
    if (decorated == NULL) return NULL;
    decorated->vectorcall = decorated_vectorcall;
    decorated->span = (span_t *)Py_NewRef(args[0]);
    decorated->function = Py_NewRef(args[1]);
    decorated->dict = NULL;
    PyObject_GC_Track((PyObject *)decorated);
    return (PyObject *)decorated;
}

static PyMethodDef functions[] = {
    {"around_call", (PyCFunction)(void (*)(void))around_call, METH_FASTCALL,
     PyDoc_STR("A function with a span around each call.")},
    {NULL, NULL, 0, NULL},
};

int decorated_add(PyObject *module) {
    if (PyType_Ready(&Decorated_Type) < 0) return -1;
    return PyModule_AddFunctions(module, functions);
}
