/* Flow points by row, for both encoders of rows; the twin of twin/flows.py.

       Flows of Python     flow I | row I     a point each        name I     a flow each
       point of C          row | flow | where it stands in its flow

   The points are copied: an array may be written to while it is held, and what was checked must stay true. */

#include "native.h"

PyTypeObject *flows_type;

void flows_release(flows_t *flows) {
    PyMem_Free(flows->points);
    PyMem_Free(flows->names);
    PyMem_Free(flows->of);
    *flows = (flows_t){0};
}

/* Why the points cannot be used: the first wrong one is at `at`. */
static int points_error(const flows_t *flows, size_t at, Py_ssize_t rows) {
    const flow_point_t *point = &flows->points[at];
    if (point->flow >= flows->flows)
        PyErr_Format(PyExc_ValueError, "flows.flow[%zu] is %u, but there are %zu flows", at, point->flow, flows->flows);
    else if (point->row >= (size_t)rows)
        PyErr_Format(PyExc_ValueError, "flows.row[%zu] is %u, but there are %zd rows", at, point->row, rows);
    else
        PyErr_Format(PyExc_ValueError, "flows.row[%zu] is %u, which stands behind %u: points must be sorted", at,
                     point->row, point[-1].row);
    return -1;
}

/* Copy the points, and note where each stands; 0, or -1 with an exception set. */
static int copy_points(const uint32_t *flow, const uint32_t *row, Py_ssize_t rows, flows_t *flows) {
    uint32_t *left = PyMem_Calloc(flows->flows + 1, sizeof *left);
    uint8_t *begun = PyMem_Calloc(flows->flows + 1, sizeof *begun);
    flows->points = PyMem_New(flow_point_t, flows->count);
    int status = -1;
    if (!left || !begun || !flows->points) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t at = 0; at < flows->count; at++) {
        flow_point_t *point = &flows->points[at];
        *point = (flow_point_t){row[at], flow[at], FLOW_FIRST};
        if (point->flow >= flows->flows || point->row >= (size_t)rows || (at && point->row < point[-1].row)) {
            points_error(flows, at, rows);
            goto done;
        }
        left[point->flow]++;
    }
    for (size_t at = 0; at < flows->count; at++) {
        flow_point_t *point = &flows->points[at];
        left[point->flow]--;
        if (begun[point->flow])
            point->stands = left[point->flow] ? FLOW_STEP : FLOW_LAST;
        begun[point->flow] = 1;
    }
    status = 0;

done:
    PyMem_Free(left);
    PyMem_Free(begun);
    return status;
}

/* Copy the names; 0, or -1 with an exception set. */
static int copy_names(const uint32_t *from, Py_ssize_t names, flows_t *flows) {
    flows->names = PyMem_New(uint32_t, flows->flows);
    if (!flows->names) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t flow = 0; flow < flows->flows; flow++) {
        flows->names[flow] = from[flow];
        if (flows->names[flow] >= (size_t)names) {
            PyErr_Format(PyExc_ValueError, "flows.name[%zu] is %u, but there are %zd of them", flow, from[flow], names);
            return -1;
        }
    }
    return 0;
}

/* Note each row's first point; 0, or -1 with an exception set. */
static int index_rows(Py_ssize_t rows, flows_t *flows) {
    flows->of = PyMem_Calloc(rows ? (size_t)rows : 1, sizeof *flows->of);
    if (!flows->of) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t at = flows->count; at--;)
        flows->of[flows->points[at].row] = (uint32_t)at + 1;
    return 0;
}

int flows_get(PyObject *tuple, Py_ssize_t rows, Py_ssize_t names, int by_row, flows_t *flows) {
    static const array_is_t IS[] = {{"flows", "flow", 'I'}, {"flows", "row", 'I'}, {"flows", "name", 'I'}};
    Py_buffer held[3];
    int count = 0, status = -1;
    *flows = (flows_t){0};
    if (tuple == Py_None)
        return 0;
    if (!PyObject_TypeCheck(tuple, flows_type) || PyTuple_GET_SIZE(tuple) != 3) {
        PyErr_Format(PyExc_TypeError, "flows: must be a stepscope.core.rows.Flows, not %.100s", Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; count < 3; count++)
        if (array_get(PyTuple_GET_ITEM(tuple, count), IS[count], 0, &held[count]) < 0)
            goto done;
    if (held[0].len != held[1].len || held[0].len / 4 >= UINT32_MAX || held[2].len / 4 >= UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "flows has %zd flow, %zd row and %zd name: each point has one flow and one row, "
                     "and both are numbered in 32 bits", held[0].len / 4, held[1].len / 4, held[2].len / 4);
        goto done;
    }
    flows->count = (size_t)held[0].len / 4;
    flows->flows = (size_t)held[2].len / 4;
    if (copy_points(held[0].buf, held[1].buf, rows, flows) < 0 || copy_names(held[2].buf, names, flows) < 0)
        goto done;
    if (by_row && flows->count && index_rows(rows, flows) < 0)
        goto done;
    status = 0;

done:
    while (count)
        PyBuffer_Release(&held[--count]);
    if (status < 0)
        flows_release(flows);
    return status;
}

int flows_add(PyObject *module) {
    (void)module;
    PyObject *type = imported("stepscope.core.rows", "Flows");
    if (!type)
        return -1;
    Py_XSETREF(flows_type, (PyTypeObject *)type);
    return 0;
}
