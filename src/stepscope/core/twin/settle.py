"""Settling: rows in their final order, on tracks where they nest.

An overrun of at most one clock tick is rounding and is clamped. A larger one is an overlap: the later slice goes to
a lane of its own, where it adopts nobody. What is nested deeper than Perfetto draws goes to a lane for its depth.
"""

from array import array
from collections import defaultdict
from heapq import heappop, heappush
from itertools import pairwise

from stepscope.core.rows import CUT, INSTANT, SLICE, Columns, Lane, Renumbered, Settled
from stepscope.core.twin.nest import still_open

__all__ = ["order_ties", "renumber_rows", "settle_rows"]

# The trace processor's limit: deeper slices are dropped there, and counted as errors.
MAX_DEPTH = 512


def settle_rows(columns: Columns, tick_ns: int) -> Settled:
    """Sort rows, clamp what overruns by rounding, and give a lane to what does not nest.

    Args:
        columns: in opening order within each track; they are the caller's no more.
        tick_ns: an overrun up to this is rounding.
    """
    ts, dur, kinds = columns.ts, columns.dur, columns.kind
    order = array("I", sorted(range(len(ts)), key=lambda row: (ts[row], -dur[row], kinds[row] & INSTANT)))
    moved = any(row != at for at, row in enumerate(order))
    if moved:
        columns = Columns(*(array(c.typecode, map(c.__getitem__, order)) for c in columns))
    ts, dur = columns.ts, columns.dur
    lanes: dict[int, Lane] = {}
    open_slices: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    overlapping: defaultdict[int, _Lanes] = defaultdict(_Lanes)
    for row, (start, track, kind) in enumerate(zip(ts, columns.track, columns.kind, strict=True)):
        stack = still_open(open_slices[track], start, dur[row])
        end = start + dur[row]
        if stack and end > stack[-1][0]:
            if end - stack[-1][0] > tick_ns:
                lanes[row] = Lane("overlap", overlapping[track].take(start, end))
                continue
            end = stack[-1][0]
            dur[row] = end - start
        if len(stack) >= MAX_DEPTH:
            lanes[row] = Lane("depth", len(stack) // MAX_DEPTH)
        if not kind & INSTANT:
            stack.append((end, dur[row]))
    at_once = any(start == after for start, after in pairwise(ts))
    return Settled(columns, order if moved else None, lanes, at_once, columns.kind.tobytes().count(SLICE | CUT))


class _Lanes:
    """The lanes of one track, numbered from 1."""

    def __init__(self) -> None:
        self._free: list[int] = []  # heaps: looking at each lane would take hours where a file's slices all overlap
        self._taken: list[tuple[int, int]] = []  # until when, and the lane

    def take(self, start: int, end: int) -> int:
        """The first lane that is free at `start`, now taken until `end`; starts do not go back."""
        while self._taken and self._taken[0][0] <= start:
            heappush(self._free, heappop(self._taken)[1])
        lane = heappop(self._free) if self._free else len(self._taken) + 1
        heappush(self._taken, (end, lane))
        return lane


def order_ties(columns: Columns) -> "array[int] | None":
    """Sort rows that begin and last alike on several tracks by track, in place.

    Which one came first no file keeps that has one packet sequence a track. Tracks count by their first row, so that
    the order is the same when the rows come track after track.

    Args:
        columns: settled and on their lanes. Clamping may have made some shorter than what stands behind them.

    Returns:
        The place that each row had; None: no row has moved.
    """
    keys = list(map(_place_in_time, columns.ts, columns.dur, columns.kind))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = {track: number for number, track in enumerate(dict.fromkeys(map(columns.track.__getitem__, order)))}
    if len(rank) > 1:
        order.sort(key=lambda row: (keys[row], rank[columns.track[row]]))
    if order == list(range(len(order))):
        return None
    for column in columns:
        column[:] = array(column.typecode, map(column.__getitem__, order))
    return array("I", order)


def _place_in_time(ts: int, dur: int, kind: int) -> tuple[int, int, int]:
    return ts, -dur, kind & INSTANT


def renumber_rows(columns: Columns) -> Renumbered:
    """Number strings and tracks by first appearance, so that equal content has equal ids.

    Args:
        columns: they are the caller's no more. Names count first, then categories, then sites.
    """
    strings = {0: 0}
    for column in (columns.name, columns.cat, columns.site):
        for old in dict.fromkeys(column):
            strings.setdefault(old, len(strings))
    tracks = {old: new for new, old in enumerate(dict.fromkeys(columns.track))}
    columns = columns._replace(
        name=array("I", map(strings.__getitem__, columns.name)),
        cat=array("I", map(strings.__getitem__, columns.cat)),
        site=array("I", map(strings.__getitem__, columns.site)),
        track=array("I", map(tracks.__getitem__, columns.track)),
    )
    return Renumbered(columns, array("I", strings), array("I", tracks))
