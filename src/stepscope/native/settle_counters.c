/* Counter values in their final order: by time, then by track, then as they were counted; the twin of
   twin/settle_counters.py.

   Values come track after track, or thread after thread, each nearly in order of time. They are sorted as entries of
   order.c, by ts; then each group of equal ts by the rank of its track. The loops here run without the GIL and allocate
   with PyMem_Raw. */

#include "native.h"

#include <math.h>
#include <string.h>

static PyObject *settled_type; /* stepscope.core.rows.SettledCounters */

/* What sorting leaves. */
typedef struct {
    entry_t *block, *sorted; /* room for all values twice; of those that are kept, the numbers in order */
    uint32_t *lost;          /* the numbers of the others */
    size_t kept, lost_count;
} sorting_t;

/* Note which values are finite, each with its time; 0, or -1 when there is no memory. */
static int pick_finite(const counters_t *counters, sorting_t *sorting) {
    size_t values = (size_t)counters->values, room = 0;
    sorting->block = PyMem_RawMalloc((2 * values + 1) * sizeof *sorting->block);
    if (!sorting->block)
        return -1;
    for (size_t at = 0; at < values; at++) {
        if (likely(isfinite(counters->value[at]))) {
            sorting->block[sorting->kept++] = (entry_t){(uint64_t)counters->ts[at] ^ (uint64_t)1 << 63, (uint32_t)at};
            continue;
        }
        if (sorting->lost_count == room) {
            room = room ? 2 * room : 64;
            uint32_t *lost = PyMem_RawRealloc(sorting->lost, room * sizeof *lost);
            if (!lost)
                return -1;
            sorting->lost = lost;
        }
        sorting->lost[sorting->lost_count++] = (uint32_t)at;
    }
    return 0;
}

/* Sort each group of equal times by the rank of its tracks; 0, or -1 where a track was changed meanwhile. */
static int sort_ties(const counters_t *counters, const uint32_t *ranks, size_t tracks, sorting_t *sorting) {
    entry_t *entries = sorting->sorted;
    entry_t *spare = entries == sorting->block ? entries + sorting->kept : sorting->block;
    for (size_t first = 0, end; first < sorting->kept; first = end) {
        for (end = first + 1; end < sorting->kept && entries[end].key == entries[first].key; end++)
            ;
        if (end - first == 1)
            continue;
        for (size_t at = first; at < end; at++) {
            uint32_t track = counters->track[entries[at].row];
            if (track >= tracks)
                return -1;
            entries[at].key = ranks[track];
        }
        const entry_t *sorted = sort_entries(entries + first, spare, end - first);
        if (sorted != entries + first)
            memcpy(entries + first, sorted, (end - first) * sizeof *sorted);
    }
    return 0;
}

/* Columns of the values that are kept, in their order; NULL with an exception. */
static PyObject *columns_of(const counters_t *counters, const sorting_t *sorting) {
    Py_ssize_t kept = (Py_ssize_t)sorting->kept;
    Py_buffer ts, value, track;
    PyObject *result = NULL;
    PyObject *arrays[3] = {array_new_held('q', kept, &ts)};
    if (arrays[0] && (arrays[1] = array_new_held('d', kept, &value)))
        arrays[2] = array_new_held('I', kept, &track);
    if (arrays[2]) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t at = 0; at < kept; at++) {
            uint32_t from = sorting->sorted[at].row;
            ((int64_t *)ts.buf)[at] = counters->ts[from];
            ((double *)value.buf)[at] = counters->value[from];
            ((uint32_t *)track.buf)[at] = counters->track[from];
        }
        Py_END_ALLOW_THREADS
        result = PyObject_CallFunctionObjArgs((PyObject *)counters_type, arrays[0], arrays[1], arrays[2], NULL);
        PyBuffer_Release(&track);
    }
    if (arrays[1])
        PyBuffer_Release(&value);
    if (arrays[0])
        PyBuffer_Release(&ts);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(arrays[i]);
    return result;
}

/* The SettledCounters; NULL with an exception. */
static PyObject *settled_of(const counters_t *counters, const sorting_t *sorting) {
    PyObject *columns = columns_of(counters, sorting), *result = NULL;
    PyObject *lost = columns ? array_from_ids(sorting->lost, sorting->lost_count) : NULL;
    if (lost)
        result = PyObject_CallFunctionObjArgs(settled_type, columns, lost, NULL);
    Py_XDECREF(columns);
    Py_XDECREF(lost);
    return result;
}

/* 0, or -1 with an exception set: a value is of no track. */
static int check_tracks(const counters_t *counters, Py_ssize_t tracks) {
    Py_ssize_t at = 0;
    while (at < counters->values && counters->track[at] < (size_t)tracks)
        at++;
    if (at == counters->values)
        return 0;
    PyErr_Format(PyExc_ValueError, "value %zd is of track %u, but there are %zd ranks", at, counters->track[at], tracks);
    return -1;
}

PyDoc_STRVAR(settle_counters_doc, "settle_counters(counters, ranks)\n--\n\n"
                                  "Sort values by time, then by track, and leave out what is not finite.");

static PyObject *settle_counters(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"counters", "ranks", NULL};
    PyObject *tuple, *ranks, *result = NULL;
    counters_t counters;
    Py_buffer held;
    sorting_t sorting = {0};
    int status;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:settle_counters", names, &tuple, &ranks) ||
        counters_get(tuple, &counters) < 0)
        return NULL;
    if (array_get(ranks, (array_is_t){"counters", "ranks", 'I'}, 0, &held) < 0)
        goto counters_held;
    if (check_tracks(&counters, held.len / 4) < 0)
        goto ranks_held;
    Py_BEGIN_ALLOW_THREADS
    status = pick_finite(&counters, &sorting);
    if (status == 0) {
        sorting.sorted = sort_entries(sorting.block, sorting.block + sorting.kept, sorting.kept);
        status = sort_ties(&counters, held.buf, (size_t)held.len / 4, &sorting) < 0 ? -2 : 0;
    }
    Py_END_ALLOW_THREADS
    if (status == 0)
        result = settled_of(&counters, &sorting);
    else if (status == -1)
        PyErr_NoMemory();
    else
        PyErr_SetString(PyExc_ValueError, "counters.track was changed while it was read");
    PyMem_RawFree(sorting.block);
    PyMem_RawFree(sorting.lost);

ranks_held:
    PyBuffer_Release(&held);
counters_held:
    counters_release(&counters);
    return result;
}

static PyMethodDef METHODS[] = {
    {"settle_counters", (PyCFunction)(void (*)(void))settle_counters, METH_VARARGS | METH_KEYWORDS,
     settle_counters_doc},
    {NULL, NULL, 0, NULL},
};

int settle_counters_add(PyObject *module) {
    Py_XSETREF(settled_type, imported("stepscope.core.rows", "SettledCounters"));
    return settled_type ? PyModule_AddFunctions(module, METHODS) : -1;
}
