"""Reading .pftrace files that are damaged, or made to do damage."""

import random
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import refresh_bad
from foreign_pftrace import File
from stepscope import read
from stepscope.core.protobuf import field, varint
from stepscope.formats.perfetto import encode_perfetto
from stepscope.formats.perfetto_read import decode_perfetto
from stepscope.model.build import TraceBuilder
from stepscope.model.errors import FormatError
from stepscope.model.nesting import nest
from stepscope.model.trace import CUT, Origin, Trace

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
NOW = 5 * 10**12
CORPUS = Path(__file__).parent.parent / "fixtures" / "bad"


def our_trace() -> Trace:
    """A little of everything."""
    builder = TraceBuilder(Origin(pid=7, host="box", trace_id="0A" * 16, base_ns=10**18))
    main, worker = (builder.thread(7, tid, name, "python") for tid, name in ((8, "main"), (9, "worker")))
    outer = builder.slice(main, "outer", 1000, 9000, args={"k": [1, {"deep": "x"}], "f": 0.5})
    builder.slice(main, "inner", 2000, 100, cut=True)
    mark = builder.instant(worker, "mark", 5000, args={"k": "text"})
    builder.flow("to", [outer, mark])
    builder.count(builder.counter_track(7, "memory", "bytes"), 3000, 0.5)
    return builder.build()


OURS = b"".join(encode_perfetto(our_trace()))


def lenient(data: bytes) -> Trace:
    return decode_perfetto(data, "t.pftrace", strict=False)


def problems(trace: Trace) -> dict[str, int]:
    return {problem.kind: problem.count for problem in trace.problems}


def whole_packets(data: bytes) -> set[int]:
    """Every place at which a packet ends."""
    at, ends = 0, {0}
    while at < len(data):
        length, shift, place = 0, 0, at + 1
        while True:
            length |= (data[place] & 0x7F) << shift
            shift, place = shift + 7, place + 1
            if data[place - 1] < 0x80:
                break
        at = place + length
        ends.add(at)
    return ends


def test_a_truncated_file_gives_every_whole_packet_before_the_damage() -> None:
    ends = whole_packets(OURS)
    for cut in range(len(OURS)):
        damaged = OURS[:cut]
        upto = max(end for end in ends if end <= cut)
        trace = lenient(damaged)
        if cut in ends and cut:
            assert trace == decode_perfetto(damaged, "t.pftrace"), cut
            continue
        assert problems(trace)["truncated"] == 1
        without = problems(lenient(OURS[:upto])) if upto else {}
        assert {**without, "truncated": 1} == {**problems(trace), "truncated": 1}
        whole = lenient(OURS[:upto])
        assert (trace.columns, trace.args, trace.counters, trace.flows) == (
            whole.columns,
            whole.args,
            whole.counters,
            whole.flows,
        )
        with pytest.raises(FormatError, match=rf"t\.pftrace: byte {upto}: .*packet.*; pass strict=False"):
            decode_perfetto(damaged, "t.pftrace")


def test_the_error_names_file_byte_and_packet() -> None:
    cut = sorted(whole_packets(OURS))[5] + 3

    with pytest.raises(FormatError) as caught:
        decode_perfetto(OURS[:cut], "run.pftrace")
    assert str(caught.value) == (
        f"run.pftrace: byte {cut - 3}: packet 6 ends beyond the data. "
        "The file may be truncated; pass strict=False to read what is before it."
    )


def test_what_was_open_at_the_damage_is_cut_there() -> None:
    file = File()
    file.thread(10, 7, 8, "main")
    file.event(NOW, BEGIN, "outer", track_uuid=10)
    file.event(NOW + 5, INSTANT, "inside", track_uuid=10)
    file.event(NOW + 9, END, track_uuid=10)
    trace = lenient(file.data[:-1])

    assert [(row.name, row.dur, row.kind & CUT) for row in trace] == [("outer", 5, CUT), ("inside", 0, 0)]
    assert problems(trace) == {"truncated": 1, "cut": 1}


def with_event(event: bytes) -> bytes:
    """A file with one event of these bytes between two good ones."""
    file = File()
    file.thread(10, 7, 8, "main")
    file.event(NOW, INSTANT, "before", track_uuid=10)
    after = File()
    after.event(NOW + 9, INSTANT, "after", track_uuid=10)
    packet = b"\x40" + varint(NOW) + b"\x50\x01" + field(11, event)
    return file.data + field(1, packet) + after.data


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b"\x48\x03\x58\x0a\xba\x01\x05ab", "malformed"),  # a name that is longer than its event
        (b"\x48\x03\x58\x0a\xba\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "malformed"),
        (b"\x48\x03\x58" + b"\xff" * 11, "malformed"),  # an integer of more than ten bytes
        (b"\x48\x03\x00\x00", "malformed"),  # field 0
        (b"\x48\x03\x58\x0a\x22\x02\x52\x05", "malformed"),  # annotations that are none
        (b"\x48\x03\x58\x0a\x22" + varint(600) + b"\x62\x7f" * 300, "malformed"),
    ],
)
def test_a_damaged_event_is_named_or_left_out(event: bytes, kind: str) -> None:
    data = with_event(event)
    trace = lenient(data)

    assert {"before", "after"} <= {row.name for row in trace}
    assert problems(trace) == {kind: 1}
    with pytest.raises(FormatError, match=r"t\.pftrace: byte \d+: .*strict=False"):
        decode_perfetto(data, "t.pftrace")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b"\x48\x03\x58\x0a\xba\x01\x02\xff\xfe", "text"),
        (b"\x48\x03\x58\x0a\x22\x06\x52\x02\xff\xfe\x10\x01", "text"),  # an argument's name
        (b"\x48\x63\x58\x0a", "unreadable"),  # no such type
        (b"\x58\x0a", "unreadable"),  # no type
        (b"\x48\x04\x58\x0a", "unreadable"),  # a counter without a value
        (b"\x4a\x01\x03\x58\x0a", "unreadable"),  # a type of the wrong wire type
        (b"\x48\x03\x58\x0a\x50\x05", "interned"),
        (b"\x48\x02\x58\x0a", "unmatched"),
    ],
)
def test_an_event_that_makes_no_sense_is_counted(event: bytes, kind: str) -> None:
    trace = decode_perfetto(with_event(event), "t.pftrace")

    assert {"before", "after"} <= {row.name for row in trace}
    assert problems(trace) == {kind: 1}


@pytest.mark.parametrize("ts", [1 << 63, (1 << 64) - 1, (1 << 62) + 5])
def test_times_that_no_trace_can_hold_are_left_out_and_counted(ts: int) -> None:
    file = File()
    file.thread(10, 7, 8, "main")
    file.event(ts, INSTANT, "beyond", track_uuid=10)
    file.event(NOW, INSTANT, "here", track_uuid=10)
    trace = decode_perfetto(file.data, "t.pftrace")

    assert [row.name for row in trace] == ["here"]
    assert problems(trace) == {"time": 1}


def test_tracks_that_are_their_own_parents_and_uuids_that_are_taken_twice_are_read() -> None:
    file = File()
    file.track(20, "a", parent=21)
    file.track(21, "b", parent=20)
    file.track(20, "a again", parent=20)
    file.thread(22, -5, 0, "no pid")
    file.thread(23, 7, 8, "one")
    file.thread(24, 7, 8, "two")
    for uuid in range(20, 26):
        file.event(NOW, INSTANT, "x", track_uuid=uuid)
    trace = decode_perfetto(file.data, "t.pftrace")

    assert [track.name for track in trace.tracks] == ["a again", "b", "no pid", "one", "two", "track 25"]
    assert len({(track.pid, track.tid) for track in trace.tracks}) == 6


def test_slices_nested_without_end_are_laid_on_lanes() -> None:
    file = File()
    file.thread(10, 7, 8, "main")
    for depth in range(2000):
        file.event(NOW + depth, BEGIN, "x", track_uuid=10)
    trace = decode_perfetto(file.data, "t.pftrace")

    assert problems(trace) == {"cut": 2000, "depth": 1487}


def test_a_compressed_packet_may_not_fill_the_memory() -> None:
    bomb = field(1, field(50, zlib.compress(bytes(10**6))))

    with pytest.raises(FormatError) as caught:
        decode_perfetto(bomb, "t.pftrace", strict=False, max_bytes=999_999)
    assert str(caught.value) == (
        "t.pftrace: byte 0: more than 999999 bytes come out of compressed packets. "
        "If they are not made to fill your memory, pass a larger max_bytes."
    )
    nested = b"".join([field(1, field(50, zlib.compress(field(1, b"\x50\x01") * 1000)))] * 1000)
    with pytest.raises(FormatError, match="more than 99999 bytes"):
        decode_perfetto(nested, "t.pftrace", max_bytes=99_999)


def test_compressed_packets_in_each_other_and_damaged_ones_are_malformed() -> None:
    packet = field(1, b"\x50\x01")
    for _ in range(6):
        packet = field(1, field(50, zlib.compress(packet)))
    for data in (packet, field(1, field(50, b"no zlib")), field(1, field(50, zlib.compress(packet)[:-5]))):
        assert "malformed" in problems(lenient(data))
        with pytest.raises(FormatError):
            decode_perfetto(data, "t.pftrace")


def test_packets_of_zstd_may_not_fill_the_memory_either() -> None:
    bomb = field(1, field(133, zstandard.compress(bytes(10**8))))

    assert len(bomb) < 10_000
    with pytest.raises(FormatError, match="byte 0: more than 999999 bytes come out of compressed packets"):
        decode_perfetto(bomb, "t.pftrace", strict=False, max_bytes=999_999)


def test_damaged_packets_of_zstd_are_malformed_and_a_cut_one_is_read_as_far_as_it_is_whole() -> None:
    packed = zstandard.compress(OURS)
    for damage in (b"no zstd", packed[:9], bytes(40) + packed, packed + b"behind"):
        data = field(1, field(133, damage))
        assert problems(lenient(data)) == {"malformed": 1}
        with pytest.raises(FormatError, match="byte 0: "):
            decode_perfetto(data, "t.pftrace")
    large = b"".join(field(1, field(900, bytes([number])) * 50) for number in range(256)) * 40 + OURS
    whole = lenient(field(1, field(133, zstandard.compress(OURS + large))))
    cut = lenient(field(1, field(133, zstandard.compress(OURS + large)[:-3])))
    assert len(whole) == 2 * len(cut) > 0


def test_without_zstandard_such_packets_are_refused_with_its_name_or_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    data = OURS + field(1, field(133, zstandard.compress(OURS)))

    with pytest.raises(FormatError) as caught:
        decode_perfetto(data, "t.pftrace")
    assert str(caught.value) == (
        f"t.pftrace: byte {len(OURS)}: packets are compressed with zstd. "
        "pip install 'stepscope[zstd]' brings what reads them; pass strict=False to read the others."
    )
    assert lenient(data).with_problems([]) == lenient(OURS).with_problems([])
    assert problems(lenient(data)) == {"compressed": 1, "cut": 1}


def hostile_snapshots() -> bytes:
    file = File()
    for sequence in range(1, 3000):
        file.clocks({3: NOW, 64: 5, 200 + sequence: 7}, sequence)
        file.event(NOW, INSTANT, "x", sequence=sequence, track_uuid=10)
        file.proto.packet[-1].timestamp_clock_id = 64
    return file.data


def hostile_ends() -> bytes:
    file = File()
    for _ in range(5000):
        file.event(NOW, BEGIN, "x", track_uuid=10)
    for _ in range(5000):
        file.event(NOW, END, "y", track_uuid=10)
    return file.data


def hostile_annotations() -> bytes:
    file = File()
    event = file.event(NOW, INSTANT, "x", track_uuid=10)
    for _ in range(20_000):
        event.debug_annotations.add(name="k", int_value=1)
    return file.data


def hostile_counters() -> bytes:
    file = File()
    for uuid in range(5000):
        file.track(uuid + 50, "same").counter.unit = 3
        file.event(NOW, COUNTER, track_uuid=uuid + 50, counter_value=1)
    return file.data


@pytest.mark.parametrize("make", [hostile_snapshots, hostile_ends, hostile_annotations, hostile_counters])
def test_what_is_made_to_take_long_does_not(make: Callable[[], bytes]) -> None:
    data = make()
    start = time.process_time()
    decode_perfetto(data, "t.pftrace", strict=False)

    assert time.process_time() - start < 20


# -- any bytes ---------------------------------------------------------------------------------------------------------


def mutated(data: bytes, seed: int) -> bytes:
    """The data with some bytes changed, left out or doubled; the same for the same seed."""
    chance, out = random.Random(seed), bytearray(data)  # noqa: S311 - the same bytes every time
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at, kind = chance.randrange(len(out)), chance.randrange(5)
        if kind == 0:
            out[at] = chance.randrange(256)
        elif kind == 1:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del out[at : at + chance.choice((1, 2, 9, 100))]
        elif kind == 3:
            out[at:at] = out[at : at + chance.choice((1, 5, 50))]
        else:
            out[at : at + 1] = chance.choice((b"\xff" * 9 + b"\x01", b"\x00", b"\x80", b"\x7f", b"\x0a\x00"))
    return bytes(out)


def foreign_file() -> bytes:
    """A file with every kind of packet that is read."""
    file = File()
    file.clocks({6: NOW, 3: NOW - 5, 1: 10**18})
    file.process(1, 7, "python")
    file.thread(10, 7, 8, "main")
    file.track(30, "bytes", parent=1).counter.is_incremental = True
    file.clocks({6: NOW, 64: 0}, 2, incremental=64)
    packet = file.packet(2, sequence_flags=1)
    packet.trace_packet_defaults.timestamp_clock_id = 64
    packet.trace_packet_defaults.track_event_defaults.track_uuid = 10
    packet.trace_packet_defaults.track_event_defaults.extra_counter_track_uuids.append(30)
    packet.interned_data.event_names.add(iid=1, name="interned")
    packet.interned_data.debug_annotation_names.add(iid=1, name="key")
    for number in range(4):
        event = file.event(5, 1 + number % 2, sequence=2, name_iid=1, extra_counter_values=[number], flow_ids=[5])
        event.debug_annotations.add(name_iid=1, int_value=number)
    event = file.event(NOW, 0, "legacy")
    event.legacy_event.phase, event.legacy_event.duration_us = ord("X"), 5
    file.proto.packet.add(compressed_packets=zlib.compress(OURS))
    return file.data


FOREIGN = foreign_file()


@settings(max_examples=400, deadline=2000)
@given(st.sampled_from((OURS, FOREIGN)), st.integers(0, 2**40), st.integers(0, 4000), st.booleans())
def test_any_bytes_are_a_trace_or_a_format_error(data: bytes, seed: int, cut: int, strict: bool) -> None:
    damaged = mutated(data, seed)[: cut or None]
    said, trace = "", None
    try:
        trace = decode_perfetto(damaged, "t.pftrace", strict=strict, max_bytes=10**6)
    except FormatError as error:
        said = str(error)
    if trace is not None:
        assert_sound(trace)
    else:
        assert said.startswith("t.pftrace: byte ")
        assert strict or "max_bytes" in said


@settings(max_examples=200, deadline=2000)
@given(st.binary(max_size=200))
def test_bytes_of_nothing_are_a_trace_or_a_format_error(data: bytes) -> None:
    assert lenient(data).origin.tool == ""
    assert lenient(field(1, data)).origin.tool == ""


# -- the corpus --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.pftrace")), ids=lambda path: path.name)
def test_a_file_of_the_corpus_is_what_its_name_says(path: Path) -> None:
    trace = read(path, strict=False) if path.stat().st_size else lenient(b"")
    assert_sound(trace)
    if path.name.startswith("y_"):
        assert read(path) == trace
    elif path.name.startswith("n_"):
        with pytest.raises(FormatError, match=rf"{path.name}: "):
            read(path)
        assert trace.problems


def test_the_corpus_is_what_its_tool_makes() -> None:
    """And every file has a verdict."""
    assert {path.stem: path.read_bytes() for path in CORPUS.glob("*.pftrace")} == refresh_bad.FILES
    assert {name[:2] for name in refresh_bad.FILES} == {"y_", "n_", "i_"}


def assert_sound(trace: Trace) -> None:
    """The trace is what a Trace promises to be, and what is written of it is read back."""
    nest(trace)
    assert all(0 <= ts <= ts + dur for ts, dur in zip(trace.columns.ts, trace.columns.dur, strict=True))
    assert decode_perfetto(b"".join(encode_perfetto(trace)), "again.pftrace") == trace
