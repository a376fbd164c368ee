/* Numbers of paths, which grow while more of them come up; the twin of twin/path_numbers.py.

   They are pairs, of what is around a path and its name. All calls keep the GIL, number_all too: nobody else numbers
   paths meanwhile, and what has been checked of its arrays stays so. */

#include "pairs.h"

typedef struct {
    PyObject_HEAD
    pairs_t pairs;
} path_numbers_t;

static pairs_t *pairs_of(PyObject *object) {
    return &((path_numbers_t *)object)->pairs;
}

/* 0, or -1 with an exception set: there is no such path. */
static int check(const pairs_t *pairs, int64_t number) {
    if (number >= 0 && (uint64_t)number < pairs->count)
        return 0;
    PyErr_Format(PyExc_IndexError, "there is no path %lld: there are %zu", (long long)number, pairs->count);
    return -1;
}

/* The two arguments of a call; 0, or -1 with an exception set. */
static int pair_get(const char *call, PyObject *const *args, Py_ssize_t count, pair_t *pair) {
    int overflows[2] = {0};
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes exactly 2 arguments (%zd given)", call, count);
        return -1;
    }
    long long around = PyLong_AsLongLongAndOverflow(args[0], &overflows[0]);
    if (around == -1 && PyErr_Occurred())
        return -1;
    long long name = PyLong_AsLongLongAndOverflow(args[1], &overflows[1]);
    if (name == -1 && PyErr_Occurred())
        return -1;
    if (overflows[0] || overflows[1] || name < 0 || name > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%R around %R: a name has 32 bits, and what is around it 64", args[1],
                     args[0]);
        return -1;
    }
    *pair = (pair_t){around, (uint32_t)name};
    return 0;
}

static PyObject *paths_number(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    pairs_t *pairs = pairs_of(object);
    pair_t pair;
    if (pair_get("number", args, count, &pair) < 0 || (pair.first >= 0 && check(pairs, pair.first) < 0))
        return NULL;
    int64_t number = pair_number(pairs, pair.first, pair.second);
    return number < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(number);
}

static PyObject *paths_find(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    pair_t pair;
    if (pair_get("find", args, count, &pair) < 0)
        return NULL;
    int64_t number = pair_find(pairs_of(object), pair.first, pair.second);
    if (number < 0)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(number);
}

/* The pair of a number that Python hands over; NULL with an exception. */
static const pair_t *pair_of(PyObject *object, PyObject *number) {
    const pairs_t *pairs = pairs_of(object);
    int overflow;
    long long at = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (at == -1 && PyErr_Occurred())
        return NULL;
    if (overflow) {
        PyErr_Format(PyExc_IndexError, "there is no path %R: there are %zu", number, pairs->count);
        return NULL;
    }
    return check(pairs, at) < 0 ? NULL : &pairs->pairs[at];
}

static PyObject *paths_around(PyObject *object, PyObject *number) {
    const pair_t *pair = pair_of(object, number);
    return pair ? PyLong_FromLongLong(pair->first) : NULL;
}

static PyObject *paths_name(PyObject *object, PyObject *number) {
    const pair_t *pair = pair_of(object, number);
    return pair ? PyLong_FromUnsignedLong(pair->second) : NULL;
}

static PyObject *paths_arounds(PyObject *object, PyObject *Py_UNUSED(nothing)) {
    const pairs_t *pairs = pairs_of(object);
    Py_buffer held;
    PyObject *array = array_new_held('q', (Py_ssize_t)pairs->count, &held);
    if (!array)
        return NULL;
    for (size_t number = 0; number < pairs->count; number++)
        ((int64_t *)held.buf)[number] = pairs->pairs[number].first;
    PyBuffer_Release(&held);
    return array;
}

/* What number_all is given, held. */
typedef struct {
    const int64_t *around, *roots;
    const uint32_t *name;
    Py_ssize_t count, root_count;
} given_t;

/* 0, or -1 with an exception set. */
static int check_all(const pairs_t *pairs, const given_t *given) {
    for (Py_ssize_t root = 0; root < given->root_count; root++)
        if (given->roots[root] >= 0 && check(pairs, given->roots[root]) < 0)
            return -1;
    for (Py_ssize_t at = 0; at < given->count; at++) {
        int64_t outer = given->around[at];
        if (unlikely(outer >= at)) {
            PyErr_Format(PyExc_ValueError, "path %zd: around it is %lld, which does not stand before it", at,
                         (long long)outer);
            return -1;
        }
        if (unlikely(-1 - outer >= given->root_count)) {
            PyErr_Format(PyExc_ValueError, "path %zd: its root is %lld: there are %zd", at, (long long)(-1 - outer),
                         given->root_count);
            return -1;
        }
    }
    return 0;
}

/* 0, or -1: no memory. */
static int number_all(pairs_t *pairs, const given_t *given, uint32_t *numbers) {
    for (Py_ssize_t at = 0; at < given->count; at++) {
        int64_t outer = given->around[at];
        int64_t number = pair_number(pairs, outer >= 0 ? numbers[outer] : given->roots[-1 - outer], given->name[at]);
        if (unlikely(number < 0))
            return -1;
        numbers[at] = (uint32_t)number;
    }
    return 0;
}

static PyObject *paths_number_all(PyObject *object, PyObject *args) {
    static const array_is_t AROUND = {"number_all", "around", 'q'}, NAME = {"number_all", "name", 'I'},
                            ROOTS = {"number_all", "roots", 'q'};
    PyObject *arrays[3], *made = NULL;
    Py_buffer around = {0}, name = {0}, roots = {0}, numbers = {0};
    if (!PyArg_ParseTuple(args, "OOO:number_all", &arrays[0], &arrays[1], &arrays[2]) ||
        array_get(arrays[0], AROUND, 0, &around) < 0)
        return NULL;
    if (array_of_length(arrays[1], NAME, around.len / 8, &name) < 0 || array_get(arrays[2], ROOTS, 0, &roots) < 0)
        goto done;
    given_t given = {around.buf, roots.buf, name.buf, around.len / 8, roots.len / 8};
    if (check_all(pairs_of(object), &given) < 0 || !(made = array_new_held('I', given.count, &numbers)))
        goto done;
    if (number_all(pairs_of(object), &given, numbers.buf) < 0) {
        PyErr_NoMemory();
        Py_CLEAR(made);
    }

done:
    PyBuffer_Release(&around);
    PyBuffer_Release(&name);
    PyBuffer_Release(&roots);
    PyBuffer_Release(&numbers);
    return made;
}

static Py_ssize_t paths_length(PyObject *object) {
    return (Py_ssize_t)pairs_of(object)->count;
}

static PyObject *paths_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    return PyArg_ParseTupleAndKeywords(args, kwargs, ":PathNumbers", names) ? type->tp_alloc(type, 0) : NULL;
}

static void paths_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    pairs_free(pairs_of(object));
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(number_doc, "number($self, around, name, /)\n--\n\nThe number of a path, new or known.");
PyDoc_STRVAR(find_doc, "find($self, around, name, /)\n--\n\nThe number of a path, if it is known.");
PyDoc_STRVAR(around_doc, "around($self, number, /)\n--\n\nWhat is around a path: a path or a root.");
PyDoc_STRVAR(name_doc, "name($self, number, /)\n--\n\nThe name of a path.");
PyDoc_STRVAR(arounds_doc, "arounds($self)\n--\n\nWhat is around each path: array 'q'.");
PyDoc_STRVAR(number_all_doc, "number_all($self, around, name, roots, /)\n--\n\n"
                             "The numbers of paths that refer to each other, new or known.");

static PyMethodDef PATHS_METHODS[] = {
    {"number", (PyCFunction)(void (*)(void))paths_number, METH_FASTCALL, number_doc},
    {"find", (PyCFunction)(void (*)(void))paths_find, METH_FASTCALL, find_doc},
    {"around", paths_around, METH_O, around_doc},
    {"name", paths_name, METH_O, name_doc},
    {"arounds", paths_arounds, METH_NOARGS, arounds_doc},
    {"number_all", paths_number_all, METH_VARARGS, number_all_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot SLOTS[] = {
    {Py_tp_doc, "PathNumbers()\n--\n\nPaths by first appearance: each is a name below another path or below a root."},
    {Py_tp_new, paths_new},
    {Py_tp_dealloc, paths_dealloc},
    {Py_tp_methods, PATHS_METHODS},
    {Py_sq_length, paths_length},
    {0, NULL},
};

static PyType_Spec SPEC = {
    .name = "stepscope._native.PathNumbers",
    .basicsize = sizeof(path_numbers_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SLOTS,
};

int path_numbers_add(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &SPEC, NULL);
    int status = type ? PyModule_AddObjectRef(module, "PathNumbers", type) : -1;
    Py_XDECREF(type);
    return status;
}
