"""Times by path and step: what a comparison of times takes its samples from."""

from array import array

from stepscope.core.rows import INSTANT, Columns
from stepscope.core.trees import PathIds, PathTimes

__all__ = ["time_paths"]

INT64_MAX = (1 << 63) - 1


def time_paths(columns: Columns, own: "array[int]", parent: "array[int]", ids: PathIds) -> PathTimes:
    """Find each row's path, and add times up by path and step.

    Args:
        columns: settled.
        own: array 'q', as nest_rows makes it.
        parent: array 'q', a row before, or below 0 at the root.
        ids: what paths are made of.

    Raises:
        ValueError: a row's parent does not stand before it.
    """
    keys, groups, steps = ids
    path, step = array("I", bytes(4 * len(columns.ts))), array("I", steps)
    paths: dict[tuple[int, int], int] = {}
    cells: dict[tuple[int, int], list[int]] = {}
    for row, above in enumerate(parent):
        if above >= row:
            message = f"row {row}: its parent is {above}, which does not stand before it"
            raise ValueError(message)
        if above >= 0:
            step[row] = step[above]
        around = path[above] if above >= 0 else -1 - groups[columns.track[row]]
        here = path[row] = paths.setdefault((around, keys[columns.name[row]]), len(paths))
        if columns.kind[row] & INSTANT:
            continue
        dur = columns.dur[row]
        cell = cells.get((here, step[row]))
        if cell is None:
            cells[here, step[row]] = [1, dur, own[row], dur]
        else:
            cell[0] += 1
            cell[1] = min(cell[1] + dur, INT64_MAX)
            cell[2] = min(cell[2] + own[row], INT64_MAX)
            cell[3] = max(cell[3], dur)
    return PathTimes(
        path,
        step,
        array("q", (above for above, _ in paths)),
        array("I", (key for _, key in paths)),
        array("I", (here for here, _ in cells)),
        array("I", (at for _, at in cells)),
        *(array("q", (cell[place] for cell in cells.values())) for place in range(4)),
    )
