/* Cells, the times of a path in a step; the twin of twin/cells.py.

   place_ids sorts places by their ids, by counting: starts is where each id's places begin, and one past the last.

       starts   0 | 2 | 2 | 3        places   0 | 2 | 1        of the ids 0 | 2 | 0

   The loops take no longer than making their arrays does, and keep the GIL: what has been checked stays so. */

#include "native.h"

#include <stdlib.h>
#include <string.h>

static PyObject *suspects_type, *medians_type; /* stepscope.core.trees.Suspects, .Medians */

static const array_is_t IDS = {"place_ids", "ids", 'I'};

/* The place of the first id that is not below the limit; count if there is none. */
static size_t first_above(const uint32_t *ids, size_t count, size_t limit) {
    size_t at = 0;
    while (at < count && ids[at] < limit)
        at++;
    return at;
}

/* Set starts and places, which are zero. */
static void place(const uint32_t *ids, size_t count, size_t limit, uint32_t *starts, uint32_t *places) {
    for (size_t at = 0; at < count; at++)
        starts[ids[at] + 1]++;
    for (size_t id = 0; id < limit; id++)
        starts[id + 1] += starts[id];
    for (size_t at = 0; at < count; at++)
        places[starts[ids[at]]++] = (uint32_t)at;
    /* Each start has moved to the next one's. */
    memmove(starts + 1, starts, limit * sizeof *starts);
    starts[0] = 0;
}

static int check_ids(const uint32_t *ids, size_t count, size_t limit, const char *name) {
    size_t wrong = first_above(ids, count, limit);
    if (wrong == count)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s[%zu] is %u: it must be below %zu", name, wrong, ids[wrong], limit);
    return -1;
}

static int check_paths(Py_ssize_t paths) {
    if (paths >= 0 && paths <= MAX_ID)
        return 0;
    PyErr_Format(PyExc_ValueError, "paths is %zd: paths count from 0 and end below 2**28", paths);
    return -1;
}

PyDoc_STRVAR(place_ids_doc, "place_ids(ids, count)\n--\n\nWhere each id is among some.");

static PyObject *place_ids(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ids", "count", NULL};
    PyObject *array, *made[2] = {NULL, NULL}, *result = NULL;
    Py_buffer ids, starts = {0}, places = {0};
    Py_ssize_t limit;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "On:place_ids", names, &array, &limit))
        return NULL;
    if (limit < 0 || limit > MAX_ID)
        return PyErr_Format(PyExc_ValueError, "count is %zd: ids count from 0 and end below 2**28", limit);
    if (array_get(array, IDS, 0, &ids) < 0)
        return NULL;
    size_t count = (size_t)ids.len / 4;
    if (check_ids(ids.buf, count, (size_t)limit, "ids") < 0 || !(made[0] = array_new_held('I', limit + 1, &starts)) ||
        !(made[1] = array_new_held('I', (Py_ssize_t)count, &places)))
        goto done;
    place(ids.buf, count, (size_t)limit, starts.buf, places.buf);
    result = PyTuple_Pack(2, made[0], made[1]);

done:
    PyBuffer_Release(&starts);
    PyBuffer_Release(&places);
    PyBuffer_Release(&ids);
    Py_XDECREF(made[0]);
    Py_XDECREF(made[1]);
    return result;
}

enum { CALLS, TOTAL, OWN, LONGEST, TIMES, MEDIANS = LONGEST };

static const char *const TIME_NAMES[] = {"calls", "total", "own", "longest"};

/* The columns of a CellTimes, held. */
typedef struct {
    size_t cells;
    const uint32_t *path;
    const int64_t *times[TIMES];
    Py_buffer buffers[1 + TIMES];
    int held;
} cell_times_t;

static void cell_times_release(cell_times_t *cells) {
    while (cells->held)
        PyBuffer_Release(&cells->buffers[--cells->held]);
}

/* Hold a CellTimes; 0, or -1 with an exception set. */
static int cell_times_get(PyObject *tuple, Py_ssize_t paths, cell_times_t *cells) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 1 + TIMES) {
        PyErr_Format(PyExc_TypeError, "cells: must be a stepscope.core.trees.CellTimes, not %.100s",
                     Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; cells->held < 1 + TIMES; cells->held++) {
        const array_is_t is = {"cells", cells->held ? TIME_NAMES[cells->held - 1] : "path", cells->held ? 'q' : 'I'};
        PyObject *array = PyTuple_GET_ITEM(tuple, cells->held);
        Py_buffer *buffer = &cells->buffers[cells->held];
        if ((cells->held ? array_of_length(array, is, (Py_ssize_t)cells->cells, buffer)
                         : array_get(array, is, 0, buffer)) < 0)
            return -1;
        if (cells->held)
            cells->times[cells->held - 1] = buffer->buf;
        else
            cells->cells = (size_t)buffer->len / 4;
    }
    cells->path = cells->buffers[0].buf;
    return check_ids(cells->path, cells->cells, (size_t)paths, "cells.path");
}

/* What is looked at of one side: the longest call of each path, and how many cells it has; its medians. */
typedef struct {
    int64_t *longest;
    uint32_t *cells;
    const double *usual[MEDIANS];
    Py_buffer buffers[MEDIANS];
    int held;
} side_t;

static void side_release(side_t *side) {
    PyMem_Free(side->longest);
    PyMem_Free(side->cells);
    while (side->held)
        PyBuffer_Release(&side->buffers[--side->held]);
}

/* Hold a Medians and make room for the rest; 0, or -1 with an exception set. */
static int side_get(PyObject *tuple, Py_ssize_t paths, side_t *side) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != MEDIANS) {
        PyErr_Format(PyExc_TypeError, "usual: must be a stepscope.core.trees.Medians, not %.100s",
                     Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; side->held < MEDIANS; side->held++) {
        const array_is_t is = {"usual", TIME_NAMES[side->held], 'd'};
        if (array_of_length(PyTuple_GET_ITEM(tuple, side->held), is, paths, &side->buffers[side->held]) < 0)
            return -1;
        side->usual[side->held] = side->buffers[side->held].buf;
    }
    side->longest = PyMem_Calloc((size_t)paths + 1, sizeof *side->longest);
    side->cells = PyMem_Calloc((size_t)paths + 1, sizeof *side->cells);
    if (side->longest && side->cells)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static void find_longest(const cell_times_t *cells, side_t *side) {
    for (size_t at = 0; at < cells->cells; at++) {
        uint32_t path = cells->path[at];
        if (!side->cells[path]++ || cells->times[LONGEST][at] > side->longest[path])
            side->longest[path] = cells->times[LONGEST][at];
    }
}

typedef struct {
    double least, ratio;
    int64_t min_cells, longest;
} looked_t;

/* Whether medians are so far apart that it counts. */
static inline int are_apart(double base, double head, looked_t looked) {
    double one = base > 1.0 ? base : 1.0, other = head > 1.0 ? head : 1.0;
    double ratio = other / one, shift = head > base ? head - base : base - head;
    return (ratio > 1 / ratio ? ratio : 1 / ratio) >= looked.ratio && shift >= looked.least;
}

/* Find what is suspect; how many are in each list, and in both. */
static void find_suspects(const side_t *base, const side_t *head, size_t paths, looked_t looked, uint32_t *lists[2],
                          size_t counts[3]) {
    for (size_t path = 0; path < paths; path++) {
        if (!base->cells[path] || !head->cells[path])
            continue;
        counts[2]++;
        if (base->usual[CALLS][path] != head->usual[CALLS][path] ||
            are_apart(base->usual[OWN][path], head->usual[OWN][path], looked) ||
            are_apart(base->usual[TOTAL][path], head->usual[TOTAL][path], looked))
            lists[0][counts[0]++] = (uint32_t)path;
        int64_t longest = base->longest[path] > head->longest[path] ? base->longest[path] : head->longest[path];
        if ((int64_t)base->cells[path] + head->cells[path] >= looked.min_cells && longest >= looked.longest)
            lists[1][counts[1]++] = (uint32_t)path;
    }
}

/* The lists as a Suspects; NULL with an exception. */
static PyObject *suspects(uint32_t *lists[2], const size_t counts[3]) {
    PyObject *timed = array_from_ids(lists[0], counts[0]);
    PyObject *outlying = timed ? array_from_ids(lists[1], counts[1]) : NULL;
    PyObject *both = outlying ? PyLong_FromSize_t(counts[2]) : NULL;
    PyObject *made = both ? PyObject_CallFunctionObjArgs(suspects_type, both, timed, outlying, NULL) : NULL;
    Py_XDECREF(timed);
    Py_XDECREF(outlying);
    Py_XDECREF(both);
    return made;
}

PyDoc_STRVAR(suspect_paths_doc, "suspect_paths(sides, usual, paths, looked)\n--\n\n"
                                "Find the paths that may be slower or faster, or have a call out of line.");

static PyObject *suspect_paths(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"sides", "usual", "paths", "looked", NULL};
    PyObject *tuples[2], *usual[2], *looked_tuple, *result = NULL;
    cell_times_t cells[2] = {{0}, {0}};
    side_t sides[2] = {{0}, {0}};
    uint32_t *lists[2] = {NULL, NULL};
    size_t counts[3] = {0};
    looked_t looked;
    Py_ssize_t paths;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "(OO)(OO)nO!:suspect_paths", names, &tuples[0], &tuples[1],
                                     &usual[0], &usual[1], &paths, &PyTuple_Type, &looked_tuple) ||
        !PyArg_ParseTuple(looked_tuple, "ddLL;looked: must be a Looked", &looked.least, &looked.ratio,
                          &looked.min_cells, &looked.longest))
        return NULL;
    if (check_paths(paths) < 0)
        return NULL;
    for (int side = 0; side < 2; side++)
        if (cell_times_get(tuples[side], paths, &cells[side]) < 0 || side_get(usual[side], paths, &sides[side]) < 0)
            goto done;
    lists[0] = PyMem_Malloc(((size_t)paths + 1) * sizeof *lists[0]);
    lists[1] = PyMem_Malloc(((size_t)paths + 1) * sizeof *lists[1]);
    if (!lists[0] || !lists[1]) {
        PyErr_NoMemory();
        goto done;
    }
    find_longest(&cells[0], &sides[0]);
    find_longest(&cells[1], &sides[1]);
    find_suspects(&sides[0], &sides[1], (size_t)paths, looked, lists, counts);
    result = suspects(lists, counts);

done:
    PyMem_Free(lists[0]);
    PyMem_Free(lists[1]);
    for (int side = 0; side < 2; side++) {
        cell_times_release(&cells[side]);
        side_release(&sides[side]);
    }
    return result;
}

static int by_value(const void *left, const void *right) {
    int64_t one = *(const int64_t *)left, other = *(const int64_t *)right;
    return (one > other) - (one < other);
}

/* The middle one of some values, which are put in order; the mean of both if there are two. */
static double middle(int64_t *values, size_t count) {
    if (count > 2)
        qsort(values, count, sizeof *values, by_value);
    int64_t upper = values[count / 2];
    return count % 2 ? (double)upper : (double)((__int128)values[count / 2 - 1] + upper) / 2;
}

/* Set the medians of each path that has cells, whose places are from starts on; values has room for those of any. */
static void find_medians(const cell_times_t *cells, size_t paths, const uint32_t *starts, const uint32_t *places,
                         int64_t *values, double *medians[MEDIANS]) {
    for (size_t path = 0; path < paths; path++) {
        size_t count = starts[path + 1] - starts[path];
        for (int i = CALLS; count && i < MEDIANS; i++) {
            for (size_t at = 0; at < count; at++)
                values[at] = cells->times[i][places[starts[path] + at]];
            medians[i][path] = middle(values, count);
        }
    }
}

PyDoc_STRVAR(median_times_doc, "median_times(cells, paths)\n--\n\nWhat each path usually takes in a step.");

static PyObject *median_times(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"cells", "paths", NULL};
    PyObject *tuple, *made[MEDIANS] = {NULL, NULL, NULL}, *result = NULL;
    Py_buffer held[MEDIANS] = {{0}};
    cell_times_t cells = {0};
    uint32_t *starts = NULL, *places = NULL;
    int64_t *values = NULL;
    Py_ssize_t paths;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "On:median_times", names, &tuple, &paths) || check_paths(paths) < 0)
        return NULL;
    if (cell_times_get(tuple, paths, &cells) < 0)
        goto done;
    for (int i = CALLS; i < MEDIANS; i++)
        if (!(made[i] = array_new_held('d', paths, &held[i])))
            goto done;
    starts = PyMem_Calloc((size_t)paths + 1, sizeof *starts);
    places = PyMem_Malloc((cells.cells + 1) * sizeof *places);
    values = PyMem_Malloc((cells.cells + 1) * sizeof *values);
    if (!starts || !places || !values) {
        PyErr_NoMemory();
        goto done;
    }
    place(cells.path, cells.cells, (size_t)paths, starts, places);
    double *medians[MEDIANS] = {held[CALLS].buf, held[TOTAL].buf, held[OWN].buf};
    find_medians(&cells, (size_t)paths, starts, places, values, medians);
    result = PyObject_CallFunctionObjArgs(medians_type, made[CALLS], made[TOTAL], made[OWN], NULL);

done:
    PyMem_Free(starts);
    PyMem_Free(places);
    PyMem_Free(values);
    cell_times_release(&cells);
    for (int i = CALLS; i < MEDIANS; i++) {
        PyBuffer_Release(&held[i]);
        Py_XDECREF(made[i]);
    }
    return result;
}

static PyMethodDef METHODS[] = {
    {"place_ids", (PyCFunction)(void (*)(void))place_ids, METH_VARARGS | METH_KEYWORDS, place_ids_doc},
    {"median_times", (PyCFunction)(void (*)(void))median_times, METH_VARARGS | METH_KEYWORDS, median_times_doc},
    {"suspect_paths", (PyCFunction)(void (*)(void))suspect_paths, METH_VARARGS | METH_KEYWORDS, suspect_paths_doc},
    {NULL, NULL, 0, NULL},
};

int cells_add(PyObject *module) {
    Py_XSETREF(suspects_type, imported("stepscope.core.trees", "Suspects"));
    Py_XSETREF(medians_type, imported("stepscope.core.trees", "Medians"));
    if (!suspects_type || !medians_type)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
