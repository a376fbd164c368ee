"""The events of traces as a list that makes its items when they are asked for."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, overload

from stepscope.analysis.average import Average
from stepscope.analysis.averages import Averages, average_trees
from stepscope.analysis.events import FunctionEvent
from stepscope.analysis.grouping import Grouping
from stepscope.analysis.report import Exporter, Report
from stepscope.analysis.table import SORTABLE
from stepscope.analysis.tree import Tree
from stepscope.model.trace import Trace

__all__ = ["Events"]


class Events(Report, Sequence[FunctionEvent]):
    """Every event of some traces, in their order; views on columns, made when they are asked for.

    Source: torch's EventList. list(events) is a list to sort and change.

    Attributes:
        trees: of each trace.

    Args:
        traces: cycles of one program.
        export: what export_chrome_trace calls.
    """

    _sortable = (*SORTABLE, "thread", "rank", "start_ns", "end_ns", "duration_ns")

    def __init__(self, traces: Iterable[Trace], export: Exporter | None = None) -> None:
        self.trees = [Tree(trace) for trace in traces]
        self._export = export
        self.problems = tuple(problem for tree in self.trees for problem in tree.trace.problems)

    @cached_property
    def _ends(self) -> list[int]:
        """Where each trace's events end in the list."""
        return list(accumulate(len(tree.rows) for tree in self.trees))

    @property
    def self_cpu_time_total(self) -> float:
        """The time all events spent in themselves, in us."""
        return self.key_averages().self_cpu_time_total

    def total_average(self) -> Average:
        """One row of the key "Total" that all events add up to; its averages mix all names."""
        return self.key_averages().total_average()

    def _rows(self) -> Sequence[Any]:
        return self

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, place: int) -> FunctionEvent: ...

    @overload
    def __getitem__(self, place: slice) -> list[FunctionEvent]: ...

    def __getitem__(self, place: int | slice) -> FunctionEvent | list[FunctionEvent]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        at = place + len(self) if place < 0 else place
        if not 0 <= at < len(self):
            message = f"there is no event {place}, there are {len(self)}"
            raise IndexError(message)
        number = bisect_right(self._ends, at)
        tree = self.trees[number]
        return FunctionEvent(tree, tree.rows[at - self._ends[number] + len(tree.rows)])

    def __iter__(self) -> Iterator[FunctionEvent]:
        return (FunctionEvent(tree, row) for tree in self.trees for row in tree.rows)

    def __repr__(self) -> str:
        return f"<Events: {len(self)} of {len(self.trees)} traces>"

    def key_averages(
        self,
        group_by_input_shapes: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
        *,
        group_by_thread: bool = False,
        group_by_rank: bool = False,
        group_by_step: bool = False,
    ) -> Averages:
        """The events grouped by name, as `analysis.averages.key_averages`."""
        by = Grouping(
            group_by_input_shapes,
            group_by_stack_n,
            group_by_overload_name,
            thread=group_by_thread,
            rank=group_by_rank,
            step=group_by_step,
        )
        return average_trees(self.trees, by, self._export)
