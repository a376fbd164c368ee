"""The law of two cores, for the children of pairs of rows: C pairs them as Python does, and says what is wrong."""

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bare_forests import NONE, forest_of, forests, rows_of
from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.trees import Forest, PairedLevels

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")
CORES = pytest.mark.parametrize("core", [twin, native])
ROOTS = array("I", [0]), array("I", [0])
MANY = 10_000


def level(core: Any, base: Forest, head: Forest, most: int = MANY) -> tuple[int, list[Any], list[Any]]:
    """The order of the children of both roots, their pairs in order, and those out of order."""
    paired = core.pair_levels(base, head, ROOTS, most)
    assert isinstance(paired, PairedLevels)
    assert [*paired.starts] == [0, len(paired.pairs[0])]
    assert [*paired.found_starts] == [0, len(paired.found[0])]
    return paired.order[0], [*zip(*paired.pairs, strict=True)], [*zip(*paired.found, strict=True)]


@given(forests(), forests(), st.data(), st.sampled_from((-1, 0, 4, 100, MANY)))
def test_levels_are_their_twin(base: Forest, head: Forest, data: st.DataObject, most: int) -> None:
    rows = [st.integers(0, len(forest.full) - 1) for forest in (base, head)]
    pairs = data.draw(st.lists(st.tuples(*rows), max_size=6))
    columns = array("I", [one for one, _ in pairs]), array("I", [other for _, other in pairs])

    assert native.pair_levels(base, head, columns, most) == twin.pair_levels(base, head, columns, most)


@CORES
@given(forests(), forests())
def test_a_level_is_mirrored(core: Any, base: Forest, head: Forest) -> None:
    order, pairs, found = level(core, base, head)
    other_order, other_pairs, other_found = level(core, head, base)

    assert {(i, j) for j, i in other_pairs} == {*pairs}
    assert {(i, j) for j, i in other_found} == {*found}
    equal = [base.full[row] for row in _children(base)] == [head.full[row] for row in _children(head)]
    assert (order, other_order) in ([(1, 1)] if equal else [(1, 2), (2, 1)])


@CORES
@given(forests(), forests())
def test_each_is_paired_once_with_what_it_is_like(core: Any, base: Forest, head: Forest) -> None:
    _, pairs, found = level(core, base, head)
    ones, others = [one for one, _ in pairs + found], [other for _, other in pairs + found]

    assert len({*ones}) == len(ones)
    assert len({*others}) == len(others)
    assert pairs == sorted(pairs)
    assert [other for _, other in pairs] == sorted(other for _, other in pairs)
    for one, other in pairs + found:
        tiers = ((forest.full, forest.shape, forest.name) for forest in (base, head))
        assert any(column[one] == other_column[other] for column, other_column in zip(*tiers, strict=True))


def _children(forest: Forest) -> Any:
    return forest.children[forest.starts[0] : forest.starts[1]]


@CORES
def test_ends_are_paired_then_what_is_between(core: Any) -> None:
    names = [1, 2, 3, 4, 5, 9]
    base = rows_of(1, 2, 3, 4, 5, 9, shape=names, name=names)
    head = rows_of(1, 2, 4, 7, 3, 9, shape=[1, 2, 4, 7, 3, 9], name=[1, 2, 4, 7, 3, 9])

    assert level(core, base, head) == (1, [(1, 1), (2, 2), (4, 3), (6, 6)], [(3, 5)])
    assert level(core, head, base) == (2, [(1, 1), (2, 2), (3, 4), (6, 6)], [(5, 3)])


@CORES
def test_too_many_are_left_alone(core: Any) -> None:
    one, other = rows_of(1, 2, 3, 4, 9), rows_of(1, 3, 2, 4, 5, 9)

    assert level(core, one, other, 12)[0] == 1  # three by four between what is equal
    assert level(core, one, other, 11) == (0, [], [])
    assert level(core, rows_of(), other, 0) == (1, [], [])
    assert level(core, rows_of(1), rows_of(1), 0) == (1, [(1, 1)], [])


@CORES
def test_each_level_has_its_own_pairs(core: Any) -> None:
    base = forest_of([(1, 1, 1, NONE), (5, 5, 5, 0), (6, 6, 6, 0), (2, 2, 2, NONE), (7, 7, 7, 3)])
    head = forest_of([(1, 1, 1, NONE), (6, 6, 6, 0), (5, 5, 5, 0), (2, 2, 2, NONE), (8, 8, 8, 3)])
    rows = array("I", [3, 0, 3]), array("I", [3, 0, 0])

    paired = core.pair_levels(base, head, rows, MANY)
    assert paired.order == array("B", [1, 1, 2])
    assert ([*paired.starts], [*paired.found_starts]) == ([0, 0, 1, 1], [0, 0, 1, 1])
    assert [*zip(*paired.pairs, strict=True)] == [(1, 2)]
    assert [*zip(*paired.found, strict=True)] == [(2, 1)]


@CORES
def test_what_is_no_row_is_refused(core: Any) -> None:
    good = rows_of(1)
    with pytest.raises(ValueError, match=r"pair_levels: pair 0 is \(0, 2\): there are 2 and 2 rows"):
        core.pair_levels(good, good, (array("I", [0]), array("I", [2])), MANY)
    for starts, children in (([0, 1, 1], [0]), ([0, 1, 1], [2]), ([0, 2, 2], [1]), ([1, 0, 0], [1])):
        bad = good._replace(starts=array("I", starts), children=array("I", children))
        for forests_of_both in ((good, bad), (bad, good)):
            with pytest.raises(ValueError, match="pair_levels: children of row 0 of base, or of row 0 of head, are no"):
                core.pair_levels(*forests_of_both, ROOTS, MANY)


def test_what_is_no_forest_is_refused() -> None:
    good = rows_of(1)
    with pytest.raises(TypeError, match=r"base: must be a stepscope\.core\.trees\.Forest, not int"):
        native.pair_levels(1, good, ROOTS, MANY)
    with pytest.raises(ValueError, match=r"pairs\.head has 0 items: it must have 1"):
        native.pair_levels(good, good, (ROOTS[0], array("I")), MANY)
    with pytest.raises(MemoryError):
        native.pair_levels(good, good, ROOTS, 2**62)


# What is left over is paired by a table; and there is a level for which lists grow.
LEVELS = rows_of(*range(40), name=range(40)), rows_of(*range(39, 3, -1), *range(50, 90), name=range(76))
SAME = rows_of(*range(200)), rows_of(*range(200))


def run(core: Any) -> tuple[Any, ...]:
    return core.pair_levels(*LEVELS, ROOTS, MANY), core.pair_levels(*SAME, ROOTS, 0)


def test_they_do_not_leak() -> None:
    assert left_by(lambda: run(native)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    assert failures_of(lambda: run(native), run(twin), upto=200) > 15
