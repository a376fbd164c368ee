"""Cells, the times of a path in a step: which belong to one path, and which paths may be of interest at all.

Of 100,000 paths hardly any is slower than before: only those that may be are looked at one by one.
"""

from array import array
from itertools import accumulate

from stepscope.core.trees import CellTimes, Looked, Suspects

__all__ = ["place_ids", "suspect_paths"]


def place_ids(ids: "array[int]", count: int) -> tuple["array[int]", "array[int]"]:
    """Where each id is among some.

    Args:
        ids: array 'I', below count.
        count: how many there may be.

    Returns:
        Two arrays 'I'. The places of an id are the second's from starts[id] up to starts[id + 1], rising.

    Raises:
        ValueError: an id is not below count.
    """
    many = [0] * (count + 1)
    for at, number in enumerate(ids):
        if number >= count:
            message = f"ids[{at}] is {number}: it must be below {count}"
            raise ValueError(message)
        many[number + 1] += 1
    starts = array("I", accumulate(many))
    free = starts[:]
    places = array("I", bytes(4 * len(ids)))
    for at, number in enumerate(ids):
        places[free[number]] = at
        free[number] += 1
    return starts, places


def suspect_paths(base: CellTimes, head: CellTimes, paths: int, looked: Looked) -> Suspects:
    """Find the paths that may be slower or faster, or have a call out of line; all others are not.

    Args:
        base: the cells of one side.
        head: those of the other.
        paths: how many there are.
        looked: what is looked for.

    Raises:
        ValueError: a cell's path is none.
    """
    sides = [_extremes(side, paths) for side in (base, head)]
    both = 0
    timed, outlying = array("I"), array("I")
    for path, (one, other) in enumerate(zip(*sides, strict=True)):
        if one is None or other is None:
            continue
        both += 1
        (cells, calls, total, own, longest), (cells_2, calls_2, total_2, own_2, longest_2) = one, other
        if {*calls} | {*calls_2} != {calls[0]} or max(_apart(total, total_2), _apart(own, own_2)) >= looked.least_ns:
            timed.append(path)
        if cells + cells_2 >= looked.min_cells and max(longest[1], longest_2[1]) >= looked.longest_ns:
            outlying.append(path)
    return Suspects(both, timed, outlying)


# The least and the most.
_Range = tuple[int, int]


def _extremes(cells: CellTimes, paths: int) -> list[tuple[int, _Range, _Range, _Range, _Range] | None]:
    """For each path: how many cells it has, and between what their calls, total, own and longest times are."""
    starts, places = place_ids(cells.path, paths)
    columns = cells[1:]
    found: list[tuple[int, _Range, _Range, _Range, _Range] | None] = []
    for path in range(paths):
        at = places[starts[path] : starts[path + 1]]
        ranges = (
            [(min(values), max(values)) for values in ([column[i] for i in at] for column in columns)] if at else []
        )
        found.append((len(at), ranges[0], ranges[1], ranges[2], ranges[3]) if at else None)
    return found


def _apart(one: _Range, other: _Range) -> int:
    """How far apart values of two ranges can be."""
    return max(one[1] - other[0], other[1] - one[0])
