/* Lanes: a task's open spans, as a thread has its own; and where the calling thread is. Twin of twin/lanes.py, turns.py.

   Open spans are followed all the time, not only while a window is open: what is open when one opens would be missing
   from it otherwise. A thread asks which task it is in only while some loop is in a step of one, or while its last event
   was in one: asyncio's own mapping says so, and there is nothing to replace. */

#include "recorder.h"

#include "span.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MANY_LANES 64 /* with so many more than after the last time, those of tasks that have ended are looked for */

static PyObject *find_asyncio, *task_name; /* functions of stepscope.core.tasks */
static PyObject *loop_here;                /* asyncio's function; NULL: the program has not imported it yet */
static PyObject *get_name;                 /* "get_name" */

/* ---- open spans ------------------------------------------------------------------------------------------- */

int open_grow(open_t *open) {
    size_t room = open->room ? 2 * open->room : 16;
    span_t **of = realloc(open->of, room * sizeof *of);
    if (of == NULL) return -1;
    open->of = of;
    open->room = room;
    return 0;
}

void open_clear(open_t *open) {
    while (open->count) open->of[--open->count]->entries--;
}

static int open_remove(open_t *open, span_t *span) {
    for (size_t place = open->count; place-- > 0;) {
        if (open->of[place] != span) continue;
        open->count--;
        memmove(&open->of[place], &open->of[place + 1], (open->count - place) * sizeof(span_t *));
        span->entries--;
        return 1;
    }
    return 0;
}

/* How often a span is in a list. */
static size_t open_times(const open_t *open, const span_t *span) {
    size_t times = 0;
    for (size_t place = 0; place < open->count; place++) times += open->of[place] == span;
    return times;
}

/* The list of a buffer that has a span: that of where its thread was last, of no task, of the first task; or NULL. */
static open_t *open_with(buffer_t *buffer, const span_t *span) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    open_t *lists[2] = {buffer->lane == NULL ? &buffer->open : &buffer->lane->open, &buffer->open};
    for (int i = 0; i < 2; i++)
        for (size_t place = lists[i]->count; place-- > 0;)
            if (lists[i]->of[place] == span) return lists[i];
    while (buffer->lanes != NULL && PyDict_Next(buffer->lanes, &at, &key, &value)) {
        open_t *open = &((lane_t *)value)->open;
        for (size_t place = open->count; place-- > 0;)
            if (open->of[place] == span) return open;
    }
    return NULL;
}

buffer_t *open_take(buffer_t *mine, span_t *span) {
    if (span->entries == 0) return NULL;
    buffer_t *first = NULL;
    open_t *here = mine->lane == NULL ? &mine->open : &mine->lane->open;
    open_t *found = open_with(mine, span), *other;
    if (found != NULL) first = mine;
    for (buffer_t *buffer = recorder.buffers; first != mine && buffer != NULL; buffer = buffer->next) {
        if ((other = open_with(buffer, span)) == NULL) continue; /* the list of buffers has the latest first */
        first = buffer;
        found = other;
    }
    if (found == NULL) return NULL;
    /* It is open in several places, and none of them is here: which one has ended is a guess. */
    if (recorder.recording && found != here && span->entries > 1 && open_times(found, span) < span->entries)
        recorder.unsure++;
    open_remove(found, span);
    return first;
}

void open_forget(span_t *span) {
    open_t *open;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL && span->entries; buffer = buffer->next)
        while (span->entries && (open = open_with(buffer, span)) != NULL) open_remove(open, span);
}

/* ---- a lane ----------------------------------------------------------------------------------------------- */

static void lane_dealloc(lane_t *lane) {
    open_clear(&lane->open);
    free(lane->open.of);
    Py_XDECREF(lane->task);
    Py_XDECREF(lane->name);
    Py_XDECREF(lane->said);
    PyObject_Free(lane);
}

static PyObject *lane_get_name(lane_t *lane, void *Py_UNUSED(closure)) { return Py_NewRef(lane->name); }

static PyGetSetDef lane_attributes[] = {
    {"name", (getter)lane_get_name, NULL, PyDoc_STR("What the task is called."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Lane_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "stepscope._native.TaskLane",
    .tp_doc = PyDoc_STR("One task on a thread."),
    .tp_basicsize = sizeof(lane_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)lane_dealloc,
    .tp_getset = lane_attributes,
};

/* Whether a lane is that of a task, which is alive. */
static int is_of(const lane_t *lane, const PyObject *task) {
    return ((PyWeakReference *)lane->task)->wr_object == task;
}

static int is_over(const lane_t *lane) { return is_of(lane, Py_None) && lane->open.count == 0; }

void lane_ask_name(lane_t *lane) {
    if (is_of(lane, Py_None)) return;
    PyObject *task = Py_NewRef(((PyWeakReference *)lane->task)->wr_object);
    PyObject *said = PyObject_CallMethodNoArgs(task, get_name), *name = NULL;
    if (said == NULL) program_error_clear();
    if (said == NULL || said != lane->said) {
        name = PyObject_CallOneArg(task_name, task);
        if (name == NULL) program_error_clear();
    }
    if (name != NULL && PyUnicode_Check(name)) {
        Py_XSETREF(lane->name, Py_NewRef(name));
        Py_XSETREF(lane->said, Py_XNewRef(said));
    }
    Py_XDECREF(name);
    Py_XDECREF(said);
    Py_DECREF(task);
}

/* A lane for a task; NULL: no memory, or it cannot be referred to weakly. */
static lane_t *lane_new(PyObject *task) {
    PyObject *weak = PyWeakref_NewRef(task, NULL), *name = weak == NULL ? NULL : PyUnicode_FromString("");
    lane_t *lane = name == NULL ? NULL : PyObject_New(lane_t, &Lane_Type);
    if (lane == NULL) {
        Py_XDECREF(name);
        Py_XDECREF(weak);
        PyErr_Clear();
        return NULL;
    }
    lane->task = weak;
    lane->name = name;
    lane->said = NULL;
    lane->id = lane->registry = 0;
    lane->open = (open_t){NULL, 0, 0};
    return lane;
}

/* ---- a buffer's lanes ------------------------------------------------------------------------------------- */

int lanes_hold_open(const buffer_t *buffer) {
    PyObject *key, *lane;
    Py_ssize_t at = 0;
    while (buffer->lanes != NULL && PyDict_Next(buffer->lanes, &at, &key, &lane))
        if (((lane_t *)lane)->open.count) return 1;
    return 0;
}

void lanes_forget(buffer_t *buffer) {
    PyObject *key, *lane;
    Py_ssize_t at = 0;
    while (buffer->lanes != NULL && PyDict_Next(buffer->lanes, &at, &key, &lane)) open_clear(&((lane_t *)lane)->open);
    Py_CLEAR(buffer->lanes);
    Py_CLEAR(buffer->lane);
    Py_CLEAR(buffer->entered);
    buffer->asks = 0;
    buffer->many_lanes = 0;
}

/* Drop the lanes to which nothing can come any more; 0, or -1 with an exception. */
static int lanes_prune(buffer_t *buffer) {
    PyObject *kept = PyDict_New(), *key, *lane;
    Py_ssize_t at = 0;
    while (kept != NULL && PyDict_Next(buffer->lanes, &at, &key, &lane))
        if (!is_over((lane_t *)lane) && PyDict_SetItem(kept, key, lane) < 0) Py_CLEAR(kept);
    if (kept == NULL) return -1;
    Py_SETREF(buffer->lanes, kept);
    buffer->many_lanes = 2 * PyDict_GET_SIZE(kept) + MANY_LANES;
    return 0;
}

/* Put a lane among a buffer's; 0, or -1 with an exception. */
static int lane_add(buffer_t *buffer, PyObject *key, lane_t *lane) {
    if (PyDict_GET_SIZE(buffer->lanes) >= buffer->many_lanes && lanes_prune(buffer) < 0) return -1;
    lane_t *old = (lane_t *)PyDict_GetItemWithError(buffer->lanes, key);
    if (old != NULL && old->open.count) { /* of a task that was where this one is; somebody may end its spans */
        PyObject *other = PyLong_FromSsize_t(-(Py_ssize_t)old);
        int failed = other == NULL || PyDict_SetItem(buffer->lanes, other, (PyObject *)old) < 0;
        Py_XDECREF(other);
        if (failed) return -1;
    }
    return PyDict_SetItem(buffer->lanes, key, (PyObject *)lane);
}

/* A buffer's lane of a task: a new reference; NULL: it has none, perhaps with an exception. */
static lane_t *lane_known(const buffer_t *buffer, PyObject *key, const PyObject *task) {
    PyObject *lane = buffer->lanes == NULL ? NULL : PyDict_GetItemWithError(buffer->lanes, key);
    return lane != NULL && is_of((lane_t *)lane, task) ? (lane_t *)Py_NewRef(lane) : NULL;
}

/* The lane of a task that the calling thread is in: a new reference; NULL: there is none, or no memory. */
static lane_t *lane_of(buffer_t *buffer, PyObject *task) {
    if (buffer->lane != NULL && is_of(buffer->lane, task)) return (lane_t *)Py_NewRef((PyObject *)buffer->lane);
    PyObject *key = PyLong_FromVoidPtr(task), *none = NULL;
    lane_t *lane = key == NULL ? NULL : lane_known(buffer, key, task), *made = NULL;
    if (lane == NULL && key != NULL && (none = PyDict_New()) != NULL && (made = lane_new(task)) != NULL) {
        /* Making them may have run the garbage collector, whose callbacks may have spans. */
        if (buffer->lanes == NULL) buffer->lanes = Py_NewRef(none);
        lane = lane_known(buffer, key, task);
        if (lane == NULL && lane_add(buffer, key, made) == 0) lane = (lane_t *)Py_NewRef((PyObject *)made);
    }
    Py_XDECREF(made);
    Py_XDECREF(none);
    Py_XDECREF(key);
    if (lane == NULL) PyErr_Clear();
    return lane;
}

/* ---- where the thread is ---------------------------------------------------------------------------------- */

void look_for_asyncio(void) {
    if (loop_here != NULL) return;
    PyObject *found = PyObject_CallNoArgs(find_asyncio);
    if (found == NULL) {
        program_error_clear();
    } else if (found != Py_None && loop_here == NULL) {
        Py_SETREF(recorder.running, Py_NewRef(PyTuple_GET_ITEM(found, 0)));
        loop_here = Py_NewRef(PyTuple_GET_ITEM(found, 1));
    }
    Py_XDECREF(found);
}

/* The task of asyncio's that the calling thread is in: a new reference; NULL: none. */
static PyObject *task_here(void) {
    if (loop_here == NULL || PyDict_GET_SIZE(recorder.running) == 0) return NULL;
    PyObject *loop = PyObject_CallNoArgs(loop_here), *task = NULL;
    if (loop != NULL && loop != Py_None) task = Py_XNewRef(PyDict_GetItemWithError(recorder.running, loop));
    Py_XDECREF(loop);
    if (task == NULL && PyErr_Occurred()) program_error_clear();
    return task;
}

/* Say in the thread's records whose what follows is; without room for that the thread records no further, for what
   follows would stand elsewhere than it is. */
static void turn_put(buffer_t *buffer, lane_t *lane) {
    part_t *part = &buffer->part;
    uint32_t id = 0;
    if (part->full && !recorder_recycles()) return;
    if (lane != NULL) {
        if (lane->registry != recorder.registry) {
            int64_t given = lane_id((PyObject *)lane);
            lane->id = given < 0 ? 0 : (uint32_t)given;
            lane->registry = given < 0 ? 0 : recorder.registry;
        }
        id = lane->id;
    }
    int lost = lane != NULL && id == 0;
    if (id == part->next_lane && !lost) return;
    if (unlikely(recorder.besides)) record_besides(buffer, EVENT_ENDS);
    record_t *record = buffer->pos;
    if (!lost && record >= buffer->end && (record = buffer_grow(buffer)) == NULL) {
        part->dropped--; /* it is no event */
        lost = 1;
    }
    if (lost) {
        part->full = 1;
        buffer->end = buffer->pos;
        return;
    }
    *record = (record_t){0, id, REC_TURN, 0};
    record->ticks = ticks_now();
    buffer->pos = record + 1;
    part->next_lane = id;
}

open_t *turn(buffer_t **of, int ends) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    uint64_t epoch = recorder.epoch;
    buffer_t *buffer = *of;
    PyObject *task = task_here();
    lane_t *lane = task == NULL ? (lane_t *)Py_XNewRef((PyObject *)buffer->entered) : lane_of(buffer, task);
    Py_XDECREF(task);
    /* As it comes, and when its outermost span ends: that may be the last that is seen of it. */
    if (lane != NULL && (lane != buffer->lane || (ends && lane->open.count == 1))) lane_ask_name(lane);
    PyErr_Restore(kind, error, trace);
    if (unlikely(epoch != recorder.epoch)) { /* the program has forked meanwhile: the lane is the parent's */
        Py_XDECREF(lane);
        lane = NULL;
        *of = buffer = buffer_mine();
        if (buffer == NULL) return NULL;
    }
    lane_t *before = buffer->lane;
    buffer->lane = lane;
    Py_XDECREF(before);
    if (recorder.recording) turn_put(buffer, lane);
    buffer->asks = lane != NULL || buffer->entered != NULL || buffer->part.next_lane != 0;
    return lane == NULL ? &buffer->open : &lane->open;
}

/* ---- the module's functions ------------------------------------------------------------------------------- */

static PyObject *lane_here(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    buffer_t *buffer = buffer_here();
    return Py_NewRef(buffer == NULL || buffer->lane == NULL ? Py_None : (PyObject *)buffer->lane);
}

static PyObject *enter_task(PyObject *Py_UNUSED(module), PyObject *task) {
    buffer_t *buffer = buffer_mine();
    if (buffer != NULL) {
        Py_XSETREF(buffer->entered, lane_of(buffer, task));
        (void)turn(&buffer, 0);
    }
    Py_RETURN_NONE;
}

static PyObject *leave_task(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    buffer_t *buffer = buffer_mine();
    if (buffer != NULL) Py_CLEAR(buffer->entered);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"lane_here", lane_here, METH_NOARGS, PyDoc_STR("The lane of the task that the calling thread is in, or None.")},
    {"enter_task", enter_task, METH_O,
     PyDoc_STR("enter_task($module, task, /)\n--\n\nThe calling thread comes to a task of another framework.")},
    {"leave_task", leave_task, METH_NOARGS, PyDoc_STR("The calling thread leaves the task that it has entered.")},
    {NULL, NULL, 0, NULL},
};

int lanes_add(PyObject *module) {
    if (PyType_Ready(&Lane_Type) < 0) return -1;
    if (recorder.running == NULL && (recorder.running = PyDict_New()) == NULL) return -1;
    if (get_name == NULL && (get_name = PyUnicode_InternFromString("get_name")) == NULL) return -1;
    Py_XSETREF(find_asyncio, imported("stepscope.core.tasks", "find_asyncio"));
    if (find_asyncio == NULL) return -1;
    Py_XSETREF(task_name, imported("stepscope.core.tasks", "task_name"));
    if (task_name == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
