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
# The clocks that some snapshots have in common, each with its ns at all of them.
Group = dict[Clock, list[int]]


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
        self._groups: dict[frozenset[Clock], Group] = {}
        # For each clock the groups that lead on from it. One of a sequence leads anywhere, others never to those.
        self._near: dict[Clock, list[Group]] = {}
        self._ways: dict[Clock, list[Hop] | None] = {}

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
        everybodys = {clock: ns for clock, ns in read.items() if clock[0] == 0}
        self._add(everybodys, list(everybodys))
        if len(everybodys) < len(read):
            self._add(read, [clock for clock in read if clock[0]])
        return any(owner == 0 and (owner, clock) != self.trace_clock for owner, clock in read)

    def mapping(self, clock: Clock) -> Mapping | None:
        """How times that are not before any snapshot so far are the trace's; None: no way leads there."""
        way = self._way(clock)
        if way is None:
            return None
        lowest, offset = INT64_MIN, 0
        for source, target, group in way:
            source_ns, target_ns = group[source][-1], group[target][-1]
            lowest = max(lowest, source_ns - offset)
            offset += target_ns - source_ns
        return Mapping(max(lowest, INT64_MIN - offset), min(INT64_MAX, INT64_MAX - offset), offset)

    def trace_time(self, clock: Clock, ns: int) -> int | None:
        """A time on a clock as the trace's; None: no way leads there."""
        way = self._way(clock)
        if way is None:
            return None
        for source, target, group in way:
            at = max(bisect_right(group[source], ns) - 1, 0)
            ns += group[target][at] - group[source][at]
        return ns

    def _add(self, read: dict[Clock, int], starts: list[Clock]) -> None:
        """Add a snapshot to the group of its clocks, which leads on from some of them."""
        if len(read) < 2:
            return
        key = frozenset(read)
        if key not in self._groups:
            self._groups[key] = {clock: [] for clock in read}
            for clock in starts:
                self._near.setdefault(clock, []).append(self._groups[key])
            self._ways.clear()
        for clock, ns in read.items():
            self._groups[key][clock].append(ns)

    def _way(self, start: Clock) -> "list[Hop] | None":
        """The hops from a clock to the trace's, as few as can be."""
        if start not in self._ways:
            self._ways[start] = self._find_way(start)
        return self._ways[start]

    def _find_way(self, start: Clock) -> "list[Hop] | None":
        ways: dict[Clock, list[Hop]] = {start: []}
        todo = [start]
        for clock in todo:
            if clock == self.trace_clock:
                return ways[clock]
            for group in self._near.get(clock, [])[:MAX_VISITED]:
                for following in (self.trace_clock, *group):
                    if following in group and following not in ways and len(ways) < MAX_VISITED:
                        ways[following] = [*ways[clock], (clock, following, group)]
                        todo.append(following)
        return None


# From a clock to another, over what snapshots say of both.
Hop = tuple[Clock, Clock, Group]
