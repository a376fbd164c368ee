"""The law of two cores, for the numbers of paths: C gives what Python gives, and says what is wrong."""

from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")
CORES = pytest.mark.parametrize("core", [twin, native])

# (around, name): what is around a path, and what it is called.
Path = tuple[int, int]
MOST_AROUND, MOST_NAME = 2**63 - 1, 2**32 - 1

_roots = st.integers(-3, -1) | st.just(-(2**63))
_names = st.integers(0, 2) | st.just(MOST_NAME)


@st.composite
def _runs(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """What number_all is given: around and name of each, and roots."""
    roots = draw(st.lists(_roots, min_size=1, max_size=3))
    many = draw(st.integers(0, 40))
    around = [draw(st.integers(-len(roots), at - 1)) for at in range(many)]
    return around, [draw(_names) for _ in range(many)], roots


def all_of(core: Any, numbers: Any, run: tuple[Sequence[int], Sequence[int], Sequence[int]]) -> list[int]:
    found = numbers.number_all(array("q", run[0]), array("I", run[1]), array("q", run[2]))
    assert (type(found), found.typecode) == (array, "I")
    return [*found]


@CORES
@given(st.lists(st.tuples(_roots | st.integers(0, 300), _names), max_size=600))
def test_paths_count_by_first_appearance(core: Any, pairs: list[Path]) -> None:
    numbers, model = core.PathNumbers(), dict[Path, int]()
    for around, name in pairs:
        pair = min(around, len(model) - 1), name
        assert numbers.find(*pair) == model.get(pair)
        assert numbers.number(*pair) == model.setdefault(pair, len(model))
        assert len(numbers) == len(model)

    assert [(numbers.around(number), numbers.name(number)) for number in range(len(numbers))] == [*model]
    assert [numbers.find(*pair) for pair in model] == [*model.values()]
    assert numbers.arounds() == array("q", [around for around, _ in model])


@CORES
@given(st.lists(_runs(), max_size=3))
def test_many_at_once_are_one_after_another(core: Any, runs: list[tuple[list[int], list[int], list[int]]]) -> None:
    at_once, one_by_one = core.PathNumbers(), core.PathNumbers()
    for run in runs:
        found: list[int] = []
        for around, name in zip(*run[:2], strict=True):
            found.append(one_by_one.number(found[around] if around >= 0 else run[2][-1 - around], name))

        assert all_of(core, at_once, run) == found
        assert at_once.arounds() == one_by_one.arounds()


@CORES
def test_a_root_may_be_a_path(core: Any) -> None:
    numbers = core.PathNumbers()
    assert numbers.number(-1, 7) == 0

    assert all_of(core, numbers, ([-1, -2, 0], [8, 8, 9], [0, -1])) == [1, 2, 3]
    assert [*numbers.arounds()] == [-1, 0, -1, 1]


@CORES
def test_what_was_given_out_stays_when_more_come(core: Any) -> None:
    numbers = core.PathNumbers()
    numbers.number(-1, 7)
    before = numbers.arounds()
    numbers.number(0, 7)

    assert [*before] == [-1]


@CORES
def test_paths_are_told_apart_however_many_there_are(core: Any) -> None:
    """The table grows several times; roots of a multiple of 2**32 and their neighbours share bits."""
    pairs = [(-1 - 2**32 * (at // 3), at % 3) for at in range(3000)]
    numbers = core.PathNumbers()

    assert [numbers.number(*pair) for pair in pairs] == [*range(3000)]
    assert [numbers.find(*pair) for pair in pairs] == [*range(3000)]
    assert numbers.find(-1, 3) is None


@CORES
def test_a_path_that_there_is_not_is_refused(core: Any) -> None:
    numbers = core.PathNumbers()
    numbers.number(-1, 7)
    for number in (-1, 1, MOST_AROUND, 2**64, -(2**64)):
        for call in (numbers.around, numbers.name):
            with pytest.raises(IndexError, match=f"there is no path {number}: there are 1$"):
                call(number)
    with pytest.raises(IndexError, match=r"there is no path 1: there are 1$"):
        numbers.number(1, 7)
    with pytest.raises(IndexError, match=r"there is no path 1: there are 1$"):
        all_of(core, numbers, ([-1], [8], [-1, 1]))
    assert numbers.find(1, 7) is None
    assert len(numbers) == 1


@CORES
@pytest.mark.parametrize("pair", [(2**63, 0), (-(2**63) - 1, 0), (-1, 2**32), (-1, -1), (-1, 2**64)])
def test_a_number_that_is_too_large_is_refused(core: Any, pair: Path) -> None:
    numbers = core.PathNumbers()
    for call in (numbers.number, numbers.find):
        with pytest.raises(OverflowError, match=f"{pair[1]} around {pair[0]}: a name has 32 bits, and what is around"):
            call(*pair)
    assert len(numbers) == 0


@CORES
@pytest.mark.parametrize(
    ("around", "message"),
    [
        ([-1, 1], "path 1: around it is 1, which does not stand before it"),
        ([-1, MOST_AROUND], f"path 1: around it is {MOST_AROUND}, which does not stand before it"),
        ([-1, -3], "path 1: its root is 2: there are 2"),
        ([-1, -(2**63)], f"path 1: its root is {MOST_AROUND}: there are 2"),
    ],
)
def test_paths_that_refer_to_none_are_refused_and_none_is_numbered(core: Any, around: list[int], message: str) -> None:
    numbers = core.PathNumbers()
    with pytest.raises(ValueError, match=f"^{message}$"):
        all_of(core, numbers, (around, [1, 2], [-1, -2]))
    assert len(numbers) == 0


def test_what_is_no_array_is_refused() -> None:
    numbers, around, name = native.PathNumbers(), array("q", [-1]), array("I", [1])
    with pytest.raises(TypeError, match=r"number_all\.around: must be an array"):
        numbers.number_all([-1], name, around)
    with pytest.raises(ValueError, match=r"number_all\.name has 0 items: it must have 1"):
        numbers.number_all(around, array("I"), around)
    with pytest.raises(TypeError, match=r"number_all\.roots: must be an array of typecode 'q', not 'I'"):
        numbers.number_all(around, name, name)
    with pytest.raises(TypeError, match=r"number\(\) takes exactly 2 arguments \(1 given\)"):
        numbers.number(1)
    for wrong in ((1, "a"), ("a", 1)):
        with pytest.raises(TypeError):
            numbers.find(*wrong)
    with pytest.raises(TypeError):
        numbers.name("a")
    with pytest.raises(TypeError):
        native.PathNumbers(1)


RUN = array("q", [-1, *range(599)]), array("I", [at % 7 for at in range(600)]), array("q", [-1])


def each_call(core: Any) -> tuple[Any, ...]:
    numbers = core.PathNumbers()
    found = numbers.number_all(*RUN)
    return found, numbers.number(300, 9), numbers.find(1000, 9), numbers.around(300), numbers.arounds()


def test_they_do_not_leak() -> None:
    assert left_by(lambda: each_call(native)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    assert failures_of(lambda: each_call(native), each_call(twin), upto=60) > 5


def test_a_path_that_found_no_memory_is_numbered_the_next_time() -> None:
    numbers = native.PathNumbers()

    assert failures_of(numbers.number_all, array("I", range(600)), upto=20, given=lambda: RUN) > 1
