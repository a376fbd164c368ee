/* Trees, and pairs of their rows, for walk.c, levels.c and pattern.c. */

#ifndef STEPSCOPE_FOREST_H
#define STEPSCOPE_FOREST_H

#include "native.h"

enum { COLUMNS_OF_FOREST = 8 };

/* A core.trees.Forest, held. */
typedef struct {
    size_t rows, children;
    const uint64_t *full, *shape, *inner, *label, *own;
    const uint32_t *name, *starts, *inside;
    Py_buffer buffers[COLUMNS_OF_FOREST];
    int held;
} forest_t;

/* The children of a row. */
typedef struct {
    const uint32_t *rows;
    size_t count;
} level_t;

/* Pairs of rows, a list that grows; zeroed, it is empty. */
typedef struct {
    uint32_t *rows[2];
    size_t count, room;
} matches_t;

/* How a way through two forests ends; with NO_CHILDREN, children of a row do not stand behind it. */
typedef enum { DONE, NO_MEMORY, NO_CHILDREN } outcome_t;

/* Hold a Forest, as it is called in messages; 0, or -1 with an exception set. Zeroed before, it can be released. */
int forest_get(PyObject *tuple, const char *name, forest_t *forest);
void forest_release(forest_t *forest);
/* Hold two arrays of rows, of base and of head; 0, or -1 with an exception set. Zeroed before, they can be released. */
int forest_pairs_get(PyObject *const arrays[2], const char *kernel, const forest_t forests[2], Py_buffer pairs[2]);
/* Find a row's children; 0, or -1: they do not all stand behind it. Needs no GIL. */
int forest_level(const forest_t *forest, uint32_t row, level_t *level);
/* Say that a row of one of two forests has such children. */
void forest_no_level(const char *kernel, const uint32_t rows[2]);

/* Add a pair; 0, or -1: no memory. Needs no GIL. */
int match_add(matches_t *pairs, uint32_t one, uint32_t other);
void matches_free(matches_t *pairs);

#endif
