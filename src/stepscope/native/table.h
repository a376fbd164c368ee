/* The places of each key in a list, for align_unique.c, align_rest.c and walk.c. */

#ifndef STEPSCOPE_TABLE_H
#define STEPSCOPE_TABLE_H

#include "native.h"

/* Slots are probed linearly, at most half of them are taken:

       keys     7 | 3 | 7       slots   1 + a key's first place, 0: free       next   3 | 0 | 0, 1 + the next place

   left is 1 + the first place of a key that has not been taken, kept at its first. */
typedef struct {
    const uint64_t *keys;
    uint32_t *slots, *next, *left;
    size_t room;
} table_t;

/* Make the table of a list, which is kept; 0, or -1: no memory. Zeroed, it can be freed. Needs no GIL. */
int table_make(table_t *table, const uint64_t *keys, size_t count);
void table_free(table_t *table);
/* A key's first place; -1 if it has none. */
int64_t table_find(const table_t *table, uint64_t key);
/* Take a key's first place that has not been taken; -1 if there is none. */
int64_t table_take(table_t *table, uint64_t key);

#endif
