"""The children of many pairs of rows, paired level by level."""

from array import array

from stepscope.core.trees import Forest, PairedLevels, Tiers
from stepscope.core.twin.align import align_few, align_rest
from stepscope.core.twin.forest import check_pairs, levels_of
from stepscope.core.twin.pattern import pattern_of

__all__ = ["pair_levels"]

_Places = list[tuple[int, int]]


def pair_levels(
    base: Forest, head: Forest, pairs: tuple["array[int]", "array[int]"], most: int, *, ordered: bool
) -> PairedLevels:
    """Pair the children of many pairs of rows, level by level.

    What is equal at both ends of a level is paired; what is between as align_few does, and what is left of that as
    align_rest does, with the list first whose hashes are the lesser ones: what is ambiguous does not depend on which
    side is base. Where order does not count, members are paired in that of their hashes, by align_rest alone.

    Args:
        base: trees of one side.
        head: those of the other.
        pairs: two arrays 'I': rows of base and of head.
        most: a level is left alone if it has more members of base times members of head between.
        ordered: whether the order of siblings counts.

    Raises:
        ValueError: a row is none, or a child does not stand behind its parent.
    """
    check_pairs("pair_levels", (base, head), pairs)
    made = PairedLevels(
        array("B"), array("Q"), array("I", [0]), (array("I"), array("I")), array("I", [0]), (array("I"), array("I"))
    )
    for pair in zip(*pairs, strict=True):
        levels = levels_of("pair_levels", (base, head), pair)
        sides = _tiers(base, levels[0]), _tiers(head, levels[1])
        turned = sides[1].full < sides[0].full
        ends = _equal_ends(sides[0].full, sides[1].full) if ordered else (0, 0)
        if not ordered:
            levels = _sorted(base, levels[0]), _sorted(head, levels[1])
            sides = _tiers(base, levels[0]), _tiers(head, levels[1])
        order, places, found = _pair_level(sides, ends, most, turned=turned, ordered=ordered)
        pattern = 0
        if order and len(places) + len(found) < min(map(len, levels)):
            between = [level[ends[0] : len(level) - ends[1]] for level in levels]
            around = (order, ends[0], *map(len, levels))
            pattern = pattern_of("pair_levels", (base, head), pair, (between[0], between[1]), around)
        made.order.append(order)
        made.pattern.append(pattern)
        for all_rows, starts, some in ((made.pairs, made.starts, places), (made.found, made.found_starts, found)):
            for side in (0, 1):
                all_rows[side].extend([levels[side][place[side]] for place in some])
            starts.append(len(all_rows[0]))
    return made


def _tiers(forest: Forest, rows: "array[int]") -> Tiers:
    columns = forest.full, forest.shape, forest.own, forest.name
    return Tiers(*(array("Q", [column[row] for row in rows]) for column in columns))


def _sorted(forest: Forest, rows: "array[int]") -> "array[int]":
    """A level in the order of its hashes."""
    return array("I", sorted(rows, key=forest.full.__getitem__))


def _equal_ends(left: "array[int]", right: "array[int]") -> tuple[int, int]:
    """How many members are equal at the beginning, and of the others at the end."""
    shorter, first, behind = min(len(left), len(right)), 0, 0
    while first < shorter and left[first] == right[first]:
        first += 1
    while first + behind < shorter and left[-1 - behind] == right[-1 - behind]:
        behind += 1
    return first, behind


def _pair_level(
    sides: tuple[Tiers, Tiers], ends: tuple[int, int], most: int, *, turned: bool, ordered: bool
) -> tuple[int, _Places, _Places]:
    """Its order, and the places of the pairs that are in order, and out of order."""
    if turned:
        order, pairs, found = _pair_level((sides[1], sides[0]), ends, most, turned=False, ordered=ordered)
        return 2 * order, [(i, j) for j, i in pairs], [(i, j) for j, i in found]
    first, behind = ends
    counts = [len(side.full) for side in sides]
    if (counts[0] - first - behind) * (counts[1] - first - behind) > max(most, 0):
        return 0, [], []
    ones, others = (
        Tiers(*(tier[first : count - behind] for tier in side)) for side, count in zip(sides, counts, strict=True)
    )
    few = align_few(ones, others) if ordered else (array("I"), array("I"))
    between = [(first + i, first + j) for i, j in zip(*few, strict=True)][::-1]
    found = [(first + i, first + j) for i, j in zip(*align_rest(ones, others, few), strict=True)]
    last = [(counts[0] - at, counts[1] - at) for at in range(behind, 0, -1)]
    return 1, [(at, at) for at in range(first)] + between + last, found
