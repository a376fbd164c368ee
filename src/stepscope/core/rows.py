"""What a row of a trace is: the columns that every kernel reads, and what passes between kernels.

Rows stand in (ts, -dur, slices before instants, opening) order: a slice before all it contains. On one track slices
nest.
"""

from array import array
from typing import Any, NamedTuple

__all__ = [
    "CUT",
    "INSTANT",
    "NO_KEY",
    "ROW_ANNOTATION",
    "ROW_DEVICE",
    "ROW_HIDDEN",
    "SLICE",
    "Columns",
    "Folded",
    "Grouped",
    "Keys",
    "Lane",
    "Paired",
    "Renumbered",
    "Settled",
    "StepMark",
    "Sums",
]

SLICE, INSTANT = 0, 1
# Added to SLICE: the edge of the recorded window cut it off, at its start or its end.
CUT = 2

# What slices of a category are to averages: bits, 0 for a slice of a thread that is nothing of this.
ROW_ANNOTATION, ROW_DEVICE, ROW_HIDDEN = 1, 2, 4
# The name of no event; the group of no row.
NO_KEY = (1 << 32) - 1


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


class Keys(NamedTuple):
    """What rows are averaged by.

    Attributes:
        name: array 'I', string id -> number of the name that slices go by; NO_KEY hides slices of that name.
        cat: array 'B', string id -> what slices of that category are: ROW_ bits.
        track: array 'I', track -> number of the place that its slices go by.
    """

    name: "array[int]"
    cat: "array[int]"
    track: "array[int]"


class Folded(NamedTuple):
    """The rows as events.

    Attributes:
        above: array 'q', what a row is inside of; shape (rows,). At least -1: an event, and the row of the event
            around it, or -1. Less: no event; -3 - above is the event around it, or -1.
        own: array 'q', ns of each event that no event inside it has; what a device does has all of its own.
    """

    above: "array[int]"
    own: "array[int]"


class Grouped(NamedTuple):
    """Events by number of their group.

    Attributes:
        group: array 'I', shape (rows,); NO_KEY for what is no event.
        first: array 'q', the first row of each group; shape (groups,). It rises.
    """

    group: "array[int]"
    first: "array[int]"


class Sums(NamedTuple):
    """What the events of each group add up to.

    Attributes:
        count, total_ns, self_ns: array 'q', shape (groups,).
        durations: array 'q', ns of every event: group after group, in order of length; shape (sum of count,).
    """

    count: "array[int]"  # type: ignore[assignment] # as in Problem
    total_ns: "array[int]"
    self_ns: "array[int]"
    durations: "array[int]"
