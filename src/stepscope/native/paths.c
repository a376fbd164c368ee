/* Times by path and step; the twin of twin/paths.py.

   Paths and cells are pairs that count by first appearance: a path of the path around it and its key, a cell of its
   path and step.

   The loop runs without the GIL and allocates with PyMem_Raw. */

#include "pairs.h"

#include <string.h>

static PyObject *path_times_type; /* stepscope.core.trees.PathTimes */

typedef struct {
    int64_t calls, total, own, longest;
} cell_t;

/* What is read and written. */
typedef struct {
    const int64_t *own, *parent;
    const uint32_t *keys, *groups;
    uint32_t *path, *step;
    pairs_t paths, cells;
    cell_t *times; /* of each cell */
    size_t times_room;
} timing_t;

static void timing_free(timing_t *timing) {
    pairs_free(&timing->paths);
    pairs_free(&timing->cells);
    PyMem_RawFree(timing->times);
}

/* The place for a cell's times; NULL: no memory. */
static cell_t *cell_of(timing_t *timing, uint32_t path, uint32_t step) {
    size_t known = timing->cells.count;
    int64_t number = pair_number(&timing->cells, path, step);
    if (number < 0)
        return NULL;
    if (timing->cells.count > timing->times_room) {
        size_t room = timing->times_room ? timing->times_room * 2 : 256;
        cell_t *times = PyMem_RawRealloc(timing->times, room * sizeof *times);
        if (!times)
            return NULL;
        timing->times = times;
        timing->times_room = room;
    }
    if (timing->cells.count > known)
        timing->times[number] = (cell_t){0};
    return &timing->times[number];
}

/* A sum, at most 2**63 - 1. */
static inline int64_t plus(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

typedef enum { TIMED, NO_MEMORY, NO_PARENT } outcome_t;

/* Go through all rows; *at is the row of any other outcome than TIMED. Needs no GIL. */
static outcome_t time_rows(const columns_t *columns, timing_t *timing, Py_ssize_t *at) {
    for (Py_ssize_t row = 0; row < columns->rows; row++) {
        int64_t above = timing->parent[row], around;
        *at = row;
        if (unlikely(above >= row))
            return NO_PARENT;
        if (above >= 0) {
            timing->step[row] = timing->step[above];
            around = timing->path[above];
        } else {
            around = -1 - (int64_t)timing->groups[columns->track[row]];
        }
        int64_t path = pair_number(&timing->paths, around, timing->keys[columns->name[row]]);
        if (unlikely(path < 0))
            return NO_MEMORY;
        timing->path[row] = (uint32_t)path;
        if (columns->kind[row] & ROW_INSTANT)
            continue;
        cell_t *cell = cell_of(timing, (uint32_t)path, timing->step[row]);
        if (unlikely(!cell))
            return NO_MEMORY;
        int64_t dur = columns->dur[row];
        cell->calls++;
        cell->total = plus(cell->total, dur);
        cell->own = plus(cell->own, timing->own[row]);
        if (dur > cell->longest)
            cell->longest = dur;
    }
    return TIMED;
}

/* The tables as arrays, in the order of PathTimes; 0, or -1 with an exception set. */
static int hand_over(const timing_t *timing, PyObject *made[10]) {
    static const char CODES[] = "qIIIqqqq";
    size_t paths = timing->paths.count, cells = timing->cells.count;
    for (int i = 0; i < 8; i++) {
        size_t length = i < 2 ? paths : cells;
        Py_buffer held;
        made[2 + i] = array_new_held(CODES[i], (Py_ssize_t)length, &held);
        if (!made[2 + i])
            return -1;
        for (size_t at = 0; at < length; at++) {
            const pair_t *pair = &(i < 2 ? timing->paths : timing->cells).pairs[at];
            if (CODES[i] == 'I')
                ((uint32_t *)held.buf)[at] = i == 2 ? (uint32_t)pair->first : pair->second;
            else
                ((int64_t *)held.buf)[at] = i ? (&timing->times[at].calls)[i - 4] : pair->first;
        }
        PyBuffer_Release(&held);
    }
    return 0;
}

PyDoc_STRVAR(time_paths_doc, "time_paths(columns, own, parent, ids)\n--\n\n"
                             "Find each row's path, and add times up by path and step.");

static PyObject *time_paths(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "own", "parent", "ids", NULL};
    static const array_is_t IS[] = {{"time_paths", "own", 'q'}, {"time_paths", "parent", 'q'}, {"ids", "keys", 'I'},
                                    {"ids", "groups", 'I'}, {"ids", "steps", 'I'}};
    PyObject *tuple, *given[2], *ids, *made[10] = {NULL}, *result = NULL;
    Py_buffer buffers[7] = {{0}};
    columns_t columns;
    timing_t timing = {0};
    outcome_t outcome;
    Py_ssize_t at;
    int held = 0;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO:time_paths", names, &tuple, &given[0], &given[1], &ids))
        return NULL;
    if (!PyTuple_Check(ids) || PyTuple_GET_SIZE(ids) != 3)
        return PyErr_Format(PyExc_TypeError, "ids: must be a stepscope.core.trees.PathIds, not %.100s",
                            Py_TYPE(ids)->tp_name);
    if (columns_get(tuple, &columns, 0) < 0)
        return NULL;
    for (; held < 5; held++) {
        int by_row = held != 2 && held != 3;
        PyObject *array = held < 2 ? given[held] : PyTuple_GET_ITEM(ids, held - 2);
        if ((by_row ? array_of_length(array, IS[held], columns.rows, &buffers[held])
                    : array_get(array, IS[held], 0, &buffers[held])) < 0)
            goto done;
    }
    if (columns_ids_below(&columns, columns.name, "name", buffers[2].len / 4) < 0 ||
        columns_ids_below(&columns, columns.track, "track", buffers[3].len / 4) < 0)
        goto done;
    for (; held < 7; held++)
        if (!(made[held - 5] = array_new_held('I', columns.rows, &buffers[held])))
            goto done;
    timing.own = buffers[0].buf;
    timing.parent = buffers[1].buf;
    timing.keys = buffers[2].buf;
    timing.groups = buffers[3].buf;
    timing.path = buffers[5].buf;
    timing.step = buffers[6].buf;
    if (columns.rows)
        memcpy(timing.step, buffers[4].buf, (size_t)columns.rows * sizeof *timing.step);
    Py_BEGIN_ALLOW_THREADS
    outcome = time_rows(&columns, &timing, &at);
    Py_END_ALLOW_THREADS
    if (outcome == NO_PARENT)
        PyErr_Format(PyExc_ValueError, "row %zd: its parent is %lld, which does not stand before it", at,
                     (long long)timing.parent[at]);
    else if (outcome == NO_MEMORY)
        PyErr_NoMemory();
    else if (hand_over(&timing, made) == 0)
        result = PyObject_CallFunctionObjArgs(path_times_type, made[0], made[1], made[2], made[3], made[4], made[5],
                                              made[6], made[7], made[8], made[9], NULL);

done:
    while (held)
        PyBuffer_Release(&buffers[--held]);
    for (int i = 0; i < 10; i++)
        Py_XDECREF(made[i]);
    timing_free(&timing);
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"time_paths", (PyCFunction)(void (*)(void))time_paths, METH_VARARGS | METH_KEYWORDS, time_paths_doc},
    {NULL, NULL, 0, NULL},
};

int paths_add(PyObject *module) {
    Py_XSETREF(path_times_type, imported("stepscope.core.trees", "PathTimes"));
    if (!path_times_type)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
