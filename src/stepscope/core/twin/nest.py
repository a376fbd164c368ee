"""The containment rule: which slice is inside which.

A slice's parent is the innermost one on its track that is open when it begins. One that ends at that instant is not
open any more, unless neither lasts any time: equal intervals nest, and ties keep opening order, because by closing
order an equal child would adopt its parent. An instant stands behind the slices of its time and contains nothing.

An overrun of at most one clock tick is rounding and is clamped. A larger one is an overlap: the later slice goes to
a lane of its own, where it adopts nobody. What is nested deeper than Perfetto draws goes to a lane for its depth.

Source: Perfetto's SliceTracker, whose order of equal intervals and whose depth limit these are.
"""

from array import array
from collections import defaultdict
from typing import NamedTuple

from stepscope.core.rows import INSTANT, Columns

__all__ = ["MAX_DEPTH", "Lane", "Settled", "nest_rows", "settle_rows"]

MAX_DEPTH = 512


class Lane(NamedTuple):
    """Where a slice goes that cannot stay on its track: why ("overlap" or "depth"), and the lane's number from 1."""

    reason: str
    number: int


class Settled(NamedTuple):
    """Rows in their final order.

    Attributes:
        columns: in (ts, -dur, slices first, opening) order, clamped where an overrun was rounding.
        order: array 'I', the given row of each; shape (rows,).
        lanes: row -> lane, for the slices that cannot stay on their track.
    """

    columns: Columns
    order: "array[int]"
    lanes: dict[int, Lane]


def settle_rows(columns: Columns, tick_ns: int) -> Settled:
    """Sort rows, clamp what overruns by rounding, and give a lane to what does not nest.

    Args:
        columns: in opening order within each track.
        tick_ns: an overrun up to this is rounding.
    """
    ts, dur, kinds = columns.ts, columns.dur, columns.kind
    order = array("I", sorted(range(len(ts)), key=lambda row: (ts[row], -dur[row], kinds[row] & INSTANT)))
    columns = Columns(*(array(c.typecode, map(c.__getitem__, order)) for c in columns))
    ts, dur = columns.ts, columns.dur
    lanes: dict[int, Lane] = {}
    open_slices: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    lane_ends: defaultdict[int, list[int]] = defaultdict(list)
    for row, (start, track, kind) in enumerate(zip(ts, columns.track, columns.kind, strict=True)):
        stack = _still_open(open_slices[track], start, dur[row])
        end = start + dur[row]
        if stack and end > stack[-1][0]:
            if end - stack[-1][0] > tick_ns:
                lanes[row] = Lane("overlap", _free_lane(lane_ends[track], start, end))
                continue
            end = stack[-1][0]
            dur[row] = end - start
        if len(stack) >= MAX_DEPTH:
            lanes[row] = Lane("depth", len(stack) // MAX_DEPTH)
        if not kind & INSTANT:
            stack.append((end, dur[row]))
    return Settled(columns, order, lanes)


def _still_open(stack: list[tuple[int, int]], start: int, dur: int) -> list[tuple[int, int]]:
    """The stack of (end, dur), without what has ended when a slice of `dur` begins at `start`."""
    while stack and (stack[-1][0] < start or (stack[-1][0] == start and (stack[-1][1] or dur))):
        stack.pop()
    return stack


def _free_lane(ends: list[int], start: int, end: int) -> int:
    """The first lane that is free at `start`, now taken until `end`."""
    for lane, taken_until in enumerate(ends):
        if taken_until <= start:
            ends[lane] = end
            return lane + 1
    ends.append(end)
    return len(ends)


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
        stack, above = _still_open(open_slices[track], start, dur), open_rows[track]
        del above[len(stack) :]
        if above:
            parent[row] = above[-1]
            own[above[-1]] -= dur
        if not kind & INSTANT:
            stack.append((start + dur, dur))
            above.append(row)
    return parent, own
