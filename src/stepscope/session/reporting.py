"""What can be asked of a profile's finished cycles: sessions, traces, events, averages, files."""

import os
from collections import deque
from typing import TYPE_CHECKING

from stepscope.model.errors import LifecycleError
from stepscope.model.trace import Trace
from stepscope.session.session import Session

if TYPE_CHECKING:
    from stepscope.analysis.averages import Averages
    from stepscope.analysis.events import FunctionEvent

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

    def events(self) -> "list[FunctionEvent]":
        """The slices of the last finished cycle, or of every one kept with acc_events, in order of time.

        Raises:
            LifecycleError: no cycle has finished yet.
        """
        from stepscope.analysis.events import function_events

        return [event for trace in self._reported() for event in function_events(trace)]

    def key_averages(self) -> "Averages":
        """Those slices grouped by name.

        Raises:
            LifecycleError: no cycle has finished yet.
        """
        from stepscope.analysis.averages import key_averages

        return key_averages(self._reported())

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
