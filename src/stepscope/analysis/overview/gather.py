"""The figures of an overview: what each step is made of, how busy threads are, what counters stood at."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from stepscope.analysis.kinds import key_of
from stepscope.analysis.picture import Point
from stepscope.analysis.tree import Step, Tree
from stepscope.model.trace import INSTANT, Trace

__all__ = ["Busy", "Cycle", "Series", "StepParts", "busy_threads", "colour_order", "counter_series"]


@dataclass(frozen=True)
class StepParts:
    """A step and what is directly in it, on its own thread.

    Attributes:
        number: the step's.
        dur_ns: how long it took.
        parts: name -> ns; the rest of the step is its own.
    """

    number: int
    dur_ns: int
    parts: Mapping[str, int]

    @property
    def own_ns(self) -> int:
        """What nothing in the step accounts for."""
        return self.dur_ns - sum(self.parts.values())


class Cycle:
    """One recorded cycle.

    Attributes:
        name: what the page calls it.
        trace, tree: what was recorded.
        begin_ns, end_ns: the first and the last moment of the trace.
    """

    def __init__(self, name: str, trace: Trace) -> None:
        self.name = name
        self.trace = trace
        self.tree = Tree(trace)
        columns, counted = trace.columns, trace.counters.ts
        ends = [max(map(int.__add__, columns.ts, columns.dur), default=0), *counted[-1:]]
        self.begin_ns = min([*columns.ts[:1], *counted[:1]], default=0)
        self.end_ns = max(ends)

    @property
    def rank(self) -> int:
        """Of the process that was recorded."""
        return self.trace.origin.rank

    @cached_property
    def steps(self) -> list[StepParts]:
        """The steps, in order of time."""
        return [self._parts_of(step) for step in self.tree.steps]

    @property
    def median_step_ns(self) -> float:
        """The middle of the steps' lengths; 0 without steps."""
        return median(step.dur_ns for step in self.steps) if self.steps else 0.0

    def _parts_of(self, step: Step) -> StepParts:
        columns, strings = self.trace.columns, self.trace.strings
        parts: Counter[str] = Counter()
        for row in self.tree.children.get(step.row, ()):
            if not columns.kind[row] & INSTANT:
                parts[key_of(strings[columns.name[row]])] += columns.dur[row]
        return StepParts(step.number, columns.dur[step.row], parts)


def colour_order(cycles: Iterable[Cycle]) -> list[str]:
    """The names of the parts of all steps, the slowest first."""
    total: Counter[str] = Counter()
    for cycle in cycles:
        for step in cycle.steps:
            total.update(step.parts)
    return [name for name, _ in total.most_common()]


@dataclass(frozen=True)
class Busy:
    """How much of the recorded time something ran on a thread."""

    rank: int
    thread: str
    busy_ns: int
    recorded_ns: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(self.busy_ns / self.recorded_ns, 1.0) if self.recorded_ns else 0.0


def busy_threads(cycles: Sequence[Cycle]) -> list[Busy]:
    """Threads by rank and name, the busiest of each rank first.

    Threads of one name, as those of a pool are, count as one whose share is their mean. A step is not work: what is
    in it is. Lanes, on which overlapping slices are laid, are left out: their thread was busy at that time already.
    """
    busy: Counter[tuple[int, str]] = Counter()
    recorded: Counter[tuple[int, str]] = Counter()
    for cycle in cycles:
        trace, tree, columns = cycle.trace, cycle.tree, cycle.trace.columns
        steps = {step.row for step in tree.steps}
        threads = {number for number, track in enumerate(trace.tracks) if track.kind == "thread"}
        for number in threads:
            recorded[cycle.rank, trace.tracks[number].name] += cycle.end_ns - cycle.begin_ns
        for row, above in enumerate(tree.folded.above):
            outermost = above == -1 or above in steps
            if outermost and row not in steps and columns.track[row] in threads and not columns.kind[row] & INSTANT:
                busy[cycle.rank, trace.tracks[columns.track[row]].name] += columns.dur[row]
    found = [Busy(rank, thread, busy[rank, thread], time) for (rank, thread), time in recorded.items()]
    return sorted(found, key=lambda each: (each.rank, -each.share, each.thread))


@dataclass(frozen=True)
class Series:
    """What a counter stood at in one cycle."""

    cycle: Cycle
    points: list[Point]


def counter_series(cycles: Iterable[Cycle]) -> dict[tuple[str, str], list[Series]]:
    """The values of every counter, by name and unit, a cycle at a time."""
    found: defaultdict[tuple[str, str], list[Series]] = defaultdict(list)
    for cycle in cycles:
        counters = cycle.trace.counters
        of_track: defaultdict[int, list[Point]] = defaultdict(list)
        for ts, value, track in zip(counters.ts, counters.value, counters.track, strict=True):
            of_track[track].append((ts, value))
        for track, points in of_track.items():
            counter = cycle.trace.tracks[track]
            found[counter.name, counter.unit].append(Series(cycle, points))
    return dict(found)
