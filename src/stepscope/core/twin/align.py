"""Alignment of two short lists: the pairs that are worth most together."""

from array import array

from stepscope.core.trees import Tiers

__all__ = ["align_few"]

# What a pair is worth by the tier in which its members are equal. Two that are not equal at all, but in one place, are
# worth something too: they are no pair, but perhaps one of them is the other's new name.
WORTH = (5, 4, 3)
IN_ONE_PLACE = 1


def align_few(base: Tiers, head: Tiers) -> tuple["array[int]", "array[int]"]:
    """Pair the members of two lists, each once at most and in order. Takes time and memory for each with each.

    Args:
        base: three arrays 'Q' of one length.
        head: the same of the other list.

    Returns:
        Two arrays 'I': the places of each pair in base and in head, both falling. Members of a pair have one name.
    """
    others = list(zip(*head, strict=True))
    best = [[0] * (len(others) + 1)]
    for full, shape, name in zip(*base, strict=True):
        above, row = best[-1], [0]
        for at, other in enumerate(others):
            worth = IN_ONE_PLACE
            if name == other[2]:
                worth = WORTH[0] if full == other[0] else WORTH[1] if shape == other[1] else WORTH[2]
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
