/* Pairing: from each thread's begins and ends to slices and instants, cut at the window.

   The twin of twin/pair.py. Ends are matched to the innermost open begin of the same span. Rows are written in
   opening order, thread after thread: steps, what began before the window, what was open when it opened, records. */

#include "recorder.h"

#include <stdlib.h>
#include <string.h>

#define SERIAL_KEY ((uint64_t)1 << 63) /* a span with arguments is known by its serial, others by their name */

typedef struct {
    uint64_t key;
    Py_ssize_t row;
} waiting_t;

typedef struct {
    uint64_t ticks;
    uint32_t name;
    PyObject *args; /* borrowed from the window, or NULL */
} before_t;

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

/* A growing C array: items, how many, for how many there is room. */
typedef struct {
    void *items;
    size_t count, room;
} list_t;

typedef struct {
    const window_t *window;
    tick_scale_t scale;
    int64_t shift_ns;
    columns_t columns;
    Py_ssize_t row;     /* the next one */
    uint32_t track;     /* the present thread's */
    const uint32_t *ids; /* a window's name id -> string id */
    list_t waiting, before, args;
} pairing_t;

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

/* ---- rows; no Python object is touched, so that the GIL is not needed --------------------------------------- */

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

/* What the rows need of Python objects, made while the GIL is held. */
typedef struct {
    uint32_t *ids;        /* window's name id -> string id */
    uint64_t *open_keys;  /* of the spans open at the start, thread after thread */
    uint32_t *open_names;
    size_t *before;       /* per thread: room for what began before the window */
    char *recorded;       /* per thread: whether it has rows */
    step_t *steps;
    size_t step_count;
} needs_t;

/* Fill the columns: 0; -1 without memory; 1 if there is no room for what began before the window. */
static int window_read(pairing_t *p, needs_t *needs) {
    const window_t *window = p->window;
    size_t noted = 0;
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

/* ---- Python objects ------------------------------------------------------------------------------------------ */

static PyObject *paired_type; /* stepscope.core.rows.Paired */

/* The string id of a text, which is given one if it has none; -1 with an exception. */
static int64_t string_id(PyObject *strings, PyObject *text) {
    PyObject *known = PyDict_GetItemWithError(strings, text);
    if (known != NULL) return (int64_t)PyLong_AsLongLong(known);
    if (PyErr_Occurred()) return -1;
    int64_t id = (int64_t)PyDict_GET_SIZE(strings);
    PyObject *number = PyLong_FromLongLong(id);
    int failed = number == NULL || PyDict_SetItem(strings, text, number) < 0;
    Py_XDECREF(number);
    return failed ? -1 : id;
}

/* A window's strings: "" and the category, then its names. */
static PyObject *strings_of(const window_t *window, uint32_t *ids) {
    PyObject *strings = Py_BuildValue("{s:i,s:i}", "", 0, "user_annotation", 1);
    for (Py_ssize_t i = 0; strings != NULL && i < PyList_GET_SIZE(window->names); i++) {
        int64_t id = string_id(strings, PyList_GET_ITEM(window->names, i));
        if (id < 0) Py_CLEAR(strings);
        ids[i] = (uint32_t)id;
    }
    return strings;
}

static int open_spans_prepare(const window_t *window, PyObject *strings, needs_t *needs) {
    size_t noted = 0;
    for (size_t t = 0; t < window->thread_count; t++) {
        for (size_t i = 0; i < window->threads[t].at_start_count; i++, noted++) {
            const span_t *span = window->threads[t].at_start[i].span;
            int64_t id = string_id(strings, span->name);
            if (id < 0) return -1;
            needs->open_names[noted] = (uint32_t)id;
            needs->open_keys[noted] = span->args == NULL ? (uint64_t)id : SERIAL_KEY | (uint32_t)span->serial;
        }
    }
    return 0;
}

static int steps_prepare(PyObject *steps, PyObject *strings, needs_t *needs) {
    for (size_t i = 0; i < needs->step_count; i++) {
        PyObject *name, *thread;
        step_t *step = &needs->steps[i];
        unsigned long long start, end;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(steps, (Py_ssize_t)i), "UKKkU", &name, &start, &end, &step->tid,
                              &thread))
            return -1;
        int64_t id = string_id(strings, name);
        if (id < 0) return -1;
        step->name = (uint32_t)id;
        step->start = start;
        step->end = end;
        step->thread = thread;
        step->used = 0;
    }
    return 0;
}

static int thread_append(PyObject *threads, unsigned long tid, PyObject *name) {
    PyObject *thread = Py_BuildValue("(kO)", tid, name);
    int failed = thread == NULL || PyList_Append(threads, thread) < 0;
    Py_XDECREF(thread);
    return failed ? -1 : 0;
}

/* [(tid, name)] of the threads with rows, in the order of their tracks. */
static PyObject *threads_of(const window_t *window, const needs_t *needs) {
    PyObject *threads = PyList_New(0);
    for (size_t t = 0; threads != NULL && t < window->thread_count; t++)
        if (needs->recorded[t] && thread_append(threads, window->threads[t].tid, window->threads[t].name) < 0)
            Py_CLEAR(threads);
    for (size_t i = 0; threads != NULL && i < needs->step_count; i++) {
        const step_t *step = &needs->steps[i];
        int known = 0;
        for (size_t t = 0; t < window->thread_count; t++) known |= window->threads[t].tid == step->tid;
        for (size_t earlier = 0; earlier < i; earlier++) known |= needs->steps[earlier].tid == step->tid;
        if (!known && thread_append(threads, step->tid, step->thread) < 0) Py_CLEAR(threads);
    }
    return threads;
}

/* {row: arguments}. */
static PyObject *args_of(const pairing_t *p) {
    PyObject *args = PyDict_New();
    const row_args_t *items = p->args.items;
    for (size_t i = 0; args != NULL && i < p->args.count; i++) {
        PyObject *row = PyLong_FromSsize_t(items[i].row);
        if (row == NULL || PyDict_SetItem(args, row, items[i].args) < 0) Py_CLEAR(args);
        Py_XDECREF(row);
    }
    return args;
}

/* {thread's name: how many events it dropped}. */
static PyObject *dropped_of(const window_t *window) {
    PyObject *dropped = PyDict_New();
    for (size_t t = 0; dropped != NULL && t < window->thread_count; t++) {
        const sealed_thread_t *thread = &window->threads[t];
        if (thread->dropped == 0) continue;
        PyObject *before = PyDict_GetItemWithError(dropped, thread->name);
        unsigned long long count = before == NULL ? 0 : PyLong_AsUnsignedLongLong(before);
        PyObject *number = PyLong_FromUnsignedLongLong(count + thread->dropped);
        if (number == NULL || PyDict_SetItem(dropped, thread->name, number) < 0) Py_CLEAR(dropped);
        Py_XDECREF(number);
    }
    return dropped;
}

/* Cut every column off behind the last row. */
static int columns_cut(PyObject *columns, Py_ssize_t rows, Py_ssize_t room) {
    for (Py_ssize_t i = 0; rows < room && i < PyTuple_GET_SIZE(columns); i++)
        if (PySequence_DelSlice(PyTuple_GET_ITEM(columns, i), rows, room) < 0) return -1;
    return 0;
}

/* The columns of all rows; NULL with an exception. */
static PyObject *rows_of(pairing_t *p, needs_t *needs) {
    PyObject *columns = NULL;
    Py_ssize_t room = 0;
    int result = 1;
    for (int all_ends = 0; all_ends < 2 && result == 1; all_ends++) {
        Py_XDECREF(columns);
        room = (Py_ssize_t)needs->step_count;
        Py_BEGIN_ALLOW_THREADS
        for (size_t t = 0; t < p->window->thread_count; t++) {
            size_t rows;
            thread_measure(&p->window->threads[t], all_ends, &rows, &needs->before[t]);
            room += (Py_ssize_t)rows;
        }
        Py_END_ALLOW_THREADS
        p->row = 0;
        p->track = 0;
        p->args.count = 0;
        for (size_t i = 0; i < needs->step_count; i++) needs->steps[i].used = 0;
        columns = columns_new(room, &p->columns);
        if (columns == NULL) return NULL;
        Py_BEGIN_ALLOW_THREADS
        result = window_read(p, needs);
        Py_END_ALLOW_THREADS
        columns_release(&p->columns);
    }
    if (result != 0)
        PyErr_NoMemory();
    else if (columns_cut(columns, p->row, room) == 0)
        return columns;
    Py_DECREF(columns);
    return NULL;
}

/* pair(window, steps, shift_ns) -> Paired: the twin's docstring says what. */
static PyObject *pair(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !Py_IS_TYPE(arguments[0], &Window_Type)) {
        PyErr_SetString(PyExc_TypeError, "pair() takes a sealed window, steps and a shift in ns");
        return NULL;
    }
    window_t *window = (window_t *)arguments[0];
    pairing_t p = {.window = window, .scale = ticks_scale(window->opened, window->sealed)};
    p.shift_ns = PyLong_AsLongLong(arguments[2]);
    if (p.shift_ns == -1 && PyErr_Occurred()) return NULL;
    PyObject *steps = PySequence_Fast(arguments[1], "steps must be a sequence");
    if (steps == NULL) return NULL;

    PyObject *strings = NULL, *columns = NULL, *texts = NULL, *threads = NULL, *args = NULL, *dropped = NULL;
    PyObject *paired = NULL;
    size_t open_count = 0;
    for (size_t t = 0; t < window->thread_count; t++) open_count += window->threads[t].at_start_count;
    needs_t needs = {.step_count = (size_t)PySequence_Fast_GET_SIZE(steps)};
    needs.ids = calloc((size_t)PyList_GET_SIZE(window->names) + 1, sizeof *needs.ids);
    needs.open_keys = calloc(open_count + 1, sizeof *needs.open_keys);
    needs.open_names = calloc(open_count + 1, sizeof *needs.open_names);
    needs.before = calloc(window->thread_count + 1, sizeof *needs.before);
    needs.recorded = calloc(window->thread_count + 1, sizeof *needs.recorded);
    needs.steps = calloc(needs.step_count + 1, sizeof *needs.steps);
    if (!needs.ids || !needs.open_keys || !needs.open_names || !needs.before || !needs.recorded || !needs.steps) {
        PyErr_NoMemory();
        goto finish;
    }
    p.ids = needs.ids;
    if ((strings = strings_of(window, needs.ids)) == NULL) goto finish;
    if (open_spans_prepare(window, strings, &needs) < 0 || steps_prepare(steps, strings, &needs) < 0) goto finish;
    if ((columns = rows_of(&p, &needs)) == NULL) goto finish;
    if ((texts = PyDict_Keys(strings)) == NULL || (threads = threads_of(window, &needs)) == NULL) goto finish;
    if ((args = args_of(&p)) == NULL || (dropped = dropped_of(window)) == NULL) goto finish;
    paired = PyObject_CallFunctionObjArgs(paired_type, columns, texts, threads, args, dropped, NULL);
finish:
    Py_XDECREF(dropped);
    Py_XDECREF(args);
    Py_XDECREF(threads);
    Py_XDECREF(texts);
    Py_XDECREF(columns);
    Py_XDECREF(strings);
    Py_DECREF(steps);
    free(p.args.items);
    free(p.before.items);
    free(p.waiting.items);
    free(needs.steps);
    free(needs.recorded);
    free(needs.before);
    free(needs.open_names);
    free(needs.open_keys);
    free(needs.ids);
    return paired;
}

static PyMethodDef functions[] = {
    {"pair", (PyCFunction)(void (*)(void))pair, METH_FASTCALL, PyDoc_STR("Pair a sealed window's records.")},
    {NULL, NULL, 0, NULL},
};

int pair_add(PyObject *module) {
    PyObject *rows = PyImport_ImportModule("stepscope.core.rows");
    if (rows == NULL) return -1;
    Py_XSETREF(paired_type, PyObject_GetAttrString(rows, "Paired"));
    Py_DECREF(rows);
    if (paired_type == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
