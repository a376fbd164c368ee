"""Outliers: one call that takes many times what its own kind takes, in one step, on one side only."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from stepscope.analysis.diff.cells import MIN_CELLS, Cell
from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.ranktest import median
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.diff.run import OUTSIDE
from stepscope.analysis.diff.samples import PathTable, Samples
from stepscope.core.trees import Suspects

__all__ = ["find_outliers"]

# What more than this share of the steps have is not out of line.
MAX_SHARE = 0.1
# With others of its thread in so many steps, at least half as far out of line, on either side, it is none: a machine
# that stalls now and then.
MANY = 2
_LONGEST = attrgetter("longest")


class _Outlier(NamedTuple):
    """The longest call of a path: its side, its cell, by how many ns it is too long, and what is usual."""

    side: int
    cell: Cell
    excess: float
    usual: float


def find_outliers(
    samples: Samples, known: tuple[Suspects, set[int]], rules: Rules, texts: Sequence[str]
) -> list[Finding]:
    """Find the calls that are far out of line; what is so only through a child is not one.

    Args:
        samples: of both sides.
        known: the paths that may have one; and those that are slower or faster anyway.
        rules: how far.
        texts: what the numbers of names stand for.
    """
    table, (base, head) = samples
    suspects, skip = known
    outliers: dict[int, _Outlier] = {}
    for path in suspects.outlying:
        found = _outlier(base[path], head[path], rules) if path not in skip else None
        if found is not None:
            outliers[path] = found
    if not outliers:
        return []
    explained: dict[tuple[int, int, int, int], float] = {}
    found_at: list[tuple[int, _Outlier]] = []
    for path in range(len(table.above) - 1, -1, -1):
        if (path in base) != (path in head):
            _explain(explained, table.above[path], samples, path)
        found = outliers.get(path)
        if found is None:
            continue
        around = table.above[path]
        place = found.side, found.cell.run, found.cell.step
        inside = explained.get((path, *place), 0.0)
        if around >= 0:
            key = (around, *place)
            explained[key] = explained.get(key, 0.0) + max(found.excess, inside)
        if inside < found.excess / 2:
            found_at.append((path, found))
    stalls = _stalls(samples, rules) if found_at else []
    return [
        _finding(samples, path, found, texts)
        for path, found in found_at
        if not _are_many(stalls, samples.table, path, found)
    ]


class _Stall(NamedTuple):
    """A call that is out of line with its kind: by how many ns, and where."""

    excess: float
    path: int
    place: tuple[int, int, int]


def _stalls(samples: Samples, rules: Rules) -> list[_Stall]:
    """The calls that may speak against an outlier, the longest first."""
    table, sides = samples
    found = []
    for path in range(len(table.above)):
        cells = [(side, cell) for side in (0, 1) for cell in sides[side].get(path, ())]
        usual = median([cell.total / cell.calls for _, cell in cells]) if cells else 0.0
        for side, cell in cells:
            if cell.longest - usual >= rules.outlier_us * 1000 / 2:
                found.append(_Stall(cell.longest - usual, path, (side, cell.run, cell.step)))
    return sorted(found, reverse=True)


def _are_many(stalls: Sequence[_Stall], table: PathTable, path: int, found: _Outlier) -> bool:
    """Whether a thread has other calls as far out of line; what is around or inside of this one is no other."""
    place = found.side, found.cell.run, found.cell.step
    group = table.group_of(path)
    others: set[tuple[int, int, int]] = set()  # by step: what is around a stall seems to stall too
    for stall in stalls:
        if stall.excess < found.excess / 2 or len(others) == MANY:
            break
        if table.group_of(stall.path) == group:
            nested = table.is_inside(path, stall.path) or table.is_inside(stall.path, path)
            if not (nested and stall.place == place):
                others.add(stall.place)
    return len(others) == MANY


def _explain(explained: dict[tuple[int, int, int, int], float], around: int, samples: Samples, path: int) -> None:
    """Let what only one side has explain why what is around it takes long there."""
    for side, cells in enumerate(samples.cells):
        for cell in cells.get(path, ()):
            key = (around, side, cell.run, cell.step)
            explained[key] = explained.get(key, 0.0) + cell.longest


def _outlier(base: Sequence[Cell], head: Sequence[Cell], rules: Rules) -> _Outlier | None:
    """The longest call of a path, if it is far out of line, on one side, in few steps."""
    if len(base) + len(head) < MIN_CELLS:
        return None
    longest = [max(side, key=_LONGEST) for side in (base, head)]
    if max(cell.longest for cell in longest) < rules.outlier_us * 1000:
        return None
    usual = median([cell.total / cell.calls for side in (base, head) for cell in side])
    side = 1 if longest[1].longest > longest[0].longest else 0
    most, other = longest[side], longest[side ^ 1]
    excess = most.longest - usual
    far = most.longest >= rules.outlier_ratio * usual and excess >= rules.outlier_us * 1000
    alike = sum(cell.longest > most.longest / 2 for cell in (base, head)[side])
    alone = other.longest <= most.longest / 2 and alike <= max(1, MAX_SHARE * len((base, head)[side]))
    return _Outlier(side, most, excess, usual) if far and alone else None


def _finding(samples: Samples, path: int, found: _Outlier, texts: Sequence[str]) -> Finding:
    table, cells = samples
    group = table.group_of(path)
    steps = () if found.cell.step == OUTSIDE else (found.cell.step,)
    where_base, where = (
        Where(group.process, group.thread, tuple(texts[name] for name in table.path_of(path, side)[:-1]), steps)
        for side in (0, 1)
    )
    base, head = (round(max(cell.longest for cell in side[path]) / 1000, 3) for side in cells)
    return Finding(
        "outlier",
        "slice",
        where,
        texts[table.path_of(path, 1)[-1]],
        base,
        head,
        unit="us",
        where_base=where_base if where_base != where else None,
        note=f"one call of {('base', 'head')[found.side]}; usually {found.usual / 1000:.1f} us",
    )
