/* Flows from points in any order to points that are connected in order of time; the twin of twin/settle_flows.py.

       points by flow     rows of flow 0, sorted | rows of flow 1 | ...        what is left of each, moved together
       made               a flow each that has two points at least, sorted by (rows, rank of its name)
       the result         points of the made flows, sorted by (row, flow)

   Points are put in their places by counting: how many each flow has, then how many each row. The loops here run
   without the GIL and allocate with PyMem_Raw. */

#include "native.h"

#include <stdlib.h>
#include <string.h>

static PyObject *settled_type; /* stepscope.core.rows.SettledFlows */

/* A flow that has two points at least. */
typedef struct {
    const uint32_t *rows;
    uint32_t count, rank, name;
} made_t;

/* What is handed in, held. */
typedef struct {
    const uint32_t *flow, *row, *name, *places, *ranks; /* places: NULL, no row has moved */
    const int64_t *ts;
    size_t points, flows, rows, ranked;
} given_t;

/* What settling leaves. */
typedef struct {
    uint32_t *begins; /* of each flow, its first place in rows, and one more */
    uint32_t *rows;   /* flow after flow */
    made_t *made;
    uint32_t *flow, *row; /* the points of the result */
    uint32_t *lost;       /* name, row, name, row, ... */
    size_t made_count, point_count, lost_count;
} settling_t;

static void settling_free(settling_t *settling) {
    PyMem_RawFree(settling->begins);
    PyMem_RawFree(settling->rows);
    PyMem_RawFree(settling->made);
    PyMem_RawFree(settling->flow);
    PyMem_RawFree(settling->row);
    PyMem_RawFree(settling->lost);
}

typedef enum { SETTLED, NO_MEMORY, CHANGED } outcome_t;

/* Sum counts up to where each one begins; counts[of] is 0 and becomes the total. */
static void sum_up(uint32_t *counts, size_t of) {
    uint32_t before = 0;
    for (size_t at = 0; at <= of; at++) {
        uint32_t count = counts[at];
        counts[at] = before;
        before += count;
    }
}

/* Put the points' final rows behind each other, flow after flow. */
static outcome_t gather(const given_t *given, settling_t *settling) {
    uint32_t *next = settling->begins + 1; /* where the next one of each flow goes: in the end, where the flow ends */
    for (size_t at = 0; at < given->points; at++) {
        if (given->flow[at] >= given->flows)
            return CHANGED;
        next[given->flow[at]]++;
    }
    sum_up(next, given->flows);
    for (size_t at = 0; at < given->points; at++) {
        uint32_t flow = given->flow[at], row = given->row[at];
        if (flow >= given->flows || next[flow] >= given->points || row >= given->rows)
            return CHANGED;
        if (given->places)
            row = given->places[row];
        if (row >= given->rows)
            return CHANGED;
        settling->rows[next[flow]++] = row;
    }
    return SETTLED;
}

static int by_number(const void *a, const void *b) {
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return (one > other) - (one < other);
}

static void sort_numbers(uint32_t *numbers, size_t count) {
    for (size_t at = 1; at < count; at++)
        if (numbers[at - 1] > numbers[at]) {
            qsort(numbers, count, sizeof *numbers, by_number);
            return;
        }
}

static int by_rows(const void *a, const void *b) {
    const made_t *one = a, *other = b;
    uint32_t least = one->count < other->count ? one->count : other->count;
    for (uint32_t at = 0; at < least; at++)
        if (one->rows[at] != other->rows[at])
            return one->rows[at] < other->rows[at] ? -1 : 1;
    if (one->count != other->count)
        return one->count < other->count ? -1 : 1;
    if (one->rank != other->rank)
        return one->rank < other->rank ? -1 : 1;
    return (one->name > other->name) - (one->name < other->name);
}

/* Sort the points of each flow, leave out those without a direction, and sort the flows that are left. */
static outcome_t make(const given_t *given, settling_t *settling) {
    for (size_t flow = 0; flow < given->flows; flow++) {
        uint32_t *rows = settling->rows + settling->begins[flow], kept = 0;
        size_t count = settling->begins[flow + 1] - settling->begins[flow];
        uint32_t name = given->name[flow];
        if (name >= given->ranked)
            return CHANGED;
        sort_numbers(rows, count);
        for (size_t at = 0; at < count; at++) {
            if (!kept || given->ts[rows[at]] != given->ts[rows[kept - 1]]) {
                rows[kept++] = rows[at];
                continue;
            }
            settling->lost[settling->lost_count++] = name;
            settling->lost[settling->lost_count++] = rows[at];
        }
        if (kept > 1) {
            settling->made[settling->made_count++] = (made_t){rows, kept, given->ranks[name], name};
            settling->point_count += kept;
        }
    }
    for (size_t at = 1; at < settling->made_count; at++)
        if (by_rows(&settling->made[at - 1], &settling->made[at]) > 0) {
            qsort(settling->made, settling->made_count, sizeof *settling->made, by_rows);
            break;
        }
    return SETTLED;
}

/* The points of all flows by row, those of one row by flow. */
static outcome_t spread(const given_t *given, settling_t *settling) {
    uint32_t *next = PyMem_RawCalloc(given->rows + 1, sizeof *next);
    if (!next)
        return NO_MEMORY;
    for (size_t flow = 0; flow < settling->made_count; flow++)
        for (uint32_t at = 0; at < settling->made[flow].count; at++)
            next[settling->made[flow].rows[at]]++;
    sum_up(next, given->rows);
    for (size_t flow = 0; flow < settling->made_count; flow++)
        for (uint32_t at = 0; at < settling->made[flow].count; at++) {
            uint32_t row = settling->made[flow].rows[at], place = next[row]++;
            settling->flow[place] = (uint32_t)flow;
            settling->row[place] = row;
        }
    PyMem_RawFree(next);
    return SETTLED;
}

static outcome_t settle(const given_t *given, settling_t *settling) {
    size_t room = (given->points + 1) * sizeof(uint32_t);
    settling->begins = PyMem_RawCalloc(given->flows + 2, sizeof *settling->begins);
    settling->made = PyMem_RawMalloc((given->flows + 1) * sizeof *settling->made);
    settling->rows = PyMem_RawCalloc(given->points + 1, sizeof *settling->rows);
    settling->flow = PyMem_RawMalloc(room);
    settling->row = PyMem_RawMalloc(room);
    settling->lost = PyMem_RawMalloc(2 * room);
    if (!settling->begins || !settling->made || !settling->rows || !settling->flow || !settling->row || !settling->lost)
        return NO_MEMORY;
    outcome_t outcome = gather(given, settling);
    if (outcome == SETTLED)
        outcome = make(given, settling);
    return outcome == SETTLED ? spread(given, settling) : outcome;
}

/* The SettledFlows; NULL with an exception. */
static PyObject *settled_of(const settling_t *settling) {
    uint32_t *names = settling->rows; /* their rows have been spread */
    for (size_t flow = 0; flow < settling->made_count; flow++)
        names[flow] = settling->made[flow].name;
    PyObject *parts[4] = {array_from_ids(settling->flow, settling->point_count)}, *flows = NULL, *result = NULL;
    if (parts[0] && (parts[1] = array_from_ids(settling->row, settling->point_count)) &&
        (parts[2] = array_from_ids(names, settling->made_count)) &&
        (parts[3] = array_from_ids(settling->lost, settling->lost_count)))
        flows = PyObject_CallFunctionObjArgs((PyObject *)flows_type, parts[0], parts[1], parts[2], NULL);
    if (flows)
        result = PyObject_CallFunctionObjArgs(settled_type, flows, parts[3], NULL);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(parts[i]);
    Py_XDECREF(flows);
    return result;
}

/* ---- the call ---- */

enum { FLOW, ROW, NAME, PLACES, TS, RANKS, ARRAYS };
static const array_is_t IS[ARRAYS] = {{"flows", "flow", 'I'},   {"flows", "row", 'I'}, {"flows", "name", 'I'},
                                      {"flows", "places", 'I'}, {"flows", "ts", 'q'},  {"flows", "ranks", 'I'}};

/* 0, or -1 with an exception set: some number in what is held is out of range, or lengths differ. */
static int check_given(const given_t *given, size_t flow_rows, size_t places) {
    if (given->points != flow_rows || given->points > UINT32_MAX || given->rows > UINT32_MAX)
        PyErr_Format(PyExc_ValueError, "flows has %zu flow and %zu row: each must have one item a point", given->points,
                     flow_rows);
    else if (given->places && places != given->rows)
        PyErr_Format(PyExc_ValueError, "flows.places has %zu rows, flows.ts has %zu", places, given->rows);
    else
        return 0;
    return -1;
}

PyDoc_STRVAR(settle_flows_doc, "settle_flows(flows, places, ts, ranks)\n--\n\n"
                               "Connect each flow's points in order of time, and number flows by first appearance.");

static PyObject *settle_flows(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"flows", "places", "ts", "ranks", NULL};
    PyObject *of[ARRAYS], *tuple, *result = NULL;
    Py_buffer held[ARRAYS] = {{0}};
    settling_t settling = {0};
    outcome_t outcome;
    int count = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO:settle_flows", names, &tuple, &of[PLACES], &of[TS],
                                     &of[RANKS]))
        return NULL;
    if (!PyObject_TypeCheck(tuple, flows_type) || PyTuple_GET_SIZE(tuple) != 3)
        return PyErr_Format(PyExc_TypeError, "flows: must be a stepscope.core.rows.Flows, not %.100s",
                            Py_TYPE(tuple)->tp_name);
    for (int i = 0; i < 3; i++)
        of[i] = PyTuple_GET_ITEM(tuple, i);
    for (; count < ARRAYS; count++)
        if (!(count == PLACES && of[count] == Py_None) && array_get(of[count], IS[count], 0, &held[count]) < 0)
            goto done;
    given_t given = {held[FLOW].buf, held[ROW].buf, held[NAME].buf, held[PLACES].buf, held[RANKS].buf, held[TS].buf,
                     (size_t)held[FLOW].len / 4, (size_t)held[NAME].len / 4, (size_t)held[TS].len / 8,
                     (size_t)held[RANKS].len / 4};
    if (check_given(&given, (size_t)held[ROW].len / 4, (size_t)held[PLACES].len / 4) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    outcome = settle(&given, &settling);
    Py_END_ALLOW_THREADS
    if (outcome == SETTLED)
        result = settled_of(&settling);
    else if (outcome == NO_MEMORY)
        PyErr_NoMemory();
    else
        PyErr_SetString(PyExc_ValueError, "flows: a point is of no flow or no row, or a name has no rank");

done:
    settling_free(&settling);
    while (count)
        PyBuffer_Release(&held[--count]);
    return result;
}

static PyMethodDef METHODS[] = {
    {"settle_flows", (PyCFunction)(void (*)(void))settle_flows, METH_VARARGS | METH_KEYWORDS, settle_flows_doc},
    {NULL, NULL, 0, NULL},
};

int settle_flows_add(PyObject *module) {
    Py_XSETREF(settled_type, imported("stepscope.core.rows", "SettledFlows"));
    return settled_type ? PyModule_AddFunctions(module, METHODS) : -1;
}
