"""The rows of a .pftrace file: TrackEvents of one sequence a track.

    TracePacket       0a len | 40 timestamp delta | 50 sequence | 68 02 | 5a len TrackEvent | 62 len InternedData
    TrackEvent begin  48 01 | 18 category iid | 50 name iid | 22 len DebugAnnotation ... | f9 02 flow id ...
    TrackEvent end    48 02
    TrackEvent point  48 03 | as begin

Where a row's function is, is its first annotation: 22 len | 08 name iid | 88 01 site iid, of string values that are
interned, too. The last point of a flow ends it: 81 03 flow id. A string's iid is its id in the trace; the packet that
uses it first on a sequence carries the text. An end needs no interned data, so it does without the two bytes of the
sequence flags.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

from stepscope.core.protobuf import Annotations, TrackSequence, field, varint
from stepscope.core.rows import CUT, INSTANT, Columns, Flows
from stepscope.core.twin.flows import FIRST, LAST, STEP, flow_points

__all__ = ["perfetto_rows"]

CHUNK_BYTES = 1 << 18
BEGIN, END, POINT = b"\x48\x01", b"\x48\x02", b"\x48\x03"
NAMES, CATEGORIES, ANNOTATION_NAMES, STRING_VALUES = 2, 1, 3, 29  # fields of InternedData


# {"stepscope:cut": true}, with its name inline: too rare to intern.
CUT_MARK = field(4, field(10, b"stepscope:cut") + b"\x10\x01")
FLOW_HEADS = {FIRST: b"\xf9\x02", STEP: b"\xf9\x02", LAST: b"\x81\x03"}


class _Writer:
    """The packets of one sequence."""

    def __init__(
        self, sequence: TrackSequence, texts: Sequence[bytes], annotation_names: Sequence[bytes], site_name: int
    ) -> None:
        self.out = bytearray(sequence.preamble)
        self._last = sequence.start_ns
        self._number = b"\x50" + varint(sequence.number)
        self._texts = texts
        self._annotation_names = annotation_names
        self._site_name = site_name
        self._seen: set[tuple[int, int]] = set()

    def end(self, ts: int) -> None:
        self._packet(ts, b"\x5a\x02" + END)

    def event(self, kind: bytes, ts: int, texts: tuple[int, int, int], annotations: Annotations) -> None:
        name, cat, site = texts
        event = kind + b"\x18" + varint(cat) + b"\x50" + varint(name)
        interned = self._intern(CATEGORIES, cat, self._texts) + self._intern(NAMES, name, self._texts)
        if site:
            event += field(4, b"\x08" + varint(self._site_name) + b"\x88\x01" + varint(site))
            interned += self._intern(STRING_VALUES, site, self._texts)
            interned += self._intern(ANNOTATION_NAMES, self._site_name, self._annotation_names)
        packet = b"\x68\x02" + field(11, event + annotations.encoded)
        for used in annotations.names:
            interned += self._intern(ANNOTATION_NAMES, used, self._annotation_names)
        if interned:
            packet += field(12, interned)
        self._packet(ts, packet)

    def _packet(self, ts: int, rest: bytes) -> None:
        packet = b"\x40" + varint(ts - self._last) + self._number + rest
        self._last = ts
        self.out += b"\x0a" + varint(len(packet)) + packet

    def _intern(self, table: int, iid: int, texts: Sequence[bytes]) -> bytes:
        if (table, iid) in self._seen:
            return b""
        self._seen.add((table, iid))
        return field(table, b"\x08" + varint(iid) + field(2, texts[iid]))


def perfetto_rows(
    columns: Columns,
    texts: Sequence[bytes],
    sequences: Sequence[TrackSequence],
    args: Mapping[int, Annotations],
    annotation_names: Sequence[bytes],
    *,
    flows: Flows | None = None,
    site_name: int = 0,
) -> Iterator[bytes]:
    """Encode rows, one track after the other.

    Args:
        columns: settled; ts and dur in ns.
        texts: string id -> UTF-8.
        sequences: track id -> its sequence, whose clock starts at or before the track's first row.
        args: row -> its annotations, for the rows that have some.
        annotation_names: annotation name id -> UTF-8; id 0 is not used.
        flows: names are any numbers below 2**24 - 1; a flow's id in the file is made of its name's and its own.
        site_name: the annotation name id that rows with a site use; 0: there are none.

    Yields:
        Whole packets, many at a time.
    """
    of_track: list[list[int]] = [[] for _ in sequences]
    for row, track in enumerate(columns.track):
        of_track[track].append(row)
    fields = _flow_fields(flows)
    for sequence, rows in zip(sequences, of_track, strict=True):
        writer = _Writer(sequence, texts, annotation_names, site_name)
        yield from _track_rows(columns, rows, writer, args.get, fields)


def _flow_fields(flows: Flows | None) -> dict[int, bytes]:
    """Row -> the flow ids of its event."""
    if flows is None:
        return {}
    return {
        row: b"".join(FLOW_HEADS[stands] + _flow_id(flow, flows.name[flow]) for flow, stands in points)
        for row, points in flow_points(flows).items()
    }


def _flow_id(flow: int, name: int) -> bytes:
    return struct.pack("<Q", (name + 1) << 40 | (flow + 1))


def _track_rows(
    columns: Columns,
    rows: list[int],
    writer: _Writer,
    annotations_of: Callable[[int, Annotations], Annotations],
    fields: Mapping[int, bytes],
) -> Iterator[bytes]:
    """Turn nested rows into begins and ends in order of time."""
    none = Annotations(b"", ())
    ends: list[tuple[int, int]] = []
    for row in rows:
        ts, dur, kind = columns.ts[row], columns.dur[row], columns.kind[row]
        while ends and (ends[-1][0] < ts or (ends[-1][0] == ts and (ends[-1][1] or dur))):
            writer.end(ends.pop()[0])
        annotations = annotations_of(row, none)
        if kind & CUT:
            annotations = annotations._replace(encoded=annotations.encoded + CUT_MARK)
        if row in fields:
            annotations = annotations._replace(encoded=annotations.encoded + fields[row])
        point = kind & INSTANT
        row_texts = columns.name[row], columns.cat[row], columns.site[row]
        writer.event(POINT if point else BEGIN, ts, row_texts, annotations)
        if not point:
            ends.append((ts + dur, dur))
        if len(writer.out) > CHUNK_BYTES:
            yield bytes(writer.out)
            writer.out.clear()
    while ends:
        writer.end(ends.pop()[0])
    yield bytes(writer.out)
