/* What pair.c, which pairs records without the GIL, and paired.c, which holds the Python objects around it, share. */

#ifndef STEPSCOPE_PAIR_H
#define STEPSCOPE_PAIR_H

#include "recorder.h"

#define SERIAL_KEY ((uint64_t)1 << 63) /* a span with arguments is known by its serial, others by their name */

/* A growing C array: items, how many, for how many there is room. */
typedef struct {
    void *items;
    size_t count, room;
} list_t;

typedef struct {
    Py_ssize_t row;
    PyObject *args; /* borrowed from the window */
} row_args_t;

typedef struct {
    uint64_t start, end;
    uint32_t name;
    unsigned long tid;
    PyObject *thread; /* borrowed */
    int used;
} step_t;

/* What the rows need of Python objects, made while the GIL is held. */
typedef struct {
    uint32_t *ids;       /* window's name id -> string id */
    uint64_t *open_keys; /* of the spans open at the start, thread after thread */
    uint32_t *open_names;
    size_t *before; /* per thread: room for what began before the window */
    char *recorded; /* per thread: whether it has rows */
    step_t *steps;
    size_t step_count;
} needs_t;

typedef struct {
    const window_t *window;
    tick_scale_t scale;
    int64_t shift_ns;
    columns_t columns;
    Py_ssize_t row;      /* the next one */
    uint32_t track;      /* the present thread's */
    const uint32_t *ids; /* a window's name id -> string id */
    list_t waiting, before, args; /* of waiting_t and before_t, see pair.c, and of row_args_t */
} pairing_t;

/* How many rows a window can have at most. Sets needs->before: of how many rows a thread's ends show that they began
   before the window; an estimate, unless `all_ends` counts every end as such. Needs no GIL. */
size_t window_measure(const window_t *window, int all_ends, needs_t *needs);
/* Fill the columns, from their first row on: 0; -1 without memory; 1 if there is no room for what began before the
   window. Needs no GIL. */
int window_read(pairing_t *p, needs_t *needs);

#endif
