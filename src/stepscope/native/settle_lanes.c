/* The lanes of a track, for slices that cannot stay on it: which one is free.

   A tree of minima finds it without a look at each, which would take hours where a file's slices all overlap:

       until    - | root | 2 nodes | 4 nodes | ... | a leaf for each lane         2 * room of them

   A node is the smaller of its two children; a lane that is not there yet is taken for ever. Part of settle.c. */

#include "native.h"

#include <string.h>

/* Take a lane until a time. */
static void take_lane(lanes_t *track, size_t lane, uint64_t until) {
    size_t node = track->room + lane;
    track->until[node] = until;
    while (node /= 2) {
        uint64_t left = track->until[2 * node], right = track->until[2 * node + 1];
        track->until[node] = left < right ? left : right;
    }
}

/* Make room for twice as many lanes; 0, or -1 when there is no memory. */
static int grow_lanes(lanes_t *track) {
    lanes_t grown = {NULL, track->count, track->room ? track->room * 2 : 4};
    grown.until = PyMem_RawMalloc(2 * grown.room * sizeof *grown.until);
    if (!grown.until)
        return -1;
    memset(grown.until, 0xff, 2 * grown.room * sizeof *grown.until);
    for (size_t lane = 0; lane < track->count; lane++)
        take_lane(&grown, lane, track->until[track->room + lane]);
    PyMem_RawFree(track->until);
    *track = grown;
    return 0;
}

size_t free_lane(lanes_t *track, open_slice_t slice) {
    uint64_t start = since(INT64_MIN, slice.start), end = start + (uint64_t)slice.dur;
    if (end < start)
        end = UINT64_MAX;
    size_t lane = track->count;
    if (track->room && track->until[1] <= start) {
        size_t node = 1;
        while (node < track->room)
            node = 2 * node + (track->until[2 * node] > start);
        lane = node - track->room;
    }
    /* The start may be the end of time, when lanes that are not there yet seem free. */
    if (lane >= track->count) {
        if (track->count == track->room && grow_lanes(track) < 0)
            return 0;
        lane = track->count++;
    }
    take_lane(track, lane, end);
    return lane + 1;
}
