/* The walk down two trees where they are alike; the twin of twin/walk.py.

   A stack holds the pairs whose children are to be compared, the one that comes first on top. Whether two lists have a
   member in common is found out by each with each if they are short, else by a table.

   The walk runs without the GIL and allocates with PyMem_Raw. */

#include "table.h"

static PyObject *walked_type; /* stepscope.core.trees.Walked */

enum { FULL, SHAPE, NAME, STARTS, CHILDREN, COLUMNS_OF_FOREST };

/* Up to so many members are compared each with each. */
enum { FEW = 16 };

/* A Forest, held. */
typedef struct {
    size_t rows, children;
    const uint64_t *full, *shape;
    const uint32_t *name, *starts, *inside;
    Py_buffer buffers[COLUMNS_OF_FOREST];
    int held;
} forest_t;

static void forest_release(forest_t *forest) {
    while (forest->held)
        PyBuffer_Release(&forest->buffers[--forest->held]);
}

/* Hold a Forest; 0, or -1 with an exception set. */
static int forest_get(PyObject *tuple, const char *name, forest_t *forest) {
    static const char *const NAMES[] = {"full", "shape", "name", "starts", "children"};
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != COLUMNS_OF_FOREST) {
        PyErr_Format(PyExc_TypeError, "%s: must be a stepscope.core.trees.Forest, not %.100s", name,
                     Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; forest->held < COLUMNS_OF_FOREST; forest->held++) {
        const array_is_t is = {name, NAMES[forest->held], forest->held < NAME ? 'Q' : 'I'};
        PyObject *array = PyTuple_GET_ITEM(tuple, forest->held);
        Py_buffer *buffer = &forest->buffers[forest->held];
        Py_ssize_t rows = (Py_ssize_t)forest->rows;
        int any = forest->held == FULL || forest->held == CHILDREN;
        if ((any ? array_get(array, is, 0, buffer)
                 : array_of_length(array, is, forest->held == STARTS ? rows + 1 : rows, buffer)) < 0)
            return -1;
        if (forest->held == FULL)
            forest->rows = (size_t)buffer->len / 8;
    }
    forest->full = forest->buffers[FULL].buf;
    forest->shape = forest->buffers[SHAPE].buf;
    forest->name = forest->buffers[NAME].buf;
    forest->starts = forest->buffers[STARTS].buf;
    forest->inside = forest->buffers[CHILDREN].buf;
    forest->children = (size_t)forest->buffers[CHILDREN].len / 4;
    return 0;
}

/* Pairs of rows, a list that grows. */
typedef struct {
    uint32_t *rows[2];
    size_t count, room;
} matches_t;

static void matches_free(matches_t *pairs) {
    PyMem_RawFree(pairs->rows[0]);
    PyMem_RawFree(pairs->rows[1]);
}

/* Add a pair; 0, or -1: no memory. */
static int match_add(matches_t *pairs, uint32_t one, uint32_t other) {
    if (pairs->count == pairs->room) {
        size_t room = pairs->room ? 2 * pairs->room : 64;
        for (int side = 0; side < 2; side++) {
            uint32_t *rows = PyMem_RawRealloc(pairs->rows[side], room * sizeof *rows);
            if (!rows)
                return -1;
            pairs->rows[side] = rows;
        }
        pairs->room = room;
    }
    pairs->rows[0][pairs->count] = one;
    pairs->rows[1][pairs->count++] = other;
    return 0;
}

/* The children of a row. */
typedef struct {
    const uint32_t *rows;
    size_t count;
} level_t;

typedef struct {
    forest_t forests[2];
    matches_t todo, same, apart;
    int ordered;
} walk_t;

static void walk_free(walk_t *walk) {
    forest_release(&walk->forests[0]);
    forest_release(&walk->forests[1]);
    matches_free(&walk->todo);
    matches_free(&walk->same);
    matches_free(&walk->apart);
}

typedef enum { DONE, NO_MEMORY, NO_CHILDREN } outcome_t;

/* The children of a row stand behind it: so a walk ends. */
static outcome_t level_of(const forest_t *forest, uint32_t row, level_t *level) {
    uint32_t start = forest->starts[row], end = forest->starts[row + 1];
    if (unlikely(start > end || end > forest->children))
        return NO_CHILDREN;
    *level = (level_t){forest->inside + start, end - start};
    for (size_t at = 0; at < level->count; at++)
        if (unlikely(level->rows[at] <= row || level->rows[at] >= forest->rows))
            return NO_CHILDREN;
    return DONE;
}

/* Whether two lists of as many rows have equal trees anywhere: 1 or 0, or -1: no memory. */
static int have_common(const walk_t *walk, const uint32_t *ones, const uint32_t *others, size_t count) {
    const uint64_t *left = walk->forests[0].full, *right = walk->forests[1].full;
    if (count <= FEW) {
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count; j++)
                if (left[ones[i]] == right[others[j]])
                    return 1;
        return 0;
    }
    uint64_t *keys = PyMem_RawMalloc(count * sizeof *keys);
    if (!keys)
        return -1;
    for (size_t i = 0; i < count; i++)
        keys[i] = left[ones[i]];
    table_t table;
    int found = table_make(&table, keys, count);
    for (size_t j = 0; !found && j < count; j++)
        found = table_find(&table, right[others[j]]) >= 0;
    table_free(&table);
    PyMem_RawFree(keys);
    return found;
}

/* Whether two levels are alike: 1 or 0, or -1: no memory. What differs is from first up to end. */
static int are_alike(const walk_t *walk, level_t base, level_t head, size_t *first, size_t *end) {
    const forest_t *one = &walk->forests[0], *other = &walk->forests[1];
    *first = *end = 0;
    if (base.count != head.count)
        return 0;
    size_t start = 0, stop = base.count;
    while (start < stop && one->full[base.rows[start]] == other->full[head.rows[start]])
        start++;
    while (start < stop && one->full[base.rows[stop - 1]] == other->full[head.rows[stop - 1]])
        stop--;
    *first = start;
    *end = stop;
    if (base.count == 1)
        return start == stop || one->name[base.rows[0]] == other->name[head.rows[0]];
    if (start < stop && !walk->ordered)
        return 0;
    for (size_t at = start; at < stop; at++)
        if (one->shape[base.rows[at]] != other->shape[head.rows[at]])
            return 0;
    int common = have_common(walk, base.rows + start, head.rows + start, stop - start);
    return common < 0 ? -1 : !common;
}

/* Walk down from all pairs of todo. Needs no GIL; wrong is the row of a forest with NO_CHILDREN. */
static outcome_t walk_down(walk_t *walk, uint32_t wrong[2]) {
    matches_t *todo = &walk->todo;
    while (todo->count) {
        level_t base, head;
        size_t first, end;
        todo->count--;
        uint32_t one = todo->rows[0][todo->count], other = todo->rows[1][todo->count];
        wrong[0] = one;
        wrong[1] = other;
        if (level_of(&walk->forests[0], one, &base) != DONE || level_of(&walk->forests[1], other, &head) != DONE)
            return NO_CHILDREN;
        int alike = are_alike(walk, base, head, &first, &end);
        if (alike < 0 || match_add(&walk->same, one, other) < 0)
            return NO_MEMORY;
        if (!alike && match_add(&walk->apart, one, other) < 0)
            return NO_MEMORY;
        for (; alike && end > first; end--)
            if (match_add(todo, base.rows[end - 1], head.rows[end - 1]) < 0)
                return NO_MEMORY;
    }
    return DONE;
}

/* Put the given pairs on the stack, the first on top; 0, or -1 with an exception set. */
static int walk_start(walk_t *walk, const Py_buffer pairs[2]) {
    const uint32_t *ones = pairs[0].buf, *others = pairs[1].buf;
    for (size_t at = (size_t)pairs[0].len / 4; at-- > 0;) {
        if (ones[at] >= walk->forests[0].rows || others[at] >= walk->forests[1].rows) {
            PyErr_Format(PyExc_ValueError, "walk_alike: pair %zu is (%u, %u): there are %zu and %zu rows", at, ones[at],
                         others[at], walk->forests[0].rows, walk->forests[1].rows);
            return -1;
        }
        if (match_add(&walk->todo, ones[at], others[at]) < 0) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

/* A Walked; NULL with an exception. */
static PyObject *walked(const walk_t *walk) {
    PyObject *same = array_pair_from_ids(walk->same.rows[0], walk->same.rows[1], walk->same.count);
    PyObject *apart =
        same ? array_pair_from_ids(walk->apart.rows[0], walk->apart.rows[1], walk->apart.count) : NULL;
    PyObject *made = apart ? PyObject_CallFunctionObjArgs(walked_type, same, apart, NULL) : NULL;
    Py_XDECREF(same);
    Py_XDECREF(apart);
    return made;
}

PyDoc_STRVAR(walk_alike_doc, "walk_alike(base, head, pairs, *, ordered)\n--\n\n"
                             "Walk down two forests where they are alike.");

static PyObject *walk_alike(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"base", "head", "pairs", "ordered", NULL};
    static const array_is_t ONES = {"pairs", "base", 'I'}, OTHERS = {"pairs", "head", 'I'};
    PyObject *tuples[2], *arrays[2], *result = NULL;
    Py_buffer pairs[2] = {{0}, {0}};
    walk_t walk = {0};
    uint32_t wrong[2] = {0};
    outcome_t outcome;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO(OO)$p:walk_alike", names, &tuples[0], &tuples[1], &arrays[0],
                                     &arrays[1], &walk.ordered))
        return NULL;
    if (forest_get(tuples[0], "base", &walk.forests[0]) < 0 || forest_get(tuples[1], "head", &walk.forests[1]) < 0 ||
        array_get(arrays[0], ONES, 0, &pairs[0]) < 0 ||
        array_of_length(arrays[1], OTHERS, pairs[0].len / 4, &pairs[1]) < 0 || walk_start(&walk, pairs) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    outcome = walk_down(&walk, wrong);
    Py_END_ALLOW_THREADS
    if (outcome == NO_MEMORY)
        PyErr_NoMemory();
    else if (outcome == NO_CHILDREN)
        PyErr_Format(PyExc_ValueError,
                     "walk_alike: children of row %u of base, or of row %u of head, are no rows behind it", wrong[0],
                     wrong[1]);
    else
        result = walked(&walk);

done:
    PyBuffer_Release(&pairs[0]);
    PyBuffer_Release(&pairs[1]);
    walk_free(&walk);
    return result;
}

static PyMethodDef METHODS[] = {
    {"walk_alike", (PyCFunction)(void (*)(void))walk_alike, METH_VARARGS | METH_KEYWORDS, walk_alike_doc},
    {NULL, NULL, 0, NULL},
};

int walk_add(PyObject *module) {
    Py_XSETREF(walked_type, imported("stepscope.core.trees", "Walked"));
    if (!walked_type)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
