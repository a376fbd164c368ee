"""Files of other tools: what the trace processor finds in one, beside what `read` makes of it.

Where a file says no category the trace processor has none, and for ids that are no numbers it makes up its own; those
are left out here. It shows no empty list and no null.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from perfetto.trace_processor import TraceProcessor

from law import ARGS, depths, flatten
from stepscope.check import Engine, find_engine, open_trace, rows
from stepscope.model.trace import Row, Trace

SLICES = """
    select s.ts, s.dur, s.name, s.category, s.depth, tt.id is not null, t.name, p.name, s.arg_set_id
    from slice s
    left join thread_track tt on s.track_id = tt.id
    left join thread t using (utid)
    left join process p using (upid)
"""
COUNTERS = "select c.ts, c.value, t.name from counter c join counter_track t on c.track_id = t.id"
FLOWS = (
    "select a.ts, a.name, b.ts, b.name from flow f join slice a on f.slice_out = a.id join slice b on f.slice_in = b.id"
)

Found = Counter[tuple[Any, ...]]


class Seen:
    """What the trace processor shows of a file: slices, counters and flows, each a bag of tuples."""

    def __init__(self, path: Path) -> None:
        self.engine = find_engine()
        with open_trace(path, engine=self.engine) as processor:
            self.slices = Counter(_slices(processor))
            self.counters = Counter(map(tuple, rows(processor, COUNTERS)))
            self.flows = Counter(map(tuple, rows(processor, FLOWS)))


def _slices(processor: TraceProcessor) -> Iterator[tuple[Any, ...]]:
    args: dict[int, list[tuple[Any, ...]]] = {}
    for owner, key, kind, text, integer, real in rows(processor, ARGS):
        args.setdefault(owner, []).append((key, kind, {"string": text, "real": real}.get(kind, integer)))
    for ts, dur, name, category, depth, on_thread, thread, process, owner in rows(processor, SLICES):
        where = (depth, thread, process) if on_thread else ()
        yield ts, dur, name, category or "uncategorized", where, _shown(args.get(owner, ()))


def expected_slices(trace: Trace, engine: Engine, base_ns: int = 0, *, all_threads: bool = True) -> Found:
    """The trace's rows as the trace processor should show them.

    Args:
        trace: as it was read.
        engine: which trace processor.
        base_ns: the base that the file itself tells.
        all_threads: whether every row is on a thread; otherwise those on other tracks have no place, as there.
    """
    shift = trace.origin.base_ns - base_ns
    found: Found = Counter()
    for row, depth in zip(trace, depths(trace), strict=True):
        placed = all_threads or row.track.kind == "thread"
        where = (depth, _name(row.track.name, "thread"), _name(row.track.process, "process")) if placed else ()
        found[row.ts + shift, row.dur, row.name, row.cat, where, _args(row, engine)] += 1
    return found


def _name(name: str, what: str) -> str | None:
    """A name that stands in the file; one of our making says only the id."""
    return None if name.startswith(f"{what} ") and name.rpartition(" ")[2].isdigit() else name


def _args(row: Row, engine: Engine) -> frozenset[tuple[Any, ...]]:
    return _shown(flatten("args", row.args, True, engine))


def _shown(args: Iterable[tuple[Any, ...]]) -> frozenset[tuple[Any, ...]]:
    """Without what may be an empty list or a null."""
    return frozenset(arg for arg in args if arg[2] not in ("[]", "{}", "None"))


def expected_counters(trace: Trace, base_ns: int = 0) -> Found:
    """The trace's counter values as the trace processor should show them."""
    shift = trace.origin.base_ns - base_ns
    tracks = [trace.tracks[number] for number in trace.counters.track]
    names = [f"{track.name} {track.unit}" if track.unit else track.name for track in tracks]
    return Counter(zip((ts + shift for ts in trace.counters.ts), trace.counters.value, names, strict=True))


def expected_flows(trace: Trace, base_ns: int = 0) -> Found:
    """The arrows between two rows each."""
    shift = trace.origin.base_ns - base_ns
    points: dict[int, list[Row]] = {}
    for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
        points.setdefault(flow, []).append(trace[row])
    arrows = ((a, b) for passed in points.values() for a, b in pairwise(passed))
    return Counter((a.ts + shift, a.name, b.ts + shift, b.name) for a, b in arrows)
