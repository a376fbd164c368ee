/* Chrome JSON, seen from Python: ChromeScanner(no_name, no_category).feed(data, at) -> Fed, .finish() -> Scanned, and
   json_value_end. The scan itself is in chrome_scan.c; it runs without the GIL.

   Rows are kept as records while they come in, 40 bytes each, and become columns at the end. */

#include "chrome_read.h"

#include <string.h>

static PyObject *fed_type, *scanned_type; /* stepscope.core.rows */

static PyObject *integers_array(const integers_t *integers) {
    Py_buffer held;
    PyObject *array = array_new_held('q', (Py_ssize_t)integers->count, &held);
    if (!array)
        return NULL;
    if (integers->count)
        memcpy(held.buf, integers->of, integers->count * sizeof *integers->of);
    PyBuffer_Release(&held);
    return array;
}

/* 0, or -1 with an exception set: `at` is not in the bytes. */
static int check_at(Py_ssize_t at, const Py_buffer *data, int behind) {
    if (at >= 0 && at < data->len + behind)
        return 0;
    PyErr_Format(PyExc_IndexError, "at: %zd is not within the %zd bytes of data", at, data->len);
    return -1;
}

/* 0, or -1 with an exception set: another thread is scanning, or the rows are given away. */
static int check_free(const scanner_t *self) {
    if (!self->busy)
        return 0;
    PyErr_SetString(PyExc_ValueError, "the scanner is in use by another thread, or it is finished");
    return -1;
}

static PyObject *scanner_feed(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"data", "at", NULL};
    static const char *const states[] = {"more", "end", "damaged"};
    scanner_t *self = (scanner_t *)object;
    Py_buffer data;
    Py_ssize_t at;
    state_t state;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*n:feed", names, &data, &at))
        return NULL;
    if (check_at(at, &data, 1) < 0 || check_free(self) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    self->args.count = self->unusual.count = 0;
    self->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    state = scan(self, data.buf, data.len, &at);
    Py_END_ALLOW_THREADS
    self->busy = 0;
    PyBuffer_Release(&data);
    if (state == EXHAUSTED)
        return PyErr_NoMemory();
    PyObject *ranges = integers_array(&self->args), *unusual = ranges ? integers_array(&self->unusual) : NULL;
    PyObject *fed = NULL;
    if (unusual)
        fed = PyObject_CallFunction(fed_type, "nnsOO", at, (Py_ssize_t)self->count, states[state], ranges, unusual);
    Py_XDECREF(ranges);
    Py_XDECREF(unusual);
    return fed;
}

/* The rows as Columns; they are freed as soon as they are copied. */
static PyObject *rows_columns(scanner_t *self) {
    columns_t columns;
    PyObject *tuple = columns_new((Py_ssize_t)self->count, &columns);
    if (!tuple)
        return NULL;
    for (size_t row = 0; row < self->count; row++) {
        columns.ts[row] = self->rows[row].ts;
        columns.dur[row] = self->rows[row].dur;
        columns.name[row] = self->rows[row].name;
        columns.cat[row] = self->rows[row].cat;
        columns.site[row] = self->rows[row].site;
        columns.track[row] = self->rows[row].track;
        columns.kind[row] = (uint8_t)self->rows[row].kind;
    }
    columns_release(&columns);
    PyMem_RawFree(self->rows);
    self->rows = NULL;
    self->count = self->room = 0;
    return tuple;
}

static PyObject *texts_list(const keys_t *keys) {
    PyObject *list = PyList_New((Py_ssize_t)keys->count);
    for (size_t number = 0; list && number < keys->count; number++) {
        PyObject *text =
            PyBytes_FromStringAndSize(keys->block + keys->starts[number], (Py_ssize_t)key_length(keys, number));
        if (text)
            PyList_SET_ITEM(list, (Py_ssize_t)number, text);
        else
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *threads_list(const keys_t *keys) {
    PyObject *list = PyList_New((Py_ssize_t)keys->count);
    for (size_t number = 0; list && number < keys->count; number++) {
        int64_t ids[2];
        memcpy(ids, keys->block + keys->starts[number], sizeof ids);
        PyObject *pair = Py_BuildValue("(LL)", (long long)ids[0], (long long)ids[1]);
        if (pair)
            PyList_SET_ITEM(list, (Py_ssize_t)number, pair);
        else
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *scanner_finish(PyObject *object, PyObject *nothing) {
    scanner_t *self = (scanner_t *)object;
    (void)nothing;
    if (check_free(self) < 0)
        return NULL;
    self->busy = 1;
    PyObject *texts = texts_list(&self->texts), *threads = texts ? threads_list(&self->threads) : NULL;
    PyObject *columns = threads ? rows_columns(self) : NULL, *scanned = NULL;
    if (columns)
        scanned = PyObject_CallFunctionObjArgs(scanned_type, columns, texts, threads, NULL);
    Py_XDECREF(columns);
    Py_XDECREF(texts);
    Py_XDECREF(threads);
    return scanned;
}

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"no_name", "no_category", NULL};
    const char *name, *category;
    Py_ssize_t name_length, category_length;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#y#:ChromeScanner", names, &name, &name_length, &category,
                                     &category_length))
        return NULL;
    scanner_t *self = (scanner_t *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->last_name = self->last_category = self->last_site = self->last_thread = -1;
    int64_t empty = key_number(&self->texts, "", 0), no_name = -1, no_category = -1;
    if (empty == 0)
        no_name = key_number(&self->texts, name, (size_t)name_length);
    if (no_name >= 0)
        no_category = key_number(&self->texts, category, (size_t)category_length);
    if (no_category < 0) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->no_name = (uint32_t)no_name;
    self->no_category = (uint32_t)no_category;
    return (PyObject *)self;
}

static void scanner_dealloc(PyObject *object) {
    scanner_t *self = (scanner_t *)object;
    PyTypeObject *type = Py_TYPE(object);
    keys_free(&self->texts);
    keys_free(&self->threads);
    PyMem_RawFree(self->rows);
    PyMem_RawFree(self->args.of);
    PyMem_RawFree(self->unusual.of);
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(feed_doc, "feed($self, data, at)\n--\n\nScan items of an array, from `at` on.");
PyDoc_STRVAR(finish_doc, "finish($self)\n--\n\nAll plain events; the scanner is spent then.");

static PyMethodDef SCANNER_METHODS[] = {
    {"feed", (PyCFunction)(void (*)(void))scanner_feed, METH_VARARGS | METH_KEYWORDS, feed_doc},
    {"finish", scanner_finish, METH_NOARGS, finish_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot SLOTS[] = {
    {Py_tp_doc, "ChromeScanner(no_name, no_category)\n--\n\nThe columns of the plain events met so far."},
    {Py_tp_new, scanner_new},
    {Py_tp_dealloc, scanner_dealloc},
    {Py_tp_methods, SCANNER_METHODS},
    {0, NULL},
};

static PyType_Spec SPEC = {
    .name = "stepscope._native.ChromeScanner",
    .basicsize = sizeof(scanner_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SLOTS,
};

PyDoc_STRVAR(json_value_end_doc, "json_value_end(data, at)\n--\n\n"
                                 "Where the JSON value that begins at `at` ends; -1: behind these bytes; -2: there is "
                                 "none.");

static PyObject *json_value_end(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"data", "at", NULL};
    Py_buffer data;
    Py_ssize_t at, end;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*n:json_value_end", names, &data, &at))
        return NULL;
    if (check_at(at, &data, 0) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    end = value_end(data.buf, at, data.len);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    return PyLong_FromSsize_t(end);
}

static PyMethodDef METHODS[] = {
    {"json_value_end", (PyCFunction)(void (*)(void))json_value_end, METH_VARARGS | METH_KEYWORDS, json_value_end_doc},
    {NULL, NULL, 0, NULL},
};

int chrome_read_add(PyObject *module) {
    Py_XSETREF(fed_type, imported("stepscope.core.rows", "Fed"));
    Py_XSETREF(scanned_type, imported("stepscope.core.rows", "Scanned"));
    if (!fed_type || !scanned_type)
        return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &SPEC, NULL);
    int status = type ? PyModule_AddObjectRef(module, "ChromeScanner", type) : -1;
    Py_XDECREF(type);
    return status < 0 ? -1 : PyModule_AddFunctions(module, METHODS);
}
