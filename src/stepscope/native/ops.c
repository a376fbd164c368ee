/* Operators, for the kernel path of a framework's dispatcher: op_enabled(), op_enter(name, device, args, kwargs) and
   op_exit(token). The twin of twin/ops.py.

   A token is the operator's span, whose arguments are the number it is known by and, where it is not the CPU, its
   device; None: it is not recorded. Where a profile asks for more of an operator, such as its shapes, `detailed` makes
   the token, in Python. The label of a name is found by the very str object that was passed, in a table by the object's
   address. */

#include "span.h"

#define CACHE_BITS 10
enum { MAX_DEVICES = 256 }; /* objects, not only kinds: a framework may make a new one each time */

typedef struct {
    PyObject *name;        /* the very str object that was passed; strong */
    PyObject *label;       /* Label; strong */
    uint32_t id, registry; /* id is the label's in that registry */
} cache_entry_t;

static cache_entry_t cache[1 << CACHE_BITS];
static PyObject *label_type, *legal_name; /* of stepscope.core */
static PyObject *category, *no_site;      /* texts of a label */
static PyObject *number_key, *device_key; /* names of arguments */

static PyObject *resolve;  /* device -> its text, "" for the CPU, or None if its operators are not wanted; NULL: off */
static PyObject *detailed; /* (name, device, args, kwargs, number) -> token; NULL: nobody asks for details */
static PyObject *devices;  /* dict: device -> what resolve said */
static uint64_t next_number = 1;

/* ---- labels and devices ----------------------------------------------------------------------------------- */

static inline cache_entry_t *cache_entry(PyObject *name) {
    return &cache[((uint64_t)(uintptr_t)name * 0x9E3779B97F4A7C15u) >> (64 - CACHE_BITS)];
}

/* A new label of a name, which takes its place in the cache; a new reference. */
static __attribute__((noinline)) PyObject *label_made(PyObject *name) {
    PyObject *legal = PyObject_CallOneArg(legal_name, name);
    PyObject *label = legal == NULL ? NULL : PyObject_CallFunctionObjArgs(label_type, legal, category, no_site, NULL);
    Py_XDECREF(legal);
    if (label == NULL || !PyUnicode_CheckExact(name)) return label;
    cache_entry_t *entry = cache_entry(name), old = *entry;
    *entry = (cache_entry_t){Py_NewRef(name), Py_NewRef(label), 0, 0};
    Py_XDECREF(old.name);
    Py_XDECREF(old.label);
    return label;
}

/* What resolve says of a device: a new reference; NULL with an exception. Python code may run, also in the table, which
   asks a device for its hash: so that is held. */
static __attribute__((noinline)) PyObject *device_resolved(PyObject *table, PyObject *device) {
    PyObject *asked = Py_NewRef(resolve), *text = PyObject_CallOneArg(asked, device);
    if (text != NULL && PyDict_GET_SIZE(table) >= MAX_DEVICES) PyDict_Clear(table);
    if (text != NULL && PyDict_SetItem(table, device, text) < 0) Py_CLEAR(text);
    Py_DECREF(asked);
    return text;
}

static inline PyObject *device_text(PyObject *device) {
    PyObject *table = Py_NewRef(devices), *text = Py_XNewRef(PyDict_GetItemWithError(table, device));
    if (unlikely(text == NULL) && !PyErr_Occurred())
        text = resolve == NULL ? Py_NewRef(Py_None) : device_resolved(table, device);
    Py_DECREF(table);
    return text;
}

/* ---- one operator ----------------------------------------------------------------------------------------- */

/* The arguments of an operator's span: its number alone where it is on the CPU, which is a dict of 230 bytes less, and
   becomes {"External id": number} when records are paired; NULL with an exception. */
static PyObject *op_args(PyObject *device) {
    PyObject *number = PyLong_FromUnsignedLongLong(next_number++);
    if (number == NULL || PyUnicode_GET_LENGTH(device) == 0) return number;
    PyObject *args = PyDict_New();
    if (args != NULL &&
        (PyDict_SetItem(args, number_key, number) < 0 || PyDict_SetItem(args, device_key, device) < 0))
        Py_CLEAR(args);
    Py_DECREF(number);
    return args;
}

/* A span that is open now; NULL with an exception. */
static PyObject *op_begun(PyObject *name, PyObject *device) {
    PyObject *args = op_args(device);
    if (args == NULL) return NULL;
    cache_entry_t *entry = cache_entry(name);
    if (unlikely(entry->name != name)) {
        PyObject *label = label_made(name);
        if (label == NULL) Py_DECREF(args);
        span_t *span = label == NULL ? NULL : span_new(label, args, NULL);
        if (span != NULL) span_begin(span);
        return (PyObject *)span;
    }
    span_t *span = span_new(Py_NewRef(entry->label), args, NULL);
    if (span == NULL) return NULL;
    span->id = entry->id;
    span->registry = entry->registry;
    span_begin(span);
    if (unlikely(span->registry != entry->registry) && entry->name == name) {
        entry->id = span->id;
        entry->registry = span->registry;
    }
    return (PyObject *)span;
}

/* The same with all that is asked for, made in Python. */
static __attribute__((noinline)) PyObject *op_detailed(PyObject *device, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *number = PyLong_FromUnsignedLongLong(next_number++), *none = PyTuple_New(0), *token = NULL;
    if (number != NULL && none != NULL) {
        PyObject *given[5] = {args[0], device, nargs > 2 ? args[2] : none, nargs > 3 ? args[3] : Py_None, number};
        PyObject *makes = Py_NewRef(detailed);
        token = PyObject_Vectorcall(makes, given, 5, NULL);
        Py_DECREF(makes);
    }
    Py_XDECREF(none);
    Py_XDECREF(number);
    return token;
}

static PyObject *op_enter(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
    if (nargs < 2 || nargs > 4)
        return PyErr_Format(PyExc_TypeError, "enter() takes a name, a device, args and kwargs, got %zd arguments", nargs);
    if (resolve == NULL || !recorder.recording) Py_RETURN_NONE;
    PyObject *device = device_text(args[1]), *token;
    if (device == NULL) return NULL;
    if (device == Py_None || unlikely(resolve == NULL)) { /* asking may have ended the profile */
        Py_DECREF(device);
        Py_RETURN_NONE;
    }
    token = detailed == NULL ? op_begun(args[0], device) : op_detailed(device, args, nargs);
    Py_DECREF(device);
    if (unlikely(token == NULL) && PyErr_ExceptionMatches(PyExc_MemoryError)) { /* the program's kernel shall run */
        PyErr_Clear();
        buffer_t *buffer = buffer_mine();
        if (buffer != NULL) buffer->part.dropped++;
        Py_RETURN_NONE;
    }
    return token;
}

static PyObject *op_exit(PyObject *Py_UNUSED(module), PyObject *token) {
    if (likely(Py_IS_TYPE(token, &Span_Type)))
        span_end((span_t *)token);
    else if (token != Py_None)
        return PyObject_CallMethod(token, "exit", NULL);
    Py_RETURN_NONE;
}

static PyObject *op_enabled(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return Py_NewRef(resolve != NULL && recorder.recording ? Py_True : Py_False);
}

/* ---- numbers ---------------------------------------------------------------------------------------------- */

static PyObject *op_next(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromUnsignedLongLong(next_number++);
}

static PyObject *op_current(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    buffer_t *buffer = resolve == NULL ? NULL : buffer_mine();
    open_t *open = buffer == NULL ? NULL : asks(buffer) ? turn(&buffer, 0) : &buffer->open;
    for (size_t place = open == NULL ? 0 : open->count; place-- > 0;) {
        const span_t *span = open->of[place];
        if (span->args == NULL || !PyTuple_Check(span->label)) continue;
        PyObject *number = PyDict_Check(span->args) ? PyDict_GetItemWithError(span->args, number_key) : span->args;
        if (number != NULL) return Py_NewRef(number);
        if (PyErr_Occurred()) return NULL;
    }
    return PyLong_FromLong(0);
}

/* ---- the module's part ------------------------------------------------------------------------------------ */

static PyObject *use_ops(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "use_ops() takes what resolves devices, and what makes detailed tokens");
        return NULL;
    }
    PyObject *fresh = PyDict_New(), *old[3] = {resolve, detailed, devices};
    if (fresh == NULL) return NULL;
    resolve = args[0] == Py_None ? NULL : Py_NewRef(args[0]);
    detailed = args[1] == Py_None ? NULL : Py_NewRef(args[1]);
    devices = fresh;
    for (int i = 0; i < 3; i++) Py_XDECREF(old[i]);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"use_ops", (PyCFunction)(void (*)(void))use_ops, METH_FASTCALL,
     PyDoc_STR("use_ops($module, resolve, detailed, /)\n--\n\nRecord operators, or no more if resolve is None.")},
    {"op_enabled", op_enabled, METH_NOARGS, PyDoc_STR("op_enabled($module, /)\n--\n\nWhether operators are recorded.")},
    {"op_enter", (PyCFunction)(void (*)(void))op_enter, METH_FASTCALL,
     PyDoc_STR("op_enter($module, name, device, args=(), kwargs=None, /)\n--\n\nAn operator begins; what op_exit takes.")},
    {"op_exit", op_exit, METH_O, PyDoc_STR("op_exit($module, token, /)\n--\n\nThe operator of that token ends.")},
    {"op_next", op_next, METH_NOARGS, PyDoc_STR("op_next($module, /)\n--\n\nA number that no operator has had.")},
    {"op_current", op_current, METH_NOARGS,
     PyDoc_STR("op_current($module, /)\n--\n\nThe number of the operator that the calling thread is in; 0 for none.")},
    {NULL, NULL, 0, NULL},
};

/* What a static refers to from now on: 0, or -1 with an exception. */
static int set(PyObject **of, PyObject *value) {
    Py_XSETREF(*of, value);
    return *of == NULL ? -1 : 0;
}

int ops_add(PyObject *module) {
    if (set(&label_type, imported("stepscope.core.rows", "Label")) < 0) return -1;
    if (set(&legal_name, imported("stepscope.core.values", "legal_name")) < 0) return -1;
    if (set(&category, PyUnicode_InternFromString("cpu_op")) < 0) return -1;
    if (set(&no_site, PyUnicode_FromString("")) < 0) return -1;
    if (set(&number_key, PyUnicode_InternFromString("External id")) < 0) return -1;
    if (set(&device_key, PyUnicode_InternFromString("Device")) < 0) return -1;
    if (devices == NULL && set(&devices, PyDict_New()) < 0) return -1;
    return PyModule_AddFunctions(module, functions);
}
