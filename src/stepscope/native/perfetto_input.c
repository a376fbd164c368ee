/* What perfetto_rows is handed, as perfetto.c reads it: sequences, row numbers by track, annotations.

   A sequence's part of its packets is encoded once:

       begin    50 sequence | 68 02 | 5a         of every begin and point
       end      50 sequence | 5a 02 | 48 02      of every end */

#include "perfetto.h"

#include <string.h>

/* ---- sequences ---- */

/* Read a TrackSequence; 0, or -1 with an exception set. */
static int get_sequence(PyObject *tuple, Py_ssize_t track, sequence_t *sequence) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 3 || !PyLong_Check(PyTuple_GET_ITEM(tuple, 0)) ||
        !PyLong_Check(PyTuple_GET_ITEM(tuple, 1)) || !PyBytes_Check(PyTuple_GET_ITEM(tuple, 2))) {
        PyErr_Format(PyExc_TypeError, "sequences[%zd]: must be a TrackSequence of (int, int, bytes), not %R", track,
                     tuple);
        return -1;
    }
    int overflow, start_overflow;
    long long number = PyLong_AsLongLongAndOverflow(PyTuple_GET_ITEM(tuple, 0), &overflow);
    long long start = PyLong_AsLongLongAndOverflow(PyTuple_GET_ITEM(tuple, 1), &start_overflow);
    if (overflow || number < 0 || start_overflow) {
        PyErr_Format(PyExc_ValueError,
                     "sequences[%zd]: number must not be negative, nor number or start_ns past 2**63: %R", track,
                     tuple);
        return -1;
    }
    uint8_t *to = sequence->begin;
    *to++ = 0x50;
    to = put_varint(to, (uint64_t)number);
    size_t length = (size_t)(to - sequence->begin);
    memcpy(sequence->end, sequence->begin, length);
    memcpy(sequence->begin + length, "\x68\x02\x5a", 3);
    memcpy(sequence->end + length, "\x5a\x02\x48\x02", 4);
    sequence->begin_length = length + 3;
    sequence->end_length = length + 4;
    sequence->start_ns = start;
    sequence->preamble = PyBytes_AS_STRING(PyTuple_GET_ITEM(tuple, 2));
    sequence->preamble_length = (size_t)PyBytes_GET_SIZE(PyTuple_GET_ITEM(tuple, 2));
    return 0;
}

int perfetto_get_sequences(perfetto_rows_t *self, PyObject *sequences) {
    self->kept = PySequence_Tuple(sequences);
    if (!self->kept)
        return -1;
    Py_ssize_t tracks = PyTuple_GET_SIZE(self->kept);
    self->sequences = PyMem_Calloc(tracks ? (size_t)tracks : 1, sizeof *self->sequences);
    if (!self->sequences) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t track = 0; track < tracks; track++)
        if (get_sequence(PyTuple_GET_ITEM(self->kept, track), track, &self->sequences[track]) < 0)
            return -1;
    self->tracks = (size_t)tracks;
    return 0;
}

/* ---- rows ---- */

/* Sort the row numbers by track: count, sum up, place; 0, or -1 where a track was changed meanwhile. Needs no GIL. */
static int sort_by_track(perfetto_rows_t *self) {
    const uint32_t *track = self->columns.track;
    size_t rows = (size_t)self->columns.rows, before = 0;
    for (size_t row = 0; row < rows; row++) {
        if (unlikely(track[row] >= self->tracks))
            return -1;
        self->sequences[track[row]].rows_end++;
    }
    for (size_t i = 0; i < self->tracks; i++) {
        size_t count = self->sequences[i].rows_end;
        self->sequences[i].rows_end = before;
        before += count;
    }
    /* Each rows_end now is where its track starts, and moves to its end as the rows are placed. */
    for (size_t row = 0; row < rows; row++) {
        uint32_t of = track[row];
        if (unlikely(of >= self->tracks || self->sequences[of].rows_end >= rows))
            return -1;
        self->rows[self->sequences[of].rows_end++] = (uint32_t)row;
    }
    return 0;
}

int perfetto_get_rows(perfetto_rows_t *self) {
    int status;
    if (columns_ids_below(&self->columns, self->columns.track, "track", (Py_ssize_t)self->tracks) < 0)
        return -1;
    if (self->tracks == 1) {
        self->sequences[0].rows_end = (size_t)self->columns.rows;
        return 0;
    }
    self->rows = PyMem_Calloc(self->columns.rows ? (size_t)self->columns.rows : 1, sizeof *self->rows);
    if (!self->rows) {
        PyErr_NoMemory();
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    status = sort_by_track(self);
    Py_END_ALLOW_THREADS
    if (status < 0)
        PyErr_SetString(PyExc_ValueError, "columns.track was changed while it was read");
    return status;
}

/* ---- annotations ---- */

/* 0, or -1 with an exception set: an object of args is not Annotations of (bytes, tuple). Adds up the names. */
static int check_annotations(const row_objects_t *args, size_t *names, size_t *most) {
    *names = *most = 0;
    for (Py_ssize_t i = 0; i < args->count; i++) {
        PyObject *tuple = args->objects[i];
        if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(tuple, 0)) ||
            !PyTuple_Check(PyTuple_GET_ITEM(tuple, 1))) {
            PyErr_Format(PyExc_TypeError, "args: values must be Annotations of (bytes, tuple), not %R", tuple);
            return -1;
        }
        size_t count = (size_t)PyTuple_GET_SIZE(PyTuple_GET_ITEM(tuple, 1));
        *names += count;
        *most = count > *most ? count : *most;
    }
    return 0;
}

/* Read an annotation name's id; 0, or -1 with an exception set. */
static int get_name(const perfetto_rows_t *self, PyObject *object, uint32_t *id) {
    int overflow = 0;
    long long value = PyLong_Check(object) ? PyLong_AsLongLongAndOverflow(object, &overflow) : -1;
    if (overflow || value < 0 || value >= self->annotation_names.count) {
        PyErr_Format(PyExc_ValueError, "args: %R is no annotation name, there are %zd", object,
                     self->annotation_names.count);
        return -1;
    }
    *id = (uint32_t)value;
    return 0;
}

int perfetto_get_annotations(perfetto_rows_t *self, PyObject *args) {
    size_t names, most, used = 0;
    if (row_objects_get(args, "args", self->columns.rows, &self->args) < 0)
        return -1;
    if (check_annotations(&self->args, &names, &most) < 0)
        return -1;
    self->annotations = PyMem_New(annotations_t, self->args.count);
    self->used = PyMem_New(uint32_t, names);
    self->pending = PyMem_New(size_t, most);
    if (!self->annotations || !self->used || !self->pending) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < self->args.count; i++) {
        PyObject *tuple = self->args.objects[i];
        PyObject *encoded = PyTuple_GET_ITEM(tuple, 0), *ids = PyTuple_GET_ITEM(tuple, 1);
        size_t count = (size_t)PyTuple_GET_SIZE(ids);
        self->annotations[i] =
            (annotations_t){PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded), used, count};
        for (size_t n = 0; n < count; n++)
            if (get_name(self, PyTuple_GET_ITEM(ids, (Py_ssize_t)n), &self->used[used++]) < 0)
                return -1;
    }
    return 0;
}

/* ---- marks ---- */

int perfetto_get_marks(perfetto_rows_t *self) {
    if (!self->args.of && !self->flows.of)
        return 0;
    self->marked = PyMem_Calloc((size_t)self->columns.rows, 1);
    if (!self->marked) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t row = 0; row < self->columns.rows; row++)
        self->marked[row] = (self->args.of && self->args.of[row]) || (self->flows.of && self->flows.of[row]);
    return 0;
}
