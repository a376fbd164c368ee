"""What text and what values a trace can hold: anything, and never an exception in the program."""

import enum
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope.core.values import MAX_ITEMS, freeze, freeze_args, legal_text


class Color(enum.IntEnum):
    RED = 3


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class RudeMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        return iter(["k"])

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "RudeMapping()"


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ('plain é 😀 \n \\ "', 'plain é 😀 \n \\ "'),
        ("nul\0", "nul\\x00"),
        ("lone \ud800", "lone \\ud800"),
        (5, "5"),
        (Rude(), "<Rude whose repr raised RuntimeError>"),
    ],
)
def test_text_is_kept_or_written_as_python_would(text: Any, legal: str) -> None:
    assert legal_text(text) == legal


@pytest.mark.parametrize(
    ("value", "frozen"),
    [
        (None, "None"),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, "9223372036854775808"),
        (-(2**64), "-18446744073709551616"),
        (10**5000, hex(10**5000)),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (b"\x00\xff", "b'\\x00\\xff'"),
        (bytearray(b"x"), "b'x'"),
        ((1, (2,)), [1, [2]]),
        ({3}, [3]),
        ({}, "{}"),
        ([], "[]"),
        ({"a": {}}, {"a": "{}"}),
        (Color.RED, 3),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "int", "1": "str"}, {"1": "int", "1 (str)": "str"}),
        (Rude(), "<Rude whose repr raised RuntimeError>"),
        ([Rude()], ["<Rude whose repr raised RuntimeError>"]),
        (RudeMapping(), "RudeMapping()"),
        (range(3), "range(0, 3)"),
        (np.float64(1.5), 1.5),
        (np.int8(-3), -3),
        (np.str_("s"), "s"),
        (np.zeros(3), "ndarray(shape=(3,), dtype=float64)"),
        (np.array(2.5), 2.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_as_something_sensible(value: Any, frozen: Any) -> None:
    assert freeze(value) == frozen
    assert type(freeze(value)) is type(frozen)


def test_a_cycle_ends_where_it_closes() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    own: dict[str, Any] = {}
    own["self"] = own

    assert freeze(loop) == [1, "..."]
    assert freeze(own) == {"self": "..."}


def test_what_is_deep_or_long_is_shortened_and_says_so() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]

    assert b'"..."' in orjson.dumps(freeze(deep))
    assert freeze(list(range(MAX_ITEMS + 5)))[-1] == "... 5 more"
    assert freeze({str(n): n for n in range(MAX_ITEMS + 5)})["..."] == "5 more"
    assert len(freeze(object.__new__(type("L", (), {"__repr__": lambda _: "x" * 10**6})))) < 1100
    assert freeze("x" * 100_000) == "x" * 100_000


def test_a_users_key_cannot_pass_for_a_mark_of_ours() -> None:
    assert freeze_args({"stepscope:cut": 1}) == {"user:stepscope:cut": 1}
    assert freeze_args(RudeMapping()) == {"args": "<RudeMapping whose repr raised RuntimeError>"}
    assert freeze_args("text") == {"args": "text"}


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()),
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.one_of(st.text(), st.integers()), inner)
    ),
)


@given(value=anything)
def test_a_frozen_value_is_json_and_stays_as_it_is(value: Any) -> None:
    frozen = freeze(value)

    assert orjson.loads(orjson.dumps(frozen)) == frozen
    assert freeze(frozen) == frozen
    assert freeze_args(freeze_args({"k": value})) == freeze_args({"k": value})
