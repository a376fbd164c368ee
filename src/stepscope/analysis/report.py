"""What can be done with a list of events and with one of averages alike: torch's EventList."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from stepscope.analysis.average import Average
from stepscope.analysis.events import FunctionEvent
from stepscope.analysis.stacks import METRICS, collapsed
from stepscope.analysis.table import SORTABLE, Look, render, sort_key
from stepscope.model.errors import AnalysisError
from stepscope.model.output import write_whole
from stepscope.model.trace import Problem

__all__ = ["Exporter", "Report"]

Exporter = Callable[[str | os.PathLike[str]], None]
Renderer = Callable[[Sequence[Any], Look, Iterable[str]], str]


class Report:
    """A list of rows that prints as a table.

    Attributes:
        problems: those of the traces that the rows are of.
    """

    problems: tuple[Problem, ...] = ()
    _export: Exporter | None = None
    _sortable: Sequence[str] = SORTABLE

    def _rows(self) -> Sequence[Any]:
        raise NotImplementedError

    def _table(self, sort_by: str | None, look: Look, render: Renderer = render) -> str:
        problems = (f"{each.count} {each.kind}: {each.example}" for each in self.problems)
        return render(self._sorted(sort_by), look, problems)

    def _sorted(self, sort_by: str | None) -> Sequence[Any]:
        rows = self._rows()
        if sort_by is None:
            return rows
        attribute = sort_key(sort_by, self._sortable)
        return sorted(rows, key=lambda row: getattr(row, attribute), reverse=True)

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
    ) -> str:
        """The rows as text, under torch's headings; what is not as it was in the traces is said below.

        Args:
            sort_by: an attribute of the rows, largest first; None keeps their order.
            row_limit: how many rows; -1 for all.
            max_src_column_width: how wide the calls may be; None for as wide as they are, like the next two.
            max_name_column_width: how wide the names may be.
            max_shapes_column_width: how wide the input shapes may be.
            header: a line above the table.
            top_level_events_only: leave out what is inside of another event.
            time_unit: "s", "ms" or "us" for all times; None for what suits each.

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
        )
        return self._table(sort_by, look)

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write what the profile recorded last, as `profile.export_chrome_trace` does.

        Raises:
            AnalysisError: the rows were not asked of a profile.
            ExportError: the file cannot be written.
        """
        if self._export is None:
            message = (
                "these rows are of traces that no profile holds. Write such a trace with stepscope.write(trace, path)."
            )
            raise AnalysisError(message)
        self._export(path)

    def supported_export_stacks_metrics(self) -> list[str]:
        """What export_stacks can weigh stacks by."""
        return list(METRICS)

    def export_stacks(self, path: str | os.PathLike[str], metric: str = "self_cpu_time_total") -> None:
        """Write the calls around each row and its us as "outer;inner 12" lines, which flame graph tools read.

        Raises:
            ValueError: there is no such metric.
            AnalysisError: no row has a stack, so there is nothing to write.
            ExportError: the file cannot be written.
        """
        if metric not in METRICS:
            message = f"metric should be one of: {list(METRICS)}, got {metric!r}"
            raise ValueError(message)
        rows = self._rows()
        if not any(row.stack for row in rows):
            raise AnalysisError(self._why_no_stacks())
        write_whole(path, self._weighed(rows, METRICS[metric]))

    def _weighed(self, rows: Sequence[Average | FunctionEvent], attribute: str) -> Iterator[bytes]:
        return collapsed((row.stack, getattr(row, attribute)) for row in rows)

    def _why_no_stacks(self) -> str:
        return "no event has a stack: calls were not traced. Record with with_stack=True."
