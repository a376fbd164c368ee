"""The packets of a .pftrace file, read as fast as they come: TrackEvents of the shapes that tracers write.

    TracePacket   40 time | d003 clock | 50 sequence | 68 flags | 5a len TrackEvent | 62 len InternedData
    TrackEvent    48 type | 50 name iid | ba01 len name | 18 category iid | b201 len category | 58 track uuid
                  22 len DebugAnnotation | f9 02 flow id | 81 03 flow id, the last | f0 01 integer | e1 02 double

The one annotation that is read is where a row's function is, as our writer has it: 22 len | 08 name iid | 88 01 site
iid, both interned. What is in any other packet, and what these mean there, is the caller's to know: the scan stops
there. So does it where call stacks are interned; an event that has one (ba 03 len stack, c0 03 iid) is read, and noted.
"""

from typing import Any

from stepscope.core.events import (
    BEGIN,
    COUNT,
    DONE,
    MALFORMED,
    PACKET,
    TRUNCATED,
    Counts,
    Details,
    Events,
    FlowIds,
    Scanned,
    Stop,
)
from stepscope.core.protobuf import FIXED64, LENGTH, VARINT, MalformedError, double, fields, read_varint, signed
from stepscope.core.twin.perfetto_state import (
    ANNOTATION_NAMES,
    CATEGORIES,
    NAMES,
    STACK_TABLES,
    STRING_VALUES,
    TEXT_TABLES,
    ClockState,
    ParsedEvent,
    SequenceState,
    site_iids,
)
from stepscope.core.values import SITE_KEY

__all__ = ["TrackEventScanner"]

NEEDS_STATE = 2  # of sequence_flags
SITE_TEXT = 1  # the text id of SITE_KEY
# Numbers that say nothing about events: trusted_uid, trusted_pid, machine_id.
PASSED_OVER = (3 << 3, 79 << 3, 98 << 3)
TIME, CLOCK, SEQUENCE, FLAGS = 8 << 3, 58 << 3, 10 << 3, 13 << 3
EVENT, INTERNED = 11 << 3 | LENGTH, 12 << 3 | LENGTH
# Fields of TrackEvent with a meaning that is not read here: timestamps and phases of its old form, further counters,
# flows with varying ids.
NOT_READ = frozenset((1, 16, 6, 12, 31, 45, 46, 36, 42))
READ = {
    9: VARINT,
    10: VARINT,
    23: LENGTH,
    3: VARINT,
    22: LENGTH,
    11: VARINT,
    4: LENGTH,
    47: FIXED64,
    48: FIXED64,
    30: VARINT,
    44: FIXED64,
    55: LENGTH,
    56: VARINT,
}
# A packet whose bytes behind the time are as those of one before has the same event: that saves parsing it.
MAX_SHAPES, MAX_SHAPE_BYTES = 1 << 17, 64


def _long_varint(data: Any, at: int, stop: int) -> tuple[int, int]:
    """As read_varint; where there is none, what no packet has: an integer that takes all of it."""
    try:
        return read_varint(data, at, stop)
    except MalformedError:
        return 0, stop


class TrackEventScanner:
    """Reads packets into columns, and keeps what they refer to: interned texts, tracks, clocks of sequences.

    Attributes:
        packets: how many were seen.
    """

    def __init__(self) -> None:
        self.packets = 0
        self._events, self._details = Events.empty(), Details.empty()
        self._flows, self._counts = FlowIds.empty(), Counts.empty()
        self._texts: dict[bytes, int] = {b"": 0, SITE_KEY.encode(): SITE_TEXT}
        self._text_list = list(self._texts)
        self._interned: dict[tuple[int, int, int], int] = {}
        self._tracks: dict[int, int] = {}
        self._track_count = 0
        self._sequences: dict[int, SequenceState] = {}
        self._clocks: dict[tuple[int, int], ClockState] = {}
        self._epoch = 0
        self._shapes: dict[bytes, tuple[ClockState, int, int, int, int, int]] = {}
        self._data: Any = b""
        self._buffer = 0

    # -- what the caller finds in other packets --------------------------------------------------------------------

    def sequence(self, number: int, generation: int, valid: bool, track: int, clock: int) -> None:
        """Say what packets of a sequence have in common.

        Args:
            number: the sequence's.
            generation: of its interned texts.
            valid: whether packets that need its state can be read.
            track: where events are that name no track.
            clock: which clock times are of that name none.
        """
        self._shapes.clear()
        sequence = self._sequences.setdefault(number, SequenceState())
        sequence.generation, sequence.valid, sequence.track, sequence.clock = generation, valid, track, clock

    def set_clock(self, number: int, clock: int, unit_ns: int, incremental: bool, last: int) -> None:
        """Make a clock of a sequence anew: its unit, and for times that are differences the ns they start from."""
        self._shapes.clear()
        self._clocks[number, clock] = ClockState(unit_ns, incremental, last)

    def map_clock(self, number: int, clock: int, lowest: int, highest: int, offset: int) -> None:
        """Say that from lowest to highest ns on this clock ts is ns + offset, which fits 64 bits."""
        self._shapes.clear()
        found = self._clocks[number, clock]
        found.lowest, found.highest, found.offset, found.epoch = lowest, highest, offset, self._epoch

    def unmap_clocks(self) -> None:
        """Forget what `map_clock` has said."""
        self._shapes.clear()
        self._epoch += 1

    def advance(self, number: int, clock: int, time: int) -> int | None:
        """The ns of a packet's time on a clock of its sequence, modulo 2**64; None: there is no such clock."""
        found = self._clocks.get((number, clock))
        if found is None:
            return None
        ns = signed(time * found.unit_ns + (found.last if found.incremental else 0))
        found.last = ns
        return ns

    def text(self, text: bytes) -> int:
        """The id of a text."""
        number = self._texts.setdefault(text, len(self._texts))
        if number == len(self._text_list):
            self._text_list.append(text)
        return number

    def text_of(self, number: int) -> bytes:
        """The text of an id."""
        return self._text_list[number]

    def intern(self, generation: int, table: int, iid: int, text: bytes) -> None:
        """Note an entry of InternedData; the first one of an iid counts."""
        self._interned.setdefault((generation, table, iid), self.text(text))

    def interned(self, generation: int, table: int, iid: int) -> int:
        """The text id of an entry; -1: there is none."""
        return self._interned.get((generation, table, iid), -1)

    def track(self, uuid: int) -> int:
        """The number of a track: they count from 0 in order of use."""
        if uuid not in self._tracks:
            self._tracks[uuid] = self.new_track()
        return self._tracks[uuid]

    def new_track(self) -> int:
        """The number of a track without a uuid."""
        self._track_count += 1
        return self._track_count - 1

    def uuids(self) -> list[tuple[int, int]]:
        """The uuid and number of each track that has one."""
        return list(self._tracks.items())

    def event(self, ts: int, kind: int, track: int, name: int, cat: int) -> int:
        """Add an event; returns its number."""
        for column, value in zip(self._events, (ts, kind, track, name, cat, 0), strict=True):
            column.append(value)
        return len(self._events.ts) - 1

    def detail(self, event: int, start: int, stop: int, generation: int) -> None:
        """Note where an event of the data that is scanned stands."""
        for column, value in zip(self._details, (event, self._buffer, start, stop, generation), strict=True):
            column.append(value)

    def flow(self, event: int, flow: int, last: bool) -> None:
        """Add a point of a flow."""
        for column, value in zip(self._flows, (event, flow, last), strict=True):
            column.append(value)

    def count(self, ts: int, value: float, track: int, generation: int) -> None:
        """Add a value of a counter."""
        self._counts.ts.append(ts)
        self._counts.value.append(value)
        self._counts.track.append(track)
        self._counts.generation.append(generation)

    def take(self) -> Scanned:
        """All that was found; the scanner is spent then."""
        return Scanned(self._events, self._details, self._flows, self._counts, self._text_list)

    # -- packets ---------------------------------------------------------------------------------------------------

    def scan(self, data: Any, at: int, buffer: int) -> Stop:
        """Read packets until the end, or to one that is the caller's.

        Args:
            data: bytes, a read-only memoryview of bytes, or a mmap.
            at: where to go on: 0, or the stop of the packet before.
            buffer: a number of the caller's for this data.
        """
        self._data, self._buffer = data, buffer
        end = len(data)
        while at < end:
            at = self._known_shapes(data, at, end)
            if at == end:
                break
            try:
                if data[at] != 0x0A:
                    _, _, _, at = next(fields(data, at, end))
                    continue
                length, start = read_varint(data, at + 1, end)
            except MalformedError:
                cut = data[at] == 0x0A and end - at <= 10
                return Stop(TRUNCATED if cut else MALFORMED, at, end, end)
            if length > end - start:
                return Stop(TRUNCATED, at, start, end)
            self.packets += 1
            try:
                taken = self._take(start, start + length)
            except MalformedError:
                taken = False
            if not taken:
                return Stop(PACKET, at, start, start + length)
            at = start + length
        return Stop(DONE, end, end, end)

    def _known_shapes(self, data: Any, at: int, end: int) -> int:
        """Take packets that are, behind their time, as one before; returns where the first other one is."""
        shapes, last_start = self._shapes.get, end - MAX_SHAPE_BYTES * 2
        columns = self._events
        add_ts, add_kind, add_track = columns.ts.append, columns.kind.append, columns.track.append
        add_name, add_cat, add_site = columns.name.append, columns.cat.append, columns.site.append
        seen = 0
        while at < last_start:
            stop = at + 2 + data[at + 1]
            # 0a length below 128 | 40 time
            if data[at] != 0x0A or stop > at + 129 or data[at + 2] != 0x40:
                break
            time, behind = data[at + 3], at + 4
            if time > 0x7F:
                time, behind = time & 0x7F | data[behind] << 7, at + 5
                if time > 0x3FFF:  # more than two bytes, which are rarer
                    time, behind = _long_varint(data, at + 3, stop)
            shape = shapes(data[behind:stop])
            if shape is None:
                break
            clock, kind, track, name, cat, site = shape
            ns = clock.last + time * clock.unit_ns if clock.incremental else time * clock.unit_ns
            if not clock.lowest <= ns <= clock.highest:
                break
            clock.last = ns
            add_ts(ns + clock.offset)
            add_kind(kind)
            add_track(track)
            add_name(name)
            add_cat(cat)
            add_site(site)
            seen += 1
            at = stop
        self.packets += seen
        return at

    def _take(self, start: int, stop: int) -> bool:
        """Read a packet, if it is of the shapes that are read here."""
        numbers, parts = self._fields(start, stop)
        sequence = self._sequences.get(numbers[SEQUENCE])
        if sequence is None or numbers[TIME] < 0 or EVENT not in parts or numbers[FLAGS] not in (0, NEEDS_STATE):
            return False
        if not sequence.valid and (numbers[FLAGS] or INTERNED in parts):
            return False
        clock = self._clocks.get((numbers[SEQUENCE], numbers[CLOCK] or sequence.clock))
        ns = clock.ns(numbers[TIME]) if clock and clock.epoch == self._epoch else None
        if clock is None or ns is None:
            return False
        if INTERNED in parts and not self._intern(sequence.generation, *parts[INTERNED]):
            return False
        event = self._event(sequence.generation, *parts[EVENT])
        if event is not None:
            clock.last = ns
            if self._add(ns + clock.offset, event, sequence, parts[EVENT]) and INTERNED not in parts:
                self._learn(clock, start, stop)
        return event is not None

    def _fields(self, start: int, stop: int) -> tuple[dict[int, int], dict[int, tuple[int, int]]]:
        """The numbers and messages of a packet by tag; no messages if one is not read here."""
        numbers = {TIME: -1, CLOCK: 0, SEQUENCE: 0, FLAGS: 0}
        parts: dict[int, tuple[int, int]] = {}
        for number, wire, value, end in fields(self._data, start, stop):
            tag = number << 3 | wire
            if tag in (EVENT, INTERNED) and tag not in parts:
                parts[tag] = value, end
            elif tag in numbers and not (tag == TIME and numbers[TIME] >= 0):
                numbers[tag] = value
            elif tag not in PASSED_OVER:
                return numbers, {}
        return numbers, parts

    def _intern(self, generation: int, start: int, stop: int) -> bool:
        """Read the texts of InternedData; False: there is more that is read elsewhere."""
        data = self._data
        for table, wire, begin, end in fields(data, start, stop):
            if table in STACK_TABLES:
                return False
            if table not in TEXT_TABLES or wire != LENGTH:
                continue
            iid, text = 0, b""
            for number, inner, value, behind in fields(data, begin, end):
                if number == 1 and inner == VARINT:
                    iid = value
                elif number == 2 and inner == LENGTH:
                    text = data[value:behind]
            self.intern(generation, table, iid, text)
        return True

    def _event(self, generation: int, start: int, stop: int) -> ParsedEvent | None:
        """Read a TrackEvent; None: it is not of the shapes that are read here."""
        event = ParsedEvent()
        for number, wire, value, end in fields(self._data, start, stop):
            if number in NOT_READ or READ.get(number, wire) != wire:
                return None
            self._take_field(event, generation, number, (value, end))
        event.name = event.name or event.inline
        if not BEGIN <= event.kind <= COUNT or (event.kind == COUNT) != (event.value is not None):
            return None
        return event if len(event.cats) < 2 and min(event.name, *event.cats, 0) == 0 else None

    def _take_field(self, event: ParsedEvent, generation: int, number: int, place: tuple[int, int]) -> None:
        """Take a field of a TrackEvent, if it has a meaning."""
        value, end = place
        if number == 9:
            event.kind = value
        elif number == 10:
            event.name = self.interned(generation, NAMES, value)
        elif number == 23:
            event.inline = self.text(self._data[value:end])
        elif number == 3:
            event.cats.append(self.interned(generation, CATEGORIES, value))
        elif number == 22:
            event.cats.append(self.text(self._data[value:end]))
        elif number == 11:
            event.track = self.track(value)
        elif number in (4, 55, 56):
            site = self._site(generation, value, end) if number == 4 else -1
            event.annotated = event.annotated or site < 0
            event.site = max(site, event.site)
        elif number in (47, 48):
            event.flows.append((value, number == 48))
        elif number in (30, 44):
            event.value = float(signed(value)) if number == 30 else double(value)

    def _site(self, generation: int, at: int, stop: int) -> int:
        """The text id of the site that an annotation is; -1: it is another one."""
        name, site = site_iids(self._data, at, stop)
        if not name or self.interned(generation, ANNOTATION_NAMES, name) != SITE_TEXT:
            return -1
        return self.interned(generation, STRING_VALUES, site)

    def _add(self, ts: int, event: ParsedEvent, sequence: SequenceState, place: tuple[int, int]) -> bool:
        """Add an event that was read; returns whether it is nothing but its columns."""
        track = sequence.track if event.track is None else event.track
        if event.value is not None:
            self.count(ts, event.value, track, sequence.generation)
            return False
        number = self.event(ts, event.kind, track, event.name, sum(event.cats))
        self._events.site[number] = event.site
        if event.annotated:
            self.detail(number, *place, sequence.generation)
        for flow, last in event.flows:
            self.flow(number, flow, last)
        return not event.annotated and not event.flows

    def _learn(self, clock: ClockState, start: int, stop: int) -> None:
        """Know the packet's bytes from now on, if its time is in front and they are few."""
        if self._data[start] != TIME or len(self._shapes) == MAX_SHAPES:
            return
        _, behind = read_varint(self._data, start + 1, stop)
        if stop - behind <= MAX_SHAPE_BYTES:
            _, kind, track, name, cat, site = (column[-1] for column in self._events)
            self._shapes[self._data[behind:stop]] = clock, kind, track, name, cat, site
