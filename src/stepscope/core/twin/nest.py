"""The containment rule: which slice is inside which.

A slice's parent is the innermost one on its track that is open when it begins. One that ends at that instant is not
open any more, unless neither lasts any time: equal intervals nest, and ties keep opening order, because by closing
order an equal child would adopt its parent. An instant stands behind the slices of its time and contains nothing.

Source: Perfetto's SliceTracker, whose order of equal intervals this is.
"""

from array import array
from collections import defaultdict

from stepscope.core.rows import INSTANT, Columns

__all__ = ["nest_rows", "still_open"]


def still_open(stack: list[tuple[int, int]], start: int, dur: int) -> list[tuple[int, int]]:
    """The stack of (end, dur), without what has ended when a slice of `dur` begins at `start`."""
    while stack and (stack[-1][0] < start or (stack[-1][0] == start and (stack[-1][1] or dur))):
        stack.pop()
    return stack


def nest_rows(columns: Columns) -> tuple["array[int]", "array[int]"]:
    """Find each row's parent and own time.

    Args:
        columns: settled: in order, nothing overlaps.

    Returns:
        parent: array 'q', row number or -1 at the root.
        self_ns: array 'q', ns not covered by children.
    """
    parent, own = array("q", [-1]) * len(columns.ts), array("q", columns.dur)
    open_slices: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    open_rows: defaultdict[int, list[int]] = defaultdict(list)
    rows = zip(columns.ts, columns.dur, columns.track, columns.kind, strict=True)
    for row, (start, dur, track, kind) in enumerate(rows):
        stack, above = still_open(open_slices[track], start, dur), open_rows[track]
        del above[len(stack) :]
        if above:
            parent[row] = above[-1]
            own[above[-1]] -= dur
        if not kind & INSTANT:
            stack.append((start + dur, dur))
            above.append(row)
    return parent, own
