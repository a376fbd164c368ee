"""Pairing: from each thread's begins and ends to slices and instants, cut at the window.

Ends are matched to the innermost open begin of the same span, not to the top of a stack: tasks that take turns
on a thread end out of order, and what overlaps is laid out later.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stepscope.core.rows import CUT, INSTANT, SLICE, Columns, Paired, StepMark
from stepscope.core.twin.recorder import Payload, SealedThread, SealedWindow

__all__ = ["pair"]

CATEGORY = "user_annotation"


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
    return Paired(pairing.columns, list(pairing.strings), pairing.threads, pairing.args, {})


class _Pairing:
    """The rows so far, and what is open on the thread that is being read.

    Attributes:
        open: (span, its row) of the spans that have not ended yet, innermost last.
        begun_before: (name, arguments, tick of its end) of those that began before the window.
    """

    def __init__(self, window: SealedWindow, shift_ns: int) -> None:
        self.opened, self.closed = window.start, window.stop
        self.shift_ns = shift_ns
        self.columns = Columns.empty()
        self.strings: dict[str, int] = {"": 0, CATEGORY: 1}
        self.threads: list[tuple[int, str]] = []
        self.args: dict[int, Mapping[str, Any]] = {}
        self.open: list[tuple[Any, int]] = []
        self.begun_before: list[tuple[str, dict[str, Any] | None, int]] = []

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
        self.open, self.begun_before = [], []
        # What ends without having begun comes first, but is known last: it takes the place of a thread of its own.
        first = len(self.columns.ts)
        for span, args in sealed.open_at_start:
            self.begin(span, args, self.opened, SLICE | CUT)
        records = sealed.records
        for index in range(0, len(records), 2):
            tick, what = records[index], records[index + 1]
            ends = tick < 0
            # A thread may have read the clock just outside the window that its record fell into.
            tick = min(max(~tick if ends else tick, self.opened), self.closed)
            if ends:
                self.finish(what, tick)
            elif type(what) is Payload:
                self.begin(what.span, what.args, tick, INSTANT if what.instant else SLICE)
            else:
                self.begin(what, None, tick, SLICE)
        for _, row in self.open:
            self.finish_row(row, self.closed)
            self.columns.kind[row] |= CUT
        self.insert_begun_before(first)

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

    def finish(self, what: Any, tick: int) -> None:
        span, args = (what.span, what.args) if type(what) is Payload else (what, None)
        for place in range(len(self.open) - 1, -1, -1):
            if _same(self.open[place][0], span):
                self.finish_row(self.open.pop(place)[1], tick)
                return
        self.begun_before.append((span.name, args, tick))

    def insert_begun_before(self, first: int) -> None:
        """Put the spans that began before the window before the thread's rows, the last one to end as the outermost."""
        before = self.begun_before[::-1]
        if not before:
            return
        behind = {row: args for row, args in self.args.items() if row >= first}
        for row in behind:
            del self.args[row]
        tails = [column[first:] for column in self.columns]
        for column in self.columns:
            del column[first:]
        for name, args, tick in before:
            row = self.row(name, self.opened, SLICE | CUT)
            self.finish_row(row, tick)
            if args:
                self.args[row] = args
        for column, tail in zip(self.columns, tails, strict=True):
            column.extend(tail)
        self.args.update((row + len(before), args) for row, args in behind.items())


def _same(one: Any, other: Any) -> bool:
    """Spans without arguments are one span if their names are equal: the cache that shares them forgets."""
    return one is other or (one.kwargs is None and other.kwargs is None and one.name == other.name)
