"""Pairing: from each thread's begins and ends to slices and instants, cut at the window.

Ends are matched to the innermost open begin of the same span, not to the top of a stack: tasks that take turns
on a thread end out of order, and what overlaps is the builder's to lay out.
"""

from array import array
from typing import Any, NamedTuple

from stepscope.core.rows import CUT, INSTANT, SLICE
from stepscope.core.twin.recorder import Payload, SealedThread, SealedWindow
from stepscope.core.values import freeze_args

__all__ = ["Paired", "PairedThread", "pair"]


class PairedThread(NamedTuple):
    """One thread's rows, in opening order.

    Attributes:
        tid, name: native id and Python name.
        start, end: array 'q', ticks within the window; shape (rows,).
        kind: array 'B', SLICE or INSTANT, plus CUT; shape (rows,).
        names: array 'I', ids into Paired.strings; shape (rows,).
        args: row -> arguments, for the rows that have some.
    """

    tid: int
    name: str
    start: "array[int]"
    end: "array[int]"
    kind: "array[int]"
    names: "array[int]"
    args: dict[int, dict[str, Any]]


class Paired(NamedTuple):
    """Every thread that recorded something, in the order in which they first did; names by id."""

    strings: list[str]
    threads: list[PairedThread]


def pair(window: SealedWindow) -> Paired:
    """Pair the records of every thread that has any."""
    ids: dict[str, int] = {}
    threads = [_Pairing(thread, window, ids).rows() for thread in window.threads]
    return Paired(list(ids), [thread for thread in threads if len(thread.kind)])


class _Pairing:
    """The rows of one thread, while its records are read.

    Attributes:
        open: (span, its row) of the spans that have not ended yet, innermost last.
        begun_before: (span, tick of its end) of those that began before the window.
    """

    def __init__(self, thread: SealedThread, window: SealedWindow, ids: dict[str, int]) -> None:
        self.thread = thread
        self.window = window
        self.ids = ids
        self.start, self.end, self.kind, self.names = array("q"), array("q"), array("B"), array("I")
        self.args: dict[int, dict[str, Any]] = {}
        self.open: list[tuple[Any, int]] = []
        self.begun_before: list[tuple[Any, int]] = []

    def rows(self) -> PairedThread:
        """Read all records."""
        opened, closed = self.window.start, self.window.stop
        for span, args in self.thread.open_at_start:
            self.begin(span, args, opened, SLICE | CUT)
        records = self.thread.records
        for index in range(0, len(records) - 1, 2):
            tick, what = records[index], records[index + 1]
            ends = tick < 0
            # A thread may have read the clock just outside the window that its record fell into.
            tick = min(max(~tick if ends else tick, opened), closed)
            if ends:
                self.finish(what, tick)
            elif type(what) is Payload:
                self.begin(what.span, what.args, tick, INSTANT if what.instant else SLICE)
            else:
                self.begin(what, None, tick, SLICE)
        for _, row in self.open:
            self.end[row] = closed
            self.kind[row] |= CUT
        return self.paired()

    def begin(self, span: Any, args: dict[str, Any] | None, tick: int, kind: int) -> None:
        row = len(self.kind)
        self.start.append(tick)
        self.end.append(tick)
        self.kind.append(kind)
        self.names.append(self.ids.setdefault(span.name, len(self.ids)))
        if args:
            self.args[row] = args
        if kind != INSTANT:
            self.open.append((span, row))

    def finish(self, span: Any, tick: int) -> None:
        for place in range(len(self.open) - 1, -1, -1):
            if self.open[place][0] is span:
                self.end[self.open.pop(place)[1]] = tick
                return
        self.begun_before.append((span, tick))

    def paired(self) -> PairedThread:
        """All rows; first those that began before the window, the last one to end as the outermost."""
        before = self.begun_before[::-1]
        shift = len(before)
        args = {row: freeze_args(span.args) for row, (span, _) in enumerate(before) if span.args}
        args.update((row + shift, mapping) for row, mapping in self.args.items())
        names = [self.ids.setdefault(span.name, len(self.ids)) for span, _ in before]
        return PairedThread(
            self.thread.tid,
            self.thread.name,
            array("q", [self.window.start] * shift) + self.start,
            array("q", [tick for _, tick in before]) + self.end,
            array("B", [SLICE | CUT] * shift) + self.kind,
            array("I", names) + self.names,
            args,
        )
