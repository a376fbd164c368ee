/* Events by key, and the sums of each; the twin of twin/group.py.

   number   a hash table of (key, class, place, extra) -> number, in order of first appearance
   sum      durations are counted into their groups' places, then sorted there by radix

   The loops run without the GIL and allocate with PyMem_Raw. */

#include "native.h"

#include <string.h>

static PyObject *grouped_type, *sums_type; /* stepscope.core.groups */

static const array_is_t ABOVE = {"folded", "above", 'q'}, OWN = {"folded", "own", 'q'};
static const array_is_t NAMES = {"keys", "name", 'I'}, CATS = {"keys", "cat", 'B'}, TRACKS = {"keys", "track", 'I'};
static const array_is_t EXTRA = {"grouping", "extra", 'I'}, GROUP = {"grouped", "group", 'I'};

/* ---- numbering ---- */

typedef struct {
    uint32_t name, class, place, extra;
} group_key_t;

/* Keys by number, and a hash table of 1 + number; 0 is free. */
typedef struct {
    group_key_t *keys;
    int64_t *first; /* the first row of each */
    size_t count, room;
    uint32_t *slots;
    size_t mask; /* slots - 1, and there are twice as many as room */
} group_table_t;

static inline size_t hash(const group_key_t *key) {
    uint64_t a = key->name | (uint64_t)key->place << 32, b = key->extra | (uint64_t)key->class << 32;
    uint64_t mixed = (a ^ 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u ^ b * 0xA0761D6478BD642Fu;
    return (size_t)(mixed ^ mixed >> 32);
}

static inline int same(const group_key_t *a, const group_key_t *b) {
    return a->name == b->name && a->class == b->class && a->place == b->place && a->extra == b->extra;
}

/* Twice the room; 0, or -1: no memory. */
static int grow(group_table_t *table) {
    size_t room = table->room ? table->room * 2 : 256;
    group_key_t *keys = PyMem_RawRealloc(table->keys, room * sizeof *keys);
    if (!keys)
        return -1;
    table->keys = keys;
    int64_t *first = PyMem_RawRealloc(table->first, room * sizeof *first);
    if (!first)
        return -1;
    table->first = first;
    uint32_t *slots = PyMem_RawCalloc(room * 2, sizeof *slots);
    if (!slots)
        return -1;
    PyMem_RawFree(table->slots);
    table->slots = slots;
    table->room = room;
    table->mask = room * 2 - 1;
    for (size_t number = 0; number < table->count; number++) {
        size_t at = hash(&keys[number]) & table->mask;
        while (slots[at])
            at = (at + 1) & table->mask;
        slots[at] = (uint32_t)number + 1;
    }
    return 0;
}

/* Number the events of a trace; 0, or -1: no memory. Needs no GIL. */
static int number_rows(const columns_t *columns, const int64_t *above, const uint32_t *keys, const uint8_t *classes,
                       const uint32_t *places, const uint32_t *extra, uint32_t *group, group_table_t *table) {
    for (Py_ssize_t row = 0; row < columns->rows; row++) {
        if (above[row] < -1) {
            group[row] = NO_KEY;
            continue;
        }
        group_key_t key = {keys[columns->name[row]], classes[columns->cat[row]], places[columns->track[row]],
                           extra ? extra[row] : 0};
        if (unlikely(table->count == table->room) && grow(table) < 0)
            return -1;
        size_t at = hash(&key) & table->mask;
        while (table->slots[at] && !same(&table->keys[table->slots[at] - 1], &key))
            at = (at + 1) & table->mask;
        if (!table->slots[at]) {
            table->keys[table->count] = key;
            table->first[table->count] = row;
            table->slots[at] = (uint32_t)++table->count;
        }
        group[row] = table->slots[at] - 1;
    }
    return 0;
}

PyDoc_STRVAR(group_rows_doc, "group_rows(columns, above, keys, extra)\n--\n\n"
                             "Number the events by their keys and one number more, in order of first appearance.");

static PyObject *group_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "above", "keys", "extra", NULL};
    PyObject *tuple, *keys_tuple, *given[5], *group = NULL, *first = NULL, *result = NULL;
    Py_buffer above = {0}, keys = {0}, classes = {0}, places = {0}, extra = {0}, groups = {0}, firsts = {0};
    group_table_t table = {0};
    columns_t columns;
    int status;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO!O:group_rows", names, &tuple, &given[0], &PyTuple_Type,
                                     &keys_tuple, &given[4]) ||
        !PyArg_ParseTuple(keys_tuple, "OOO;keys: must be a Keys", &given[1], &given[2], &given[3]) ||
        columns_get(tuple, &columns, 0) < 0)
        return NULL;
    if (array_of_length(given[0], ABOVE, columns.rows, &above) < 0 || array_get(given[1], NAMES, 0, &keys) < 0 ||
        array_get(given[2], CATS, 0, &classes) < 0 || array_get(given[3], TRACKS, 0, &places) < 0 ||
        (given[4] != Py_None && array_of_length(given[4], EXTRA, columns.rows, &extra) < 0) ||
        columns_ids_below(&columns, columns.name, "name", keys.len / 4) < 0 ||
        columns_ids_below(&columns, columns.cat, "cat", classes.len) < 0 ||
        columns_ids_below(&columns, columns.track, "track", places.len / 4) < 0)
        goto done;
    group = array_new_held('I', columns.rows, &groups);
    if (!group)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    status = number_rows(&columns, above.buf, keys.buf, classes.buf, places.buf, extra.buf, groups.buf, &table);
    Py_END_ALLOW_THREADS
    if (status < 0) {
        PyErr_NoMemory();
        goto done;
    }
    first = array_new_held('q', (Py_ssize_t)table.count, &firsts);
    if (!first)
        goto done;
    if (table.count)
        memcpy(firsts.buf, table.first, table.count * sizeof *table.first);
    result = PyObject_CallFunctionObjArgs(grouped_type, group, first, NULL);

done:
    PyMem_RawFree(table.keys);
    PyMem_RawFree(table.first);
    PyMem_RawFree(table.slots);
    PyBuffer_Release(&above);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&classes);
    PyBuffer_Release(&places);
    PyBuffer_Release(&extra);
    PyBuffer_Release(&groups);
    PyBuffer_Release(&firsts);
    Py_XDECREF(group);
    Py_XDECREF(first);
    columns_release(&columns);
    return result;
}

/* ---- sums ---- */

/* In order of length, ascending; durations are not negative. spare has room for as many. */
static void sort_times(int64_t *times, size_t count, int64_t *spare) {
    if (count <= 48) {
        for (size_t i = 1; i < count; i++) {
            int64_t time = times[i];
            size_t at = i;
            for (; at && times[at - 1] > time; at--)
                times[at] = times[at - 1];
            times[at] = time;
        }
        return;
    }
    uint64_t any = 0;
    int64_t *from = times, *to = spare;
    for (size_t i = 0; i < count; i++)
        any |= (uint64_t)times[i];
    for (int shift = 0; shift < 64 && any >> shift; shift += 8) {
        size_t start[256] = {0}, sum = 0;
        for (size_t i = 0; i < count; i++)
            start[(uint64_t)from[i] >> shift & 255]++;
        for (int digit = 0; digit < 256; digit++) {
            size_t here = start[digit];
            start[digit] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            to[start[(uint64_t)from[i] >> shift & 255]++] = from[i];
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != times)
        memcpy(times, from, count * sizeof *times);
}

typedef struct {
    Py_ssize_t rows;
    const int64_t *dur, *own;
    const uint32_t *group;
    size_t groups;
    int64_t *count, *total, *self; /* one a group */
    int64_t *durations, *spare;    /* one an event */
} summing_t;

/* Add up and sort; the number of the group whose sum does not fit, or -1. Needs no GIL. */
static Py_ssize_t sum_rows(const summing_t *sums) {
    size_t start = 0;
    for (Py_ssize_t row = 0; row < sums->rows; row++) {
        uint32_t group = sums->group[row];
        if (group == NO_KEY)
            continue;
        if (__builtin_add_overflow(sums->total[group], sums->dur[row], &sums->total[group]) ||
            __builtin_add_overflow(sums->self[group], sums->own[row], &sums->self[group]))
            return (Py_ssize_t)group;
    }
    /* count has each group's place in durations while they are put there. */
    for (size_t group = 0; group < sums->groups; group++) {
        size_t here = (size_t)sums->count[group];
        sums->count[group] = (int64_t)start;
        start += here;
    }
    for (Py_ssize_t row = 0; row < sums->rows; row++)
        if (sums->group[row] != NO_KEY)
            sums->durations[sums->count[sums->group[row]]++] = sums->dur[row];
    start = 0;
    for (size_t group = 0; group < sums->groups; group++) {
        size_t end = (size_t)sums->count[group];
        sums->count[group] = (int64_t)(end - start);
        sort_times(sums->durations + start, end - start, sums->spare);
        start = end;
    }
    return -1;
}

/* Count each group's events; how many there are in all, or -1 with a ValueError: a number that is no group's. */
static Py_ssize_t count_rows(const uint32_t *group, Py_ssize_t rows, size_t groups, int64_t *count) {
    Py_ssize_t events = 0;
    for (Py_ssize_t row = 0; row < rows; row++) {
        if (group[row] == NO_KEY)
            continue;
        if (group[row] >= groups) {
            PyErr_Format(PyExc_ValueError, "group[%zd] is %u, but there are %zu groups", row, group[row], groups);
            return -1;
        }
        count[group[row]]++;
        events++;
    }
    return events;
}

/* 0, or -1 with a ValueError: a duration is negative. */
static int check_durations(const columns_t *columns) {
    for (Py_ssize_t row = 0; row < columns->rows; row++)
        if (columns->dur[row] < 0) {
            PyErr_Format(PyExc_ValueError, "row %zd: columns.dur is negative", row);
            return -1;
        }
    return 0;
}

PyDoc_STRVAR(sum_groups_doc, "sum_groups(columns, group, own, groups)\n--\n\nAdd up the rows of each group.");

static PyObject *sum_groups(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "group", "own", "groups", NULL};
    PyObject *tuple, *given[2], *made[4] = {NULL, NULL, NULL, NULL}, *result = NULL;
    Py_buffer group = {0}, own = {0}, held[4] = {{0}};
    Py_ssize_t groups, events, overflow = -1;
    int64_t *spare = NULL;
    columns_t columns;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOn:sum_groups", names, &tuple, &given[0], &given[1], &groups) ||
        columns_get(tuple, &columns, 0) < 0)
        return NULL;
    if (groups < 0 || groups > columns.rows) {
        PyErr_Format(PyExc_ValueError, "groups is %zd: there are from 0 to as many groups as rows, %zd", groups,
                     columns.rows);
        goto done;
    }
    if (array_of_length(given[0], GROUP, columns.rows, &group) < 0 ||
        array_of_length(given[1], OWN, columns.rows, &own) < 0 || check_durations(&columns) < 0)
        goto done;
    for (int i = 0; i < 3; i++) {
        made[i] = array_new_held('q', groups, &held[i]);
        if (!made[i])
            goto done;
    }
    events = count_rows(group.buf, columns.rows, (size_t)groups, held[0].buf);
    if (events < 0)
        goto done;
    made[3] = array_new_held('q', events, &held[3]);
    if (!made[3])
        goto done;
    spare = PyMem_RawMalloc(events ? (size_t)events * sizeof *spare : 1);
    if (!spare) {
        PyErr_NoMemory();
        goto done;
    }
    summing_t sums = {columns.rows, columns.dur, own.buf,     group.buf,   (size_t)groups,
                      held[0].buf,  held[1].buf, held[2].buf, held[3].buf, spare};
    Py_BEGIN_ALLOW_THREADS
    overflow = sum_rows(&sums);
    Py_END_ALLOW_THREADS
    if (overflow >= 0)
        PyErr_Format(PyExc_OverflowError, "group %zd: its times add up to more than 64 bits hold", overflow);
    else
        result = PyObject_CallFunctionObjArgs(sums_type, made[0], made[1], made[2], made[3], NULL);

done:
    PyMem_RawFree(spare);
    PyBuffer_Release(&group);
    PyBuffer_Release(&own);
    for (int i = 0; i < 4; i++) {
        PyBuffer_Release(&held[i]);
        Py_XDECREF(made[i]);
    }
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"group_rows", (PyCFunction)(void (*)(void))group_rows, METH_VARARGS | METH_KEYWORDS, group_rows_doc},
    {"sum_groups", (PyCFunction)(void (*)(void))sum_groups, METH_VARARGS | METH_KEYWORDS, sum_groups_doc},
    {NULL, NULL, 0, NULL},
};

static int keep(PyObject **type, const char *name) {
    PyObject *found = imported("stepscope.core.groups", name);
    if (!found)
        return -1;
    Py_XSETREF(*type, found);
    return 0;
}

int group_add(PyObject *module) {
    if (keep(&grouped_type, "Grouped") < 0 || keep(&sums_type, "Sums") < 0)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
