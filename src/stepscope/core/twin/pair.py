"""Pairing: from each thread's begins and ends to slices and instants, cut at the window.

Ends are matched to the innermost open begin of the same span, not to the top of a stack: tasks that take turns
on a thread end out of order, and what overlaps is laid out later.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stepscope.core.rows import CUT, INSTANT, SLICE, Columns, Paired, PairedCounters, PairedFlows, StepMark
from stepscope.core.twin.recorder import Count, FlowPoint, Payload, SealedThread, SealedWindow
from stepscope.core.twin.recycle import same

__all__ = ["pair"]

CATEGORY = "user_annotation"
# What a flow is called whose first point is not in the window.
FLOW = "flow"


def pair(window: SealedWindow, steps: Iterable[StepMark], shift_ns: int) -> Paired:
    """Pair the records of every thread that has any, and put the steps around them.

    Args:
        window: what was recorded.
        steps: those that ran in the window, wholly or in part; they are cut at its edges. A step stands before the
            records of its thread: of slices that begin and end together it is the outer one.
        shift_ns: added to every tick, which gives ts.
    """
    steps_of: dict[int, list[StepMark]] = {}
    for step in steps:
        steps_of.setdefault(step.tid, []).append(step)
    pairing = _Pairing(window, shift_ns)
    for thread in window.threads:
        pairing.thread(thread.tid, thread.name, steps_of.pop(thread.tid, ()), thread)
    for tid, marks in steps_of.items():
        pairing.thread(tid, marks[0].thread, marks, None)
    flows = pairing.named_flows()
    counters = pairing.counters._replace(names=list(pairing.series))
    strings = list(pairing.strings)
    return Paired(pairing.columns, strings, pairing.threads, pairing.args, pairing.dropped, counters, flows)


class _Pairing:
    """The rows so far, and what is open on the thread that is being read.

    Attributes:
        open: (span, its row) of the spans that have not ended yet, innermost last.
        flows: number -> (name, rows of its points).
    """

    def __init__(self, window: SealedWindow, shift_ns: int) -> None:
        self.opened, self.closed = window.start, window.stop
        self.shift_ns = shift_ns
        self.columns = Columns.empty()
        self.strings: dict[str, int] = {"": 0, CATEGORY: 1, FLOW: 2}
        self.threads: list[tuple[int, str]] = []
        self.args: dict[int, Mapping[str, Any]] = {}
        self.open: list[tuple[Any, int]] = []
        self.dropped: dict[str, int] = {}
        self.counters = PairedCounters.empty()
        self.series: dict[tuple[str, str], int] = {}
        self.flows: dict[int, tuple[str, list[int]]] = {}

    def thread(self, tid: int, name: str, steps: Iterable[StepMark], sealed: SealedThread | None) -> None:
        first = len(self.columns.ts)
        for step in steps:
            start, end = max(step.start, self.opened), min(step.end, self.closed)
            row = self.row(step.name, start, SLICE if (start, end) == (step.start, step.end) else SLICE | CUT)
            self.finish_row(row, end)
        if sealed is not None:
            self.records(sealed)
        if len(self.columns.ts) > first:
            self.threads.append((tid, name))

    def records(self, sealed: SealedThread) -> None:
        """Read one thread's records."""
        self.open = []
        if sealed.dropped:
            self.dropped[sealed.name] = self.dropped.get(sealed.name, 0) + sealed.dropped
        for begun in sealed.begun:
            self.begin(begun.span, begun.args, self.inside(begun.tick), SLICE | CUT if begun.cut else SLICE)
        records = sealed.records
        for index in range(0, len(records), 2):
            tick, what = records[index], records[index + 1]
            if tick < 0:
                self.finish(what, self.inside(~tick))
            else:
                self.record(what, self.inside(tick))
        for _, row in self.open:
            self.finish_row(row, self.closed)
            self.columns.kind[row] |= CUT

    def record(self, what: Any, tick: int) -> None:
        """Read a record that ends nothing."""
        if type(what) is Payload:
            self.begin(what.span, what.args, tick, INSTANT if what.instant else SLICE)
        elif type(what) is Count:
            series = self.series.setdefault(what.series, len(self.series))
            self.counters.ts.append(tick + self.shift_ns)
            self.counters.value.append(what.value)
            self.counters.series.append(series)
        elif type(what) is FlowPoint:
            name, rows = self.flows.get(what.flow, (FLOW, []))
            self.flows[what.flow] = (what.name or name, [*rows, self.row("", tick, INSTANT)])
        else:
            self.begin(what, None, tick, SLICE)

    def inside(self, tick: int) -> int:
        """A thread may have read the clock just outside the window that its record fell into."""
        return min(max(tick, self.opened), self.closed)

    def named_flows(self) -> PairedFlows:
        """The flows of all threads, whose points get their names now."""
        flows = PairedFlows.empty()
        for flow in sorted(self.flows):
            name, rows = self.flows[flow]
            name_id = self.strings.setdefault(name, len(self.strings))
            for row in rows:
                self.columns.name[row] = name_id
                flows.flow.append(len(flows.names))
                flows.row.append(row)
            flows.names.append(name_id)
        return flows

    def row(self, name: str, tick: int, kind: int) -> int:
        row = len(self.columns.ts)
        name_id = self.strings.setdefault(name, len(self.strings))
        values = (tick + self.shift_ns, 0, name_id, self.strings[CATEGORY], 0, len(self.threads), kind)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        return row

    def finish_row(self, row: int, tick: int) -> None:
        self.columns.dur[row] = tick + self.shift_ns - self.columns.ts[row]

    def begin(self, span: Any, args: dict[str, Any] | None, tick: int, kind: int) -> None:
        row = self.row(span.name, tick, kind)
        if args:
            self.args[row] = args
        if kind != INSTANT:
            self.open.append((span, row))

    def finish(self, span: Any, tick: int) -> None:
        """End the innermost span that this is; none if its begin was dropped."""
        for place in range(len(self.open) - 1, -1, -1):
            if same(self.open[place][0], span):
                self.finish_row(self.open.pop(place)[1], tick)
                return
