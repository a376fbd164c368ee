/* What the files of the extension share: the module's parts, columns as C sees them, and error paths.

   stepscope._native is the twin of stepscope.core.twin: same calls, same bytes. One subject a file:

       module.c          the module and its parts
       arrays.c          array.array objects, made and held
       columns.c         columns of them as C pointers, and new ones

   the recorder, which shares recorder.h; the hot path is in span.h:

       clock.c           ticks: CLOCK_BOOTTIME or the time-stamp counter, and their conversion
       ring.c            chunks of 16-byte records, arguments, and the budget of both
       recycle.c         the policy "ring": the oldest records make room        (twin/recycle.py)
       threads.c         each thread's buffer
       lanes.c           which spans are open, in which task     (twin/lanes.py, turns.py)
       window.c          open, seal; the sealed window                (twin/window.py)
       besides.c         what events say besides their time          (twin/besides.py)
       stacks.c          the calls around them
       span.c            the span: what is recorded of it, its type
       keywords.c        keyword arguments as they came
       call.c            record_function, instant, span_of: their arguments, the span of a name
       points.c          counters and flows
       decorated.c       a function with a span around each call
       ops.c             operators of a framework                     (twin/ops.py)
       calls.c           function tracing: what is traced, open frames (twin/calls.py)
       calls_monitoring.c  its events by sys.monitoring, from Python 3.12 on (twin/calls_hooks.py)
       calls_profile.c   the same by profile functions, before; all three share calls.h
       pair.c            a sealed window's records -> rows           (twin/pair.py)
       pair_plain.c      runs of those that nest
       touch.c           memory for the rows, mapped while they are paired
       pair_steps.c      steps, and calls that are cut at them       (twin/pair.py)
       paired.c          rows -> Paired: what Python hands in and gets; all five share pair.h

   and what is done with columns:

       order.c           rows by time, and ties by track             (twin/settle.py)
       settle.c          order, lanes                                (twin/settle.py)
       settle_lanes.c    lanes for what does not nest
       settle_counters.c the order of counter values                 (twin/settle_counters.py)
       settle_flows.c    the order of flow points                    (twin/settle_flows.py)
       renumber.c        ids by first appearance                     (twin/settle.py)
       ids.c             which ids there are, and what they become   (twin/ids.py)
       nest.c            parents and own time                        (twin/nest.py)
       fold.c            rows as events, and what is inside what     (twin/fold.py)
       group.c           events by key, and their sums               (twin/group.py)
       flows.c           the points of each row                      (twin/flows.py)
       ahead.c           chunks of both formats, encoded while the one before is written
       disk.c            the way to the disk, begun by a thread      (twin/disk.py)
       chrome.c          rows of Chrome JSON                         (twin/chrome.py)
       encode_args.c     arguments as the files have them            (twin/encode_args.py)
       encode_json.c     those that are plain, as JSON
       encode_annotations.c  the same as DebugAnnotations; all three share encode_args.h
       chrome_scan.c     the same read again                         (twin/chrome_read.py)
       chrome_read.c     what Python makes of that
       chrome_args.c     arguments that need no parsing yet          (twin/chrome_args.py)
       keys.c            numbers for its texts; all four share chrome_read.h
       perfetto.c        packets of Perfetto protobuf                (twin/perfetto.py)
       perfetto_intern.c the texts that they intern
       perfetto_input.c  the sequences, rows and annotations they are made from
       perfetto_rows.c   the iterator that hands them out; all four share perfetto.h
       perfetto_read.c   the scanner of .pftrace packets, as Python sees it (twin/perfetto_read.py)
       perfetto_scan.c   packets -> columns of TrackEvents
       perfetto_take.c   the columns as Python gets them
       perfetto_tables.c what packets refer to: texts, ids, tracks, sequences; these share perfetto_read.h
       perfetto_pair.c   TrackEvents -> rows                         (twin/perfetto_pair.py)
       counters.c        counter values in both formats              (twin/counters.py)
       trees.c           hashes of call trees                        (twin/trees.py)
       labels.c          hashes of texts and arguments               (twin/labels.py)
       walk.c            what is the same in two trees               (twin/walk.py)
       levels.c          which children of each two rows are the same (twin/levels.py)
       pattern.c         what is equal to what there                 (twin/pattern.py)
       forest.c          trees, for these
       align.c           which members of two short lists are the same (twin/align.py)
       align_common.c    what two long ones have in common, in order (twin/align.py)
       align_unique.c    or once each                                (twin/align.py)
       align_rest.c      what is the same out of order               (twin/align.py)
       table.c           the places of each key, for these
       pairs.c           pairs of numbers by first appearance        (twin/pairs.py)
       path_numbers.c    the same for paths, which grow              (twin/path_numbers.py)
       paths.c           times by path and step                      (twin/paths.py)
       cells.c           which of those are to be looked at          (twin/cells.py) */

#ifndef STEPSCOPE_NATIVE_H
#define STEPSCOPE_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The values of a row's kind; core/rows.py says what they mean. */
enum { ROW_SLICE = 0, ROW_INSTANT = 1, ROW_CUT = 2 };

/* The name of no event, the group of no row; core/groups.py. */
#define NO_KEY UINT32_MAX

/* An iterator of a file's rows hands out about this much at a time: one MiB with what bytes objects and malloc keep of
   their own. So a chunk that is cut a little short still has the pages that it was given, and the C library, which goes
   by the size of what is freed, gives them to the next one; else each would be mapped and touched anew. */
enum { CHUNK_BYTES = (1 << 20) - 64 };

/* ---- arrays.c: array.array objects ---- */

/* A new array.array of a typecode and length, zeroed; NULL with an exception. */
PyObject *array_new(char typecode, Py_ssize_t length);
/* The same with items that are not set: the caller writes or cuts off each. */
PyObject *array_new_unset(char typecode, Py_ssize_t length);
/* The same with its buffer held for writing; NULL with an exception and nothing held. */
PyObject *array_new_held(char typecode, Py_ssize_t length, Py_buffer *held);
/* A new array 'I' of these; NULL with an exception. */
PyObject *array_from_ids(const uint32_t *ids, size_t count);
/* A tuple of two such arrays, of as many; NULL with an exception. */
PyObject *array_pair_from_ids(const uint32_t *ones, const uint32_t *others, size_t count);
/* What an array should be: the messages call it table.name. */
typedef struct {
    const char *table, *name;
    char typecode;
} array_is_t;
/* Hold an array's buffer; 0, or -1 with an exception set and the buffer not held. */
int array_get(PyObject *array, array_is_t is, int writable, Py_buffer *held);
/* The same for reading, of that length. */
int array_of_length(PyObject *array, array_is_t is, Py_ssize_t length, Py_buffer *held);
/* An attribute of a module, imported; NULL with an exception. */
PyObject *imported(const char *module, const char *name);

/* ---- columns.c: what Python hands over, as C reads it ---- */

enum { COLUMNS = 7 };

/* The columns of a trace while C reads or writes them: core/rows.py Columns, each column's buffer held. */
typedef struct {
    Py_ssize_t rows; /* less than 2**32: rows are numbered in 32 bits */
    int64_t *ts, *dur;
    uint32_t *name, *cat, *site, *track;
    uint8_t *kind;
    Py_buffer held[COLUMNS];
    int count; /* how many of held are */
} columns_t;

/* Take the buffers of a Columns tuple; 0, or -1 with an exception set and nothing held. */
int columns_get(PyObject *tuple, columns_t *columns, int writable);
/* A new Columns tuple of that many rows, all zero, with its buffers held for writing; NULL with an exception. */
PyObject *columns_new(Py_ssize_t rows, columns_t *columns);
/* The same, not set: the caller writes every row, or cuts it off. */
PyObject *columns_new_unset(Py_ssize_t rows, columns_t *columns);
/* Give the buffers back; harmless when none is held. */
void columns_release(columns_t *columns);
/* For tp_traverse. */
int columns_visit(const columns_t *columns, visitproc visit, void *arg);
/* 0, or -1 with a ValueError that names the row whose id is not below count. */
int columns_ids_below(const columns_t *columns, const uint32_t *ids, const char *name, Py_ssize_t count);
/* A sequence of bytes, copied. TEXT_SLACK bytes past any text's end may be read. */
enum { TEXT_SLACK = 64 };
typedef struct {
    char *at;
    size_t length;
} text_t;
typedef struct {
    text_t *of;
    char *block; /* before text behind | before text behind | ... | slack */
    Py_ssize_t count;
} texts_t;

/* Copy a sequence of bytes, each between before and behind; 0, or -1 with an exception set and nothing held. */
int texts_get(PyObject *sequence, const char *what, const char *before, const char *behind, texts_t *texts);
void texts_release(texts_t *texts);

/* A mapping of row -> object: of[row] is 1 + the place in objects, 0 for a row that has none. */
typedef struct {
    uint32_t *of; /* NULL when no row has one */
    PyObject **objects;
    Py_ssize_t count;
} row_objects_t;

/* Take the objects of a mapping; 0, or -1 with an exception set and nothing held. */
int row_objects_get(PyObject *mapping, const char *what, Py_ssize_t rows, row_objects_t *objects);
void row_objects_release(row_objects_t *objects);
/* For tp_traverse. */
int row_objects_visit(const row_objects_t *objects, visitproc visit, void *arg);

/* ---- counters.c: counter values ---- */

extern PyTypeObject *counters_type; /* stepscope.core.rows.Counters */

/* The columns of Counters, held. */
typedef struct {
    Py_ssize_t values; /* less than 2**32 */
    const int64_t *ts;
    const double *value;
    const uint32_t *track;
    Py_buffer held[3];
    int count; /* how many of held are */
} counters_t;

/* Hold a Counters tuple; 0, or -1 with an exception set and nothing held. */
int counters_get(PyObject *tuple, counters_t *counters);
void counters_release(counters_t *counters);

/* ---- flows.c: arrows through rows ---- */

extern PyTypeObject *flows_type; /* stepscope.core.rows.Flows */

/* Where a point stands in its flow. */
typedef enum { FLOW_FIRST, FLOW_STEP, FLOW_LAST } flow_stands_t;

typedef struct {
    uint32_t row, flow;
    flow_stands_t stands;
} flow_point_t;

/* A copy of core/rows.py Flows. */
typedef struct {
    flow_point_t *points; /* in (row, flow) order */
    size_t count;
    uint32_t *names; /* of each flow */
    size_t flows;
    uint32_t *of; /* row -> 1 + its first point, 0: it has none; NULL when there are no points, or nobody asked */
} flows_t;

/* Copy a Flows tuple, or nothing of None; 0, or -1 with an exception set and nothing held.
   rows, names: how many there are. by_row: make `of`. */
int flows_get(PyObject *tuple, Py_ssize_t rows, Py_ssize_t names, int by_row, flows_t *flows);
void flows_release(flows_t *flows);

/* ---- nest.c: the containment rule ---- */

/* A slice that is open. It has no end: start + dur may be past 2**63. */
typedef struct {
    int64_t start, dur;
    Py_ssize_t row;
} open_slice_t;

/* The slices that are open on one track, innermost last. */
typedef struct {
    open_slice_t *slices;
    size_t depth, room;
} open_slices_t;

/* Those of all tracks. Track ids may be sparse: each gets the next free place when it is first seen. */
typedef struct {
    uint32_t *place; /* track -> 1 + place, 0: not seen yet */
    size_t places;
    open_slices_t *tracks;
    size_t count, room;
} open_tracks_t;

/* Ids index tables: past this they are not ids but garbage. */
enum { MAX_ID = (1 << 28) - 1 };

/* A track's place in open->tracks, or -1: no memory, or an id above MAX_ID. Needs no GIL. */
Py_ssize_t open_tracks_place(open_tracks_t *open, uint32_t track);
void open_tracks_free(open_tracks_t *open);
/* Set the exception for -1 of open_tracks_place on a row, or of open_slices_push. */
void open_tracks_error(const columns_t *columns, Py_ssize_t row);
/* Make room for more; 0, or -1 when there is no memory. Needs no GIL. */
int open_slices_grow(open_slices_t *open);

static inline int open_slices_push(open_slices_t *open, int64_t start, int64_t dur, Py_ssize_t row) {
    if (unlikely(open->depth == open->room) && open_slices_grow(open) < 0)
        return -1;
    open->slices[open->depth++] = (open_slice_t){start, dur, row};
    return 0;
}

/* Time from a to b, which is not before a; exact, though b - a may not fit an int64_t. */
static inline uint64_t since(int64_t a, int64_t b) {
    return (uint64_t)b - (uint64_t)a;
}

/* Whether an open slice has ended when one of dur begins at start, which is not before its own: its end is before, or
   then and one of both lasts some time. */
static inline int has_ended(const open_slice_t *slice, int64_t start, int64_t dur) {
    return since(slice->start, start) >= (uint64_t)slice->dur + !(slice->dur | dur);
}

/* Forget what has ended when a slice of dur begins at start. */
static inline void still_open(open_slices_t *open, int64_t start, int64_t dur) {
    while (open->depth && has_ended(&open->slices[open->depth - 1], start, dur))
        open->depth--;
}

/* ---- settle_lanes.c: lanes for what cannot stay on its track ---- */

/* Until when each of a track's lanes is taken. */
typedef struct {
    uint64_t *until;
    size_t count, room;
} lanes_t;

/* The number, from 1, of the first lane that is free at the slice's start, now taken by it; 0 when there is no memory.
   Times are counted from INT64_MIN, and an end past 2**64 is that. Needs no GIL. */
size_t free_lane(lanes_t *track, open_slice_t slice);

/* ---- order.c: rows in order ---- */

/* A number that is sorted by a key. */
typedef struct {
    uint64_t key;
    uint32_t row;
} entry_t;

/* Sort by key, stable: merge neighbouring runs, from one buffer to the other, until one is left. Returns which. */
entry_t *sort_entries(entry_t *from, entry_t *to, size_t count);
/* Put the columns in order, and note the row that each was; 0, or -1 when there is no memory. Needs no GIL. */
int sort_rows(columns_t *columns, uint32_t *order);

/* Each part adds its types and functions to the module; 0, or -1 with an exception set. */
int arrays_add(PyObject *module);
int columns_add(PyObject *module);
int order_add(PyObject *module);
int settle_add(PyObject *module);
int settle_counters_add(PyObject *module);
int settle_flows_add(PyObject *module);
int ids_add(PyObject *module);
int renumber_add(PyObject *module);
int nest_add(PyObject *module);
int fold_add(PyObject *module);
int group_add(PyObject *module);
int chrome_add(PyObject *module);
int chrome_read_add(PyObject *module);
int chrome_args_add(PyObject *module);
int perfetto_add(PyObject *module);
int perfetto_read_add(PyObject *module);
int perfetto_take_add(PyObject *module);
int perfetto_pair_add(PyObject *module);
int flows_add(PyObject *module);
int counters_add(PyObject *module);
int encode_args_add(PyObject *module);
int trees_add(PyObject *module);
int labels_add(PyObject *module);
int cells_add(PyObject *module);
int pairs_add(PyObject *module);
int path_numbers_add(PyObject *module);
int walk_add(PyObject *module);
int levels_add(PyObject *module);
int align_add(PyObject *module);
int align_common_add(PyObject *module);
int align_unique_add(PyObject *module);
int align_rest_add(PyObject *module);
int paths_add(PyObject *module);
int disk_add(PyObject *module);

#endif
