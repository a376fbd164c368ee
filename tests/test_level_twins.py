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
small_forests = forests(most=12)


def level(
    core: Any, base: Forest, head: Forest, most: int = MANY, *, ordered: bool = True
) -> tuple[int, list[Any], list[Any]]:
    """The order of the children of both roots, their pairs in order, and those out of order."""
    paired = core.pair_levels(base, head, ROOTS, most, ordered=ordered)
    assert isinstance(paired, PairedLevels)
    assert [*paired.starts] == [0, len(paired.pairs[0])]
    assert [*paired.found_starts] == [0, len(paired.found[0])]
    return paired.order[0], [*zip(*paired.pairs, strict=True)], [*zip(*paired.found, strict=True)]


@given(forests(), forests(), st.data(), st.sampled_from((-1, 0, 4, 100, MANY)), st.booleans())
def test_levels_are_their_twin(base: Forest, head: Forest, data: st.DataObject, most: int, ordered: bool) -> None:
    rows = [st.integers(0, len(forest.full) - 1) for forest in (base, head)]
    pairs = data.draw(st.lists(st.tuples(*rows), max_size=6))
    columns = array("I", [one for one, _ in pairs]), array("I", [other for _, other in pairs])

    native_levels, twin_levels = (
        core.pair_levels(base, head, columns, most, ordered=ordered) for core in (native, twin)
    )
    assert native_levels == twin_levels


@CORES
@given(forests(), forests(), st.booleans())
def test_a_level_is_mirrored(core: Any, base: Forest, head: Forest, ordered: bool) -> None:
    order, pairs, found = level(core, base, head, ordered=ordered)
    other_order, other_pairs, other_found = level(core, head, base, ordered=ordered)

    assert {(i, j) for j, i in other_pairs} == {*pairs}
    assert {(i, j) for j, i in other_found} == {*found}
    equal = [base.full[row] for row in _children(base)] == [head.full[row] for row in _children(head)]
    assert (order, other_order) in ([(1, 1)] if equal else [(1, 2), (2, 1)])


@CORES
@given(forests(), forests(), st.booleans())
def test_each_is_paired_once_with_what_it_is_like(core: Any, base: Forest, head: Forest, ordered: bool) -> None:
    _, pairs, found = level(core, base, head, ordered=ordered)
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
def test_without_an_order_all_are_paired_by_their_hashes(core: Any) -> None:
    base = rows_of(7, 5, 6, shape=[1, 2, 2], name=[1, 2, 2])
    head = rows_of(5, 9, 8, shape=[2, 2, 3], name=[2, 2, 3])

    assert level(core, base, head, ordered=False) == (2, [], [(2, 1), (3, 2)])
    assert level(core, head, base, ordered=False) == (1, [], [(1, 2), (2, 3)])
    assert level(core, base, head, 8, ordered=False) == (0, [], [])


@CORES
def test_too_many_are_left_alone(core: Any) -> None:
    one, other = rows_of(1, 2, 3, 4, 9), rows_of(1, 3, 2, 4, 5, 9)

    assert level(core, one, other, 12)[0] == 1  # three by four between what is equal
    assert level(core, one, other, 11) == (0, [], [])
    assert level(core, rows_of(), other, 0) == (1, [], [])
    assert level(core, rows_of(1), rows_of(1), 0) == (1, [(1, 1)], [])


def relabelled(forest: Forest) -> Forest:
    """The same, in which everything is something else, and what is equal is equal."""
    shape, inner, label, own, name = (
        array(column.typecode, [one and (7 * one + 5) % 2**31 for one in column])
        for column in (forest.shape, forest.inner, forest.label, forest.own, forest.name)
    )
    full = array("Q", [min(2 * one + 1, 2**64 - 1) for one in forest.full])  # in the same order
    return Forest(full, shape, inner, label, own, name, forest.starts, forest.children)


def pattern(core: Any, base: Forest, head: Forest) -> int:
    number: int = core.pair_levels(base, head, ROOTS, MANY, ordered=True).pattern[0]
    return number


@CORES
@given(small_forests, small_forests)
def test_what_is_equal_to_what_is_the_pattern(core: Any, base: Forest, head: Forest) -> None:
    assert pattern(core, relabelled(base), relabelled(head)) == pattern(core, base, head)


BESIDE = rows_of(10, 11, 12, shape=[1, 2, 3], name=[1, 2, 3])
OTHERS = [
    rows_of(20, 21, 22, shape=[4, 5, 6], name=[4, 5, 6]),
    rows_of(20, 21, 22, shape=[4, 5, 5], name=[4, 5, 6]),  # two of one shape
    rows_of(20, 21, 22, shape=[4, 5, 6], name=[4, 5, 5]),  # two of one name
    rows_of(20, 21, 21, shape=[4, 5, 6], name=[4, 5, 6]),  # two that are equal
    rows_of(20, 21, 23, shape=[4, 5, 6], name=[4, 5, 6]),  # two of one label
    rows_of(20, 21, 10, shape=[4, 5, 6], name=[4, 5, 6]),  # one that is equal to one of base
    rows_of(2, 3, 4, shape=[4, 5, 6], name=[4, 5, 6]),  # the lesser hashes
    rows_of(20, 21, shape=[4, 5], name=[4, 5]),  # one less
    forest_of([(99, 0, 0, NONE), (20, 4, 4, 0), (21, 5, 5, 0), (22, 6, 6, 0), (30, 9, 9, 3)]),  # one inside of one
    forest_of([(99, 0, 0, NONE), (20, 4, 4, 0), (21, 5, 5, 0), (22, 6, 6, 0), (30, 2, 9, 3)]),  # of a shape of base
    forest_of([(99, 0, 0, NONE), (20, 4, 4, 0), (21, 5, 5, 0), (22, 6, 6, 0), (30, 9, 2, 3)]),  # of a name of base
    forest_of([(99, 0, 0, NONE), (20, 4, 4, 0), (21, 5, 5, 0), (22, 6, 6, 0), (30, 9, 9, 3), (31, 9, 9, 3)]),
    forest_of([(99, 0, 0, NONE), (20, 4, 4, 0), (21, 5, 5, 0), (22, 6, 6, 0), (30, 9, 9, 2)]),  # inside of another
]


@CORES
def test_whatever_counts_tells_patterns_apart(core: Any) -> None:
    numbers = [pattern(core, BESIDE, other) for other in OTHERS]

    assert 0 not in numbers
    assert len({*numbers}) == len(OTHERS)


@CORES
def test_where_all_are_paired_or_too_many_there_is_no_pattern(core: Any) -> None:
    assert pattern(core, BESIDE, BESIDE) == 0
    assert pattern(core, BESIDE, rows_of()) == 0
    assert pattern(core, BESIDE, rows_of(10, 11, shape=[1, 2], name=[1, 2])) == 0
    for many, has in ((45, True), (46, False)):
        assert bool(pattern(core, BESIDE, rows_of(*range(20, 20 + many), name=range(20, 20 + many)))) == has
    for many, has in ((256, True), (257, False)):
        inside = [(at, 9, 9, 1) for at in range(30, 30 + many)]
        assert bool(pattern(core, BESIDE, forest_of([(99, 0, 0, NONE), (20, 4, 4, 0), *inside]))) == has


@CORES
def test_what_is_inside_of_members_must_stand_behind_them(core: Any) -> None:
    good = OTHERS[8]
    bad = good._replace(children=array("I", [1, 2, 3, 2]))
    with pytest.raises(ValueError, match="children of row 0 of base, or of row 3 of head, are no rows behind it"):
        pattern(core, BESIDE, bad)
    with pytest.raises(ValueError, match="children of row 3 of base, or of row 0 of head, are no rows behind it"):
        pattern(core, bad, BESIDE)


@CORES
def test_each_level_has_its_own_pairs(core: Any) -> None:
    base = forest_of([(1, 1, 1, NONE), (5, 5, 5, 0), (6, 6, 6, 0), (2, 2, 2, NONE), (7, 7, 7, 3)])
    head = forest_of([(1, 1, 1, NONE), (6, 6, 6, 0), (5, 5, 5, 0), (2, 2, 2, NONE), (8, 8, 8, 3)])
    rows = array("I", [3, 0, 3]), array("I", [3, 0, 0])

    paired = core.pair_levels(base, head, rows, MANY, ordered=True)
    assert paired.order == array("B", [1, 1, 2])
    assert ([*paired.starts], [*paired.found_starts]) == ([0, 0, 1, 1], [0, 0, 1, 1])
    assert [*zip(*paired.pairs, strict=True)] == [(1, 2)]
    assert [*zip(*paired.found, strict=True)] == [(2, 1)]


@CORES
def test_what_is_no_row_is_refused(core: Any) -> None:
    good = rows_of(1)
    with pytest.raises(ValueError, match=r"pair_levels: pair 0 is \(0, 2\): there are 2 and 2 rows"):
        core.pair_levels(good, good, (array("I", [0]), array("I", [2])), MANY, ordered=True)
    for starts, children in (([0, 1, 1], [0]), ([0, 1, 1], [2]), ([0, 2, 2], [1]), ([1, 0, 0], [1])):
        bad = good._replace(starts=array("I", starts), children=array("I", children))
        for forests_of_both in ((good, bad), (bad, good)):
            with pytest.raises(ValueError, match="pair_levels: children of row 0 of base, or of row 0 of head, are no"):
                core.pair_levels(*forests_of_both, ROOTS, MANY, ordered=True)


def test_what_is_no_forest_is_refused() -> None:
    good = rows_of(1)
    with pytest.raises(TypeError, match=r"base: must be a stepscope\.core\.trees\.Forest, not int"):
        native.pair_levels(1, good, ROOTS, MANY, ordered=True)
    with pytest.raises(ValueError, match=r"pairs\.head has 0 items: it must have 1"):
        native.pair_levels(good, good, (ROOTS[0], array("I")), MANY, ordered=True)
    with pytest.raises(MemoryError):
        native.pair_levels(good, good, ROOTS, 2**62, ordered=True)


# What is left over is paired by a table; and there is a level for which lists grow.
LEVELS = rows_of(*range(40), name=range(40)), rows_of(*range(39, 3, -1), *range(50, 90), name=range(76))
SAME = rows_of(*range(200)), rows_of(*range(200))


def run(core: Any) -> tuple[Any, ...]:
    return (
        core.pair_levels(*LEVELS, ROOTS, MANY, ordered=True),
        core.pair_levels(*LEVELS, ROOTS, MANY, ordered=False),
        core.pair_levels(*SAME, ROOTS, 0, ordered=True),
    )


def test_they_do_not_leak() -> None:
    assert left_by(lambda: run(native)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    assert failures_of(lambda: run(native), run(twin), upto=200) > 15
