"""The ring: what each thread records, and how a window's records change hands.

A thread puts two list items an event, in one call, so that neither a signal nor another thread comes between them:

    ticks      span       the span begins
    ~ticks     span       the span ends (~ keeps a tick of 0 apart from its end)
    ticks      Payload    the span begins with arguments, or an instant
    ~ticks     Payload    the span ends, and nobody has its arguments: this thread has not begun it

The recorder is off, armed (a profile is started: each thread keeps the spans it has open, so that one that spans a
whole window is not lost) or recording: there is an open window. A thread joins the window by itself, at its first
event in it, and notes then which spans it has open: nobody else could do that between two of its events. Sealing
takes the window away and touches no event.
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from stepscope.core import clock

if TYPE_CHECKING:
    from stepscope.core.twin.span import Span

__all__ = ["CLOCK", "Payload", "SealedThread", "SealedWindow", "arm", "disarm", "open_window", "seal"]

# The one of `read_clocks` that ticks count.
CLOCK = "monotonic"
# With so many buffers, those of threads that have ended are looked for.
MANY_BUFFERS = 64


class Payload(NamedTuple):
    """A record that carries arguments: a span's begin or end, or an instant."""

    span: "Span"
    args: dict[str, Any] | None
    instant: bool


class SealedThread(NamedTuple):
    """What one thread recorded in a window.

    Attributes:
        tid, name: native id and Python name.
        records: as drawn at the top.
        open_at_start: (span, frozen args), outermost first, of the spans that were open when the window opened.
    """

    tid: int
    name: str
    records: list[Any]
    open_at_start: list[tuple["Span", dict[str, Any] | None]]


class SealedWindow(NamedTuple):
    """All threads' records from one tick to another; nothing writes to it any more."""

    start: int
    stop: int
    threads: list[SealedThread]


class _Buffer:
    """One thread's spans that are open, and its records of the window that it has joined."""

    __slots__ = ("open", "open_at_start", "put", "records", "thread", "tid", "window")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.tid = threading.get_native_id()
        self.open: list[Span] = []
        self.window: object = None
        self.records: list[Any] = []
        self.put = self.records.extend
        self.open_at_start: list[tuple[Span, dict[str, Any] | None]] = []

    def join(self, window: object) -> None:
        """Begin to record in a window."""
        self.open_at_start = [(span, span.frozen_args()) for span in tuple(self.open)]
        self.records = []
        self.put = self.records.extend
        self.window = window

    def sealed(self, window: object) -> SealedThread:
        """What the window has of this thread; if the thread never joined it, what it has had open all the time."""
        if self.window is not window:
            self.join(window)
        return SealedThread(self.tid, _name_of(self.thread), self.records, self.open_at_start)


class _State:
    """The recorder's state; the spans read it on every event. `window` is None while nothing is recorded."""

    __slots__ = ("armed", "buffers", "local", "started", "ticks", "window")

    def __init__(self) -> None:
        self.ticks: Callable[[], int] = clock.ticks
        self.reset()

    def reset(self) -> None:
        self.armed = False
        self.window: object = None
        self.started = 0
        self.buffers: list[_Buffer] = []
        self.local = threading.local()


STATE = _State()


def _name_of(thread: threading.Thread) -> str:
    try:
        return str(thread.name)
    except Exception:  # noqa: BLE001 - the user's name may be anything
        return ""


def adopt_thread() -> _Buffer:
    """Make the calling thread's buffer: its first event since the recorder was armed."""
    if len(STATE.buffers) >= MANY_BUFFERS and STATE.window is None:
        _prune()
    buffer = STATE.local.buffer = _Buffer()
    STATE.buffers.append(buffer)
    return buffer


def _prune() -> None:
    """Drop the buffers of threads that have ended."""
    STATE.buffers = [buffer for buffer in STATE.buffers if buffer.thread.is_alive()]


def arm() -> None:
    """A profile starts: threads begin to keep the spans they have open."""
    STATE.reset()
    STATE.armed = True


def disarm() -> None:
    """The profile has stopped: spans cost next to nothing again."""
    STATE.reset()


def open_window() -> int:
    """Begin to record.

    Returns:
        The tick at which the window opens.
    """
    STATE.started = STATE.ticks()
    STATE.window = object()
    return STATE.started


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
    return SealedWindow(STATE.started, stop, threads)


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


if hasattr(os, "register_at_fork"):
    # The child starts clean: the parent's records are the parent's.
    os.register_at_fork(after_in_child=STATE.reset)
