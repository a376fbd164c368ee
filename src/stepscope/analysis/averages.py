"""Events grouped by name: how often, how long, how much of that in themselves.

Source: torch's key_averages; a list of rows that prints as a table.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepscope.analysis.average import Average
from stepscope.analysis.grouping import Grouping, group_events
from stepscope.analysis.report import Exporter, Report
from stepscope.analysis.stacks import has_stacks
from stepscope.analysis.table import SORTABLE, SORTABLE_AVERAGES, Look, render_markdown
from stepscope.analysis.tree import Tree
from stepscope.model.errors import StepscopeWarning
from stepscope.model.packed_args import items_with
from stepscope.model.trace import Problem, Trace

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Averages", "average_trees", "key_averages"]


class Averages(Report, list[Average]):
    """Rows in order of first appearance."""

    def __init__(
        self,
        rows: Iterable[Average] = (),
        problems: Iterable[Problem] = (),
        by: Grouping | None = None,
        export: Exporter | None = None,
    ) -> None:
        super().__init__(rows)
        self.problems = tuple(problems)
        self._by = by or Grouping()
        self._export = export
        asked = (("rank", self._by.rank), ("thread", self._by.thread), ("step", self._by.step))
        more = [name for name, is_asked in asked if is_asked]
        self._sortable = (*SORTABLE, *SORTABLE_AVERAGES, *more)

    @property
    def self_cpu_time_total(self) -> float:
        """The time all rows spent in themselves, in us."""
        return sum(row.self_ns for row in self) / 1000

    def total_average(self) -> Average:
        """One row of the key "Total" that all rows add up to; its averages mix all names."""
        total = Average("Total")
        for row in self:
            total.include(row)
        total.first = None
        return total

    def _rows(self) -> Sequence["Any"]:
        return self

    def table(  # noqa: PLR0917 - torch's signature
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int | None = 75,
        max_name_column_width: int | None = 55,
        max_shapes_column_width: int | None = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
        *,
        stats: bool = False,
        per_step: bool = False,
    ) -> str:
        """As `Report.table`, and more columns that torch lacks.

        Args:
            sort_by: an attribute of `Average`, largest first; None keeps the order.
            row_limit: how many rows; -1 for all.
            max_src_column_width: how wide the calls may be; None for as wide as they are, like the next two.
            max_name_column_width: how wide the names may be.
            max_shapes_column_width: how wide the input shapes may be.
            header: a line above the table.
            top_level_events_only: leave out names whose first event is inside of another.
            time_unit: "s", "ms" or "us" for all times; None for what suits each.
            stats: add the median, the 95th percentile and the maximum.
            per_step: add calls and time in a step, and the share of the steps' time.

        Raises:
            AttributeError: rows have no such attribute to sort by.
            ValueError: there is no such unit.
        """
        look = Look(
            row_limit,
            max_src_column_width,
            max_name_column_width,
            max_shapes_column_width,
            header,
            top_level_events_only,
            time_unit,
            stats,
            per_step,
            self._by.rank,
            self._by.thread,
            self._by.step,
        )
        return self._table(sort_by, look)

    def markdown(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        *,
        time_unit: str | None = None,
        stats: bool = False,
        per_step: bool = False,
    ) -> str:
        """The same as a table of Markdown, and its footer as a list; arguments are those of `table`.

        Raises:
            AttributeError: rows have no such attribute to sort by.
            ValueError: there is no such unit.
        """
        look = Look(
            row_limit,
            max_name_column_width=None,
            time_unit=time_unit,
            stats=stats,
            per_step=per_step,
            by_rank=self._by.rank,
            by_thread=self._by.thread,
            by_step=self._by.step,
        )
        return self._table(sort_by, look, render_markdown)

    def sorted_by(self, sort_by: str | None) -> list[Average]:
        """The rows, largest first by an attribute; None keeps their order.

        Raises:
            AttributeError: rows have no such attribute to sort by.
        """
        return list(self._sorted(sort_by))

    def _why_no_stacks(self) -> str:
        if self._by.stack_n > 0:
            return super()._why_no_stacks()
        return "these rows are not grouped by stack. Use key_averages(group_by_stack_n=5).export_stacks(path)."


def key_averages(
    traces: Iterable[Trace],
    group_by_input_shape: bool = False,
    group_by_stack_n: int = 0,
    group_by_overload_name: bool = False,
    *,
    group_by_thread: bool = False,
    group_by_rank: bool = False,
    group_by_step: bool = False,
) -> Averages:
    """Group the events of traces by name, and by what else is asked for.

    Args:
        traces: cycles of one program, or the same steps of several ranks.
        group_by_input_shape: tell operators with other input shapes apart.
        group_by_stack_n: tell events apart by so many of the innermost calls around them.
        group_by_overload_name: tell the overloads of an operator apart.
        group_by_thread: tell threads apart.
        group_by_rank: tell ranks apart.
        group_by_step: tell steps apart; what is in none has the step -1.

    Source: torch.profiler.profile.key_averages of torch 2.13; the last three are ours.
    """
    by = Grouping(
        group_by_input_shape,
        group_by_stack_n,
        group_by_overload_name,
        thread=group_by_thread,
        rank=group_by_rank,
        step=group_by_step,
    )
    return average_trees([Tree(trace) for trace in traces], by)


def average_trees(trees: Sequence[Tree], by: Grouping, export: Exporter | None = None) -> Averages:
    """The same of trees that are known already."""
    _warn_if_missing(trees, by)
    problems = (problem for tree in trees for problem in tree.trace.problems)
    return Averages(group_events(trees, by), problems, by, export)


def _warn_if_missing(trees: Sequence[Tree], by: Grouping) -> None:
    """Say which of the things to group by no trace has."""
    missing = []
    for asked, what, argument in (
        (by.input_shape, "input shapes", "Input Dims"),
        (by.overload_name, "overload names", "Overload name"),
    ):
        if asked and not any(True for tree in trees for _ in items_with(tree.trace.args, argument)):
            missing.append(what)
    if by.stack_n > 0 and not any(map(has_stacks, trees)):
        missing.append("stacks")
    if missing:
        message = f"nothing that was recorded has {' or '.join(missing)}: rows are not told apart by that."
        warnings.warn(message, StepscopeWarning, stacklevel=4)
