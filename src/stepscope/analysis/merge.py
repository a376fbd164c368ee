"""Several traces as one: the ranks or the cycles of a run on one timeline, each where it was in time."""

from array import array
from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from stepscope.core.rows import Columns, Counters
from stepscope.model.build import FIRST_MADE_UP_TID, TraceBuilder
from stepscope.model.trace import Origin, Trace, Track

__all__ = ["merge"]

# A process: its host, or the number of a trace that does not name one; its rank, its name, and its pid there.
Process = tuple[str | int, int, str, int]


class _Names(NamedTuple):
    """What tells the processes of the merged traces apart, where they are not all the same."""

    ranks: bool
    hosts: bool

    def of(self, track: Track, origin: Origin) -> str:
        """What a process is called."""
        told = [f"rank {origin.rank}"] * self.ranks + [origin.host] * (self.hosts and bool(origin.host))
        return f"{track.process} ({', '.join(told)})" if told else track.process


def merge(traces: Mapping[str, Trace]) -> Trace:
    """Put traces on one timeline.

    Processes of one host, rank and pid are one, with the same threads; all others stay apart, also where their pids
    are the same, as in containers: then the later one gets a pid that is free. A trace that does not say when it was
    recorded begins where the earliest does.

    Args:
        traces: by what each is called, such as its file; at least one.

    Returns:
        All rows, counters and flows of all of them. Problems are added up; metadata stands under the names.
    """
    if len(traces) == 1:
        (trace,) = traces.values()
        return trace
    known = [trace.origin.base_ns for trace in traces.values() if trace.origin.base_ns]
    base = min(known, default=0)
    first = next((t.origin for t in traces.values() if t.origin.base_ns == base), Origin())
    origin = Origin(
        base_ns=base,
        clocks=first.clocks,
        version=first.version,
        host=first.host,
        process=first.process,
        pid=first.pid,
        world_size=max(trace.origin.world_size for trace in traces.values()),
        metadata={name: dict(trace.origin.metadata) for name, trace in traces.items() if trace.origin.metadata},
    )
    begin = min((_begin(trace) for trace in traces.values() if trace.origin.base_ns), default=base)
    merging = _Merging(TraceBuilder(origin), list(traces.values()))
    for name, trace in traces.items():
        moved = trace.origin.base_ns if trace.origin.base_ns else begin - _begin(trace)
        merging.add(name, trace, moved - base)
    return merging.finish()


def _begin(trace: Trace) -> int:
    """When the first thing in a trace was, in ns since the epoch; since any moment, if it does not say when it was."""
    times = [*trace.columns.ts[:1], *trace.counters.ts[:1]]  # both are in order
    return trace.origin.base_ns + min(times, default=0)


class _Merging:
    """One merged trace in the making. Rows are gathered column by column, and become the builder's at the end."""

    def __init__(self, builder: TraceBuilder, traces: Sequence[Trace]) -> None:
        self.builder = builder
        self.names = _Names(
            len({trace.origin.rank for trace in traces}) > 1, len({trace.origin.host for trace in traces}) > 1
        )
        self.taken = {track.pid for trace in traces for track in trace.tracks}
        self.pids: dict[Process, int] = {}
        self.tracks: dict[tuple[Process, Track], int] = {}
        self.strings: dict[str, int] = {"": 0}
        self.columns = Columns.empty()
        self.args: dict[int, Mapping[str, object]] = {}
        self.counted: list[tuple[Counters, list[int], int]] = []
        self.flows: list[tuple[str, list[int]]] = []

    def add(self, name: str, trace: Trace, shift: int) -> None:
        """Take all of a trace; its times are moved by `shift` ns."""
        first_row = len(self.columns.ts)
        tracks = [self._track(trace, track) for track in trace.tracks]
        texts = [self.strings.setdefault(text, len(self.strings)) for text in trace.strings]
        given = trace.columns
        name_ids, cats, sites = (array("I", map(texts.__getitem__, ids)) for ids in (given.name, given.cat, given.site))
        track_ids = array("I", map(tracks.__getitem__, given.track))
        times = array("q", (ts + shift for ts in given.ts))
        moved = Columns(times, given.dur, name_ids, cats, sites, track_ids, given.kind)
        for column, more in zip(self.columns, moved, strict=True):
            column.extend(more)
        self.args.update((first_row + row, args) for row, args in trace.args.items())
        self.counted.append((trace.counters, tracks, shift))
        rows_of: list[list[int]] = [[] for _ in trace.flows.name]
        for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
            rows_of[flow].append(first_row + row)
        self.flows += zip((trace.strings[number] for number in trace.flows.name), rows_of, strict=True)
        for problem in trace.problems:
            if problem.kind != "cut":  # they are marked in the rows, and counted from there
                self.builder.problem(problem.kind, problem.count, f"{name}: {problem.example}")

    def finish(self) -> Trace:
        """The trace."""
        self.builder.adopt(self.columns, self.strings, {row: dict(args) for row, args in self.args.items()})
        for counters, tracks, shift in self.counted:
            for ts, value, track in zip(*counters, strict=True):
                self.builder.count(tracks[track], ts + shift, value)
        for name, rows in self.flows:
            self.builder.flow(name, rows)
        return self.builder.build()

    def _track(self, trace: Trace, track: Track) -> int:
        origin = trace.origin
        process: Process = (origin.host or len(self.counted), origin.rank, track.process, track.pid)
        pid = self._pid(process)
        called = self.names.of(track, origin)
        if track.kind == "counter":
            return self.builder.counter_track(pid, track.name, track.unit, called)
        key = (process, track)
        if key not in self.tracks:
            self.tracks[key] = self.builder.thread(pid, track.tid, track.name, called, track.kind)
        return self.tracks[key]

    def _pid(self, process: Process) -> int:
        """The process's own pid, unless it is another's already."""
        if process not in self.pids:
            own = process[-1]
            free = (number for number in count(FIRST_MADE_UP_TID) if number not in self.taken)
            self.pids[process] = own if own not in self.pids.values() else next(free)
            self.taken.add(self.pids[process])
        return self.pids[process]
