"""The budget: room for names, arguments and records, and what gives way when it is spent.

With the policy "stop" the newest records are dropped and counted, with "ring" the oldest. Records that give way are
read once more: the spans that begin in them and end later are noted with their begin, so that no span that is kept
loses its own. That is done on a copy and takes effect where nothing is called, unless another thread, or a signal's
handler, has made room there meanwhile.
"""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any
from weakref import ref

from stepscope.core.twin.lanes import TaskLane, Waiting
from stepscope.core.twin.recorder import STATE, Buffer, Window
from stepscope.core.twin.records import RECORD_BYTES, Begun, Finish, Key, Payload, Turn, read_record, size_of

if TYPE_CHECKING:
    from stepscope.core.twin.span import Span

__all__ = ["CACHE", "find_room", "put_late", "put_sized", "same_as"]

# The spans without arguments by name. Those made in a window are on its budget and give way, too.
CACHE: dict[str, "Span"] = {}
# What is dropped of a thread's records at a time: a part of them, as the others have to move up, but not too few.
DROPPED_PART = 32
DROPPED_RECORDS = 256
# Names may take that part of the budget before those in the cache give way.
NAMES_PART = 4


def same_as(key: Key) -> Hashable:
    """What is equal for begins and ends of one span.

    Spans without arguments are one span if their labels are equal: the cache that shares them forgets.
    """
    return id(key) if isinstance(key, ref) else key.label


def find_room(window: Window, size_bytes: int) -> bool:
    """Take that much off the budget, at the price of the oldest records with the policy "ring"; whether it is there.

    One thing larger than half the budget is not worth everything else.
    """
    if size_bytes > STATE.bytes_allowed // 2:
        return False
    while not window.take(size_bytes):
        if not STATE.recycles or not _make_room(window):
            return False
    return True


def put_sized(buffer: Buffer, window: Window, what: Any) -> None:
    """Put a record that takes more than its place among the records; without room for that only this one is dropped."""
    if not find_room(window, what.size_bytes):
        buffer.dropped += 1
        return
    try:
        buffer.put((next(window.granted), what))
    except StopIteration:
        put_late(buffer, window, what)


def put_late(buffer: Buffer, window: Window, what: Any, *, ends: bool = False) -> None:
    """Put a record although the ticks that were granted are spent; without room the thread records no further."""
    while True:
        spent = window.granted
        try:
            tick = next(spent)
        except StopIteration:
            if window.grant(spent) or (STATE.recycles and _make_room(window)):
                continue
            buffer.put = buffer.drop
            buffer.dropped += type(what) is not Turn  # which is no event
            window.free_bytes += size_of(what)
        else:
            buffer.put((what, tick) if ends else (tick, what))
        return


def _make_room(window: Window) -> bool:
    """Drop some of the oldest records; whether there was anything to drop."""
    dropped_names = window.name_bytes > STATE.bytes_allowed // NAMES_PART
    if dropped_names:
        before = window.name_bytes
        CACHE.clear()
        dropped_names = window.name_bytes < before
    oldest: tuple[int, Buffer] | None = None
    for buffer in tuple(STATE.buffers):
        first = buffer.records[:2]
        if buffer.window is window and first:
            tick, _, _ = read_record(*first)
            if oldest is None or tick < oldest[0]:
                oldest = tick, buffer
    if oldest is None:
        return dropped_names
    buffer = oldest[1]
    records, begun, lane = buffer.records, buffer.begun, buffer.begun_lane
    count = 2 * max(len(records) // 2 // DROPPED_PART, DROPPED_RECORDS)
    old = records[:count]
    still_begun, lane, dropped, regained = _read(buffer.all_begun(window), lane, old)
    if buffer.window is window and buffer.begun is begun:  # from here on nothing is called
        buffer.begun = still_begun
        buffer.begun_lane = lane
        buffer.dropped += dropped
        window.free_bytes += regained
        del records[: len(old)]
    return True


def _read(
    before: list[Begun], lane: TaskLane | None, records: list[Any]
) -> tuple[list[Key | Begun], TaskLane | None, int, int]:
    """Read records that give way.

    Args:
        before: what began before them.
        lane: whose the first of them are.
        records: as records.py draws them.

    Returns:
        What has begun and not ended then, whose the next records are, how many are over, and their bytes.
    """
    begun: dict[int, Begun] = {}
    waiting: Waiting[int] = Waiting(None)
    dropped = len(records) // 2
    regained = dropped * RECORD_BYTES

    def begin(item: Begun, number: int) -> None:
        begun[number] = item
        waiting.begin(same_as(item.key), number)

    for number, item in enumerate(before, -len(before)):
        waiting.lane = item.lane
        begin(item, number)
    waiting.lane = lane
    for index in range(0, len(records), 2):
        tick, what, ends = read_record(records[index], records[index + 1])
        if ends:
            regained += size_of(what)
            mine = waiting.end(same_as(what.key if type(what) is Finish else what))
            if mine is not None:
                regained += begun.pop(mine).size_bytes
                dropped += 1
        elif type(what) is Turn:
            waiting.lane = what.lane
            dropped -= 1  # it is no event
        elif type(what) is Payload and not what.instant:
            size_bytes = what.size_bytes
            begin(Begun(int(tick), what.key, what.label, what.args, size_bytes, cut=False, lane=waiting.lane), index)
            dropped -= 1
        elif isinstance(what, tuple):
            regained += size_of(what)
        else:
            begin(Begun(int(tick), what, what.label, None, 0, cut=False, lane=waiting.lane), index)
            dropped -= 1
    return list(begun.values()), waiting.lane, dropped, regained
