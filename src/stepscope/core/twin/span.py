"""The span: `with record_function("forward"):`, or as a decorator.

A span without arguments holds no state but its name, so one object serves every use of the name: it is
re-entrant, recursive, and shared by threads.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from stepscope.core.decorate import decorate
from stepscope.core.twin.recorder import STATE, Payload, adopt_thread
from stepscope.core.values import freeze_args, legal_name

__all__ = ["Span", "instant", "record_function"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Names built at run time must not fill memory: past this many the cache starts over, which costs time only.
MAX_CACHED = 4096


class Span:
    """A named stretch of a thread's time; made by `record_function`."""

    __slots__ = ("args", "name")

    def __init__(self, name: str, args: Any) -> None:
        self.name = name
        self.args = args

    def __enter__(self) -> "Span":
        state = STATE
        if state.armed:
            try:
                buffer = state.local.buffer
            except AttributeError:
                buffer = adopt_thread()
            buffer.open.append(self)
            if state.recording:
                put = buffer.put
                if self.args is None:
                    put(state.ticks())
                    put(self)
                else:
                    payload = Payload(self, freeze_args(self.args), instant=False)
                    put(state.ticks())
                    put(payload)
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
            if state.recording:
                put = buffer.put
                put(~state.ticks())
                put(self)
            spans = buffer.open
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
        kwargs: shown on the slice in every format; any object, taken as it is when the span begins.
    """
    if args is None and not kwargs:
        try:
            return _CACHE[name]
        except (KeyError, TypeError):
            return _make_cached(name)
    if args is not None:
        kwargs = {**freeze_args(args), **kwargs}
    return Span(legal_name(name), kwargs)


def _make_cached(name: Any) -> Span:
    span = Span(legal_name(name), None)
    if type(name) is str:
        if len(_CACHE) >= MAX_CACHED:
            _CACHE.clear()
        _CACHE[name] = span
    return span


def instant(name: str, args: Any = None, **kwargs: Any) -> None:
    """Mark a point in time on the calling thread; the arguments are those of `record_function`."""
    state = STATE
    if not state.recording:
        return
    try:
        buffer = state.local.buffer
    except AttributeError:
        buffer = adopt_thread()
    if args is not None:
        kwargs = {**freeze_args(args), **kwargs}
    payload = Payload(Span(legal_name(name), None), freeze_args(kwargs) if kwargs else None, instant=True)
    put = buffer.put
    put(state.ticks())
    put(payload)
