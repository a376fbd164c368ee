/* Settling: rows in their final order, on tracks where they nest; the twin of twin/settle.py settle_rows.

   order.c sorts. The columns are permuted in place: they are the caller's no more. The loops here run without the GIL
   and allocate with PyMem_Raw. */

#include "native.h"

/* The trace processor's limit: deeper slices are dropped there, and counted as errors. */
enum { MAX_DEPTH = 512 };
/* Rows that far ahead are asked for: one KiB of a column. */
enum { AHEAD = 128 };

static PyObject *settled_type, *lane_type; /* stepscope.core.rows */
static PyObject *reasons[2];               /* by reason_t */

typedef enum { OVERLAP, DEPTH } reason_t;

/* ---- order ---- */

/* The first row of a negative dur, or -1. */
static Py_ssize_t first_negative(const columns_t *columns) {
    enum { BLOCK = 256 };
    const int64_t *dur = columns->dur;
    int64_t any = 0;
    Py_ssize_t row = 0;
    for (; columns->rows - row >= BLOCK; row += BLOCK)
        for (Py_ssize_t i = 0; i < BLOCK; i++)
            any |= dur[row + i];
    for (; row < columns->rows; row++)
        any |= dur[row];
    if (any >= 0)
        return -1;
    for (row = 0; row < columns->rows - 1 && dur[row] >= 0; row++)
        ;
    return row;
}

/* Whether a row need not go before the one before it, which starts no earlier and lasted before_ns before it was
   clamped. */
static int is_in_order(const columns_t *columns, Py_ssize_t row, int64_t before_ns) {
    const int64_t *ts = columns->ts, dur = columns->dur[row];
    if (ts[row - 1] > ts[row] || before_ns < dur)
        return 0;
    return before_ns > dur || (columns->kind[row - 1] & ROW_INSTANT) <= (columns->kind[row] & ROW_INSTANT);
}

/* ---- lanes ---- */

/* A slice that cannot stay on its track: why, and the lane's number from 1. */
typedef struct {
    uint32_t row, number;
    reason_t reason;
} moved_t;

/* A row that was clamped, and the dur it had. */
typedef struct {
    uint32_t row;
    int64_t dur;
} clamped_t;

/* What laying out the rows leaves. */
typedef struct {
    moved_t *moved;
    size_t count, room;
    lanes_t *of_track; /* by place */
    size_t tracks;
    clamped_t *clamped;
    size_t clamped_count, clamped_room;
    int at_once; /* whether any two rows begin at the same time */
    size_t cut;  /* how many slices are */
} layout_t;

static void layout_free(layout_t *layout) {
    while (layout->tracks)
        PyMem_RawFree(layout->of_track[--layout->tracks].until);
    PyMem_RawFree(layout->of_track);
    PyMem_RawFree(layout->moved);
    PyMem_RawFree(layout->clamped);
    *layout = (layout_t){0};
}

static int add_moved(layout_t *layout, Py_ssize_t row, reason_t reason, size_t number) {
    if (layout->count == layout->room) {
        size_t room = layout->room ? layout->room * 2 : 64;
        moved_t *moved = PyMem_RawRealloc(layout->moved, room * sizeof *moved);
        if (!moved)
            return -1;
        layout->moved = moved;
        layout->room = room;
    }
    layout->moved[layout->count++] = (moved_t){(uint32_t)row, (uint32_t)number, reason};
    return 0;
}

/* How long a slice may last, and what more of it is rounding. */
typedef struct {
    uint64_t left, tick;
} limits_t;

/* Let a row last no longer than dur; 0, or -1 when there is no memory. */
static int clamp(layout_t *layout, columns_t *columns, Py_ssize_t row, int64_t dur) {
    if (layout->clamped_count == layout->clamped_room) {
        size_t room = layout->clamped_room ? layout->clamped_room * 2 : 64;
        clamped_t *clamped = PyMem_RawRealloc(layout->clamped, room * sizeof *clamped);
        if (!clamped)
            return -1;
        layout->clamped = clamped;
        layout->clamped_room = room;
    }
    layout->clamped[layout->clamped_count++] = (clamped_t){(uint32_t)row, columns->dur[row]};
    columns->dur[row] = dur;
    return 0;
}

/* Forget what was laid out: the rows last as long as they did. */
static void undo(layout_t *layout, columns_t *columns, open_tracks_t *open) {
    while (layout->clamped_count) {
        const clamped_t *clamped = &layout->clamped[--layout->clamped_count];
        columns->dur[clamped->row] = clamped->dur;
    }
    layout_free(layout);
    open_tracks_free(open);
}

/* The lanes of the track at a place, or NULL when there is no memory. */
static lanes_t *lanes_at(layout_t *layout, size_t place) {
    if (place >= layout->tracks) {
        lanes_t *tracks = PyMem_RawRealloc(layout->of_track, (place + 1) * 2 * sizeof *tracks);
        if (!tracks)
            return NULL;
        layout->of_track = tracks;
        for (; layout->tracks < (place + 1) * 2; layout->tracks++)
            tracks[layout->tracks] = (lanes_t){NULL, 0, 0};
    }
    return &layout->of_track[place];
}

/* Move a slice that overlaps to a lane of its track; 0, or -1 when there is no memory. */
static int move_overlap(layout_t *layout, size_t place, open_slice_t slice) {
    lanes_t *lanes = lanes_at(layout, place);
    size_t number = lanes ? free_lane(lanes, slice) : 0;
    return number ? add_moved(layout, slice.row, OVERLAP, number) : -1;
}

/* Settle a slice that goes on for longer than what is left of the one it begins in: clamp it if that is rounding, else
   find a lane for it. 1: it has moved; 0: it ends with the other; -1: there is no memory. */
static __attribute__((noinline)) int settle_overrun(layout_t *layout, columns_t *columns, size_t place,
                                                    open_slice_t slice, limits_t limits) {
    if ((uint64_t)slice.dur - limits.left > limits.tick)
        return move_overlap(layout, place, slice) < 0 ? -1 : 1;
    return clamp(layout, columns, slice.row, (int64_t)limits.left);
}

typedef enum { LAID_OUT, UNORDERED, FAILED } laid_out_t;

/* Clamp what overruns by rounding, and find a lane for what does not nest, as long as rows are in order and none lasts
   less than nothing. Stops at *stopped: a row that is out of order; or at which memory ran out, or whose track is not an
   id. The open slices of the track at hand are kept in locals: they are what one row waits for of the one before. */
static laid_out_t lay_out(columns_t *columns, uint64_t tick, layout_t *layout, open_tracks_t *all, Py_ssize_t *stopped) {
    const columns_t of = *columns;
    open_slices_t *open = NULL;
    open_slice_t *slices = NULL;
    size_t depth = 0, room = 0, place = 0, cut = 0;
    uint32_t open_track = 0;
    int64_t before = INT64_MIN, before_ns = 0;
    Py_ssize_t row;
    for (row = 0; row < of.rows; row++) {
        __builtin_prefetch(of.ts + row + AHEAD); /* a processor does not look beyond a page by itself */
        __builtin_prefetch(of.dur + row + AHEAD);
        open_slice_t slice = {of.ts[row], of.dur[row], row};
        uint32_t track = of.track[row];
        if (unlikely((slice.dur < 0) | (slice.start <= before)) && (row || slice.dur < 0)) {
            if (slice.dur < 0 || !is_in_order(columns, row, before_ns)) {
                *stopped = row;
                return UNORDERED;
            }
            layout->at_once = 1;
        }
        cut += of.kind[row] == (ROW_SLICE | ROW_CUT);
        before = slice.start;
        before_ns = slice.dur;
        if (unlikely(track != open_track || !open)) {
            if (open)
                open->depth = depth;
            Py_ssize_t found = open_tracks_place(all, track);
            if (found < 0)
                break;
            place = (size_t)found;
            open = &all->tracks[place];
            open_track = track;
            slices = open->slices;
            depth = open->depth;
            room = open->room;
        }
        while (depth && has_ended(&slices[depth - 1], slice.start, slice.dur))
            depth--;
        if (depth) {
            const open_slice_t *above = &slices[depth - 1];
            /* What is open has not ended: the time since its start is at most its dur, and no sum overflows. */
            uint64_t left = (uint64_t)above->dur - since(above->start, slice.start);
            int moved = 0;
            if (unlikely((uint64_t)slice.dur > left)) {
                moved = settle_overrun(layout, columns, place, slice, (limits_t){left, tick});
                slice.dur = of.dur[row];
            }
            if (unlikely(depth >= MAX_DEPTH) && !moved)
                moved = add_moved(layout, row, DEPTH, depth / MAX_DEPTH);
            if (unlikely(moved < 0))
                break;
            if (unlikely(moved))
                continue;
        }
        if (of.kind[row] & ROW_INSTANT)
            continue;
        if (unlikely(depth == room)) {
            if (open_slices_grow(open) < 0)
                break;
            slices = open->slices;
            room = open->room;
        }
        slices[depth++] = slice;
    }
    layout->cut = cut;
    *stopped = row;
    return row < of.rows ? FAILED : LAID_OUT;
}

/* The dict of row -> Lane; NULL with an exception. */
static PyObject *lanes_dict(const layout_t *layout) {
    PyObject *lanes = PyDict_New();
    for (size_t i = 0; lanes && i < layout->count; i++) {
        const moved_t *moved = &layout->moved[i];
        PyObject *number = PyLong_FromUnsignedLong(moved->number);
        PyObject *row = PyLong_FromUnsignedLong(moved->row);
        PyObject *lane = number ? PyObject_CallFunctionObjArgs(lane_type, reasons[moved->reason], number, NULL) : NULL;
        if (!row || !lane || PyDict_SetItem(lanes, row, lane) < 0)
            Py_CLEAR(lanes);
        Py_XDECREF(number);
        Py_XDECREF(row);
        Py_XDECREF(lane);
    }
    return lanes;
}

/* ---- settle_rows ---- */

/* Sort the columns. Returns the order, an array 'I'; NULL with an exception. */
static PyObject *settle_order(columns_t *columns) {
    Py_ssize_t negative;
    int status;
    Py_BEGIN_ALLOW_THREADS
    negative = first_negative(columns);
    Py_END_ALLOW_THREADS
    if (negative >= 0)
        return PyErr_Format(PyExc_ValueError, "row %zd: columns.dur is negative", negative);
    Py_buffer held;
    PyObject *order = array_new_held('I', columns->rows, &held);
    if (!order)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = sort_rows(columns, held.buf);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&held);
    if (status < 0) {
        Py_DECREF(order);
        return PyErr_NoMemory();
    }
    return order;
}

/* The Settled; NULL with an exception. order: NULL when no row has moved. */
static PyObject *settled_of(PyObject *columns, PyObject *order, const layout_t *layout) {
    PyObject *lanes = lanes_dict(layout), *cut = PyLong_FromSize_t(layout->cut), *settled = NULL;
    if (lanes && cut)
        settled = PyObject_CallFunctionObjArgs(settled_type, columns, order ? order : Py_None, lanes,
                                               layout->at_once ? Py_True : Py_False, cut, NULL);
    Py_XDECREF(lanes);
    Py_XDECREF(cut);
    return settled;
}

PyDoc_STRVAR(settle_rows_doc, "settle_rows(columns, tick_ns)\n--\n\n"
                              "Sort rows, clamp what overruns by rounding, and give a lane to what does not nest.");

static PyObject *settle_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "tick_ns", NULL};
    PyObject *tuple, *order = NULL, *result = NULL;
    long long tick_ns;
    columns_t columns;
    layout_t layout = {0};
    open_tracks_t open = {0};
    Py_ssize_t stopped;
    laid_out_t outcome;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OL:settle_rows", names, &tuple, &tick_ns))
        return NULL;
    if (columns_get(tuple, &columns, 1) < 0)
        return NULL;
    uint64_t tick = tick_ns < 0 ? 0 : (uint64_t)tick_ns;
    /* Rows of one thread are in order, most often: they are looked at once. */
    Py_BEGIN_ALLOW_THREADS
    outcome = lay_out(&columns, tick, &layout, &open, &stopped);
    if (outcome == UNORDERED)
        undo(&layout, &columns, &open);
    Py_END_ALLOW_THREADS
    if (outcome == UNORDERED) {
        order = settle_order(&columns);
        if (!order)
            goto done;
        Py_BEGIN_ALLOW_THREADS
        outcome = lay_out(&columns, tick, &layout, &open, &stopped);
        Py_END_ALLOW_THREADS
    }
    if (outcome != LAID_OUT) {
        open_tracks_error(&columns, stopped);
        goto done;
    }
    result = settled_of(tuple, order, &layout);

done:
    Py_XDECREF(order);
    layout_free(&layout);
    open_tracks_free(&open);
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"settle_rows", (PyCFunction)(void (*)(void))settle_rows, METH_VARARGS | METH_KEYWORDS, settle_rows_doc},
    {NULL, NULL, 0, NULL},
};

/* Keep a new reference in a slot; 0, or -1 when there is none and an exception is set. */
static int keep(PyObject **slot, PyObject *object) {
    if (!object)
        return -1;
    Py_XSETREF(*slot, object);
    return 0;
}

int settle_add(PyObject *module) {
    if (keep(&settled_type, imported("stepscope.core.rows", "Settled")) < 0 ||
        keep(&lane_type, imported("stepscope.core.rows", "Lane")) < 0 ||
        keep(&reasons[OVERLAP], PyUnicode_InternFromString("overlap")) < 0 ||
        keep(&reasons[DEPTH], PyUnicode_InternFromString("depth")) < 0)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
