"""Cells: what a path took in a step of a run, of all paths of one side.

Where every slice is another path, hardly any of them is asked for.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sized
from functools import cached_property
from typing import NamedTuple

from stepscope.analysis.diff.rules import Rules
from stepscope.core import kernels
from stepscope.core.trees import CellTimes, Looked, Medians, Suspects

__all__ = ["MIN_CELLS", "Cell", "Cells", "Sampled", "suspects_of"]

# Fewer steps than this do not say what is usual.
MIN_CELLS = 10
# As good as any longer time.
_MOST_NS = 2.0**62


class Cell(NamedTuple):
    """One path in one step of one run: ns, but for calls."""

    run: int
    step: int
    calls: int
    total: int
    own: int
    longest: int


class Sampled(NamedTuple):
    """What a path's cells are, in order of run; empty lists if it has none."""

    calls: list[int]
    total: list[int]
    own: list[int]


class Cells(Mapping[int, list[Cell]]):
    """The cells of one side by path, made when they are asked for; those of a path in order of run.

    Args:
        paths: all of them; cells are added before any are read.

    Attributes:
        times: of all cells.
    """

    def __init__(self, paths: Sized) -> None:
        self.times = CellTimes(array("I"), *(array("q") for _ in range(4)))
        self._all = paths
        self._runs = array("I")
        self._steps = array("q")

    def add(self, run: int, steps: Iterable[int], times: CellTimes) -> None:
        """Add the cells of a run."""
        for column, more in zip(self.times, times, strict=True):
            column.extend(more)
        self._steps.extend(steps)
        self._runs.extend(array("I", [run]) * len(times.path))

    @cached_property
    def _places(self) -> tuple["array[int]", "array[int]"]:
        return kernels.place_ids(self.times.path, len(self._all))

    @cached_property
    def usual(self) -> Medians:
        """What each path usually takes in a step; 0 for one that has no cells."""
        return kernels.median_times(self.times, len(self._all))

    def __getitem__(self, path: int) -> list[Cell]:
        if path not in self:
            raise KeyError(path)
        starts, places = self._places
        times, runs, steps = self.times, self._runs, self._steps
        return [
            Cell(runs[at], steps[at], times.calls[at], times.total[at], times.own[at], times.longest[at])
            for at in places[starts[path] : starts[path + 1]]
        ]

    def count(self, path: int) -> int:
        """How many cells a path has."""
        starts, _ = self._places
        return starts[path + 1] - starts[path]

    def steps_of(self, path: int) -> set[int]:
        """The steps that a path has cells in."""
        starts, places = self._places
        return {self._steps[at] for at in places[starts[path] : starts[path + 1]]}

    def sampled(self, path: int) -> Sampled:
        """The calls and times of a path's cells."""
        starts, places = self._places
        start, end = starts[path], starts[path + 1]
        times = self.times
        if end - start == 1:
            at = places[start]
            return Sampled([times.calls[at]], [times.total[at]], [times.own[at]])
        of_path = places[start:end]
        return Sampled(
            [times.calls[at] for at in of_path], [times.total[at] for at in of_path], [times.own[at] for at in of_path]
        )

    def __contains__(self, path: object) -> bool:
        starts, _ = self._places
        return isinstance(path, int) and 0 <= path < len(self._all) and starts[path] < starts[path + 1]

    def __iter__(self) -> Iterator[int]:
        return filter(self.__contains__, range(len(self._all)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def suspects_of(cells: tuple[Cells, Cells], paths: int, rules: Rules) -> Suspects:
    """The paths that may be slower or faster, or have a call out of line.

    Args:
        cells: of base and of head.
        paths: how many there are.
        rules: what that is.
    """
    longest = math.ceil(min(rules.outlier_us * 1000, _MOST_NS))
    looked = Looked(rules.step_us * 1000, rules.ratio, MIN_CELLS, longest)
    return kernels.suspect_paths((cells[0].times, cells[1].times), (cells[0].usual, cells[1].usual), paths, looked)
