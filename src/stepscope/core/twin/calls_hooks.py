"""Where the events of function tracing come from: sys.monitoring, or before Python 3.12 each thread's profile function.

The profile function of another thread cannot be set from Python. So the threads there are, besides the one that begins
to trace, are not seen then.
"""

import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from stepscope.core.twin.calls import CALLS, begin_call, c_function, end_call, function_of
from stepscope.core.twin.recorder import STATE

__all__ = ["call_hooks", "call_profiler", "profile_threads", "unprofile_threads"]

# -- sys.monitoring ------------------------------------------------------------------------------------------------

DISABLE: Any = getattr(getattr(sys, "monitoring", None), "DISABLE", None)


def _on_start(code: CodeType, _: int) -> Any:
    span = function_of(code)
    return DISABLE if span is None else begin_call(span, sys._getframe(1).f_back)  # noqa: SLF001 - the frame that runs


def _on_throw(code: CodeType, _: int, __: object) -> None:
    span = function_of(code)
    if span is not None:
        begin_call(span, sys._getframe(1).f_back)  # noqa: SLF001 - as above


def _on_return(code: CodeType, _: int, __: object) -> Any:
    span = function_of(code)
    return DISABLE if span is None else end_call(span, sys._getframe(1))  # noqa: SLF001 - as above


def _on_unwind(code: CodeType, _: int, __: object) -> None:
    span = function_of(code)
    if span is not None:
        end_call(span, sys._getframe(1))  # noqa: SLF001 - as above


def _on_call(code: CodeType, _: int, function: object, __: object) -> Any:
    if function_of(code) is None:
        return DISABLE
    span = c_function(function)
    return None if span is None else begin_call(span, sys._getframe(1))  # noqa: SLF001 - as above


def _on_c_return(code: CodeType, _: int, function: object, __: object) -> None:
    span = None if function_of(code) is None else c_function(function)
    if span is not None:
        end_call(span, sys._getframe(1))  # noqa: SLF001 - as above


HOOKS: dict[str, Callable[..., Any]] = {
    "PY_START": _on_start,
    "PY_RESUME": _on_start,
    "PY_THROW": _on_throw,
    "PY_RETURN": _on_return,
    "PY_YIELD": _on_return,
    "PY_UNWIND": _on_unwind,
    "CALL": _on_call,
    "C_RETURN": _on_c_return,
    "C_RAISE": _on_c_return,
}


def call_hooks() -> dict[str, Callable[..., Any]]:
    """What sys.monitoring is to call, by the name of the event."""
    return HOOKS


# -- profile functions ---------------------------------------------------------------------------------------------


def profile_threads() -> Any:
    """Trace the calls of the threads there are, which here is the calling one alone.

    Returns:
        What profiles it already, and is in the way; None: nothing does.
    """
    found = sys.getprofile()
    if found is None:
        CALLS.profiled = {threading.get_ident()}
        sys.setprofile(_profile)
    return found


def unprofile_threads() -> tuple[int, int]:
    """Trace no thread's calls any more.

    Returns:
        How many threads have replaced their profile function, as far as can be told, and how many were not seen.
    """
    mine, frames = threading.get_ident(), sys._current_frames()  # noqa: SLF001 - documented
    muted = {buffer.ident for buffer in tuple(STATE.buffers) if buffer.muted}
    replaced = int(mine in CALLS.profiled and sys.getprofile() is not _profile)
    if sys.getprofile() is _profile:
        sys.setprofile(None)
    unseen = len(frames.keys() - CALLS.profiled - muted)
    CALLS.profiled = set()
    return replaced, unseen


def call_profiler() -> Callable[..., Any]:
    """A profile function for threads to come."""
    return _profile


def _profile(frame: FrameType, event: str, function: object) -> None:
    """Record an event; once nothing is traced any more, the thread's next one ends it."""
    if CALLS.window is None or CALLS.window is not STATE.window:
        if threading.get_ident() not in CALLS.profiled:
            sys.setprofile(None)
        return
    CALLS.profiled.add(threading.get_ident())
    span = function_of(frame.f_code)
    if span is None:
        return
    if event == "call":
        begin_call(span, frame.f_back)
    elif event == "return":
        end_call(span, frame)
    elif (c_span := c_function(function)) is not None:
        if event == "c_call":
            begin_call(c_span, frame)
        else:
            end_call(c_span, frame)
