"""A session: one recorded cycle, sealed."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from stepscope.model.trace import Trace

__all__ = ["Session"]


class Session:
    """One recorded cycle.

    Attributes:
        cycle: its number, counted from 0 over the profiler's life.
        first_step, last_step: the steps recorded, both included.
        partial: it did not run to its planned end: the schedule or the program's end cut it short.
        trace_id: as `profile.get_trace_id` gave it.
    """

    def __init__(
        self,
        facts: Mapping[str, int | bool],
        trace_id: str,
        drain: Callable[[], Trace],
        metadata: Mapping[str, Any],
    ) -> None:
        self.cycle = int(facts["cycle"])
        self.first_step = int(facts["first_step"])
        self.last_step = int(facts["last_step"])
        self.partial = bool(facts["partial"])
        self.trace_id = trace_id
        self._drain: Callable[[], Trace] | None = drain
        self._trace = Trace()
        self._metadata = metadata
        self._lock = threading.Lock()

    @property
    def trace(self) -> Trace:
        """What was recorded. Pairing the records waits until somebody asks."""
        with self._lock:
            if self._drain is not None:
                self._trace, self._drain = self._drain(), None
            if self._metadata:
                self._trace, self._metadata = self._trace.with_metadata(self._metadata), {}
            return self._trace

    def amend(self, metadata: Mapping[str, Any]) -> None:
        """Let the trace carry this user metadata, as torch's add_metadata does after a cycle."""
        with self._lock:
            self._metadata = metadata

    def __repr__(self) -> str:
        partial = ", partial" if self.partial else ""
        return f"<Session: cycle {self.cycle}, steps {self.first_step} to {self.last_step}{partial}>"
