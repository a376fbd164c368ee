"""Arguments that C encodes by itself are in the files as the formats would have written them."""

import sys
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nomemory import failures_of
from stepscope import Trace, core
from stepscope.core import twin
from stepscope.core.protobuf import Annotations
from stepscope.formats.chrome import encode_chrome
from stepscope.formats.perfetto import encode_perfetto
from stepscope.model.build import TraceBuilder
from strategies import arguments, texts

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

floats = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), floats, texts, st.text("aé 😀", max_size=300)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
KEYS = ("k", "k2", "loss", "Call stack", "stream", "my stream", "correlation", "streams", "Input Dims")
given_args = st.one_of(arguments, st.dictionaries(st.one_of(st.sampled_from(KEYS), texts), plain, max_size=4))


def trace_with(rows: list[dict[str, Any]]) -> Trace:
    builder = TraceBuilder()
    track = builder.thread(1, 2, "MainThread", "python")
    for number, args in enumerate(rows):
        cat = "kernel" if number % 3 == 2 else "user_annotation"
        builder.slice(track, "x", number * 10, 5, cat=cat, args=args)
    return builder.build()


@given(st.lists(given_args, max_size=8))
def test_files_are_what_the_formats_write_row_by_row(rows: list[dict[str, Any]]) -> None:
    trace = trace_with(rows)
    asked = {name: getattr(twin, name) for name in ("encode_chrome_args", "encode_perfetto_args")}
    for encode in (encode_chrome, encode_perfetto):
        with mock.patch.multiple(core.kernels, **asked):
            expected = b"".join(encode(trace))
        in_c = {name: getattr(native, name) for name in asked}
        with mock.patch.multiple(core.kernels, **in_c):
            assert b"".join(encode(trace)) == expected


PLAIN: list[dict[str, Any]] = [
    {"a": 1, "b": "text", "c": 1.5, "d": True, "e": False},
    {"n": -(2**63), "m": 2**63 - 1, "zero": 0, "small": 0.0001, "whole": 1e15, "negative": -0.25},
    {"Input Dims": [[2, 3], [], [4]], "Input type": ["float", "", "long"], "Concrete Inputs": ["", "0.5"]},
    {"é": "日本語 😀", "deep": {"k": {"k": [1, [2, [3]]]}}, "long": "x" * 20_000},
    {},
]


def never(*_: object) -> Any:
    raise AssertionError


@pytest.mark.parametrize("shown", [dict, MappingProxyType])
def test_plain_arguments_are_not_asked_about(shown: Any) -> None:
    args = {7 * row: shown(given) for row, given in enumerate(PLAIN)}
    ids: dict[str, int] = {}
    texts: list[bytes] = [b""]
    encoded = native.encode_chrome_args(shown(args), never)
    annotated = native.encode_perfetto_args(shown(args), ids, texts, "Call stack", never)

    assert list(encoded) == list(annotated) == list(args)
    assert encoded[0] == b'"a":1,"b":"text","c":1.5,"d":true,"e":false'
    assert encoded[7] == (
        b'"n":-9223372036854775808,"m":9223372036854775807,"zero":0,"small":0.0001,"whole":1000000000000000.0,'
        b'"negative":-0.25'
    )
    assert encoded[14] == (b'"Input Dims":[[2,3],[],[4]],"Input type":["float","","long"],"Concrete Inputs":["","0.5"]')
    assert encoded[28] == b""
    assert texts == [b"", *(name.encode() for row in PLAIN for name in row)]
    assert ids == {text.decode(): number for number, text in enumerate(texts) if number}
    assert annotated[0] == Annotations(
        bytes.fromhex("220408012001220808023204")
        + b"text"
        + bytes.fromhex("220b080329000000000000f83f220408041001220408051000"),
        (1, 2, 3, 4, 5),
    )
    assert type(annotated[0]) is Annotations


ODD = [
    {"k": "a\nb"},
    {"k": 'a"b'},
    {"k": "a\\"},
    {"k": "\x7f"},
    {'a"': 1},
    {"stream": 7},
    {"my stream": 7},
    {"correlation": 7},
    {"k": 1e16},
    {"k": 1e-05},
    {"k": 0.00012345678901234567},
    {"k": 2**63},
    {"k": None},
    {"k": float("inf")},
    {"k": (1, 2)},
    {"k": [[1, "\t"]]},
    {"k": {"\t": 1}},
    {"k": {1: 2}},
    {1: 2},
    {"k": "\ud800"},
]


@pytest.mark.parametrize("args", ODD)
def test_the_format_is_asked_about_what_it_spells_otherwise(args: dict[Any, Any]) -> None:
    asked: list[Any] = []

    def encode(*given: Any) -> bytes:
        asked.append(given)
        return b"encoded"

    assert native.encode_chrome_args({3: args}, encode) == {3: b"encoded"}
    assert asked == [(3, args)]


def test_a_call_stack_is_the_formats_and_its_names_have_the_ids_they_would_have() -> None:
    ids, texts, asked = {"z": 1}, [b"", b"z"], []

    def encode(given: Mapping[str, Any]) -> Annotations:
        asked.append(dict(given))
        assert ids == {"z": 1, "a": 2}
        return Annotations(b"stack", (2,))

    rows = {0: {"a": 1}, 1: {"a": 1, "Call stack": "f"}, 2: {"a": 1}, 3: {"z": True}}
    annotated = native.encode_perfetto_args(rows, ids, texts, "Call stack", encode)

    assert asked == [rows[1]]
    assert [row.names for row in annotated.values()] == [(2,), (2,), (2,), (1,)]
    assert annotated[0].names is annotated[2].names or annotated[1].names is not annotated[0].names
    assert texts == [b"", b"z", b"a"]


def test_deep_values_are_asked_about() -> None:
    value: Any = 1
    for _ in range(20):
        value = [value]

    assert native.encode_chrome_args({0: {"k": value}}, lambda *_: b"deep") == {0: b"deep"}
    assert native.encode_perfetto_args({0: {"k": value}}, {}, [b""], "", lambda _: "deep") == {0: "deep"}


def test_any_mapping_of_rows_will_do() -> None:
    class Rows(Mapping[int, Any]):
        def __getitem__(self, row: int) -> Any:
            return {"k": row}

        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Any:
            return iter((4, 5))

    assert native.encode_chrome_args(Rows(), never) == {4: b'"k":4', 5: b'"k":5'}


def test_what_is_wrong_is_said() -> None:
    def refuse(*_: object) -> bytes:
        message = "row 3 is refused"
        raise ValueError(message)

    with pytest.raises(ValueError, match="row 3 is refused"):
        native.encode_chrome_args({3: {"k": None}}, refuse)
    with pytest.raises(ValueError, match="row 3 is refused"):
        native.encode_perfetto_args({3: {"k": None}}, {}, [b""], "", refuse)
    with pytest.raises(AttributeError, match="items"):
        native.encode_chrome_args(None, never)
    with pytest.raises(TypeError, match="an item must be a row and its arguments, not 3"):
        native.encode_chrome_args(mock.Mock(items=lambda: [3]), never)
    with pytest.raises(TypeError, match="must be dict, not None"):
        native.encode_perfetto_args({}, None, [], "", never)


def test_the_program_goes_on_meanwhile() -> None:
    """A million rows' arguments take a while, and encoding them needs the GIL, as the program does."""
    rows = {row: {"a": row, "b": "text"} for row in range(300_000)}
    turns = [0, 0]
    counted = 0

    def encode() -> None:
        turns[0] = counted
        native.encode_chrome_args(rows, never)
        turns[1] = counted

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        thread = threading.Thread(target=encode)
        thread.start()
        while thread.is_alive():
            counted += 1
    finally:
        sys.setswitchinterval(before)
    thread.join()

    assert turns[1] > turns[0]


@pytest.mark.parametrize("kernel", ["encode_chrome_args", "encode_perfetto_args"])
def test_a_failing_allocation_is_a_memory_error(kernel: str) -> None:
    rows = {row: {"a": row, "b": "text", "c": 1.5, f"d{row}": [1, 2]} for row in range(20)}
    names = [{}, [b""], ""] if kernel == "encode_perfetto_args" else []
    expected = getattr(native, kernel)(rows, *names, never)

    def fresh() -> tuple[Any, ...]:
        return (rows, *([{}, [b""], ""] if names else ()), never)

    assert failures_of(getattr(native, kernel), expected, upto=100, given=fresh) > 20
