/* Counters and flows: counter(name, value, unit=None), flow_start(name), flow_step(flow), flow_end(flow).

   A counter's series is known by the very objects that were passed, in a table by the name's address; where another has
   taken its place there, or in a new window, by (name, unit) among the window's series. */

#include "span.h"

#include <math.h>

#define CACHE_BITS 8

typedef struct {
    PyObject *name, *unit; /* the very objects that were passed, unit may be NULL; strong */
    uint32_t id, registry; /* id is the series' in that registry */
} cache_entry_t;

static cache_entry_t cache[1 << CACHE_BITS];
static PyObject *series_of;    /* stepscope.core.values.series_of */
static PyObject *mapping_type; /* collections.abc.Mapping */
static uint64_t next_flow = 1;

/* ---- counters --------------------------------------------------------------------------------------------- */

static inline cache_entry_t *cache_entry(PyObject *name) {
    return &cache[((uint64_t)(uintptr_t)name * 0x9E3779B97F4A7C15u) >> (64 - CACHE_BITS)];
}

enum { NOBODYS = -2 }; /* the window is another one by now, or an interrupt came: the value is not missed */

/* The id of a series, which may run Python code; -1: no room. */
static __attribute__((noinline)) int64_t series_made(PyObject *name, PyObject *unit, PyObject *key) {
    uint32_t window = recorder.window;
    uint64_t interrupts = recorder.interrupts;
    PyObject *series = PyObject_CallFunctionObjArgs(series_of, name, unit ? unit : Py_None, key ? key : Py_None, NULL);
    int64_t id = -1;
    if (series == NULL)
        program_error_clear();
    else if (!recorder.recording || recorder.window != window)
        id = NOBODYS;
    else
        id = series_id(series);
    Py_XDECREF(series);
    if (recorder.interrupts != interrupts) return NOBODYS;
    /* Only str: their going runs no code, which could end the window. */
    if (id < 0 || key != NULL || !PyUnicode_CheckExact(name) || (unit != NULL && !PyUnicode_CheckExact(unit))) return id;
    cache_entry_t *entry = cache_entry(name);
    PyObject *old_name = entry->name, *old_unit = entry->unit;
    *entry = (cache_entry_t){Py_NewRef(name), Py_XNewRef(unit), (uint32_t)id, recorder.registry};
    Py_XDECREF(old_name);
    Py_XDECREF(old_unit);
    return id;
}

/* A counter's value; NaN for what is no number, which the trace says. */
static __attribute__((noinline)) double value_of(PyObject *value) {
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred()) {
        program_error_clear();
        number = Py_NAN;
    }
    return number;
}

/* Record two records, the second being what the first carries; nothing if there is no room. */
static inline void record_point(buffer_t *buffer, record_t point, uint64_t carried, uint32_t id) {
    record_t *record = buffer->pos;
    if (unlikely(record >= buffer->end) && (record = buffer_grow(buffer)) == NULL) return;
    record[1] = (record_t){carried, id, REC_PAYLOAD, 0};
    point.ticks = ticks_now();
    record[0] = point;
    buffer->pos = record + 2;
}

static inline void count(PyObject *name, PyObject *unit, PyObject *key, PyObject *value) {
    buffer_t *buffer = buffer_mine();
    double number = likely(PyFloat_CheckExact(value)) ? PyFloat_AS_DOUBLE(value) : value_of(value);
    cache_entry_t *entry = cache_entry(name);
    int64_t id;
    if (likely(key == NULL && entry->name == name && entry->unit == unit && entry->registry == recorder.registry))
        id = entry->id;
    else
        id = series_made(name, unit, key);
    if (unlikely(buffer == NULL || !recorder.recording)) return;
    if (unlikely(id < 0)) {
        if (id != NOBODYS) buffer->part.dropped++;
        return;
    }
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    record_point(buffer, (record_t){0, (uint32_t)id, REC_COUNTER, 0}, bits, 0);
}

static int is_mapping(PyObject *value) {
    const PyNumberMethods *number = Py_TYPE(value)->tp_as_number;
    if (likely(number != NULL && number->nb_float != NULL)) return 0;
    int is = PyDict_Check(value) ? 1 : PyObject_IsInstance(value, mapping_type);
    if (is < 0) program_error_clear();
    return is > 0;
}

/* A mapping of series to values; 0, or -1 with an exception. */
static int count_all(PyObject *name, PyObject *unit, PyObject *mapping) {
    PyObject *items = PyMapping_Items(mapping);
    for (Py_ssize_t i = 0; items != NULL && i < PyList_GET_SIZE(items); i++) {
        PyObject *pair = PyList_GET_ITEM(items, i);
        if (PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2)
            count(name, unit, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    }
    if (items == NULL) return -1;
    Py_DECREF(items);
    return 0;
}

static PyObject *counter(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
    static const char *const known[3] = {"name", "value", "unit"};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (unlikely(nargs > 3)) return PyErr_Format(PyExc_TypeError, "counter() takes 3 arguments, got %zd", nargs);
    for (Py_ssize_t i = 0; i < nargs; i++) given[i] = args[i];
    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        int which = 0;
        while (which < 3 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), known[which]) != 0) which++;
        if (which == 3 || given[which] != NULL)
            return PyErr_Format(PyExc_TypeError, "counter() got %s argument '%U'", which == 3 ? "an unknown" : "twice the",
                                PyTuple_GET_ITEM(names, i));
        given[which] = args[nargs + i];
    }
    if (unlikely(given[0] == NULL || given[1] == NULL))
        return PyErr_Format(PyExc_TypeError, "counter() missing argument '%s'", known[given[0] != NULL]);
    if (!recorder.recording) Py_RETURN_NONE;
    if (given[2] == Py_None) given[2] = NULL;
    if (likely(!is_mapping(given[1])))
        count(given[0], given[2], NULL, given[1]);
    else if (count_all(given[0], given[2], given[1]) < 0)
        program_error_clear(); /* the program's mapping may raise anything */
    Py_RETURN_NONE;
}

/* ---- flows ------------------------------------------------------------------------------------------------ */

/* A point of a flow, named by the span of its name if this is the first. */
static void flow_point(uint64_t flow, span_t *named) {
    buffer_t *buffer = buffer_here();
    if (buffer == NULL || !recorder.recording) return;
    if (named != NULL && named->registry != recorder.registry && span_register(named) < 0) {
        buffer->part.dropped++;
        return;
    }
    record_point(buffer, (record_t){0, named ? named->id : 0, REC_FLOW, 0}, flow, named != NULL);
}

static PyObject *flow_start(PyObject *Py_UNUSED(module), PyObject *name) {
    uint64_t flow = next_flow++;
    if (recorder.recording) {
        PyObject *made = record_function(NULL, &name, 1, NULL);
        if (made == NULL) return NULL;
        flow_point(flow, (span_t *)made);
        Py_DECREF(made);
    }
    return PyLong_FromUnsignedLongLong(flow);
}

static PyObject *flow_on(PyObject *Py_UNUSED(module), PyObject *flow) {
    if (!PyLong_Check(flow)) {
        PyErr_Format(PyExc_TypeError, "a flow is the int that flow_start() returned, not %.100s", Py_TYPE(flow)->tp_name);
        return NULL;
    }
    if (recorder.recording) {
        uint64_t number = PyLong_AsUnsignedLongLong(flow);
        if (PyErr_Occurred()) PyErr_Clear(); /* nobody's: it is drawn to nothing */
        else flow_point(number, NULL);
    }
    Py_RETURN_NONE;
}

/* ---- the module's part ------------------------------------------------------------------------------------ */

static PyMethodDef functions[] = {
    {"counter", (PyCFunction)(void (*)(void))counter, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("counter($module, name, value, unit=None)\n--\n\nThe value that a counter of the process has now.")},
    {"flow_start", flow_start, METH_O,
     PyDoc_STR("flow_start($module, name, /)\n--\n\nBegin a flow at this point; its number, for the points it goes on to.")},
    {"flow_step", flow_on, METH_O, PyDoc_STR("flow_step($module, flow, /)\n--\n\nLead a flow through this point.")},
    {"flow_end", flow_on, METH_O, PyDoc_STR("flow_end($module, flow, /)\n--\n\nLead a flow to this point, its last.")},
    {NULL, NULL, 0, NULL},
};

int points_add(PyObject *module) {
    Py_XSETREF(series_of, imported("stepscope.core.values", "series_of"));
    if (series_of == NULL) return -1;
    Py_XSETREF(mapping_type, imported("collections.abc", "Mapping"));
    if (mapping_type == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
