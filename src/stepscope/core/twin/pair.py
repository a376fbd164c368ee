"""Pairing: from each thread's begins and ends to slices and instants, cut at the window.

Ends are matched to the innermost open begin of the same span, not to the top of a stack: tasks that take turns
on a thread end out of order, and what overlaps is laid out later.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from stepscope.core.rows import (
    ANNOTATION,
    CALL,
    CUT,
    INSTANT,
    SLICE,
    THREAD_TIME,
    Columns,
    Label,
    Paired,
    PairedCounters,
    PairedFlows,
    StepMark,
)
from stepscope.core.stacks import CALL_STACK
from stepscope.core.twin.records import Count, Finish, FlowPoint, FullTick, Key, Payload, SealedThread, SealedWindow
from stepscope.core.twin.recycle import same_as

__all__ = ["pair"]

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
        full: the tick of the present record, if it says more than the time.
        begun: row -> the same of its begin.
        open: span -> rows of its begins that have not ended yet, innermost last.
        open_calls: those of function tracing among them, each with the list in `open` that it is in.
        flows: number -> rows of its points.
        flow_names: number -> name, of those whose first point is in the window.
    """

    def __init__(self, window: SealedWindow, shift_ns: int) -> None:
        self.opened, self.closed = window.start, window.stop
        self.shift_ns = shift_ns
        self.columns = Columns.empty()
        self.strings: dict[str, int] = {"": 0, ANNOTATION: 1, FLOW: 2}
        self.threads: list[tuple[int, str]] = []
        self.args: dict[int, Mapping[str, Any]] = {}
        self.full: FullTick | None = None
        self.begun: dict[int, FullTick] = {}
        self.open: dict[Hashable, list[int]] = {}
        self.open_calls: list[tuple[int, list[int]]] = []
        self.dropped: dict[str, int] = {}
        self.counters = PairedCounters.empty()
        self.series: dict[tuple[str, str], int] = {}
        self.flows: dict[int, list[int]] = {}
        self.flow_names: dict[int, str] = {}

    def thread(self, tid: int, name: str, steps: Iterable[StepMark], sealed: SealedThread | None) -> None:
        first = len(self.columns.ts)
        for step in steps:
            start, end = max(step.start, self.opened), min(step.end, self.closed)
            row = self.row(step.name, start, SLICE if (start, end) == (step.start, step.end) else SLICE | CUT)
            self.finish_row(row, end)
        if sealed is not None:
            after_steps = len(self.columns.ts)
            self.records(sealed)
            self.split_calls(first, after_steps)
        if len(self.columns.ts) > first:
            self.threads.append((tid, name))

    def records(self, sealed: SealedThread) -> None:
        """Read one thread's records."""
        self.open, self.open_calls = {}, []
        self.full = None
        dropped = sealed.dropped
        for begun in sealed.begun:
            self.begin(begun.key, begun.label, begun.args, self.inside(begun.tick), SLICE | CUT if begun.cut else SLICE)
        records = sealed.records
        for index in range(0, len(records), 2):
            tick, what = records[index], records[index + 1]
            self.full = tick if type(tick) is FullTick else None
            if tick < 0:
                dropped += not self.finish(what, self.inside(~tick))
            else:
                self.record(what, self.inside(tick))
        for rows in self.open.values():
            for row in rows:
                self.cut_row(row, self.closed)
        if dropped:
            self.dropped[sealed.name] = self.dropped.get(sealed.name, 0) + dropped

    def record(self, what: Any, tick: int) -> None:
        """Read a record that ends nothing."""
        if type(what) is Payload:
            self.begin(what.key, what.label, what.args, tick, INSTANT if what.instant else SLICE)
        elif type(what) is Count:
            series = self.series.setdefault(what.series, len(self.series))
            self.counters.ts.append(tick + self.shift_ns)
            self.counters.value.append(what.value)
            self.counters.series.append(series)
        elif type(what) is FlowPoint:
            self.flows.setdefault(what.flow, []).append(self.row("", tick, INSTANT))
            if what.name is not None:
                self.flow_names[what.flow] = what.name
        else:
            self.begin(what, what.label, None, tick, SLICE)

    def inside(self, tick: int) -> int:
        """A thread may have read the clock just outside the window that its record fell into."""
        return min(max(tick, self.opened), self.closed)

    def named_flows(self) -> PairedFlows:
        """The flows of all threads, whose points get their names now."""
        flows = PairedFlows.empty()
        for flow in sorted(self.flows):
            name_id = self.strings.setdefault(self.flow_names.get(flow, FLOW), len(self.strings))
            for row in self.flows[flow]:
                self.columns.name[row] = name_id
                flows.flow.append(len(flows.names))
                flows.row.append(row)
            flows.names.append(name_id)
        return flows

    def row(self, label: str | Label, tick: int, kind: int) -> int:
        row = len(self.columns.ts)
        texts = (label, ANNOTATION, "") if type(label) is str else label
        name, cat, site = (self.strings.setdefault(text, len(self.strings)) for text in texts)
        values = (tick + self.shift_ns, 0, name, cat, site, len(self.threads), kind)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        return row

    def finish_row(self, row: int, tick: int) -> None:
        self.columns.dur[row] = tick + self.shift_ns - self.columns.ts[row]

    def cut_row(self, row: int, tick: int) -> None:
        self.finish_row(row, tick)
        self.columns.kind[row] |= CUT

    def finish_calls(self, row: int, tick: int) -> None:
        """If the row that ends is a call, the calls inside it, whose ends were not seen, are cut where it ends."""
        if self.strings.get(CALL) != self.columns.cat[row]:
            return
        while (last := self.open_calls.pop())[0] != row:
            last[1].remove(last[0])
            self.cut_row(last[0], tick)

    def split_calls(self, first_step: int, first: int) -> None:
        """Cut calls where a step ends that they began in, and where one begins that they end in: so both nest.

        Args:
            first_step: the row of the thread's first step; there are no others between.
            first: the row behind its last.
        """
        columns, call = self.columns, self.strings.get(CALL)
        starts = list(columns.ts[first_step:first])
        ends = [start + dur for start, dur in zip(starts, columns.dur[first_step:first], strict=True)]
        for row in range(first, len(columns.ts) if starts else first):
            if columns.cat[row] != call:
                continue
            ts, stop = columns.ts[row], columns.ts[row] + columns.dur[row]
            step = bisect_right(ends, ts)
            if step < len(starts) and starts[step] < ts and ends[step] < stop:
                ts, row = ends[step], self.split_row(row, ends[step])  # noqa: PLW2901 - on with what is behind
            step = bisect_left(starts, stop)
            if step and starts[step - 1] > ts and ends[step - 1] > stop:
                self.split_row(row, starts[step - 1])

    def split_row(self, row: int, ts: int) -> int:
        """Cut a row at ts; the row of what is behind."""
        columns, rest = self.columns, len(self.columns.ts)
        columns.kind[row] |= CUT
        for column in columns:
            column.append(column[row])
        columns.ts[rest], columns.dur[rest] = ts, columns.ts[row] + columns.dur[row] - ts
        columns.dur[row] = ts - columns.ts[row]
        return rest

    def begin(self, key: Key, label: str | Label, args: dict[str, Any] | None, tick: int, kind: int) -> None:
        row = self.row(label, tick, kind)
        if args:
            self.args[row] = args
        is_call = type(label) is Label and label.cat == CALL
        if self.full is not None and self.full.stack and not is_call:
            self.args[row] = {**self.args.get(row, {}), CALL_STACK: self.full.stack}
        if kind != INSTANT:
            rows = self.open.setdefault(same_as(key), [])
            rows.append(row)
            if is_call:
                self.open_calls.append((row, rows))
            elif self.full is not None and self.full.thread_ns >= 0:
                self.begun[row] = self.full

    def finish(self, what: Key | Finish, tick: int) -> bool:
        """End the innermost span that this is; False if its begin was dropped."""
        rows = self.open.get(same_as(what.key if isinstance(what, Finish) else what))
        if not rows:
            return False
        row = rows.pop()
        self.finish_row(row, tick)
        if self.open_calls and self.open_calls[-1][0] >= row:
            self.finish_calls(row, tick)
        if isinstance(what, Finish) and what.args:
            self.args[row] = {**self.args.get(row, {}), **what.args}
        begun, ended = self.begun.pop(row, None), self.full
        if begun is not None and ended is not None and begun.ident == ended.ident:
            self.args[row] = {**self.args.get(row, {}), THREAD_TIME: ended.thread_ns - begun.thread_ns}
        return True
