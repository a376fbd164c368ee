"""A trace's slices as torch's FunctionEvents: views on the columns, made when asked for.

Source: torch.autograd.profiler_util.FunctionEvent of torch 2.13. Times under torch's names are microseconds.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from stepscope.model.nesting import Nesting, nest
from stepscope.model.trace import INSTANT, Row, Trace

__all__ = ["FunctionEvent", "Interval", "function_events", "key_of"]

_STEP = re.compile(r"ProfilerStep#\d+\Z")


def key_of(name: str) -> str:
    """The name that averages go by: steps are one kind of slice, whatever their number."""
    return "ProfilerStep*" if _STEP.match(name) else name


class Interval(NamedTuple):
    """A stretch of time, in us since the trace's base."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        """Its length."""
        return self.end - self.start


class FunctionEvent:
    """One slice.

    Attributes:
        id: its row in the trace.
        trace_name: as in the files; `name` is the same but for steps, which are all "ProfilerStep*".
    """

    __slots__ = ("_nesting", "_trace", "id")

    count = 1

    def __init__(self, trace: Trace, nesting: Nesting, row: int) -> None:
        self._trace = trace
        self._nesting = nesting
        self.id = row

    @property
    def _row(self) -> Row:
        return self._trace[self.id]

    @property
    def trace_name(self) -> str:
        """Its name in the files."""
        return self._trace.strings[self._trace.columns.name[self.id]]

    @property
    def name(self) -> str:
        """Its name in averages."""
        return key_of(self.trace_name)

    key = name

    @property
    def thread(self) -> int:
        """The id of its thread."""
        return self._row.track.tid

    @property
    def start_ns(self) -> int:
        """Its start, in ns since the trace's base."""
        return self._trace.columns.ts[self.id]

    @property
    def duration_ns(self) -> int:
        """Its length, in ns."""
        return self._trace.columns.dur[self.id]

    @property
    def end_ns(self) -> int:
        """Its end, in ns since the trace's base."""
        return self.start_ns + self.duration_ns

    @property
    def time_range(self) -> Interval:
        """Its start and end, in us since the trace's base."""
        return Interval(self.start_ns / 1000, self.end_ns / 1000)

    @property
    def cpu_time_total(self) -> float:
        """Its length, in us."""
        return self.duration_ns / 1000

    @property
    def self_cpu_time_total(self) -> float:
        """Its length without its children's, in us."""
        return self._nesting.self_ns[self.id] / 1000

    @property
    def cpu_parent(self) -> "FunctionEvent | None":
        """The slice around it."""
        parent = self._nesting.parent[self.id]
        return None if parent < 0 else FunctionEvent(self._trace, self._nesting, parent)

    @property
    def cpu_children(self) -> list["FunctionEvent"]:
        """The slices directly inside it."""
        end, track = self.end_ns, self._trace.columns.track[self.id]
        children = []
        for row in range(self.id + 1, len(self._trace)):
            if self._trace.columns.ts[row] > end:
                break
            inside = self._nesting.parent[row] == self.id
            if inside and self._trace.columns.track[row] == track and not _is_instant(self._trace, row):
                children.append(FunctionEvent(self._trace, self._nesting, row))
        return children

    @property
    def category(self) -> str:
        """Its category, such as "user_annotation"."""
        return self._row.cat

    @property
    def is_user_annotation(self) -> bool:
        """Whether the program marked it, by record_function or step()."""
        return self.category == "user_annotation"

    @property
    def args(self) -> Mapping[str, Any]:
        """The arguments given to record_function."""
        return self._row.args

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionEvent) and self._trace is other._trace and self.id == other.id

    def __hash__(self) -> int:
        return hash((id(self._trace), self.id))

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent {self.trace_name!r} id={self.id} thread={self.thread} "
            f"start_ns={self.start_ns} duration_ns={self.duration_ns}>"
        )


def _is_instant(trace: Trace, row: int) -> bool:
    return bool(trace.columns.kind[row] & INSTANT)


def function_events(trace: Trace) -> list[FunctionEvent]:
    """Every slice of a trace, in its order."""
    nesting = nest(trace)
    return [FunctionEvent(trace, nesting, row) for row in range(len(trace)) if not _is_instant(trace, row)]
