/* Pairing, seen from Python: pair(window, steps, shift_ns) -> Paired. The pairing itself is in pair.c.

   What that needs of Python objects is made first (needs_t): ids for the window's labels, steps as C values. Then the columns are filled without the GIL, and the rest of the result is made. */

#include "pair.h"

#include "span.h"

#include <stdlib.h>

static PyObject *paired_type, *track_type, *paired_counters_type, *paired_flows_type; /* of stepscope.core.rows */
static PyObject *number_key;                               /* "External id" */

/* ---- what the rows need ----------------------------------------------------------------------------------- */

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

/* A window's strings: "", the category of the program's spans, what flows without a name are called, then its labels'. */
enum { FLOW_NAME = 2 };

static PyObject *strings_of(const window_t *window, label_t *labels) {
    PyObject *strings = Py_BuildValue("{s:i,s:i,s:i}", "", 0, "user_annotation", ANNOTATION, "flow", FLOW_NAME);
    PyObject *label, *number;
    Py_ssize_t place = 0;
    while (strings != NULL && PyDict_Next(window->labels.ids, &place, &label, &number)) {
        int64_t ids[3] = {0, ANNOTATION, 0};
        int failed = 0;
        if (PyUnicode_Check(label))
            failed = (ids[0] = string_id(strings, label)) < 0;
        else
            for (int i = 0; i < 3 && !failed; i++) failed = (ids[i] = string_id(strings, PyTuple_GET_ITEM(label, i))) < 0;
        if (failed) Py_CLEAR(strings);
        labels[PyLong_AsUnsignedLong(number)] = (label_t){(uint32_t)ids[0], (uint32_t)ids[1], (uint32_t)ids[2]};
    }
    return strings;
}

/* The place of each of a window's series. */
static void series_places(const window_t *window, uint32_t *series) {
    PyObject *key, *number;
    Py_ssize_t place = 0;
    for (uint32_t i = 0; PyDict_Next(window->series.ids, &place, &key, &number); i++)
        series[PyLong_AsUnsignedLong(number)] = i;
}

/* The id of a step's lane, which is given one if it has none; 0, or -1 with an exception. */
static int step_lane(needs_t *needs, PyObject *lane, uint32_t *id) {
    if (!Py_IS_TYPE(lane, &Lane_Type)) {
        PyErr_SetString(PyExc_TypeError, "a step's lane is what lane_here() returned");
        return -1;
    }
    PyObject *known = PyDict_GetItemWithError(needs->lanes, lane);
    if (known == NULL && PyErr_Occurred()) return -1;
    PyObject *number = known == NULL ? PyLong_FromUnsignedLong(needs->lane_end) : Py_NewRef(known);
    int failed = number == NULL || PyDict_SetItem(needs->lanes, lane, number) < 0;
    if (!failed) *id = (uint32_t)PyLong_AsUnsignedLong(number);
    if (!failed && known == NULL) needs->lane_end++;
    Py_XDECREF(number);
    return failed ? -1 : 0;
}

static int steps_prepare(PyObject *steps, PyObject *strings, needs_t *needs) {
    for (size_t i = 0; i < needs->step_count; i++) {
        PyObject *name, *thread, *args, *lane;
        step_t *step = &needs->steps[i];
        unsigned long long start, end;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(steps, (Py_ssize_t)i), "UKKkUOO", &name, &start, &end,
                              &step->tid, &thread, &args, &lane))
            return -1;
        if (args != Py_None && !PyDict_Check(args)) {
            PyErr_SetString(PyExc_TypeError, "the arguments of a step must be a dict or None");
            return -1;
        }
        if (lane != Py_None && step_lane(needs, lane, &step->lane) < 0) return -1;
        int64_t id = string_id(strings, name);
        if (id < 0) return -1;
        step->name = (uint32_t)id;
        step->start = start;
        step->end = end;
        step->thread = thread;
        step->args = args == Py_None ? NULL : args;
        step->used = 0;
    }
    return 0;
}

/* Room for what the rows need; 0, or -1 with an exception. needs_free gives back what there is. */
static int needs_make(const window_t *window, size_t step_count, needs_t *needs) {
    needs->step_count = step_count;
    needs->labels = calloc((size_t)window->labels.next + 1, sizeof *needs->labels);
    needs->series = calloc((size_t)window->series.next + 1, sizeof *needs->series);
    needs->orphans = calloc(window->thread_count + 1, sizeof *needs->orphans);
    needs->steps = calloc(step_count + 1, sizeof *needs->steps);
    needs->lane_end = window->lanes.next;
    size_t lanes = needs->lane_end + step_count; /* each step may be the only one on its lane */
    needs->numbers = calloc(lanes, sizeof *needs->numbers);
    needs->waiting = calloc(lanes, sizeof *needs->waiting);
    needs->cpu_of = calloc(lanes, sizeof *needs->cpu_of);
    needs->tracks = calloc(lanes + window->thread_count + step_count, sizeof *needs->tracks);
    needs->lanes = PyDict_Copy(window->lanes.ids);
    if (needs->lanes == NULL) return -1;
    if (needs->labels && needs->series && needs->orphans && needs->steps && needs->numbers && needs->waiting &&
        needs->cpu_of && needs->tracks)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static void needs_free(needs_t *needs) {
    for (uint32_t lane = 0; needs->waiting != NULL && lane < needs->lane_end; lane++) free(needs->waiting[lane].items);
    Py_XDECREF(needs->lanes);
    free(needs->tracks);
    free(needs->cpu_of);
    free(needs->waiting);
    free(needs->numbers);
    free(needs->steps);
    free(needs->orphans);
    free(needs->series);
    free(needs->labels);
}

/* ---- the result ------------------------------------------------------------------------------------------- */

/* [PairedTrack] of what has rows; NULL with an exception. */
static PyObject *tracks_of(const pairing_t *p, const needs_t *needs) {
    PyObject *tracks = PyList_New(0), *names = PyList_New(needs->lane_end), *lane, *id;
    Py_ssize_t place = 0;
    if (tracks == NULL || names == NULL) goto fail;
    while (PyDict_Next(needs->lanes, &place, &lane, &id)) {
        PyObject *name = PyDict_GetItemWithError(p->window->lane_names, lane);
        if (name == NULL) name = ((lane_t *)lane)->name; /* that a step stands on, and nothing else of the window */
        PyList_SET_ITEM(names, (Py_ssize_t)PyLong_AsUnsignedLong(id), Py_NewRef(name));
    }
    for (uint32_t i = 0; i < p->track_count; i++) {
        const paired_track_t *each = &p->tracks[i];
        unsigned long tid = each->lane ? 0 : each->thread ? each->thread->tid : each->step->tid;
        PyObject *name = each->lane     ? PyList_GET_ITEM(names, each->lane)
                         : each->thread ? each->thread->name
                                        : each->step->thread;
        PyObject *track = PyObject_CallFunction(track_type, "skO", each->lane ? "task" : "thread", tid, name);
        int failed = track == NULL || PyList_Append(tracks, track) < 0;
        Py_XDECREF(track);
        if (failed) goto fail;
    }
    Py_DECREF(names);
    return tracks;
fail:
    Py_XDECREF(names);
    Py_XDECREF(tracks);
    return NULL;
}

#define THREAD_TIME "thread_time_ns" /* as core/rows.py */
#define CALL_STACK "Call stack"       /* as core/stacks.py */

/* Give arguments to a row, beside those it has already: those of a begin are its span's own. */
static int row_args_add(PyObject *args, PyObject *row, PyObject *more) {
    PyObject *before = PyDict_GetItemWithError(args, row);
    if (before == NULL) return PyErr_Occurred() ? -1 : PyDict_SetItem(args, row, more);
    PyObject *all = PyDict_Copy(before);
    int failed = all == NULL || PyDict_Update(all, more) < 0 || PyDict_SetItem(args, row, all) < 0;
    Py_XDECREF(all);
    return failed ? -1 : 0;
}

/* So many rows' arguments, and other threads get a turn: the program goes on while its trace is made. */
enum { ROWS_A_TURN = 1024 };

/* {row: arguments}. */
static PyObject *args_of(const pairing_t *p, PyObject *texts) {
    PyObject *args = PyDict_New();
    const row_args_t *items = p->args.items;
    for (size_t i = 0; args != NULL && i < p->args.count; i++) {
        const row_args_t *item = &items[i];
        PyObject *more = item->args == NULL ? Py_BuildValue("{sO}", CALL_STACK, PyList_GET_ITEM(texts, item->stack))
                         : PyLong_Check(item->args) ? Py_BuildValue("{OO}", number_key, item->args)
                         : Py_IS_TYPE(item->args, &Keywords_Type) ? keywords_dict(item->args)
                                                    : Py_NewRef(item->args);
        if (more != NULL && PyDict_GET_SIZE(more) == 0) { /* of instant("x", {}) */
            Py_DECREF(more);
            continue;
        }
        PyObject *row = PyLong_FromSsize_t(item->row);
        if (row == NULL || more == NULL || row_args_add(args, row, more) < 0) Py_CLEAR(args);
        Py_XDECREF(more);
        Py_XDECREF(row);
        if (i % ROWS_A_TURN == ROWS_A_TURN - 1) {
            Py_BEGIN_ALLOW_THREADS
            Py_END_ALLOW_THREADS
        }
    }
    const row_cpu_t *cpus = p->cpus.items;
    for (size_t i = 0; args != NULL && i < p->cpus.count; i++) {
        PyObject *row = PyLong_FromSsize_t(cpus[i].row);
        PyObject *time = Py_BuildValue("{sK}", THREAD_TIME, (unsigned long long)cpus[i].ns);
        if (row == NULL || time == NULL || row_args_add(args, row, time) < 0) Py_CLEAR(args);
        Py_XDECREF(time);
        Py_XDECREF(row);
    }
    return args;
}

/* Add to the events that a thread dropped; 0, or -1 with an exception. */
static int dropped_add(PyObject *dropped, PyObject *name, unsigned long long more) {
    PyObject *before = PyDict_GetItemWithError(dropped, name);
    if (before == NULL && PyErr_Occurred()) return -1;
    PyObject *number = PyLong_FromUnsignedLongLong(more + (before == NULL ? 0 : PyLong_AsUnsignedLongLong(before)));
    int failed = number == NULL || PyDict_SetItem(dropped, name, number) < 0;
    Py_XDECREF(number);
    return failed ? -1 : 0;
}

/* {thread's name: how many events it dropped}. */
static PyObject *dropped_of(const window_t *window, const needs_t *needs) {
    PyObject *dropped = PyDict_New(), *nameless = PyUnicode_FromString("");
    int failed = dropped == NULL || nameless == NULL;
    if (!failed && window->lost) failed = dropped_add(dropped, nameless, window->lost) < 0;
    for (size_t t = 0; !failed && t < window->thread_count; t++) {
        const sealed_thread_t *thread = &window->threads[t];
        uint64_t count = thread->part.dropped + needs->orphans[t];
        if (count) failed = dropped_add(dropped, thread->name, count) < 0;
    }
    if (failed) Py_CLEAR(dropped);
    Py_XDECREF(nameless);
    return dropped;
}

/* A counter's values; NULL with an exception. */
static PyObject *counters_of(const pairing_t *p) {
    Py_buffer ts = {0}, value = {0}, series = {0};
    Py_ssize_t count = (Py_ssize_t)p->counts.count;
    PyObject *names = PyDict_Keys(p->window->series.ids), *arrays[3] = {NULL}, *counters = NULL;
    if (names != NULL) arrays[0] = array_new_held('q', count, &ts);
    if (arrays[0] != NULL) arrays[1] = array_new_held('d', count, &value);
    if (arrays[1] != NULL) arrays[2] = array_new_held('I', count, &series);
    const count_t *items = p->counts.items;
    for (Py_ssize_t i = 0; arrays[2] != NULL && i < count; i++) {
        ((int64_t *)ts.buf)[i] = items[i].ts;
        ((double *)value.buf)[i] = items[i].value;
        ((uint32_t *)series.buf)[i] = items[i].series;
    }
    if (arrays[0] != NULL) PyBuffer_Release(&ts);
    if (arrays[1] != NULL) PyBuffer_Release(&value);
    if (arrays[2] != NULL) PyBuffer_Release(&series);
    if (arrays[2] != NULL)
        counters = PyObject_CallFunctionObjArgs(paired_counters_type, arrays[0], arrays[1], arrays[2], names, NULL);
    for (int i = 0; i < 3; i++) Py_XDECREF(arrays[i]);
    Py_XDECREF(names);
    return counters;
}

/* The points of flows, which are sorted by flow; NULL with an exception. */
static PyObject *flows_of(const pairing_t *p) {
    Py_buffer flow = {0}, row = {0};
    Py_ssize_t count = (Py_ssize_t)p->flows.count;
    PyObject *names = PyList_New(0), *arrays[2] = {NULL}, *flows = NULL;
    if (names != NULL) arrays[0] = array_new_held('I', count, &flow);
    if (arrays[0] != NULL) arrays[1] = array_new_held('I', count, &row);
    const paired_point_t *items = p->flows.items;
    for (Py_ssize_t i = 0; arrays[1] != NULL && names != NULL && i < count; i++) {
        if (i == 0 || items[i].flow != items[i - 1].flow) {
            PyObject *name = PyLong_FromUnsignedLong(items[i].name);
            if (name == NULL || PyList_Append(names, name) < 0) Py_CLEAR(names);
            Py_XDECREF(name);
            if (names == NULL) break;
        }
        ((uint32_t *)flow.buf)[i] = (uint32_t)PyList_GET_SIZE(names) - 1;
        ((uint32_t *)row.buf)[i] = (uint32_t)items[i].row;
    }
    if (arrays[0] != NULL) PyBuffer_Release(&flow);
    if (arrays[1] != NULL) PyBuffer_Release(&row);
    if (arrays[1] != NULL && names != NULL)
        flows = PyObject_CallFunctionObjArgs(paired_flows_type, arrays[0], arrays[1], names, NULL);
    for (int i = 0; i < 2; i++) Py_XDECREF(arrays[i]);
    Py_XDECREF(names);
    return flows;
}

/* Cut every column off behind the last row. */
static int columns_cut(PyObject *columns, Py_ssize_t rows, Py_ssize_t room) {
    for (Py_ssize_t i = 0; rows < room && i < PyTuple_GET_SIZE(columns); i++)
        if (PySequence_DelSlice(PyTuple_GET_ITEM(columns, i), rows, room) < 0) return -1;
    return 0;
}

/* The columns of all rows, and the lists of what is besides; NULL with an exception. */
static PyObject *rows_of(pairing_t *p, needs_t *needs) {
    size_t room = window_room(p->window, needs);
    touch_t touch;
    int result;
    PyObject *columns = columns_new_unset((Py_ssize_t)room, &p->columns);
    if (columns == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS
    touch_begin(&touch, &p->columns, p->window);
    result = window_read(p, needs);
    touch_end(&touch);
    Py_END_ALLOW_THREADS
    columns_release(&p->columns);
    if (result < 0)
        PyErr_NoMemory();
    else if (columns_cut(columns, p->row, (Py_ssize_t)room) == 0)
        return columns;
    Py_DECREF(columns);
    return NULL;
}

/* The Paired of a window, whose needs have room; NULL with an exception. */
static PyObject *paired_of(pairing_t *p, PyObject *steps, needs_t *needs) {
    enum { COLUMNS_, TEXTS, TRACKS, ARGS, DROPPED, COUNTERS, FLOWS, PARTS };
    PyObject *parts[PARTS] = {NULL}, *paired = NULL;
    PyObject *strings = strings_of(p->window, needs->labels);
    if (strings == NULL || steps_prepare(steps, strings, needs) < 0) goto finish;
    p->lane_end = needs->lane_end;
    PyObject *calls = PyDict_GetItemString(strings, "python_function"); /* core/rows.py CALL */
    p->call_category = needs->call_category = calls == NULL ? 0 : (uint32_t)PyLong_AsUnsignedLong(calls);
    if ((parts[COLUMNS_] = rows_of(p, needs)) == NULL) goto finish;
    if ((parts[TEXTS] = PyDict_Keys(strings)) == NULL) goto finish;
    if ((parts[TRACKS] = tracks_of(p, needs)) == NULL) goto finish;
    if ((parts[ARGS] = args_of(p, parts[TEXTS])) == NULL) goto finish;
    if ((parts[DROPPED] = dropped_of(p->window, needs)) == NULL) goto finish;
    if ((parts[COUNTERS] = counters_of(p)) == NULL) goto finish;
    if ((parts[FLOWS] = flows_of(p)) == NULL) goto finish;
    paired = PyObject_Vectorcall(paired_type, parts, PARTS, NULL);
finish:
    for (int i = 0; i < PARTS; i++) Py_XDECREF(parts[i]);
    Py_XDECREF(strings);
    return paired;
}

/* ---- the module's part ------------------------------------------------------------------------------------ */

/* pair(window, steps, shift_ns) -> Paired: the twin's docstring says what. */
static PyObject *pair(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !Py_IS_TYPE(arguments[0], &Window_Type)) {
        PyErr_SetString(PyExc_TypeError, "pair() takes a sealed window, steps and a shift in ns");
        return NULL;
    }
    const window_t *window = (const window_t *)arguments[0];
    pairing_t p = {.window = window, .flow_name = FLOW_NAME, .scale = ticks_scale(window->opened, window->sealed)};
    p.shift_ns = PyLong_AsLongLong(arguments[2]);
    if (p.shift_ns == -1 && PyErr_Occurred()) return NULL;
    PyObject *steps = PySequence_Fast(arguments[1], "steps must be a sequence");
    if (steps == NULL) return NULL;
    PyObject *paired = NULL;
    needs_t needs = {0};
    if (needs_make(window, (size_t)PySequence_Fast_GET_SIZE(steps), &needs) == 0) {
        p.labels = needs.labels;
        p.series = needs.series;
        p.numbers = needs.numbers;
        p.waiting = needs.waiting;
        p.cpu_of = needs.cpu_of;
        p.tracks = needs.tracks;
        series_places(window, needs.series);
        paired = paired_of(&p, steps, &needs);
    }
    Py_DECREF(steps);
    free(p.args.items);
    free(p.cpus.items);
    free(p.steps.items);
    free(p.counts.items);
    free(p.flows.items);
    needs_free(&needs);
    return paired;
}

static PyMethodDef functions[] = {
    {"pair", (PyCFunction)(void (*)(void))pair, METH_FASTCALL, PyDoc_STR("Pair a sealed window's records.")},
    {NULL, NULL, 0, NULL},
};

int paired_add(PyObject *module) {
    Py_XSETREF(paired_type, imported("stepscope.core.rows", "Paired"));
    if (paired_type == NULL) return -1;
    Py_XSETREF(track_type, imported("stepscope.core.rows", "PairedTrack"));
    if (track_type == NULL) return -1;
    Py_XSETREF(paired_counters_type, imported("stepscope.core.rows", "PairedCounters"));
    if (paired_counters_type == NULL) return -1;
    Py_XSETREF(paired_flows_type, imported("stepscope.core.rows", "PairedFlows"));
    if (paired_flows_type == NULL) return -1;
    Py_XSETREF(number_key, PyUnicode_InternFromString("External id"));
    if (number_key == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
