"""Tasks' lanes as a trace shows them: a server that runs a task a request would have a lane for each.

A task has a lane of its own, called as it is. Tasks of one name that follow one another share a lane, as do the tasks
of `asyncio.run` in a loop. Where that leaves more lanes than MANY, tasks whose names differ in numbers only count as of
one name, "Task-*", and if that does not help either, all do; the outermost rows of each have an argument then, "Task
name". At no time are two tasks on one lane.
"""

import re
from array import array
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any, NamedTuple

from stepscope.core.rows import Paired, PairedTrack

__all__ = ["MANY", "share_lanes"]

MANY = 200
# The argument that tells tasks on a lane of several names apart.
TASK = "Task name"

# How tasks may be called on their lanes, in the order in which it is tried.
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: re.sub("[0-9]+", "*", name),
    lambda _: "*",
)


class _Extent(NamedTuple):
    """When a task has rows: from `start` to `end`, on a track of pairing."""

    start: int
    end: int
    track: int


def share_lanes(paired: Paired) -> Paired:
    """Let tasks share lanes; the same Paired where none can."""
    tasks = [number for number, track in enumerate(paired.tracks) if track.kind == "task"]
    names = {paired.tracks[number].name for number in tasks}
    if len(names) == len(tasks) <= MANY:
        return paired
    extents = _extents(paired, tasks)
    for spelling in SPELLINGS:
        lanes = _lanes(paired.tracks, extents, spelling)
        if len(set(lanes.values())) <= MANY:
            break
    numbers = {lane: number for number, lane in enumerate(dict.fromkeys(lanes.values()))}
    threads = [number for number, track in enumerate(paired.tracks) if track.kind != "task"]
    place = {number: len(numbers) + at for at, number in enumerate(threads)}
    place.update((number, numbers[lane]) for number, lane in lanes.items())
    tracks = [PairedTrack("task", 0, name) for name, _ in numbers] + [paired.tracks[number] for number in threads]
    args = paired.args if spelling is SPELLINGS[0] else _told_apart(paired, lanes)
    moved = paired.columns._replace(track=array("I", map(place.__getitem__, paired.columns.track)))
    return paired._replace(columns=moved, tracks=tracks, args=args)


def _extents(paired: Paired, tasks: list[int]) -> list[_Extent]:
    """When each task has rows, the earliest first."""
    columns = paired.columns
    starts: dict[int, int] = {}
    ends = dict.fromkeys(tasks, -1)
    for track, ts, dur in zip(columns.track, columns.ts, columns.dur, strict=True):
        if track in ends:
            starts[track] = min(starts.get(track, ts), ts)
            ends[track] = max(ends[track], ts + dur)
    return sorted(_Extent(starts[track], ends[track], track) for track in tasks)


def _lanes(
    tracks: list[PairedTrack], extents: list[_Extent], spelling: Callable[[str], str]
) -> dict[int, tuple[str, int]]:
    """The lane of each task: what it is called, and which one of that name; as few as there are tasks at one time."""
    lanes: dict[int, tuple[str, int]] = {}
    free: dict[str, list[int]] = {}
    taken: dict[str, list[tuple[int, int]]] = {}
    for start, end, track in extents:
        name = spelling(tracks[track].name)
        mine, others = free.setdefault(name, []), taken.setdefault(name, [])
        while others and others[0][0] < start:
            heappush(mine, heappop(others)[1])
        lane = heappop(mine) if mine else len(others)
        heappush(others, (end, lane))
        lanes[track] = name, lane
    return lanes


def _told_apart(paired: Paired, lanes: Mapping[int, Any]) -> dict[int, Mapping[str, Any]]:
    """The arguments of all rows; those that are outermost on their task's lane say what it is called."""
    columns, args = paired.columns, dict(paired.args)
    until: dict[int, int] = {}
    for row, (track, ts, dur) in enumerate(zip(columns.track, columns.ts, columns.dur, strict=True)):
        if track in lanes and ts >= until.get(track, 0):
            until[track] = ts + dur
            args[row] = {TASK: paired.tracks[track].name, **args.get(row, {})}
    return args
