"""The law of two cores, for the walk down two forests: C gives what Python gives, and says what is wrong."""

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bare_forests import NONE, forest_of, forests, rows_of
from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.trees import Forest, Walked

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")
CORES = pytest.mark.parametrize("core", [twin, native])


def walk(
    core: Any, base: Forest, head: Forest, *pairs: tuple[int, int], ordered: bool = True
) -> tuple[list[tuple[int, int]], ...]:
    """What is the same, and what of it is apart."""
    ones, others = (array("I", [pair[side] for pair in pairs or [(0, 0)]]) for side in (0, 1))
    walked = core.walk_alike(base, head, (ones, others), ordered=ordered)
    assert isinstance(walked, Walked)
    return tuple([*zip(*of_some, strict=True)] for of_some in walked)


@given(forests(), forests(), st.data(), st.booleans())
def test_a_walk_is_its_twin(base: Forest, head: Forest, data: st.DataObject, ordered: bool) -> None:
    rows = [st.integers(0, len(forest.full) - 1) for forest in (base, head)]
    pairs = data.draw(st.lists(st.tuples(*rows), max_size=4))

    native_walk, twin_walk = (walk(core, base, head, (0, 0), *pairs, ordered=ordered) for core in (native, twin))
    assert native_walk == twin_walk


@CORES
def test_equal_children_end_the_walk(core: Any) -> None:
    assert walk(core, rows_of(1, 2), rows_of(1, 2)) == ([(0, 0)], [])
    assert walk(core, rows_of(), rows_of()) == ([(0, 0)], [])


@CORES
def test_what_differs_inside_only_is_the_one_in_its_place(core: Any) -> None:
    assert walk(core, rows_of(1, 2, 3, 4), rows_of(1, 7, 8, 4)) == ([(0, 0), (2, 2), (3, 3)], [])


@CORES
def test_without_an_order_there_are_no_places(core: Any) -> None:
    assert walk(core, rows_of(1, 2), rows_of(1, 3), ordered=False) == ([(0, 0)], [(0, 0)])
    assert walk(core, rows_of(1, 2), rows_of(1, 2), ordered=False) == ([(0, 0)], [])
    assert walk(core, rows_of(1), rows_of(2), ordered=False) == ([(0, 0), (1, 1)], [])


@CORES
def test_an_only_child_of_one_name_is_the_one(core: Any) -> None:
    assert walk(core, rows_of(1, shape=[5]), rows_of(2, shape=[6])) == ([(0, 0), (1, 1)], [])
    assert walk(core, rows_of(1, name=[5]), rows_of(2, name=[6])) == ([(0, 0)], [(0, 0)])


@CORES
@pytest.mark.parametrize(
    ("base", "head"),
    [
        (rows_of(1, 2), rows_of(1)),
        (rows_of(1, 2), rows_of(3, 4, 5)),
        (rows_of(1, 2), rows_of(2, 1)),
        (rows_of(1, 2, 3), rows_of(2, 4, 5)),
        (rows_of(1, 2, shape=[1, 2]), rows_of(1, 3, shape=[1, 3])),
        (rows_of(*range(100, 140)), rows_of(*range(200, 239), 120)),
    ],
)
def test_other_children_are_apart(core: Any, base: Forest, head: Forest) -> None:
    assert walk(core, base, head) == ([(0, 0)], [(0, 0)])
    assert walk(core, head, base) == ([(0, 0)], [(0, 0)])


@CORES
def test_the_walk_goes_down_from_each_pair_in_order(core: Any) -> None:
    chain = forest_of([(1, 1, 1, NONE), (2, 1, 1, 0), (3, 1, 1, 1), (9, 1, 1, NONE), (8, 1, 1, 3)])
    other = forest_of([(4, 1, 1, NONE), (5, 1, 1, 0), (6, 1, 1, 1), (7, 1, 1, NONE), (8, 1, 1, 3)])

    assert walk(core, chain, other, (3, 3), (0, 0)) == ([(3, 3), (0, 0), (1, 1), (2, 2)], [])


@CORES
def test_a_chain_of_any_depth_is_walked(core: Any) -> None:
    many = 50_000
    one, other = (forest_of([(at + by, 1, 1, at - 1) for at in range(many)]) for by in (0, many))

    assert walk(core, one, other)[0] == [(at, at) for at in range(many)]


@CORES
def test_what_is_no_row_is_refused(core: Any) -> None:
    good = rows_of(1)
    with pytest.raises(ValueError, match=r"is \(0, 2\)|\(0, 2\): there are 2 and 2 rows"):
        walk(core, good, rows_of(2), (0, 2))
    for starts, children in (([0, 1, 1], [0]), ([0, 1, 1], [2]), ([0, 2, 2], [1]), ([1, 0, 0], [1])):
        bad = good._replace(starts=array("I", starts), children=array("I", children))
        with pytest.raises(ValueError, match="row 0 of base, or of row 0 of head, are no rows behind"):
            walk(core, good, bad)
        with pytest.raises(ValueError, match="row 0 of base, or of row 0 of head, are no rows behind"):
            walk(core, bad, good)


def test_what_is_no_forest_is_refused() -> None:
    good, pairs = rows_of(1), (array("I", [0]), array("I", [0]))
    with pytest.raises(TypeError, match=r"base: must be a stepscope\.core\.trees\.Forest, not int"):
        native.walk_alike(1, good, pairs, ordered=True)
    with pytest.raises(ValueError, match=r"head\.shape has 1 items: it must have 2"):
        native.walk_alike(good, good._replace(shape=array("Q", [1])), pairs, ordered=True)
    with pytest.raises(ValueError, match=r"head\.starts has 2 items: it must have 3"):
        native.walk_alike(good, good._replace(starts=array("I", [0, 0])), pairs, ordered=True)
    with pytest.raises(ValueError, match=r"pairs\.head has 0 items: it must have 1"):
        native.walk_alike(good, good, (pairs[0], array("I")), ordered=True)


PAIRS = array("I", [0]), array("I", [0])
# Few children; and so many that a table is made.
FEW = rows_of(1, 2), rows_of(3, 4)
MANY = rows_of(*range(40)), rows_of(*range(50, 90))


def run(core: Any) -> tuple[Any, ...]:
    return core.walk_alike(*FEW, PAIRS, ordered=True), core.walk_alike(*MANY, PAIRS, ordered=True)


def test_they_do_not_leak() -> None:
    assert left_by(lambda: run(native)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    assert failures_of(lambda: run(native), run(twin), upto=100) > 5
