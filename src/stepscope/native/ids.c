/* Arrays of ids: which there are, and what they become; the twin of twin/ids.py.

   The loops here run without the GIL and allocate with PyMem_Raw. An array may be written to meanwhile: what is used
   as a place is compared with the room at the very place. */

#include "native.h"

static const array_is_t IDS = {"ids", "ids", 'I'};

/* The largest of some ids; 0 if there are none. */
static uint32_t largest(const uint32_t *ids, size_t count) {
    uint32_t most = 0;
    for (size_t at = 0; at < count; at++)
        most = ids[at] > most ? ids[at] : most;
    return most;
}

/* Note each id below limit where it is first met; how many there are. */
static size_t find_distinct(const uint32_t *ids, size_t count, uint8_t *met, size_t limit, uint32_t *found) {
    size_t different = 0;
    for (size_t at = 0; at < count; at++) {
        uint32_t id = ids[at];
        if (unlikely(id >= limit) || met[id])
            continue;
        met[id] = 1;
        found[different++] = id;
    }
    return different;
}

PyDoc_STRVAR(distinct_ids_doc, "distinct_ids(ids, /)\n--\n\nEach id once, by first appearance.");

static PyObject *distinct_ids(PyObject *Py_UNUSED(module), PyObject *array) {
    Py_buffer held;
    PyObject *result = NULL;
    if (array_get(array, IDS, 0, &held) < 0)
        return NULL;
    size_t count = (size_t)held.len / 4, limit, different = 0;
    Py_BEGIN_ALLOW_THREADS
    limit = (size_t)largest(held.buf, count) + 1;
    Py_END_ALLOW_THREADS
    if (limit > MAX_ID) {
        PyBuffer_Release(&held);
        return PyErr_Format(PyExc_ValueError, "ids has %zu: ids count from 0 and end below 2**28", limit - 1);
    }
    uint8_t *met = PyMem_RawCalloc(limit, 1);
    uint32_t *found = PyMem_RawMalloc((count < limit ? count : limit) * sizeof *found + 1);
    if (!met || !found) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    different = find_distinct(held.buf, count, met, limit, found);
    Py_END_ALLOW_THREADS
    result = array_from_ids(found, different);

done:
    PyMem_RawFree(found);
    PyMem_RawFree(met);
    PyBuffer_Release(&held);
    return result;
}

/* Look each id up; the place of the first that the table does not have, or count. */
static size_t look_up(const uint32_t *ids, size_t count, const uint32_t *table, size_t entries, uint32_t *to) {
    for (size_t at = 0; at < count; at++) {
        uint32_t id = ids[at];
        if (unlikely(id >= entries))
            return at;
        to[at] = table[id];
    }
    return count;
}

/* Hold both arguments of map_ids; 0, or -1 with an exception set and nothing held. */
static int hold_both(PyObject *ids, PyObject *table, Py_buffer *held_ids, Py_buffer *held_table) {
    if (array_get(ids, IDS, 0, held_ids) < 0)
        return -1;
    if (array_get(table, (array_is_t){"ids", "table", 'I'}, 0, held_table) == 0)
        return 0;
    PyBuffer_Release(held_ids);
    return -1;
}

PyDoc_STRVAR(map_ids_doc, "map_ids(ids, table)\n--\n\nWhat a table says of each id.");

static PyObject *map_ids(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ids", "table", NULL};
    PyObject *ids, *table;
    Py_buffer held_ids, held_table, held;
    size_t failed;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:map_ids", names, &ids, &table) ||
        hold_both(ids, table, &held_ids, &held_table) < 0)
        return NULL;
    size_t count = (size_t)held_ids.len / 4, entries = (size_t)held_table.len / 4;
    PyObject *mapped = array_new_held('I', (Py_ssize_t)count, &held);
    if (!mapped)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    failed = look_up(held_ids.buf, count, held_table.buf, entries, held.buf);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&held);
    if (failed < count) {
        PyErr_Format(PyExc_ValueError, "ids[%zu] is %u, but the table has %zu entries", failed,
                     ((const uint32_t *)held_ids.buf)[failed], entries);
        Py_CLEAR(mapped);
    }

done:
    PyBuffer_Release(&held_table);
    PyBuffer_Release(&held_ids);
    return mapped;
}

/* Note where each row has gone; the place of the first that is no row, or count. */
static size_t invert(const uint32_t *order, size_t count, uint32_t *to) {
    for (size_t at = 0; at < count; at++) {
        uint32_t row = order[at];
        if (unlikely(row >= count))
            return at;
        to[row] = (uint32_t)at;
    }
    return count;
}

PyDoc_STRVAR(invert_order_doc, "invert_order(order, /)\n--\n\nWhere each row has gone, of the row that each place has.");

static PyObject *invert_order(PyObject *Py_UNUSED(module), PyObject *array) {
    Py_buffer held, held_result;
    size_t failed;
    if (array_get(array, (array_is_t){"ids", "order", 'I'}, 0, &held) < 0)
        return NULL;
    size_t count = (size_t)held.len / 4;
    PyObject *places = array_new_held('I', (Py_ssize_t)count, &held_result);
    if (places) {
        Py_BEGIN_ALLOW_THREADS
        failed = invert(held.buf, count, held_result.buf);
        Py_END_ALLOW_THREADS
        PyBuffer_Release(&held_result);
        if (failed < count) {
            PyErr_Format(PyExc_ValueError, "order[%zu] is %u, but there are %zu rows", failed,
                         ((const uint32_t *)held.buf)[failed], count);
            Py_CLEAR(places);
        }
    }
    PyBuffer_Release(&held);
    return places;
}

static PyMethodDef METHODS[] = {
    {"distinct_ids", distinct_ids, METH_O, distinct_ids_doc},
    {"map_ids", (PyCFunction)(void (*)(void))map_ids, METH_VARARGS | METH_KEYWORDS, map_ids_doc},
    {"invert_order", invert_order, METH_O, invert_order_doc},
    {NULL, NULL, 0, NULL},
};

int ids_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
