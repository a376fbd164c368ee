"""The rest of two lists of siblings: what has not been paired is wrapped or unwrapped, renamed, or on one side only."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from stepscope.analysis.diff.run import Run

__all__ = ["Others", "Pairs", "Rest", "Rows", "Wrapper", "find_others"]

Pairs = list[tuple[int, int]]
# Rows of base and of head.
Rows = tuple[Sequence[int], Sequence[int]]
# The tiers by which what is in a wrapper is known: by its shape, then by its name.
_SHAPE, _NAME = range(2)


class Wrapper(NamedTuple):
    """A slice between a parent and what were its children.

    Attributes:
        row: of the slice; in head if it was wrapped around, in base if it was taken away.
        inside: rows of the other side that it is around.
    """

    row: int
    inside: list[int]


class Others(NamedTuple):
    """Rows that are not the same ones, and yet have to do with each other.

    Attributes:
        wrapped: slices of head around rows of base.
        unwrapped: slices of base around rows of head.
        renamed: pairs.
    """

    wrapped: list[Wrapper]
    unwrapped: list[Wrapper]
    renamed: Pairs


class Rest:
    """The rows of both sides that have not been paired."""

    def __init__(self, base: Run, head: Run, rows: Rows) -> None:
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
        """What all rows of one side's run are in a tier, paired or not: shapes or names."""
        run = self.runs[side]
        return run.trees.shape if tier == _SHAPE else run.names

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


def find_others(rest: Rest, rows: Rows, pairs: Pairs, *, ordered: bool) -> Others:
    """Find what is wrapped or unwrapped, then what is renamed, and take it away.

    Args:
        rest: what has not been paired.
        rows: all siblings of base and of head.
        pairs: those that have been paired in order.
        ordered: whether their order counts.
    """
    others = Others([], [], [])
    if not rest.rows[0] or not rest.rows[1]:
        return others
    gaps = _gaps(rows, rest, pairs)
    leaves = _leaves(rest)
    if [*map(len, leaves)] != [*map(len, rest.rows)]:
        _find_wrappers(rest, others, by_name=False)
        others.renamed.extend(rest.pair_by([_inner(rest, side, gaps[side]) for side in (0, 1)]))
        _find_wrappers(rest, others, by_name=True)
        leaves = _leaves(rest)
    others.renamed.extend(_renamed_leaves(rest, leaves, gaps, ordered=ordered))
    return others


def _inner(rest: Rest, side: int, gaps: Mapping[int, int]) -> list[object]:
    """What rows that may be renamed are known by: their place and what is inside them."""
    inner = rest.runs[side].trees.inner
    return [(gaps[row], inner[row]) if inner[row] else None for row in rest.rows[side]]


class _BehindNone(dict[int, int]):
    """Rows that stand behind no pair: all, where there are none."""

    def __missing__(self, row: int) -> int:
        return 0


_BEHIND_NONE = _BehindNone()


def _gaps(rows: Rows, rest: Rest, pairs: Pairs) -> tuple[dict[int, int], dict[int, int]]:
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


def _find_wrappers(rest: Rest, found: Others, *, by_name: bool) -> None:
    """Rows of one side around rows of the other: at least half of what is in them, and of what they are around."""
    for of_side, side in ((found.wrapped, 1), (found.unwrapped, 0)):
        inner = rest.runs[side].trees.inner
        rows = [row for row in rest.rows[side] if inner[row]]
        if not rows:
            continue
        others = _Waiting(rest, side ^ 1)
        for row in rows:
            if not rest.rows[side ^ 1]:
                break
            if inside := _inside(rest, row, side, others, by_name=by_name):
                of_side.append(Wrapper(row, inside))
                del rest.rows[side][row]
                for other in inside:
                    del rest.rows[side ^ 1][other]


class _Waiting:
    """The rows of one side that have not been paired, by shape and by name, in order."""

    def __init__(self, rest: Rest, side: int) -> None:
        self._rest, self._side = rest, side
        self._left = rest.rows[side]
        self._rows: dict[int, dict[int, list[int]]] = {}

    def of(self, tier: int, key: int) -> Iterator[int]:
        """Those of a shape or name."""
        if tier not in self._rows:
            self._rows[tier] = self._by(tier)
        rows = self._rows[tier].get(key, [])
        while rows and rows[-1] not in self._left:
            rows.pop()
        return (row for row in reversed(rows) if row in self._left)

    def _by(self, tier: int) -> dict[int, list[int]]:
        """Those that are left, the last first."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        column = self._rest.tier_of(self._side, tier)
        for row in reversed(self._left):
            found[column[row]].append(row)
        return found


def _inside(rest: Rest, row: int, side: int, others: _Waiting, *, by_name: bool) -> list[int]:
    """Rows of the other side that are inside this one; none if they are too few for it to be their wrapper."""
    children = rest.runs[side].children(row)
    inside: set[int] = set()
    for tier in (_SHAPE, _NAME):
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


def _leaves(rest: Rest) -> list[list[int]]:
    """The rows of both sides with nothing inside."""
    inner = [run.trees.inner for run in rest.runs]
    return [[row for row in left if not of_run[row]] for of_run, left in zip(inner, rest.rows, strict=True)]


def _renamed_leaves(
    rest: Rest, rows: Sequence[list[int]], gaps: Sequence[Mapping[int, int]], *, ordered: bool
) -> Pairs:
    """Leaves of equal kind, category and arguments, of which there are as many in one place."""
    if not rows[0] or not rows[1]:
        return []
    keys: list[Sequence[object]] = [
        [*map(run.trees.label.__getitem__, of_side)] for run, of_side in zip(rest.runs, rows, strict=True)
    ]
    if {*keys[0]}.isdisjoint(keys[1]):
        return []
    if len({*gaps[0].values(), *gaps[1].values()}) > 1:
        keys = [
            [*zip(map(gap.__getitem__, of_side), labels, strict=True)]
            for gap, of_side, labels in zip(gaps, rows, keys, strict=True)
        ]
    common = {*keys[0]} & {*keys[1]}
    places: dict[object, tuple[list[int], list[int]]] = {}
    for side in (0, 1):
        for row, key in zip(rows[side], keys[side], strict=True):
            if key in common:
                places.setdefault(key, ([], []))[side].append(row)
    pairs: Pairs = []
    for left, right in places.values():
        if len(left) == len(right) and (ordered or len(left) == 1):
            pairs += zip(left, right, strict=True)
    return rest.take(pairs)
