"""The clocks of a .pftrace file, and how a time on one of them is a time of the trace.

A ClockSnapshot reads several clocks at one instant. From a time on one clock the way leads over those snapshots to
the trace's own clock; on each hop the latest snapshot counts that is not after the time, or the first.

Source: Perfetto's ClockTracker and docs/concepts/clock-sync.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

__all__ = ["BOOTTIME", "MONOTONIC", "REALTIME", "ClockReading", "Clocking", "Mapping"]

REALTIME, MONOTONIC, BOOTTIME = 1, 3, 6
FIRST_OF_SEQUENCE, FIRST_OF_ALL = 64, 128  # ids between are clocks of one sequence
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
# A way over more clocks than this is none: files that have one are made to take long.
MAX_VISITED = 64
MAX_UNIT_NS = 1 << 40

# A clock: its sequence, or 0 where it is everybody's, and its id.
Clock = tuple[int, int]


class ClockReading(NamedTuple):
    """One clock of a snapshot, in its own units."""

    clock: int
    time: int
    incremental: bool = False
    unit_ns: int = 1


class Mapping(NamedTuple):
    """From lowest to highest ns on a clock, the trace's time is ns + offset."""

    lowest: int
    highest: int
    offset: int


class Clocking:
    """All snapshots of a file.

    Attributes:
        trace_clock: the one that the trace's times are on.
        first: the clocks of the first snapshot that has the trace's, in ns.
    """

    def __init__(self) -> None:
        self.trace_clock: Clock = (0, BOOTTIME)
        self.first: dict[int, int] = {}
        self._units: dict[Clock, tuple[int, bool]] = {}
        # (from, to) -> ns on both at each snapshot that has both, in order of time on the first
        self._hops: dict[tuple[Clock, Clock], list[tuple[int, int]]] = {}
        self._near: dict[Clock, dict[Clock, None]] = {}
        self._ways: dict[Clock, list[tuple[Clock, Clock]] | None] = {}

    def clock(self, sequence: int, number: int) -> Clock:
        """The clock that packets of a sequence call by a number."""
        return (sequence if FIRST_OF_SEQUENCE <= number < FIRST_OF_ALL else 0), number

    def unit(self, clock: Clock) -> tuple[int, bool]:
        """A clock's unit in ns, and whether its times are differences."""
        return self._units.get(clock, (1, False))

    def snapshot(self, sequence: int, readings: Iterable[ClockReading], primary: int) -> bool:
        """Take a snapshot; returns whether it says anything of other clocks than the trace's and the sequence's own."""
        read: dict[Clock, int] = {}
        for reading in islice(readings, MAX_VISITED):
            clock = self.clock(sequence, reading.clock)
            unit_ns = min(max(reading.unit_ns, 1), MAX_UNIT_NS)
            if clock[0]:
                self._units[clock] = unit_ns, reading.incremental
            else:
                unit_ns = 1
            read[clock] = max(min(reading.time * unit_ns, INT64_MAX), INT64_MIN)
        if primary and not self.first:
            self.trace_clock = 0, primary
        if self.trace_clock in read and not self.first:
            self.first = {clock: ns for (owner, clock), ns in read.items() if owner == 0}
        for source, source_ns in read.items():
            for target, target_ns in read.items():
                # The way from one sequence's clock never leads over another's.
                if source != target and target[0] in (0, source[0]):
                    self._add_hop((source, target), (source_ns, target_ns))
        return any(owner == 0 and (owner, clock) != self.trace_clock for owner, clock in read)

    def mapping(self, clock: Clock) -> Mapping | None:
        """How times that are not before any snapshot so far are the trace's; None: no way leads there."""
        way = self._way(clock)
        if way is None:
            return None
        lowest, offset = INT64_MIN, 0
        for hop in way:
            source_ns, target_ns = self._hops[hop][-1]
            lowest = max(lowest, source_ns - offset)
            offset += target_ns - source_ns
        return Mapping(max(lowest, INT64_MIN - offset), min(INT64_MAX, INT64_MAX - offset), offset)

    def trace_time(self, clock: Clock, ns: int) -> int | None:
        """A time on a clock as the trace's; None: no way leads there."""
        way = self._way(clock)
        if way is None:
            return None
        for hop in way:
            readings = self._hops[hop]
            source_ns, target_ns = readings[max(bisect_right(readings, (ns, INT64_MAX + 1)) - 1, 0)]
            ns += target_ns - source_ns
        return ns

    def _add_hop(self, hop: tuple[Clock, Clock], reading: tuple[int, int]) -> None:
        readings = self._hops.get(hop)
        if readings is None:
            self._hops[hop] = [reading]
            source, target = hop
            self._near.setdefault(source, {})[target] = None
            self._ways.clear()
        elif readings[-1] <= reading:
            readings.append(reading)
        # A clock that is set back has two answers for one time: the earlier snapshots keep theirs.

    def _way(self, start: Clock) -> list[tuple[Clock, Clock]] | None:
        """The hops from a clock to the trace's, as few as can be."""
        if start not in self._ways:
            self._ways[start] = self._find_way(start)
        return self._ways[start]

    def _find_way(self, start: Clock) -> list[tuple[Clock, Clock]] | None:
        if start == self.trace_clock:
            return []
        came_from: dict[Clock, Clock] = {start: start}
        todo = [start]
        for clock in todo:
            near = self._near.get(clock, {})
            if self.trace_clock in near:
                way = [(clock, self.trace_clock)]
                while clock != start:
                    way.insert(0, (came_from[clock], clock))
                    clock = came_from[clock]
                return way
            for following in near:
                if len(came_from) == MAX_VISITED:
                    break
                if following not in came_from:
                    came_from[following] = clock
                    todo.append(following)
        return None
