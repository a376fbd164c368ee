"""Pairing: from each thread's begins and ends to slices and instants, cut at the window.

What a task records stands on its lane, a track of its own; a slice where it began, whoever ends it. Ends are matched
to the innermost open begin of the same span, the own lane's first, not to the top of a stack: a span may be ended
before one it contains, and what overlaps is laid out later.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from stepscope.core.rows import (
    ANNOTATION,
    CALL,
    CUT,
    FLOW,
    INSTANT,
    SLICE,
    THREAD_TIME,
    Columns,
    Label,
    Paired,
    PairedCounters,
    PairedFlows,
    PairedTrack,
    StepMark,
)
from stepscope.core.stacks import CALL_STACK
from stepscope.core.twin.lanes import TaskLane, Waiting
from stepscope.core.twin.records import (
    Count,
    Finish,
    FlowPoint,
    FullTick,
    Key,
    Payload,
    SealedThread,
    SealedWindow,
    Turn,
    read_record,
)
from stepscope.core.twin.recycle import same_as

__all__ = ["pair"]


def pair(window: SealedWindow, steps: Iterable[StepMark], shift_ns: int) -> Paired:
    """Pair the records of every thread that has any, and put the steps around them.

    Args:
        window: what was recorded.
        steps: those that ran in the window, wholly or in part; they are cut at its edges. A step stands before the
            records of its thread, or of the task that began it: of slices that begin and end together it is the outer
            one.
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
    return Paired(pairing.columns, strings, pairing.tracks, pairing.args, pairing.dropped, counters, flows)


class _CpuBegun(NamedTuple):
    """What a thread had computed for a lane when a span began there."""

    ident: int
    lane: TaskLane | None
    ns: int


class _Pairing:
    """The rows so far, and what is open on the thread that is being read.

    Attributes:
        own: the thread's track, which is one of `tracks` once something stands on it.
        numbers: places in `tracks`, of the thread's own and its lanes.
        full: the tick of the present record, if it says more than the time.
        cpu_begun: row -> what its thread had computed at its begin.
        left: lane -> what the thread had computed when it last went from there.
        others: lane -> what the thread has computed since, for others.
        open: rows that have not ended yet.
        open_calls: those of function tracing among them, each with those of its label in `open`.
        flows: number -> rows of its points.
        flow_names: number -> name, of those whose first point is in the window.
    """

    def __init__(self, window: SealedWindow, shift_ns: int) -> None:
        self.opened, self.closed = window.start, window.stop
        self.shift_ns = shift_ns
        self.columns = Columns.empty()
        self.strings: dict[str, int] = {"": 0, ANNOTATION: 1, FLOW: 2}
        self.tracks: list[PairedTrack] = []
        self.own = PairedTrack("thread", 0, "")
        self.numbers: dict[TaskLane | None, int] = {}
        self.args: dict[int, Mapping[str, Any]] = {}
        self.full: FullTick | None = None
        self.cpu_begun: dict[int, _CpuBegun] = {}
        self.left: dict[TaskLane | None, int] = {}
        self.others: dict[TaskLane | None, int] = {}
        self.open: Waiting[int] = Waiting(None)
        self.open_calls: list[tuple[int, list[int]]] = []
        self.dropped: dict[str, int] = {}
        self.counters = PairedCounters.empty()
        self.series: dict[tuple[str, str], int] = {}
        self.flows: dict[int, list[int]] = {}
        self.flow_names: dict[int, str] = {}

    def thread(self, tid: int, name: str, steps: Iterable[StepMark], sealed: SealedThread | None) -> None:
        self.own, self.numbers, self.open = PairedTrack("thread", tid, name), {}, Waiting(None)
        self.open_calls = []
        times: list[tuple[int, int]] = []
        for step in steps:
            self.open.lane = step.lane
            start, end = max(step.start, self.opened), min(step.end, self.closed)
            row = self.row(step.name, start, SLICE if (start, end) == (step.start, step.end) else SLICE | CUT)
            self.finish_row(row, end)
            if step.args:
                self.args[row] = step.args
            if step.lane is None:
                times.append((start + self.shift_ns, end + self.shift_ns))
        if sealed is not None:
            first = len(self.columns.ts)
            self.records(sealed)
            self.split_calls(times, first)

    def records(self, sealed: SealedThread) -> None:
        """Read one thread's records."""
        self.full = None
        dropped = sealed.dropped
        for begun in sealed.begun:
            self.open.lane = begun.lane
            self.begin(begun.key, begun.label, begun.args, self.inside(begun.tick), SLICE | CUT if begun.cut else SLICE)
        self.open.lane = sealed.lane
        records = sealed.records
        for index in range(0, len(records), 2):
            tick, what, ends = read_record(records[index], records[index + 1])
            self.full = tick if type(tick) is FullTick else None
            if ends:
                dropped += not self.finish(what, self.inside(tick))
            else:
                self.record(what, self.inside(tick))
        for row in self.open:
            self.cut_row(row, self.closed)
        if dropped:
            self.dropped[sealed.name] = self.dropped.get(sealed.name, 0) + dropped

    def record(self, what: Any, tick: int) -> None:
        """Read a record that ends nothing."""
        if type(what) is Payload:
            self.begin(what.key, what.label, what.args, tick, INSTANT if what.instant else SLICE)
        elif type(what) is Turn:
            self.turn(what.lane)
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
        values = (tick + self.shift_ns, 0, name, cat, site, self.track(), kind)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        return row

    def track(self) -> int:
        """The place of the present lane, or of the thread's own track, in `tracks`."""
        lane = self.open.lane
        number = self.numbers.setdefault(lane, len(self.tracks))
        if number == len(self.tracks):
            self.tracks.append(self.own if lane is None else PairedTrack("task", 0, lane.name))
        return number

    def finish_row(self, row: int, tick: int) -> None:
        self.columns.dur[row] = tick + self.shift_ns - self.columns.ts[row]

    def cut_row(self, row: int, tick: int) -> None:
        self.finish_row(row, tick)
        self.columns.kind[row] |= CUT

    def begin_call(self, key: Key, label: Label, tick: int, kind: int) -> None:
        """A call begins, on the thread's own track: it is within the one it is made from, whosever turn it is."""
        lane, self.open.lane = self.open.lane, None
        row = self.row(label, tick, kind)
        self.open_calls.append((row, self.open.begin(same_as(key), row)))
        self.open.lane = lane

    def finish_calls(self, row: int, tick: int) -> None:
        """If the row that ends is a call, the calls inside it, whose ends were not seen, are cut where it ends."""
        if self.strings.get(CALL) != self.columns.cat[row] or not any(call == row for call, _ in self.open_calls):
            return
        while (last := self.open_calls.pop())[0] != row:
            last[1].remove(last[0])
            self.cut_row(last[0], tick)

    def split_calls(self, steps: list[tuple[int, int]], first: int) -> None:
        """Cut calls where a step ends that they began in, and where one begins that they end in: so both nest.

        Args:
            steps: when those on the thread's own track start and end, in order of time.
            first: the first of the rows that may be calls.
        """
        columns, call = self.columns, self.strings.get(CALL)
        starts, ends = [start for start, _ in steps], [end for _, end in steps]
        for row in range(first, len(columns.ts) if steps else first):
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
        if type(label) is Label and label.cat == CALL and kind != INSTANT:
            self.begin_call(key, label, tick, kind)
            return
        row = self.row(label, tick, kind)
        if args:
            self.args[row] = args
        if self.full is not None and self.full.stack:
            self.args[row] = {**self.args.get(row, {}), CALL_STACK: self.full.stack}
        if kind != INSTANT:
            self.open.begin(same_as(key), row)
            if self.full is not None and self.full.thread_ns >= 0:
                lane = self.open.lane
                self.cpu_begun[row] = _CpuBegun(self.full.ident, lane, self.own_cpu(self.full, lane))

    def finish(self, what: Key | Finish, tick: int) -> bool:
        """End the innermost span that this is; False if its begin was dropped."""
        row = self.open.end(same_as(what.key if isinstance(what, Finish) else what))
        if row is None:
            return False
        self.finish_row(row, tick)
        if self.open_calls and self.open_calls[-1][0] >= row:
            self.finish_calls(row, tick)
        if isinstance(what, Finish) and what.args:
            self.args[row] = {**self.args.get(row, {}), **what.args}
        begun, ended = self.cpu_begun.pop(row, None), self.full
        if begun is not None and ended is not None and begun.ident == ended.ident:
            spent = self.own_cpu(ended, begun.lane) - begun.ns
            self.args[row] = {**self.args.get(row, {}), THREAD_TIME: spent}
        return True

    def turn(self, lane: TaskLane | None) -> None:
        """What follows is of another task, or of none."""
        before, self.open.lane = self.open.lane, lane
        if self.full is not None and self.full.thread_ns >= 0:
            now = self.full.thread_ns
            self.left[before] = now
            self.others[lane] = self.others.get(lane, 0) + now - self.left.pop(lane, now)

    def own_cpu(self, now: FullTick, lane: TaskLane | None) -> int:
        """What the thread has computed for a lane: for a task without what it has computed for others meanwhile."""
        if lane is None:
            return now.thread_ns
        since = now.thread_ns - self.left.get(lane, now.thread_ns)
        return now.thread_ns - self.others.get(lane, 0) - since
