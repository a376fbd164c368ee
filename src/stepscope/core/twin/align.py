"""Alignment of two lists: the pairs that are worth most together; what is common, in order, once each, or out of order.

Source: Myers, "An O(ND) Difference Algorithm" (1986); patience diff, by Cohen.
"""

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Sequence

from stepscope.core.trees import Tiers

__all__ = ["align_common", "align_few", "align_rest", "align_unique"]

# What a pair is worth if its trees are equal, else its shapes, else its names. Two that are not equal at all, but in
# one place, are worth something too: they are no pair, but perhaps one of them is the other's new name.
WORTH = (5000, 4000, 3000)
IN_ONE_PLACE = 1000
# Arguments decide between what is worth the same otherwise: calls are known by them where what is in them has changed.
WORTH_OWN = 1


def align_few(base: Tiers, head: Tiers) -> tuple["array[int]", "array[int]"]:
    """Pair the members of two lists, each once at most and in order. Takes time and memory for each with each.

    Args:
        base: arrays 'Q' of one length.
        head: the same of the other list.

    Returns:
        Two arrays 'I': the places of each pair in base and in head, both falling. Members of a pair have one name.
    """
    others = list(zip(*head, strict=True))
    best = [[0] * (len(others) + 1)]
    for full, shape, own, name in zip(*base, strict=True):
        above, row = best[-1], [0]
        for at, other in enumerate(others):
            worth = IN_ONE_PLACE
            if name == other[3]:
                worth = WORTH[0] if full == other[0] else WORTH[1] if shape == other[1] else WORTH[2]
                worth += WORTH_OWN if full != other[0] and own == other[2] else 0
            row.append(max(above[at + 1], row[at], above[at] + worth))
        best.append(row)
    places = array("I"), array("I")
    i, j = len(best) - 1, len(others)
    while i and j:
        score = best[i][j]
        if score == best[i - 1][j]:
            i -= 1
        elif score == best[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            if base.name[i] == head.name[j]:
                places[0].append(i)
                places[1].append(j)
    return places


def align_common(left: "array[int]", right: "array[int]", most: int) -> tuple["array[int]", "array[int]"]:
    """Pair the members of the longest common subsequence, if few edits lead from one list to the other.

    Args:
        left: array 'Q'.
        right: array 'Q'.
        most: how many edits are few. Takes memory for the square of them.

    Returns:
        Two arrays 'I': the places of each pair in left and in right, both rising. None if it takes more edits.
    """
    n, m = len(left), len(right)
    reach = {1: 0}
    trail: list[dict[int, int]] = []
    for edits in range(min(n + m, most) + 1):
        trail.append(dict(reach))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
            i = reach[diagonal + 1] if down else reach[diagonal - 1] + 1
            while i < n and i - diagonal < m and left[i] == right[i - diagonal]:
                i += 1
            reach[diagonal] = i
            if i >= n and i - diagonal >= m:
                return _walk_back(trail, n, m)
    return array("I"), array("I")


def _walk_back(trail: list[dict[int, int]], i: int, j: int) -> tuple["array[int]", "array[int]"]:
    """The equal members along the way that was found to the end of both lists."""
    places = array("I"), array("I")
    for edits in range(len(trail) - 1, -1, -1):
        reach, diagonal = trail[edits], i - j
        down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
        came = diagonal + 1 if down else diagonal - 1
        i_before = reach[came] if edits else 0
        j_before = i_before - came if edits else 0
        while i > i_before and j > j_before:
            i, j = i - 1, j - 1
            places[0].append(i)
            places[1].append(j)
        i, j = i_before, j_before
    places[0].reverse()
    places[1].reverse()
    return places


def align_unique(left: "array[int]", right: "array[int]") -> tuple["array[int]", "array[int]"]:
    """Pair the members of the longest rising run of what two lists have once each.

    Args:
        left: array 'Q'.
        right: array 'Q'.

    Returns:
        Two arrays 'I': the places of each pair in left and in right, both rising.
    """
    once = {value for value, count in Counter(left).items() if count == 1}
    once &= {value for value, count in Counter(right).items() if count == 1}
    place = {value: j for j, value in enumerate(right) if value in once}
    found = [(i, place[value]) for i, value in enumerate(left) if value in once]
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for at, (_, j) in enumerate(found):
        length = bisect_left(ends, j)
        before.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(j)
            last.append(at)
        else:
            ends[length], last[length] = j, at
    places = array("I"), array("I")
    at = last[-1] if last else -1
    while at >= 0:
        for side in (0, 1):
            places[side].append(found[at][side])
        at = before[at]
    places[0].reverse()
    places[1].reverse()
    return places


def align_rest(
    base: Tiers, head: Tiers, places: tuple["array[int]", "array[int]"]
) -> tuple["array[int]", "array[int]"]:
    """Pair what has not been paired and is alike, in order: trees, shapes with arguments, arguments, shapes, names.

    Args:
        base: arrays 'Q' of one length.
        head: the same of the other list.
        places: two arrays 'I': what has been paired in base and in head.

    Returns:
        Two arrays 'I': the places of each pair in base and in head; in that order, then rising in base.

    Raises:
        ValueError: what has been paired is no member.
    """
    rest = []
    for list_of, taken, name in zip((base, head), places, ("base", "head"), strict=True):
        many = len(list_of.full)
        for place in taken:
            if place >= many:
                message = f"align_rest: place {place} of {name} is paired, which has {many} members"
                raise ValueError(message)
        rest.append([place for place in range(many) if place not in {*taken}])
    found = array("I"), array("I")
    for ones, others in zip(_passes(base), _passes(head), strict=True):
        waiting: defaultdict[object, deque[int]] = defaultdict(deque)
        for j in rest[1]:
            waiting[others[j]].append(j)
        pairs = [(i, waiting[ones[i]].popleft()) for i in rest[0] if waiting[ones[i]]]
        for side in (0, 1):
            found[side].extend(pair[side] for pair in pairs)
            rest[side] = [place for place in rest[side] if place not in {*found[side]}]
    return found


def _passes(tiers: Tiers) -> list[Sequence[object]]:
    """What members are paired by, one after the other."""
    return [tiers.full, [*zip(tiers.shape, tiers.own, strict=True)], tiers.own, tiers.shape, tiers.name]
