"""What stands at one point in time: instants, counters, and the points of flows."""

import itertools
from collections.abc import Mapping
from typing import Any

from stepscope.core.twin.recorder import LOCAL, STATE, Count, FlowPoint, Payload, adopt_thread
from stepscope.core.twin.recycle import put_late
from stepscope.core.twin.span import record_function
from stepscope.core.values import series_of, weight

__all__ = ["counter", "flow_end", "flow_start", "flow_step", "instant"]

_FLOWS = itertools.count(1)


def instant(name: str, args: Any = None, **kwargs: Any) -> None:
    """Mark a point in time on the calling thread; the arguments are those of `record_function`."""
    if STATE.window is not None:
        span = record_function(name, args, **kwargs)
        _put(Payload(span, span.frozen_args(), instant=True))


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
    if not isinstance(value, Mapping):
        _put(Count(series_of(name, unit, None), _number(value)))
        return
    try:
        items = list(value.items())
    except Exception:  # noqa: BLE001 - the program's mapping may raise anything
        return
    for key, number in items:
        _put(Count(series_of(name, unit, key), _number(number)))


def flow_start(name: str) -> int:
    """Begin a flow at this point of the calling thread.

    Returns:
        The flow's number, for the points it goes on to, on whatever thread.
    """
    flow = next(_FLOWS)
    if STATE.window is not None:
        _put(FlowPoint(flow, record_function(name).name))
    return flow


def flow_step(flow: int) -> None:
    """Lead a flow through this point of the calling thread.

    Args:
        flow: as `flow_start` returned it.

    Raises:
        TypeError: it is not an int.
    """
    if not isinstance(flow, int):
        message = f"a flow is the int that flow_start() returned, not {type(flow).__name__}"
        raise TypeError(message)
    if STATE.window is not None and 0 <= flow < 1 << 64:
        _put(FlowPoint(int(flow), None))


def flow_end(flow: int) -> None:
    """Lead a flow to this point, its last; otherwise as flow_step."""
    flow_step(flow)


def _number(value: Any) -> float:
    try:
        return float(value) if not isinstance(value, (str, bytes, bytearray)) else float("nan")
    except Exception:  # noqa: BLE001 - the program's value may raise anything
        return float("nan")


def _put(what: Any) -> None:
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
    try:
        if type(what) is Payload and what.args:
            window.spend(weight(what.args) + len(what.span.name))
        buffer.put((window.tick(), what))
    except StopIteration:
        put_late(buffer, window, what)
