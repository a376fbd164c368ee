"""What a row of a trace is: the columns that every kernel reads, and what passes between kernels.

Rows stand in (ts, -dur, slices before instants, opening) order: a slice before all it contains. On one track slices
nest.
"""

from array import array
from typing import Any, NamedTuple

__all__ = ["CUT", "INSTANT", "SLICE", "Columns", "Lane", "Paired", "Renumbered", "Settled", "StepMark"]

SLICE, INSTANT = 0, 1
# Added to SLICE: the edge of the recorded window cut it off, at its start or its end.
CUT = 2


class Columns(NamedTuple):
    """The columns of a trace; shape (rows,) each.

    Attributes:
        ts, dur: array 'q', ns; dur >= 0.
        name, cat, site, track: array 'I', ids.
        kind: array 'B', SLICE or INSTANT, plus CUT.
    """

    ts: "array[int]"
    dur: "array[int]"
    name: "array[int]"
    cat: "array[int]"
    site: "array[int]"
    track: "array[int]"
    kind: "array[int]"

    @classmethod
    def empty(cls) -> "Columns":
        """No rows."""
        return cls(*(array(code) for code in "qqIIIIB"))


class StepMark(NamedTuple):
    """A step of the profiled program, on the thread that began it; ticks of the spans' clock.

    Steps are kept beside the records: the thread that ends one need not be the one that began it.
    """

    name: str
    start: int
    end: int
    tid: int
    thread: str


class Paired(NamedTuple):
    """A window's rows as pairing leaves them, one thread after the other.

    Attributes:
        columns: in opening order on each thread; track is the thread's place in `threads`.
        strings: id -> text; strings[0] == "".
        threads: native id and Python name of each that recorded something.
        args: row -> arguments, for the rows that have some.
        dropped: thread's name -> how many events it had no memory for.
    """

    columns: Columns
    strings: list[str]
    threads: list[tuple[int, str]]
    args: dict[int, dict[str, Any]]
    dropped: dict[str, int]


class Lane(NamedTuple):
    """Where a slice goes that cannot stay on its track: why ("overlap" or "depth"), and the lane's number from 1."""

    reason: str
    number: int


class Settled(NamedTuple):
    """Rows in their final order.

    Attributes:
        columns: clamped where an overrun was rounding.
        order: array 'I', the given row of each; shape (rows,). None: no row has moved.
        lanes: row -> lane, for the slices that cannot stay on their track.
    """

    columns: Columns
    order: "array[int] | None"
    lanes: dict[int, Lane]


class Renumbered(NamedTuple):
    """Rows whose ids count by first appearance.

    Attributes:
        columns: with the new ids; string 0 stays 0.
        strings, tracks: array 'I', the old id of each new one.
    """

    columns: Columns
    strings: "array[int]"
    tracks: "array[int]"
