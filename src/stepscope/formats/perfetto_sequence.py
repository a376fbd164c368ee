"""The packet sequences of a .pftrace file: what later packets of each refer to, and what time they say.

The scanner reads most packets by what it is told here; whoever reads one of the others goes on from the same state.
"""

from typing import Any

from stepscope.core import kernels
from stepscope.formats.perfetto_clocks import BOOTTIME, Clocking, ClockReading, Mapping
from stepscope.formats.perfetto_tracks import OwnTrack

__all__ = ["Sequence", "Sequences"]

UINT64 = (1 << 64) - 1
SIGN = 1 << 63


class Sequence:
    """One sequence.

    Attributes:
        number: trusted_packet_sequence_id.
        generation: of its interned texts; another one after each clear.
        valid: whether its state is known: since a clear, nothing was lost.
        clock: which clock times are of that name none.
        track_uuid: the track of events that name none; None: the sequence's own thread.
        counters: uuids of the counters of extra_counter_values, then of extra_double_counter_values.
        thread: pid, tid of its ThreadDescriptor.
        time_ns: what timestamp_delta_us counts from; None: unknown.
    """

    def __init__(self, number: int, generation: int) -> None:
        self.number = number
        self.generation = generation
        self.valid = False
        self.clock = BOOTTIME
        self.track_uuid: int | None = None
        self.counters: tuple[list[int], list[int]] = [], []
        self.thread: OwnTrack | None = None
        self.time_ns: int | None = None
        self.told: object = None  # what the scanner knows
        self.mapped: dict[int, tuple[int, Mapping]] = {}


class Sequences:
    """All sequences of a file, their clocks, and tracks that have no uuid.

    Attributes:
        own: scanner's track number -> what it is.
    """

    def __init__(self, scanner: kernels.TrackEventScanner) -> None:
        self.clocking = Clocking()
        self.own: dict[int, OwnTrack] = {}
        self._scanner = scanner
        self._sequences: dict[int, Sequence] = {}
        self._generation = 0
        self._epoch = 0
        self._own_numbers: dict[object, int] = {}

    def get(self, number: int) -> Sequence:
        """A sequence by its number."""
        if number not in self._sequences:
            self._sequences[number] = Sequence(number, self._next_generation())
            self.tell(self._sequences[number])
        return self._sequences[number]

    def clear(self, sequence: Sequence) -> None:
        """Its incremental state begins anew."""
        sequence.generation = self._next_generation()
        sequence.valid = True
        sequence.clock, sequence.track_uuid, sequence.counters = BOOTTIME, None, ([], [])

    def lose(self, sequence: Sequence) -> None:
        """Packets are missing: its state is unknown until it is cleared."""
        sequence.valid = False
        sequence.time_ns = None

    def set_defaults(self, sequence: Sequence, defaults: Any) -> None:
        """Take perfetto.protos.TracePacketDefaults."""
        sequence.clock = defaults.timestamp_clock_id or BOOTTIME
        event = defaults.track_event_defaults
        sequence.track_uuid = event.track_uuid if event.HasField("track_uuid") else None
        sequence.counters = list(event.extra_counter_track_uuids), list(event.extra_double_counter_track_uuids)

    def tell(self, sequence: Sequence) -> None:
        """Let the scanner know how the sequence stands, if it does not."""
        told = sequence.generation, sequence.valid, self.default_track(sequence), sequence.clock
        if told != sequence.told:
            sequence.told = told
            self._scanner.sequence(sequence.number, *told)

    def default_track(self, sequence: Sequence) -> int:
        """The scanner's number of the track of events that name none."""
        if sequence.track_uuid is not None:
            return self._scanner.track(sequence.track_uuid)
        return self.own_track(sequence.thread or OwnTrack(None, 0, "Default Track"))

    def own_track(self, track: OwnTrack) -> int:
        """The scanner's number of a track that has no uuid."""
        key = track.pid, track.tid, track.identity
        if key not in self._own_numbers:
            number = self._scanner.new_track()
            self._own_numbers[key] = number
            self.own[number] = track  # by the name it has first
        return self._own_numbers[key]

    # -- time ------------------------------------------------------------------------------------------------------

    def snapshot(self, sequence: Sequence, snapshot: Any) -> None:
        """Take a perfetto.protos.ClockSnapshot."""
        readings = [
            ClockReading(
                reading.clock_id, _signed(reading.timestamp), reading.is_incremental, reading.unit_multiplier_ns
            )
            for reading in snapshot.clocks
        ]
        if self.clocking.snapshot(sequence.number, readings, snapshot.primary_trace_clock):
            self._epoch += 1
            self._scanner.unmap_clocks()
        for reading in readings:
            clock = self.clocking.clock(sequence.number, reading.clock)
            if clock[0]:
                unit_ns, _ = self.clocking.unit(clock)
                self._make_clock(sequence, reading.clock, _signed(reading.time * unit_ns))

    def time(self, sequence: Sequence, clock_id: int, time: int) -> int | None:
        """A packet's time as ns of the trace; None: it cannot be told.

        Args:
            sequence: the packet's.
            clock_id: 0: it says none.
            time: as the packet says it; it moves the sequence's clock on, if times are differences.
        """
        clock_id = clock_id or sequence.clock
        ns = self._scanner.advance(sequence.number, clock_id, time)
        if ns is None:
            self._make_clock(sequence, clock_id, 0)
            return self.time(sequence, clock_id, time)
        clock = self.clocking.clock(sequence.number, clock_id)
        if sequence.mapped.get(clock_id, (-1, None))[0] != self._epoch:
            self._map_clock(sequence, clock_id)
        return self.clocking.trace_time(clock, ns)

    def _make_clock(self, sequence: Sequence, clock_id: int, last_ns: int) -> None:
        unit_ns, incremental = self.clocking.unit(self.clocking.clock(sequence.number, clock_id))
        self._scanner.set_clock(sequence.number, clock_id, unit_ns, incremental, last_ns)
        self._map_clock(sequence, clock_id)

    def _map_clock(self, sequence: Sequence, clock_id: int) -> None:
        mapping = self.clocking.mapping(self.clocking.clock(sequence.number, clock_id))
        if mapping is not None:
            sequence.mapped[clock_id] = self._epoch, mapping
            self._scanner.map_clock(sequence.number, clock_id, *mapping)

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation


def _signed(number: int) -> int:
    """A number as int64, which is how times before the clock's start are written."""
    return ((number + SIGN) & UINT64) - SIGN
