"""Perfetto protobuf, as compact as the trace processor reads it.

One sequence for what concerns the whole file (clocks, host, metadata, processes), then one for each track with
interned text, the track as default, and an incremental clock that starts at the track's first row or value. Times
are on CLOCK_BOOTTIME, Perfetto's default, so that traces of several processes and of the system line up.
"""

import struct
from array import array
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from stepscope.core import kernels
from stepscope.core.protobuf import Annotations, TrackSequence, field, varint
from stepscope.core.rows import Columns, Counters, Flows
from stepscope.core.stacks import CALL_STACK
from stepscope.core.values import SITE_KEY
from stepscope.formats.about import ABOUT, about, flow_names, processes
from stepscope.formats.perfetto_stacks import StackTable, stack_reference
from stepscope.model.row_args import plain_args
from stepscope.model.trace import Origin, Trace, Track

__all__ = ["encode_perfetto"]

REALTIME, MONOTONIC, BOOTTIME, INCREMENTAL = 1, 3, 6, 64  # clock ids; 64 is the sequence's own
STATE_CLEARED, STATE_NEEDED = 1, 2
GLOBAL_SEQUENCE = 1
# The trace processor formats a metadata key into 2 KiB, unchecked: past that it dies. A character is up to 4 bytes.
MAX_METADATA_KEY = 400
# The trace processor looks for the marks of other formats in a file's first 128 bytes: there is no user's text in them.
NOTE = (
    "Written by stepscope. Open this file in https://ui.perfetto.dev, or ask it questions in SQL: "
    "from stepscope.check import open_trace."
)
# CounterDescriptor's own units, which every viewer scales; any other is shown by its name.
UNITS = {"ns": 1, "count": 2, "bytes": 3}
UINT64 = (1 << 64) - 1


def encode_perfetto(trace: Trace) -> Iterator[bytes]:
    """Encode a trace as Perfetto protobuf; yields whole packets, many at a time."""
    yield _global_packets(trace)
    stacks = StackTable(trace)
    names = _AnnotationNames(stacks)
    args = plain_args(trace.args)
    annotations = kernels.encode_perfetto_args(args, names.ids, names.texts, CALL_STACK, names.annotations)
    sequences = _sequences(trace, stacks)
    site_name = names.id(SITE_KEY)  # which is in the file if a row uses it
    first_counter = len(sequences) - len(kernels.distinct_ids(trace.counters.track))
    yield from kernels.perfetto_rows(
        trace.columns,
        [text.encode() for text in trace.strings],
        sequences[:first_counter],
        annotations,
        names.texts,
        flows=_numbered_names(trace),
        site_name=site_name,
    )
    yield from _counters(trace, sequences, first_counter)


def _numbered_names(trace: Trace) -> Flows:
    """Flows whose names are places in the list of flow names that the file has: a flow's id tells its name."""
    place = array("I", bytes(4 * len(trace.strings)))
    for number, name in enumerate(flow_names(trace)):
        place[name] = number
    return trace.flows._replace(name=kernels.map_ids(trace.flows.name, place))


def _counters(trace: Trace, sequences: list[TrackSequence], first: int) -> Iterator[bytes]:
    """What the tracks of counters are, which stand from `first` on, then the values of all."""
    yield b"".join(sequence.preamble for sequence in sequences[first:])
    numbers = array("I", (sequence.number for sequence in sequences))
    last = array("q", (sequence.start_ns for sequence in sequences))
    at = 0
    while at < len(trace.counters.ts):
        chunk, at = kernels.perfetto_counters(trace.counters, numbers, last, at)
        yield chunk


def _uint(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value & UINT64)


def _text(number: int, text: str) -> bytes:
    return field(number, text.encode())


def _packet(sequence: int, payload: bytes) -> bytes:
    return field(1, payload + _uint(10, sequence))


def _global_packets(trace: Trace) -> bytes:
    """Clocks, host, trace id, metadata and processes."""
    origin = trace.origin
    clocks = origin.clocks
    readings = (
        (BOOTTIME, clocks.boottime_ns),
        (MONOTONIC, clocks.monotonic_ns),
        (REALTIME, clocks.realtime_ns),
    )
    snapshot = b"".join(field(1, _uint(1, clock) + _uint(2, time)) for clock, time in readings)
    note = field(5, field(2, _metadata("stepscope:note", NOTE)))
    packets = [field(6, snapshot), note, field(45, _text(17, origin.host))]
    if uuid := _uuid(origin.trace_id):
        packets.append(field(89, uuid))
    shown = {key: value for key, value in origin.metadata.items() if len(key) <= MAX_METADATA_KEY}
    whole = {**about(trace), "metadata": dict(origin.metadata)}
    metadata = {"host_name": origin.host, **shown, ABOUT: whole}
    packets.append(field(5, b"".join(field(2, _metadata(*item)) for item in metadata.items())))
    packets += [field(60, _process(origin, pid, name)) for pid, name in processes(trace).items()]
    return b"".join(_packet(GLOBAL_SEQUENCE, packet) for packet in packets)


def _metadata(key: str, value: Any) -> bytes:
    """A ChromeMetadata: the one form of metadata that every trace processor shows, as `cr-KEY`."""
    if isinstance(value, bool):
        return _text(1, key) + _uint(3, value)
    if isinstance(value, int):
        return _text(1, key) + _uint(4, value)
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return _text(1, key) + _text(2, text)


def _uuid(trace_id: str) -> bytes:
    """A TraceUuid, if the id is one."""
    try:
        number = int(trace_id, 16)
    except ValueError:
        return b""
    return _uint(1, number >> 64) + _uint(2, number) if 0 < number < 1 << 128 else b""


def _track_uuid(*identity: object) -> int:
    """64 bits of what a track is: files of several processes and cycles can be joined without a collision."""
    digest = blake2b(repr(identity).encode("utf-8", "backslashreplace"), digest_size=8).digest()
    (uuid,) = struct.unpack("<Q", digest)
    return uuid or 1


def _process_uuid(origin: Origin, pid: int) -> int:
    return _track_uuid(origin.host, origin.trace_id, "process", pid)


def _process(origin: Origin, pid: int, name: str) -> bytes:
    return _uint(1, _process_uuid(origin, pid)) + field(3, _uint(1, pid) + _text(6, name))


def _sequences(trace: Trace, stacks: StackTable) -> list[TrackSequence]:
    """Each track's sequence: its clock, its defaults, and what the track is."""
    counted = sum(track.kind == "counter" for track in trace.tracks)
    first = {
        **_first_times(trace.columns, len(trace.tracks) - counted),
        **_first_times(trace.counters, counted),
    }
    sequences = []
    for number, track in enumerate(trace.tracks):
        start = first.get(number, 0)
        sequence = GLOBAL_SEQUENCE + 1 + number
        preamble = _preamble(sequence, start + trace.origin.boottime_offset_ns, track, trace.origin)
        if interned := stacks.interned(number):
            preamble += _packet(sequence, field(12, interned) + _uint(13, STATE_NEEDED))
        sequences.append(TrackSequence(sequence, start, preamble))
    return sequences


def _first_times(table: Columns | Counters, tracks: int) -> dict[int, int]:
    """Track -> ts of what is first on it, for the tracks of a table."""
    first: dict[int, int] = {}
    for number, ts in zip(table.track, table.ts, strict=True):
        if number not in first:
            first[number] = ts
            if len(first) == tracks:
                break
    return first


def _preamble(sequence: int, boottime_ns: int, track: Track, origin: Origin) -> bytes:
    uuid, descriptor = (_counter if track.kind == "counter" else _thread)(track, origin)
    own_clock = _uint(1, INCREMENTAL) + _uint(2, boottime_ns) + _uint(3, 1)
    snapshot = field(1, _uint(1, BOOTTIME) + _uint(2, boottime_ns)) + field(1, own_clock)
    defaults = _uint(58, INCREMENTAL) + field(11, _uint(11, uuid))
    first = field(6, snapshot) + field(59, defaults) + _uint(13, STATE_CLEARED) + _uint(87, 1)
    return _packet(sequence, first) + _packet(sequence, field(60, _uint(1, uuid) + descriptor))


def _thread(track: Track, origin: Origin) -> tuple[int, bytes]:
    """A thread's uuid, and the rest of its TrackDescriptor."""
    uuid = _track_uuid(origin.host, origin.trace_id, track.kind, track.pid, track.tid)
    return uuid, field(4, _uint(1, track.pid) + _uint(2, track.tid) + _text(5, track.name))


def _counter(track: Track, origin: Origin) -> tuple[int, bytes]:
    """A counter's uuid, and the rest of its TrackDescriptor: a child of its process."""
    uuid = _track_uuid(origin.host, origin.trace_id, track.kind, track.pid, track.name, track.unit)
    unit = _uint(3, UNITS[track.unit]) if track.unit in UNITS else _text(6, track.unit) if track.unit else b""
    parent = _uint(5, _process_uuid(origin, track.pid))
    return uuid, parent + _text(2, track.name) + field(8, unit)


class _AnnotationNames:
    """Argument names by id, in order of first use; 0 is nobody's."""

    def __init__(self, stacks: StackTable) -> None:
        self._stacks = stacks
        self.ids: dict[str, int] = {}
        self.texts: list[bytes] = [b""]

    def annotations(self, args: Mapping[str, Any]) -> Annotations:
        """A row's arguments as DebugAnnotations; names at the top level are interned, and so is a call stack."""
        encoded, used = [], []
        for name, value in args.items():
            iid = self.id(name)
            used.append(iid)
            stack = self._stacks.number(value) if name == CALL_STACK else 0
            encoded.append(field(4, _uint(1, iid) + (self._stacks.value(stack) if stack else _value(value))))
            if stack:
                encoded.append(stack_reference(stack))
        return Annotations(b"".join(encoded), tuple(used))

    def id(self, name: str) -> int:
        """A name's id."""
        if name not in self.ids:
            self.ids[name] = len(self.texts)
            self.texts.append(name.encode())
        return self.ids[name]


def _value(value: Any) -> bytes:
    """The fields of a DebugAnnotation that hold its value, typed."""
    if isinstance(value, bool):
        return _uint(2, value)
    if isinstance(value, int):
        return _uint(4, value)
    if isinstance(value, float):
        return b"\x29" + struct.pack("<d", value)
    if isinstance(value, str):
        return _text(6, value)
    if isinstance(value, Mapping):
        return b"".join(field(11, _text(10, key) + _value(item)) for key, item in value.items())
    return b"".join(field(12, _value(item)) for item in value)
