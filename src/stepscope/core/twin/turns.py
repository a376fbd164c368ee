"""Turns: tasks take turns on a thread, and its records say whose what follows is.

A thread asks only while some loop is in a step of a task, or while its last event was in one: else it has no lane, and
its spans stand on its own track.
"""

from typing import Any

from stepscope.core.twin.lanes import TASKS, TaskLane
from stepscope.core.twin.recorder import LOCAL, STATE, Buffer, Charge, Window, adopt_thread
from stepscope.core.twin.records import Key, Turn
from stepscope.core.twin.recycle import put_late
from stepscope.core.values import weight

__all__ = ["enter_task", "lane_here", "leave_task", "turn"]

# About what a lane takes besides its task's name.
LANE_BYTES = 512
# With so many lanes more than after the last time, those of tasks that have ended are looked for.
MANY_LANES = 64


def turn(buffer: Buffer, *, ends: bool = False) -> list[Key]:
    """Let what the calling thread records next stand where it is now, in a task or in none.

    Args:
        buffer: the calling thread's.
        ends: a span that is open there is about to end.

    Returns:
        The spans that are open there.
    """
    before, lane = buffer.lane, _lane_now(buffer)
    # As it comes, and when its outermost span ends: that may be the last that is seen of it.
    if lane is not None and (lane is not before or (ends and len(lane.open) == 1)):
        lane.ask_name()
    buffer.lane = lane
    window = STATE.window
    if window is not None:
        if buffer.window is not window:
            buffer.join(window)
        if buffer.turned is not lane:
            _put_turn(buffer, window, lane)
    return buffer.open if lane is None else lane.open


def lane_here() -> TaskLane | None:
    """The lane of the task that the calling thread is in; None: it is in none."""
    try:
        buffer: Buffer = LOCAL.buffer
    except AttributeError:
        buffer = adopt_thread()
    turn(buffer)
    return buffer.lane


def enter_task(task: Any) -> None:
    """The calling thread comes to a task, in which it is until `leave_task`; where asyncio knows of one, it is in that.

    Args:
        task: anything with a name that can be referred to weakly; the same object each time.
    """
    try:
        buffer = LOCAL.buffer
    except AttributeError:
        buffer = adopt_thread()
    buffer.entered = _lane_of(buffer, task)
    turn(buffer)


def leave_task() -> None:
    """The calling thread leaves the task that it has entered."""
    try:
        buffer = LOCAL.buffer
    except AttributeError:
        return
    buffer.entered = None


def _lane_now(buffer: Buffer) -> TaskLane | None:
    task = TASKS.running.get(TASKS.loop_here()) if TASKS.running else None
    if task is None:
        return buffer.entered
    lane = buffer.lane
    return lane if lane is not None and lane.task() is task else _lane_of(buffer, task)


def _lane_of(buffer: Buffer, task: Any) -> TaskLane | None:
    """The lane of a task on a thread; None for what cannot be referred to weakly."""
    lane = buffer.lanes.get(id(task))
    if lane is not None and lane.task() is task:
        return lane
    try:
        made = TaskLane(task)
    except TypeError:
        return None
    if len(buffer.lanes) >= buffer.many_lanes:
        for key, old in tuple(buffer.lanes.items()):
            if old.is_over():
                buffer.lanes.pop(key, None)
        buffer.many_lanes = 2 * len(buffer.lanes) + MANY_LANES
    lane = buffer.lanes.get(id(task))
    if lane is not None and lane.task() is task:
        return lane  # a signal's handler has made it meanwhile
    if lane is not None and lane.open:  # of a task that was where this one is now; somebody may end its spans
        buffer.lanes[-id(lane)] = lane
    buffer.lanes[id(task)] = made
    return made


def _put_turn(buffer: Buffer, window: Window, lane: TaskLane | None) -> None:
    if lane is not None and getattr(lane, "charge", None) is None:
        size_bytes = LANE_BYTES + weight(lane.name)
        window.free_bytes -= size_bytes
        lane.charge = Charge(window, size_bytes)
    try:
        buffer.put((next(window.granted), Turn(lane)))
    except StopIteration:
        put_late(buffer, window, Turn(lane))
    buffer.turned = lane
