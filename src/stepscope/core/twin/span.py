"""The span: `with record_function("forward"):`, or as a decorator.

A span without arguments holds no state but its name, so one object serves every use of the name: it is re-entrant,
recursive, and shared by threads. Arguments are kept as they were passed, and taken when a recorded span begins.
"""

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from stepscope.core.decorate import decorate
from stepscope.core.twin.recorder import LOCAL, STATE, Payload, adopt_thread, take_open
from stepscope.core.twin.recycle import put_late
from stepscope.core.values import freeze_call, legal_name, weight

__all__ = ["Span", "record_function"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Names built at run time must not fill memory: past this many the cache starts over, which costs time only.
MAX_CACHED = 4096
# About what a span takes besides its name's characters.
SPAN_BYTES = 128


class Span:
    """A named stretch of a thread's time; made by `record_function`."""

    __slots__ = ("args", "kwargs", "name")

    def __init__(self, name: str, args: Any = None, kwargs: dict[str, Any] | None = None) -> None:
        self.name = name
        self.args = args
        self.kwargs = kwargs  # None: it has no arguments, and is the same span as others of its name

    def alone(self) -> "Span":
        """A span like this one that is told apart from every other, so that calls that overlap are not mixed up."""
        return Span(self.name, self.args, self.kwargs or {})

    def frozen_args(self) -> dict[str, Any] | None:
        """The arguments as a trace holds them, now."""
        return None if self.kwargs is None else freeze_call(self.args, self.kwargs)

    def __enter__(self) -> "Span":
        try:
            buffer = LOCAL.buffer
        except AttributeError:
            buffer = adopt_thread()
        window = STATE.window
        if window is not None:
            if buffer.window is not window:
                buffer.join(window)
            what: Any = self
            try:
                if self.kwargs is not None:
                    what = Payload(self, self.frozen_args(), instant=False)
                    window.spend(weight(what.args) + len(self.name))
                buffer.put((window.tick(), what))
            except StopIteration:
                put_late(buffer, window, what)
        buffer.open.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        try:
            buffer = LOCAL.buffer
        except AttributeError:
            buffer = adopt_thread()
        window = STATE.window
        if window is not None and buffer.window is not window:
            buffer.join(window)
        spans = buffer.open
        if spans and spans[-1] is self:
            del spans[-1]
        else:
            buffer = take_open(self, buffer)
        if window is not None and buffer is not None:
            try:
                buffer.put((~window.tick(), self))
            except StopIteration:
                put_late(buffer, window, self, ends=True)

    def __call__(self, function: Function) -> Function:
        """The function with this span around each call."""
        return decorate(self, function)

    def __repr__(self) -> str:
        return f"record_function({self.name!r})"


_CACHE: dict[str, Span] = {}


def record_function(name: str, args: Any = None, **kwargs: Any) -> Span:
    """A span to hold open with `with`, or to decorate a function, coroutine or generator with.

    Args:
        name: any str; anything else is shown by its str().
        args: torch's second argument: a str becomes the argument "args"; a mapping's items become arguments,
            which is the way to pass one whose key is "name" or "args".
        kwargs: shown on the slice in every format; any object, taken as it is when the span begins, or when the
            profile does if that comes later.
    """
    if args is None and not kwargs:
        if type(name) is str:
            try:
                return _CACHE[name]
            except KeyError:
                return _make_cached(name)
        return Span(legal_name(name))
    return Span(legal_name(name), args, kwargs)


def _make_cached(name: str) -> Span:
    if len(_CACHE) >= MAX_CACHED:
        _CACHE.clear()
    if STATE.window is not None:
        with contextlib.suppress(StopIteration):  # what comes next is dropped, and counted then
            STATE.window.spend(SPAN_BYTES + len(name))
    span = _CACHE[name] = Span(legal_name(name))
    return span
