/* Pairing: from each thread's begins and ends to slices and instants, cut at the window.

   The twin of twin/pair.py, with paired.c. Ends are matched to the innermost open begin of the same span. Rows are
   written in opening order, thread after thread: steps, what began before the window, what was open when it opened,
   records. No Python object is touched here, so that the GIL is not needed. */

#include "pair.h"

#include <stdlib.h>
#include <string.h>

/* A begin that waits for its end. */
typedef struct {
    uint64_t key;
    Py_ssize_t row;
} waiting_t;

/* An end whose begin was before the window. */
typedef struct {
    uint64_t ticks;
    uint32_t name;
    PyObject *args; /* borrowed from the window, or NULL */
} before_t;

/* Room for that many more items. */
static int list_grow(list_t *list, size_t more, size_t size) {
    if (list->count + more <= list->room) return 0;
    size_t room = list->room ? 2 * list->room : 64;
    if (room < list->count + more) room = list->count + more;
    void *items = realloc(list->items, room * size);
    if (items == NULL) return -1;
    list->items = items;
    list->room = room;
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------------------- */

static uint64_t clamped(const pairing_t *p, uint64_t ticks) {
    /* A thread may have read the clock just outside the window that its record fell into. */
    if (ticks < p->window->opened.ticks) return p->window->opened.ticks;
    return ticks > p->window->sealed.ticks ? p->window->sealed.ticks : ticks;
}

static int64_t ts_of(const pairing_t *p, uint64_t ticks) { return ticks_to_ns(&p->scale, ticks) + p->shift_ns; }

static inline Py_ssize_t row_add(pairing_t *p, uint32_t name, uint64_t ticks, uint8_t kind) {
    Py_ssize_t row = p->row++;
    p->columns.ts[row] = ts_of(p, ticks);
    p->columns.name[row] = name;
    p->columns.track[row] = p->track;
    p->columns.kind[row] = kind;
    return row;
}

static inline void row_end(pairing_t *p, Py_ssize_t row, uint64_t ticks) {
    p->columns.dur[row] = ts_of(p, ticks) - p->columns.ts[row];
}

static int args_add(pairing_t *p, Py_ssize_t row, PyObject *args) {
    if (args == NULL) return 0;
    if (list_grow(&p->args, 1, sizeof(row_args_t)) < 0) return -1;
    ((row_args_t *)p->args.items)[p->args.count++] = (row_args_t){row, args};
    return 0;
}

/* ---- records ---------------------------------------------------------------------------------------------- */

static inline int waiting_push(pairing_t *p, uint64_t key, Py_ssize_t row) {
    if (unlikely(list_grow(&p->waiting, 1, sizeof(waiting_t)) < 0)) return -1;
    ((waiting_t *)p->waiting.items)[p->waiting.count++] = (waiting_t){key, row};
    return 0;
}

/* End the innermost waiting span of that key; 0 if there is none. */
static inline int waiting_end(pairing_t *p, uint64_t key, uint64_t ticks) {
    waiting_t *waiting = p->waiting.items;
    for (size_t place = p->waiting.count; place-- > 0;) {
        if (waiting[place].key != key) continue;
        row_end(p, waiting[place].row, ticks);
        p->waiting.count--;
        memmove(&waiting[place], &waiting[place + 1], (p->waiting.count - place) * sizeof *waiting);
        return 1;
    }
    return 0;
}

/* The begin, on whatever thread, of a span with arguments; the window has it. */
static const record_t *begin_of_serial(const window_t *window, uint32_t serial, const sealed_thread_t **thread) {
    for (size_t t = 0; t < window->thread_count; t++)
        for (const chunk_t *chunk = window->threads[t].first; chunk != NULL; chunk = chunk->next)
            for (const record_t *record = chunk->records, *end = record + chunk->used; record < end; record++)
                if (record->kind == REC_BEGIN_ARGS && (uint32_t)record[1].ticks == serial) {
                    *thread = &window->threads[t];
                    return record;
                }
    return NULL;
}

/* Note a span whose begin this thread's records do not have. */
static int before_add(pairing_t *p, const sealed_thread_t *thread, const record_t *record) {
    uint64_t ticks = clamped(p, record->ticks);
    if (list_grow(&p->before, 1, sizeof(before_t)) < 0) return -1;
    if (record->kind == REC_END_SERIAL) record = begin_of_serial(p->window, record->id, &thread);
    if (record == NULL) return 0; /* its begin was dropped */
    PyObject *args = record->kind == REC_END ? NULL : thread->payloads.args[record[1].id];
    ((before_t *)p->before.items)[p->before.count++] = (before_t){ticks, p->ids[record->id], args};
    return 0;
}

/* One record; its payload stands behind it. */
static inline int record_read(pairing_t *p, const sealed_thread_t *thread, const record_t *record) {
    uint64_t ticks = clamped(p, record->ticks);
    Py_ssize_t row;
    switch (record->kind) {
    case REC_BEGIN:
        return waiting_push(p, p->ids[record->id], row_add(p, p->ids[record->id], ticks, ROW_SLICE));
    case REC_BEGIN_ARGS:
        row = row_add(p, p->ids[record->id], ticks, ROW_SLICE);
        if (args_add(p, row, thread->payloads.args[record[1].id]) < 0) return -1;
        return waiting_push(p, SERIAL_KEY | (uint32_t)record[1].ticks, row);
    case REC_INSTANT:
        row_add(p, p->ids[record->id], ticks, ROW_INSTANT);
        return 0;
    case REC_INSTANT_ARGS:
        row = row_add(p, p->ids[record->id], ticks, ROW_INSTANT);
        return args_add(p, row, thread->payloads.args[record[1].id]);
    case REC_END:
        return waiting_end(p, p->ids[record->id], ticks) ? 0 : before_add(p, thread, record);
    case REC_END_SERIAL:
        return waiting_end(p, SERIAL_KEY | record->id, ticks) ? 0 : before_add(p, thread, record);
    default: /* REC_END_ARGS */
        return waiting_end(p, SERIAL_KEY | (uint32_t)record[1].ticks, ticks) ? 0 : before_add(p, thread, record);
    }
}

static int thread_read(pairing_t *p, const sealed_thread_t *thread) {
    for (const chunk_t *chunk = thread->first; chunk != NULL; chunk = chunk->next) {
        const record_t *record = chunk->records, *end = record + chunk->used;
        while (record < end) {
            if (unlikely(record_read(p, thread, record) < 0)) return -1;
            record += record->kind < REC_BEGIN_ARGS ? 1 : 2;
        }
    }
    waiting_t *waiting = p->waiting.items;
    for (size_t i = 0; i < p->waiting.count; i++) {
        row_end(p, waiting[i].row, p->window->sealed.ticks);
        p->columns.kind[waiting[i].row] |= ROW_CUT;
    }
    return 0;
}

/* ---- what began before the window, and steps -------------------------------------------------------------- */

/* Make room at `first` for the spans that began before the window: the last one to end is the outermost. */
static void rows_insert_before(pairing_t *p, Py_ssize_t first) {
    size_t count = p->before.count;
    if (count == 0) return;
    size_t behind = (size_t)(p->row - first);
    columns_t *c = &p->columns;
    memmove(&c->ts[first + (Py_ssize_t)count], &c->ts[first], behind * sizeof *c->ts);
    memmove(&c->dur[first + (Py_ssize_t)count], &c->dur[first], behind * sizeof *c->dur);
    memmove(&c->name[first + (Py_ssize_t)count], &c->name[first], behind * sizeof *c->name);
    memmove(&c->track[first + (Py_ssize_t)count], &c->track[first], behind * sizeof *c->track);
    memmove(&c->kind[first + (Py_ssize_t)count], &c->kind[first], behind * sizeof *c->kind);
    row_args_t *args = p->args.items;
    for (size_t i = 0; i < p->args.count; i++)
        if (args[i].row >= first) args[i].row += (Py_ssize_t)count;
    const before_t *before = p->before.items;
    p->row = first;
    for (size_t i = count; i-- > 0;) {
        Py_ssize_t row = row_add(p, before[i].name, p->window->opened.ticks, ROW_SLICE | ROW_CUT);
        row_end(p, row, before[i].ticks);
        (void)args_add(p, row, before[i].args); /* room was made for it when it was noted */
    }
    p->row += (Py_ssize_t)behind;
}

static void steps_read(pairing_t *p, step_t *steps, size_t count, unsigned long tid) {
    for (size_t i = 0; i < count; i++) {
        if (steps[i].used || steps[i].tid != tid) continue;
        uint64_t start = clamped(p, steps[i].start), end = clamped(p, steps[i].end);
        int cut = start != steps[i].start || end != steps[i].end;
        Py_ssize_t row = row_add(p, steps[i].name, start, cut ? ROW_SLICE | ROW_CUT : ROW_SLICE);
        row_end(p, row, end);
        steps[i].used = 1;
    }
}

/* ---- a window --------------------------------------------------------------------------------------------- */

/* How many rows a thread can have at most without steps, and of how many an end shows that they began before the
   window; an estimate, unless `all_ends` counts every end as such. */
static void thread_measure(const sealed_thread_t *thread, int all_ends, size_t *rows, size_t *before) {
    size_t open = thread->at_start_count;
    *rows = open;
    *before = 0;
    for (const chunk_t *chunk = thread->first; chunk != NULL; chunk = chunk->next) {
        for (const record_t *record = chunk->records, *end = record + chunk->used; record < end; record++) {
            if (record->kind == REC_PAYLOAD) continue;
            if (record->kind != REC_END && record->kind != REC_END_ARGS && record->kind != REC_END_SERIAL) {
                ++*rows;
                open += record->kind == REC_BEGIN || record->kind == REC_BEGIN_ARGS;
            } else if (open == 0 || all_ends) {
                ++*before;
            } else {
                open--;
            }
        }
    }
    *rows += *before;
}

size_t window_measure(const window_t *window, int all_ends, needs_t *needs) {
    size_t room = needs->step_count;
    for (size_t t = 0; t < window->thread_count; t++) {
        size_t rows;
        thread_measure(&window->threads[t], all_ends, &rows, &needs->before[t]);
        room += rows;
    }
    return room;
}

int window_read(pairing_t *p, needs_t *needs) {
    const window_t *window = p->window;
    size_t noted = 0;
    p->row = 0;
    p->track = 0;
    p->args.count = 0;
    for (size_t i = 0; i < needs->step_count; i++) needs->steps[i].used = 0;
    for (size_t t = 0; t < window->thread_count; t++) {
        const sealed_thread_t *thread = &window->threads[t];
        Py_ssize_t before = p->row;
        p->waiting.count = p->before.count = 0;
        steps_read(p, needs->steps, needs->step_count, thread->tid);
        Py_ssize_t first = p->row;
        for (size_t i = 0; i < thread->at_start_count; i++, noted++) {
            Py_ssize_t row = row_add(p, needs->open_names[noted], window->opened.ticks, ROW_SLICE | ROW_CUT);
            if (args_add(p, row, thread->at_start[i].args) < 0) return -1;
            if (waiting_push(p, needs->open_keys[noted], row) < 0) return -1;
        }
        if (thread_read(p, thread) < 0) return -1;
        if (p->before.count > needs->before[t]) return 1;
        if (list_grow(&p->args, p->before.count, sizeof(row_args_t)) < 0) return -1;
        rows_insert_before(p, first);
        needs->recorded[t] = p->row > before;
        p->track += needs->recorded[t];
    }
    for (size_t i = 0; i < needs->step_count; i++) { /* on threads that recorded nothing else */
        if (needs->steps[i].used) continue;
        steps_read(p, needs->steps, needs->step_count, needs->steps[i].tid);
        p->track++;
    }
    for (Py_ssize_t row = 0; row < p->row; row++) p->columns.cat[row] = 1;
    return 0;
}
