"""The span: `with record_function("forward"):`, or as a decorator.

A span without arguments holds no state but its name, so one object serves every use of the name: it is re-entrant,
recursive, and shared by threads. Arguments are kept as they were passed, and taken when a recorded span begins.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar
from weakref import ref

from stepscope.core.decorate import decorate
from stepscope.core.rows import Label
from stepscope.core.twin.recorder import LOCAL, STATE, Buffer, Charge, adopt_thread, take_open
from stepscope.core.twin.records import Finish, Key, Payload
from stepscope.core.twin.recycle import CACHE, find_room, put_late, put_sized
from stepscope.core.values import freeze_args, freeze_call, legal_name, weight

__all__ = ["Span", "record_function", "span_of"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Names built at run time must not fill memory: past this many the cache starts over, which costs time only.
MAX_CACHED = 4096
# About what a span takes besides its name, and a record that carries arguments besides those.
SPAN_BYTES = 128


class Span:
    """A named stretch of a thread's time; made by `record_function`."""

    __slots__ = ("charge", "label")
    charge: Charge

    def __init__(self, label: str | Label) -> None:
        self.label = label

    @property
    def name(self) -> str:
        """The slice's name."""
        return self.label if type(self.label) is str else self.label[0]

    def alone(self) -> "Span":
        """A span like this one that is told apart from every other, so that calls that overlap are not mixed up."""
        return SpanWithArgs(self.label, None, {})

    def __enter__(self) -> "Span":
        try:
            buffer = LOCAL.buffer
        except AttributeError:
            buffer = adopt_thread()
        window = STATE.window
        if window is not None:
            if buffer.window is not window:
                buffer.join(window)
            try:
                buffer.put((window.tick(), self))
            except StopIteration:
                put_late(buffer, window, self)
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
            end_elsewhere(self, once=False, mine=None)
            return
        window = STATE.window
        if window is not None and buffer.window is not window:
            buffer.join(window)
        spans = buffer.open
        if not spans or spans[-1] is not self:
            end_elsewhere(self, once=False, mine=buffer)
            return
        del spans[-1]
        if window is not None:
            try:
                buffer.put((~window.tick(), self))
            except StopIteration:
                put_late(buffer, window, self, ends=True)

    def finish(self, args: dict[str, Any]) -> None:
        """End it with more arguments, which only a span with arguments shows."""
        del args
        self.__exit__()

    def __call__(self, function: Function) -> Function:
        """The function with this span around each call."""
        return decorate(self, function)

    def __repr__(self) -> str:
        return f"record_function({self.name!r})"


class SpanWithArgs(Span):
    """A span with arguments, or one that is told apart from others of its name."""

    __slots__ = ("__weakref__", "again", "args", "key", "kwargs")

    def __init__(self, label: str | Label, args: Any, kwargs: dict[str, Any]) -> None:
        self.label = label
        self.args = args
        self.kwargs = kwargs
        self.key: ref[SpanWithArgs] | None = None

    def alone(self) -> Span:
        """As Span.alone."""
        return SpanWithArgs(self.label, self.args, self.kwargs)

    def frozen_args(self) -> dict[str, Any]:
        """The arguments as a trace holds them, now."""
        return freeze_call(self.args, self.kwargs)

    def payload(self, key: Key, *, instant: bool) -> Payload:
        """The record of its begin, or of an instant like it."""
        args = self.frozen_args()
        return Payload(key, self.label, args, SPAN_BYTES + weight(self.label) + weight(args), instant)

    def __enter__(self) -> Span:
        if self.key is None:
            key = self.key = ref(self)
        else:
            key = self.key
            self.again = True
        try:
            buffer = LOCAL.buffer
        except AttributeError:
            buffer = adopt_thread()
        if STATE.window is not None:
            payload = self.payload(key, instant=False)
            window = STATE.window  # reading the arguments may have ended it
            if window is not None:
                if buffer.window is not window:
                    buffer.join(window)
                put_sized(buffer, window, payload)
        buffer.open.append(key)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        key = self.key
        if key is None:
            return  # nobody entered it
        try:
            buffer = LOCAL.buffer
        except AttributeError:
            end_elsewhere(key, once=not hasattr(self, "again"), mine=None)
            return
        window = STATE.window
        if window is not None and buffer.window is not window:
            buffer.join(window)
        spans = buffer.open
        if not spans or spans[-1] is not key:
            end_elsewhere(key, once=not hasattr(self, "again"), mine=buffer)
            return
        del spans[-1]
        if window is not None:
            try:
                buffer.put((~window.tick(), key))
            except StopIteration:
                put_late(buffer, window, key, ends=True)

    def finish(self, args: dict[str, Any]) -> None:
        """End it with more arguments, which are taken as they are now.

        Where it is not the thread's innermost span, it ends without them.
        """
        frozen = freeze_args(args) if STATE.window is not None else {}
        key, window, buffer = self.key, STATE.window, getattr(LOCAL, "buffer", None)
        if key is None or window is None or buffer is None or buffer.open[-1:] != [key]:
            self.__exit__()
            return
        if buffer.window is not window:
            buffer.join(window)
        finish: Key | Finish = key
        size_bytes = SPAN_BYTES + weight(frozen)
        if find_room(window, size_bytes):
            finish = Finish(key, frozen, size_bytes)
        else:
            buffer.dropped += 1
        del buffer.open[-1]
        try:
            buffer.put((~window.tick(), finish))
        except StopIteration:
            put_late(buffer, window, finish, ends=True)


def end_elsewhere(key: Key, once: bool, mine: Buffer | None) -> None:
    """End a span that is not the innermost one of the calling thread, where it is open.

    The thread may be one that is ending and has lost its buffer: it does not get another one.
    """
    window = STATE.window
    buffer = take_open(key, once, mine, window)
    if window is not None and buffer is not None:
        try:
            buffer.put((~window.tick(), key))
        except StopIteration:
            put_late(buffer, window, key, ends=True)


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
                return CACHE[name]
            except KeyError:
                pass
        return _make_plain(name)
    return SpanWithArgs(legal_name(name), args, kwargs)


def span_of(label: Label, args: dict[str, Any] | None = None) -> Span:
    """A span for what records besides the program's own spans: an operator, a call, a pause.

    Args:
        label: what its slices are called.
        args: shown on the slice, taken as they are when it begins; None makes a span that may be kept and used again,
            also within itself.
    """
    return Span(label) if args is None else SpanWithArgs(label, None, args)


def _make_plain(name: Any) -> Span:
    """A span without arguments; made in a window it is on its budget, and without room is told apart and dropped."""
    legal = legal_name(name)
    window = STATE.window
    span = Span(legal)
    if window is not None:
        size_bytes = SPAN_BYTES + weight(legal)
        if not find_room(window, size_bytes):
            return span.alone()
        span.charge = Charge(window, size_bytes)
    if type(name) is str:
        if len(CACHE) >= MAX_CACHED:
            CACHE.clear()
        CACHE[name] = span
    return span
