/* Sorting rows: by time, longer ones and slices first, and then by track; the twin of twin/settle.py order_ties, and
   what settle.c sorts with.

   Rows come thread after thread, each nearly in order. They are sorted as entries, 16 bytes each,

       key u64 | row u32 | -          by ts; then each group of equal ts by (-dur, slices before instants)

   by a stable merge of the runs they come in, and the columns are then permuted in place: they are the caller's no
   more. The loops here run without the GIL and allocate with PyMem_Raw. */

#include "native.h"

#include <string.h>

static uint64_t time_key(const columns_t *columns, Py_ssize_t row) {
    return (uint64_t)columns->ts[row] ^ (uint64_t)1 << 63;
}

/* Orders rows of equal ts: the longer first, and a slice before an instant as long. */
static uint64_t tie_key(const columns_t *columns, Py_ssize_t row) {
    return (uint64_t)(INT64_MAX - columns->dur[row]) << 1 | (columns->kind[row] & ROW_INSTANT);
}

/* Whether no row has to move. */
static int rows_are_sorted(const columns_t *columns) {
    for (Py_ssize_t row = 1; row < columns->rows; row++) {
        if (likely(columns->ts[row - 1] < columns->ts[row]))
            continue;
        if (columns->ts[row - 1] > columns->ts[row] || tie_key(columns, row - 1) > tie_key(columns, row))
            return 0;
    }
    return 1;
}

static size_t run_end(const entry_t *entries, size_t at, size_t count) {
    for (at++; at < count && entries[at - 1].key <= entries[at].key; at++)
        ;
    return at;
}

/* Merge left..middle and middle..end to `to`; of equal keys the left one goes first. */
static void merge(const entry_t *left, const entry_t *middle, const entry_t *end, entry_t *to) {
    const entry_t *right = middle;
    while (left < middle && right < end) {
        size_t take_right = right->key < left->key;
        const entry_t *taken = take_right ? right : left;
        *to++ = *taken;
        right += take_right;
        left += 1 - take_right;
    }
    memcpy(to, left, (size_t)(middle - left) * sizeof *to);
    to += middle - left;
    memcpy(to, right, (size_t)(end - right) * sizeof *to);
}

entry_t *sort_entries(entry_t *from, entry_t *to, size_t count) {
    while (run_end(from, 0, count) < count) {
        for (size_t at = 0; at < count;) {
            size_t middle = run_end(from, at, count);
            size_t end = middle < count ? run_end(from, middle, count) : count;
            merge(from + at, from + middle, from + end, to + at);
            at = end;
        }
        entry_t *merged = to;
        to = from;
        from = merged;
    }
    return from;
}

/* Put the rows of each ts in order; they are sorted by ts. */
static void sort_ties(const columns_t *columns, entry_t *entries, entry_t *spare, size_t count) {
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && entries[end].key == entries[first].key; end++)
            ;
        if (end - first == 1)
            continue;
        for (size_t at = first; at < end; at++)
            entries[at].key = tie_key(columns, entries[at].row);
        entry_t *sorted = sort_entries(entries + first, spare + first, end - first);
        if (sorted != entries + first)
            memcpy(entries + first, sorted, (end - first) * sizeof *sorted);
    }
}

static void permute_u64(uint64_t *column, const uint32_t *order, size_t rows, uint64_t *spare) {
    for (size_t at = 0; at < rows; at++)
        spare[at] = column[order[at]];
    memcpy(column, spare, rows * sizeof *column);
}

static void permute_u32(uint32_t *column, const uint32_t *order, size_t rows, uint32_t *spare) {
    for (size_t at = 0; at < rows; at++)
        spare[at] = column[order[at]];
    memcpy(column, spare, rows * sizeof *column);
}

static void permute_u8(uint8_t *column, const uint32_t *order, size_t rows, uint8_t *spare) {
    for (size_t at = 0; at < rows; at++)
        spare[at] = column[order[at]];
    memcpy(column, spare, rows * sizeof *column);
}

/* Put the columns in the order of sorted entries, of 16 bytes a row, which are written over. */
static void permute(columns_t *columns, const uint32_t *order, entry_t *spare) {
    size_t rows = (size_t)columns->rows;
    permute_u64((uint64_t *)columns->ts, order, rows, (uint64_t *)spare);
    permute_u64((uint64_t *)columns->dur, order, rows, (uint64_t *)spare);
    permute_u32(columns->name, order, rows, (uint32_t *)spare);
    permute_u32(columns->cat, order, rows, (uint32_t *)spare);
    permute_u32(columns->site, order, rows, (uint32_t *)spare);
    permute_u32(columns->track, order, rows, (uint32_t *)spare);
    permute_u8(columns->kind, order, rows, (uint8_t *)spare);
}

int sort_rows(columns_t *columns, uint32_t *order) {
    size_t rows = (size_t)columns->rows;
    entry_t *entries = PyMem_RawMalloc(2 * rows * sizeof *entries);
    if (!entries)
        return -1;
    for (size_t row = 0; row < rows; row++)
        entries[row] = (entry_t){time_key(columns, (Py_ssize_t)row), (uint32_t)row};
    entry_t *sorted = sort_entries(entries, entries + rows, rows);
    sort_ties(columns, sorted, sorted == entries ? entries + rows : entries, rows);
    for (size_t at = 0; at < rows; at++)
        order[at] = sorted[at].row;
    permute(columns, order, entries);
    PyMem_RawFree(entries);
    return 0;
}

/* ---- ties of several tracks ---- */

/* Whether a row and the one before it begin and last alike. */
static int is_tie(const columns_t *columns, Py_ssize_t row) {
    return columns->ts[row - 1] == columns->ts[row] && tie_key(columns, row - 1) == tie_key(columns, row);
}

/* Whether all tracks are ids and no row has to move, whatever the order of tracks is: no memory is needed to see that. */
static int ties_are_sorted(const columns_t *columns) {
    if (columns->rows && columns->track[0] > MAX_ID)
        return 0;
    for (Py_ssize_t row = 1; row < columns->rows; row++) {
        if (unlikely(columns->track[row] > MAX_ID))
            return 0;
        if (likely(columns->ts[row - 1] < columns->ts[row]))
            continue;
        if (columns->ts[row - 1] > columns->ts[row])
            return 0;
        uint64_t before = tie_key(columns, row - 1), key = tie_key(columns, row);
        if (before > key || (before == key && columns->track[row - 1] != columns->track[row]))
            return 0;
    }
    return 1;
}

/* Find each row's place in the order in which tracks first have a row. Returns whether ties are in that order; -1 when
   there is no memory or a track is no id, of the row at *failed. */
static int rank_rows(const columns_t *columns, uint32_t *ranks, Py_ssize_t *failed) {
    open_tracks_t tracks = {0};
    int in_order = 1;
    for (Py_ssize_t row = 0; row < columns->rows; row++) {
        Py_ssize_t rank = open_tracks_place(&tracks, columns->track[row]);
        if (rank < 0) {
            *failed = row;
            in_order = -1;
            break;
        }
        ranks[row] = (uint32_t)rank;
        if (row && unlikely(ranks[row - 1] > ranks[row]) && is_tie(columns, row))
            in_order = 0;
    }
    open_tracks_free(&tracks);
    return in_order;
}

/* Sort each group of ties by rank, and note in order the rows of before[at]; 0, or -1 when there is no memory. */
static int sort_ranks(columns_t *columns, const uint32_t *ranks, uint32_t *order) {
    size_t rows = (size_t)columns->rows;
    entry_t *entries = PyMem_RawMalloc(2 * rows * sizeof *entries);
    uint32_t *moved = PyMem_RawMalloc(rows * sizeof *moved);
    if (!entries || !moved) {
        PyMem_RawFree(entries);
        PyMem_RawFree(moved);
        return -1;
    }
    for (size_t first = 0, end; first < rows; first = end) {
        for (end = first; end < rows && (end == first || is_tie(columns, (Py_ssize_t)end)); end++)
            entries[end] = (entry_t){ranks[end], (uint32_t)end};
        const entry_t *sorted = sort_entries(entries + first, entries + rows + first, end - first);
        for (size_t at = first; at < end; at++)
            moved[at] = sorted[at - first].row;
    }
    permute(columns, moved, entries);
    permute_u32(order, moved, rows, (uint32_t *)entries);
    PyMem_RawFree(entries);
    PyMem_RawFree(moved);
    return 0;
}

/* Sort the columns by time, then by track. 1: *order has the place that each row had; 0: no row has moved; -1: no
   memory, or a track that is no id, of the row at *failed. Needs no GIL. */
static int sort_all(columns_t *columns, uint32_t *ranks, uint32_t *order, Py_ssize_t *failed) {
    int moved = !rows_are_sorted(columns);
    *failed = 0;
    for (size_t row = 0; row < (size_t)columns->rows; row++)
        order[row] = (uint32_t)row;
    if (moved && sort_rows(columns, order) < 0)
        return -1;
    int in_order = rank_rows(columns, ranks, failed);
    if (in_order == 0)
        return sort_ranks(columns, ranks, order) < 0 ? -1 : 1;
    return in_order < 0 ? -1 : moved;
}

PyDoc_STRVAR(order_ties_doc, "order_ties(columns)\n--\n\n"
                             "Sort rows that begin and last alike on several tracks by track, in place.");

static PyObject *order_ties(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", NULL};
    PyObject *tuple, *order = NULL, *result = NULL;
    Py_buffer held = {0};
    Py_ssize_t failed;
    columns_t columns;
    int outcome = -1, sorted;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:order_ties", names, &tuple) || columns_get(tuple, &columns, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    sorted = ties_are_sorted(&columns);
    Py_END_ALLOW_THREADS
    if (sorted) {
        columns_release(&columns);
        Py_RETURN_NONE;
    }
    uint32_t *ranks = PyMem_Malloc(columns.rows ? (size_t)columns.rows * sizeof *ranks : 1);
    if (!ranks)
        PyErr_NoMemory();
    else
        order = array_new_held('I', columns.rows, &held);
    if (!order)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    outcome = sort_all(&columns, ranks, held.buf, &failed);
    Py_END_ALLOW_THREADS
    if (outcome < 0)
        open_tracks_error(&columns, failed);
    else
        result = Py_NewRef(outcome ? order : Py_None);

done:
    PyBuffer_Release(&held);
    Py_XDECREF(order);
    PyMem_Free(ranks);
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"order_ties", (PyCFunction)(void (*)(void))order_ties, METH_VARARGS | METH_KEYWORDS, order_ties_doc},
    {NULL, NULL, 0, NULL},
};

int order_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
