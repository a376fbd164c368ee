"""The ring: what each thread records, and how a window's records change hands.

A thread puts two list items an event, in one call, so that neither a signal nor another thread comes between them:

    tick       span       the span begins
    ~tick      span       the span ends (~ keeps a tick of 0 apart from its end)
    tick       Payload    the span begins with arguments, or an instant
    tick       Count      a counter's value
    tick       FlowPoint  a flow goes through this point

Each thread's open spans are followed all the time: what is open when a window opens would be missing from it otherwise.
A thread joins the window at its first event in it and notes then which spans it has open. Sealing takes the window away
and touches no event.

Where it says "nothing is called", no other thread comes between and no signal: CPython looks for them after calls and
at the ends of loops.
"""

import os
import threading
from collections.abc import Callable
from itertools import repeat, starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from stepscope.core import clock

if TYPE_CHECKING:
    from stepscope.core.twin.span import Span

__all__ = ["CLOCK", "Begun", "Count", "FlowPoint", "Payload", "SealedThread", "SealedWindow", "open_window", "seal"]

# The one of `read_clocks` that ticks count.
CLOCK = "monotonic"
# With so many buffers more than after the last time, those of threads that have ended are looked for.
MANY_BUFFERS = 64
# About what a record takes: two places in a list and an int.
RECORD_BYTES = 64


class Payload(NamedTuple):
    """A record that carries arguments: a span's begin, or an instant."""

    span: "Span"
    args: dict[str, Any] | None
    instant: bool


class Count(NamedTuple):
    """A counter's value; a series is its name and unit."""

    series: tuple[str, str]
    value: float


class FlowPoint(NamedTuple):
    """A point of a flow; the first one has the flow's name."""

    flow: int
    name: str | None


class Begun(NamedTuple):
    """A span that began before the first record there is; `cut` if that was before the window."""

    tick: int
    span: "Span"
    args: dict[str, Any] | None
    cut: bool


class SealedThread(NamedTuple):
    """What one thread recorded in a window.

    Attributes:
        tid, name: native id and Python name.
        records: as drawn at the top.
        begun: what began before them, outermost first.
        dropped: how many records there was no room for.
    """

    tid: int
    name: str
    records: list[Any]
    begun: list[Begun]
    dropped: int


class SealedWindow(NamedTuple):
    """All threads' records from one tick to another; nothing writes to it any more."""

    start: int
    stop: int
    threads: list[SealedThread]


class Window:
    """A window that is open.

    Attributes:
        start: the tick at which it opened.
        tick: the clock, for as many calls as the budget has records; StopIteration then.
    """

    __slots__ = ("start", "tick")

    def __init__(self) -> None:
        self.start = STATE.ticks()
        self.allow(STATE.bytes_allowed // RECORD_BYTES)

    def allow(self, records: int) -> None:
        """Hand out that many ticks from now on."""
        self.tick: Callable[[], int] = starmap(STATE.ticks, repeat((), records)).__next__

    def spend(self, size_bytes: int) -> None:
        """Take what arguments need off the budget.

        Raises:
            StopIteration: it is spent.
        """
        for _ in range(size_bytes // RECORD_BYTES):
            self.tick()


class Buffer:
    """One thread's spans that are open, and its records of the window that it has joined."""

    __slots__ = ("begun", "dropped", "frozen", "open", "put", "records", "thread", "tid", "window")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.tid = threading.get_native_id()
        self.open: list[Span] = []
        self.window: Window | None = None
        self.records: list[Any] = []
        self.put = self.records.extend
        self.begun: list[Span | Begun] = []
        self.frozen: dict[int, dict[str, Any] | None] = {}
        self.dropped = 0

    def join(self, window: Window) -> None:
        """Begin to record in a window; called by the thread itself, or by another that needs it done."""
        frozen = {id(span): span.frozen_args() for span in tuple(self.open) if span.kwargs is not None}
        records: list[Any] = []
        put = records.extend
        old = self.records, self.begun, self.frozen  # kept until the end: their going may run code
        if self.window is not window:  # from here on nothing is called
            self.begun = [*self.open]
            self.frozen = frozen
            self.records = records
            self.put = put
            self.dropped = 0
            self.window = window
        del old

    def sealed(self, window: Window) -> SealedThread:
        """What the window has of this thread; if the thread never joined it, what it has had open all the time."""
        if self.window is not window:
            self.join(window)
        thread = SealedThread(self.tid, _name_of(self.thread), self.records, self.all_begun(window), self.dropped)
        self.leave()
        return thread

    def leave(self) -> None:
        """Hold nothing of a window any more; what the thread is about to put is lost with the list it goes to."""
        self.records = []
        self.put = self.records.extend
        self.begun, self.frozen, self.window = [], {}, None

    def all_begun(self, window: Window) -> list[Begun]:
        """What began before the records, outermost first."""
        return [item if isinstance(item, Begun) else self._begun(window, item) for item in self.begun]

    def _begun(self, window: Window, span: "Span") -> Begun:
        args = self.frozen[id(span)] if id(span) in self.frozen else span.frozen_args()
        return Begun(window.start, span, args, cut=True)


class _State:
    """The recorder's state; the spans read it on every event. `window` is None while nothing is recorded."""

    __slots__ = ("buffers", "bytes_allowed", "many_buffers", "recycles", "ticks", "window")

    def __init__(self) -> None:
        self.ticks: Callable[[], int] = clock.ticks
        self.bytes_allowed = 1 << 30
        self.recycles = False
        self.reset()

    def reset(self) -> None:
        """Forget every thread."""
        self.window: Window | None = None
        self.buffers: list[Buffer] = []
        self.many_buffers = MANY_BUFFERS


STATE = _State()
# Each thread's own `buffer`, from its first event on.
LOCAL = threading.local()


def _name_of(thread: threading.Thread) -> str:
    try:
        return str(thread.name)
    except Exception:  # noqa: BLE001 - the user's name may be anything
        return ""


def adopt_thread() -> Buffer:
    """Make the calling thread's buffer: its first event."""
    if len(STATE.buffers) >= STATE.many_buffers and STATE.window is None:
        _prune()
        STATE.many_buffers = 2 * len(STATE.buffers) + MANY_BUFFERS
    made = Buffer()
    buffer: Buffer = LOCAL.__dict__.setdefault("buffer", made)  # a signal may have made one meanwhile
    if buffer is made:
        STATE.buffers.append(buffer)
    return buffer


def _prune() -> None:
    """Drop the buffers of threads that have ended."""
    for buffer in [buffer for buffer in STATE.buffers if not buffer.thread.is_alive()]:
        STATE.buffers.remove(buffer)


def take_open(span: "Span", mine: Buffer) -> Buffer | None:
    """Forget a span that is not the thread's innermost one; the buffer of the thread that had it open.

    It ends before one it contains, as tasks that take turns on a thread do, or on another thread than it began on.
    None: it began before a fork.
    """
    window = STATE.window
    for buffer in (mine, *STATE.buffers):
        if window is not None and buffer.window is not window and span in buffer.open:
            buffer.join(window)
        spans = buffer.open
        for index in range(len(spans) - 1, -1, -1):
            # The thread may end spans meanwhile, but nothing is called from the look at the span to its going.
            if index < len(spans) and spans[index] is span:
                del spans[index]
                return buffer
    return None


def limit(size_bytes: int, ring: bool) -> None:
    """Allow that many bytes of records and arguments; with `ring`, the oldest give way to new ones."""
    STATE.bytes_allowed = size_bytes
    STATE.recycles = ring


def open_window() -> int:
    """Begin to record.

    Returns:
        The tick at which the window opens.
    """
    window = STATE.window = Window()
    return window.start


def seal() -> SealedWindow:
    """End the window and take what was recorded in it; no event is touched.

    Raises:
        RuntimeError: no window is open.
    """
    window, STATE.window = STATE.window, None
    if window is None:
        message = "seal() without open_window()"
        raise RuntimeError(message)
    stop = STATE.ticks()
    threads = [buffer.sealed(window) for buffer in tuple(STATE.buffers)]
    _prune()
    return SealedWindow(window.start, stop, threads)


def discard() -> None:
    """End the window, if there is one, and forget what was recorded."""
    STATE.window = None
    for buffer in tuple(STATE.buffers):
        buffer.leave()


def now() -> int:
    """The clock that spans are timed with, in ns."""
    return STATE.ticks()


def thread_id() -> int:
    """The calling thread's native id, as its records carry it."""
    return threading.get_native_id()


def use_ticks(ticks: Callable[[], int] | None) -> None:
    """Time spans with another clock, for tests; None goes back to the real one."""
    STATE.ticks = clock.ticks if ticks is None else ticks


def use_tsc(wanted: bool) -> bool:
    """Whether the time-stamp counter is used now: Python cannot read it."""
    del wanted
    return False


def tsc_in_use() -> bool:
    """Whether the time-stamp counter is used."""
    return False


def _after_fork() -> None:
    """The child starts clean: the parent's records are the parent's, and its other threads are not here."""
    STATE.reset()
    LOCAL.__dict__.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
