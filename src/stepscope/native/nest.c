/* The containment rule: which slice is inside which; the twin of twin/nest.py.

   One pass over the rows. Each track has a stack of the slices open on it, innermost last:

       start | dur | row          its depth is the depth of the next row

   A slice's end is never computed: where start + dur is past 2**63, the time since its start still fits, because
   rows stand in order of ts. The loops here run without the GIL and allocate with PyMem_Raw. */

#include "native.h"

#include <string.h>

int open_slices_grow(open_slices_t *open) {
    size_t room = open->room ? open->room * 2 : 32;
    open_slice_t *slices = PyMem_RawRealloc(open->slices, room * sizeof *slices);
    if (!slices)
        return -1;
    open->slices = slices;
    open->room = room;
    return 0;
}

/* Make the tables reach a track that has not been seen; 0, or -1: no memory, or an id above MAX_ID. */
static int add_track(open_tracks_t *open, uint32_t track) {
    if (track > MAX_ID)
        return -1;
    if (track >= open->places) {
        size_t places = open->places ? open->places : 64;
        while (places <= track)
            places *= 2;
        uint32_t *place = PyMem_RawCalloc(places, sizeof *place);
        if (!place)
            return -1;
        if (open->places)
            memcpy(place, open->place, open->places * sizeof *place);
        PyMem_RawFree(open->place);
        open->place = place;
        open->places = places;
    }
    if (open->count == open->room) {
        size_t room = open->room ? open->room * 2 : 16;
        open_slices_t *tracks = PyMem_RawRealloc(open->tracks, room * sizeof *tracks);
        if (!tracks)
            return -1;
        open->tracks = tracks;
        open->room = room;
    }
    open->tracks[open->count++] = (open_slices_t){NULL, 0, 0};
    open->place[track] = (uint32_t)open->count;
    return 0;
}

Py_ssize_t open_tracks_place(open_tracks_t *open, uint32_t track) {
    if ((track >= open->places || !open->place[track]) && add_track(open, track) < 0)
        return -1;
    return (Py_ssize_t)open->place[track] - 1;
}

void open_tracks_free(open_tracks_t *open) {
    while (open->count)
        PyMem_RawFree(open->tracks[--open->count].slices);
    PyMem_RawFree(open->tracks);
    PyMem_RawFree(open->place);
    *open = (open_tracks_t){0};
}

void open_tracks_error(const columns_t *columns, Py_ssize_t row) {
    uint32_t track = columns->track[row];
    if (track > MAX_ID)
        PyErr_Format(PyExc_ValueError, "row %zd: columns.track is %u, but ids count from 0 and end below 2**28", row,
                     track);
    else
        PyErr_NoMemory();
}

typedef enum { NESTED, NO_TRACK, BACKWARDS, NEGATIVE } outcome_t;

/* Find each row's parent and own time; at tells the row of any other outcome than NESTED. Needs no GIL. */
static outcome_t nest(const columns_t *columns, int64_t *parent, int64_t *own, Py_ssize_t *at) {
    outcome_t outcome = NESTED;
    open_tracks_t all = {0};
    open_slices_t *open = NULL;
    uint32_t open_track = 0;
    int64_t before = INT64_MIN;
    Py_ssize_t row;
    for (row = 0; row < columns->rows; row++) {
        int64_t start = columns->ts[row], dur = columns->dur[row];
        uint32_t track = columns->track[row];
        if (unlikely(dur < 0)) {
            outcome = NEGATIVE;
            break;
        }
        if (unlikely(start < before)) {
            outcome = BACKWARDS;
            break;
        }
        before = start;
        if (unlikely(!open || track != open_track)) {
            Py_ssize_t place = open_tracks_place(&all, track);
            if (place < 0) {
                outcome = NO_TRACK;
                break;
            }
            open = &all.tracks[place];
            open_track = track;
        }
        still_open(open, start, dur);
        own[row] = dur;
        parent[row] = -1;
        if (open->depth) {
            Py_ssize_t above = open->slices[open->depth - 1].row;
            parent[row] = above;
            own[above] = (int64_t)((uint64_t)own[above] - (uint64_t)dur);
        }
        if (!(columns->kind[row] & ROW_INSTANT) && open_slices_push(open, start, dur, row) < 0) {
            outcome = NO_TRACK;
            break;
        }
    }
    *at = row;
    open_tracks_free(&all);
    return outcome;
}

static void set_error(const columns_t *columns, outcome_t outcome, Py_ssize_t row) {
    switch (outcome) {
    case NEGATIVE:
        PyErr_Format(PyExc_ValueError, "row %zd: columns.dur is negative", row);
        break;
    case BACKWARDS:
        PyErr_Format(PyExc_ValueError, "row %zd begins before row %zd: rows must be settled", row, row - 1);
        break;
    case NO_TRACK:
        open_tracks_error(columns, row);
        break;
    case NESTED:
        break;
    }
}

PyDoc_STRVAR(nest_rows_doc, "nest_rows(columns)\n--\n\n"
                            "Find each row's parent and own time; columns are settled.");

static PyObject *nest_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", NULL};
    PyObject *tuple, *parent = NULL, *own = NULL, *result = NULL;
    Py_buffer parents = {0}, owns = {0};
    columns_t columns;
    outcome_t outcome;
    Py_ssize_t row;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:nest_rows", names, &tuple) || columns_get(tuple, &columns, 0) < 0)
        return NULL;
    parent = array_new_held('q', columns.rows, &parents);
    own = parent ? array_new_held('q', columns.rows, &owns) : NULL;
    if (!own)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    outcome = nest(&columns, parents.buf, owns.buf, &row);
    Py_END_ALLOW_THREADS
    if (outcome == NESTED)
        result = PyTuple_Pack(2, parent, own);
    else
        set_error(&columns, outcome, row);

done:
    PyBuffer_Release(&parents);
    PyBuffer_Release(&owns);
    Py_XDECREF(parent);
    Py_XDECREF(own);
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"nest_rows", (PyCFunction)(void (*)(void))nest_rows, METH_VARARGS | METH_KEYWORDS, nest_rows_doc},
    {NULL, NULL, 0, NULL},
};

int nest_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
