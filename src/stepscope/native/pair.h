/* What pair.c, pair_plain.c, pair_steps.c and touch.c, which pair records without the GIL, and paired.c, which holds the
   Python objects around that, share. */

#ifndef STEPSCOPE_PAIR_H
#define STEPSCOPE_PAIR_H

#include "recorder.h"

#include <pthread.h>
#include <stdatomic.h>

#define CALL_KEY ((uint64_t)1 << 62)   /* a call, by its label */
#define SERIAL_KEY ((uint64_t)1 << 63) /* a span with arguments is known by its serial, others by their label */

/* A growing C array: items, how many, for how many there is room. */
typedef struct {
    void *items;
    size_t count, room;
} list_t;

/* What a row says besides; in the order in which it came. */
typedef struct {
    Py_ssize_t row;
    PyObject *args; /* borrowed from the window; NULL: the calls around it */
    uint32_t stack; /* string id of those */
} row_args_t;

/* String ids of what a row is called. */
typedef struct {
    uint32_t name, cat, site;
} label_t;

/* What a thread had computed at a begin or an end. */
typedef struct {
    uint64_t ns;
    uint32_t thread;
    int known;
} cpu_t;

/* What the thread of a row has computed meanwhile. */
typedef struct {
    Py_ssize_t row;
    uint64_t ns;
} row_cpu_t;

/* A begin that waits for its end: of a span without arguments its label's id, of one with some SERIAL_KEY and its
   serial, of a call CALL_KEY and its label's id. */
typedef struct {
    uint64_t key;
    Py_ssize_t row;
    cpu_t cpu;
} waiting_t;

typedef struct {
    uint64_t start, end;
    uint32_t name;
    unsigned long tid;
    PyObject *thread, *args; /* borrowed; args may be NULL */
    uint32_t lane;           /* as in paired_track_t */
    int used;
} step_t;

/* Of a lane, in ns of CPU time of its thread: when the thread went from it, 0 while it is there, and what the thread has
   computed for others between the first time and the last that it came. */
typedef struct {
    uint64_t left, others;
} lane_cpu_t;

/* What rows stand on: the lane of a task, or if that is 0 a thread of the window, or of a step that has another. */
typedef struct {
    uint32_t lane;
    const sealed_thread_t *thread;
    const step_t *step;
} paired_track_t;

/* What the rows need of Python objects, made while the GIL is held. */
typedef struct {
    label_t *labels;   /* of each of the window's label ids */
    uint32_t *series;  /* window's series id -> its place among the series */
    uint64_t *orphans; /* per thread: ends whose begin was dropped */
    step_t *steps;
    size_t step_count;
    PyObject *lanes;   /* dict: lane -> its id, those of the steps too */
    uint32_t lane_end; /* ids are below */
    uint32_t *numbers; /* per lane, and of the present thread at 0: its place among the tracks; or NO_TRACK */
    list_t *waiting;   /* per lane, and of the present thread at 0: of waiting_t */
    lane_cpu_t *cpu_of; /* per lane */
    paired_track_t *tracks;
    uint32_t call_category; /* string id of what function tracing records; 0: there is none */
} needs_t;

enum { NO_TRACK = UINT32_MAX };

/* A string id. */
enum { ANNOTATION = 1 };

/* A counter's value at a time. */
typedef struct {
    int64_t ts;
    double value;
    uint32_t series;
} count_t;

/* A point of a flow: its row, and its string id of the name, which only the first point has; 0: not this one. */
typedef struct {
    uint64_t flow;
    Py_ssize_t row;
    uint32_t name;
} paired_point_t;

typedef struct {
    const window_t *window;
    tick_scale_t scale;
    int64_t shift_ns;
    columns_t columns;
    Py_ssize_t row;      /* the next one */
    paired_track_t here; /* where the records stand that are being read */
    uint32_t track;      /* its place among the tracks; NO_TRACK: nothing stands on it yet */
    uint32_t track_count;
    uint32_t flow_name;  /* the string id for points of flows whose first one is not in the window */
    uint64_t orphans;    /* the present thread's */
    cpu_t cpu;           /* of the present record */
    uint32_t stack;      /* string id of the calls around the present record; 0: not known */
    const label_t *labels; /* as in needs_t */
    const uint32_t *series;
    uint32_t *numbers;
    paired_track_t *tracks;
    list_t *waiting;
    uint32_t lane_end;
    lane_cpu_t *cpu_of; /* per lane */
    uint32_t call_category; /* as in needs_t */
    list_t args, cpus, counts, flows; /* of row_args_t, row_cpu_t, count_t, paired_point_t */
    list_t steps; /* of step_ns_t, see pair_steps.c: the present thread's, in order of time */
} pairing_t;

/* How many rows a window can have at most: as if no record were the end of another. Memory that is not written to costs
   nothing, but reading all records to count them would. */
size_t window_room(const window_t *window, const needs_t *needs);
/* Fill the columns, from their first row on, and the lists: 0; -1 without memory. Needs no GIL. */
int window_read(pairing_t *p, needs_t *needs);

/* ---- rows ------------------------------------------------------------------------------------------------- */

static inline uint64_t clamped(const pairing_t *p, uint64_t ticks) {
    /* A thread may have read the clock just outside the window that its record fell into. */
    if (ticks < p->window->opened.ticks) return p->window->opened.ticks;
    return ticks > p->window->sealed.ticks ? p->window->sealed.ticks : ticks;
}

static inline int64_t ts_of(const pairing_t *p, uint64_t ticks) { return ticks_to_ns(&p->scale, ticks) + p->shift_ns; }

/* Let what follows stand on a lane, or if that is 0 on the present thread's own track. */
static inline void lane_set(pairing_t *p, uint32_t lane) {
    p->here.lane = lane;
    p->track = p->numbers[lane];
}

/* The first row of a track. */
static inline __attribute__((cold)) void track_open(pairing_t *p) {
    p->tracks[p->track_count] = p->here;
    p->track = p->numbers[p->here.lane] = p->track_count++;
}

static inline Py_ssize_t row_add(pairing_t *p, label_t label, uint64_t ticks, uint8_t kind) {
    if (unlikely(p->track == NO_TRACK)) track_open(p);
    Py_ssize_t row = p->row++;
    p->columns.ts[row] = ts_of(p, ticks);
    p->columns.name[row] = label.name;
    p->columns.cat[row] = label.cat;
    p->columns.site[row] = label.site;
    p->columns.track[row] = p->track;
    p->columns.kind[row] = kind;
    if (kind & ROW_INSTANT) p->columns.dur[row] = 0; /* a slice gets it where it ends */
    return row;
}

static inline void row_end(pairing_t *p, Py_ssize_t row, uint64_t ticks) {
    p->columns.dur[row] = ts_of(p, ticks) - p->columns.ts[row];
}

static inline int is_call(const pairing_t *p, Py_ssize_t row) {
    return p->call_category && p->columns.cat[row] == p->call_category;
}

/* pair.c: room for that many more items. */
int list_grow(list_t *list, size_t more, size_t size);
/* pair.c: give a row arguments, which may be NULL. */
int args_add(pairing_t *p, Py_ssize_t row, PyObject *args);

/* ---- pair_plain.c ----------------------------------------------------------------------------------------- */

/* Pair the plain records there are before the first that is not, or that has no room to wait; where that is. */
const record_t *plain_read(pairing_t *p, const record_t *record, const record_t *end);

/* ---- touch.c ---------------------------------------------------------------------------------------------- */

/* A thread that has the memory of columns mapped ahead of who fills them. */
typedef struct {
    const columns_t *columns;
    Py_ssize_t rows; /* about as many as will be written */
    atomic_int stop;
    int begun;
    pthread_t thread;
} touch_t;

/* Begin, if there are enough rows for it to pay. touch_end must follow, before the columns are released. */
void touch_begin(touch_t *touch, const columns_t *columns, const window_t *window);
void touch_end(touch_t *touch);

/* ---- pair_steps.c ----------------------------------------------------------------------------------------- */

/* Add the rows of a thread's steps; 0, or -1 without memory. */
int steps_read(pairing_t *p, step_t *steps, size_t count, unsigned long tid);
/* Cut the thread's calls, whose rows begin at first, where a step ends that they began in, and where one begins that they
   end in: so calls and steps nest. */
void calls_split(pairing_t *p, Py_ssize_t first);

#endif
