"""The trace: one immutable, columnar value that exporters, averages, diff and readers share.

Integer nanoseconds, stdlib arrays, ids numbered by first appearance: equal content is an equal Trace.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from stepscope.core.clock import Clocks
from stepscope.core.rows import CUT, INSTANT, SLICE, Columns
from stepscope.core.values import freeze_args

__all__ = ["CUT", "INSTANT", "SLICE", "Origin", "Problem", "Row", "Trace", "Track"]


# Named tuples and slots rather than dataclasses, whose import is a third of what importing stepscope may cost.
NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Track(NamedTuple):
    """A row on the timeline.

    Attributes:
        kind: "thread", or "lane" for slices of a thread that overlap the others on it.
        pid: the process's id.
        tid: the thread's id, unlike any other of its process, above 0 and below 2**31. It is the native id
            unless that one is taken: by an earlier thread of the same id, or by the thread whose lane this is.
        name: the thread's name.
        process: the process's name.
    """

    kind: str
    pid: int
    tid: int
    name: str
    process: str


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
        origin: where it comes from.
        problems: what is not as it was.
    """

    __slots__ = ("args", "columns", "origin", "problems", "strings", "tracks")

    strings: tuple[str, ...]
    tracks: tuple[Track, ...]
    columns: Columns
    args: Mapping[int, Mapping[str, Any]]
    origin: Origin
    problems: tuple[Problem, ...]

    def __init__(
        self,
        strings: tuple[str, ...] = ("",),
        tracks: tuple[Track, ...] = (),
        columns: Columns | None = None,
        *,
        args: Mapping[int, Mapping[str, Any]] = NOTHING,
        origin: Origin | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        values = (args, columns or Columns.empty(), origin or Origin(), problems, strings, tracks)
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
        return (
            f"<Trace of {self.origin.tool}: {len(self)} rows on {len(self.tracks)} tracks, "
            f"{len(self.problems)} problems>"
        )

    def with_metadata(self, metadata: Mapping[str, Any]) -> "Trace":
        """The same trace with other user metadata, as files can hold it; columns are shared."""
        return Trace(
            self.strings,
            self.tracks,
            self.columns,
            args=self.args,
            origin=self.origin._replace(metadata=MappingProxyType(freeze_args(metadata))),
            problems=self.problems,
        )
