"""The trace: one immutable, columnar value that exporters, averages, diff and readers share.

Integer nanoseconds, stdlib arrays, ids numbered by first appearance: equal content is an equal Trace.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from stepscope.core.clock import Clocks
from stepscope.core.rows import CUT, INSTANT, SLICE, Columns
from stepscope.core.values import freeze_args

__all__ = ["CUT", "INSTANT", "SLICE", "Origin", "Problem", "Row", "Trace", "Track"]


@dataclass(frozen=True)
class Track:
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


@dataclass(frozen=True)
class Problem:
    """What was dropped or could not be placed as it was.

    Attributes:
        kind: what happened, such as "overlap".
        count: how often.
        example: the first one, in words.
    """

    kind: str
    count: int
    example: str


@dataclass(frozen=True)
class Origin:
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
    clocks: Clocks = field(default_factory=lambda: Clocks(0, 0, 0))
    tool: str = "stepscope"
    version: str = ""
    host: str = ""
    process: str = ""
    pid: int = 0
    rank: int = 0
    world_size: int = 1
    trace_id: str = ""
    session: Mapping[str, int | bool] = field(default_factory=lambda: MappingProxyType({}))
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

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


@dataclass(frozen=True)
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

    strings: tuple[str, ...] = ("",)
    tracks: tuple[Track, ...] = ()
    columns: Columns = field(default_factory=Columns.empty)
    args: Mapping[int, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    origin: Origin = field(default_factory=Origin)
    problems: tuple[Problem, ...] = ()

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
        return replace(self, origin=replace(self.origin, metadata=MappingProxyType(freeze_args(metadata))))
