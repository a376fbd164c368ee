"""The span: `with record_function("forward"):`, or as a decorator.

A span without arguments holds no state but its name, so one object serves every use of the name: it is re-entrant,
recursive, and shared by threads. Arguments are kept as they were passed, and taken when a recorded span begins.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar
from weakref import ref

from stepscope.core.decorate import decorate, enter_awaited, exit_awaited
from stepscope.core.rows import Label
from stepscope.core.twin.lanes import TASKS, look_for_asyncio
from stepscope.core.twin.recorder import LOCAL, STATE, Buffer, Charge, Window, adopt_thread, take_open
from stepscope.core.twin.records import Finish, Key, Payload
from stepscope.core.twin.recycle import CACHE, find_room, put_late, put_sized
from stepscope.core.twin.turns import turn
from stepscope.core.values import freeze_args, freeze_call, legal_name, weight

__all__ = ["Span", "record_function", "span_of"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Names built at run time must not fill memory: past this many the cache starts over, which costs time only.
MAX_CACHED = 4096
# In the place of positional arguments: those by name are frozen.
FROZEN = object()
# About what a span takes besides its name, and a record that carries arguments besides those.
SPAN_BYTES = 128
# The same of one that is shared, with its functions.
SHARED_SPAN_BYTES = 640


class Span:
    """A named stretch of a thread's time; made by `record_function`."""

    __slots__ = ("charge", "label", "shared")
    charge: Charge
    shared: "ref[SharedSpan]"

    def __init__(self, label: str | Label) -> None:
        self.label = label

    @property
    def name(self) -> str:
        """The slice's name."""
        return self.label if type(self.label) is str else self.label[0]

    def alone(self) -> "Span":
        """A span like this one that is told apart from every other, so that calls that overlap are not mixed up."""
        look_for_asyncio()  # a coroutine is about to run
        return SpanWithArgs(self.label, None, {})

    def __enter__(self) -> "Span":
        return (self.shared() or SharedSpan(self)).__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        (self.shared() or SharedSpan(self)).__exit__(kind, error, trace)

    def finish(self, args: dict[str, Any]) -> None:
        """End it with more arguments, which only a span with arguments shows."""
        del args
        self.__exit__()

    __aenter__ = enter_awaited
    __aexit__ = exit_awaited

    def __call__(self, function: Function) -> Function:
        """The function with this span around each call."""
        return decorate(self, function)

    def __repr__(self) -> str:
        return f"record_function({self.name!r})"


class _Elsewhere:
    """Stands for a buffer in which a span is not the innermost one."""

    open = (None,)


ELSEWHERE = _Elsewhere()


def calls_of(span: Span) -> tuple[Callable[[], Span], Callable[..., None]]:  # noqa: C901, PLR0915 - two that share variables
    """What enters and what exits a span without arguments.

    They remember which buffer the span is open in, if it is so once: its exit then need not ask for the calling
    thread's buffer. That is a guess, which the buffer's list confirms.

    Of several ways to say a thing this is the one that takes least: before Python 3.12 calling what an attribute holds
    takes longer than calling a variable.
    """
    where: Any = None  # the buffer; ELSEWHERE: it was open more than once, or is a task's
    more = 0  # how often it is open besides

    def enter() -> Span:
        nonlocal where, more
        try:
            buffer = LOCAL.buffer
        except AttributeError:
            buffer = adopt_thread()
        if TASKS.running or buffer.lane is not None:
            _enter_in(turn(buffer), buffer, span)
            more += where is not None
            where = ELSEWHERE
            return span
        window = STATE.window
        if window is not None:
            if buffer.window is not window:
                buffer.join(window)
            put = buffer.put
            try:
                put((next(window.granted), span))
            except StopIteration:
                put_late(buffer, window, span)
        if where is None:
            where = buffer
        else:
            where = ELSEWHERE
            more += 1
        buffer.open.append(span)
        return span

    def leave(
        kind: type[BaseException] | None = None,  # noqa: ARG001 - `with` passes them
        error: BaseException | None = None,  # noqa: ARG001
        trace: TracebackType | None = None,  # noqa: ARG001
    ) -> None:
        nonlocal where, more
        window = STATE.window
        if window is None:
            try:
                spans = where.open
                if spans[-1] is span:  # from this look on nothing is called before the span is gone
                    where = None
                    spans.pop()
                    return
            except AttributeError:  # it is not open
                pass
        else:
            buffer = where
            try:
                spans = buffer.open
                if spans[-1] is not span or buffer.window is not window:
                    buffer = None
            except AttributeError:
                buffer = None
            if buffer is not None:  # nothing was called since the look
                where = None
                spans.pop()
                put = buffer.put
                try:
                    put((span, next(window.granted)))
                except StopIteration:
                    put_late(buffer, window, span, ends=True)
                return
        if not _leave(span, window):
            return
        if more:
            more -= 1
        else:
            where = None

    return enter, leave


def _enter_in(spans: list[Key], buffer: Buffer, span: Span) -> None:
    """Begin a span without arguments where those are open."""
    window = STATE.window
    if window is not None:
        if buffer.window is not window:
            buffer.join(window)
        try:
            buffer.put((next(window.granted), span))
        except StopIteration:
            put_late(buffer, window, span)
    spans.append(span)


def _leave(span: Span, window: Window | None) -> bool:
    """End a span without arguments where it is open; whether it is."""
    try:
        buffer = LOCAL.buffer
    except AttributeError:
        return end_elsewhere(span, once=False, mine=None)
    spans = turn(buffer, ends=True) if TASKS.running or buffer.lane is not None else buffer.open
    if window is not None and buffer.window is not window:
        buffer.join(window)
    if not spans or spans[-1] is not span:
        return end_elsewhere(span, once=False, mine=buffer)
    spans.pop()
    if window is not None:
        try:
            buffer.put((span, next(window.granted)))
        except StopIteration:
            put_late(buffer, window, span, ends=True)
    return True


class _Unbound(type):
    """Lets `type(span).__enter__(span)` be called, as contextlib.ExitStack does, where each span has its own."""

    @property
    def __enter__(cls) -> Callable[[Span], Span]:
        return lambda span: span.__enter__()

    @property
    def __exit__(cls) -> Callable[..., None]:  # noqa: PLE0302 - it is a property
        return lambda span, *raised: span.__exit__(*raised)


class SharedSpan(Span, metaclass=_Unbound):
    """A span without arguments as `record_function` hands it out: it enters and exits with functions of its own.

    `with` finds them in its slots: a method would be bound twice a span, which takes as long as following it does.
    They refer to the span that stands in the records, not to this one, so that both go when nobody holds them.
    """

    __slots__ = ("__enter__", "__exit__", "__weakref__")

    def __init__(self, span: Span) -> None:
        self.label = span.label
        span.shared = ref(self)
        self.__enter__, self.__exit__ = calls_of(span)  # type: ignore[method-assign]


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
        look_for_asyncio()
        return SpanWithArgs(self.label, self.args, self.kwargs)

    def frozen_args(self) -> dict[str, Any]:
        """The arguments as a trace holds them, now."""
        return self.kwargs if self.args is FROZEN else freeze_call(self.args, self.kwargs)

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
        spans = turn(buffer) if TASKS.running or buffer.lane is not None else buffer.open
        if STATE.window is not None:
            payload = self.payload(key, instant=False)
            window = STATE.window  # reading the arguments may have ended it
            if window is not None:
                if buffer.window is not window:
                    buffer.join(window)
                put_sized(buffer, window, payload)
        spans.append(key)
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
        spans = turn(buffer, ends=True) if TASKS.running or buffer.lane is not None else buffer.open
        window = STATE.window
        if window is not None and buffer.window is not window:
            buffer.join(window)
        if not spans or spans[-1] is not key:
            end_elsewhere(key, once=not hasattr(self, "again"), mine=buffer)
            return
        spans.pop()
        if window is not None:
            try:
                buffer.put((key, next(window.granted)))
            except StopIteration:
                put_late(buffer, window, key, ends=True)

    def finish(self, args: dict[str, Any]) -> None:
        """End it with more arguments, which are taken as they are now.

        Where it is not the thread's innermost span, it ends without them.
        """
        frozen = freeze_args(args) if STATE.window is not None else {}
        key, window, buffer = self.key, STATE.window, getattr(LOCAL, "buffer", None)
        spans = [] if buffer is None else turn(buffer, ends=True)
        if key is None or window is None or buffer is None or spans[-1:] != [key]:
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
        del spans[-1]
        try:
            buffer.put((finish, next(window.granted)))
        except StopIteration:
            put_late(buffer, window, finish, ends=True)


def end_elsewhere(key: Key, once: bool, mine: Buffer | None) -> bool:
    """End a span that is not the innermost one of the calling thread, where it is open; whether it is.

    The thread may be one that is ending and has lost its buffer: it does not get another one.
    """
    window = STATE.window
    buffer = take_open(key, once, mine, window)
    if window is not None and buffer is not None:
        try:
            buffer.put((key, next(window.granted)))
        except StopIteration:
            put_late(buffer, window, key, ends=True)
    return buffer is not None


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


def span_of(label: Label, args: dict[str, Any] | None = None, frozen: bool = False, /) -> Span:
    """A span for what records besides the program's own spans: an operator, a call, a pause.

    Args:
        label: what its slices are called.
        args: shown on the slice, taken as they are when it begins; None makes a span that may be kept and used again,
            also within itself.
        frozen: they are as a trace holds them already, and nobody changes what is in them.
    """
    return SharedSpan(Span(label)) if args is None else SpanWithArgs(label, FROZEN if frozen else None, args)


def _make_plain(name: Any) -> Span:
    """A span without arguments; made in a window it is on its budget, and without room is told apart and dropped."""
    look_for_asyncio()
    legal = legal_name(name)
    window = STATE.window
    span = Span(legal)
    if window is not None:
        size_bytes = SHARED_SPAN_BYTES + weight(legal)
        if not find_room(window, size_bytes):
            return span.alone()
        span.charge = Charge(window, size_bytes)
    shared = SharedSpan(span)
    if type(name) is str:
        if len(CACHE) >= MAX_CACHED:
            CACHE.clear()
        CACHE[name] = shared
    return shared
