"""Two cores, the same bytes: the values of counters."""

import json
import locale
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.rows import Counters

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

TRACKS = 3
HEADS = [b'"name":"%d","args":{"":' % track for track in range(TRACKS)]
NUMBERS = array("I", [2, 300, 70_000])
CHUNK_BYTES = 1 << 20

Value = tuple[int, float, int]
doubles = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**54), 2**54).map(float),
    st.sampled_from((0.1, 0.01, 0.0099999999999999985, 1e-3, 0.00020946594991533697, 5e-324, 1.7976931348623157e308)),
)
given_values = st.lists(
    st.tuples(st.one_of(st.integers(0, 9), st.integers(0, 2**62)), doubles, st.integers(0, TRACKS - 1)), max_size=30
)


def counters_of(values: list[Value]) -> Counters:
    ts, value, track = zip(*values, strict=True) if values else ((), (), ())
    return Counters(array("q", ts), array("d", value), array("I", track))


def chrome(core: Any, counters: Counters, heads: list[bytes] = HEADS) -> Iterator[bytes]:
    at = 0
    while at < len(counters.ts):
        chunk, at = core.chrome_counters(counters, heads, at)
        yield chunk


def perfetto(core: Any, counters: Counters, last: "array[int] | None" = None) -> Iterator[bytes]:
    last = array("q", [0] * TRACKS) if last is None else last
    at = 0
    while at < len(counters.ts):
        chunk, at = core.perfetto_counters(counters, NUMBERS, last, at)
        yield chunk


@given(given_values)
def test_counters_are_their_twins(values: list[Value]) -> None:
    counters = counters_of(sorted(values, key=lambda value: value[0]))
    lasts = array("q", [0] * TRACKS), array("q", [0] * TRACKS)

    assert b"".join(chrome(native, counters)) == b"".join(chrome(twin, counters))
    assert b"".join(perfetto(native, counters, lasts[0])) == b"".join(perfetto(twin, counters, lasts[1]))
    assert lasts[0] == lasts[1]


@given(doubles)
@example(-0.0)
@example(2.0**53)
@example(2.0**53 - 1)
@example(-(2.0**53))
def test_json_holds_every_double(value: float) -> None:
    """And in no more than eighteen decimals: behind them trace processor v52 reads nonsense."""
    for core in (native, twin):
        (line,) = chrome(core, counters_of([(0, value, 0)]))
        text = line.decode().removeprefix(",\n")
        number = text.partition('"":')[2].partition("}")[0]

        assert json.loads(text)["args"][""] == value
        assert len(number.partition("e")[0].partition(".")[2]) <= 18


@given(doubles)
@example(2.0**53 - 1)
def test_protobuf_holds_every_double(value: float) -> None:
    """As an integer where that takes no more room."""
    for core in (native, twin):
        (packet,) = perfetto(core, counters_of([(5, value, 0)]))
        event = packet.partition(b"\x48\x04")[2]
        if event.startswith(b"\xe1\x02"):
            assert struct.unpack("<d", event[2:]) == (value,)
        else:
            assert event.startswith(b"\xf0\x01")
            assert sum((byte & 127) << 7 * at for at, byte in enumerate(event[2:])) == value
            assert len(event) <= 10


def test_values_are_cut_into_chunks_anywhere() -> None:
    counters = counters_of([(at, at * 0.37 if at % 3 else at, at % TRACKS) for at in range(60_000)])

    for encode in (chrome, perfetto):
        chunks = list(encode(native, counters))
        assert len(chunks) > 1
        assert max(map(len, chunks)) <= CHUNK_BYTES
        assert b"".join(chunks) == b"".join(encode(twin, counters))


def test_a_value_may_be_larger_than_a_chunk() -> None:
    counters = counters_of([(at, 0.5, at % TRACKS) for at in range(10)])
    heads = [b"short", b"long" * CHUNK_BYTES, b""]

    assert b"".join(chrome(native, counters, heads)) == b"".join(chrome(twin, counters, heads))


def test_numbers_do_not_follow_the_locale() -> None:
    """A program may have set one whose decimal point is a comma."""
    before = locale.setlocale(locale.LC_NUMERIC)
    for name in ("de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "ps_AF.UTF-8"):
        try:
            locale.setlocale(locale.LC_NUMERIC, name)
        except locale.Error:
            continue
        break
    else:
        pytest.skip("this machine has no locale with another decimal point")
    try:
        assert b'"":2.5}' in b"".join(chrome(native, counters_of([(0, 2.5, 0)])))
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


RIGHT = counters_of([(1, 0.5, 0), (2, 1.5, 2), (3, 2.5, 2)])
Call = Callable[[], Any]
BAD: list[tuple[Call, type[Exception], str]] = [
    (lambda: native.chrome_counters((1, 2, 3), HEADS, 0), TypeError, "counters: must be a .*Counters, not tuple"),
    (
        lambda: native.chrome_counters(RIGHT._replace(value=array("f", [1, 2, 3])), HEADS, 0),
        TypeError,
        "counters.value: must be an array of typecode 'd', not 'f'",
    ),
    (
        lambda: native.chrome_counters(RIGHT._replace(value=array("d", [1, 2])), HEADS, 0),
        ValueError,
        "counters has 3 ts, 2 value and 3 track",
    ),
    (lambda: native.chrome_counters(RIGHT, [1], 0), TypeError, r"heads\[0\]: must be bytes, not int"),
    (lambda: native.chrome_counters(RIGHT, HEADS[:2], 0), ValueError, "value 1, of track 2: there is no such track"),
    (lambda: native.chrome_counters(RIGHT, HEADS, 4), ValueError, "at is 4, but there are 3 values"),
    (lambda: native.chrome_counters(RIGHT, HEADS, -1), ValueError, "at is -1"),
    (lambda: native.perfetto_counters(RIGHT, NUMBERS, array("q", [0]), 0), ValueError, "are 3 sequences and 1 last"),
    (lambda: native.perfetto_counters(RIGHT, [1], array("q", [0]), 0), TypeError, "sequences.number: must be an array"),
    (lambda: native.perfetto_counters(RIGHT, NUMBERS, bytes(24), 0), BufferError, "not writable"),
    (lambda: native.perfetto_counters(RIGHT, NUMBERS, array("d", [0]), 0), TypeError, "sequences.last: must be an arr"),
    (
        lambda: native.perfetto_counters(RIGHT, NUMBERS[:2], array("q", [0, 0]), 0),
        ValueError,
        "value 1, of track 2: there is no such track",
    ),
    (
        lambda: native.perfetto_counters(RIGHT, NUMBERS, array("q", [0, 0, 3]), 0),
        ValueError,
        "value 1, of track 2: it is before the one before it on its track",
    ),
    (lambda: native.perfetto_counters(RIGHT, NUMBERS, array("q", [0] * 3), 9), ValueError, "at is 9"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_counters_say_what_is_wrong(call: Call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def every_call() -> None:
    for encode in (chrome, perfetto):
        b"".join(encode(native, RIGHT))
    for call, error, _ in BAD:
        with pytest.raises(error):
            call()


def test_no_call_leaks() -> None:
    objects: list[Any] = [RIGHT, *RIGHT, HEADS, *HEADS, NUMBERS, Counters]
    every_call()
    before = [sys.getrefcount(thing) for thing in objects]
    left = left_by(every_call)

    assert left < MOST_LEFT
    assert [sys.getrefcount(thing) for thing in objects] == before
    # A buffer that is still held could not be resized.
    columns: tuple[Any, ...] = RIGHT
    for column in columns:
        column.append(column.pop())


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="allocations can be made to fail in CPython only")
@pytest.mark.parametrize("encode", [chrome, perfetto])
def test_an_allocation_that_fails_is_a_memory_error(encode: Callable[..., Iterator[bytes]]) -> None:
    """Each allocation of a call fails once; the next call is none the worse."""
    expected = b"".join(encode(twin, RIGHT))

    assert failures_of(lambda: b"".join(encode(native, RIGHT)), expected, upto=60) > 2
