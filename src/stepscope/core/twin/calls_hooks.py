"""Where the events of function tracing come from: sys.monitoring, or before Python 3.12 each thread's profile function.

The profile function of another thread cannot be set from Python. So the threads there are, besides the one that begins
to trace, are not seen then. Nor are those that module threading does not begin: thread states are numbered as they are
made, and of those made since tracing began, as many were missed as did not come by threading. Without ctypes only those
that are still there can be counted.
"""

import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from stepscope.core.twin.calls import CALLS, begin_call, c_function, end_call, function_of
from stepscope.core.twin.recorder import LOCAL, STATE, thread_of

if TYPE_CHECKING:
    from stepscope.core.twin.recorder import Window

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


class _Threads:
    """The threads there were when tracing began, and what has been seen since.

    Attributes:
        before: those that have not been seen, by ident.
        last: the number of the last thread state that was made before.
        new: how many have begun since, and have been seen.
    """

    before: ClassVar[dict[int, threading.Thread | None]] = {}
    last = new = 0


def profile_threads() -> Any:
    """Trace the calls of the threads there are, which here is the calling one alone.

    Returns:
        What profiles it already, and is in the way; None: nothing does.
    """
    found = sys.getprofile()
    if found is None:
        mine = threading.get_ident()
        _Threads.before = {ident: thread_of(ident) for ident in sys._current_frames() if ident != mine}  # noqa: SLF001 - documented
        _Threads.last, _Threads.new = _next_number(), 0
        CALLS.profiled, CALLS.new = {mine}, set()
        LOCAL.profiled = CALLS.window
        sys.setprofile(_profile)
    return found


def unprofile_threads() -> tuple[int, int]:
    """Trace no thread's calls any more.

    Returns:
        How many threads have replaced their profile function, as far as can be told, and how many were not seen.
    """
    mine = threading.get_ident()
    replaced = int(mine in CALLS.profiled and sys.getprofile() is not _profile)
    if sys.getprofile() is _profile:
        sys.setprofile(None)
    muted = {buffer.ident for buffer in tuple(STATE.buffers) if buffer.muted}
    number = _next_number()
    if number:
        unseen = number - _Threads.last - 1 - _Threads.new
    else:
        frames = sys._current_frames()  # noqa: SLF001 - documented
        unseen = len(frames.keys() - CALLS.profiled - _Threads.before.keys() - muted)
    unseen += len(_Threads.before.keys() - muted)
    CALLS.profiled, CALLS.new = set(), set()
    return replaced, unseen


def _next_number() -> int:
    """The number of a thread state made now; 0 where that cannot be done."""
    try:
        from ctypes import PYFUNCTYPE, c_uint64, c_void_p, pythonapi
    except ImportError:
        return 0
    # Prototypes of our own: those of pythonapi are everybody's.
    here = PYFUNCTYPE(c_void_p)(("PyInterpreterState_Get", pythonapi))
    new = PYFUNCTYPE(c_void_p, c_void_p)(("PyThreadState_New", pythonapi))
    number_of = PYFUNCTYPE(c_uint64, c_void_p)(("PyThreadState_GetID", pythonapi))
    made = new(here())
    number: int = number_of(made)
    for end in ("PyThreadState_Clear", "PyThreadState_Delete"):
        PYFUNCTYPE(None, c_void_p)((end, pythonapi))(made)
    return number


def _come(window: "Window") -> None:
    """The calling thread comes by threading's profile function."""
    ident = threading.get_ident()
    LOCAL.profiled = window
    CALLS.profiled.add(ident)
    if ident in _Threads.before and _Threads.before[ident] is thread_of(ident):
        del _Threads.before[ident]
    else:  # perhaps of the ident of one that has ended
        _Threads.new += 1
        CALLS.new.add(ident)


def call_profiler() -> Callable[..., Any]:
    """A profile function for threads to come."""
    return _profile


def _profile(frame: FrameType, event: str, function: object) -> None:
    """Record an event; once nothing is traced any more, the thread's next one ends it."""
    if CALLS.window is None or CALLS.window is not STATE.window:
        if threading.get_ident() not in CALLS.profiled:
            sys.setprofile(None)
        return
    if getattr(LOCAL, "profiled", None) is not CALLS.window:
        _come(CALLS.window)
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
