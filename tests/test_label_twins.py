"""The law of two cores, for hashes of texts and arguments: C gives what Python gives, and says what is wrong."""

from array import array
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.trees import ArgsLabels

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

any_text = st.text(st.characters(categories=("L", "N", "P", "Z", "S", "Cc", "Cs", "Co")))
numbers = st.integers() | st.integers(-(2**64), 2**64) | st.floats() | st.booleans()
plain = st.dictionaries(any_text, numbers | any_text, max_size=6)
nested = st.dictionaries(any_text, numbers | st.lists(numbers) | st.none(), max_size=3)
OTHER = 2**64 - 1


class _Never(dict[str, bool]):
    """Whether an argument is compared: those are not that begin as one that is called so."""

    def __missing__(self, key: str) -> bool:
        return not key.startswith("0")


class _Halved(dict[str, str]):
    """Text of which only every other character is compared."""

    def __missing__(self, text: str) -> str:
        return text[::2]


LABELS = ArgsLabels(_Never(), _Halved(), lambda _: OTHER)


def hashes_of(core: Any, *args: Mapping[str, Any], labels: ArgsLabels = LABELS) -> "array[int]":
    hashes = array("Q", bytes(8 * len(args)))
    core.hash_args(enumerate(args), hashes, labels)
    return hashes


@given(st.lists(any_text))
@example(["", "\0", "a", "a\0", "abcdefg", "abcdefgh", "abcdefghi", "\ud800", "\N{SNOWMAN}" * 5, "x" * 1000])
def test_hashes_of_texts_are_their_twin(texts: list[str]) -> None:
    hashes = native.hash_texts(texts)

    assert hashes == twin.hash_texts(texts)
    assert [bits == 0 for bits in hashes] == [text == "" for text in texts]


@pytest.mark.parametrize("core", [twin, native])
@pytest.mark.parametrize(("one", "other"), [("0 layer b", "k layer a"), ("load 9 layer 2", "load t layer 1")])
def test_texts_that_differ_in_two_places_have_two_hashes(core: Any, one: str, other: str) -> None:
    """They had one by 2**64 - 59: 256**8 times 1 in one character is 59 in the one eight places before."""
    hashes = core.hash_texts([one, other])

    assert hashes[0] != hashes[1]


@given(st.lists(plain | nested, max_size=4))
@example(
    [{"b": 1, "a": 2.0, "c": True}, {"it's": 'a "b"'}, {"é": "\\", "0": 1}, {"0": "x"}, {"n": -0.0}, {"n": 10**30}]
)
@example([{f"key {number}": number for number in range(count)} for count in (64, 65)])
def test_hashes_of_arguments_are_their_twin(all_args: list[dict[str, Any]]) -> None:
    expected = hashes_of(twin, *all_args)

    assert hashes_of(native, *all_args) == expected
    for core in (twin, native):
        assert hashes_of(core, *map(MappingProxyType, all_args)) == expected


@pytest.mark.parametrize("core", [twin, native])
def test_arguments_are_told_apart_by_what_is_compared_of_them(core: Any) -> None:
    one, same, ignored, other, empty = hashes_of(
        core, {"a": "xy", "b": 1}, {"b": 1, "a": "xz"}, {"a": "x", "b": 1, "01": 7}, {"a": "x", "b": True}, {"0": 1}
    )

    assert one == same == ignored != other
    assert empty == 0


@pytest.mark.parametrize("core", [twin, native])
def test_arguments_with_more_in_them_are_left_to_the_caller(core: Any) -> None:
    asked: list[Any] = []

    def other(args: Mapping[str, Any]) -> int:
        asked.append(args)
        return 5

    hashes = hashes_of(core, {"n": [1]}, {"n": 1}, labels=LABELS._replace(other=other))

    assert asked == [{"n": [1]}]
    assert hashes[0] == 5 != hashes[1]


@pytest.mark.parametrize("core", [twin, native])
@pytest.mark.parametrize("row", [-1, 1, 2**70])
def test_a_row_that_is_none_is_refused(core: Any, row: int) -> None:
    with pytest.raises(IndexError):
        core.hash_args([(row, {})], array("Q", [0]), LABELS)


@pytest.mark.parametrize("core", [twin, native])
def test_what_the_caller_raises_goes_on(core: Any) -> None:
    nothing: dict[str, Any] = {}
    for labels in (LABELS._replace(is_compared=nothing), LABELS._replace(normal=nothing)):
        with pytest.raises(KeyError):
            hashes_of(core, {"a": "x"}, labels=labels)
    with pytest.raises(KeyError):
        hashes_of(core, {"b": [1]}, labels=LABELS._replace(other=lambda _: nothing[""]))


def test_what_is_no_text_and_no_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match=r"texts\[1\]: must be str, not int"):
        native.hash_texts(["a", 1])
    with pytest.raises(TypeError, match="items: must be pairs"):
        native.hash_args([{}], array("Q"), LABELS)
    numbers_for_text: Any = {"x": 1}
    with pytest.raises(TypeError, match=r"labels.normal has int: it must have str"):
        hashes_of(native, {"a": "x"}, labels=LABELS._replace(normal=numbers_for_text))
    with pytest.raises(TypeError, match="typecode 'Q'"):
        native.hash_args([], array("I"), LABELS)


def some_hashes(core: Any) -> tuple["array[int]", "array[int]"]:
    return core.hash_texts(["a", "é" * 9]), hashes_of(
        core, {"a": 1, "b": "é"}, MappingProxyType({"n": 2.5}), {"n": [1]}
    )


def test_they_do_not_leak() -> None:
    assert left_by(lambda: some_hashes(native)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    assert failures_of(lambda: some_hashes(native), some_hashes(twin), upto=80) > 5
