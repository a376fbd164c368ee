"""TrackEvents as a .pftrace file holds them: what passes between reading its packets and pairing their events."""

from array import array
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from stepscope.core.rows import Columns

__all__ = [
    "BEGIN",
    "COMPLETE",
    "COUNT",
    "DONE",
    "END",
    "MALFORMED",
    "NO_ROW",
    "PACKET",
    "POINT",
    "TRUNCATED",
    "Counts",
    "Details",
    "Events",
    "Faults",
    "FlowIds",
    "PairedEvents",
    "Scanned",
    "Stop",
]

# TrackEvent.Type; a complete event is a slice whose duration is known already.
BEGIN, END, POINT, COUNT, COMPLETE = 1, 2, 3, 4, 5

# Why a scan has stopped: at the end, at a packet that is not its to read, where the rest of a packet is missing, or
# where there is none.
DONE, PACKET, TRUNCATED, MALFORMED = 0, 1, 2, 3

NO_ROW = (1 << 32) - 1


class Stop(NamedTuple):
    """Where a scan has stopped, in bytes: the packet there, and its payload from start to stop."""

    status: int
    at: int
    start: int
    stop: int


class Events(NamedTuple):
    """TrackEvents in order of the file; shape (events,) each.

    Attributes:
        ts: array 'q', ns of the trace's clock.
        kind: array 'B', BEGIN, END, POINT or COMPLETE.
        track: array 'I', a number of the scanner's `track`.
        name, cat, site: array 'I', text ids; 0 where the event has none.
    """

    ts: "array[int]"
    kind: "array[int]"
    track: "array[int]"
    name: "array[int]"
    cat: "array[int]"
    site: "array[int]"

    @classmethod
    def empty(cls) -> "Events":
        """No events."""
        return cls(*(array(code) for code in "qBIIII"))


class Details(NamedTuple):
    """Events with annotations: where each stands as a whole, and whose interned texts it uses; shape (events,) each.

    A site as our writer has it is none of them: it is in Events.

    Attributes:
        event: array 'I', its place in Events.
        buffer: array 'I', the number that `scan` was given with the data.
        start, stop: array 'Q', bytes of the TrackEvent in it.
        generation: array 'I', of interned texts.
    """

    event: "array[int]"
    buffer: "array[int]"
    start: "array[int]"
    stop: "array[int]"
    generation: "array[int]"

    @classmethod
    def empty(cls) -> "Details":
        """No details."""
        return cls(*(array(code) for code in "IIQQI"))


class FlowIds(NamedTuple):
    """Points of flows: array 'I', the event; array 'Q', the flow's id; array 'B', whether the flow ends there."""

    event: "array[int]"
    flow: "array[int]"
    last: "array[int]"

    @classmethod
    def empty(cls) -> "FlowIds":
        """No points."""
        return cls(*(array(code) for code in "IQB"))


class Counts(NamedTuple):
    """Values of counters in order of the file: ns, value, track, and generation: what is incremental starts anew."""

    ts: "array[int]"
    value: "array[float]"
    track: "array[int]"
    generation: "array[int]"

    @classmethod
    def empty(cls) -> "Counts":
        """No values."""
        return cls(array("q"), array("d"), array("I"), array("I"))


class Scanned(NamedTuple):
    """All that a scanner has found; texts: id -> UTF-8, and the first is b""."""

    events: Events
    details: Details
    flows: FlowIds
    counts: Counts
    texts: list[bytes]


class Faults(NamedTuple):
    """Events that could not be paired: how many, and the first one; -1: none."""

    count: int  # type: ignore[assignment] # it hides tuple.count, which nobody asks of faults
    first: int


class PairedEvents(NamedTuple):
    """Rows of events.

    Attributes:
        columns: in opening order on each track; a slice that has no end ends with the last event, and is CUT.
        rows: array 'I', the row of each event; NO_ROW: none.
        beyond: events out of the range of time.
        unmatched: ends without a begin.
        misplaced: slices that end with the one they are in, because their own end comes later or never.
    """

    columns: "Columns"
    rows: "array[int]"
    beyond: Faults
    unmatched: Faults
    misplaced: Faults
