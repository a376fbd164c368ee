"""The builder: the one way to make a Trace.

It takes rows in any order of time, in opening order on each track, and leaves what `Trace` promises: order,
nesting, ids by first appearance, legal text. What does not nest is laid out on lanes and counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stepscope.core import kernels
from stepscope.core.rows import CUT, INSTANT, SLICE, Columns, Lane
from stepscope.core.values import NO_NAME, freeze_args, legal_text
from stepscope.model.errors import TraceError
from stepscope.model.trace import Origin, Problem, Trace, Track

if TYPE_CHECKING:
    from array import array

__all__ = ["TraceBuilder"]

# Ids given to what has none of its own. Linux hands out ids up to 2**22, and loaders read 31 bits.
FIRST_MADE_UP_TID = 1 << 30
LAST_TID = (1 << 31) - 1
# About 146 years in ns: what loaders add to a time must not overflow 64 bits.
LAST_NS = (1 << 62) - 1
# As NO_NAME: Perfetto shows what has no category in two ways, one a format.
NO_CATEGORY = "uncategorized"


class TraceBuilder:
    """Collects rows and builds the Trace of them.

    Args:
        origin: where the rows come from.
        tick_ns: the clock's step: a slice that overruns its parent by no more is clamped to it.
    """

    def __init__(self, origin: Origin | None = None, tick_ns: int = 1) -> None:
        self._origin = origin or Origin()
        self._tick_ns = tick_ns
        self._strings: dict[str, int] = {"": 0}
        self._tracks: list[Track] = []
        self._tids: set[tuple[int, int]] = set()
        self._made_up = FIRST_MADE_UP_TID
        self._columns = Columns.empty()
        self._args: dict[int, dict[str, Any]] = {}
        self._problems: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def thread(self, pid: int, tid: int, name: str, process: str = "", kind: str = "thread") -> int:
        """Add a track; returns its number, to pass to `slice` and `instant`.

        A tid that is taken, or that loaders cannot read, is replaced by one that is free.

        Raises:
            TraceError: loaders cannot read the pid.
        """
        if not 0 <= pid <= LAST_TID:
            message = f"process {process!r} has the pid {pid}. Pids are from 0 to {LAST_TID}."
            raise TraceError(message)
        if not 0 < tid <= LAST_TID or (pid, tid) in self._tids:
            while (pid, self._made_up) in self._tids:
                self._made_up += 1
            tid = self._made_up
        self._tids.add((pid, tid))
        names = legal_text(name or f"thread {tid}"), legal_text(process or f"process {pid}")
        self._tracks.append(Track(kind, pid, tid, *names))
        return len(self._tracks) - 1

    def slice(
        self,
        track: int,
        name: str,
        ts: int,
        dur: int,
        *,
        cat: str = "user_annotation",
        args: Mapping[str, Any] | None = None,
        cut: bool = False,
    ) -> None:
        """Add a slice of `dur` ns at `ts` ns since origin.base_ns.

        Raises:
            TraceError: there is no such track, or the time is out of range.
        """
        self._row(track, name, (ts, dur), cat, SLICE | CUT if cut else SLICE)
        self._attach(args)

    def instant(
        self,
        track: int,
        name: str,
        ts: int,
        *,
        cat: str = "user_annotation",
        args: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an instant at `ts` ns since origin.base_ns."""
        self._row(track, name, (ts, 0), cat, INSTANT)
        self._attach(args)

    def problem(self, kind: str, count: int, example: str) -> None:
        """Count something that is not as it was; the first example of a kind is kept."""
        self._problems[kind] += count
        self._examples.setdefault(kind, legal_text(example))

    def adopt(self, columns: Columns, strings: Iterable[str], args: dict[int, dict[str, Any]]) -> None:
        """Take the rows that pairing has gathered; to be called before any other row is added.

        Args:
            columns: in opening order on each track; name, cat and site are ids into strings, track is a number of
                `thread`. They are the caller's no more.
            strings: id -> legal text, each once; the first is "".
            args: row -> arguments, frozen already.
        """
        self._columns = columns
        self._strings = {text: number for number, text in enumerate(strings)}
        self._args = args

    def build(self) -> Trace:
        """The Trace of all rows added; the builder is spent then."""
        columns, order, lanes = kernels.settle_rows(self._columns, self._tick_ns)
        self._lay_out(columns, lanes)
        columns, used, tracks = kernels.renumber_rows(columns)
        texts = list(self._strings)
        strings = tuple(texts[old] for old in used)
        kinds = columns.kind.tobytes()  # counts a hundred times faster than the array
        if cut := kinds.count(SLICE | CUT):
            first = strings[columns.name[kinds.index(SLICE | CUT)]]
            self.problem("cut", cut, f"{first!r} was open at the edge of what was recorded")
        problems = tuple(Problem(kind, count, self._examples[kind]) for kind, count in sorted(self._problems.items()))
        return Trace(
            strings,
            tuple(self._tracks[old] for old in tracks),
            columns,
            args=MappingProxyType(self._settled_args(order)),
            origin=self._origin,
            problems=problems,
        )

    def _settled_args(self, order: "array[int] | None") -> dict[int, Mapping[str, Any]]:
        """Arguments by final row."""
        frozen = ((row, MappingProxyType(args)) for row, args in self._args.items())
        if order is None or not self._args:
            return dict(frozen)
        place = {row: at for at, row in enumerate(order) if row in self._args}
        return {place[row]: args for row, args in frozen}

    def _row(self, track: int, name: str, time: tuple[int, int], cat: str, kind: int) -> None:
        if not 0 <= track < len(self._tracks):
            message = f"{name!r} is on track {track}; there are {len(self._tracks)} tracks. Add it with thread()."
            raise TraceError(message)
        if not 0 <= time[0] <= time[0] + time[1] <= LAST_NS:
            message = f"{name!r} lasts from {time[0]} ns for {time[1]} ns. Times are from 0 to {LAST_NS} ns."
            raise TraceError(message)
        values = (*time, self._name_id(name), self._string(cat or NO_CATEGORY), 0, track, kind)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def _attach(self, args: Mapping[str, Any] | None) -> None:
        """Give arguments to the row added last."""
        if args:
            self._args[len(self._columns.ts) - 1] = freeze_args(args)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(legal_text(text), len(self._strings))

    def _name_id(self, name: str) -> int:
        return self._string(name or NO_NAME)

    def _lay_out(self, columns: Columns, lanes: Mapping[int, Lane]) -> None:
        """Move what does not nest to lanes: threads of their own beside the one they are of."""
        made: dict[tuple[int, Lane], int] = {}
        texts = list(self._strings)
        for row, lane in lanes.items():
            track = columns.track[row]
            home = self._tracks[track]
            if (track, lane) not in made:
                name = f"{home.name} ({lane.reason} {lane.number})"
                made[track, lane] = self.thread(home.pid, 0, name, home.process, kind="lane")
            columns.track[row] = made[track, lane]
            name = texts[columns.name[row]]
            self.problem(lane.reason, 1, f"{name!r} at {columns.ts[row]} ns on {home.name!r}")
