"""What a .pftrace file was found to hold, as a Trace: pairing, names, arguments, flows, counters, origin."""

import json
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from stepscope.core import kernels
from stepscope.core.clock import Clocks
from stepscope.core.events import NO_ROW, Faults, PairedEvents, Scanned
from stepscope.core.rows import CUT
from stepscope.core.values import CUT_KEY, NO_NAME, RESERVED_PREFIX, SITE_KEY, freeze_args, legal_text
from stepscope.formats.about import ABOUT
from stepscope.formats.about_read import Told, read_about
from stepscope.formats.chrome_flows import FlowPoint, Flows
from stepscope.formats.chrome_values import legal_args
from stepscope.formats.findings import Findings
from stepscope.formats.perfetto_args import Texts, decode_args
from stepscope.formats.perfetto_callstacks import CALL_STACK, Callstacks, has_stack
from stepscope.formats.perfetto_clocks import BOOTTIME, MONOTONIC, REALTIME
from stepscope.formats.perfetto_messages import as_text
from stepscope.formats.perfetto_sequence import Sequences
from stepscope.formats.perfetto_tracks import Tracks
from stepscope.model.build import LAST_NS, NO_CATEGORY, TraceBuilder
from stepscope.model.trace import Origin, Trace

__all__ = ["Content", "make_trace"]

SECOND_NS = 10**9
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
FLOW_NAME_SHIFT = 40  # a flow's id of ours is 1 + place of its name << 40 | 1 + number


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        scanned: events, and what they have besides.
        buffers: the data that was scanned.
        tracks, sequences: what events refer to.
        durations: ns of the events that say their duration.
        arrows: points of flows that bind to slices by their times.
        metadata: key -> value.
        host: the machine's name.
        uuids: uuid and number of each track that has one.
        interned: generation, table, iid -> text id, or -1.
        callstacks: what else is interned.
    """

    scanned: Scanned
    buffers: list[Any]
    tracks: Tracks
    sequences: Sequences
    durations: dict[int, int]
    arrows: list[FlowPoint]
    metadata: dict[str, Any]
    host: str
    uuids: list[tuple[int, int]]
    interned: Callable[[int, int, int], int]
    callstacks: Callstacks


def make_trace(content: Content, findings: Findings) -> Trace:
    """Make the Trace of a file's content."""
    told = _told(content, findings)
    return _Assembly(content, findings, told).trace()


def _told(content: Content, findings: Findings) -> Told | None:
    """What stepscope has written about the trace; None: another program wrote it."""
    about = content.metadata.pop(ABOUT, None)
    if about is None:
        return None
    try:
        said = json.loads(about)
        told = read_about({**said, "metadata": legal_args(said["metadata"])})
        if not INT64_MIN <= told.origin.boottime_offset_ns <= INT64_MAX - LAST_NS:
            findings.note("about", "its clocks are further apart than 64 bits of ns")
            return None
        return told
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        findings.note("about", f"what {ABOUT} says cannot be read ({error})")
        return None


class _Assembly:
    """The making of one Trace."""

    def __init__(self, content: Content, findings: Findings, told: Told | None) -> None:
        self._content, self._findings, self._told = content, findings, told
        self._texts = [self._decoded(text) for text in content.scanned.texts]
        if told:
            self._low = told.origin.boottime_offset_ns
            self._shift, origin = self._low, told.origin
        else:
            self._low, (self._shift, origin) = 0, self._foreign_origin()
        self._high = self._low + LAST_NS if told else LAST_NS
        self._builder = TraceBuilder(origin)

    def trace(self) -> Trace:
        """All of it."""
        content, builder = self._content, self._builder
        strings: dict[str, int] = {"": 0}
        names = array("I", [strings.setdefault(text or NO_NAME, len(strings)) for text in self._texts])
        cats = array("I", [strings.setdefault(text or NO_CATEGORY, len(strings)) for text in self._texts])
        sites = array("I", [strings.setdefault(text, len(strings)) for text in self._texts])
        tracks = self._placed_tracks()
        places = array("I", [tracks.get(number, 0) for number in range(max(tracks, default=-1) + 1)])
        ids = names, cats, sites, places
        paired = kernels.pair_events(content.scanned.events, self._low, self._high, self._shift, ids)
        args: dict[int, Mapping[str, Any]] = dict(self._args(paired, strings))
        for event, dur in content.durations.items():
            if (row := paired.rows[event]) != NO_ROW:
                paired.columns.dur[row] = min(dur, LAST_NS - paired.columns.ts[row])
        self._note_faults(paired)
        builder.adopt(paired.columns, strings, args)
        self._add_counters()
        self._add_flows(paired)
        self._add_arrows(paired, tracks)
        self._findings.tell(builder)
        trace = builder.build()
        return self._told.complete(trace) if self._told else trace

    def _decoded(self, text: bytes) -> str:
        try:
            return legal_text(text.decode())
        except UnicodeDecodeError:
            return as_text(text, self._findings.note)

    def _foreign_origin(self) -> tuple[int, Origin]:
        """What times count from, on the trace's clock, and the origin of a trace that does not say it."""
        content, clocking = self._content, self._content.sequences.clocking
        scanned, read = content.scanned, clocking.first
        trace_ns = read.get(clocking.trace_clock[1], 0)
        boottime = read.get(BOOTTIME, trace_ns)
        realtime = read.get(REALTIME, boottime)
        if not 0 <= realtime <= LAST_NS:
            realtime = trace_ns
        clocks = Clocks(boottime, read.get(MONOTONIC, boottime), realtime)
        to_realtime = realtime - trace_ns
        first = min(map(_earliest, (scanned.events.ts, scanned.counts.ts)))
        first = first if first <= LAST_NS else 0
        base = (first + to_realtime) // SECOND_NS * SECOND_NS
        metadata = freeze_args(content.metadata)
        return base - to_realtime, Origin(base, clocks, tool="", host=legal_text(content.host), metadata=metadata)

    def _placed_tracks(self) -> dict[int, int]:
        """The builder's track of each of the scanner's that has rows."""
        content = self._content
        uuids = {number: uuid for uuid, number in content.uuids}
        placed: dict[int, int] = {}
        kinds = self._told.kinds if self._told else {}
        for number in dict.fromkeys(content.scanned.events.track):
            if number in uuids:
                placed[number] = content.tracks.place(self._builder, uuids[number], kinds)
            else:
                placed[number] = content.tracks.place_own(self._builder, content.sequences.own[number])
        return placed

    def _note_faults(self, paired: PairedEvents) -> None:
        for kind, faults, what in (
            ("time", paired.beyond, "is out of the range of time"),
            ("unmatched", paired.unmatched, "ends a slice that never began"),
            ("misplaced", paired.misplaced, "was open when the slice around it ended, and ends with it"),
        ):
            if faults.count:
                self._findings.note(kind, self._fault(faults, what), faults.count)

    def _fault(self, faults: Faults, what: str) -> str:
        events = self._content.scanned.events
        name = self._texts[events.name[faults.first]]
        return f"event {faults.first} ({name!r} at {events.ts[faults.first]} ns) {what}"

    # -- arguments -------------------------------------------------------------------------------------------------

    def _args(self, paired: PairedEvents, strings: dict[str, int]) -> dict[int, dict[str, Any]]:
        """Row -> its arguments; a row that says it is cut is marked, and one that says its site has it."""
        found: dict[int, dict[str, Any]] = {}
        for event, proto, generation in self._annotated():
            row = paired.rows[event]
            if row == NO_ROW:
                continue
            args = decode_args(proto.debug_annotations, Texts(partial(self._interned, generation), self._findings.note))
            for name in [name for name in args if name.startswith(RESERVED_PREFIX)]:
                if name == CUT_KEY and self._told:
                    paired.columns.kind[row] |= CUT
                    del args[name]
                elif name == SITE_KEY and isinstance(args[name], str):
                    paired.columns.site[row] = strings.setdefault(args.pop(name), len(strings))
                else:
                    args["user:" + name] = args.pop(name)
            if CALL_STACK not in args and has_stack(proto):
                stack = self._content.callstacks.text(generation, proto)
                args.update({CALL_STACK: stack} if stack else {})
            if args:
                found.setdefault(row, {}).update(args)
        return found

    def _annotated(self) -> Iterator[tuple[int, Any, int]]:
        """Each event with annotations or a call stack: its number, it, and whose interned data it uses."""
        from google.protobuf.message import DecodeError
        from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent

        for event, buffer, start, stop, generation in zip(*self._content.scanned.details, strict=True):
            try:
                yield event, TrackEvent.FromString(self._content.buffers[buffer][start:stop]), generation
            except (DecodeError, UnicodeDecodeError):  # noqa: PERF203 - a damaged event is one of many
                self._findings.wrong("malformed", start, f"the arguments of event {event} cannot be read")

    def _interned(self, generation: int, table: int, iid: int) -> str | None:
        found = self._content.interned(generation, table, iid)
        if found < 0:
            self._findings.note("interned", f"an argument uses id {iid} without saying what it is")
            return None
        return self._texts[found]

    # -- counters and flows ----------------------------------------------------------------------------------------

    def _add_counters(self) -> None:
        """Add the counters' values, as what they stand for."""
        counts, tracks = self._content.scanned.counts, self._content.tracks
        uuids = {number: uuid for uuid, number in self._content.uuids}
        series = {number: uuids.get(number, 0) for number in dict.fromkeys(counts.track)}
        scales = {number: tracks.scale(uuid) for number, uuid in series.items()}
        placed = {number: tracks.place_counter(self._builder, uuid) for number, uuid in series.items()}
        sums: dict[int, tuple[int, float]] = {}
        beyond = 0
        for ts, given, track, generation in zip(*counts, strict=True):
            value, scale = given * scales[track].multiplier, scales[track]
            if scale.incremental:
                of, total = sums.get(track, (generation, 0.0))
                value += total if of == generation else 0.0
                sums[track] = generation, value
            if self._low <= ts <= self._high:
                self._builder.count(placed[track], ts - self._shift, value)
            else:
                beyond += 1
        if beyond:
            self._findings.note("time", "a counter's value is out of the range of time", beyond)

    def _add_flows(self, paired: PairedEvents) -> None:
        """Connect the points of each flow in order of time, from where it begins to where it ends."""
        scanned = self._content.scanned
        points = sorted(zip(*scanned.flows, strict=True), key=lambda point: scanned.events.ts[point[0]])
        running: dict[int, list[int]] = {}
        for event, flow, last in points:
            row = paired.rows[event]
            if row == NO_ROW or (last and flow not in running):
                continue
            running.setdefault(flow, []).append(row)
            if last:
                self._add_flow(flow, running.pop(flow))
        for flow, rows in running.items():
            self._add_flow(flow, rows)

    def _add_arrows(self, paired: PairedEvents, tracks: dict[int, int]) -> None:
        """Connect the slices that the points of flows of Chrome's form are in."""
        flows = Flows()
        places: list[int] = []
        for arrow in self._content.arrows:
            flows.points.append(arrow._replace(ts=arrow.ts - self._shift, track=len(places)))
            places.append(tracks.get(arrow.track, -1))
        for name, rows in flows.resolve(paired.columns, int, places, self._findings):
            self._builder.flow(legal_text(name), rows)

    def _add_flow(self, flow: int, rows: list[int]) -> None:
        if len(rows) < 2:
            return
        names = self._told.flow_names if self._told else []
        place = (flow >> FLOW_NAME_SHIFT) - 1
        self._builder.flow(names[place] if 0 <= place < len(names) else "", rows)


def _earliest(times: "array[int]") -> int:
    """The first time that a trace can hold; beyond that if there is none."""
    first = min(times, default=LAST_NS + 1)
    return first if first >= 0 else min((ts for ts in times if ts >= 0), default=LAST_NS + 1)
