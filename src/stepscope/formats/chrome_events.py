"""The events of Chrome JSON that are not plain: what each phase means, and what pairs of them make.

    M              names of processes and threads
    X, i, I, R     slices and instants, spelled in a way the scanner left
    B, E           slices of a thread
    b, n, e        slices and instants of an operation that no thread owns, by category and id; on a track of its own
    S, T, p, F     the same in an older spelling, by category, id and name
    C              a value for each of a counter's series
    s, t, f        points of flows, which bind to slices

Ends find their beginnings, and points their slices, in order of time, whatever the file's order: as in Perfetto.
"""

from array import array
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stepscope.core.rows import INSTANT, SLICE, Columns
from stepscope.core.values import NO_NAME, legal_text
from stepscope.formats.chrome_flows import FlowPoint, Flows
from stepscope.formats.chrome_open import OpenSlices
from stepscope.formats.chrome_values import (
    MalformedError,
    duration_of,
    id_of,
    number_of,
    plain_id,
    take_marks,
    time_of,
    with_floats,
)
from stepscope.formats.findings import Findings
from stepscope.model.build import NO_CATEGORY

__all__ = ["Events", "Identity"]

# What a track is: its kind, and what tells it from the others of that kind.
Identity = tuple[str | int, ...]

# Phases without a place in a trace: objects, memory dumps, marks, contexts, clock synchronization.
IGNORED = frozenset("ONDVvRc(),=")


class _Edge(NamedTuple):
    """The beginning or end of a slice, or an instant between, until all can be put in order of time."""

    ts: int
    phase: str
    before: int
    track: int
    name: str
    category: str
    args: dict[str, Any]
    cut: int
    site: str


class Events:
    """Collects events; `finish` pairs them.

    Attributes:
        columns: the rows made; ts as the file counts. name and cat are ids into strings, track into tracks.
        before: array 'q', how many rows of the scanner stand before each.
        strings, tracks: text or identity -> id.
        args: row -> arguments, legal ones.
        processes, threads: names of pids, and of (pid, tid).
        track_names: what else a track is called: the process and the name of an async one.
        counters: (pid, name, key) -> times and values.
    """

    def __init__(self, findings: Findings) -> None:
        self.columns = Columns.empty()
        self.before = array("q")
        self.strings: dict[str, int] = {"": 0}
        self.tracks: dict[Identity, int] = {}
        self.args: dict[int, dict[str, Any]] = {}
        self.processes: dict[str | int, str] = {}
        self.threads: dict[tuple[str | int, str | int], str] = {}
        self.track_names: dict[int, tuple[str | int, str]] = {}
        self.counters: dict[tuple[str | int, str, str], tuple[array[int], array[float]]] = {}
        self.flows = Flows()
        self._edges: list[_Edge] = []
        self._findings = findings

    def take(self, event: Any, before: int) -> None:
        """Keep what an event says.

        Args:
            event: as the JSON parser leaves it, its numbers with a point or an exponent as Literal.
            before: how many rows of the scanner stand before it.

        Raises:
            MalformedError: it lacks something, or something in it has the wrong type.
        """
        if not isinstance(event, Mapping):
            message = f"it is no object but {type(event).__name__}"
            raise MalformedError(message)
        phase = event.get("ph")
        if not event:
            return  # some writers end with one, so that every other is followed by a comma
        if not isinstance(phase, str):
            message = 'it has no "ph"' if phase is None else f'its "ph" is {phase!r}'
            raise MalformedError(message)
        taker = _TAKERS.get(phase)
        if taker is not None:
            taker(self, event, before)
        else:
            self._findings.note("ignored", f"phase {phase!r} has no place in a trace")

    def finish(self, end: Callable[[], int]) -> None:
        """Pair what has been collected.

        Args:
            end: the last moment of the trace, where slices without an end are cut.
        """
        self._edges.sort(key=lambda edge: edge.ts)
        tracks: dict[int, OpenSlices] = {}
        for edge in self._edges:
            open_slices = tracks.setdefault(edge.track, OpenSlices(self.columns))
            if edge.phase == "end":
                row = open_slices.end(edge.ts, edge.name, edge.category)
                if row is None:
                    what = f"an end of {edge.name!r} at {edge.ts} ns has no beginning"
                    self._findings.note("unmatched", what)
                elif edge.args:
                    self.args[row] = {**self.args.get(row, {}), **edge.args}
            elif edge.phase == "begin":
                row = self._row(edge, SLICE, 0)
                open_slices.begin(row, edge.ts, edge.name, edge.category)
            else:
                self._row(edge, INSTANT, 0)
        self._edges.clear()
        last = None
        for open_slices in tracks.values():
            if open_slices.any_open:
                last = end() if last is None else last
                open_slices.cut(last)

    # ---- what the phases mean ------------------------------------------------------------------------------------

    def _take_row(self, event: Mapping[str, Any], before: int) -> None:
        slice_ = event["ph"] == "X"
        edge = self._edge(event, before, "row", self._thread(event))
        row = self._row(edge, SLICE if slice_ else INSTANT, duration_of(event) if slice_ else 0)
        self.flows.take_bound(event, row, edge.name)

    def _take_begin(self, event: Mapping[str, Any], before: int) -> None:
        self._edges.append(self._edge(event, before, "begin", self._thread(event)))

    def _take_end(self, event: Mapping[str, Any], before: int) -> None:
        self._edges.append(self._edge(event, before, "end", self._thread(event)))

    def _take_async(self, event: Mapping[str, Any], before: int) -> None:
        phase = {"b": "begin", "S": "begin", "e": "end", "F": "end"}.get(event["ph"], "row")
        process, _ = self._ids(event)
        name, category = _text(event, "name"), _text(event, "cat")
        id_, scope, local = id_of(event)
        identity: Identity = ("async", category, scope, id_, process if local else "")
        if event["ph"] in "STpF":
            identity = (*identity, name)
        track = self.tracks.setdefault(identity, len(self.tracks))
        self.track_names.setdefault(track, (process, name))
        self._edges.append(self._edge(event, before, phase, track))

    def _take_counter(self, event: Mapping[str, Any], _: int) -> None:
        process, _tid = self._ids(event)
        name, ts, args = _text(event, "name"), time_of(event), event.get("args", {})
        if not isinstance(args, Mapping):
            message = f'its "args" is {args!r}'
            raise MalformedError(message)
        values = {key: number_of(value, key) for key, value in args.items()}
        for key, value in values.items():
            times, numbers = self.counters.setdefault((process, name, key), (array("q"), array("d")))
            times.append(ts)
            numbers.append(value)

    def _take_flow(self, event: Mapping[str, Any], before: int) -> None:
        id_, scope, _ = id_of(event)
        name, category = _text(event, "name"), _text(event, "cat")
        binds_next = event["ph"] == "f" and event.get("bp") != "e"
        key = (id_, scope, category, name)
        point = FlowPoint(time_of(event), event["ph"], self._behind(before), self._thread(event), key, binds_next)
        self.flows.points.append(point)

    def _take_name(self, event: Mapping[str, Any], _: int) -> None:
        args = event.get("args")
        if event.get("name") not in ("process_name", "thread_name"):
            return  # sort indices and labels: how a viewer is to show it
        name = args.get("name") if isinstance(args, Mapping) else None
        if not isinstance(name, str):
            message = f'its "args" has no name: {args!r}'
            raise MalformedError(message)
        process, thread = self._ids(event)
        if event["name"] == "process_name":
            self.processes[process] = name
        else:
            self.threads[process, thread] = name

    # ---- what they share -----------------------------------------------------------------------------------------

    def _edge(self, event: Mapping[str, Any], before: int, phase: str, track: int) -> _Edge:
        given = with_floats(event.get("args", {}))
        if not isinstance(given, dict):
            given = {"args": given}
        args, cut, site = take_marks(given)
        name, category = _text(event, "name"), _text(event, "cat")
        return _Edge(time_of(event), phase, before, track, name, category, args, cut, site)

    def _row(self, edge: _Edge, kind: int, dur: int) -> int:
        row = len(self.columns.ts)
        name = self.strings.setdefault(legal_text(edge.name) or NO_NAME, len(self.strings))
        category = self.strings.setdefault(legal_text(edge.category) or NO_CATEGORY, len(self.strings))
        site = self.strings.setdefault(edge.site, len(self.strings))
        values = (edge.ts, dur, name, category, site, edge.track, kind | (edge.cut if kind == SLICE else 0))
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        self.before.append(edge.before)
        if edge.args:
            self.args[row] = edge.args
        return row

    def _behind(self, before: int) -> int:
        """The row that was met last, in the numbering of FlowPoint."""
        made = len(self.before)
        return -1 - made if made and self.before[-1] == before else before - 1

    def _thread(self, event: Mapping[str, Any]) -> int:
        return self.tracks.setdefault(("thread", *self._ids(event)), len(self.tracks))

    @staticmethod
    def _ids(event: Mapping[str, Any]) -> tuple[str | int, str | int]:
        """The pid and tid, as they are written; 0 where one is missing, as in Perfetto."""
        return plain_id(event.get("pid", 0), "pid"), plain_id(event.get("tid", 0), "tid")


def _text(event: Mapping[str, Any], key: str) -> str:
    """A member that is a text; a number or so in its place is shown as text."""
    value = event.get(key)
    if value is None:
        return ""
    if isinstance(value, (Mapping, list)):
        message = f'its "{key}" is {value!r}'
        raise MalformedError(message)
    return str(value)


_TAKERS: dict[str, Callable[[Events, Mapping[str, Any], int], None]] = {
    **dict.fromkeys("XiIR", Events._take_row),  # noqa: SLF001 - the table of this class
    **dict.fromkeys("bneSTpF", Events._take_async),  # noqa: SLF001
    **dict.fromkeys("stf", Events._take_flow),  # noqa: SLF001
    "B": Events._take_begin,  # noqa: SLF001
    "E": Events._take_end,  # noqa: SLF001
    "C": Events._take_counter,  # noqa: SLF001
    "M": Events._take_name,  # noqa: SLF001
}
