/* What Python hands over, as C reads it: columns, texts, and what some rows carry besides.

   Columns are array.array objects whose buffers stay held while C works on them, so that they cannot be resized:

       ts q | dur q | name I | cat I | site I | track I | kind B          29 bytes a row

   Texts are copied into one block, which outlives the list they came in and may be read a little past any end. */

#include "native.h"

#include <string.h>

static PyObject *columns_type; /* stepscope.core.rows.Columns */

static const struct {
    const char *name;
    char typecode;
    Py_ssize_t size;
} COLUMN[COLUMNS] = {
    {"ts", 'q', 8},   {"dur", 'q', 8},   {"name", 'I', 4}, {"cat", 'I', 4},
    {"site", 'I', 4}, {"track", 'I', 4}, {"kind", 'B', 1},
};

/* 0, or -1 with an exception set: two columns that are to be written share memory. */
static int check_apart(const columns_t *columns) {
    for (int a = 0; a < COLUMNS; a++)
        for (int b = 0; b < a; b++) {
            uintptr_t at = (uintptr_t)columns->held[a].buf, other = (uintptr_t)columns->held[b].buf;
            if (at < other + (uintptr_t)columns->held[b].len && other < at + (uintptr_t)columns->held[a].len) {
                PyErr_Format(PyExc_ValueError,
                             "columns.%s and columns.%s share memory: each must be an array of its own",
                             COLUMN[b].name, COLUMN[a].name);
                return -1;
            }
        }
    return 0;
}

/* 0, or -1 with an exception set: the columns held are not equally long, or too long. */
static int check_lengths(const columns_t *columns) {
    for (int i = 0; i < COLUMNS; i++) {
        Py_ssize_t rows = columns->held[i].len / COLUMN[i].size;
        if (rows != columns->rows) {
            PyErr_Format(PyExc_ValueError,
                         "columns.%s has %zd rows, columns.ts has %zd: each column must have one item a row",
                         COLUMN[i].name, rows, columns->rows);
            return -1;
        }
    }
    if ((uint64_t)columns->rows > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "columns has %zd rows: at most 2**32 - 1 can be numbered", columns->rows);
        return -1;
    }
    return 0;
}

int columns_get(PyObject *tuple, columns_t *columns, int writable) {
    columns->count = 0;
    if (!PyObject_TypeCheck(tuple, (PyTypeObject *)columns_type) || PyTuple_GET_SIZE(tuple) != COLUMNS) {
        PyErr_Format(PyExc_TypeError, "columns: must be a stepscope.core.rows.Columns, not %.100s",
                     Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; columns->count < COLUMNS; columns->count++)
        if (array_get(PyTuple_GET_ITEM(tuple, columns->count),
                      (array_is_t){"columns", COLUMN[columns->count].name, COLUMN[columns->count].typecode}, writable,
                      &columns->held[columns->count]) < 0)
            goto failed;
    columns->rows = columns->held[0].len / COLUMN[0].size;
    if (check_lengths(columns) < 0 || (writable && check_apart(columns) < 0))
        goto failed;
    columns->ts = columns->held[0].buf;
    columns->dur = columns->held[1].buf;
    columns->name = columns->held[2].buf;
    columns->cat = columns->held[3].buf;
    columns->site = columns->held[4].buf;
    columns->track = columns->held[5].buf;
    columns->kind = columns->held[6].buf;
    return 0;

failed:
    columns_release(columns);
    return -1;
}

static PyObject *columns_made(Py_ssize_t rows, columns_t *columns, int zeroed) {
    PyObject *arrays = PyTuple_New(COLUMNS), *tuple = NULL;
    columns->count = 0;
    if (!arrays)
        return NULL;
    for (int i = 0; i < COLUMNS; i++) {
        PyObject *array = (zeroed ? array_new : array_new_unset)(COLUMN[i].typecode, rows);
        if (!array)
            goto done;
        PyTuple_SET_ITEM(arrays, i, array);
    }
    tuple = PyObject_CallObject(columns_type, arrays);
    if (tuple && columns_get(tuple, columns, 1) < 0)
        Py_CLEAR(tuple);

done:
    Py_DECREF(arrays);
    return tuple;
}

PyObject *columns_new(Py_ssize_t rows, columns_t *columns) { return columns_made(rows, columns, 1); }

PyObject *columns_new_unset(Py_ssize_t rows, columns_t *columns) { return columns_made(rows, columns, 0); }

void columns_release(columns_t *columns) {
    while (columns->count)
        PyBuffer_Release(&columns->held[--columns->count]);
}

int columns_visit(const columns_t *columns, visitproc visit, void *arg) {
    for (int i = 0; i < columns->count; i++)
        Py_VISIT(columns->held[i].obj);
    return 0;
}

/* Whether an id among them is above limit, or above 2**31: then the sign bit of limit - id or of id is set. Blocks of a
   fixed size are what compilers vectorize best. */
static int any_above(const uint32_t *ids, size_t count, uint32_t limit) {
    enum { BLOCK = 256 };
    uint32_t any = 0;
    size_t at = 0;
    for (; count - at >= BLOCK; at += BLOCK) {
        const uint32_t *block = ids + at;
        for (size_t i = 0; i < BLOCK; i++)
            any |= (limit - block[i]) | block[i];
    }
    for (; at < count; at++)
        any |= (limit - ids[at]) | ids[at];
    return any >> 31;
}

int columns_ids_below(const columns_t *columns, const uint32_t *ids, const char *name, Py_ssize_t count) {
    uint32_t limit = count > INT32_MAX ? INT32_MAX : (uint32_t)count - 1;
    Py_ssize_t row = columns->rows;
    Py_BEGIN_ALLOW_THREADS
    if (!count || any_above(ids, (size_t)columns->rows, limit))
        for (row = 0; row < columns->rows && ids[row] < (uint64_t)count; row++)
            ;
    Py_END_ALLOW_THREADS
    if (row == columns->rows)
        return 0;
    PyErr_Format(PyExc_ValueError, "row %zd: columns.%s is %u, but there are %zd of them", row, name, ids[row], count);
    return -1;
}

/* The length of all texts with what stands around each; -1 with an exception set. */
static Py_ssize_t block_length(PyObject *tuple, const char *what, size_t around) {
    size_t length = TEXT_SLACK;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *text = PyTuple_GET_ITEM(tuple, i);
        if (!PyBytes_Check(text)) {
            PyErr_Format(PyExc_TypeError, "%s[%zd]: must be bytes, not %.100s", what, i, Py_TYPE(text)->tp_name);
            return -1;
        }
        if ((size_t)PyBytes_GET_SIZE(text) > (size_t)PY_SSIZE_T_MAX - length - around) {
            PyErr_NoMemory();
            return -1;
        }
        length += around + (size_t)PyBytes_GET_SIZE(text);
    }
    return (Py_ssize_t)length;
}

int texts_get(PyObject *sequence, const char *what, const char *before, const char *behind, texts_t *texts) {
    size_t lead = strlen(before), trail = strlen(behind);
    PyObject *tuple = PySequence_Tuple(sequence);
    Py_ssize_t length = tuple ? block_length(tuple, what, lead + trail) : -1;
    int status = -1;
    *texts = (texts_t){NULL, NULL, 0};
    if (length < 0)
        goto done;
    texts->count = PyTuple_GET_SIZE(tuple);
    texts->of = PyMem_New(text_t, texts->count);
    texts->block = PyMem_Calloc(1, (size_t)length);
    if (!texts->of || !texts->block) {
        PyErr_NoMemory();
        texts_release(texts);
        goto done;
    }
    char *at = texts->block;
    for (Py_ssize_t i = 0; i < texts->count; i++) {
        PyObject *text = PyTuple_GET_ITEM(tuple, i);
        size_t inside = (size_t)PyBytes_GET_SIZE(text);
        memcpy(at, before, lead);
        memcpy(at + lead, PyBytes_AS_STRING(text), inside);
        memcpy(at + lead + inside, behind, trail);
        texts->of[i] = (text_t){at, lead + inside + trail};
        at += lead + inside + trail;
    }
    status = 0;

done:
    Py_XDECREF(tuple);
    return status;
}

void texts_release(texts_t *texts) {
    PyMem_Free(texts->of);
    PyMem_Free(texts->block);
    *texts = (texts_t){NULL, NULL, 0};
}

/* Note the object of a row; 0, or -1 with an exception set. */
static int add_row_object(PyObject *key, PyObject *value, const char *what, Py_ssize_t rows, row_objects_t *objects) {
    if (!PyLong_Check(key)) {
        PyErr_Format(PyExc_TypeError, "%s: keys must be row numbers, not %.100s", what, Py_TYPE(key)->tp_name);
        return -1;
    }
    int overflow;
    long long row = PyLong_AsLongLongAndOverflow(key, &overflow);
    if (overflow || row < 0 || row >= rows) {
        PyErr_Format(PyExc_ValueError, "%s[%R]: there is no such row, there are %zd", what, key, rows);
        return -1;
    }
    objects->objects[objects->count++] = Py_NewRef(value);
    objects->of[row] = (uint32_t)objects->count;
    return 0;
}

int row_objects_get(PyObject *mapping, const char *what, Py_ssize_t rows, row_objects_t *objects) {
    PyObject *key, *value, *copy = NULL;
    Py_ssize_t at = 0;
    int status = -1;
    *objects = (row_objects_t){NULL, NULL, 0};
    if (!PyDict_CheckExact(mapping)) {
        if (!PyObject_HasAttrString(mapping, "keys")) {
            PyErr_Format(PyExc_TypeError, "%s: must be a mapping of row -> value, not %.100s", what,
                         Py_TYPE(mapping)->tp_name);
            goto done;
        }
        copy = PyDict_New();
        if (!copy || PyDict_Update(copy, mapping) < 0)
            goto done;
        mapping = copy;
    }
    if (PyDict_GET_SIZE(mapping) == 0) {
        status = 0;
        goto done;
    }
    objects->of = PyMem_Calloc(rows ? (size_t)rows : 1, sizeof *objects->of);
    objects->objects = PyMem_New(PyObject *, PyDict_GET_SIZE(mapping));
    if (!objects->of || !objects->objects) {
        PyErr_NoMemory();
        goto done;
    }
    /* No Python code runs in this loop: the dict keeps its size. */
    while (PyDict_Next(mapping, &at, &key, &value))
        if (add_row_object(key, value, what, rows, objects) < 0)
            goto done;
    status = 0;

done:
    Py_XDECREF(copy);
    if (status < 0)
        row_objects_release(objects);
    return status;
}

void row_objects_release(row_objects_t *objects) {
    PyObject **held = objects->objects;
    Py_ssize_t count = objects->count;
    PyMem_Free(objects->of);
    *objects = (row_objects_t){NULL, NULL, 0};
    while (count)
        Py_DECREF(held[--count]);
    PyMem_Free(held);
}

int row_objects_visit(const row_objects_t *objects, visitproc visit, void *arg) {
    for (Py_ssize_t i = 0; i < objects->count; i++)
        Py_VISIT(objects->objects[i]);
    return 0;
}

int columns_add(PyObject *module) {
    (void)module;
    PyObject *columns = imported("stepscope.core.rows", "Columns");
    if (!columns)
        return -1;
    if (!PyType_Check(columns) || !PyType_IsSubtype((PyTypeObject *)columns, &PyTuple_Type)) {
        Py_DECREF(columns);
        PyErr_SetString(PyExc_TypeError, "stepscope.core.rows.Columns must be a named tuple");
        return -1;
    }
    Py_XSETREF(columns_type, columns);
    return 0;
}
