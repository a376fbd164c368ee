"""Siblings: what became of each child of one parent, or of each root of one thread.

In this order: the same one, in its place; reordered; wrapped or unwrapped; renamed. What is left is there on one side
only.
"""

from array import array
from collections.abc import Mapping, Sequence
from operator import ne
from typing import NamedTuple

from stepscope.analysis.diff.align import align
from stepscope.analysis.diff.rest import Pairs, Rest, Rows, Wrapper, find_others
from stepscope.analysis.diff.run import Run
from stepscope.core import kernels
from stepscope.core.trees import Tiers

__all__ = ["Common", "Siblings", "pair_rest", "pair_siblings"]


class Siblings(NamedTuple):
    """Two lists of siblings, compared.

    Attributes:
        same: (row of base, row of head) of what has the same name and differs inside, or in arguments or category.
        reordered: pairs of one name that are not in the order of the others; those that differ are in `same` too.
        renamed: pairs.
        wrapped: slices of head around rows of base.
        unwrapped: slices of base around rows of head.
        removed, added: rows that only base, or head, has.
        apart: whether it is known that no name is on both sides.
    """

    same: Pairs
    reordered: Pairs
    renamed: Pairs
    wrapped: list[Wrapper]
    unwrapped: list[Wrapper]
    removed: list[int]
    added: list[int]
    apart: bool = False

    def of_rows(self, base: Mapping[int, int], head: Mapping[int, int]) -> "Siblings":
        """The same for others that do the same: old row -> new row."""
        same, reordered, renamed = (
            [(base[one], head[other]) for one, other in pairs] for pairs in (self.same, self.reordered, self.renamed)
        )
        return Siblings(
            same,
            reordered,
            renamed,
            [Wrapper(head[row], [base[one] for one in inside]) for row, inside in self.wrapped],
            [Wrapper(base[row], [head[one] for one in inside]) for row, inside in self.unwrapped],
            [base[row] for row in self.removed],
            [head[row] for row in self.added],
            self.apart,
        )


class Common(NamedTuple):
    """What two lists of siblings have in common.

    Attributes:
        in_order: whether the hashes of base's are the lesser ones. What is ambiguous is decided as if they were: it
            must not depend on which side is base.
        pairs: (row of base, row of head) of what is the same, rising in both.
        found: the same, of what is out of order.
    """

    in_order: bool
    pairs: Pairs
    found: Pairs


def pair_siblings(base: Run, head: Run, rows: Rows, *, ordered: bool) -> Siblings | None:
    """Compare two lists of siblings.

    Args:
        base: the run of the first.
        head: the run of the second.
        rows: of base and of head.
        ordered: whether their order counts.

    Returns:
        None if nothing is different.
    """
    if ordered and (in_order := _if_apart(base, head, rows)) is not None:
        return pair_rest(base, head, rows, Common(in_order, [], []))
    full = base.trees.full, head.trees.full
    if [*map(full[0].__getitem__, rows[0])] == [*map(full[1].__getitem__, rows[1])]:
        return None
    tiers = [_tiers(run, side) for run, side in zip((base, head), rows, strict=True)]
    if ordered and (same := _same_but_inside(tiers, rows)):
        return Siblings(same, [], [], [], [], [], [])
    in_order = tiers[0].full <= tiers[1].full
    if not ordered:
        tiers, rows = _sorted(tiers, rows)
        if tiers[0].full == tiers[1].full:
            return None
    return pair_rest(base, head, rows, _common(tiers, rows, in_order=in_order, ordered=ordered), ordered=ordered)


def pair_rest(base: Run, head: Run, rows: Rows, common: Common, *, ordered: bool = True) -> Siblings:
    """Compare two lists of siblings that differ, of which it is known what they have in common.

    Args:
        base: the run of the first.
        head: the run of the second.
        rows: of base and of head.
        common: what they have in common.
        ordered: whether their order counts.
    """
    if common.in_order:
        return _pair((base, head), rows, common, ordered=ordered)
    pairs, found = ([(other, one) for one, other in some] for some in (common.pairs, common.found))
    return _mirrored(_pair((head, base), (rows[1], rows[0]), Common(True, pairs, found), ordered=ordered))


def _common(tiers: Sequence[Tiers], rows: Rows, *, in_order: bool, ordered: bool) -> Common:
    """What two lists of siblings have in common."""
    first, second = (0, 1) if in_order else (1, 0)
    places = align(tiers[first], tiers[second]) if ordered else []
    found: Pairs = []
    if len(places) < min(map(len, rows)):
        paired = array("I", [i for i, _ in places]), array("I", [j for _, j in places])
        found = [*zip(*kernels.align_rest(tiers[first], tiers[second], paired), strict=True)]
    if not in_order:
        places, found = ([(i, j) for j, i in pairs] for pairs in (places, found))
    return Common(in_order, *([(rows[0][i], rows[1][j]) for i, j in pairs] for pairs in (places, found)))


def _tiers(run: Run, rows: Sequence[int]) -> Tiers:
    columns = run.trees.full, run.trees.shape, run.trees.own, run.names
    return Tiers(*(array("Q", [*map(column.__getitem__, rows)]) for column in columns))


def _same_but_inside(tiers: Sequence[Tiers], rows: Rows) -> Pairs:
    """The pairs that differ, if each is of one shape and in one place, and none of them is in another place too."""
    if tiers[0].shape != tiers[1].shape:
        return []
    differ = [*map(ne, tiers[0].full, tiers[1].full)]
    first, end = differ.index(True), len(differ) - differ[::-1].index(True)
    if not {*tiers[0].full[first:end]}.isdisjoint(tiers[1].full[first:end]):
        return []
    return [*zip(rows[0][first:end], rows[1][first:end], strict=True)]


def _if_apart(base: Run, head: Run, rows: Rows) -> bool | None:
    """Whether siblings are in order of their hashes; None if a name may be on both sides, or there are none on one."""
    if not rows[0] or not rows[1]:
        return None
    first = base.trees.full[rows[0][0]], head.trees.full[rows[1][0]]
    names, other_names = (map(run.names.__getitem__, of_side) for run, of_side in zip((base, head), rows, strict=True))
    return None if first[0] == first[1] or not {*names}.isdisjoint(other_names) else first[0] < first[1]


def _pair(runs: tuple[Run, Run], rows: Rows, common: Common, *, ordered: bool) -> Siblings:
    """Compare two lists that differ, the first of which has the lesser hashes."""
    pairs, found = common.pairs, common.found
    full = runs[0].trees.full, runs[1].trees.full
    same = sorted([pair for pair in pairs + found if full[0][pair[0]] != full[1][pair[1]]])
    reordered = found if ordered else []
    if len(pairs) + len(found) == len(rows[0]) == len(rows[1]):
        return Siblings(same, reordered, [], [], [], [], [])
    rest = Rest(*runs, rows)
    rest.take(pairs + found)
    others = find_others(rest, rows, pairs, ordered=ordered)
    removed, added = map(list, rest.rows)
    apart = not pairs and not found
    return Siblings(same, reordered, others.renamed, others.wrapped, others.unwrapped, removed, added, apart)


def _mirrored(siblings: Siblings) -> Siblings:
    """The same, with base and head exchanged."""
    same, reordered, renamed = (
        sorted([(one, other) for other, one in pairs])
        for pairs in (siblings.same, siblings.reordered, siblings.renamed)
    )
    wrapped, unwrapped, removed, added = siblings.unwrapped, siblings.wrapped, siblings.added, siblings.removed
    return Siblings(same, reordered, renamed, wrapped, unwrapped, removed, added, siblings.apart)


def _sorted(tiers: Sequence[Tiers], rows: Rows) -> tuple[list[Tiers], Rows]:
    """Both lists in the order of their hashes, which is the same whatever happened first."""
    orders = [sorted(range(len(tier.full)), key=tier.full.__getitem__) for tier in tiers]
    sorted_tiers = [
        Tiers(*(array("Q", map(column.__getitem__, order)) for column in tier))
        for tier, order in zip(tiers, orders, strict=True)
    ]
    return sorted_tiers, ([rows[0][at] for at in orders[0]], [rows[1][at] for at in orders[1]])
