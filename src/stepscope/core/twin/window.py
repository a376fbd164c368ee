"""Windows: between open_window and seal every thread records; sealing takes what it has, and touches no event."""

import os
import threading
from collections.abc import Callable

from stepscope.core import clock
from stepscope.core.twin.lanes import look_for_asyncio
from stepscope.core.twin.recorder import LOCAL, STATE, Held, Window, prune
from stepscope.core.twin.records import SealedWindow

__all__ = ["CLOCK", "discard", "limit", "now", "open_window", "seal", "thread_id", "tsc_in_use", "use_ticks", "use_tsc"]

# The one of `read_clocks` that ticks count.
CLOCK = "monotonic"


def limit(size_bytes: int, ring: bool) -> None:
    """Allow that many bytes of records and arguments; with `ring`, the oldest give way to new ones."""
    STATE.bytes_allowed = size_bytes
    STATE.recycles = ring


def open_window() -> int:
    """Begin to record.

    Returns:
        The tick at which the window opens.
    """
    look_for_asyncio()
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
    prune()
    held = Held(STATE.sealed, window.allowed_bytes - window.free_bytes)
    return SealedWindow(window.start, stop, threads, held, window.unsure)


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
