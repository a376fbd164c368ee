"""What the trace processor says of a .pftrace file that another program wrote, and what we read there."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as Proto
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket
from perfetto.trace_processor import TraceProcessor

from law import ARGS, depths, flatten
from stepscope.check import find_engine, open_trace, rows
from stepscope.core.values import NO_NAME
from stepscope.formats.perfetto_read import decode_perfetto
from stepscope.model.build import NO_CATEGORY
from stepscope.model.trace import CUT, Trace

SLICES = """
    select s.id, s.ts, s.dur, s.name, s.category, s.depth, s.arg_set_id, t.tid, t.name,
           coalesce(p.pid, q.pid), track.name
    from slice s
    join track on s.track_id = track.id
    left join thread_track tt on s.track_id = tt.id
    left join thread t using (utid)
    left join process p using (upid)
    left join process_track pt on s.track_id = pt.id
    left join process q on pt.upid = q.upid
"""
COUNTERS = """
    select c.ts, c.value, t.name, coalesce(p.pid, q.pid)
    from counter c
    join counter_track t on c.track_id = t.id
    left join process_counter_track pt on t.id = pt.id
    left join process p on pt.upid = p.upid
    left join thread_counter_track tt on t.id = tt.id
    left join thread using (utid)
    left join process q on thread.upid = q.upid
"""
FLOWS = """
    select a.ts, a.name, b.ts, b.name
    from flow join slice a on flow.slice_out = a.id join slice b on flow.slice_in = b.id
"""
STATS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"


class File:
    """A file in the making: packets of sequence 1 unless they say another."""

    def __init__(self) -> None:
        self.proto = Proto()

    def packet(self, sequence: int = 1, ts: int | None = None, **fields: Any) -> TracePacket:
        """Add a packet."""
        packet = self.proto.packet.add(trusted_packet_sequence_id=sequence, **fields)
        if ts is not None:
            packet.timestamp = ts
        return packet

    def event(self, ts: int, kind: int, name: str = "", *, sequence: int = 1, **fields: Any) -> Any:
        """Add a TrackEvent; returns it."""
        event = self.packet(sequence, ts).track_event
        event.type = kind
        if name:
            event.name = name
        for key, value in fields.items():
            found = getattr(event, key)
            if hasattr(found, "extend"):
                found.extend(value)
            else:
                setattr(event, key, value)
        return event

    def thread(self, uuid: int, pid: int, tid: int, name: str, sequence: int = 1) -> None:
        """Describe a thread's track."""
        descriptor = self.packet(sequence).track_descriptor
        descriptor.uuid = uuid
        descriptor.thread.pid, descriptor.thread.tid, descriptor.thread.thread_name = pid, tid, name

    def process(self, uuid: int, pid: int, name: str) -> None:
        """Describe a process's track."""
        descriptor = self.packet().track_descriptor
        descriptor.uuid = uuid
        descriptor.process.pid, descriptor.process.process_name = pid, name

    def track(self, uuid: int, name: str, parent: int = 0) -> Any:
        """Describe a track of another kind; returns its descriptor."""
        descriptor = self.packet().track_descriptor
        descriptor.uuid, descriptor.name = uuid, name
        if parent:
            descriptor.parent_uuid = parent
        return descriptor

    def clocks(self, readings: dict[int, int], sequence: int = 1, incremental: int = 0, unit_ns: int = 0) -> None:
        """Add a snapshot; `incremental` is the id of a clock whose times are differences."""
        packet = self.packet(sequence)
        for clock, time in readings.items():
            reading = packet.clock_snapshot.clocks.add(clock_id=clock, timestamp=time)
            if clock == incremental:
                reading.is_incremental = True
            if unit_ns and clock >= 64:
                reading.unit_multiplier_ns = unit_ns

    @property
    def data(self) -> bytes:
        """The file."""
        return bytes(self.proto.SerializeToString())


class Said:
    """What the trace processor says of a file."""

    def __init__(self, processor: TraceProcessor) -> None:
        args: dict[int, list[tuple[Any, ...]]] = {}
        for owner, key, kind, text, integer, real in rows(processor, ARGS):
            if key.startswith("debug."):
                shown = "int" if kind == "uint" else kind
                args.setdefault(owner, []).append((key, shown, {"string": text, "real": real}.get(kind, integer)))
        self.slices = Counter(
            (
                ts,
                dur,
                name or NO_NAME,
                cat or NO_CATEGORY,
                depth,
                ("thread", pid, tid, thread) if tid is not None else ("async", pid, None, track),
                frozenset(args.get(owner, ())),
            )
            for _, ts, dur, name, cat, depth, owner, tid, thread, pid, track in rows(processor, SLICES)
        )
        self.counters = Counter(rows(processor, COUNTERS))
        self.flows = Counter((a, name or NO_NAME, b, other or NO_NAME) for a, name, b, other in rows(processor, FLOWS))
        self.stats = dict(rows(processor, STATS))


def said(data: bytes, folder: Path) -> Said:
    """Ask the trace processor."""
    path = folder / "foreign.pftrace"
    path.write_bytes(data)
    with open_trace(path, engine=find_engine()) as processor:
        return Said(processor)


def read(data: bytes) -> Trace:
    """Read it ourselves."""
    return decode_perfetto(data, "foreign.pftrace")


def assert_agrees(data: bytes, folder: Path, *, shift: Callable[[Trace], int] | None = None) -> Trace:
    """The trace processor finds in a file what we read there; returns that.

    Args:
        shift: what to add to times to have them on the trace's clock, if that is not CLOCK_BOOTTIME.
    """
    theirs, trace = said(data, folder), read(data)
    offset = shift(trace) if shift else trace.origin.boottime_offset_ns
    assert Counter(our_slices(trace, offset)) == theirs.slices
    ours = Counter(
        (ts + offset, value, trace.tracks[track].name, pid_of(trace.tracks[track]))
        for ts, value, track in zip(*trace.counters, strict=True)
    )
    assert ours == theirs.counters
    assert Counter(our_flows(trace, offset)) == theirs.flows
    return trace


def pid_of(track: Any) -> int | None:
    """A track's process as the trace processor knows it."""
    return None if track.process == "(no process)" else track.pid


def our_slices(trace: Trace, offset: int) -> Iterator[tuple[Any, ...]]:
    """Rows of a trace as the trace processor shows them."""
    for row, depth in zip(trace, depths(trace), strict=True):
        track = row.track
        pid = pid_of(track)
        where = ("thread", pid, track.tid, track.name) if track.kind == "thread" else ("async", pid, None, track.name)
        args = frozenset(flatten("debug", row.args, False, find_engine()))
        dur = -1 if row.kind & CUT else row.dur
        yield row.ts + offset, dur, row.name, row.cat, depth, where, args


def our_flows(trace: Trace, offset: int) -> Iterator[tuple[Any, ...]]:
    """Arrows of a trace as the trace processor shows them."""
    points: dict[int, list[int]] = {}
    for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
        points.setdefault(flow, []).append(row)
    for line in points.values():
        for a, b in pairwise(line):
            yield trace[a].ts + offset, trace[a].name, trace[b].ts + offset, trace[b].name
