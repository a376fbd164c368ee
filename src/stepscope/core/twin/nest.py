"""The containment rule: which slice is inside which.

A slice's parent is the innermost open one on its track. An overrun of at most one clock tick is rounding and is
clamped; a larger one is an overlap, and the later slice goes to a lane of its own, where it adopts nobody.
Ties keep opening order: by closing order an equal child would adopt its parent.
"""

from array import array
from collections import defaultdict
from typing import NamedTuple

from stepscope.core.rows import INSTANT, Columns

__all__ = ["Settled", "nest_rows", "settle_rows"]


class Settled(NamedTuple):
    """Rows in their final order.

    Attributes:
        columns: in (ts, -dur, opening) order, clamped where an overrun was rounding.
        order: array 'I', the given row of each; shape (rows,).
        lanes: row -> lane number from 1, for the slices that overlap another of their track.
    """

    columns: Columns
    order: "array[int]"
    lanes: dict[int, int]


def settle_rows(columns: Columns, tick_ns: int) -> Settled:
    """Sort rows, clamp what overruns by rounding, and give what overlaps a lane.

    Args:
        columns: in opening order within each track.
        tick_ns: an overrun up to this is rounding.
    """
    ts, dur = columns.ts, columns.dur
    order = array("I", sorted(range(len(ts)), key=lambda row: (ts[row], -dur[row])))
    columns = Columns(*(array(c.typecode, map(c.__getitem__, order)) for c in columns))
    ts, dur = columns.ts, columns.dur
    lanes: dict[int, int] = {}
    open_ends: defaultdict[int, list[int]] = defaultdict(list)
    lane_ends: defaultdict[int, list[int]] = defaultdict(list)
    for row, (start, track, kind) in enumerate(zip(ts, columns.track, columns.kind, strict=True)):
        if kind & INSTANT:
            continue
        ends = open_ends[track]
        while ends and ends[-1] <= start:
            ends.pop()
        end = start + dur[row]
        if ends and end > ends[-1]:
            if end - ends[-1] > tick_ns:
                lanes[row] = _free_lane(lane_ends[track], start, end)
                continue
            end = ends[-1]
            dur[row] = end - start
        ends.append(end)
    return Settled(columns, order, lanes)


def _free_lane(ends: list[int], start: int, end: int) -> int:
    """The first lane that is free at `start`, now taken until `end`."""
    for lane, taken_until in enumerate(ends):
        if taken_until <= start:
            ends[lane] = end
            return lane + 1
    ends.append(end)
    return len(ends)


def nest_rows(columns: Columns) -> tuple["array[int]", "array[int]", "array[int]"]:
    """Find each row's parent, depth and own time.

    Args:
        columns: settled: in order, nothing overlaps.

    Returns:
        parent: array 'q', row number or -1 at the root.
        depth: array 'q', 0 at the root.
        self_ns: array 'q', ns not covered by children.
    """
    size = len(columns.ts)
    parent, depth, own = array("q", [-1]) * size, array("q", [0]) * size, array("q", columns.dur)
    stacks: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    rows = zip(columns.ts, columns.dur, columns.track, columns.kind, strict=True)
    for row, (start, length, track, kind) in enumerate(rows):
        stack = stacks[track]
        while stack and stack[-1][0] <= start:
            stack.pop()
        if stack:
            above = stack[-1][1]
            parent[row] = above
            depth[row] = len(stack)
            own[above] -= length
        if not kind & INSTANT:
            stack.append((start + length, row))
    return parent, depth, own
