/* Pairs of numbers, which count by first appearance: for pairs.c, paths.c and path_numbers.c. */

#ifndef STEPSCOPE_PAIRS_H
#define STEPSCOPE_PAIRS_H

#include "native.h"

typedef struct {
    int64_t first;
    uint32_t second;
} pair_t;

/* Zeroed, it holds none. */
typedef struct {
    pair_t *pairs;
    uint32_t *places;
    size_t count, room; /* room: of places; pairs has half as many */
} pairs_t;

/* A pair's number, new or known; -1: no memory, or there would be 2**32 pairs. Needs no GIL. */
int64_t pair_number(pairs_t *pairs, int64_t first, uint32_t second);
/* The number of a known pair; -1: it is not known. Needs no GIL. */
int64_t pair_find(const pairs_t *pairs, int64_t first, uint32_t second);
void pairs_free(pairs_t *pairs);

#endif
