"""A session: one recorded cycle, sealed."""

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from weakref import WeakSet

from stepscope.model.trace import Origin, Trace

__all__ = ["Session"]


class Session:
    """One recorded cycle.

    Attributes:
        cycle: its number, counted from 0 over the profiler's life.
        first_step, last_step: the steps recorded, both included.
        partial: it did not run to its planned end: the schedule or the program's end cut it short.
        trace_id: as `profile.get_trace_id` gave it.
        origin: where it was recorded, known without pairing; the user's metadata is in `trace.origin` only.
    """

    def __init__(self, origin: Origin, drain: Callable[[], Trace], metadata: Mapping[str, Any]) -> None:
        self.cycle = int(origin.session["cycle"])
        self.first_step = int(origin.session["first_step"])
        self.last_step = int(origin.session["last_step"])
        self.partial = bool(origin.session["partial"])
        self.trace_id = origin.trace_id
        self.origin = origin
        self._drain: Callable[[], Trace] | None = drain
        self._trace = Trace()
        self._metadata = metadata
        self._carried: Mapping[str, Any] | None = None
        self._lock = threading.Lock()
        _ALIVE.add(self)

    @property
    def trace(self) -> Trace:
        """What was recorded. Pairing the records waits until somebody asks, such as the writer thread."""
        return self._carrying(self._metadata)

    def is_empty(self) -> bool:
        """Whether there is nothing in the trace, and nothing was dropped from it."""
        trace = self.trace
        return not len(trace) and not len(trace.counters.ts) and all(one.kind == "partial" for one in trace.problems)

    def as_of_now(self) -> Callable[[], Trace]:
        """The trace, for later: with the metadata of this moment, whatever is added until then."""
        return partial(self._carrying, self._metadata)

    def amend(self, metadata: Mapping[str, Any]) -> None:
        """Let the trace carry this user metadata, as torch's add_metadata does after a cycle."""
        # No lock: the program must not wait for a pairing that the writer thread is at.
        self._metadata = metadata

    def _carrying(self, metadata: Mapping[str, Any]) -> Trace:
        with self._lock:
            if self._drain is not None:
                self._trace, self._drain = self._drain(), None
            if metadata is not self._carried:
                self._trace, self._carried = self._trace.with_metadata(metadata), metadata
            return self._trace

    def __repr__(self) -> str:
        how = ", partial" if self.partial else ""
        return f"<Session: cycle {self.cycle}, steps {self.first_step} to {self.last_step}{how}>"


_ALIVE: "WeakSet[Session]" = WeakSet()


def _renew_locks() -> None:
    """In a forked child no thread is left that could release a lock it held."""
    for session in _ALIVE:
        session._lock = threading.Lock()  # noqa: SLF001 - of this file


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
