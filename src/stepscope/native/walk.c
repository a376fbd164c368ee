/* The walk down two trees where they are alike; the twin of twin/walk.py.

   A stack holds the pairs whose children are to be compared, the one that comes first on top. Whether two lists have a
   member in common is found out by each with each if they are short, else by a table.

   The walk runs without the GIL and allocates with PyMem_Raw. */

#include "forest.h"
#include "table.h"

static PyObject *walked_type; /* stepscope.core.trees.Walked */

/* Up to so many members are compared each with each. */
enum { FEW = 16 };

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
        if (forest_level(&walk->forests[0], one, &base) < 0 || forest_level(&walk->forests[1], other, &head) < 0)
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
    for (size_t at = (size_t)pairs[0].len / 4; at-- > 0;)
        if (match_add(&walk->todo, ones[at], others[at]) < 0) {
            PyErr_NoMemory();
            return -1;
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
    PyObject *tuples[2], *arrays[2], *result = NULL;
    Py_buffer pairs[2] = {{0}, {0}};
    walk_t walk = {0};
    uint32_t wrong[2] = {0};
    outcome_t outcome;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO(OO)$p:walk_alike", names, &tuples[0], &tuples[1], &arrays[0],
                                     &arrays[1], &walk.ordered))
        return NULL;
    if (forest_get(tuples[0], "base", &walk.forests[0]) < 0 || forest_get(tuples[1], "head", &walk.forests[1]) < 0 ||
        forest_pairs_get(arrays, "walk_alike", walk.forests, pairs) < 0 || walk_start(&walk, pairs) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    outcome = walk_down(&walk, wrong);
    Py_END_ALLOW_THREADS
    if (outcome == NO_MEMORY)
        PyErr_NoMemory();
    else if (outcome == NO_CHILDREN)
        forest_no_level("walk_alike", wrong);
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
