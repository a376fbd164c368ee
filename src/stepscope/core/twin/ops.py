"""Operators, for the kernel path of a framework's dispatcher.

A token is the operator's span, whose arguments are the number it is known by and its device; None: it is not recorded.
Where a profile asks for more of an operator, such as its shapes, another function makes the token.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import ref

from stepscope.core.rows import Label
from stepscope.core.twin.recorder import LOCAL, STATE
from stepscope.core.twin.span import Span, SpanWithArgs
from stepscope.core.twin.turns import turn
from stepscope.core.values import legal_name

__all__ = ["op_current", "op_enabled", "op_enter", "op_exit", "op_next", "use_ops"]

Resolve = Callable[[Any], str | None]
Detailed = Callable[[str, str, Sequence[Any], Mapping[str, Any] | None, int], Any]

# Objects, not only kinds: a framework may make a new one each time.
MAX_DEVICES = 256


class _Ops:
    """What is wanted of operators; resolve is None while none are recorded."""

    resolve: Resolve | None = None
    detailed: Detailed | None = None
    devices: dict[Any, str | None] = {}  # noqa: RUF012 - the process has one recorder


_NUMBERS = itertools.count(1)


def use_ops(resolve: Resolve | None, detailed: Detailed | None, /) -> None:
    """Record operators, or no more if resolve is None.

    Args:
        resolve: what is shown of a device as it was passed, "" for the CPU; None if its operators are not wanted. Its
            answers are remembered.
        detailed: makes the token of an operator, by name, what is shown of its device, args, kwargs and number; None
            if nobody asks for more than that.
    """
    _Ops.resolve, _Ops.detailed, _Ops.devices = resolve, detailed, {}


def op_enabled() -> bool:
    """Whether operators are recorded."""
    return _Ops.resolve is not None and STATE.window is not None


def op_enter(name: str, device: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, /) -> Any:
    """An operator begins on the calling thread.

    Args:
        name: what it is called.
        device: the device that it is dispatched to, such as "cpu", "npu:0" or an object with type and index.
        args: its inputs.
        kwargs: its inputs by name.

    Returns:
        What op_exit takes; None if it is not recorded.

    Raises:
        ValueError: there is no such device.
    """
    resolve = _Ops.resolve
    if resolve is None or STATE.window is None:
        return None
    devices = _Ops.devices
    try:
        text = devices[device]
    except KeyError:
        if len(devices) >= MAX_DEVICES:
            devices.clear()
        text = devices[device] = resolve(device)
    if text is None or _Ops.resolve is None:
        return None
    if _Ops.detailed is not None:
        return _Ops.detailed(name, text, args, kwargs, next(_NUMBERS))
    known = {"External id": next(_NUMBERS)}
    span = SpanWithArgs(Label(legal_name(name), "cpu_op"), None, {**known, "Device": text} if text else known)
    return span.__enter__()


def op_exit(token: Any, /) -> None:
    """The operator of that token ends, on whatever thread."""
    if isinstance(token, Span):
        token.__exit__()
    elif token is not None:
        token.exit()


def op_next() -> int:
    """A number that no operator has had."""
    return next(_NUMBERS)


def op_current() -> int:
    """The number of the operator that the calling thread is in, the innermost one; 0 for none."""
    buffer = getattr(LOCAL, "buffer", None)
    if buffer is None or _Ops.resolve is None:
        return 0
    for key in reversed(turn(buffer)):
        span = key() if isinstance(key, ref) else None
        if span is not None and type(span.label) is not str and "External id" in span.kwargs:
            number: int = span.kwargs["External id"]
            return number
    return 0
