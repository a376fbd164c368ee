"""The builder: the one way to make a Trace.

It takes rows in any order of time, in opening order on each track, counters and flows, and leaves what `Trace`
promises: order, nesting, ids by first appearance, legal text. What does not nest is laid out on lanes and counted.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stepscope.core import kernels
from stepscope.core.rows import (
    CUT,
    INSTANT,
    SLICE,
    Columns,
    Counters,
    Flows,
    Lane,
    PairedCounters,
    PairedFlows,
)
from stepscope.core.values import NO_NAME, freeze_args, legal_text
from stepscope.model.errors import TraceError
from stepscope.model.packed_args import PackedArgs
from stepscope.model.row_args import RowArgs
from stepscope.model.trace import Origin, Problem, Trace, Track

__all__ = ["TraceBuilder"]

# Ids given to what has none of its own. Linux hands out ids up to 2**22, and loaders read 31 bits.
FIRST_MADE_UP_TID = 1 << 30
LAST_TID = (1 << 31) - 1
# About 146 years in ns: what loaders add to a time must not overflow 64 bits.
LAST_NS = (1 << 62) - 1
# As NO_NAME: Perfetto shows what has no category in two ways, one a format.
NO_CATEGORY = "uncategorized"


class TraceBuilder:
    """Collects rows, counters and flows and builds the Trace of them.

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
        self._packed: PackedArgs | None = None
        self._series: dict[tuple[int, str, str], int] = {}
        self._counters = Counters.empty()
        self._flows = Flows.empty()
        self._problems: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    @property
    def origin(self) -> Origin:
        """Where the rows come from."""
        return self._origin

    def thread(self, pid: int, tid: int, name: str, process: str = "", kind: str = "thread") -> int:
        """Add a track; returns its number, to pass to `slice` and `instant`.

        A tid that is taken, or that loaders cannot read, is replaced by one that is free.

        Raises:
            TraceError: loaders cannot read the pid.
        """
        _check_pid(pid, process)
        if not 0 < tid <= LAST_TID or (pid, tid) in self._tids:
            while (pid, self._made_up) in self._tids:
                self._made_up += 1
            tid = self._made_up
        self._tids.add((pid, tid))
        names = legal_text(name or f"thread {tid}"), legal_text(process or f"process {pid}")
        self._tracks.append(Track(kind, pid, tid, *names))
        return len(self._tracks) - 1

    def has_tracks(self, kind: str) -> bool:
        """Whether a track of that kind has been added."""
        return any(track.kind == kind for track in self._tracks)

    def counter_track(self, pid: int, name: str, unit: str = "", process: str = "") -> int:
        """Add a counter of a process; returns its number, to pass to `count`. The same one twice is one track.

        Raises:
            TraceError: loaders cannot read the pid.
        """
        _check_pid(pid, process)
        series = pid, legal_text(name) or NO_NAME, legal_text(unit)
        if series not in self._series:
            self._series[series] = len(self._tracks)
            owner = legal_text(process or f"process {pid}")
            self._tracks.append(Track("counter", pid, 0, series[1], owner, series[2]))
        return self._series[series]

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
        site: str = "",
    ) -> int:
        """Add a slice of `dur` ns at `ts` ns since origin.base_ns; returns its number, to pass to `flow`.

        Its site is where its function is, as "file:line".

        Raises:
            TraceError: there is no such track, or the time is out of range.
        """
        row = self._row(track, name, (ts, dur), cat, SLICE | CUT if cut else SLICE)
        self._columns.site[row] = self._string(site) if site else 0
        return self._attach(row, args)

    def instant(
        self,
        track: int,
        name: str,
        ts: int,
        *,
        cat: str = "user_annotation",
        args: Mapping[str, Any] | None = None,
    ) -> int:
        """Add an instant at `ts` ns since origin.base_ns; returns its number, to pass to `flow`."""
        return self._attach(self._row(track, name, (ts, 0), cat, INSTANT), args)

    def count(self, track: int, ts: int, value: float) -> None:
        """Add what a counter stands at from `ts` ns since origin.base_ns on.

        Values are doubles: an int beyond 2**53 is rounded, and what is not finite is left out and counted.

        Raises:
            TraceError: there is no such counter, or the time is out of range.
        """
        if not 0 <= track < len(self._tracks) or self._tracks[track].kind != "counter":
            message = f"a value is counted on track {track}, which is no counter. Add one with counter_track()."
            raise TraceError(message)
        if not 0 <= ts <= LAST_NS:
            message = f"{self._tracks[track].name!r} is counted at {ts} ns. Times are from 0 to {LAST_NS} ns."
            raise TraceError(message)
        try:
            number = float(value)
        except OverflowError:  # an int that no double holds
            number = float("inf") if value > 0 else float("-inf")
        self._counters.ts.append(ts)
        self._counters.value.append(number)
        self._counters.track.append(track)

    def flow(self, name: str, rows: Iterable[int]) -> None:
        """Add one flow through these rows; `build` connects them in order of time.

        Args:
            name: what flows.
            rows: numbers that `slice` and `instant` have returned, in any order.

        Raises:
            TraceError: there is no such row.
        """
        given = list(rows)
        for row in given:
            if not 0 <= row < len(self._columns.ts):
                message = f"flow {name!r} passes row {row}; there are {len(self._columns.ts)} rows."
                raise TraceError(message)
        self._flows.flow.extend([len(self._flows.name)] * len(given))
        self._flows.row.extend(given)
        self._flows.name.append(self._name_id(name))

    def rows_by(self, argument: str, cat: str) -> dict[Any, int]:
        """The number of the last row with each value of an argument, of the rows of a category so far."""
        category, cats = self._strings.get(cat), self._columns.cat
        return {
            value: row
            for row, args in self._args.items()
            if cats[row] == category and isinstance(value := args.get(argument), (int, str))
        }

    def annotate(self, row: int, args: Mapping[str, Any]) -> None:
        """Give a row more arguments."""
        self._args[row] = {**self._args.get(row, {}), **freeze_args(args)}

    def problem(self, kind: str, count: int, example: str) -> None:
        """Count something that is not as it was; the first example of a kind is kept."""
        self._problems[kind] += count
        self._examples.setdefault(kind, legal_text(example))

    def adopt(self, columns: Columns, strings: Iterable[str], args: dict[int, Any] | PackedArgs) -> None:
        """Take the rows that pairing has gathered; to be called before any other row is added.

        Args:
            columns: in opening order on each track; name, cat and site are ids into strings, track is a number of
                `thread`. They are the caller's no more.
            strings: id -> legal text, each once; the first is "".
            args: row -> arguments, frozen already. To packed ones no row can be added.
        """
        self._columns = columns
        self._strings = {text: number for number, text in enumerate(strings)}
        if isinstance(args, PackedArgs):
            self._packed = args
        else:
            self._args = args

    def adopt_counters(self, counters: PairedCounters, pid: int, process: str = "") -> None:
        """Take the values that pairing has gathered, as counters of one process."""
        tracks = [self.counter_track(pid, name, unit, process) for name, unit in counters.names]
        self._counters.ts.extend(counters.ts)
        self._counters.value.extend(counters.value)
        self._counters.track.extend(kernels.map_ids(counters.series, array("I", tracks)))

    def adopt_flows(self, flows: PairedFlows) -> None:
        """Take the flow points of rows and strings that have been adopted; before any other flow is added."""
        self._flows = Flows(flows.flow, flows.row, array("I", flows.names))

    def build(self) -> Trace:
        """The Trace of all rows added; the builder is spent then."""
        settled = kernels.settle_rows(self._columns, self._tick_ns)
        columns, order = settled.columns, settled.order
        self._lay_out(columns, settled.lanes)
        if settled.at_once:
            order = _composed(order, kernels.order_ties(columns))
        counters = self._settled_counters()
        columns, used, tracks = kernels.renumber_rows(columns)
        texts = list(self._strings)
        flows = self._settled_flows(columns, order, texts)
        flows = flows._replace(name=_append_new(used, flows.name))
        counters = counters._replace(track=_append_new(tracks, counters.track))
        strings = tuple(texts[old] for old in used)
        if settled.cut:
            kinds = columns.kind.tobytes()  # is searched a hundred times faster than the array
            first = strings[columns.name[kinds.index(SLICE | CUT)]]
            self.problem("cut", settled.cut, f"{first!r} was open at the edge of what was recorded")
        problems = tuple(Problem(kind, count, self._examples[kind]) for kind, count in sorted(self._problems.items()))
        return Trace(
            strings,
            tuple(self._tracks[old] for old in tracks),
            columns,
            args=self._packed.placed(order) if self._packed else RowArgs(self._settled_args(order)),
            counters=counters,
            flows=flows,
            origin=self._origin,
            problems=problems,
        )

    def _settled_args(self, order: "array[int] | None") -> dict[int, dict[str, Any]]:
        """Arguments by final row."""
        if order is None:
            for row in [row for row, args in self._args.items() if not args]:
                del self._args[row]
            return self._args
        places = kernels.invert_order(order)
        return {places[row]: args for row, args in self._args.items() if args}

    def _settled_counters(self) -> Counters:
        """Values in their final order; those that no file can show are counted."""
        self._name_owners()
        counters, lost = kernels.settle_counters(self._counters, _ranks(range(len(self._tracks)), self._tracks))
        if lost:
            ts, value, track = (column[lost[0]] for column in self._counters)
            name = self._tracks[int(track)].name
            self.problem("counter", len(lost), f"{name!r} was {value} at {ts} ns; files hold finite values only")
        return counters

    def _name_owners(self) -> None:
        """Let a counter's process be called as its threads call it: a file has one name for it."""
        for kind in ("counter", "thread"):
            owners = {track.pid: track.process for track in reversed(self._tracks) if track.kind == kind}
            for number in self._series.values():
                track = self._tracks[number]
                self._tracks[number] = track._replace(process=owners.get(track.pid, track.process))

    def _settled_flows(self, columns: Columns, order: "array[int] | None", texts: list[str]) -> Flows:
        """Points by final row; those that have no direction are counted. Names are the builder's."""
        if not self._flows.name:
            return Flows.empty()
        places = None if order is None else kernels.invert_order(order)
        ranks = _ranks(kernels.distinct_ids(self._flows.name), texts)
        flows, lost = kernels.settle_flows(self._flows, places, columns.ts, ranks)
        if lost:
            name, ts = texts[lost[0]], columns.ts[lost[1]]
            self.problem("flow", len(lost) // 2, f"{name!r} has two points at {ts} ns; one of them is left out")
        return flows

    def _row(self, track: int, name: str, time: tuple[int, int], cat: str, kind: int) -> int:
        if not 0 <= track < len(self._tracks):
            message = f"{name!r} is on track {track}; there are {len(self._tracks)} tracks. Add it with thread()."
            raise TraceError(message)
        if self._tracks[track].kind == "counter":
            message = f"{name!r} is on track {track}, which is a counter. Rows go on a track of thread()."
            raise TraceError(message)
        if not 0 <= time[0] <= time[0] + time[1] <= LAST_NS:
            message = f"{name!r} lasts from {time[0]} ns for {time[1]} ns. Times are from 0 to {LAST_NS} ns."
            raise TraceError(message)
        values = (*time, self._name_id(name), self._string(cat or NO_CATEGORY), 0, track, kind)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        return len(self._columns.ts) - 1

    def _attach(self, row: int, args: Mapping[str, Any] | None) -> int:
        """Give arguments to a row."""
        if args:
            self._args[row] = freeze_args(args)
        return row

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


def _check_pid(pid: int, process: str) -> None:
    if not 0 <= pid <= LAST_TID:
        message = f"process {process!r} has the pid {pid}. Pids are from 0 to {LAST_TID}."
        raise TraceError(message)


def _ranks(numbers: Iterable[int], what: Sequence[Any]) -> "array[int]":
    """Number -> its place among these numbers, by what they stand for; shape (len(what),)."""
    ranks = array("I", bytes(4 * len(what)))
    for rank, number in enumerate(sorted(numbers, key=what.__getitem__)):
        ranks[number] = rank
    return ranks


def _composed(first: "array[int] | None", then: "array[int] | None") -> "array[int] | None":
    """Two permutations as one; None: nothing has moved."""
    if first is None or then is None:
        return first or then
    return kernels.map_ids(then, first)


def _append_new(old_ids: "array[int]", ids: "array[int]") -> "array[int]":
    """The new numbers of some ids; those that have none yet count on."""
    if not ids:
        return ids
    known = set(old_ids)
    old_ids.extend(old for old in kernels.distinct_ids(ids) if old not in known)
    new = array("I", bytes(4 * (max(old_ids) + 1)))
    for number, old in enumerate(old_ids):
        new[old] = number
    return kernels.map_ids(ids, new)
