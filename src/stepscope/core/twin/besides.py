"""What events say besides their time: what their thread has computed, and the calls around them.

A window that was asked for it has a clock whose ticks say it, so that nothing is paid where nobody asks.
"""

import sys
import threading
import time
from itertools import starmap
from types import CodeType, FrameType

from stepscope.core import clock
from stepscope.core.stacks import MAX_FRAMES, stack_text
from stepscope.core.twin.recorder import STATE, Window
from stepscope.core.twin.records import FullTick, full_tick
from stepscope.core.values import weight

__all__ = ["measure_cpu", "note_stacks"]

# The functions that take the tick of an end, what is around it is known from its begin, or of no event.
ENDS = frozenset({"__exit__", "leave", "_leave", "finish", "end_elsewhere", "_put_turn"})
MAX_CACHED = 4096
HAS_QUALNAME = sys.version_info >= (3, 11)


class _Clock:
    """The clock of one window."""

    def __init__(self, window: Window) -> None:
        self.cpu = self.stacks = False
        self._window = window
        self._texts: dict[tuple[int, ...], tuple[str, list[CodeType]]] = {}
        self._paid: set[str] = set()

    def __call__(self) -> FullTick:
        stack = self._stack(sys._getframe(1)) if self.stacks else ""  # noqa: SLF001
        thread_ns = -1
        if self.cpu:
            # Where another clock stands in for the real one, in tests, it also stands in for the thread's.
            thread_ns = time.thread_time_ns() if STATE.ticks is clock.ticks else STATE.ticks()
        return full_tick(STATE.ticks(), thread_ns, threading.get_ident(), stack)

    def _stack(self, frame: FrameType | None) -> str:
        """The calls around an event; "" at an end, or if there is no room for the text."""
        while frame is not None and frame.f_globals.get("__name__", "").startswith("stepscope.core.twin."):
            if frame.f_code.co_name in ENDS:
                return ""
            frame = frame.f_back
        frames: list[FrameType] = []
        while frame is not None and len(frames) < MAX_FRAMES:
            frames.append(frame)
            frame = frame.f_back
        key = tuple(number for frame in frames for number in (id(frame.f_code), frame.f_lasti))
        if key not in self._texts:
            if len(self._texts) >= MAX_CACHED:
                self._texts.clear()
            codes = [frame.f_code for frame in frames]  # kept, so that no other code gets the id of one
            text = stack_text((frame.f_code.co_filename, frame.f_lineno, _name(frame.f_code)) for frame in frames)
            self._texts[key] = self._with_room(text), codes
        return self._texts[key][0]

    def _with_room(self, text: str) -> str:
        if text not in self._paid and not self._window.take(weight(text)):
            return ""
        self._paid.add(text)
        return text


def _name(code: CodeType) -> str:
    name: str = code.co_qualname if HAS_QUALNAME else code.co_name  # type: ignore[attr-defined,unused-ignore]
    return name


def _clock_of_the_window() -> _Clock | None:
    window = STATE.window
    if window is None:
        return None
    ticks = window.ticks
    if not isinstance(ticks, _Clock):
        ticks = window.ticks = _Clock(window)
        window.granted = starmap(ticks, ())
    return ticks


def measure_cpu() -> None:
    """Measure for every span, until the window is sealed, what its thread computed meanwhile."""
    ticks = _clock_of_the_window()
    if ticks is not None:
        ticks.cpu = True


def note_stacks() -> None:
    """Note for every span and instant, until the window is sealed, the calls around it."""
    ticks = _clock_of_the_window()
    if ticks is not None:
        ticks.stacks = True
