/* Cells, the times of a path in a step; the twin of twin/cells.py.

   place_ids sorts places by their ids, by counting: starts is where each id's places begin, and one past the last.

       starts   0 | 2 | 2 | 3        places   0 | 2 | 1        of the ids 0 | 2 | 0

   The loops take no longer than making their arrays does, and keep the GIL: what has been checked stays so. */

#include "native.h"

#include <string.h>

static PyObject *suspects_type; /* stepscope.core.trees.Suspects */

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

enum { CALLS, TOTAL, OWN, LONGEST, TIMES };

/* Between what the times of a path's cells are. */
typedef struct {
    uint32_t cells;
    int64_t least[TIMES], most[TIMES];
} extremes_t;

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
    static const char *const NAMES[] = {"path", "calls", "total", "own", "longest"};
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 1 + TIMES) {
        PyErr_Format(PyExc_TypeError, "cells: must be a stepscope.core.trees.CellTimes, not %.100s",
                     Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; cells->held < 1 + TIMES; cells->held++) {
        const array_is_t is = {"cells", NAMES[cells->held], cells->held ? 'q' : 'I'};
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

static void find_extremes(const cell_times_t *cells, extremes_t *of) {
    for (size_t at = 0; at < cells->cells; at++) {
        extremes_t *path = &of[cells->path[at]];
        for (int i = 0; i < TIMES; i++) {
            int64_t time = cells->times[i][at];
            if (!path->cells || time < path->least[i])
                path->least[i] = time;
            if (!path->cells || time > path->most[i])
                path->most[i] = time;
        }
        path->cells++;
    }
}

/* Whether values of two ranges can be so far apart. */
static inline int are_apart(const extremes_t *one, const extremes_t *other, int i, int64_t least) {
    return (__int128)one->most[i] - other->least[i] >= least || (__int128)other->most[i] - one->least[i] >= least;
}

typedef struct {
    int64_t least, min_cells, longest;
} looked_t;

/* Find what is suspect; how many are in each list, and in both. */
static void find_suspects(const extremes_t *base, const extremes_t *head, size_t paths, looked_t looked,
                          uint32_t *lists[2], size_t counts[3]) {
    for (size_t path = 0; path < paths; path++) {
        const extremes_t *one = &base[path], *other = &head[path];
        if (!one->cells || !other->cells)
            continue;
        counts[2]++;
        int even = one->least[CALLS] == one->most[CALLS] && other->least[CALLS] == other->most[CALLS] &&
                   one->least[CALLS] == other->least[CALLS];
        if (!even || are_apart(one, other, TOTAL, looked.least) || are_apart(one, other, OWN, looked.least))
            lists[0][counts[0]++] = (uint32_t)path;
        int64_t longest = one->most[LONGEST] > other->most[LONGEST] ? one->most[LONGEST] : other->most[LONGEST];
        if ((int64_t)one->cells + other->cells >= looked.min_cells && longest >= looked.longest)
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

PyDoc_STRVAR(suspect_paths_doc, "suspect_paths(base, head, paths, looked)\n--\n\n"
                                "Find the paths that may be slower or faster, or have a call out of line.");

static PyObject *suspect_paths(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"base", "head", "paths", "looked", NULL};
    PyObject *tuples[2], *looked_tuple, *result = NULL;
    cell_times_t cells[2] = {{0}, {0}};
    extremes_t *extremes = NULL;
    uint32_t *lists[2] = {NULL, NULL};
    size_t counts[3] = {0};
    looked_t looked;
    Py_ssize_t paths;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOnO!:suspect_paths", names, &tuples[0], &tuples[1], &paths,
                                     &PyTuple_Type, &looked_tuple) ||
        !PyArg_ParseTuple(looked_tuple, "LLL;looked: must be a Looked", &looked.least, &looked.min_cells,
                          &looked.longest))
        return NULL;
    if (paths < 0 || paths > MAX_ID)
        return PyErr_Format(PyExc_ValueError, "paths is %zd: paths count from 0 and end below 2**28", paths);
    size_t room = (size_t)paths + 1;
    if (cell_times_get(tuples[0], paths, &cells[0]) < 0 || cell_times_get(tuples[1], paths, &cells[1]) < 0)
        goto done;
    extremes = PyMem_Calloc(2 * room, sizeof *extremes);
    lists[0] = PyMem_Malloc(room * sizeof *lists[0]);
    lists[1] = PyMem_Malloc(room * sizeof *lists[1]);
    if (!extremes || !lists[0] || !lists[1]) {
        PyErr_NoMemory();
        goto done;
    }
    find_extremes(&cells[0], extremes);
    find_extremes(&cells[1], extremes + room);
    find_suspects(extremes, extremes + room, (size_t)paths, looked, lists, counts);
    result = suspects(lists, counts);

done:
    PyMem_Free(extremes);
    PyMem_Free(lists[0]);
    PyMem_Free(lists[1]);
    cell_times_release(&cells[0]);
    cell_times_release(&cells[1]);
    return result;
}

static PyMethodDef METHODS[] = {
    {"place_ids", (PyCFunction)(void (*)(void))place_ids, METH_VARARGS | METH_KEYWORDS, place_ids_doc},
    {"suspect_paths", (PyCFunction)(void (*)(void))suspect_paths, METH_VARARGS | METH_KEYWORDS, suspect_paths_doc},
    {NULL, NULL, 0, NULL},
};

int cells_add(PyObject *module) {
    Py_XSETREF(suspects_type, imported("stepscope.core.trees", "Suspects"));
    if (!suspects_type)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
