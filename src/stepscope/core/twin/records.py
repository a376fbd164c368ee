"""The records: what stands for each event of a thread.

A thread puts two list items an event, in one call, so that neither a signal nor another thread comes between them.
With the tick behind it, it is an end:

    tick       span       the span begins
    span       tick       the span ends
    tick       Payload    a span with arguments begins, or an instant
    key        tick       a span with arguments ends
    Finish     tick       the same, and brings more of them
    tick       Count      a counter's value
    tick       FlowPoint  a flow goes through this point
    tick       Turn       what follows is of another task, or of none

A tick is a FullTick where CPU time is measured or stacks are noted.

A span without arguments stands for itself. One with arguments stands there by its key, a weak reference: neither a
window nor a span that is never ended keeps the program's objects alive.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, Union

if TYPE_CHECKING:
    from weakref import ref

    from stepscope.core.rows import Label
    from stepscope.core.twin.lanes import TaskLane
    from stepscope.core.twin.span import Span, SpanWithArgs

__all__ = [
    "BOTTOM",
    "RECORD_BYTES",
    "Begun",
    "Count",
    "Finish",
    "FlowPoint",
    "FullTick",
    "Key",
    "Payload",
    "SealedThread",
    "SealedWindow",
    "Turn",
    "full_tick",
    "read_record",
    "size_of",
]

# What tells a span from others: itself, or with arguments the weak reference to it.
Key = Union["Span", "ref[SpanWithArgs]"]

# About what a record takes: two places in a list and an int.
RECORD_BYTES = 64


class _Bottom:
    """Lies under the open spans of a thread, whose list is never empty so.

    A list that is emptied and filled by turns has its memory fetched anew: a twelfth of a span that is not recorded.
    """

    __slots__ = ()


BOTTOM: Any = _Bottom()


class FullTick(int):
    """A tick that says more than the time; twin/besides.py makes them.

    Attributes:
        thread_ns: CPU time of the thread that took it; -1: not measured.
        ident: which thread that is.
        stack: the calls around the event; "" where that is not known.
    """

    thread_ns: int
    ident: int
    stack: str


def full_tick(tick: int, thread_ns: int, ident: int, stack: str) -> FullTick:
    """A tick that says all of that."""
    made = FullTick(tick)
    made.thread_ns = thread_ns
    made.ident = ident
    made.stack = stack
    return made


class Payload(NamedTuple):
    """A record that carries arguments: a span's begin, or an instant; size_bytes is what it takes besides a record."""

    key: Key
    label: "str | Label"
    args: dict[str, Any] | None
    size_bytes: int
    instant: bool


class Finish(NamedTuple):
    """The end of a span with arguments that brings more of them."""

    key: Key
    args: dict[str, Any]
    size_bytes: int


class Count(NamedTuple):
    """A counter's value; a series is its name and unit."""

    series: tuple[str, str]
    value: float
    size_bytes: int


class FlowPoint(NamedTuple):
    """A point of a flow; the first one has the flow's name."""

    flow: int
    name: str | None
    size_bytes: int


class Turn(NamedTuple):
    """Whose the records that follow are, until the next such record: a task's lane; None: no task's."""

    lane: "TaskLane | None"


class Begun(NamedTuple):
    """A span that began before the first record there is, on a lane or not; `cut` if that was before the window."""

    tick: int
    key: Key
    label: "str | Label"
    args: dict[str, Any] | None
    size_bytes: int
    cut: bool
    lane: "TaskLane | None" = None


class SealedThread(NamedTuple):
    """What one thread recorded in a window.

    Attributes:
        tid, name: native id and Python name.
        records: as drawn at the top.
        begun: what began before them, outermost first.
        dropped: how many records there was no room for.
        lane: whose the first of the records are.
    """

    tid: int
    name: str
    records: list[Any]
    begun: list[Begun]
    dropped: int
    lane: "TaskLane | None" = None


class SealedWindow(NamedTuple):
    """All threads' records from one tick to another; nothing writes to it any more.

    Attributes:
        start, stop: ticks.
        threads: those that recorded, and those with spans open.
        held: gives back what the window takes of the budget, when it goes.
        unsure: how many ends may have been of the same span on another thread.
    """

    start: int
    stop: int
    threads: list[SealedThread]
    held: object
    unsure: int


def read_record(first: Any, second: Any) -> tuple[int, Any, bool]:
    """A record's tick, what it is about, and whether that ends."""
    if isinstance(first, int):
        return first, second, False
    return second, first, True


def size_of(what: Any) -> int:
    """What an item of a record takes besides its place among the records."""
    return what.size_bytes if isinstance(what, (Payload, Finish, Count, FlowPoint)) else 0
