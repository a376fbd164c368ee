/* A list of siblings by tiers of likeness, for align.c and align_rest.c. */

#ifndef STEPSCOPE_ALIGN_H
#define STEPSCOPE_ALIGN_H

#include "native.h"

enum { TIERS = 3, FULL = 0, SHAPE, NAME };

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

#endif
