"""Siblings: what became of each child of one parent, or of each root of one thread.

In this order: the same one, in its place; reordered; wrapped or unwrapped; renamed. What is left is there on one side
only.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import ne
from typing import NamedTuple

from stepscope.analysis.diff.align import align
from stepscope.analysis.diff.run import Run
from stepscope.core import kernels
from stepscope.core.trees import Tiers

__all__ = ["Common", "Siblings", "Wrapper", "pair_rest", "pair_siblings"]

Pairs = list[tuple[int, int]]
# The tiers by which what is in a wrapper is known: by its shape, then by its name.
_NAME = 2
_IN_WRAPPERS = (1, _NAME)
# Rows of base and of head.
_Rows = tuple[Sequence[int], Sequence[int]]


class Wrapper(NamedTuple):
    """A slice between a parent and what were its children.

    Attributes:
        row: of the slice; in head if it was wrapped around, in base if it was taken away.
        inside: rows of the other side that it is around.
    """

    row: int
    inside: list[int]


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


class _Rest:
    """The rows of both sides that have not been paired."""

    def __init__(self, base: Run, head: Run, rows: _Rows) -> None:
        self.runs = base, head
        self.rows = [dict.fromkeys(side) for side in rows]

    def take(self, pairs: Pairs) -> Pairs:
        """Take pairs of rows away."""
        if len(pairs) == len(self.rows[0]) == len(self.rows[1]):
            self.rows = [{}, {}]
        else:
            for one, other in pairs:
                del self.rows[0][one], self.rows[1][other]
        return pairs

    def tier_of(self, side: int, tier: int) -> Sequence[int]:
        """What all rows of one side's run are in a tier, paired or not: trees (0), shapes (1) or names (2)."""
        run = self.runs[side]
        return (run.trees.full, run.trees.shape, run.names)[tier]

    def pair_by(self, keys: Sequence[Sequence[object]]) -> Pairs:
        """Pair what has one key, in order; None is no key. There is one for each row of both sides."""
        common = {*keys[0]} & {*keys[1]} - {None}
        if not common:
            return []
        waiting: dict[object, list[int]] = {key: [] for key in common}
        for key, row in zip(reversed(keys[1]), reversed(self.rows[1]), strict=True):
            if key in common:
                waiting[key].append(row)
        found = [(row, waiting[key]) for key, row in zip(keys[0], self.rows[0], strict=True) if key in common]
        return self.take([(row, same.pop()) for row, same in found if same])


def pair_siblings(base: Run, head: Run, rows: _Rows, *, ordered: bool) -> Siblings | None:
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
    tiers = [_tiers(run, side) for run, side in zip((base, head), rows, strict=True)]
    if tiers[0].full == tiers[1].full:
        return None
    if ordered and (same := _same_but_inside(tiers, rows)):
        return Siblings(same, [], [], [], [], [], [])
    in_order = tiers[0].full <= tiers[1].full
    if not ordered:
        tiers, rows = _sorted(tiers, rows)
        if tiers[0].full == tiers[1].full:
            return None
    return pair_rest(base, head, rows, _common(tiers, rows, in_order=in_order, ordered=ordered), ordered=ordered)


def pair_rest(base: Run, head: Run, rows: _Rows, common: Common, *, ordered: bool = True) -> Siblings:
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
    turned = [[(other, one) for one, other in pairs] for pairs in (common.pairs, common.found)]
    return _mirrored(_pair((head, base), (rows[1], rows[0]), Common(True, *turned), ordered=ordered))


def _common(tiers: Sequence[Tiers], rows: _Rows, *, in_order: bool, ordered: bool) -> Common:
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
    columns = run.trees.full, run.trees.shape, run.names
    return Tiers(*(array("Q", [*map(column.__getitem__, rows)]) for column in columns))


def _same_but_inside(tiers: Sequence[Tiers], rows: _Rows) -> Pairs:
    """The pairs that differ, if each is of one shape and in one place, and none of them is in another place too."""
    if tiers[0].shape != tiers[1].shape:
        return []
    differ = [*map(ne, tiers[0].full, tiers[1].full)]
    first, end = differ.index(True), len(differ) - differ[::-1].index(True)
    if not {*tiers[0].full[first:end]}.isdisjoint(tiers[1].full[first:end]):
        return []
    return [*zip(rows[0][first:end], rows[1][first:end], strict=True)]


def _if_apart(base: Run, head: Run, rows: _Rows) -> bool | None:
    """Whether siblings are in order of their hashes; None if a name may be on both sides, or there are none on one."""
    if not rows[0] or not rows[1]:
        return None
    first = base.trees.full[rows[0][0]], head.trees.full[rows[1][0]]
    names, other_names = (map(run.names.__getitem__, of_side) for run, of_side in zip((base, head), rows, strict=True))
    return None if first[0] == first[1] or not {*names}.isdisjoint(other_names) else first[0] < first[1]


def _pair(runs: tuple[Run, Run], rows: _Rows, common: Common, *, ordered: bool) -> Siblings:
    """Compare two lists that differ, the first of which has the lesser hashes."""
    pairs, found = common.pairs, common.found
    full = runs[0].trees.full, runs[1].trees.full
    same = sorted((one, other) for one, other in pairs + found if full[0][one] != full[1][other])
    reordered = found if ordered else []
    if len(pairs) + len(found) == len(rows[0]) == len(rows[1]):
        return Siblings(same, reordered, [], [], [], [], [])
    rest = _Rest(*runs, rows)
    rest.take(pairs + found)
    wrapped: list[Wrapper] = []
    unwrapped: list[Wrapper] = []
    renamed: Pairs = []
    if rest.rows[0] and rest.rows[1]:
        gaps = _gaps(rows, rest, pairs)
        leaves = _leaves(rest)
        if [*map(len, leaves)] != [*map(len, rest.rows)]:
            wrapped, unwrapped = _wrappers(rest, by_name=False)
            renamed = rest.pair_by([_inner(rest, side, gaps[side]) for side in (0, 1)])
            more_wrapped, more_unwrapped = _wrappers(rest, by_name=True)
            wrapped += more_wrapped
            unwrapped += more_unwrapped
            leaves = _leaves(rest)
        renamed += _renamed_leaves(rest, leaves, gaps, ordered=ordered)
    removed, added = map(list, rest.rows)
    return Siblings(same, reordered, renamed, wrapped, unwrapped, removed, added, apart=not pairs and not found)


def _mirrored(siblings: Siblings) -> Siblings:
    """The same, with base and head exchanged."""
    same, reordered, renamed = (
        sorted((one, other) for other, one in pairs) for pairs in (siblings.same, siblings.reordered, siblings.renamed)
    )
    return siblings._replace(
        same=same,
        reordered=reordered,
        renamed=renamed,
        wrapped=siblings.unwrapped,
        unwrapped=siblings.wrapped,
        removed=siblings.added,
        added=siblings.removed,
    )


def _sorted(tiers: Sequence[Tiers], rows: _Rows) -> tuple[list[Tiers], _Rows]:
    """Both lists in the order of their hashes, which is the same whatever happened first."""
    orders = [sorted(range(len(tier.full)), key=tier.full.__getitem__) for tier in tiers]
    sorted_tiers = [
        Tiers(*(array("Q", map(column.__getitem__, order)) for column in tier))
        for tier, order in zip(tiers, orders, strict=True)
    ]
    return sorted_tiers, ([rows[0][at] for at in orders[0]], [rows[1][at] for at in orders[1]])


def _inner(rest: _Rest, side: int, gaps: Mapping[int, int]) -> list[object]:
    """What rows that may be renamed are known by: their place and what is inside them."""
    inner = rest.runs[side].trees.inner
    return [(gaps[row], inner[row]) if inner[row] else None for row in rest.rows[side]]


class _BehindNone(dict[int, int]):
    """Rows that stand behind no pair: all, where there are none."""

    def __missing__(self, row: int) -> int:
        return 0


_BEHIND_NONE = _BehindNone()


def _gaps(rows: _Rows, rest: _Rest, pairs: Pairs) -> tuple[dict[int, int], dict[int, int]]:
    """Behind how many pairs each row stands that has not been paired: of base and of head."""
    if not pairs:
        return _BEHIND_NONE, _BEHIND_NONE
    gaps: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for side in (0, 1):
        taken, before = {pair[side] for pair in pairs}, 0
        for row in rows[side]:
            if row in taken:
                before += 1
            elif row in rest.rows[side]:
                gaps[side][row] = before
    return gaps


def _wrappers(rest: _Rest, *, by_name: bool) -> tuple[list[Wrapper], list[Wrapper]]:
    """Rows of one side around rows of the other: at least half of what is in them, and of what they are around."""
    found: tuple[list[Wrapper], list[Wrapper]] = ([], [])
    for at, side in ((0, 1), (1, 0)):
        inner = rest.runs[side].trees.inner
        rows = [row for row in rest.rows[side] if inner[row]]
        if not rows:
            continue
        others = _Waiting(rest, side ^ 1)
        for row in rows:
            if not rest.rows[side ^ 1]:
                break
            if inside := _inside(rest, row, side, others, by_name=by_name):
                found[at].append(Wrapper(row, inside))
                del rest.rows[side][row]
                for other in inside:
                    del rest.rows[side ^ 1][other]
    return found


class _Waiting:
    """The rows of one side that have not been paired, by shape and by name, in order."""

    def __init__(self, rest: _Rest, side: int) -> None:
        self._left = rest.rows[side]
        self._rows: dict[int, defaultdict[int, list[int]]] = {tier: defaultdict(list) for tier in _IN_WRAPPERS}
        for tier, rows in self._rows.items():
            column = rest.tier_of(side, tier)
            for row in reversed(self._left):
                rows[column[row]].append(row)

    def of(self, tier: int, key: int) -> Iterator[int]:
        """Those of a shape (tier 1) or name (tier 2)."""
        rows = self._rows[tier].get(key, [])
        while rows and rows[-1] not in self._left:
            rows.pop()
        return (row for row in reversed(rows) if row in self._left)


def _inside(rest: _Rest, row: int, side: int, others: _Waiting, *, by_name: bool) -> list[int]:
    """Rows of the other side that are inside this one; none if they are too few for it to be their wrapper."""
    children = rest.runs[side].children(row)
    inside: set[int] = set()
    for tier in _IN_WRAPPERS:
        if tier == _NAME and not inside and not by_name:
            return []
        column = rest.tier_of(side, tier)
        waiting: dict[int, Iterator[int]] = {}
        still = []
        for child in children:
            key = column[child]
            if key not in waiting:
                waiting[key] = others.of(tier, key)
            other = next((other for other in waiting[key] if other not in inside), None)
            if other is None:
                still.append(child)
            else:
                inside.add(other)
        children = still
    return sorted(inside) if len(inside) >= len(children) else []


def _leaves(rest: _Rest) -> list[list[int]]:
    """The rows of both sides with nothing inside."""
    inner = [run.trees.inner for run in rest.runs]
    return [[row for row in left if not of_run[row]] for of_run, left in zip(inner, rest.rows, strict=True)]


def _renamed_leaves(
    rest: _Rest, rows: Sequence[list[int]], gaps: Sequence[Mapping[int, int]], *, ordered: bool
) -> Pairs:
    """Leaves of equal kind, category and arguments, of which there are as many in one place."""
    if not rows[0] or not rows[1]:
        return []
    places: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
    plain = [run.plain for run in rest.runs]
    if plain[0] == plain[1] is not None and len({*gaps[0].values(), *gaps[1].values()}) <= 1:
        places[()] = rows[0], rows[1]
    else:
        args = [[*run.args_hashes(of_side)] for run, of_side in zip(rest.runs, rows, strict=True)]
        if {*args[0]}.isdisjoint(args[1]):
            return []
        keys = [
            [*zip(map(gap.__getitem__, of_side), hashes, *run.kinds_of(of_side), strict=True)]
            for run, gap, of_side, hashes in zip(rest.runs, gaps, rows, args, strict=True)
        ]
        common = {*keys[0]} & {*keys[1]}
        for side in (0, 1):
            for row, key in zip(rows[side], keys[side], strict=True):
                if key in common:
                    places.setdefault(key, ([], []))[side].append(row)
    pairs: Pairs = []
    for left, right in places.values():
        if len(left) == len(right) and (ordered or len(left) == 1):
            pairs += zip(left, right, strict=True)
    return rest.take(pairs)
