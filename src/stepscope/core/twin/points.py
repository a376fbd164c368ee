"""What stands at one point in time: instants, counters, and the points of flows."""

import itertools
from collections.abc import Mapping
from typing import Any

from stepscope.core.rows import Label
from stepscope.core.scopes import scoped_instant
from stepscope.core.twin.lanes import TASKS
from stepscope.core.twin.recorder import LOCAL, STATE, adopt_thread
from stepscope.core.twin.records import Count, FlowPoint, Payload
from stepscope.core.twin.recycle import put_late, put_sized
from stepscope.core.twin.span import SPAN_BYTES, Span, SpanWithArgs, record_function, span_of
from stepscope.core.twin.turns import turn
from stepscope.core.values import legal_name, series_of, type_name, weight

__all__ = ["counter", "flow_end", "flow_start", "flow_step", "instant", "instant_of"]

_FLOWS = itertools.count(1)


def instant(name: str, args: Any = None, **kwargs: Any) -> None:
    """Mark a point in time on the calling thread; the arguments are those of `record_function`, and a scope."""
    if "scope" in kwargs:
        scoped_instant(name, args, **kwargs)
    elif STATE.window is not None:
        _mark(record_function(name, args, **kwargs))


def instant_of(label: Label, args: dict[str, Any] | None = None) -> None:
    """Mark a point in time as something that is recorded besides the program's own spans; as `span_of`."""
    if STATE.window is not None:
        _mark(span_of(label, args))


def counter(name: str, value: Any, unit: str | None = None) -> None:
    """The value that a counter of the process has now.

    Args:
        name: any str.
        value: a number, or a mapping of series to numbers; each series is a track of its own. What is no number is
            left out, and counted in the trace's problems.
        unit: what the values count, such as "bytes", "ns" or "%".
    """
    if STATE.window is None:
        return
    try:
        items = list(value.items()) if isinstance(value, Mapping) else None
    except Exception:  # noqa: BLE001 - the program's value may raise anything
        items = [] if issubclass(type(value), Mapping) else None
    if items is None:
        _count(name, unit, None, value)
    else:
        for item in items:
            if type(item) is tuple and len(item) == 2:
                _count(name, unit, *item)


def flow_start(name: str) -> int:
    """Begin a flow at this point of the calling thread.

    Returns:
        The flow's number, for the points it goes on to, on whatever thread.
    """
    flow = next(_FLOWS)
    if STATE.window is not None:
        text = legal_name(name)
        _put(FlowPoint(flow, text, weight(text)))
    return flow


def flow_step(flow: int) -> None:
    """Lead a flow through this point of the calling thread.

    Args:
        flow: as `flow_start` returned it.

    Raises:
        TypeError: it is not an int.
    """
    if not issubclass(type(flow), int):
        message = f"a flow is the int that flow_start() returned, not {type_name(flow)}"
        raise TypeError(message)
    if STATE.window is not None:
        number = int.__int__(flow)  # a subclass may raise anything
        if 0 <= number < 1 << 64:
            _put(FlowPoint(number, None, 0))


def flow_end(flow: int) -> None:
    """Lead a flow to this point, its last; otherwise as flow_step."""
    flow_step(flow)


def _mark(span: Span) -> None:
    """Record the point at which the span would begin."""
    if isinstance(span, SpanWithArgs):
        _put(span.payload(span, instant=True))
    else:
        _put(Payload(span, span.label, None, 0, instant=True))


def _count(name: Any, unit: Any, key: Any, value: Any) -> None:
    """Record the value of one series."""
    series, number = series_of(name, unit, key), _number(value)
    _put(Count(series, number, SPAN_BYTES + weight(series[0]) + weight(series[1])))


def _number(value: Any) -> float:
    try:
        return float(value) if not isinstance(value, (str, bytes, bytearray)) else float("nan")
    except Exception:  # noqa: BLE001 - the program's value may raise anything
        return float("nan")


def _put(what: Payload | Count | FlowPoint) -> None:
    """Record something on the calling thread."""
    window = STATE.window
    if window is None:
        return
    try:
        buffer = LOCAL.buffer
    except AttributeError:
        buffer = adopt_thread()
    if buffer.window is not window:
        buffer.join(window)
    if (TASKS.running or buffer.lane is not None) and type(what) is not Count:  # a counter is the process's
        turn(buffer)
    if what.size_bytes:
        put_sized(buffer, window, what)
        return
    try:
        buffer.put((next(window.granted), what))
    except StopIteration:
        put_late(buffer, window, what)
