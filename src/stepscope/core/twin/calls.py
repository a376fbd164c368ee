"""Function tracing: a call is a begin and an end on its thread, as a span is.

A thread joins the window at its first call or return in it: whatever is on its stack then, besides a call that is just
beginning, has been open since the window's start, and is noted as begun there. The stacks of threads without any event
are read when tracing stops.

Events come from sys.monitoring, or before Python 3.12 from the profile function of each thread; while one is handled
no other comes on its thread.
"""

import sys
import threading
from collections.abc import Callable
from types import BuiltinMethodType, CodeType, FrameType, MethodDescriptorType
from typing import Any

from stepscope.core.rows import Label
from stepscope.core.twin.recorder import LOCAL, STATE, Buffer, Window, adopt_thread, buffer_for_other, thread_of
from stepscope.core.twin.records import RECORD_BYTES, Begun
from stepscope.core.twin.recycle import put_late
from stepscope.core.twin.span import Span

__all__ = ["call_hooks", "call_profiler", "mute_thread", "profile_threads", "start_calls", "stop_calls"]
__all__ += ["unprofile_threads"]

Describe = Callable[[Any], "Label | None"]

# Code that is made at run time must not fill memory: with so many the table starts over, which costs time only.
MAX_CALLS = 1 << 16


class _Calls:
    """What is traced; `window` is None while nothing is."""

    __slots__ = ("describe", "describe_c", "max_depth", "min_ns", "profiled", "table", "window")

    def __init__(self) -> None:
        self.window: Window | None = None
        self.describe: Describe = lambda _: None
        self.describe_c: Describe | None = None
        self.max_depth = self.min_ns = 0
        self.table: dict[Any, Span | None] = {}
        self.profiled: set[int] = set()

    def span(self, key: Any, described: Any, describe: Describe) -> Span | None:
        """The span of a code object or a C function; None: it is not traced."""
        try:
            return self.table[key]
        except KeyError:
            label = describe(described)
        if len(self.table) >= MAX_CALLS:
            self.table = {}
        return self.table.setdefault(key, None if label is None else Span(label))


CALLS = _Calls()


def start_calls(describe: Describe, describe_c: Describe | None, max_depth: int, min_ns: int) -> None:
    """Trace calls from now on, in the open window.

    Args:
        describe: code object -> what its calls are called; None: they are not traced.
        describe_c: the same for a C function; without it none is traced.
        max_depth: calls inside so many others are not traced; 0: all are.
        min_ns: calls that are shorter, and hold nothing that was recorded, are forgotten.
    """
    CALLS.table = {}
    CALLS.describe, CALLS.describe_c = describe, describe_c
    CALLS.max_depth, CALLS.min_ns = max_depth, min_ns
    CALLS.window = STATE.window


def stop_calls() -> None:
    """Trace no more calls; the window is still open."""
    window = CALLS.window
    if window is not None and window is STATE.window:
        _note_idle(window)
    CALLS.window = None
    CALLS.table = {}


def mute_thread() -> None:
    """Trace no calls of the calling thread, ever; what it has recorded so far is forgotten."""
    buffer: Buffer = getattr(LOCAL, "buffer", None) or adopt_thread()
    buffer.muted = True
    buffer.leave()  # with the calls that led here


# -- begins and ends -----------------------------------------------------------------------------------------------


def _begin(span: Span, frame: FrameType | None) -> None:
    """Record the begin of a call from a frame, which has been open all the time if this is the thread's first event."""
    window = CALLS.window
    if window is None or window is not STATE.window:
        return
    try:
        buffer = LOCAL.buffer
    except AttributeError:
        buffer = adopt_thread()
    if buffer.calls is not window and not _join(buffer, window, frame):
        return
    if CALLS.max_depth:
        buffer.depth += 1
        if buffer.depth > CALLS.max_depth:
            return
    try:
        buffer.put((window.tick(), span))
    except StopIteration:
        put_late(buffer, window, span)


def _end(span: Span, frame: FrameType | None) -> None:
    """Record the end of a call; of a thread's first event the frame has been open all the time."""
    window = CALLS.window
    if window is None or window is not STATE.window:
        return
    try:
        buffer = LOCAL.buffer
    except AttributeError:
        buffer = adopt_thread()
    if buffer.calls is not window and not _join(buffer, window, frame):
        return
    if CALLS.max_depth:
        buffer.depth -= 1
        if buffer.depth >= CALLS.max_depth:
            return
    try:
        tick = window.tick()
    except StopIteration:
        put_late(buffer, window, span, ends=True)
        return
    records = buffer.records
    if CALLS.min_ns and records and records[-1] is span and 0 <= records[-2] and tick - records[-2] < CALLS.min_ns:
        del records[-2:]
        window.free_bytes += 2 * RECORD_BYTES
    else:
        buffer.put((~tick, span))


def _join(buffer: Buffer, window: Window, frame: FrameType | None) -> bool:
    """Note what the thread has had open since the window's start; False: it is not to be traced."""
    if buffer.muted:
        return False
    if buffer.window is not window:
        buffer.join(window)
    buffer.calls = window
    _note(buffer, window, frame)
    return CALLS.window is window


def _note(buffer: Buffer, window: Window, frame: FrameType | None) -> None:
    """Note a frame and those that wait for it as begun before the window."""
    buffer.depth = 0
    spans: list[Span] = []
    while frame is not None:
        span = CALLS.span(frame.f_code, frame.f_code, CALLS.describe)
        if span is not None:
            spans.append(span)
        frame = frame.f_back
    spans.reverse()
    if CALLS.max_depth:
        buffer.depth = len(spans)
        del spans[CALLS.max_depth :]
    buffer.begun = [*buffer.begun, *(Begun(window.start, span, span.label, None, 0, cut=True) for span in spans)]


def _note_idle(window: Window) -> None:
    """Note what the threads have open that have had no event."""
    buffers = {buffer.ident: buffer for buffer in tuple(STATE.buffers)}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - documented, for this
        if sys.version_info < (3, 12) and ident not in CALLS.profiled:
            continue
        thread, buffer = thread_of(ident), buffers.get(ident)
        tid = threading.get_native_id() if ident == threading.get_ident() else getattr(thread, "native_id", None)
        if buffer is None and tid is not None:
            buffer = buffer_for_other(ident, tid)
        if buffer is not None and buffer.calls is not window:
            _join(buffer, window, frame)


# -- sys.monitoring ------------------------------------------------------------------------------------------------


def call_hooks() -> dict[str, Callable[..., Any]]:
    """What sys.monitoring is to call, by the name of the event; nothing before Python 3.12."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        return {}
    disable = monitoring.DISABLE

    def on_start(code: CodeType, _: int) -> Any:
        span = CALLS.span(code, code, CALLS.describe)
        if span is None:
            return disable
        return _begin(span, sys._getframe(1).f_back)  # noqa: SLF001 - the frame that is monitored

    def on_throw(code: CodeType, _: int, __: object) -> None:
        span = CALLS.span(code, code, CALLS.describe)
        if span is not None:
            _begin(span, sys._getframe(1).f_back)  # noqa: SLF001 - as above

    def on_return(code: CodeType, _: int, __: object) -> Any:
        span = CALLS.span(code, code, CALLS.describe)
        if span is None:
            return disable
        return _end(span, sys._getframe(1))  # noqa: SLF001 - as above

    def on_unwind(code: CodeType, _: int, __: object) -> None:
        span = CALLS.span(code, code, CALLS.describe)
        if span is not None:
            _end(span, sys._getframe(1))  # noqa: SLF001 - as above

    def on_call(code: CodeType, _: int, function: object, __: object) -> Any:
        if CALLS.span(code, code, CALLS.describe) is None:
            return disable
        span = _c_span(function)
        return None if span is None else _begin(span, sys._getframe(1))  # noqa: SLF001 - as above

    def on_c_return(code: CodeType, _: int, function: object, __: object) -> None:
        span = _c_span(function) if CALLS.span(code, code, CALLS.describe) is not None else None
        if span is not None:
            _end(span, sys._getframe(1))  # noqa: SLF001 - as above

    hooks = {"PY_START": on_start, "PY_RESUME": on_start, "PY_THROW": on_throw, "PY_RETURN": on_return}
    hooks |= {"PY_YIELD": on_return, "PY_UNWIND": on_unwind, "CALL": on_call}
    return {**hooks, "C_RETURN": on_c_return, "C_RAISE": on_c_return}


def _c_span(function: object) -> Span | None:
    """The span of a C function; None: it is not traced, or none whose return is seen as well."""
    if CALLS.describe_c is None or type(function) not in (BuiltinMethodType, MethodDescriptorType):
        return None
    return CALLS.span((function.__qualname__, _module(function)), function, CALLS.describe_c)  # type: ignore[attr-defined]


def _module(function: object) -> object:
    """What tells functions of one name apart."""
    return getattr(function, "__module__", None) or type(getattr(function, "__self__", None))


# -- profile functions, before Python 3.12 ---------------------------------------------------------------------------


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
    span = CALLS.span(frame.f_code, frame.f_code, CALLS.describe)
    if span is None:
        return
    if event == "call":
        _begin(span, frame.f_back)
    elif event == "return":
        _end(span, frame)
    elif (c_span := _c_span(function)) is not None:
        if event == "c_call":
            _begin(c_span, frame)
        else:
            _end(c_span, frame)
