"""What is around findings: how much else there is beside each, and the times above it."""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from stepscope.analysis.diff.found import Found, Place
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.result import Around
from stepscope.analysis.diff.samples import Samples
from stepscope.analysis.diff.words import Words
from stepscope.core import kernels

__all__ = ["Surroundings"]


class Surroundings(Mapping[Place, Around]):
    """What is around each place of a finding, and around what leads there: found out when it is read.

    It is a dict when it is pickled.

    Args:
        found: the findings.
        samples: times.
        words: of all traces.
        timings: whether times are compared.
    """

    def __init__(self, found: Found, samples: Samples, words: Words, *, timings: bool) -> None:
        self._found = found
        self._table, self._cells = samples
        self._words = words
        self._timings = timings
        self._known: dict[Place, Around] = {}

    def __getitem__(self, place: Place) -> Around:
        if place not in self._known:
            self._known[place] = self._around(place)
        return self._known[place]

    def _around(self, place: Place) -> Around:
        at = self._find(place)
        if at is None:
            raise KeyError(place)
        shown = {self._words.number(text) for text in (*self._shown[place], *self._found.names_in(place))}
        # Not what is in a slice between them that is new.
        others = self._table.count_inside(at, self._paths_inside(at), len(place[2]) + 1, shown)
        if self._timings and all(at in side for side in self._cells):
            return Around(others, *(side.usual.total[at] / 1000 for side in self._cells))
        return Around(others, None, None)

    def __iter__(self) -> Iterator[Place]:
        return (place for place in self._shown if self._find(place) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    @cached_property
    def _shown(self) -> dict[Place, set[str]]:
        """Where findings are, and what leads there -> what is shown there because it leads to others."""
        shown: defaultdict[Place, set[str]] = defaultdict(set)
        for place in self._found.places:
            (process, thread, path), known = place, place in shown
            shown[place]  # which is there from now on
            while path and not known:  # what is around a known one is known
                path, last = path[:-1], path[-1]
                known = (process, thread, path) in shown
                shown[process, thread, path].add(last)
        return dict(shown)

    @cached_property
    def _inside(self) -> tuple["array[int]", "array[int]"]:
        """Where the paths inside of each begin, by its number and that of threads, and they."""
        threads = len(self._table.paths.groups)
        around = array("I", [threads + number for number in self._table.above])
        return kernels.place_ids(around, threads + len(around))

    def _paths_inside(self, number: int) -> Sequence[int]:
        """Those of a path, or of a thread: -1 - its number."""
        starts, paths = self._inside
        at = len(self._table.paths.groups) + number
        return paths[starts[at] : starts[at + 1]]

    def _find(self, place: Place) -> int | None:
        """The number of a place's path, if it is shown and known."""
        if place not in self._shown:
            return None
        process, thread, path = place
        return self._table.find(Group(process, thread), [self._words.number(text) for text in path])
