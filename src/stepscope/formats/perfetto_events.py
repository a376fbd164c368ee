"""TrackEvents that the scanner leaves to its caller: further counters, and what older tracers write.

A LegacyEvent is an event of Chrome's JSON format in a TrackEvent: a phase, an id, a duration.
"""

from typing import Any, NamedTuple

from stepscope.core import kernels
from stepscope.core.events import BEGIN, COMPLETE, COUNT, END, POINT
from stepscope.formats.chrome_flows import FlowPoint
from stepscope.formats.perfetto_callstacks import has_stack
from stepscope.formats.perfetto_clocks import MONOTONIC
from stepscope.formats.perfetto_messages import Note, as_bytes, as_text
from stepscope.formats.perfetto_sequence import Sequence, Sequences
from stepscope.formats.perfetto_tracks import OwnTrack, Tracks

__all__ = ["Event", "EventReader"]

CATEGORIES, NAMES = 1, 2  # fields of InternedData
UNIT_NS = 1000
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
MAX_DURATION_US = 1 << 52
IN, OUT, INOUT = 1, 2, 3  # LegacyEvent.FlowDirection
# A flow's id is of its own kind: an id and a bind_id of one number are two flows.
BOUND = 1 << 63
PHASES = {"B": BEGIN, "E": END, "X": COMPLETE, "I": POINT, "i": POINT, "R": POINT}
ARROWS = ("s", "t", "f")
ASYNC_PHASES = {"b": BEGIN, "e": END, "n": POINT, "S": BEGIN, "F": END, "T": POINT, "p": POINT}


class Event(NamedTuple):
    """A perfetto.protos.TrackEvent, its sequence, its packet's time, and where it stands in the data."""

    proto: Any
    sequence: Sequence
    ts: int | None
    start: int
    stop: int


class EventReader:
    """Reads TrackEvents one by one into the scanner's columns.

    Attributes:
        durations: ns of the COMPLETE events.
        arrows: points of flows that bind to slices by their times, which are the trace's clock's; `behind` is -1.
    """

    def __init__(
        self,
        scanner: kernels.TrackEventScanner,
        sequences: Sequences,
        tracks: Tracks,
        problem: Note,
    ) -> None:
        self.durations: dict[int, int] = {}
        self.arrows: list[FlowPoint] = []
        self._scanner = scanner
        self._sequences = sequences
        self._tracks = tracks
        self._problem = problem

    def read(self, event: Event) -> None:
        """Read one event; what it cannot be is a problem."""
        proto, sequence = event.proto, event.sequence
        ts = self._time(event)
        if ts is None or not INT64_MIN <= ts <= INT64_MAX:
            self._problem("time", f"an event of sequence {sequence.number} has no time that the trace's clock knows")
            return
        legacy = proto.legacy_event
        phase = chr(legacy.phase) if 0 < legacy.phase < 128 else ""
        kind = proto.type or ASYNC_PHASES.get(phase) or PHASES.get(phase)
        track = self._track(event, phase)
        self._extra_counters(event, ts)
        if kind == COUNT:
            self._count(event, ts, track)
        elif kind in (BEGIN, END, POINT, COMPLETE):
            self._slice(event, ts, kind, track)
        elif phase == "M":
            self._name(event)
        elif phase in ARROWS:
            self._arrow(event, ts, phase, track)
        elif phase and not proto.type:
            self._problem("ignored", f"phase {phase!r} has no place in a trace")
        else:
            self._problem("unreadable", f"an event of sequence {sequence.number} is of type {proto.type}")

    def text(self, sequence: Sequence, table: int, iid: int) -> int:
        """The text id of an interned entry; 0, and a problem, where there is none."""
        found = self._scanner.interned(sequence.generation, table, iid)
        if found < 0:
            self._problem("interned", f"sequence {sequence.number} uses id {iid} without saying what it is")
        return max(found, 0)

    def _time(self, event: Event) -> int | None:
        """When an event is; its own time comes before its packet's."""
        proto, sequence = event.proto, event.sequence
        if proto.HasField("timestamp_delta_us"):
            if sequence.time_ns is None:
                return None
            sequence.time_ns += proto.timestamp_delta_us * UNIT_NS
            return self._monotonic(sequence.time_ns)
        if proto.HasField("timestamp_absolute_us"):
            return self._monotonic(proto.timestamp_absolute_us * UNIT_NS)
        return event.ts

    def _monotonic(self, ns: int) -> int:
        """Times of the old form are on CLOCK_MONOTONIC, or on the trace's where no snapshot knows that."""
        known = self._sequences.clocking.trace_time((0, MONOTONIC), ns)
        return ns if known is None else known

    def _track(self, event: Event, phase: str) -> int:
        """The scanner's number of an event's track."""
        proto, legacy = event.proto, event.proto.legacy_event
        if not proto.type and phase in ASYNC_PHASES:
            return self._sequences.own_track(self._async_track(event))
        if legacy.HasField("pid_override") or legacy.HasField("tid_override"):
            own = event.sequence.thread
            pid = legacy.pid_override if legacy.HasField("pid_override") else own.pid if own else None
            tid = legacy.tid_override if legacy.HasField("tid_override") else own.tid if own else 0
            return self._sequences.own_track(OwnTrack(pid, tid, ""))
        if proto.HasField("track_uuid"):
            return self._scanner.track(proto.track_uuid)
        return self._sequences.default_track(event.sequence)

    def _async_track(self, event: Event) -> OwnTrack:
        """The track of the events with one id: a local one is the process's."""
        legacy = event.proto.legacy_event
        kind = legacy.WhichOneof("id") or "unscoped_id"
        scope = as_bytes(legacy.id_scope) or self._scanner.text_of(self._category(event))
        identity = (kind == "local_id", scope, getattr(legacy, kind))
        return OwnTrack(self._pid(event.sequence), 0, self._shown_name(event), identity)

    def _pid(self, sequence: Sequence) -> int | None:
        """The process that a sequence is of."""
        if sequence.thread is not None:
            return sequence.thread.pid
        return self._tracks.pid(sequence.track_uuid) if sequence.track_uuid is not None else None

    def _shown_name(self, event: Event) -> str:
        """An event's name as text."""
        return self._scanner.text_of(self._event_name(event)).decode("utf-8", "backslashreplace")

    def _event_name(self, event: Event) -> int:
        """The text id of an event's name."""
        proto = event.proto
        if iid := proto.name_iid or proto.legacy_event.name_iid:
            return self.text(event.sequence, NAMES, iid)
        return self._scanner.text(as_bytes(proto.name)) if proto.name else 0

    def _category(self, event: Event) -> int:
        """The text id of an event's categories."""
        proto = event.proto
        ids = [self.text(event.sequence, CATEGORIES, iid) for iid in proto.category_iids]
        ids += [self._scanner.text(as_bytes(text)) for text in proto.categories]
        if len(ids) < 2:
            return sum(ids)
        return self._scanner.text(b",".join(map(self._scanner.text_of, ids)))

    def _slice(self, event: Event, ts: int, kind: int, track: int) -> None:
        """Add a row's event, with its annotations and flows."""
        proto, legacy, scanner = event.proto, event.proto.legacy_event, self._scanner
        number = scanner.event(ts, kind, track, self._event_name(event), self._category(event))
        if kind == COMPLETE:
            self.durations[number] = max(min(legacy.duration_us, MAX_DURATION_US), 0) * UNIT_NS
        if proto.debug_annotations or has_stack(proto):
            scanner.detail(number, event.start, event.stop, event.sequence.generation)
        for flow in (*proto.flow_ids_old, *proto.flow_ids):
            scanner.flow(number, flow, False)
        for flow in (*proto.terminating_flow_ids_old, *proto.terminating_flow_ids):
            scanner.flow(number, flow, True)
        if legacy.bind_id and legacy.flow_direction in (IN, OUT, INOUT):
            scanner.flow(number, legacy.bind_id ^ BOUND, legacy.flow_direction == IN)

    def _arrow(self, event: Event, ts: int, phase: str, track: int) -> None:
        """Keep a point of a flow of Chrome's form: of what slice it is, is known once all have been paired."""
        legacy = event.proto.legacy_event
        kind = legacy.WhichOneof("id")
        if kind is None:
            self._problem("unreadable", f"an arrow of sequence {event.sequence.number} has no id")
            return
        owner = self._pid(event.sequence) if kind == "local_id" else None
        kinship = as_bytes(legacy.id_scope).hex(), self._scanner.text_of(self._category(event)).hex()
        key = (getattr(legacy, kind), -1 if owner is None else owner, *kinship, self._shown_name(event))
        self.arrows.append(FlowPoint(ts, phase, -1, track, key, phase == "f" and not legacy.bind_to_enclosing))

    def _count(self, event: Event, ts: int, track: int) -> None:
        """Add a counter's own value."""
        proto = event.proto
        if proto.HasField("double_counter_value"):
            self._scanner.count(ts, proto.double_counter_value, track, event.sequence.generation)
        elif proto.HasField("counter_value"):
            self._scanner.count(ts, float(proto.counter_value), track, event.sequence.generation)
        else:
            self._problem("unreadable", f"a counter of sequence {event.sequence.number} has no value")

    def _extra_counters(self, event: Event, ts: int) -> None:
        """Add the values of further counters that an event brings."""
        proto = event.proto
        whole, doubles = event.sequence.counters
        pairs = [
            (proto.extra_counter_values, proto.extra_counter_track_uuids or whole),
            (proto.extra_double_counter_values, proto.extra_double_counter_track_uuids or doubles),
        ]
        for values, uuids in pairs:
            if len(values) > len(uuids):
                self._problem("unreadable", f"an event has {len(values)} counter values for {len(uuids)} counters")
            for value, uuid in zip(values, uuids, strict=False):
                self._scanner.count(ts, float(value), self._scanner.track(uuid), event.sequence.generation)

    def _name(self, event: Event) -> None:
        """A metadata event names its thread or process."""
        thread = event.sequence.thread
        name = self._scanner.text_of(self._event_name(event))
        values = [item.string_value for item in event.proto.debug_annotations if item.string_value]
        texts = [as_text(value, self._problem) for value in values]
        if thread is None or not texts:
            return
        if name == b"thread_name":
            self._tracks.name_thread(thread.pid or 0, thread.tid, texts[0])
        elif name == b"process_name":
            self._tracks.name_process(thread.pid or 0, texts[0])
