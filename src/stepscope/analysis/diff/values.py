"""Counters and flows: which there are, what values the ones take, and how often the others come."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.run import Run

__all__ = ["compare_counters", "compare_flows", "loose_flows"]

STATISTICS = ("first", "last", "max", "mean")

# The process, the counter's name and its unit.
_Series = tuple[str, str, str]


def compare_counters(base: Sequence[Run], head: Sequence[Run]) -> list[Finding]:
    """Compare the first, last, largest and mean value of each counter.

    Of several runs, the values of one side are a range; what lies between two ranges is what differs.
    """
    sides = _statistics(base), _statistics(head)
    tolerance = base[0].words.rules.counter_tolerance
    processes = [{group.process for run in side for group in run.groups} for side in (base, head)]
    findings = []
    for series in sorted({*sides[0], *sides[1]}):
        process, name, unit = series
        if not all(process in side for side in processes):
            continue  # that the process is not there has been said
        where, ranges = Where(process), [side.get(series) for side in sides]
        label = f"{name} [{unit}]" if unit else name
        if ranges[0] is None or ranges[1] is None:
            kind = "new" if ranges[0] is None else "missing"
        elif any(_apart(one, other, tolerance) for one, other in zip(ranges[0], ranges[1], strict=True)):
            kind = "counter"
        else:
            continue
        shown = [_shown(side) if side else None for side in ranges]
        findings.append(Finding(kind, "counter", where, label, shown[0], shown[1], unit="values"))
    return findings


def _statistics(runs: Iterable[Run]) -> dict[_Series, list[tuple[float, float]]]:
    """The least and the largest of each of STATISTICS over all runs, by series."""
    found: dict[_Series, list[list[float]]] = {}
    for run in runs:
        values: dict[int, list[float]] = {}
        counters = run.trace.counters
        for track, value in zip(counters.track, counters.value, strict=True):
            values.setdefault(track, []).append(value)
        joined: dict[_Series, list[float]] = {}
        for number, of_track in values.items():
            series_track = run.trace.tracks[number]
            name = run.words.normal(series_track.name, "slice")
            joined.setdefault((run.groups[number].process, name, series_track.unit), []).extend(of_track)
        for series, of_series in joined.items():
            # Values far apart may add up to more than a double holds; each share of them does not.
            mean = sum(value / len(of_series) for value in of_series)
            one = [of_series[0], of_series[-1], max(of_series), mean]
            found.setdefault(series, []).append(one)
    return {
        series: [(min(of_runs), max(of_runs)) for of_runs in zip(*runs_of, strict=True)]
        for series, runs_of in found.items()
    }


def _apart(one: tuple[float, float], other: tuple[float, float], tolerance: float) -> bool:
    """Whether two ranges are further apart than the tolerance, a share of the larger value."""
    gap = max(one[0] - other[1], other[0] - one[1])
    return gap > tolerance * max(map(abs, (*one, *other)))


def _shown(ranges: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The middle of each range."""
    return {name: low / 2 + high / 2 for name, (low, high) in zip(STATISTICS, ranges, strict=True)}


def compare_flows(
    process: str,
    runs: tuple[Run, Run],
    gone: tuple[set[int], set[int]],
    steps: Sequence[tuple[int, int]],
    loose: frozenset[Group],
) -> list[Finding]:
    """Count the flows of each name that begin in a process; those to or from what has come, gone or moved are left out.

    Args:
        process: its name.
        runs: of base and of head.
        gone: rows of each, whose subtrees are accounted for.
        steps: pairs of step numbers.
        loose: threads that run free; flows from or to them are left out.
    """
    counts = [_flows(process, runs[side], gone[side], {pair[side] for pair in steps}, loose) for side in (0, 1)]
    findings = []
    for name in sorted({*counts[0], *counts[1]}):
        one, other = counts[0][name], counts[1][name]
        if one != other:
            kind = "more" if other > one else "fewer"
            if not one or not other:
                kind = "missing" if one else "new"
            findings.append(Finding(kind, "flow", Where(process), name, one, other, unit="calls"))
    return findings


def _flows(process: str, run: Run, gone: set[int], compared: set[int], loose: frozenset[Group]) -> "Counter[str]":
    """How many flows there are of each name, in steps that are compared."""
    found: Counter[str] = Counter()
    for name, rows in _flows_from(process, run):
        if all(gone.isdisjoint(run.above(row)) and run.group_of(row) not in loose for row in rows):
            found[name] += all(run.step_of(row) in compared for row in rows)
    return +found


def loose_flows(process: str, run: Run, loose: frozenset[Group]) -> "Counter[str]":
    """How many flows there are of each name from or to threads that run free."""
    return Counter(name for name, rows in _flows_from(process, run) if any(run.group_of(row) in loose for row in rows))


def _flows_from(process: str, run: Run) -> Iterator[tuple[str, list[int]]]:
    """The flows that begin in a process: the name and the rows of each."""
    flows, columns = run.trace.flows, run.trace.columns
    rows_of: list[list[int]] = [[] for _ in flows.name]
    for flow, row in zip(flows.flow, flows.row, strict=True):
        rows_of[flow].append(row)
    names: dict[int, str] = {}
    for name, rows in zip(flows.name, rows_of, strict=True):
        if run.groups[columns.track[rows[0]]].process == process:
            if name not in names:
                names[name] = run.words.normal(run.trace.strings[name], "slice")
            yield names[name], rows
