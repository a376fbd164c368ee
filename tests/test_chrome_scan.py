"""The scanner of Chrome JSON: what is plain, where the rest is, and that both cores say the same of any bytes."""

import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepscope.core import kernels, twin
from stepscope.core.rows import Columns, Fed

PLAIN = b'{"ph":"X","name":"fwd","cat":"c","pid":1,"tid":2,"ts":0.001,"dur":1.250,"args":{"k":1}}'


def scan(content: bytes, core: Any = kernels, cuts: tuple[int, ...] = ()) -> tuple[list[Any], Any]:
    """All that a scanner says of some bytes, fed whole, or piece by piece with what was left before each."""
    scanner = core.ChromeScanner(b"no name", b"no category")
    said: list[Any] = []
    left = b""
    for piece in (content[a:b] for a, b in zip((0, *cuts), (*cuts, len(content)), strict=True)):
        fed: Fed = scanner.feed(left + piece, 0)
        said.append((fed.at, fed.rows, fed.state, list(fed.args), list(fed.unusual)))
        left = (left + piece)[fed.at :]
        if fed.state != "more":
            break
    return said, scanner.finish()


def rows(columns: Columns) -> list[tuple[int, ...]]:
    return list(zip(*columns, strict=True))


def test_a_plain_event_is_a_row_and_its_arguments_are_a_range() -> None:
    content = PLAIN + b"]"
    said, scanned = scan(content)

    assert said == [(len(content), 1, "end", [0, content.index(b'{"k"'), len(PLAIN) - 1], [])]
    assert rows(scanned.columns) == [(1, 1250, 3, 4, 0, 0, 0)]
    assert scanned.texts == [b"", b"no name", b"no category", b"fwd", b"c"]
    assert scanned.threads == [(1, 2)]


@pytest.mark.parametrize(
    "event",
    [
        '{"tid":1,"dur":2,"ts":1,"ph":"X","pid":1}',
        ' {\n"ph" :\t"i" , "pid":-1,"tid":0,"ts":-0.5\r}',
        '{"ph":"I","s":"g","pid":1,"tid":1,"ts":1,"dur":0}',
        r'{"ph":"X","name":"\\ \" \u00e9 \n","pid":1,"tid":1,"ts":1,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":4611686018427387.903,"dur":4611686018427387.903}',
        '{"ph":"X","pid":999999999999999999,"tid":-999999999999999999,"ts":1,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"args":{"a":"}","b":[{"c":"\\"]"}]}}',
    ],
)
def test_these_are_plain(event: str) -> None:
    said, scanned = scan(event.encode() + b",")

    assert said[0][1] == 1
    assert said[0][4] == []
    assert len(scanned.columns.ts) == 1


@pytest.mark.parametrize(
    "event",
    [
        "{}",
        '{"ph":"B","pid":1,"tid":1,"ts":1}',
        '{"ph":"XX","pid":1,"tid":1,"ts":1,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1}',
        '{"ph":"X","pid":1,"ts":1,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":-2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":-0.0}',
        '{"ph":"X","pid":"1","tid":1,"ts":1,"dur":2}',
        '{"ph":"X","pid":1.0,"tid":1,"ts":1,"dur":2}',
        '{"ph":"X","pid":01,"tid":1,"ts":1,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1e3,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1.,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":.5,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":+1,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1.2.3,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":4611686018427387.9035,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":4611686018427388,"dur":2}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"args":[]}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"args":null}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"id":1}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"pid":1}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2 3}',
        '{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"name":5}',
        r'{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"name":"\x"}',
        r'{"ph":"X","pid":1,"tid":1,"ts":1,"dur":2,"name":"\u00g0"}',
        '["ph"]',
        '"text"',
        "17",
        "null",
    ],
)
def test_these_are_not_plain_and_are_found_whole(event: str) -> None:
    said, scanned = scan(b" ,\n" + event.encode() + b" , ]")

    assert said[0][2] == "end"
    assert said[0][4] == [0, 3, 3 + len(event)]
    assert len(scanned.columns.ts) == 0


@pytest.mark.parametrize(
    ("content", "at", "state"),
    [
        (b"", 0, "more"),
        (b" ,\n", 3, "more"),
        (b"}", 0, "damaged"),
        (b" :", 1, "damaged"),
        (b'{"a":[1,2}', 0, "more"),
        (b'{"a":"\\', 0, "more"),
        (b'{"a":"x\\"}', 0, "more"),
        (b"nul", 0, "more"),
        (b'"te', 0, "more"),
        (b"]x", 1, "end"),
    ],
)
def test_it_stops_where_there_is_no_whole_item(content: bytes, at: int, state: str) -> None:
    said, _ = scan(content)

    assert said[0][0] == at
    assert said[0][2] == state


def test_an_event_longer_than_the_limit_is_not_plain() -> None:
    event = PLAIN.replace(b'"k":1', b'"k":"%b"' % (b"x" * ((1 << 16) - len(PLAIN) - 1)))
    for extra, plain in ((b"", 1), (b"x", 0)):
        longer = event.replace(b'"}}', extra + b'"}}')
        said, _ = scan(longer + b"]")
        assert len(longer) == (1 << 16) + len(extra)
        assert said[0][1] == plain


# ---- two cores ---------------------------------------------------------------------------------------------------

members = st.sampled_from(
    [
        ("ph", "X"),
        ("ph", "i"),
        ("ph", "B"),
        ("name", 'a"\\\n\u00e9'),
        ("name", "x"),
        ("cat", ""),
        ("s", "t"),
        ("pid", 1),
        ("pid", -5),
        ("pid", "p"),
        ("tid", 2),
        ("tid", 10**18),
        ("ts", 0.0005),
        ("ts", 12345678.901),
        ("ts", 1e22),
        ("dur", 2.5),
        ("dur", -1),
        ("args", {"a": [1, {"b": "}"}]}),
        ("args", {"stepscope:site": "net.py:12"}),
        ("args", {"stepscope:site": 'a"\\\u00e9', "k": 1}),
        ("args", {"k": 1, "stepscope:site": "net.py:12"}),
        ("args", {"stepscope:site": 5}),
        ("args", {}),
        ("args", None),
        ("id", 1),
    ]
)
full = {"ph": "X", "name": "n", "cat": "c", "pid": 1, "tid": 2, "ts": 1.5, "dur": 2}
events = st.one_of(
    st.just(full),
    st.just({**full, "ts": 1.125, "dur": 0.625}),  # compact, it is as we write it
    st.just({**full, "ts": 1.125, "dur": 0.625, "args": {"stepscope:site": "net.py:12"}}),
    st.lists(members, max_size=9).map(lambda some: {**full, **dict(some)}),
    st.lists(members, max_size=9).map(dict),
)
tokens = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b",",
        b":",
        b" ",
        b"\n",
        b"0",
        b"-",
        b".",
        b"e",
        b"\xff",
        b'"ph":"X"',
        b"u00e9",
    ]
)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Events as text, with a few bytes replaced, removed or put in."""
    spelling: Any = draw(st.sampled_from([{}, {"ensure_ascii": False}, {"separators": (",", ":")}]))
    written = [json.dumps(event, **spelling).encode() for event in draw(st.lists(events, max_size=4))]
    content = draw(st.sampled_from([b",", b",\n", b" , ", b""])).join(written) + draw(
        st.sampled_from([b"]", b"", b" ]x"])
    )
    for _ in range(draw(st.integers(0, 3))):
        at, length = draw(st.integers(0, len(content))), draw(st.integers(0, 3))
        content = content[:at] + draw(tokens) + content[at + length :]
    return content


@settings(max_examples=600, deadline=None)
@given(content=contents(), cut=st.integers(0, 200))
@example(content=b'{"ph":"X","pid":1,"tid":1,"ts":1', cut=5)
@example(content=b'{"name":"\\', cut=0)
def test_both_cores_say_the_same_of_any_bytes(content: bytes, cut: int) -> None:
    native = pytest.importorskip("stepscope._native", reason="the C core is not built")
    cuts = (min(cut, len(content)),)

    assert scan(content, native, cuts) == scan(content, twin, cuts)
    for at in range(len(content)):
        assert native.json_value_end(content, at) == twin.json_value_end(content, at)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60))
def test_both_cores_say_the_same_of_random_bytes(content: bytes) -> None:
    native = pytest.importorskip("stepscope._native", reason="the C core is not built")

    assert scan(content, native) == scan(content, twin)


@settings(max_examples=200, deadline=None)
@given(content=contents(), cut=st.integers(0, 200))
def test_pieces_of_any_size_give_the_same_rows(content: bytes, cut: int) -> None:
    assert scan(content, cuts=(min(cut, len(content)),))[1] == scan(content)[1]


def test_the_c_scanner_refuses_what_is_out_of_range() -> None:
    native = pytest.importorskip("stepscope._native", reason="the C core is not built")
    scanner = native.ChromeScanner(b"", b"")

    for at in (-1, 3, 1 << 62):
        with pytest.raises(IndexError, match="not within the 2 bytes"):
            scanner.feed(b"{}", at)
        with pytest.raises(IndexError, match="not within the 2 bytes"):
            native.json_value_end(b"{}", at if at != 3 else 2)
    with pytest.raises(TypeError):
        scanner.feed("{}", 0)
    scanner.finish()
    with pytest.raises(ValueError, match="finished"):
        scanner.feed(b"{}", 0)
    with pytest.raises(ValueError, match="finished"):
        scanner.finish()


@pytest.mark.parametrize("unit", [b"[", b"{", b'{"a":', b'"', b'\\"', b"\\", b'{"ph":', b"-", b"0", b" ", b",", b"x"])
def test_no_bytes_take_longer_than_their_length_is_worth(unit: bytes) -> None:
    content = b"{" + unit * (1_000_000 // len(unit))
    begin = time.perf_counter()
    said, _ = scan(content)

    assert said[0][2] in ("more", "damaged")
    assert time.perf_counter() - begin < 10
