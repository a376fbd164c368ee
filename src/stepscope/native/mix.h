/* Hashes of hashes, for trees.c, pattern.c and align_rest.c; the twin of mix in twin/trees.py. */

#ifndef STEPSCOPE_MIX_H
#define STEPSCOPE_MIX_H

#include <stdint.h>

/* Spread 64 bits over 64 bits, one to one. Source: the last steps of SplitMix64. */
static inline uint64_t mix(uint64_t bits) {
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94D049BB133111EB);
    return bits ^ (bits >> 31);
}

#endif
