"""Cells, the times of a path in a step: which belong to one path, and which paths may be of interest at all.

Of 100,000 paths hardly any is slower than before: only those that may be are looked at one by one.
"""

from array import array
from itertools import accumulate

from stepscope.core.trees import CellTimes, Looked, Medians, Suspects

__all__ = ["median_times", "place_ids", "suspect_paths"]


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


def median_times(cells: CellTimes, paths: int) -> Medians:
    """What each path usually takes in a step: the middle of its cells, or the mean of both if there are two.

    Args:
        cells: of one side.
        paths: how many there are.

    Raises:
        ValueError: a cell's path is none.
    """
    starts, places = place_ids(cells.path, paths)
    of_path = [places[starts[path] : starts[path + 1]] for path in range(paths)]
    return Medians(
        *(
            array("d", (_middle(sorted(column[i] for i in at)) if at else 0.0 for at in of_path))
            for column in (cells.calls, cells.total, cells.own)
        )
    )


def _middle(ordered: list[int]) -> float:
    upper = ordered[len(ordered) // 2]
    return float(upper) if len(ordered) % 2 else (ordered[len(ordered) // 2 - 1] + upper) / 2


def suspect_paths(
    sides: tuple[CellTimes, CellTimes], usual: tuple[Medians, Medians], paths: int, looked: Looked
) -> Suspects:
    """Find the paths that may be slower or faster, or have a call out of line; all others are not.

    Args:
        sides: the cells of base and of head.
        usual: their medians.
        paths: how many there are.
        looked: what is looked for.

    Raises:
        ValueError: a cell's path is none.
    """
    base, head = ([0] * paths, [0] * paths), ([0] * paths, [0] * paths)
    for side, (cells, longest) in zip(sides, (base, head), strict=True):
        for path, time in zip(side.path, side.longest, strict=True):
            if path >= paths:
                message = f"cells.path is {path}: it must be below {paths}"
                raise ValueError(message)
            longest[path] = max(longest[path], time) if cells[path] else time
            cells[path] += 1
    both = 0
    timed, outlying = array("I"), array("I")
    for path, (one, other) in enumerate(zip(base[0], head[0], strict=True)):
        if not one or not other:
            continue
        both += 1
        (calls, total, own), (calls_2, total_2, own_2) = ([column[path] for column in side] for side in usual)
        if calls != calls_2 or _are_apart(own, own_2, looked) or _are_apart(total, total_2, looked):
            timed.append(path)
        if one + other >= looked.min_cells and max(base[1][path], head[1][path]) >= looked.longest_ns:
            outlying.append(path)
    return Suspects(both, timed, outlying)


def _are_apart(base: float, head: float, looked: Looked) -> bool:
    """Whether medians are so far apart that it counts."""
    ratio = max(head, 1.0) / max(base, 1.0)
    return max(ratio, 1 / ratio) >= looked.ratio and abs(head - base) >= looked.least_ns
