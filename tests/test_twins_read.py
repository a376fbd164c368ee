"""The law of two cores, for what reads .pftrace files: in C and in Python the same events, rows and errors."""

import gc
import tracemalloc
from array import array
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepscope.core import twin
from stepscope.core.events import BEGIN, COMPLETE, DONE, END, PACKET, POINT, Events
from stepscope.core.protobuf import field, varint
from stepscope.formats import perfetto_read, perfetto_trace
from stepscope.formats.perfetto_read import decode_perfetto
from stepscope.model import build
from stepscope.model.errors import FormatError
from stepscope.model.trace import Trace
from test_perfetto_bad import FOREIGN, OURS, mutated
from test_twins import Row, columns_of, copy_of, given_rows

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")
INT64_MAX = 2**63 - 1


def decoded(core: Any, data: bytes, strict: bool) -> Trace | str:
    """What a core makes of a file, or what it says is wrong with it."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (perfetto_read, perfetto_trace, build):
            patch.setattr(module, "kernels", core)
        try:
            return decode_perfetto(data, "t.pftrace", strict=strict, max_bytes=10**6)
        except FormatError as error:
            return str(error)


@settings(max_examples=300, deadline=4000)
@given(st.sampled_from((OURS, FOREIGN)), st.integers(0, 2**40), st.booleans())
def test_a_file_is_the_same_trace_or_error_in_both(data: bytes, seed: int, strict: bool) -> None:
    damaged = mutated(data, seed)

    assert decoded(native, damaged, strict) == decoded(twin, damaged, strict)


# -- the scanner -------------------------------------------------------------------------------------------------------

_small = st.one_of(st.integers(0, 3), st.sampled_from((0x7F, 0x80, 2**32, 2**63 - 1, 2**63, 2**64 - 1)))
_bytes = st.binary(max_size=6)


def message(*fields: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A message of some of these fields, in any order."""
    return st.lists(st.one_of(*fields), max_size=7).map(b"".join)


def number(tag: int) -> st.SearchStrategy[bytes]:
    return _small.map(lambda value: varint(tag << 3) + varint(value))


def text(tag: int) -> st.SearchStrategy[bytes]:
    return _bytes.map(lambda value: field(tag, value))


def fixed(tag: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=8, max_size=8).map(lambda value: varint(tag << 3 | 1) + value)


annotations = st.one_of(
    st.sampled_from(
        (b"\x08\x01\x88\x01\x01", b"\x08\x02\x88\x01\x01", b"\x08\x01\x88\x01\x02", b"\x08\x01\x88\x01\x81\x00")
    ),
    st.builds(lambda name, value: b"\x08" + varint(name) + b"\x88\x01" + varint(value), _small, _small),
    st.binary(max_size=8).map(b"\x08\x01\x88\x01".__add__),
)
events = message(
    annotations.map(partial(field, 4)),
    st.sampled_from((b"\x48\x01", b"\x48\x02", b"\x48\x03", b"\x48\x04")),
    *(number(tag) for tag in (9, 10, 3, 11, 30, 5, 6)),
    *(text(tag) for tag in (23, 22, 4, 99)),
    *(fixed(tag) for tag in (47, 48, 44)),
    _bytes,
)
entries = message(number(1), text(2), _bytes)
interned = message(*(entries.map(partial(field, tag)) for tag in (1, 2, 3, 4, 29)), _bytes)
packets = message(
    number(8),
    st.just(b"\x40\x05"),
    st.just(b"\x50\x01"),
    st.just(b"\x50\x02"),
    st.just(b"\x68\x02"),
    number(58),
    number(3),
    events.map(lambda event: field(11, event)),
    interned.map(lambda entry: field(12, entry)),
    _bytes,
)
plain = st.builds(
    lambda delta, sequence, event, behind: (
        b"\x40" + varint(delta) + b"\x50" + varint(sequence) + field(11, event) + behind
    ),
    _small,
    st.integers(1, 2),
    events,
    st.one_of(st.just(b""), st.just(b"\x68\x02"), interned.map(lambda entry: field(12, entry))),
)
files = st.lists(
    st.one_of(plain, plain, packets).map(lambda packet: field(1, packet)) | _bytes | text(2), max_size=12
).map(b"".join)


def prepared(core: Any, incremental: bool) -> Any:
    """A scanner that knows two sequences: the first one's state is known, the other one's is not."""
    scanner = core.TrackEventScanner()
    for sequence, valid in ((1, True), (2, False)):
        scanner.sequence(sequence, sequence, valid, scanner.new_track(), 6)
        scanner.set_clock(sequence, 6, 1000 if sequence == 2 else 1, incremental, 10)
        scanner.map_clock(sequence, 6, -5, INT64_MAX - 7, 7)
    scanner.intern(1, 2, 1, b"name")
    scanner.intern(1, 1, 1, b"cat")
    scanner.intern(1, 3, 1, b"stepscope:site")
    scanner.intern(1, 3, 2, b"no site")
    scanner.intern(1, 29, 1, b"net.py:12")
    return scanner


def scanned(core: Any, data: bytes, incremental: bool) -> Any:
    """Everything that a scanner says of the data; packets that are the caller's are passed over."""
    scanner, stops, at = prepared(core, incremental), [], 0
    while True:
        stop = scanner.scan(data, at, 3)
        stops.append(stop)
        if stop.status != PACKET:
            break
        at = stop.stop
    clocks = [scanner.advance(sequence, 6, 0) for sequence in (1, 2, 3)]
    found = scanner.take()
    return stops, clocks, found._replace(counts=repr(found.counts)), sorted(scanner.uuids()), scanner.packets


@settings(max_examples=500)
@given(files, st.booleans())
@example(b"\x0a\x80", False)
@example(b"\x0a" + b"\x80" * 10, False)
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", False)
@example(b"\x0b\x00", False)
@example((b"\x0a\x0f\x40\x05\x50\x01\x5a\x09\x48\x01\x22\x05\x08\x01\x88\x01\x01" * 30) + bytes(5), True)
@example((b"\x0a\x0a\x40\x05\x50\x01\x5a\x04\x48\x03\x50\x01" * 60) + bytes(5), True)
def test_the_scanner_is_its_twin(data: bytes, incremental: bool) -> None:
    assert scanned(native, data, incremental) == scanned(twin, data, incremental)


def test_the_scanner_knows_what_it_is_told() -> None:
    for core in (native, twin):
        scanner = prepared(core, incremental=True)
        assert scanner.interned(1, 2, 1) == scanner.text(b"name")
        assert scanner.text_of(scanner.text(b"name")) == b"name"
        assert scanner.interned(1, 2, 9) == -1
        assert scanner.advance(1, 6, 2**64 - 1) == 9
        assert scanner.advance(1, 7, 5) is None
        number = scanner.event(5, POINT, scanner.track(2**64 - 1), 0, 0)
        assert number == 0
        scanner.detail(number, 7, 9, 1)
        scanner.flow(number, 2**64 - 1, True)
        scanner.count(3, 0.5, 1, 2)
        found = scanner.take()
        assert [list(column) for column in found.events] == [[5], [POINT], [2], [0], [0], [0]]
        assert [list(column) for column in found.details] == [[0], [0], [7], [9], [1]]
        assert [list(column) for column in found.flows] == [[0], [2**64 - 1], [1]]
        assert [list(column) for column in found.counts] == [[3], [0.5], [1], [2]]
        assert found.texts == [b"", b"stepscope:site", b"name", b"cat", b"no site", b"net.py:12"]


def test_clocks_that_are_unmapped_leave_packets_to_the_caller() -> None:
    packet = field(1, b"\x40\x05\x50\x01\x5a\x02\x48\x03")
    for core in (native, twin):
        scanner = prepared(core, incremental=False)
        assert scanner.scan(packet, 0, 0).status == DONE
        scanner.unmap_clocks()
        assert scanner.scan(packet, 0, 0) == (PACKET, 0, 2, len(packet))


def test_the_scanner_says_what_is_wrong_with_what_it_is_told() -> None:
    scanner = prepared(native, incremental=False)

    with pytest.raises(ValueError, match="at must be from 0 to 2, not 3"):
        scanner.scan(b"ab", 3, 0)
    with pytest.raises(IndexError):
        scanner.text_of(99)
    with pytest.raises(KeyError):
        scanner.map_clock(5, 5, 0, 0, 0)
    with pytest.raises(OverflowError):
        scanner.map_clock(1, 6, 0, INT64_MAX, 1)
    with pytest.raises(TypeError):
        scanner.text("str")
    with pytest.raises(TypeError):
        native.TrackEventScanner(1)


def test_a_scanner_gives_its_memory_back() -> None:
    data = b"".join(field(1, b"\x40\x05\x50\x01\x5a\x04\x48\x03\x50\x01") for _ in range(20_000)) + OURS
    tracemalloc.start()
    for _ in range(3):
        prepared(native, incremental=True).scan(data, 0, 0)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(10):
        scanner = prepared(native, incremental=True)
        scanner.scan(data, 0, 0)
        scanner.take()
    del scanner
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert after - before < 100_000


# -- pairing -----------------------------------------------------------------------------------------------------------

IDS = array("I", [1, 2, 3]), array("I", [4, 5, 6]), array("I", [0, 9, 10]), array("I", [7, 8])
_times = st.one_of(st.integers(0, 5), st.integers(-3, 100), st.integers(-(2**63), INT64_MAX))
_events = st.lists(
    st.tuples(
        _times,
        st.sampled_from((BEGIN, BEGIN, END, END, POINT, COMPLETE)),
        st.integers(0, 1),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=40,
)


def events_of(rows: list[Any]) -> Events:
    by_column = list(zip(*rows, strict=True)) or [()] * 6
    return Events(*(array(code, values) for code, values in zip("qBIIII", by_column, strict=True)))


@settings(max_examples=500)
@given(_events, st.booleans(), st.booleans(), st.sampled_from((0, 3)))
def test_pairing_is_its_twin(rows: list[Any], in_order: bool, named: bool, low: int) -> None:
    if in_order:
        rows = sorted(rows, key=lambda row: row[0])
    if not named:
        rows = [row if row[1] != END else (*row[:3], 0, 0, row[5]) for row in rows]
    given_events = events_of(rows)

    assert native.pair_events(given_events, low, 2**62, -5, IDS) == twin.pair_events(given_events, low, 2**62, -5, IDS)


def test_pairing_looks_only_so_deep_for_the_slice_of_an_end() -> None:
    rows = [(0, BEGIN, 0, 1, 0, 0), *[(1, BEGIN, 0, 2, 0, 0)] * 600, (2, END, 0, 1, 0, 0), (3, END, 0, 0, 0, 0)]
    paired = native.pair_events(events_of(rows), 0, 9, 0, IDS)

    assert paired == twin.pair_events(events_of(rows), 0, 9, 0, IDS)
    assert paired.unmatched == (1, 601)


@pytest.mark.parametrize(
    ("events", "ids", "error", "says"),
    [
        (events_of([(0, 1, 2, 0, 0, 0)]), IDS, ValueError, "event 0: its name, category, site or track has no id"),
        (events_of([(0, 1, 0, 3, 0, 0)]), IDS, ValueError, "event 0"),
        (events_of([(0, 1, 0, 0, 0, 3)]), IDS, ValueError, "event 0"),
        (events_of([])._replace(kind=array("B", [1])), IDS, ValueError, "each column must have one item an event"),
        (events_of([])._replace(kind=array("b")), IDS, TypeError, "one is not of typecode 'B'"),
        (events_of([]), IDS[:2], TypeError, "must be a tuple of 4 arrays"),
        ((), IDS, TypeError, "must be a tuple of 6 arrays"),
        (tuple([[]] * 6), IDS, TypeError, "bytes-like"),
    ],
)
def test_pairing_says_what_is_wrong(events: Any, ids: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        native.pair_events(events, 0, 9, 0, ids)


# -- ties --------------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(given_rows)
def test_order_ties_is_its_twin(rows: list[Row]) -> None:
    columns = columns_of(rows)
    expected = copy_of(columns)
    order = twin.order_ties(expected)

    assert native.order_ties(columns) == order
    assert columns == expected


def test_ties_go_by_track_and_each_track_keeps_its_order() -> None:
    columns = columns_of([(0, 5, 1, 0, 0, 2, 0), (7, 0, 2, 0, 0, 1, 0), (7, 0, 3, 0, 0, 2, 0), (7, 0, 4, 0, 0, 2, 0)])

    assert native.order_ties(columns) == array("I", [0, 2, 3, 1])
    assert list(columns.name) == [1, 3, 4, 2]
    assert native.order_ties(columns) is None


def test_order_ties_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"row 0: columns\.track is 268435456"):
        native.order_ties(columns_of([(0, 0, 0, 0, 0, 2**28, 0)]))
