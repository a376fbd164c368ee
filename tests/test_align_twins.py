"""The law of two cores, for the alignment of lists: C gives what Python gives, and says what is wrong."""

from array import array
from operator import eq
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.trees import Tiers

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

Members = list[tuple[int, ...]]
_numbers = st.integers(0, 2) | st.sampled_from((2**63, 2**64 - 1))
_letters = st.lists(st.integers(0, 3), max_size=30)
_members = st.lists(st.tuples(_numbers, _numbers, _numbers, _numbers), max_size=12)


def tiers_of(members: Members) -> Tiers:
    """Of (full, shape, name), or with what they are by themselves behind it."""
    return Tiers(*(array("Q", [member[tier % len(member)] for member in members]) for tier in (0, 1, 3, 2)))


@given(_members, _members)
@example([], [(1, 1, 1)])
@example([(1, 1, 1)], [])
def test_alignment_is_its_twin(base: Members, head: Members) -> None:
    places = native.align_few(tiers_of(base), tiers_of(head))

    assert places == twin.align_few(tiers_of(base), tiers_of(head))
    assert [*places[0]] == sorted(set(places[0]), reverse=True)
    assert [*places[1]] == sorted(set(places[1]), reverse=True)


@given(_letters, _letters, st.integers(-1, 30))
@example([1, 2, 1, 2], [2, 1, 2, 1], 2)
def test_what_is_common_is_its_twin(left: list[int], right: list[int], most: int) -> None:
    places = native.align_common(array("Q", left), array("Q", right), most)

    assert places == twin.align_common(array("Q", left), array("Q", right), most)
    assert [left[i] for i in places[0]] == [right[j] for j in places[1]]
    assert [*places[0]] == sorted(set(places[0]))
    assert [*places[1]] == sorted(set(places[1]))


@given(_letters, _letters)
@example([], [])
@example([0, 2**64 - 1, 5], [5, 0, 2**64 - 1])
def test_what_is_unique_is_its_twin(left: list[int], right: list[int]) -> None:
    places = native.align_unique(array("Q", left), array("Q", right))

    assert places == twin.align_unique(array("Q", left), array("Q", right))
    assert [left[i] for i in places[0]] == [right[j] for j in places[1]]
    assert all(left.count(left[i]) == right.count(left[i]) == 1 for i in places[0])
    assert [*places[0]] == sorted(set(places[0]))
    assert [*places[1]] == sorted(set(places[1]))


@given(st.permutations(range(40)))
def test_no_longer_run_rises(right: list[int]) -> None:
    """By the longest run that ends at each member."""
    longest: list[int] = []
    for at, value in enumerate(right):
        longest.append(1 + max((longest[i] for i in range(at) if right[i] < value), default=0))

    assert len(native.align_unique(array("Q", range(40)), array("Q", right))[0]) == max(longest)


@given(_members, _members, st.data())
def test_the_rest_is_its_twin(base: Members, head: Members, data: st.DataObject) -> None:
    taken = [data.draw(st.lists(st.integers(0, max(0, len(one) - 1)), max_size=len(one))) for one in (base, head)]
    many = min(map(len, taken))
    paired = array("I", taken[0][:many]), array("I", taken[1][:many])
    ones, others = native.align_rest(tiers_of(base), tiers_of(head), paired)

    assert (ones, others) == twin.align_rest(tiers_of(base), tiers_of(head), paired)
    assert {*paired[0]}.isdisjoint(ones)
    assert {*paired[1]}.isdisjoint(others)
    assert (len({*ones}), len({*others})) == (len(ones), len(others))
    assert all(any(map(eq, base[i], head[j])) for i, j in zip(ones, others, strict=True))


@pytest.mark.parametrize("core", [twin, native])
def test_the_rest_is_paired_by_whole_trees_first_and_in_order(core: Any) -> None:
    base = tiers_of([(1, 1, 1), (2, 1, 1), (3, 3, 1), (4, 4, 4), (5, 5, 5)])
    head = tiers_of([(9, 9, 1), (8, 1, 1), (2, 1, 1), (5, 5, 5)])

    assert core.align_rest(base, head, (array("I", [4]), array("I", [3]))) == (
        array("I", [1, 0, 2]),
        array("I", [2, 1, 0]),
    )


@pytest.mark.parametrize("core", [twin, native])
def test_what_is_paired_must_be_members(core: Any) -> None:
    base, head = tiers_of([(1, 1, 1)]), tiers_of([])
    with pytest.raises(ValueError, match="align_rest: place 1 of base is paired, which has 1 members"):
        core.align_rest(base, head, (array("I", [1]), array("I", [0])))
    with pytest.raises(ValueError, match="align_rest: place 0 of head is paired, which has 0 members"):
        core.align_rest(base, head, (array("I", [0]), array("I", [0])))


@pytest.mark.parametrize("core", [twin, native])
def test_arguments_decide_where_all_else_is_as_good(core: Any) -> None:
    """(full, shape, name, own): trees differ everywhere, names nowhere."""
    base = tiers_of([(1, 1, 1, 1), (2, 1, 1, 2), (3, 1, 1, 3)])
    less, other = tiers_of([(4, 1, 1, 1), (5, 1, 1, 3)]), tiers_of([(4, 9, 1, 3), (5, 9, 1, 1)])

    assert core.align_few(base, less) == (array("I", [2, 0]), array("I", [1, 0]))
    assert core.align_rest(base, less, (array("I"), array("I"))) == (array("I", [0, 2]), array("I", [0, 1]))
    assert core.align_rest(base, other, (array("I"), array("I"))) == (array("I", [0, 2]), array("I", [1, 0]))


@given(_letters, _letters)
def test_nothing_longer_is_common(left: list[int], right: list[int]) -> None:
    """By the table of each with each."""
    best = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            best[i + 1][j + 1] = best[i][j] + 1 if one == other else max(best[i][j + 1], best[i + 1][j])
    length, edits = best[-1][-1], len(left) + len(right) - 2 * best[-1][-1]

    assert len(native.align_common(array("Q", left), array("Q", right), edits)[0]) == length
    assert not native.align_common(array("Q", left), array("Q", right), edits - 1)[0]


@pytest.mark.parametrize("core", [twin, native])
def test_a_pair_is_worth_more_the_more_of_it_is_equal(core: Any) -> None:
    """Each of base's has the first one's name: what is paired is equal, else of one shape, else of one name."""
    base = tiers_of([(1, 1, 1), (2, 2, 1), (3, 2, 1)])
    equal, alike, named = tiers_of([(3, 2, 1)]), tiers_of([(9, 1, 1)]), tiers_of([(9, 9, 1)])

    assert core.align_few(base, equal) == (array("I", [2]), array("I", [0]))
    assert core.align_few(base, alike) == (array("I", [0]), array("I", [0]))
    assert core.align_few(base, named) == (array("I", [0]), array("I", [0]))
    assert core.align_few(base, tiers_of([(1, 1, 7)])) == (array("I"), array("I"))


def test_what_is_no_list_is_refused() -> None:
    good = tiers_of([(1, 1, 1)])
    with pytest.raises(TypeError, match="head: must be a stepscope"):
        native.align_few(good, ())
    with pytest.raises(ValueError, match=r"base\.name has 0 items: it must have 1"):
        native.align_few(good._replace(name=array("Q")), good)
    with pytest.raises(TypeError, match=r"base\.full: must be an array of typecode 'Q'"):
        native.align_few(good._replace(full=array("I", [1])), good)
    with pytest.raises(TypeError, match=r"align_common\.right: must be an array of typecode 'Q'"):
        native.align_common(good.full, [1], 4)
    with pytest.raises(TypeError, match=r"align_unique\.left: must be an array of typecode 'Q'"):
        native.align_unique(1, good.full)
    with pytest.raises(TypeError, match="head: must be a stepscope"):
        native.align_rest(good, (), (array("I"), array("I")))
    with pytest.raises(ValueError, match=r"places\.head has 0 items: it must have 1"):
        native.align_rest(good, good, (array("I", [0]), array("I")))


def aligned(core: Any) -> Any:
    one, other = tiers_of([(at % 7, at % 5, at % 3) for at in range(60)]), tiers_of([(1, 1, 1)] * 40)
    return (
        core.align_few(one, other),
        core.align_common(one.full, other.full, 100),
        core.align_common(one.full, other.full, 9),
        core.align_unique(array("Q", range(60)), array("Q", range(20, 80))),
        core.align_rest(one, other, (array("I", [3]), array("I", [4]))),
    )


def test_they_do_not_leak() -> None:
    assert left_by(lambda: aligned(native)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    base, head = tiers_of([(1, 1, 1), (2, 2, 2)]), tiers_of([(2, 2, 2)])

    assert failures_of(lambda: native.align_few(base, head), twin.align_few(base, head), upto=40) > 2
    one, other = array("Q", range(30)), array("Q", range(20, 50))
    assert failures_of(lambda: native.align_common(one, other, 60), twin.align_common(one, other, 60), upto=60) > 4
    assert failures_of(lambda: native.align_unique(one, other), twin.align_unique(one, other), upto=60) > 4
    none = array("I"), array("I")
    assert failures_of(lambda: native.align_rest(base, head, none), twin.align_rest(base, head, none), upto=60) > 4
