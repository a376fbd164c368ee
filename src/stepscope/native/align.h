/* Lists of siblings by tiers of likeness, for align.c, align_rest.c and levels.c. */

#ifndef STEPSCOPE_ALIGN_H
#define STEPSCOPE_ALIGN_H

#include "native.h"

enum { TIERS = 4, FULL = 0, SHAPE, OWN, NAME };

/* A core.trees.Tiers: what the members of a list are in each tier, held. */
typedef struct {
    size_t count;
    const uint64_t *tiers[TIERS];
    Py_buffer buffers[TIERS];
    int held;
} tiers_t;

/* Hold a Tiers, as it is called in messages; 0, or -1 with an exception set. Zeroed before, it can be released. */
int tiers_get(PyObject *tuple, const char *name, tiers_t *list);
void tiers_release(tiers_t *list);

/* Pair the members of two lists as align_few does: the places of the pairs, both falling, and how many there are. best
   has room for each member and one more of base with each and one more of head. Needs no GIL. */
size_t tiers_align(const tiers_t *base, const tiers_t *head, uint32_t *best, uint32_t *const places[2]);
/* Pair what is not among some places, of each list as many, as align_rest does: 0, or -1: no memory. There is room for
   as many places as the shorter list has. Needs no GIL. */
int tiers_align_rest(const tiers_t *base, const tiers_t *head, const uint32_t *const taken[2], size_t count,
                     uint32_t *const places[2], size_t *found);

#endif
