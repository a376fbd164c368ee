"""The trace: one immutable, columnar value that exporters, averages, diff and readers share.

Integer nanoseconds, stdlib arrays, ids numbered by first appearance: equal content is an equal Trace.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from stepscope.core.clock import Clocks
from stepscope.core.rows import CUT, INSTANT, SLICE, Columns, Counters, Flows
from stepscope.core.values import freeze_args

if TYPE_CHECKING:
    from array import array

__all__ = ["CUT", "INSTANT", "SLICE", "Origin", "Problem", "Row", "Trace", "Track"]


# Named tuples and slots rather than dataclasses, whose import is a third of what importing stepscope may cost.
NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Track(NamedTuple):
    """A row on the timeline.

    Attributes:
        kind: "thread", "task" for spans of an asyncio task, or of tasks of one name that follow one another, "device"
            for a stream of one, "lane" for slices of such a track that overlap the others on it, "process" and
            "global" for instants that are of no thread, or "counter".
        pid: the process's id.
        tid: the thread's id, unlike any other of its process, above 0 and below 2**31. It is the native id
            unless that one is taken: by an earlier thread of the same id, or by the thread whose lane this is.
            Those of tracks that are no thread's are made up. A counter has 0: it is the process's.
        name: the thread's, the task's, the stream's or the counter's name.
        process: the process's name.
        unit: what a counter counts, such as "bytes", "ns" or "count"; "" where nobody said.
    """

    kind: str
    pid: int
    tid: int
    name: str
    process: str
    unit: str = ""


class Problem(NamedTuple):
    """What was dropped or could not be placed as it was.

    Attributes:
        kind: what happened, such as "overlap".
        count: how often.
        example: the first one, in words.
    """

    kind: str
    count: int  # type: ignore[assignment] # it hides tuple.count, which nobody asks of a problem
    example: str


class Origin(NamedTuple):
    """Where a trace comes from.

    Attributes:
        base_ns: ns since the epoch; every ts of the trace counts from it.
        clocks: three clocks at one instant, which place the trace on each of them.
        tool, version: what made it.
        host, process, pid, rank, world_size: where it ran.
        trace_id: one per cycle; 32 hex digits unless the user makes it.
        session: cycle, first_step, last_step, partial; empty where there was no profile.
        metadata: the user's own, key -> JSON-able value.
    """

    base_ns: int = 0
    clocks: Clocks = Clocks(0, 0, 0)
    tool: str = "stepscope"
    version: str = ""
    host: str = ""
    process: str = ""
    pid: int = 0
    rank: int = 0
    world_size: int = 1
    trace_id: str = ""
    session: Mapping[str, int | bool] = NOTHING
    metadata: Mapping[str, Any] = NOTHING

    @property
    def boottime_offset_ns(self) -> int:
        """What to add to a ts to have it on CLOCK_BOOTTIME."""
        return self.base_ns - self.clocks.realtime_ns + self.clocks.boottime_ns


class Row(NamedTuple):
    """One slice or instant, with its ids resolved."""

    ts: int
    dur: int
    name: str
    cat: str
    site: str
    track: Track
    kind: int
    args: Mapping[str, Any]


class Trace:
    """A finished recording; made by `TraceBuilder`.

    Attributes:
        strings: id -> text; strings[0] == "".
        tracks: id -> Track.
        columns: ts and dur in ns since origin.base_ns, ids, kinds; rows in (ts, -dur, opening) order, and on one
            track slices nest.
        args: row -> arguments, for the rows that have some.
        counters: values by time; their tracks stand behind those of the rows.
        flows: arrows from row to row.
        origin: where it comes from.
        problems: what is not as it was.
    """

    __slots__ = ("args", "columns", "counters", "flows", "origin", "problems", "strings", "tracks")

    strings: tuple[str, ...]
    tracks: tuple[Track, ...]
    columns: Columns
    args: Mapping[int, Mapping[str, Any]]
    counters: Counters
    flows: Flows
    origin: Origin
    problems: tuple[Problem, ...]

    def __init__(
        self,
        strings: tuple[str, ...] = ("",),
        tracks: tuple[Track, ...] = (),
        columns: Columns | None = None,
        *,
        args: Mapping[int, Mapping[str, Any]] = NOTHING,
        counters: Counters | None = None,
        flows: Flows | None = None,
        origin: Origin | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        tables = (columns or Columns.empty(), counters or Counters.empty(), flows or Flows.empty())
        values = (args, *tables, origin or Origin(), problems, strings, tracks)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        message = f"a Trace does not change: {name} cannot be set"
        raise AttributeError(message)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.columns.ts)

    def __getitem__(self, row: int) -> Row:
        ts, dur, name, cat, site, track, kind = (column[row] for column in self.columns)
        return Row(
            ts,
            dur,
            self.strings[name],
            self.strings[cat],
            self.strings[site],
            self.tracks[track],
            kind,
            self.args.get(row % len(self), {}),
        )

    def __iter__(self) -> Iterator[Row]:
        return map(self.__getitem__, range(len(self)))

    def __repr__(self) -> str:
        values, flows = len(self.counters.ts), len(self.flows.name)
        besides = f"{values} counter values, " * (values > 0) + f"{flows} flows, " * (flows > 0)
        return (
            f"<Trace of {self.origin.tool}: {len(self)} rows on {len(self.tracks)} tracks, {besides}"
            f"{len(self.problems)} problems>"
        )

    def to_columns(self) -> dict[str, "array[Any]"]:
        """The trace's own columns by name, as buffers that numpy and pandas wrap without a copy.

            columns = {name: numpy.asarray(column) for name, column in trace.to_columns().items()}
            slices = pandas.DataFrame({name: columns[name] for name in ("ts", "dur", "name", "track")}, copy=False)
            slices["name"] = pandas.Categorical.from_codes(columns["name"], trace.strings)
            slices.groupby("name", observed=True)["dur"].median()

        Returns:
            ts, dur: array 'q', ns; ts counts from origin.base_ns. name, cat, site: array 'I', ids into strings.
            track: array 'I', ids into tracks. kind: array 'B', SLICE or INSTANT, plus CUT. Shape (len(trace),) each.
            Where there are some: "counters.ts", "counters.value" (array 'd') and "counters.track"; "flows.flow",
            "flows.row" and "flows.name", as `Counters` and `Flows` have them. A trace does not change: write to none.
        """
        columns: dict[str, array[Any]] = self.columns._asdict()
        for table, values in (("counters", self.counters), ("flows", self.flows)):
            if any(len(column) for column in values):
                columns.update((f"{table}.{name}", column) for name, column in values._asdict().items())
        return columns

    def with_metadata(self, metadata: Mapping[str, Any]) -> "Trace":
        """The same trace with other user metadata, as files can hold it; columns are shared."""
        return self._with(self.origin._replace(metadata=MappingProxyType(freeze_args(metadata))), self.problems)

    def with_problems(self, problems: Iterable[Problem]) -> "Trace":
        """The same trace with other problems; columns are shared."""
        return self._with(self.origin, tuple(problems))

    def _with(self, origin: Origin, problems: tuple[Problem, ...]) -> "Trace":
        return Trace(
            self.strings,
            self.tracks,
            self.columns,
            args=self.args,
            counters=self.counters,
            flows=self.flows,
            origin=origin,
            problems=problems,
        )
