"""What a row of a trace is: the columns that every kernel reads, and what passes between kernels.

Rows stand in (ts, -dur, slices before instants, opening) order: a slice before all it contains. On one track slices
nest.
"""

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = [
    "ANNOTATION",
    "BLOCKS",
    "CALL",
    "CUT",
    "FLOW",
    "INSTANT",
    "MEMORY_SAMPLE",
    "MEMORY_THREAD",
    "NO_ADDRESS",
    "PAUSE_CATEGORY",
    "PEAK",
    "RESIDENT",
    "SLICE",
    "TRACED",
    "TURN_CATEGORY",
    "Columns",
    "Counters",
    "Fed",
    "Flows",
    "Label",
    "Lane",
    "Paired",
    "PairedCounters",
    "PairedFlows",
    "PairedTrack",
    "PickedArgs",
    "Renumbered",
    "THREAD_TIME",
    "Scanned",
    "Settled",
    "SettledCounters",
    "SettledFlows",
    "StepMark",
]

SLICE, INSTANT = 0, 1
# Added to SLICE: the edge of the recorded window cut it off, at its start or its end.
CUT = 2


# What spans of the program are.
ANNOTATION = "user_annotation"
# What function tracing records: a call, which lies within the call it is made from.
CALL = "python_function"
# The argument that says how long a span's thread has computed meanwhile, in ns, where that was measured.
THREAD_TIME = "thread_time_ns"
# What a flow is called whose first point is not in the window.
FLOW = "flow"
# What sources of the profiler's own call what they record: a pause of the collector, a turn of a task, memory.
PAUSE_CATEGORY = "gc"
TURN_CATEGORY = "task_step"
MEMORY_THREAD = "stepscope memory"
RESIDENT, PEAK = ("resident memory", "bytes"), ("peak of resident memory", "bytes")
BLOCKS, TRACED = ("Python heap", "blocks"), ("Python heap (traced)", "bytes")


class Label(NamedTuple):
    """What a slice is called that is not a span of the program; those are called by a str, and are ANNOTATION.

    Attributes:
        name, cat: legal text, not empty.
        site: "file:line", legal text; "" where there is none.
    """

    name: str
    cat: str
    site: str = ""


# A sample of memory where the last one was another. torch's allocations are called alike, and have an address.
MEMORY_SAMPLE = Label("[memory]", "cpu_instant_event")
NO_ADDRESS = {"Addr": 0}


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


class Counters(NamedTuple):
    """The values of all counters; shape (values,) each, in (ts, name of the track, order) order.

    Attributes:
        ts: array 'q', ns.
        value: array 'd', finite.
        track: array 'I', ids of counter tracks.
    """

    ts: "array[int]"
    value: "array[float]"
    track: "array[int]"

    @classmethod
    def empty(cls) -> "Counters":
        """No values."""
        return cls(array("q"), array("d"), array("I"))


class Flows(NamedTuple):
    """Arrows through rows: the points of one flow are connected in order of time, and their ts rises strictly.

    Attributes:
        flow, row: array 'I', a point each, in (row, flow) order; shape (points,). A flow has two points at least.
        name: array 'I', a string id per flow; shape (flows,). Flows count by first appearance.
    """

    flow: "array[int]"
    row: "array[int]"
    name: "array[int]"

    @classmethod
    def empty(cls) -> "Flows":
        """No flows."""
        return cls(array("I"), array("I"), array("I"))


class StepMark(NamedTuple):
    """A step of the profiled program, on the thread that began it; ticks of the spans' clock.

    Steps are kept beside the records: the thread that ends one need not be the one that began it.

    Attributes:
        args: frozen; None or empty for none.
        lane: that of the task that began it, as `kernels.lane_here` returned it.
    """

    name: str
    start: int
    end: int
    tid: int
    thread: str
    args: dict[str, Any] | None = None
    lane: Any = None


class PairedTrack(NamedTuple):
    """What rows stand on: a thread, the lane of a task, or what instants are of that are no thread's.

    Attributes:
        kind: "thread", "task", "process" or "global".
        tid: a thread's native id; others have 0.
        name: the thread's Python name, the task's, or what stands there.
    """

    kind: str
    tid: int
    name: str


class PairedCounters(NamedTuple):
    """The counter values of a window, in order of recording on each thread, one thread after the other.

    Attributes:
        ts, value: array 'q' in ns, array 'd'; shape (values,).
        series: array 'I', each value's place in `names`.
        names: name and unit of each series; a counter is the process's, whichever thread counts.
    """

    ts: "array[int]"
    value: "array[float]"
    series: "array[int]"
    names: list[tuple[str, str]]

    @classmethod
    def empty(cls) -> "PairedCounters":
        """No values."""
        return cls(array("q"), array("d"), array("I"), [])


class PairedFlows(NamedTuple):
    """The flow points of a window.

    Attributes:
        flow: array 'I', each point's place in `names`; shape (points,).
        row: array 'I', the instant that was recorded for the point, in the numbering of Paired.columns.
        names: a string id per flow.
    """

    flow: "array[int]"
    row: "array[int]"
    names: list[int]

    @classmethod
    def empty(cls) -> "PairedFlows":
        """No points."""
        return cls(array("I"), array("I"), [])


class Paired(NamedTuple):
    """A window's rows as pairing leaves them, one thread after the other.

    Attributes:
        columns: in opening order on each thread; track is a place in `tracks`.
        strings: id -> text; strings[0] == "".
        tracks: threads and tasks' lanes that something stands on.
        args: row -> arguments, for the rows that have some.
        dropped: thread's name -> how many events it had no memory for.
        counters, flows: what was recorded besides rows; nobody writes to them.
    """

    columns: Columns
    strings: list[str]
    tracks: list[PairedTrack]
    args: dict[int, Mapping[str, Any]]
    dropped: dict[str, int]
    counters: PairedCounters = PairedCounters.empty()
    flows: PairedFlows = PairedFlows.empty()


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
        at_once: whether any two rows begin at the same time.
        cut: how many slices the edge of the window cut off.
    """

    columns: Columns
    order: "array[int] | None"
    lanes: dict[int, Lane]
    at_once: bool
    cut: int


class SettledCounters(NamedTuple):
    """Values in their final order.

    Attributes:
        counters: those that a file can show: JSON has no word for NaN and infinity, and the trace processor refuses
            them.
        lost: array 'I', where the others were.
    """

    counters: Counters
    lost: "array[int]"


class SettledFlows(NamedTuple):
    """Flows by final rows.

    Attributes:
        flows: name is still the id that was handed in.
        lost: array 'I', two numbers for each point at the time of the one before it in its flow: the flow's name, the
            final row.
    """

    flows: Flows
    lost: "array[int]"


class Renumbered(NamedTuple):
    """Rows whose ids count by first appearance.

    Attributes:
        columns: with the new ids; string 0 stays 0.
        strings, tracks: array 'I', the old id of each new one.
    """

    columns: Columns
    strings: "array[int]"
    tracks: "array[int]"


class Fed(NamedTuple):
    """What a ChromeScanner has met in the bytes that it was fed.

    Attributes:
        at: where it stopped: at the beginning of what it did not scan.
        rows: how many plain events there are by now.
        state: "more": the item there is not whole; "end": behind the end of the array; "damaged": no item begins there.
        args: array 'q', three numbers for each row with arguments: the row, where its args object begins and ends.
        unusual: array 'q', three numbers for each item that is not plain: how many rows there were before it, where it
            begins and ends.
    """

    at: int
    rows: int
    state: str
    args: "array[int]"
    unusual: "array[int]"


class PickedArgs(NamedTuple):
    """Arguments that have been copied as they stand, and those that have not.

    Attributes:
        text: JSON objects, one behind the other.
        rows: array 'I', the row of each.
        ends: array 'q', where each ends in the text.
        loose: array 'B', 1 if it holds null, or an empty array or object, which a trace spells otherwise.
        rest: array 'q', three numbers for each that is to be parsed now, as `Fed.args` has them.
    """

    text: bytes
    rows: "array[int]"
    ends: "array[int]"
    loose: "array[int]"
    rest: "array[int]"


class Scanned(NamedTuple):
    """The plain events of a Chrome JSON file, in the file's order.

    Attributes:
        columns: ts in ns as the file counts, which may be below 0; name, cat and site are ids into texts, track into
            threads. Arguments that begin with a row's site are not looked at further if they say nothing else.
        texts: id -> the inside of a JSON string, as it is written; texts[0] == b"".
        threads: id -> pid and tid as they are written.
    """

    columns: Columns
    texts: list[bytes]
    threads: list[tuple[int, int]]
