"""Flows of Chrome's form: which slice each point is in, and which points make one flow.

A point right behind a row of its own time and track is that row's: so write we and most others. Any other is of the
innermost slice that is open then, or, for an end without "bp":"e", of the next one that begins. Points of one id,
scope, category and name make a flow, and one more for each further end; a bind_id on slices makes one through those.

Where the innermost slice has just ended, trace processor v52 binds to it, though the one around it is still open.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stepscope.core import kernels
from stepscope.core.rows import Columns
from stepscope.formats.findings import Findings

__all__ = ["FlowPoint", "Flows"]

# How many slices around the last one are looked at: as deep as slices can be nested on a track.
MAX_CLIMB = 512

_Key = tuple[int | str, ...]


class FlowPoint(NamedTuple):
    """A point as its event has it.

    Attributes:
        ts: ns as the file counts.
        phase: "s", "t" or "f".
        behind: the row that stands right before it in the file, one of the scanner's; -1: none; below: -2 - the number
            of one that events made.
        track: of its thread.
        key: id, scope, category, name.
        binds_next: it is of the slice that begins next.
    """

    ts: int
    phase: str
    behind: int
    track: int
    key: _Key
    binds_next: bool


class Flows:
    """Collects the points of flows; `resolve` binds them to rows."""

    def __init__(self) -> None:
        self.points: list[FlowPoint] = []
        self._bound: dict[str, tuple[str, list[int]]] = {}

    def take_bound(self, event: Mapping[str, Any], row: int, name: str) -> None:
        """Keep the flow that a slice says itself it is part of."""
        id_ = event.get("bind_id")
        if isinstance(id_, (str, int)) and (event.get("flow_in") or event.get("flow_out")):
            self._bound.setdefault(str(id_), (name, []))[1].append(row)

    def bound(self, places: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        """Name and rows of the flows that slices say they are part of; places: row of an event -> row."""
        for name, rows in self._bound.values():
            yield name, [places[row] for row in rows]

    def resolve(
        self, columns: Columns, place: Callable[[int], int], tracks: Sequence[int], findings: Findings
    ) -> Iterator[tuple[str, list[int]]]:
        """Name and rows of each flow.

        Args:
            columns: all rows, as the builder will get them.
            place: the row of a FlowPoint's behind.
            tracks: of the points -> of the rows.
            findings: hear of points without a slice or a beginning. Points of the same row count once.
        """
        flows: dict[_Key, list[int]] = {}
        enclosing: _Enclosing | None = None
        for point in sorted(self.points, key=lambda point: point.ts):
            row, track = place(point.behind), tracks[point.track]
            if row < 0 or (columns.ts[row], columns.track[row]) != (point.ts, track) or point.binds_next:
                enclosing = enclosing or _Enclosing(columns, {tracks[point.track] for point in self.points})
                row = (enclosing.next_row if point.binds_next else enclosing.row)(track, point.ts)
            if row < 0:
                findings.note("unmatched", f"a flow {point.key[-1]!r} at {point.ts} ns passes no slice")
            elif (point.phase == "s") == (point.key in flows):
                what = "begins twice" if point.phase == "s" else "has no beginning"
                findings.note("unmatched", f"the flow {point.key[-1]!r} at {point.ts} ns {what}")
            elif row not in flows.setdefault(point.key, [])[-1:]:
                flows[point.key].append(row)
                if point.phase == "f":
                    yield str(point.key[-1]), flows[point.key]
                    # What comes behind an end goes on from where the end's own arrow came from.
                    flows[point.key] = flows[point.key][-2:-1]
        for key, rows in flows.items():
            if len(rows) > 1:
                yield str(key[-1]), rows


class _Enclosing:
    """Which row is open at a time, on some of the tracks."""

    def __init__(self, columns: Columns, tracks: set[int]) -> None:
        copy = Columns(*(array(column.typecode, column) for column in columns))
        self._settled, self._order, *_ = kernels.settle_rows(copy, 1)
        self._parent, _ = kernels.nest_rows(self._settled)
        self._last: dict[int, tuple[int, int]] = {}
        self._rows: defaultdict[int, list[int]] = defaultdict(list)
        for row, track in enumerate(self._settled.track):
            if track in tracks:
                self._rows[track].append(row)

    def row(self, track: int, ts: int) -> int:
        """The innermost row that holds a moment; -1: none. On a track, moments do not go back."""
        rows = self._rows[track]
        at = bisect_right(rows, ts, key=self._settled.ts.__getitem__) - 1
        before, row = self._last.get(track, (-1, -1))
        if at != before:  # else what had ended before has ended now too
            row = rows[at] if at >= 0 else -1
        for _ in range(MAX_CLIMB):
            if row < 0 or self._settled.ts[row] + self._settled.dur[row] >= ts:
                break
            row = self._parent[row]
        else:
            row = -1
        self._last[track] = at, row
        return self._given(row)

    def next_row(self, track: int, ts: int) -> int:
        """The first row that begins at a moment or after it; -1: none."""
        rows = self._rows[track]
        at = bisect_left(rows, ts, key=self._settled.ts.__getitem__)
        return self._given(rows[at]) if at < len(rows) else -1

    def _given(self, row: int) -> int:
        return row if row < 0 or self._order is None else self._order[row]
