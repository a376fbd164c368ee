/* Which rows are events and what each is inside of; the twin of twin/fold.py.

   Two passes over the rows: what is hidden goes to its parent, then an only child of its parent's name does. What a row
   is inside of is kept in one number: at least -1 is the row of the event around an event; less is no event, with the
   event around it at -3 - number. The loops run without the GIL and allocate with PyMem_Raw. */

#include "native.h"

#include <string.h>

static PyObject *folded_type; /* stepscope.core.groups.Folded */

static const array_is_t PARENT = {"nesting", "parent", 'q'}, OWN = {"nesting", "own", 'q'};
static const array_is_t NAMES = {"keys", "name", 'I'}, CATS = {"keys", "cat", 'B'};

enum { CLASS_DEVICE = 2, CLASS_HIDDEN = 4 };

/* 0, or -1 with a ValueError: a row of parent is neither -1 nor one before it; rows of settled columns are. */
static int check_parents(const int64_t *parent, Py_ssize_t rows) {
    Py_ssize_t row = 0;
    while (row < rows && parent[row] >= -1 && parent[row] < row)
        row++;
    if (row == rows)
        return 0;
    PyErr_Format(PyExc_ValueError, "parent[%zd] is %lld: it must be -1 or a row before it", row,
                 (long long)parent[row]);
    return -1;
}

/* The row if it is an event, else the one around it; -1 for none. */
static inline int64_t event_at(const int64_t *above, int64_t row) {
    return row < 0 || above[row] >= -1 ? row : -3 - above[row];
}

/* Find the events and what they are inside of; above is parent and own is nest's to begin with. Needs no GIL. Returns the
   row whose own time does not fit 64 bits, or -1. */
static int64_t fold(const columns_t *columns, const uint32_t *keys, const uint8_t *classes, uint32_t *children,
                 int64_t *above, int64_t *own) {
    for (Py_ssize_t row = 0; row < columns->rows; row++) {
        int64_t around = event_at(above, above[row]);
        uint8_t class = classes[columns->cat[row]];
        if (columns->kind[row] & ROW_INSTANT) {
            above[row] = -3 - around;
        } else if (unlikely(keys[columns->name[row]] == NO_KEY || class & CLASS_HIDDEN)) {
            above[row] = -3 - around;
            if (around >= 0 && __builtin_add_overflow(own[around], own[row], &own[around]))
                return around;
        } else if (unlikely(class & CLASS_DEVICE)) {
            above[row] = -1;
            own[row] = columns->dur[row];
        } else {
            above[row] = around;
            if (around >= 0)
                children[around]++;
        }
    }
    for (Py_ssize_t row = 0; row < columns->rows; row++) {
        if (above[row] == -1)
            continue;
        int is_event = above[row] >= 0;
        int64_t around = is_event ? above[row] : -3 - above[row];
        int64_t event = event_at(above, around);
        if (is_event && children[around] == 1 && keys[columns->name[around]] == keys[columns->name[row]]) {
            if (__builtin_add_overflow(own[event], own[row], &own[event]))
                return event;
            is_event = 0;
        }
        above[row] = is_event ? event : -3 - event;
    }
    return -1;
}

PyDoc_STRVAR(fold_rows_doc, "fold_rows(columns, parent, own, keys)\n--\n\n"
                            "Find the rows that are events, and their parents among those.");

static PyObject *fold_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "parent", "own", "keys", NULL};
    PyObject *tuple, *keys_tuple, *given[5], *made[2] = {NULL, NULL}, *result = NULL;
    Py_buffer parent = {0}, own = {0}, keys = {0}, classes = {0}, above = {0}, self = {0};
    uint32_t *children = NULL;
    int64_t overflow;
    columns_t columns;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO!:fold_rows", names, &tuple, &given[0], &given[1],
                                     &PyTuple_Type, &keys_tuple) ||
        !PyArg_ParseTuple(keys_tuple, "OOO;keys: must be a Keys", &given[2], &given[3], &given[4]) ||
        columns_get(tuple, &columns, 0) < 0)
        return NULL;
    size_t rows = (size_t)columns.rows;
    if (array_of_length(given[0], PARENT, columns.rows, &parent) < 0 ||
        array_of_length(given[1], OWN, columns.rows, &own) < 0 || array_get(given[2], NAMES, 0, &keys) < 0 ||
        array_get(given[3], CATS, 0, &classes) < 0 ||
        columns_ids_below(&columns, columns.name, "name", keys.len / 4) < 0 ||
        columns_ids_below(&columns, columns.cat, "cat", classes.len) < 0 || check_parents(parent.buf, columns.rows) < 0)
        goto done;
    made[0] = array_new_held('q', columns.rows, &above);
    made[1] = made[0] ? array_new_held('q', columns.rows, &self) : NULL;
    if (!made[1])
        goto done;
    children = PyMem_RawCalloc(rows ? rows : 1, sizeof *children);
    if (!children) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    if (rows) {
        memcpy(above.buf, parent.buf, rows * sizeof(int64_t));
        memcpy(self.buf, own.buf, rows * sizeof(int64_t));
    }
    overflow = fold(&columns, keys.buf, classes.buf, children, above.buf, self.buf);
    Py_END_ALLOW_THREADS
    if (overflow >= 0)
        PyErr_Format(PyExc_OverflowError, "row %lld: its own time adds up to more than 64 bits hold", (long long)overflow);
    else
        result = PyObject_CallFunctionObjArgs(folded_type, made[0], made[1], NULL);

done:
    PyMem_RawFree(children);
    PyBuffer_Release(&parent);
    PyBuffer_Release(&own);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&classes);
    PyBuffer_Release(&above);
    PyBuffer_Release(&self);
    Py_XDECREF(made[0]);
    Py_XDECREF(made[1]);
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"fold_rows", (PyCFunction)(void (*)(void))fold_rows, METH_VARARGS | METH_KEYWORDS, fold_rows_doc},
    {NULL, NULL, 0, NULL},
};

int fold_add(PyObject *module) {
    PyObject *type = imported("stepscope.core.groups", "Folded");
    if (!type)
        return -1;
    Py_XSETREF(folded_type, type);
    return PyModule_AddFunctions(module, METHODS);
}
