"""When the budget is spent: records are dropped and counted, the newest ones or, with the policy "ring", the oldest.

Records that give way are read once more: the spans that begin in them and end later are noted with their begin, so that
no span that is kept loses its own.
"""

from typing import Any

from stepscope.core.twin.recorder import RECORD_BYTES, STATE, Begun, Buffer, Payload, Window
from stepscope.core.values import weight

__all__ = ["put_late", "same"]


def put_late(buffer: Buffer, window: Window, what: Any, *, ends: bool = False) -> None:
    """Put a record although the budget is spent: make room for it, or count it as dropped."""
    if STATE.recycles and _make_room(window):
        try:
            tick = window.tick()
        except StopIteration:  # the other threads were faster
            buffer.dropped += 1
        else:
            buffer.put((~tick if ends else tick, what))
    else:
        buffer.dropped += 1


def same(one: Any, other: Any) -> bool:
    """Spans without arguments are one span if their names are equal: the cache that shares them forgets."""
    return one is other or (one.kwargs is None and other.kwargs is None and one.name == other.name)


def _make_room(window: Window) -> bool:
    """Drop the older half of the longest list of records; whether there was something to drop."""
    buffer = max(STATE.buffers, key=lambda buffer: len(buffer.records) if buffer.window is window else 0)
    count = len(buffer.records) // 4 * 2
    if buffer.window is not window or count == 0:
        return False
    buffer.begun, dropped = _still_begun(buffer, window, buffer.records[:count])
    buffer.dropped += dropped
    regained = count // 2 + sum(
        weight(what.args) // RECORD_BYTES for what in buffer.records[1:count:2] if type(what) is Payload
    )
    del buffer.records[:count]
    window.allow(regained)
    return True


def _still_begun(buffer: Buffer, window: Window, records: list[Any]) -> tuple[list[Any], int]:
    """What has begun and not ended when these records have been read, and how many records that drops."""
    begun = buffer.all_begun(window)
    before = len(begun)
    for index in range(0, len(records), 2):
        tick, what = records[index], records[index + 1]
        if tick < 0:
            _end(begun, what)
        elif type(what) is not Payload:
            if hasattr(what, "kwargs"):
                begun.append(Begun(tick, what, None, cut=False))
        elif not what.instant:
            begun.append(Begun(tick, what.span, what.args, cut=False))
    return list(begun), len(records) // 2 + before - len(begun)


def _end(begun: list[Begun], span: Any) -> None:
    for place in range(len(begun) - 1, -1, -1):
        if same(begun[place].span, span):
            del begun[place]
            return
