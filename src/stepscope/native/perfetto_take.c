/* What a scanner of .pftrace packets has found, as the columns of core/events.py: new arrays in named tuples. */

#include "perfetto_read.h"

#include <string.h>

static PyObject *scanned_type, *column_types[4]; /* stepscope.core.events */

enum { EVENTS, DETAILS, FLOW_IDS, COUNTS };
static const char *const COLUMN_TYPES[] = {"Events", "Details", "FlowIds", "Counts"};

/* A named tuple of new arrays, whose buffers are held in `held`; NULL with an exception and nothing held. */
static PyObject *new_columns(int type, const char *typecodes, size_t length, Py_buffer *held) {
    size_t count = strlen(typecodes), made = 0;
    PyObject *arrays = PyTuple_New((Py_ssize_t)count), *columns = NULL;
    for (; arrays && made < count; made++) {
        PyObject *array = array_new_held(typecodes[made], (Py_ssize_t)length, &held[made]);
        if (!array)
            break;
        PyTuple_SET_ITEM(arrays, (Py_ssize_t)made, array);
    }
    if (arrays && made == count)
        columns = PyObject_CallObject(column_types[type], arrays);
    if (!columns)
        while (made)
            PyBuffer_Release(&held[--made]);
    Py_XDECREF(arrays);
    return columns;
}

static PyObject *take_events(const events_t *events) {
    Py_buffer held[6];
    size_t count = events->count;
    PyObject *columns = new_columns(EVENTS, "qBIIII", count, held);
    const void *const from[6] = {events->ts, events->kind, events->track, events->name, events->cat, events->site};
    static const size_t sizes[6] = {8, 1, 4, 4, 4, 4};
    for (int i = 0; columns && i < 6; i++) {
        if (count)
            memcpy(held[i].buf, from[i], count * sizes[i]);
        PyBuffer_Release(&held[i]);
    }
    return columns;
}

static PyObject *take_details(const details_t *details) {
    Py_buffer held[5];
    PyObject *columns = new_columns(DETAILS, "IIQQI", details->count, held);
    if (!columns)
        return NULL;
    for (size_t i = 0; i < details->count; i++) {
        ((uint32_t *)held[0].buf)[i] = details->of[i].event;
        ((uint32_t *)held[1].buf)[i] = details->of[i].buffer;
        ((uint64_t *)held[2].buf)[i] = details->of[i].start;
        ((uint64_t *)held[3].buf)[i] = details->of[i].stop;
        ((uint32_t *)held[4].buf)[i] = details->of[i].generation;
    }
    for (int i = 0; i < 5; i++)
        PyBuffer_Release(&held[i]);
    return columns;
}

static PyObject *take_flows(const flow_ids_t *flows) {
    Py_buffer held[3];
    PyObject *columns = new_columns(FLOW_IDS, "IQB", flows->count, held);
    if (!columns)
        return NULL;
    for (size_t i = 0; i < flows->count; i++) {
        ((uint32_t *)held[0].buf)[i] = flows->of[i].event;
        ((uint64_t *)held[1].buf)[i] = flows->of[i].flow;
        ((uint8_t *)held[2].buf)[i] = flows->of[i].last;
    }
    for (int i = 0; i < 3; i++)
        PyBuffer_Release(&held[i]);
    return columns;
}

static PyObject *take_counts(const counts_t *counts) {
    Py_buffer held[4];
    PyObject *columns = new_columns(COUNTS, "qdII", counts->count, held);
    if (!columns)
        return NULL;
    for (size_t i = 0; i < counts->count; i++) {
        ((int64_t *)held[0].buf)[i] = counts->of[i].ts;
        ((double *)held[1].buf)[i] = counts->of[i].value;
        ((uint32_t *)held[2].buf)[i] = counts->of[i].track;
        ((uint32_t *)held[3].buf)[i] = counts->of[i].generation;
    }
    for (int i = 0; i < 4; i++)
        PyBuffer_Release(&held[i]);
    return columns;
}

static PyObject *take_texts(const text_table_t *texts) {
    PyObject *list = PyList_New((Py_ssize_t)texts->count);
    for (size_t i = 0; list && i < texts->count; i++) {
        PyObject *text = PyBytes_FromStringAndSize(texts->of[i], (Py_ssize_t)texts->lengths[i]);
        if (text)
            PyList_SET_ITEM(list, (Py_ssize_t)i, text);
        else
            Py_CLEAR(list);
    }
    return list;
}

PyObject *take_scanned(const scanner_t *self) {
    PyObject *parts[5] = {NULL}, *result = NULL;
    if ((parts[0] = take_events(&self->events)) && (parts[1] = take_details(&self->details)) &&
        (parts[2] = take_flows(&self->flows)) && (parts[3] = take_counts(&self->counts)) &&
        (parts[4] = take_texts(&self->texts)))
        result = PyObject_CallFunctionObjArgs(scanned_type, parts[0], parts[1], parts[2], parts[3], parts[4], NULL);
    for (int i = 0; i < 5; i++)
        Py_XDECREF(parts[i]);
    return result;
}

static int keep(PyObject **slot, const char *name) {
    PyObject *object = imported("stepscope.core.events", name);
    if (!object)
        return -1;
    Py_XSETREF(*slot, object);
    return 0;
}

int perfetto_take_add(PyObject *module) {
    (void)module;
    for (int i = 0; i < 4; i++)
        if (keep(&column_types[i], COLUMN_TYPES[i]) < 0)
            return -1;
    return keep(&scanned_type, "Scanned");
}
