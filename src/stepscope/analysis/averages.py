"""Slices grouped by name: how often, how long, and how much of that in themselves.

Source: torch's key_averages; a list of rows that prints as a table. Times under torch's names are microseconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from stepscope.analysis.events import key_of
from stepscope.analysis.table import Column, render, show_time
from stepscope.model.nesting import nest
from stepscope.model.trace import INSTANT, Problem, Trace

__all__ = ["Average", "Averages", "key_averages"]


@dataclass(frozen=True)
class Average:
    """All slices of one name.

    Attributes:
        key: the name; steps are all "ProfilerStep*".
        count: how many.
        cpu_time_total, self_cpu_time_total: us, with and without what their children took.
        cpu_time_min, cpu_time_max: us, the shortest and the longest one.
    """

    key: str
    count: int
    cpu_time_total: float
    self_cpu_time_total: float
    cpu_time_min: float
    cpu_time_max: float

    @property
    def cpu_time(self) -> float:
        """The average length, in us."""
        return self.cpu_time_total / self.count


class Averages(list[Average]):
    """Rows in order of first appearance.

    Attributes:
        problems: those of the traces that were averaged.
    """

    def __init__(self, rows: Iterable[Average], problems: Iterable[Problem] = ()) -> None:
        super().__init__(rows)
        self.problems = tuple(problems)

    @property
    def self_cpu_time_total(self) -> float:
        """The time all rows spent in themselves, in us."""
        return sum(row.self_cpu_time_total for row in self)

    def table(self, sort_by: str | None = None, row_limit: int = 100) -> str:
        """The rows as text, under torch's headings.

        Args:
            sort_by: an attribute of Average, largest first; None keeps the order of first appearance.
            row_limit: how many rows; -1 for all.

        Raises:
            AttributeError: a row has no such attribute.
        """
        rows = list(self)
        if sort_by is not None:
            rows.sort(key=lambda row: getattr(row, _known(sort_by)), reverse=True)
        if row_limit >= 0:
            rows = rows[:row_limit]
        own = self.self_cpu_time_total or 1.0
        columns = (
            Column("Name", lambda row: row.key, "text"),
            Column("Self CPU %", lambda row: row.self_cpu_time_total / own, "share"),
            Column("Self CPU", lambda row: row.self_cpu_time_total, "time"),
            Column("CPU total %", lambda row: row.cpu_time_total / own, "share"),
            Column("CPU total", lambda row: row.cpu_time_total, "time"),
            Column("CPU time avg", lambda row: row.cpu_time, "time"),
            Column("# of Calls", lambda row: row.count, "count"),
        )
        footer = [f"Self CPU time total: {show_time(self.self_cpu_time_total)}"]
        footer += [f"{problem.count} {problem.kind}: {problem.example}" for problem in self.problems]
        return render(columns, rows, footer)


def _known(attribute: str) -> str:
    if attribute not in Average.__dataclass_fields__ and attribute != "cpu_time":
        known = ", ".join([*Average.__dataclass_fields__, "cpu_time"])
        message = f"cannot sort by {attribute!r}. Use one of {known}."
        raise AttributeError(message)
    return attribute


def key_averages(traces: Iterable[Trace]) -> Averages:
    """Group the slices of traces by name."""
    groups: dict[str, list[tuple[int, int]]] = {}
    problems: list[Problem] = []
    for trace in traces:
        problems += trace.problems
        keys = [key_of(text) for text in trace.strings]
        columns, own = trace.columns, nest(trace).self_ns
        for name, dur, self_ns, kind in zip(columns.name, columns.dur, own, columns.kind, strict=True):
            if not kind & INSTANT:
                groups.setdefault(keys[name], []).append((dur, self_ns))
    return Averages((_average(key, times) for key, times in groups.items()), problems)


def _average(key: str, times: list[tuple[int, int]]) -> Average:
    durations = [dur for dur, _ in times]
    return Average(
        key,
        len(times),
        sum(durations) / 1000,
        sum(self_ns for _, self_ns in times) / 1000,
        min(durations) / 1000,
        max(durations) / 1000,
    )
