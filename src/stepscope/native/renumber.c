/* Renumbering: strings and tracks by first appearance, so that equal content has equal ids; the twin of twin/settle.py
   renumber_rows.

   Names, categories and sites are ids of one table, read column after column; tracks are ids of another. The columns
   are written in place: they are the caller's no more. The loops here run without the GIL and allocate with
   PyMem_Raw. */

#include "native.h"

#include <string.h>

static PyObject *renumbered_type; /* stepscope.core.rows.Renumbered */

/* Ids by first appearance. */
typedef struct {
    uint32_t *new_id; /* old id -> 1 + new id, 0: not seen yet */
    size_t ids;
    uint32_t *old_id; /* new id -> old id */
    size_t count, room;
} numbering_t;

static void numbering_free(numbering_t *numbering) {
    PyMem_RawFree(numbering->new_id);
    PyMem_RawFree(numbering->old_id);
}

/* Give the next number to an id; 0, or -1: no memory, or an id above MAX_ID. */
static int add_id(numbering_t *numbering, uint32_t old) {
    if (old > MAX_ID)
        return -1;
    if (old >= numbering->ids) {
        size_t ids = numbering->ids ? numbering->ids : 1024;
        while (ids <= old)
            ids *= 2;
        uint32_t *new_id = PyMem_RawCalloc(ids, sizeof *new_id);
        if (!new_id)
            return -1;
        if (numbering->ids)
            memcpy(new_id, numbering->new_id, numbering->ids * sizeof *new_id);
        PyMem_RawFree(numbering->new_id);
        numbering->new_id = new_id;
        numbering->ids = ids;
    }
    if (numbering->count == numbering->room) {
        size_t room = numbering->room ? numbering->room * 2 : 256;
        uint32_t *old_id = PyMem_RawRealloc(numbering->old_id, room * sizeof *old_id);
        if (!old_id)
            return -1;
        numbering->old_id = old_id;
        numbering->room = room;
    }
    numbering->old_id[numbering->count++] = old;
    numbering->new_id[old] = (uint32_t)numbering->count;
    return 0;
}

static int is_new(const numbering_t *numbering, uint32_t old) {
    return old >= numbering->ids || !numbering->new_id[old];
}

/* Number rows in place up to the first whose id is new; that row. What the loop needs is kept in locals: ids may be
   written over anything, as far as a compiler knows. */
static Py_ssize_t number_known(uint32_t *column, Py_ssize_t row, Py_ssize_t rows, const numbering_t *numbering) {
    const uint32_t *new_id = numbering->new_id;
    const size_t ids = numbering->ids;
    for (; row < rows; row++) {
        uint32_t old = column[row], number = old < ids ? new_id[old] : 0;
        if (unlikely(!number))
            break;
        column[row] = number - 1;
    }
    return row;
}

/* Number a column in place. Returns the row at which memory ran out or whose id is above MAX_ID, or -1. */
static Py_ssize_t number_column(uint32_t *column, Py_ssize_t rows, numbering_t *numbering) {
    if (!rows)
        return -1;
    if (is_new(numbering, column[0]) && add_id(numbering, column[0]) < 0)
        return 0;
    /* A column of one value, as categories and sites often are, is told by comparing it with itself, one further. */
    if (!memcmp(column, column + 1, (size_t)(rows - 1) * sizeof *column)) {
        uint32_t only = numbering->new_id[column[0]] - 1;
        for (Py_ssize_t row = 0; column[0] != only && row < rows; row++)
            column[rows - 1 - row] = only;
        return -1;
    }
    for (Py_ssize_t row = 0;; row++) {
        row = number_known(column, row, rows, numbering);
        if (row == rows)
            return -1;
        if (add_id(numbering, column[row]) < 0)
            return row;
        column[row] = numbering->new_id[column[row]] - 1;
    }
}

/* Set the exception for a row at which number_column stopped. */
static void numbering_error(const uint32_t *column, const char *name, Py_ssize_t row) {
    if (column[row] > MAX_ID)
        PyErr_Format(PyExc_ValueError, "row %zd: columns.%s is %u, but ids count from 0 and end below 2**28", row, name,
                     column[row]);
    else
        PyErr_NoMemory();
}

PyDoc_STRVAR(renumber_rows_doc, "renumber_rows(columns)\n--\n\n"
                                "Number strings and tracks by first appearance, so that equal content has equal ids.");

static PyObject *renumber_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", NULL};
    PyObject *tuple, *used = NULL, *tracks = NULL, *result = NULL;
    columns_t columns;
    numbering_t strings_numbering = {0}, tracks_numbering = {0};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:renumber_rows", names, &tuple))
        return NULL;
    if (columns_get(tuple, &columns, 1) < 0)
        return NULL;
    const struct {
        uint32_t *ids;
        const char *name;
        numbering_t *numbering;
    } column[] = {
        {columns.name, "name", &strings_numbering},
        {columns.cat, "cat", &strings_numbering},
        {columns.site, "site", &strings_numbering},
        {columns.track, "track", &tracks_numbering},
    };
    if (add_id(&strings_numbering, 0) < 0) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < sizeof column / sizeof *column; i++) {
        Py_ssize_t failed;
        Py_BEGIN_ALLOW_THREADS
        failed = number_column(column[i].ids, columns.rows, column[i].numbering);
        Py_END_ALLOW_THREADS
        if (failed >= 0) {
            numbering_error(column[i].ids, column[i].name, failed);
            goto done;
        }
    }
    used = array_from_ids(strings_numbering.old_id, strings_numbering.count);
    tracks = used ? array_from_ids(tracks_numbering.old_id, tracks_numbering.count) : NULL;
    if (tracks)
        result = PyObject_CallFunctionObjArgs(renumbered_type, tuple, used, tracks, NULL);

done:
    Py_XDECREF(used);
    Py_XDECREF(tracks);
    numbering_free(&strings_numbering);
    numbering_free(&tracks_numbering);
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"renumber_rows", (PyCFunction)(void (*)(void))renumber_rows, METH_VARARGS | METH_KEYWORDS, renumber_rows_doc},
    {NULL, NULL, 0, NULL},
};

int renumber_add(PyObject *module) {
    Py_XSETREF(renumbered_type, imported("stepscope.core.rows", "Renumbered"));
    if (!renumbered_type)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
