/* Pairing the TrackEvents of a .pftrace file; the twin of twin/perfetto_pair.py.

   Each track has the stack of its open slices, by event number, innermost last. Events are walked in order of time:
   that of the file, or, if a track's time goes back, sorted as entries of order.c. Needs no GIL. */

#include "perfetto_read.h"

#include <string.h>

/* How deep an end looks for the slice of its name: the twin says why. */
enum { MAX_SEARCH = 512 };
enum { FIELDS = 6, IDS = 4 };

static PyObject *paired_type, *faults_type;

typedef struct {
    uint32_t *events;
    size_t depth, room;
    int64_t ended_ts; /* others were open in a slice that ended then, from ended_depth on, if ended */
    size_t ended_depth;
    int ended;
} open_events_t;

typedef struct {
    size_t count;
    uint32_t first;
} faults_t;

/* What is paired, and how far it has come. */
typedef struct {
    size_t count;
    const int64_t *ts;
    const uint8_t *kind;
    const uint32_t *track, *name, *cat, *site;
    const uint32_t *ids[IDS]; /* name, category, site and track of a row */
    size_t id_counts[IDS];
    int64_t low, high, shift;
    columns_t columns;
    uint32_t *rows;
    size_t made;
    open_events_t *open;
    size_t tracks;
    faults_t beyond, unmatched, misplaced;
} pairing_t;

static void add_fault(faults_t *faults, uint32_t event) {
    if (!faults->count || event < faults->first)
        faults->first = event;
    faults->count++;
}

/* ---- order ---- */

/* Why events cannot be paired. Their numbers are checked before, but the columns are only held against being resized:
   another thread may write to them. */
enum { NO_MEMORY = -1, CHANGED = -2 };

/* Whether no track's time goes back; NO_MEMORY or CHANGED. */
static int is_in_time(const pairing_t *pairing) {
    int64_t *latest = PyMem_RawMalloc(pairing->tracks ? pairing->tracks * sizeof *latest : 1);
    int in_time = latest ? 1 : NO_MEMORY;
    for (size_t track = 0; latest && track < pairing->tracks; track++)
        latest[track] = INT64_MIN;
    for (size_t event = 0; in_time == 1 && event < pairing->count; event++) {
        uint32_t track = pairing->track[event];
        int64_t ts = pairing->ts[event];
        if (unlikely(track >= pairing->tracks)) {
            in_time = CHANGED;
            break;
        }
        in_time = latest[track] <= ts;
        latest[track] = ts;
    }
    PyMem_RawFree(latest);
    return in_time;
}

/* The events in order of time, to be freed: *order is NULL where that is the file's. 0, NO_MEMORY or CHANGED. */
static int order_events(const pairing_t *pairing, entry_t **entries, const entry_t **order) {
    size_t count = pairing->count;
    int in_time = is_in_time(pairing);
    *entries = NULL;
    *order = NULL;
    if (in_time)
        return in_time < 0 ? in_time : 0;
    *entries = PyMem_RawMalloc(2 * count * sizeof **entries);
    if (!*entries)
        return NO_MEMORY;
    for (size_t event = 0; event < count; event++)
        (*entries)[event] = (entry_t){(uint64_t)pairing->ts[event] ^ (uint64_t)1 << 63, (uint32_t)event};
    *order = sort_entries(*entries, *entries + count, count);
    return 0;
}

/* ---- slices ---- */

static void end_slice(pairing_t *pairing, uint32_t begin, int64_t ts) {
    pairing->columns.dur[pairing->rows[begin]] = (int64_t)((uint64_t)ts - (uint64_t)pairing->ts[begin]);
}

/* Time goes on: what is open inside a slice that has ended ends with it. */
static void close_inner(pairing_t *pairing, open_events_t *open) {
    open->ended = 0;
    while (open->depth > open->ended_depth) {
        uint32_t begin = open->events[--open->depth];
        end_slice(pairing, begin, open->ended_ts);
        add_fault(&pairing->misplaced, begin);
    }
}

/* Whether an end that says a name or a category is of a slice. */
static int is_end_of(const pairing_t *pairing, uint32_t end, uint32_t begin) {
    uint32_t name = pairing->name[end], cat = pairing->cat[end];
    return (!cat || pairing->cat[begin] == cat) &&
           (!name || pairing->name[begin] == name || !pairing->name[begin]);
}

/* End the innermost slice that the event says. */
static void end_innermost(pairing_t *pairing, open_events_t *open, uint32_t event) {
    size_t lowest = open->depth > MAX_SEARCH ? open->depth - MAX_SEARCH : 0, at = open->depth;
    while (at > lowest && !is_end_of(pairing, event, open->events[at - 1]))
        at--;
    if (at == lowest) {
        add_fault(&pairing->unmatched, event);
        return;
    }
    uint32_t begin = open->events[--at];
    memmove(open->events + at, open->events + at + 1, (open->depth - at - 1) * sizeof *open->events);
    open->depth--;
    pairing->rows[event] = pairing->rows[begin];
    end_slice(pairing, begin, pairing->ts[event]);
    if (at < open->depth) {
        open->ended_depth = open->ended && open->ended_depth < at ? open->ended_depth : at;
        open->ended_ts = pairing->ts[event];
        open->ended = 1;
    }
}

/* Add the row of an event; 0 or CHANGED. */
static int add_row(pairing_t *pairing, uint32_t event, uint32_t track, uint8_t kind) {
    uint32_t name = pairing->name[event], cat = pairing->cat[event], site = pairing->site[event];
    size_t row = pairing->made;
    if (unlikely(row == (size_t)pairing->columns.rows || name >= pairing->id_counts[0] ||
                 cat >= pairing->id_counts[1] || site >= pairing->id_counts[2]))
        return CHANGED;
    pairing->columns.ts[row] = (int64_t)((uint64_t)pairing->ts[event] - (uint64_t)pairing->shift);
    pairing->columns.name[row] = pairing->ids[0][name];
    pairing->columns.cat[row] = pairing->ids[1][cat];
    pairing->columns.site[row] = pairing->ids[2][site];
    pairing->columns.track[row] = pairing->ids[3][track];
    pairing->columns.kind[row] = kind == EVENT_POINT ? ROW_INSTANT : ROW_SLICE;
    pairing->rows[event] = (uint32_t)row;
    pairing->made++;
    return 0;
}

/* Take an event; 0, NO_MEMORY or CHANGED. */
static int pair_event(pairing_t *pairing, uint32_t event) {
    int64_t ts = pairing->ts[event];
    uint32_t track = pairing->track[event];
    uint8_t kind = pairing->kind[event];
    if (unlikely(track >= pairing->tracks))
        return CHANGED;
    if (unlikely(ts < pairing->low || ts > pairing->high)) {
        add_fault(&pairing->beyond, event);
        return 0;
    }
    open_events_t *open = &pairing->open[track];
    if (unlikely(open->ended) && ts > open->ended_ts)
        close_inner(pairing, open);
    if (kind == EVENT_END) {
        if (open->depth && likely(!pairing->name[event] && !pairing->cat[event])) {
            uint32_t begin = open->events[--open->depth];
            pairing->rows[event] = pairing->rows[begin];
            end_slice(pairing, begin, ts);
        } else {
            end_innermost(pairing, open, event);
        }
        return 0;
    }
    int status = add_row(pairing, event, track, kind);
    if (status < 0 || kind != EVENT_BEGIN)
        return status;
    if (make_room(&open->events, sizeof *open->events, open->depth, &open->room) < 0)
        return NO_MEMORY;
    open->events[open->depth++] = event;
    return 0;
}

/* What is open at the end is cut. */
static void cut_open(pairing_t *pairing) {
    int64_t last = 0;
    for (size_t event = 0; event < pairing->count; event++)
        if (pairing->ts[event] <= pairing->high && pairing->ts[event] > last)
            last = pairing->ts[event];
    for (size_t track = 0; track < pairing->tracks; track++) {
        open_events_t *open = &pairing->open[track];
        if (open->ended)
            close_inner(pairing, open);
        for (size_t at = 0; at < open->depth; at++) {
            end_slice(pairing, open->events[at], last);
            pairing->columns.kind[pairing->rows[open->events[at]]] |= ROW_CUT;
        }
    }
}

/* Pair all events; 0, NO_MEMORY or CHANGED. */
static int pair_all(pairing_t *pairing) {
    entry_t *entries;
    const entry_t *order;
    int status = order_events(pairing, &entries, &order);
    if (pairing->count)
        memset(pairing->rows, 0xff, pairing->count * sizeof *pairing->rows);
    for (size_t at = 0; status == 0 && at < pairing->count; at++)
        status = pair_event(pairing, order ? order[at].row : (uint32_t)at);
    if (status == 0)
        cut_open(pairing);
    PyMem_RawFree(entries);
    return status;
}

/* ---- what Python hands in and gets ---- */

/* Hold an array of a typecode; 0, or -1 with an exception set and nothing held. */
static int hold(PyObject *array, const char *typecode, Py_ssize_t size, Py_buffer *held) {
    if (PyObject_GetBuffer(array, held, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    if (held->ndim == 1 && held->itemsize == size && !strcmp(held->format ? held->format : "B", typecode))
        return 0;
    PyBuffer_Release(held);
    PyErr_Format(PyExc_TypeError, "must be arrays; one is not of typecode '%s'", typecode);
    return -1;
}

/* Hold the columns of a tuple; returns how many: fewer than there are with an exception set. */
static int hold_all(PyObject *tuple, int count, const char *const *typecodes, const Py_ssize_t *sizes, Py_buffer *held) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != count) {
        PyErr_Format(PyExc_TypeError, "must be a tuple of %d arrays, not %.100s", count, Py_TYPE(tuple)->tp_name);
        return 0;
    }
    for (int i = 0; i < count; i++)
        if (hold(PyTuple_GET_ITEM(tuple, i), typecodes[i], sizes[i], &held[i]) < 0)
            return i;
    return count;
}

/* Check every number that indexes a table, and count the rows there will be; -1 with an exception set. */
static Py_ssize_t check_events(const pairing_t *pairing) {
    Py_ssize_t rows = 0;
    for (size_t event = 0; event < pairing->count; event++) {
        int64_t ts = pairing->ts[event];
        if (pairing->name[event] >= pairing->id_counts[0] || pairing->cat[event] >= pairing->id_counts[1] ||
            pairing->site[event] >= pairing->id_counts[2] || pairing->track[event] >= pairing->id_counts[3])
            return PyErr_Format(PyExc_ValueError, "event %zu: its name, category, site or track has no id", event), -1;
        rows += pairing->kind[event] != EVENT_END && ts >= pairing->low && ts <= pairing->high;
    }
    return rows;
}

static PyObject *faults(const faults_t *found) {
    return PyObject_CallFunction(faults_type, "nn", (Py_ssize_t)found->count,
                                 found->count ? (Py_ssize_t)found->first : (Py_ssize_t)-1);
}

/* PairedEvents of what was paired; NULL with an exception. */
static PyObject *paired(const pairing_t *pairing, PyObject *columns, PyObject *rows) {
    PyObject *beyond = faults(&pairing->beyond), *unmatched = faults(&pairing->unmatched);
    PyObject *misplaced = faults(&pairing->misplaced), *result = NULL;
    if (beyond && unmatched && misplaced)
        result = PyObject_CallFunctionObjArgs(paired_type, columns, rows, beyond, unmatched, misplaced, NULL);
    Py_XDECREF(beyond);
    Py_XDECREF(unmatched);
    Py_XDECREF(misplaced);
    return result;
}

/* Pair the events of columns that are held; NULL with an exception. */
static PyObject *pair_held(pairing_t *pairing) {
    PyObject *columns = NULL, *rows = NULL, *result = NULL;
    Py_buffer held = {0};
    int status;
    Py_ssize_t count = check_events(pairing);
    if (count < 0)
        return NULL;
    columns = columns_new(count, &pairing->columns);
    rows = columns ? array_new_held('I', (Py_ssize_t)pairing->count, &held) : NULL;
    pairing->open = rows ? PyMem_RawCalloc(pairing->tracks ? pairing->tracks : 1, sizeof *pairing->open) : NULL;
    if (!pairing->open) {
        if (rows)
            PyErr_NoMemory();
        goto done;
    }
    pairing->rows = held.buf;
    Py_BEGIN_ALLOW_THREADS
    status = pair_all(pairing);
    for (size_t track = 0; track < pairing->tracks; track++)
        PyMem_RawFree(pairing->open[track].events);
    PyMem_RawFree(pairing->open);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&held);
    columns_release(&pairing->columns);
    if (status == NO_MEMORY)
        PyErr_NoMemory();
    else if (status == CHANGED)
        PyErr_SetString(PyExc_ValueError, "events were changed while they were read");
    else
        result = paired(pairing, columns, rows);

done:
    PyBuffer_Release(&held);
    columns_release(&pairing->columns);
    Py_XDECREF(columns);
    Py_XDECREF(rows);
    return result;
}

PyDoc_STRVAR(pair_events_doc, "pair_events(events, low, high, shift, ids)\n--\n\n"
                              "Pair events into rows.");

static PyObject *pair_events(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"events", "low", "high", "shift", "ids", NULL};
    static const char *const event_codes[FIELDS] = {"q", "B", "I", "I", "I", "I"};
    static const char *const id_codes[IDS] = {"I", "I", "I", "I"};
    static const Py_ssize_t event_sizes[FIELDS] = {8, 1, 4, 4, 4, 4}, id_sizes[IDS] = {4, 4, 4, 4};
    PyObject *events, *ids, *result = NULL;
    long long low, high, shift;
    Py_buffer held[FIELDS], held_ids[IDS];
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLLLO:pair_events", names, &events, &low, &high, &shift, &ids))
        return NULL;
    int columns = hold_all(events, FIELDS, event_codes, event_sizes, held);
    int tables = columns == FIELDS ? hold_all(ids, IDS, id_codes, id_sizes, held_ids) : 0;
    if (tables < IDS)
        goto done;
    pairing_t pairing = {.count = (size_t)held[0].len / 8, .low = low, .high = high, .shift = shift};
    for (int i = 1; i < FIELDS; i++)
        if ((size_t)held[i].len / (size_t)event_sizes[i] != pairing.count) {
            PyErr_SetString(PyExc_ValueError, "events: each column must have one item an event");
            goto done;
        }
    pairing.ts = held[0].buf;
    pairing.kind = held[1].buf;
    pairing.track = held[2].buf;
    pairing.name = held[3].buf;
    pairing.cat = held[4].buf;
    pairing.site = held[5].buf;
    for (int i = 0; i < IDS; i++) {
        pairing.ids[i] = held_ids[i].buf;
        pairing.id_counts[i] = (size_t)held_ids[i].len / 4;
    }
    pairing.tracks = pairing.id_counts[3];
    result = pair_held(&pairing);

done:
    while (columns)
        PyBuffer_Release(&held[--columns]);
    while (tables)
        PyBuffer_Release(&held_ids[--tables]);
    return result;
}

static PyMethodDef METHODS[] = {
    {"pair_events", (PyCFunction)(void (*)(void))pair_events, METH_VARARGS | METH_KEYWORDS, pair_events_doc},
    {NULL, NULL, 0, NULL},
};

int perfetto_pair_add(PyObject *module) {
    PyObject *paired_events = imported("stepscope.core.events", "PairedEvents");
    PyObject *counted = paired_events ? imported("stepscope.core.events", "Faults") : NULL;
    if (!counted) {
        Py_XDECREF(paired_events);
        return -1;
    }
    Py_XSETREF(paired_type, paired_events);
    Py_XSETREF(faults_type, counted);
    return PyModule_AddFunctions(module, METHODS);
}
