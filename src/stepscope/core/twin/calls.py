"""Function tracing: a call is a begin and an end on its thread, as a span is.

A thread joins the window at its first call or return in it: whatever is on its stack then, besides a call that is just
beginning, has been open since the window's start, and is noted as begun there; of a thread that has begun since, as
begun when it joins. The stacks of threads without any event are read when tracing stops.

Events come from calls_hooks.py; while one is handled no other comes on its thread.
"""

import sys
import threading
from collections.abc import Callable
from types import BuiltinMethodType, FrameType, MethodDescriptorType
from typing import TYPE_CHECKING, Any

from stepscope.core.twin.recorder import LOCAL, STATE, Buffer, Life, Window, adopt_thread, thread_of
from stepscope.core.twin.records import RECORD_BYTES, Begun
from stepscope.core.twin.recycle import put_late
from stepscope.core.twin.span import Span

if TYPE_CHECKING:
    from types import CodeType

    from stepscope.core.rows import Label

__all__ = ["CALLS", "begin_call", "c_function", "end_call", "function_of", "mute_thread", "start_calls", "stop_calls"]

Describe = Callable[[Any], "Label | None"]

# Code that is made at run time must not fill memory: with so many the table starts over, which costs time only.
MAX_CALLS = 1 << 16


class _Calls:
    """What is traced; `window` is None while nothing is.

    Attributes:
        profiled: idents of the threads that have a profile function.
        new: of those among them that have begun since calls are traced, and whose first calls were not seen.
    """

    __slots__ = ("describe", "describe_c", "max_depth", "min_ns", "new", "profiled", "table", "window")

    def __init__(self) -> None:
        self.window: Window | None = None
        self.describe: Describe = lambda _: None
        self.describe_c: Describe | None = None
        self.max_depth = self.min_ns = 0
        self.table: dict[Any, Span | None] = {}
        self.profiled: set[int] = set()
        self.new: set[int] = set()

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


def function_of(code: "CodeType") -> Span | None:
    """The span of a code object's calls; None: they are not traced."""
    return CALLS.span(code, code, CALLS.describe)


def c_function(function: object) -> Span | None:
    """The span of a C function's calls; None: they are not traced, or it is none whose return is seen as well."""
    if CALLS.describe_c is None or type(function) not in (BuiltinMethodType, MethodDescriptorType):
        return None
    module = getattr(function, "__module__", None) or type(getattr(function, "__self__", None))
    name: str = function.__qualname__  # type: ignore[attr-defined]  # both types have one
    return CALLS.span((name, module), function, CALLS.describe_c)


# -- begins and ends -----------------------------------------------------------------------------------------------


def begin_call(span: Span, frame: FrameType | None) -> None:
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
    if buffer.thread is None:
        buffer.ask_thread()
    if CALLS.max_depth:
        buffer.depth += 1
        if buffer.depth > CALLS.max_depth:
            return
    try:
        buffer.put((next(window.granted), span))
    except StopIteration:
        put_late(buffer, window, span)


def end_call(span: Span, frame: FrameType | None) -> None:
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
        tick = next(window.granted)
    except StopIteration:
        put_late(buffer, window, span, ends=True)
        return
    records = buffer.records
    if CALLS.min_ns and records and records[-1] is span and tick - records[-2] < CALLS.min_ns:
        del records[-2:]
        window.free_bytes += 2 * RECORD_BYTES
    else:
        buffer.put((span, tick))


def _join(buffer: Buffer, window: Window, frame: FrameType | None) -> bool:
    """Note what the thread has had open since the window's start; False: it is not to be traced."""
    if buffer.muted:
        return False
    if buffer.window is not window:
        buffer.join(window)
    buffer.calls = window
    _note(buffer, frame, STATE.ticks() if buffer.ident in CALLS.new else window.start)
    return CALLS.window is window


def _note(buffer: Buffer, frame: FrameType | None, tick: int) -> None:
    """Note a frame and those that wait for it as begun at that tick."""
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
    buffer.begun = [*buffer.begun, *(Begun(tick, span, span.label, None, 0, cut=True) for span in spans)]


def _note_idle(window: Window) -> None:
    """Note what the threads have open that have had no event."""
    buffers = {buffer.ident: buffer for buffer in tuple(STATE.buffers)}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - documented, for this
        if sys.version_info < (3, 12) and ident not in CALLS.profiled:
            continue
        thread, buffer = thread_of(ident), buffers.get(ident)
        tid = threading.get_native_id() if ident == threading.get_ident() else getattr(thread, "native_id", None)
        if buffer is None and tid is not None:
            # One that goes with the window, as its life ends at once: the thread itself will make another.
            buffer = Buffer(Life(), ident, tid)
            STATE.buffers.append(buffer)
        if buffer is not None and buffer.calls is not window:
            _join(buffer, window, frame)
