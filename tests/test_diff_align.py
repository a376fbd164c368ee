"""Alignment of siblings: exact where lists are short, sensible where they are long, and the same from both sides."""

import itertools
import random
from array import array

from hypothesis import given
from hypothesis import strategies as st

from stepscope.analysis.diff import align as alignment
from stepscope.analysis.diff.align import align
from stepscope.core.trees import Tiers


def tiers(*members: tuple[int, int, int]) -> Tiers:
    """Of (full, shape, name); without arguments, they are by themselves what they are called."""
    return Tiers(*(array("Q", [member[tier] for member in members]) for tier in (0, 1, 2, 2)))


def named(names: str) -> Tiers:
    """Members that are equal where their letters are."""
    codes = array("Q", [ord(letter) for letter in names])
    return Tiers(codes, codes, codes, codes)


members = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 2)), max_size=12).map(
    # What is equal in one tier is equal in those below it.
    lambda drawn: tiers(*((full * 100 + shape * 10 + name, shape * 10 + name, name) for full, shape, name in drawn))
)


@given(members, members)
def test_it_is_the_same_from_both_sides(base: Tiers, head: Tiers) -> None:
    assert [(i, j) for j, i in align(head, base)] == align(base, head)


@given(members, members)
def test_pairs_rise_and_have_one_name(base: Tiers, head: Tiers) -> None:
    pairs = align(base, head)

    assert pairs == sorted(pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(a[1] < b[1] for a, b in itertools.pairwise(pairs))
    assert all(base.name[i] == head.name[j] for i, j in pairs)


@given(members)
def test_a_list_is_aligned_with_itself(base: Tiers) -> None:
    assert align(base, base) == [(i, i) for i in range(len(base.full))]


def test_an_insertion_leaves_the_rest_in_pairs() -> None:
    assert align(named("abcd"), named("abxcd")) == [(0, 0), (1, 1), (2, 3), (3, 4)]


def test_a_change_inside_does_not_tear_neighbours_apart() -> None:
    """sync A sync B sync against A' sync B' sync: what is between two equal ones stays between them."""
    sync, one, two = (1, 1, 1), (10, 10, 2), (20, 20, 3)
    base = tiers(sync, one, sync, two, sync)
    head = tiers((11, 11, 2), sync, (21, 21, 3), sync)

    assert align(base, head) == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_what_is_replaced_stands_in_its_place() -> None:
    """Of two calls one became another: the one in the same place is paired with neither."""
    base = tiers((1, 1, 1), (2, 2, 1))
    head = tiers((9, 9, 9), (3, 3, 1))

    assert align(base, head) == [(1, 1)]


def long_lists(seed: int, length: int, kinds: int) -> "tuple[array[int], array[int]]":
    """A list of many members of few kinds, and the same with some changes."""
    chance = random.Random(seed)  # noqa: S311 - the same lists every time
    base = array("Q", [chance.randrange(kinds) for _ in range(length)])
    head = base[:]
    for _ in range(20):
        del head[chance.randrange(len(head))]
        head.insert(chance.randrange(len(head)), chance.randrange(kinds))
    return base, head


def same_tiers(values: "array[int]") -> Tiers:
    return Tiers(values, values, values, values)


def test_long_lists_with_few_changes_are_aligned_but_for_those() -> None:
    for kinds in (3, 10**9):
        base, head = long_lists(1, 5000, kinds)
        pairs = align(same_tiers(base), same_tiers(head))

        assert len(pairs) >= 5000 - 20
        assert all(base[i] == head[j] for i, j in pairs)


def test_long_lists_without_anything_in_common_cost_little() -> None:
    base, head = array("Q", [1, 2] * 5000), array("Q", [3, 4] * 5000)

    assert align(same_tiers(base), same_tiers(head)) == []


def test_long_lists_that_differ_everywhere_are_aligned_by_names() -> None:
    names, ones, others = (array("Q", of) for of in ((at % 7 for at in range(2000)), range(2000), range(5000, 7000)))
    base, head = Tiers(ones, ones, ones, names), Tiers(others, others, others, names)

    assert align(base, head) == [(at, at) for at in range(2000)]


@given(st.text("abc", max_size=40), st.text("abc", max_size=40))
def test_a_common_subsequence_is_a_longest_one(one: str, other: str) -> None:
    left, right = (array("Q", map(ord, text)) for text in (one, other))
    piece = alignment._Piece(0, len(left), 0, len(right))  # noqa: SLF001 - lists this short are aligned another way
    pairs = alignment._common(left, right, piece)  # noqa: SLF001
    best = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            best[i + 1][j + 1] = best[i][j] + 1 if a == b else max(best[i][j + 1], best[i + 1][j])

    assert len(pairs) == best[-1][-1]
    assert all(left[i] == right[j] for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))
