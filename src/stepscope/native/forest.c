/* Forests held, and pairs of their rows; forest.h. */

#include "forest.h"

enum { FULL, SHAPE, INNER, LABEL, OWN, NAME, STARTS, CHILDREN };

void forest_release(forest_t *forest) {
    while (forest->held)
        PyBuffer_Release(&forest->buffers[--forest->held]);
}

int forest_get(PyObject *tuple, const char *name, forest_t *forest) {
    static const char *const NAMES[] = {"full", "shape", "inner", "label", "own", "name", "starts", "children"};
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
    forest->inner = forest->buffers[INNER].buf;
    forest->label = forest->buffers[LABEL].buf;
    forest->own = forest->buffers[OWN].buf;
    forest->name = forest->buffers[NAME].buf;
    forest->starts = forest->buffers[STARTS].buf;
    forest->inside = forest->buffers[CHILDREN].buf;
    forest->children = (size_t)forest->buffers[CHILDREN].len / 4;
    return 0;
}

int forest_pairs_get(PyObject *const arrays[2], const char *kernel, const forest_t forests[2], Py_buffer pairs[2]) {
    static const array_is_t ONES = {"pairs", "base", 'I'}, OTHERS = {"pairs", "head", 'I'};
    if (array_get(arrays[0], ONES, 0, &pairs[0]) < 0 ||
        array_of_length(arrays[1], OTHERS, pairs[0].len / 4, &pairs[1]) < 0)
        return -1;
    const uint32_t *ones = pairs[0].buf, *others = pairs[1].buf;
    for (size_t at = 0; at < (size_t)pairs[0].len / 4; at++) {
        if (ones[at] < forests[0].rows && others[at] < forests[1].rows)
            continue;
        PyErr_Format(PyExc_ValueError, "%s: pair %zu is (%u, %u): there are %zu and %zu rows", kernel, at, ones[at],
                     others[at], forests[0].rows, forests[1].rows);
        return -1;
    }
    return 0;
}

int forest_level(const forest_t *forest, uint32_t row, level_t *level) {
    uint32_t start = forest->starts[row], end = forest->starts[row + 1];
    if (unlikely(start > end || end > forest->children))
        return -1;
    *level = (level_t){forest->inside + start, end - start};
    for (size_t at = 0; at < level->count; at++)
        if (unlikely(level->rows[at] <= row || level->rows[at] >= forest->rows))
            return -1;
    return 0;
}

void forest_no_level(const char *kernel, const uint32_t rows[2]) {
    PyErr_Format(PyExc_ValueError, "%s: children of row %u of base, or of row %u of head, are no rows behind it", kernel,
                 rows[0], rows[1]);
}

int match_add(matches_t *pairs, uint32_t one, uint32_t other) {
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

void matches_free(matches_t *pairs) {
    PyMem_RawFree(pairs->rows[0]);
    PyMem_RawFree(pairs->rows[1]);
}
