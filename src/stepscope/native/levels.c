/* The children of many pairs of rows, paired level by level; the twin of twin/levels.py.

   What is equal at both ends of a level is paired at once. What is between is written into columns, aligned exactly, and
   what is left of it is paired out of order:

       base    a b | c d e | z        first, pairs in order: a a, b b, d d, z z
       head    a b | d x c | z        then, out of order: c c

   Where order does not count, all are put in the order of their hashes, and paired out of order.

   The loop runs without the GIL and allocates with PyMem_Raw. */

#include "align.h"
#include "pattern.h"

#include <string.h>

static PyObject *paired_type; /* stepscope.core.trees.PairedLevels */

/* Columns, and how many pairs there are before each level; starts has one place more than there are levels. */
typedef struct {
    forest_t forests[2];
    size_t most; /* members of base times members of head that are aligned exactly */
    int ordered;
    matches_t pairs, found;
    uint32_t *starts, *found_starts;
    uint8_t *order;
    uint64_t *pattern;
    uint64_t *tiers[2];
    uint32_t *best, *places[2], *found_places[2], *sorted[2];
    entry_t *entries[2];
} pairing_t;

static void pairing_free(pairing_t *pairing) {
    forest_release(&pairing->forests[0]);
    forest_release(&pairing->forests[1]);
    matches_free(&pairing->pairs);
    matches_free(&pairing->found);
    PyMem_RawFree(pairing->tiers[0]);
    PyMem_RawFree(pairing->best);
    PyMem_RawFree(pairing->entries[0]);
}

/* Room for the longest levels that are aligned exactly, of n * m members: n and m are most at most, and so are
   (n + 1) * (m + 1) with two more of each of them. 0, or -1: no memory. */
static int make_room(pairing_t *pairing) {
    size_t most = pairing->most;
    pairing->tiers[0] = PyMem_RawMalloc((2 * TIERS * most + 1) * sizeof *pairing->tiers[0]);
    pairing->best = PyMem_RawMalloc((3 * most + 1 + 6 * most) * sizeof *pairing->best);
    pairing->entries[0] = PyMem_RawMalloc((2 * most + 1) * sizeof *pairing->entries[0]);
    if (!pairing->tiers[0] || !pairing->best || !pairing->entries[0])
        return -1;
    pairing->entries[1] = pairing->entries[0] + most;
    pairing->tiers[1] = pairing->tiers[0] + TIERS * most;
    for (int side = 0; side < 2; side++) {
        pairing->places[side] = pairing->best + 3 * most + 1 + (size_t)side * most;
        pairing->found_places[side] = pairing->places[side] + 2 * most;
        pairing->sorted[side] = pairing->places[side] + 4 * most;
    }
    return 0;
}

/* Below 0, 0 or above, as the hashes of one level are less than those of another, in order. */
static int compare(const pairing_t *pairing, level_t base, level_t head) {
    const uint64_t *ones = pairing->forests[0].full, *others = pairing->forests[1].full;
    size_t fewer = base.count < head.count ? base.count : head.count;
    for (size_t at = 0; at < fewer; at++) {
        uint64_t one = ones[base.rows[at]], other = others[head.rows[at]];
        if (one != other)
            return one < other ? -1 : 1;
    }
    return (base.count > head.count) - (base.count < head.count);
}

/* A level in the order of its hashes. */
static level_t sort_level(pairing_t *pairing, int side, level_t level) {
    for (size_t at = 0; at < level.count; at++)
        pairing->entries[0][at] = (entry_t){pairing->forests[side].full[level.rows[at]], level.rows[at]};
    const entry_t *entries = sort_entries(pairing->entries[0], pairing->entries[1], level.count);
    for (size_t at = 0; at < level.count; at++)
        pairing->sorted[side][at] = entries[at].row;
    return (level_t){pairing->sorted[side], level.count};
}

/* Write the tiers of a stretch of a level. */
static tiers_t gather(const forest_t *forest, const uint32_t *rows, size_t count, uint64_t *room) {
    for (size_t at = 0; at < count; at++) {
        room[at] = forest->full[rows[at]];
        room[count + at] = forest->shape[rows[at]];
        room[2 * count + at] = forest->own[rows[at]];
        room[3 * count + at] = forest->name[rows[at]];
    }
    return (tiers_t){.count = count, .tiers = {room, room + count, room + 2 * count, room + 3 * count}};
}

/* Add pairs of what stands at some places from some members on; the last one first, if they fall. */
static int add_pairs(matches_t *pairs, const uint32_t *ones, const uint32_t *others, uint32_t *const places[2],
                     size_t count, int fall) {
    for (size_t at = 0; at < count; at++) {
        size_t from = fall ? count - 1 - at : at;
        if (match_add(pairs, ones[places[0][from]], others[places[1][from]]) < 0)
            return -1;
    }
    return 0;
}

/* Pair what is between, the list with the lesser hashes first: what is ambiguous does not depend on which is base. *left
   is whether something is left on both sides. */
static outcome_t pair_between(pairing_t *pairing, level_t base, level_t head, int turned, int *left) {
    tiers_t lists[2] = {gather(&pairing->forests[0], base.rows, base.count, pairing->tiers[0]),
                        gather(&pairing->forests[1], head.rows, head.count, pairing->tiers[1])};
    int one = turned, other = !turned; /* which side of places is base, and which is head */
    uint32_t *const *places = pairing->places, *const *found_places = pairing->found_places;
    const uint32_t *const taken[2] = {places[0], places[1]};
    size_t found = pairing->ordered ? tiers_align(&lists[one], &lists[other], pairing->best, places) : 0, more = 0;
    size_t fewer = base.count < head.count ? base.count : head.count;
    if (found < fewer &&
        tiers_align_rest(&lists[one], &lists[other], taken, found, found_places, &more) < 0)
        return NO_MEMORY;
    *left = found + more < fewer;
    uint32_t *const sides[2] = {places[one], places[other]};
    uint32_t *const found_sides[2] = {found_places[one], found_places[other]};
    if (add_pairs(&pairing->pairs, base.rows, head.rows, sides, found, 1) < 0 ||
        add_pairs(&pairing->found, base.rows, head.rows, found_sides, more, 0) < 0)
        return NO_MEMORY;
    return DONE;
}

/* Pair the level of that number; 0 is its order where there are too many. */
static outcome_t pair_level(pairing_t *pairing, level_t base, level_t head, size_t number, uint32_t wrong[2]) {
    const uint64_t *ones = pairing->forests[0].full, *others = pairing->forests[1].full;
    size_t first = 0, end = base.count, head_end = head.count;
    int left = 0;
    int ordered = pairing->ordered;
    while (ordered && first < end && first < head_end && ones[base.rows[first]] == others[head.rows[first]])
        first++;
    while (ordered && first < end && first < head_end && ones[base.rows[end - 1]] == others[head.rows[head_end - 1]]) {
        end--;
        head_end--;
    }
    level_t between[2] = {{base.rows + first, end - first}, {head.rows + first, head_end - first}};
    if (between[0].count && between[1].count > pairing->most / between[0].count)
        return DONE;
    int turned = compare(pairing, base, head) > 0;
    pairing->order[number] = turned ? 2 : 1;
    for (size_t at = 0; at < first; at++)
        if (match_add(&pairing->pairs, base.rows[at], head.rows[at]) < 0)
            return NO_MEMORY;
    for (int side = 0; side < 2 && !ordered && between[0].count && between[1].count; side++)
        between[side] = sort_level(pairing, side, between[side]);
    if (between[0].count && between[1].count &&
        pair_between(pairing, between[0], between[1], turned, &left) != DONE)
        return NO_MEMORY;
    for (size_t at = 0; at < base.count - end; at++)
        if (match_add(&pairing->pairs, base.rows[end + at], head.rows[head_end + at]) < 0)
            return NO_MEMORY;
    const size_t around[] = {pairing->order[number], first, base.count, head.count};
    if (left && pattern_of(pairing->forests, between, around, &pairing->pattern[number], wrong) < 0)
        return NO_CHILDREN;
    return DONE;
}

/* Pair the children of all pairs of rows. Needs no GIL; wrong is the row of a forest with NO_CHILDREN. */
static outcome_t pair_all(pairing_t *pairing, const Py_buffer rows[2], uint32_t wrong[2]) {
    size_t levels = (size_t)rows[0].len / 4;
    if (make_room(pairing) < 0)
        return NO_MEMORY;
    for (size_t at = 0; at < levels; at++) {
        level_t sides[2];
        for (int side = 0; side < 2; side++)
            wrong[side] = ((const uint32_t *)rows[side].buf)[at];
        for (int side = 0; side < 2; side++)
            if (forest_level(&pairing->forests[side], wrong[side], &sides[side]) < 0)
                return NO_CHILDREN;
        outcome_t outcome = pair_level(pairing, sides[0], sides[1], at, wrong);
        if (outcome != DONE)
            return outcome;
        if (pairing->pairs.count > UINT32_MAX || pairing->found.count > UINT32_MAX)
            return NO_MEMORY;
        pairing->starts[at + 1] = (uint32_t)pairing->pairs.count;
        pairing->found_starts[at + 1] = (uint32_t)pairing->found.count;
    }
    return DONE;
}

/* A PairedLevels of four arrays and the pairs; NULL with an exception. */
static PyObject *paired(const pairing_t *pairing, PyObject *const arrays[4]) {
    const matches_t *in_order = &pairing->pairs, *found = &pairing->found;
    PyObject *pairs = array_pair_from_ids(in_order->rows[0], in_order->rows[1], in_order->count);
    PyObject *more = pairs ? array_pair_from_ids(found->rows[0], found->rows[1], found->count) : NULL;
    PyObject *made =
        more ? PyObject_CallFunctionObjArgs(paired_type, arrays[0], arrays[1], arrays[2], pairs, arrays[3], more, NULL)
             : NULL;
    Py_XDECREF(pairs);
    Py_XDECREF(more);
    return made;
}

PyDoc_STRVAR(pair_levels_doc, "pair_levels(base, head, pairs, most, *, ordered)\n--\n\n"
                              "Pair the children of many pairs of rows, level by level.");

static PyObject *pair_levels(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"base", "head", "pairs", "most", "ordered", NULL};
    static const char CODES[] = "BQII";
    PyObject *tuples[2], *given[2], *made[4] = {NULL}, *result = NULL;
    Py_buffer rows[2] = {{0}, {0}}, held[4] = {{0}, {0}, {0}, {0}};
    pairing_t pairing = {0};
    uint32_t wrong[2] = {0};
    Py_ssize_t most;
    outcome_t outcome;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO(OO)n$p:pair_levels", names, &tuples[0], &tuples[1], &given[0],
                                     &given[1], &most, &pairing.ordered))
        return NULL;
    if (most > PY_SSIZE_T_MAX / 64)
        return PyErr_NoMemory();
    if (forest_get(tuples[0], "base", &pairing.forests[0]) < 0 ||
        forest_get(tuples[1], "head", &pairing.forests[1]) < 0 ||
        forest_pairs_get(given, "pair_levels", pairing.forests, rows) < 0)
        goto done;
    for (int i = 0; i < 4; i++)
        if (!(made[i] = array_new_held(CODES[i], rows[0].len / 4 + (i > 1), &held[i])))
            goto done;
    pairing.most = most > 0 ? (size_t)most : 0;
    pairing.order = held[0].buf;
    pairing.pattern = held[1].buf;
    pairing.starts = held[2].buf;
    pairing.found_starts = held[3].buf;
    Py_BEGIN_ALLOW_THREADS
    outcome = pair_all(&pairing, rows, wrong);
    Py_END_ALLOW_THREADS
    if (outcome == NO_MEMORY)
        PyErr_NoMemory();
    else if (outcome == NO_CHILDREN)
        forest_no_level("pair_levels", wrong);
    else
        result = paired(&pairing, made);

done:
    for (int i = 0; i < 4; i++) {
        PyBuffer_Release(&held[i]);
        Py_XDECREF(made[i]);
    }
    PyBuffer_Release(&rows[0]);
    PyBuffer_Release(&rows[1]);
    pairing_free(&pairing);
    return result;
}

static PyMethodDef METHODS[] = {
    {"pair_levels", (PyCFunction)(void (*)(void))pair_levels, METH_VARARGS | METH_KEYWORDS, pair_levels_doc},
    {NULL, NULL, 0, NULL},
};

int levels_add(PyObject *module) {
    Py_XSETREF(paired_type, imported("stepscope.core.trees", "PairedLevels"));
    if (!paired_type)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
