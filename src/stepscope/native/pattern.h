/* What is equal to what in a level, for levels.c. */

#ifndef STEPSCOPE_PATTERN_H
#define STEPSCOPE_PATTERN_H

#include "forest.h"

/* A hash, never 0, of what is equal to what among some members of base and of head, and in which order; not of what they
   are. Or 0, if they are too many.

   around are four numbers that go into it too. 0, or -1: the children of a row, which is written to wrong, do not stand
   behind it. Needs no GIL. */
int pattern_of(const forest_t forests[2], const level_t members[2], const size_t around[4], uint64_t *pattern,
               uint32_t wrong[2]);

#endif
