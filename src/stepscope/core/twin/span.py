"""The span: `with record_function("forward"):`, or as a decorator.

A span without arguments holds no state but its name, so one object serves every use of the name: it is re-entrant,
recursive, and shared by threads. Arguments are kept as they were passed, and taken when a recorded span begins.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from stepscope.core.decorate import decorate
from stepscope.core.twin.recorder import STATE, Payload, adopt_thread
from stepscope.core.values import freeze_call, legal_name

__all__ = ["Span", "instant", "record_function"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Names built at run time must not fill memory: past this many the cache starts over, which costs time only.
MAX_CACHED = 4096


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
        state = STATE
        if state.armed:
            try:
                buffer = state.local.buffer
            except AttributeError:
                buffer = adopt_thread()
            window = state.window
            if window is not None:
                if buffer.window is not window:
                    buffer.join(window)
                what = self if self.kwargs is None else Payload(self, self.frozen_args(), instant=False)
                buffer.put((state.ticks(), what))
            buffer.open.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        state = STATE
        if state.armed:
            try:
                buffer = state.local.buffer
            except AttributeError:
                buffer = adopt_thread()
            spans = buffer.open
            window = state.window
            if window is not None:
                if buffer.window is not window:
                    buffer.join(window)
                what = (
                    self if self.kwargs is None or self in spans else Payload(self, self.frozen_args(), instant=False)
                )
                buffer.put((~state.ticks(), what))
            if spans and spans[-1] is self:
                spans.pop()
            else:
                _close_inner(spans, self)

    def __call__(self, function: Function) -> Function:
        """The function with this span around each call."""
        return decorate(self, function)

    def __repr__(self) -> str:
        return f"record_function({self.name!r})"


def _close_inner(spans: list[Span], span: Span) -> None:
    """Forget a span that ends before one it contains, as tasks that take turns on a thread do."""
    for index in range(len(spans) - 1, -1, -1):
        if spans[index] is span:
            del spans[index]
            return


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
    span = _CACHE[name] = Span(legal_name(name))
    return span


def instant(name: str, args: Any = None, **kwargs: Any) -> None:
    """Mark a point in time on the calling thread; the arguments are those of `record_function`."""
    state = STATE
    window = state.window
    if window is None:
        return
    try:
        buffer = state.local.buffer
    except AttributeError:
        buffer = adopt_thread()
    if buffer.window is not window:
        buffer.join(window)
    span = record_function(name, args, **kwargs)
    payload = Payload(span, span.frozen_args(), instant=True)
    buffer.put((state.ticks(), payload))
