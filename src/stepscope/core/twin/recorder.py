"""The ring: what each thread records, and how a window's records change hands.

A thread writes two list items an event, alone and without a lock:

    ticks      span       the span begins
    ~ticks     span       the span ends (~ keeps a tick of 0 apart from its end)
    ticks      Payload    the span begins with arguments, or an instant

The recorder is off, armed (a profile is started: each thread keeps the spans it has open, so that one that
spans a whole window is not lost) or recording. Sealing swaps every thread's list for a new one: O(threads).
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from stepscope.core import clock
from stepscope.core.values import freeze_args

if TYPE_CHECKING:
    from stepscope.core.twin.span import Span

__all__ = ["Payload", "SealedThread", "SealedWindow", "arm", "disarm", "open_window", "seal"]


# The one of `read_clocks` that ticks count.
CLOCK = "monotonic"


class Payload(NamedTuple):
    """A record that carries arguments: a span's begin, or an instant."""

    span: "Span"
    args: dict[str, Any] | None
    instant: bool


class SealedThread(NamedTuple):
    """What one thread recorded in a window.

    Attributes:
        tid, name: native id and Python name.
        records: as drawn at the top; the last one may be half written and is then not counted.
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
    """One thread's records of the open window, and the spans it has open."""

    __slots__ = ("open", "open_at_start", "put", "records", "thread", "tid")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.tid = threading.get_native_id()
        self.open: list[Span] = []
        self.renew()

    def renew(self) -> None:
        self.open_at_start = [(span, span.args and freeze_args(span.args)) for span in self.open]
        self.records: list[Any] = []
        self.put = self.records.append


class _State:
    """The recorder's state; the spans read it on every event."""

    __slots__ = ("armed", "buffers", "local", "recording", "started", "ticks")

    def __init__(self) -> None:
        self.ticks: Callable[[], int] = clock.ticks
        self.reset()

    def reset(self) -> None:
        self.armed = False
        self.recording = False
        self.started = 0
        self.buffers: list[_Buffer] = []
        self.local = threading.local()


STATE = _State()


def adopt_thread() -> _Buffer:
    """Make the calling thread's buffer: its first event since the recorder was armed."""
    buffer = STATE.local.buffer = _Buffer()
    STATE.buffers.append(buffer)
    return buffer


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
    for buffer in STATE.buffers:
        buffer.renew()
    STATE.started = STATE.ticks()
    STATE.recording = True
    return STATE.started


def seal() -> SealedWindow:
    """End the window and take what was recorded in it; no event is touched."""
    STATE.recording = False
    stop = STATE.ticks()
    threads = []
    for buffer in STATE.buffers:
        threads.append(SealedThread(buffer.tid, str(buffer.thread.name), buffer.records, buffer.open_at_start))
        buffer.records = []
        buffer.put = buffer.records.append
        buffer.open_at_start = []
    STATE.buffers = [buffer for buffer in STATE.buffers if buffer.thread.is_alive()]
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
