"""Reading Perfetto protobuf: our own files give the very Trace that was written, others what their tracks hold.

Packets of the shapes that tracers write again and again are read by a kernel; what is rare is read here, with the
perfetto package's own classes: descriptors, clocks, defaults, metadata, compressed packets, older events.

Source: Perfetto's ProtoTraceReader, for what comes before what in a packet.
"""

import mmap
from typing import TYPE_CHECKING, Any

from stepscope.core import kernels
from stepscope.core.events import DONE, PACKET, TRUNCATED, Stop
from stepscope.core.protobuf import LENGTH, VARINT, MalformedError, fields
from stepscope.formats.findings import Findings
from stepscope.formats.perfetto_callstacks import Callstacks
from stepscope.formats.perfetto_events import Event, EventReader
from stepscope.formats.perfetto_messages import as_bytes, as_text, parse
from stepscope.formats.perfetto_packed import DEFLATE, ZSTD, Packed
from stepscope.formats.perfetto_sequence import Sequence, Sequences
from stepscope.formats.perfetto_trace import Content, make_trace
from stepscope.formats.perfetto_tracks import OwnTrack, Tracks
from stepscope.model.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decode_perfetto"]

STATE_CLEARED, NEEDS_STATE = 1, 2  # of sequence_flags
INTERNED_TEXTS = {1: "event_categories", 2: "event_names", 3: "debug_annotation_names"}
STRING_VALUES = 29  # debug_annotation_string_values, whose text is bytes


def decode_perfetto(
    data: bytes | memoryview | mmap.mmap, source: str, *, strict: bool = True, max_bytes: int | None = None
) -> Trace:
    """Read a .pftrace file.

    What is legal but cannot be in a Trace is counted in its problems: events whose times, names or state are unknown,
    ends without begins. Packets of other subjects than tracks, counters and flows are passed over.

    Args:
        data: the file's content.
        source: what errors call it.
        strict: raise if the file is damaged. Otherwise all whole packets before the damage are read, and the damage
            is a problem of the trace.
        max_bytes: how much may come out of compressed packets. None: 8 GiB, and no more than 400 times the file's size.

    Raises:
        FormatError: the file is damaged, or more comes out of compressed packets than max_bytes.
    """
    findings = Findings(source, strict=strict)
    packed = Packed(findings, source, len(data), max_bytes)
    return _File(findings, packed).decode(bytes(data) if isinstance(data, memoryview) else data)


class _File:
    """One file while it is read."""

    def __init__(self, findings: Findings, packed: Packed) -> None:
        self._findings = findings
        self._packed = packed
        self._scanner = kernels.TrackEventScanner()
        self._sequences = Sequences(self._scanner)
        self._tracks = Tracks(self._findings.note)
        self._events = EventReader(self._scanner, self._sequences, self._tracks, self._findings.note)
        self._callstacks = Callstacks(findings.note)
        self._buffers: list[Any] = []
        self._metadata: dict[str, Any] = {}
        self._host = ""
        # Of TracePacket, in the order in which they are read; all of them are messages.
        self._readers: dict[int, Callable[[Sequence, bytes], None]] = {
            44: self._thread_descriptor,
            43: self._process_descriptor,
            60: self._track_descriptor,
            5: self._chrome_events,
            45: self._system_info,
        }

    def decode(self, data: bytes | mmap.mmap) -> Trace:
        """Read all packets and make the Trace."""
        if self._packets(data, 0) and not self._scanner.packets:
            self._findings.wrong("truncated", 0, "there is no packet in the file")
        content = Content(
            self._scanner.take(),
            self._buffers,
            self._tracks,
            self._sequences,
            self._events.durations,
            self._events.arrows,
            self._metadata,
            self._host,
            uuids=self._scanner.uuids(),
            interned=self._scanner.interned,
            callstacks=self._callstacks,
        )
        return make_trace(content, self._findings)

    def _packets(self, data: bytes | mmap.mmap, depth: int) -> bool:
        """Read the packets of a file, or of a compressed packet; returns whether they were all."""
        number = len(self._buffers)
        self._buffers.append(data)
        stop = self._scanner.scan(data, 0, number)
        while stop.status == PACKET:
            packet = f"packet {self._scanner.packets}" + " (a compressed one)" * (depth > 0)
            try:
                self._packet(data, stop, depth)
            except MalformedError as error:
                self._findings.wrong("malformed", stop.at, f"{packet} is damaged at {error}")
            except UnicodeDecodeError as error:
                self._findings.wrong("malformed", stop.at, f"{packet} has text that is not UTF-8 ({error.reason})")
            stop = self._scanner.scan(data, stop.stop, number)
        if stop.status != DONE:
            cut = stop.status == TRUNCATED
            what = "ends beyond the data" if cut else "does not begin as a packet does"
            packet = f"packet {self._scanner.packets + 1}" + " (a compressed one)" * (depth > 0)
            self._findings.wrong("truncated" if cut else "damaged", stop.at, f"{packet} {what}")
        return stop.status == DONE

    def _packet(self, data: bytes | mmap.mmap, stop: Stop, depth: int) -> None:
        """Read a packet that the scanner does not."""
        numbers: dict[int, int] = {}
        parts: dict[int, tuple[int, int]] = {}
        for number, wire, value, end in fields(data, stop.start, stop.stop):
            if wire == VARINT:
                numbers[number] = value
            elif wire == LENGTH:
                parts[number] = value, end
        self._compressed(data, parts, stop.at, depth)
        sequence = self._sequences.get(numbers.get(10, 0))
        self._state(sequence, numbers, parts, data)
        if 6 in parts:
            self._sequences.snapshot(sequence, parse("ClockSnapshot", data[slice(*parts[6])]))
        elif numbers.get(13, 0) & NEEDS_STATE and not sequence.valid:
            self._findings.note(
                "state", f"byte {stop.at}: what a packet of sequence {sequence.number} refers to is lost"
            )
        else:
            ts = self._sequences.time(sequence, numbers.get(58, 0), numbers[8]) if 8 in numbers else None
            for number, read in self._readers.items():
                if number in parts:
                    read(sequence, data[slice(*parts[number])])
            if 11 in parts:
                self._track_event(sequence, ts, data, parts[11])
        self._sequences.tell(sequence)

    def _state(self, sequence: Sequence, numbers: dict[int, int], parts: dict[int, tuple[int, int]], data: Any) -> None:
        """Take what later packets of the sequence refer to."""
        if numbers.get(13, 0) & STATE_CLEARED or numbers.get(41):
            self._sequences.clear(sequence)
        elif numbers.get(42):
            self._sequences.lose(sequence)
        if 59 in parts:
            self._sequences.set_defaults(sequence, parse("TracePacketDefaults", data[slice(*parts[59])]))
        if 12 in parts and sequence.valid:
            interned = parse("InternedData", data[slice(*parts[12])])
            for table, name in INTERNED_TEXTS.items():
                for entry in getattr(interned, name):
                    self._scanner.intern(sequence.generation, table, entry.iid, as_bytes(entry.name))
            for entry in interned.debug_annotation_string_values:
                self._scanner.intern(sequence.generation, STRING_VALUES, entry.iid, entry.str)
            self._callstacks.intern(sequence.generation, interned)
        elif 12 in parts:
            self._findings.note("state", f"texts of sequence {sequence.number} come before its state is cleared")
        self._sequences.tell(sequence)

    def _track_event(self, sequence: Sequence, ts: int | None, data: Any, part: tuple[int, int]) -> None:
        event = parse("TrackEvent", data[slice(*part)])
        if sequence.number:
            self._events.read(Event(event, sequence, ts, *part))
        else:
            self._findings.note("unreadable", "an event is of no packet sequence")

    def _compressed(self, data: Any, parts: dict[int, tuple[int, int]], at: int, depth: int) -> None:
        """Read the packets in a compressed one."""
        for field in (DEFLATE, ZSTD):
            if field in parts:
                self._packets(self._packed.unpack(field, data[slice(*parts[field])], at, depth), depth + 1)

    # -- packets that are rare -------------------------------------------------------------------------------------

    def _thread_descriptor(self, sequence: Sequence, message: bytes) -> None:
        descriptor = parse("ThreadDescriptor", message)
        pid, tid = self._tracks.describe_thread(descriptor)
        sequence.thread = OwnTrack(pid, tid, "")
        sequence.time_ns = descriptor.reference_timestamp_us * 1000

    def _process_descriptor(self, _: Sequence, message: bytes) -> None:
        self._tracks.describe_process(parse("ProcessDescriptor", message))

    def _track_descriptor(self, _: Sequence, message: bytes) -> None:
        self._tracks.describe(parse("TrackDescriptor", message))

    def _chrome_events(self, _: Sequence, message: bytes) -> None:
        for entry in parse("ChromeEventBundle", message).metadata:
            kind = entry.WhichOneof("value")
            if kind:
                value = getattr(entry, kind)
                text = as_text(value, self._findings.note) if isinstance(value, (str, bytes)) else value
                self._metadata[as_text(entry.name, self._findings.note)] = text

    def _system_info(self, _: Sequence, message: bytes) -> None:
        self._host = as_text(parse("SystemInfo", message).machine_name, self._findings.note) or self._host
