/* Pairing, seen from Python: pair(window, steps, shift_ns) -> Paired. The pairing itself is in pair.c.

   What that needs of Python objects is made first (needs_t): ids for the window's names, keys of the spans that were
   open, steps as C values. Then the columns are filled without the GIL, and the rest of the result is made. */

#include "pair.h"

#include "span.h"

#include <stdlib.h>

static PyObject *paired_type; /* stepscope.core.rows.Paired */

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

/* Room for what the rows need; 0, or -1 with an exception. needs_free gives back what there is. */
static int needs_make(const window_t *window, size_t step_count, needs_t *needs) {
    size_t open_count = 0;
    for (size_t t = 0; t < window->thread_count; t++) open_count += window->threads[t].at_start_count;
    needs->step_count = step_count;
    needs->ids = calloc((size_t)PyList_GET_SIZE(window->names) + 1, sizeof *needs->ids);
    needs->open_keys = calloc(open_count + 1, sizeof *needs->open_keys);
    needs->open_names = calloc(open_count + 1, sizeof *needs->open_names);
    needs->before = calloc(window->thread_count + 1, sizeof *needs->before);
    needs->recorded = calloc(window->thread_count + 1, sizeof *needs->recorded);
    needs->steps = calloc(step_count + 1, sizeof *needs->steps);
    if (needs->ids && needs->open_keys && needs->open_names && needs->before && needs->recorded && needs->steps)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static void needs_free(needs_t *needs) {
    free(needs->steps);
    free(needs->recorded);
    free(needs->before);
    free(needs->open_names);
    free(needs->open_keys);
    free(needs->ids);
}

/* ---- the result ------------------------------------------------------------------------------------------- */

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
        if (PyDict_GET_SIZE(items[i].args) == 0) continue; /* of instant("x", {}) */
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
        Py_BEGIN_ALLOW_THREADS
        room = (Py_ssize_t)window_measure(p->window, all_ends, needs);
        Py_END_ALLOW_THREADS
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

/* The Paired of a window, whose needs have room; NULL with an exception. */
static PyObject *paired_of(pairing_t *p, PyObject *steps, needs_t *needs) {
    PyObject *columns = NULL, *texts = NULL, *threads = NULL, *args = NULL, *dropped = NULL, *paired = NULL;
    PyObject *strings = strings_of(p->window, needs->ids);
    if (strings == NULL) goto finish;
    if (open_spans_prepare(p->window, strings, needs) < 0 || steps_prepare(steps, strings, needs) < 0) goto finish;
    if ((columns = rows_of(p, needs)) == NULL) goto finish;
    if ((texts = PyDict_Keys(strings)) == NULL || (threads = threads_of(p->window, needs)) == NULL) goto finish;
    if ((args = args_of(p)) == NULL || (dropped = dropped_of(p->window)) == NULL) goto finish;
    paired = PyObject_CallFunctionObjArgs(paired_type, columns, texts, threads, args, dropped, NULL);
finish:
    Py_XDECREF(dropped);
    Py_XDECREF(args);
    Py_XDECREF(threads);
    Py_XDECREF(texts);
    Py_XDECREF(columns);
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
    pairing_t p = {.window = window, .scale = ticks_scale(window->opened, window->sealed)};
    p.shift_ns = PyLong_AsLongLong(arguments[2]);
    if (p.shift_ns == -1 && PyErr_Occurred()) return NULL;
    PyObject *steps = PySequence_Fast(arguments[1], "steps must be a sequence");
    if (steps == NULL) return NULL;
    PyObject *paired = NULL;
    needs_t needs = {0};
    if (needs_make(window, (size_t)PySequence_Fast_GET_SIZE(steps), &needs) == 0) {
        p.ids = needs.ids;
        paired = paired_of(&p, steps, &needs);
    }
    Py_DECREF(steps);
    free(p.args.items);
    free(p.before.items);
    free(p.waiting.items);
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
    return PyModule_AddFunctions(module, functions);
}
