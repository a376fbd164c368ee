"""Samples: what each path took in each step of each run, on both sides, by one numbering of paths."""

from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress
from operator import and_, ne
from typing import NamedTuple

from stepscope.analysis.diff.cells import Cells
from stepscope.analysis.diff.change import Changes
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.paths import Paths
from stepscope.analysis.diff.places import Places
from stepscope.analysis.diff.run import NOWHERE, OUTSIDE, Run
from stepscope.core import kernels
from stepscope.core.trees import CellTimes, PathTimes

__all__ = ["PathTable", "Samples", "sample_times"]

StepNumbers = Mapping[str, Sequence[tuple[int, int]]]


class PathTable:
    """The paths of all runs. A path's number is above that of the path around it.

    Attributes:
        paths: by the names of base.
        shown: for base and for head: the places of those paths that go by other names there.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self.paths = Paths()
        self.shown: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._by_shown: dict[int, int] = {}
        self._above = array("q")

    @property
    def above(self) -> "array[int]":
        """The path around each, or -1 - its group's number."""
        if len(self._above) != len(self.paths.numbers):
            self._above = self.paths.numbers.arounds()
        return self._above

    def number_all(self, above: "array[int]", name: "array[int]") -> "array[int]":
        """The numbers of all paths of a run, as PathTimes has them."""
        return self.paths.numbers.number_all(above, name, array("q", map(self.paths.root, self.paths.groups)))

    def show_all(self, numbers: Sequence[int], side: int, places: Sequence[int]) -> None:
        """Let paths go by other names on one side: those of places, of several the first."""
        deque(map(self.shown[side].setdefault, numbers, places), maxlen=0)
        deque(map(self._by_shown.setdefault, places, numbers), maxlen=0)

    def find(self, group: Group, path: Sequence[int]) -> int | None:
        """The number of a path, by the names of either side, if it is known."""
        at = self.paths.find(group, path)
        if at is None and (place := self._places.find(group, path)) is not None:
            return self._by_shown.get(place)
        return at

    def group_of(self, number: int) -> Group:
        """The group that a path's root is in."""
        return self.paths.group_of(number)

    def is_inside(self, number: int, other: int) -> bool:
        """Whether a path is another one, or inside of it."""
        while number > other:
            number = self.paths.numbers.around(number)
        return number == other

    def depth_of(self, number: int, side: int) -> int:
        """How many names path_of has."""
        if number in self.shown[side]:
            return self._places.depth_of(self.shown[side][number])
        return self.paths.depth_of(number)

    def count_inside(self, number: int, inside: Iterable[int], depth: int, but: AbstractSet[int]) -> int:
        """How many of the paths inside one are of that depth in head, and of other names than those."""
        shown, name_of = self.shown[1], self.paths.numbers.name
        plain = self.paths.depth_of(number) + 1 == depth
        count = 0
        for path in inside:
            if path in shown:
                count += self.depth_of(path, 1) == depth and self.name_of(path, 1) not in but
            elif plain:
                count += name_of(path) not in but
        return count

    def name_of(self, number: int, side: int) -> int:
        """The last name that path_of has."""
        place = self.shown[side].get(number)
        return self.paths.numbers.name(number) if place is None else self._places.name_of(place)

    def path_of(self, number: int, side: int) -> tuple[int, ...]:
        """The names from the root to a path, as they are on one side."""
        if number in self.shown[side]:
            return self._places.path_of(self.shown[side][number])
        return self.paths.names_of(number)


class Samples(NamedTuple):
    """What was sampled.

    Attributes:
        table: of all paths.
        cells: for base and for head: path -> its cells.
    """

    table: PathTable
    cells: tuple[Cells, Cells]


def sample_times(
    sides: tuple[Sequence[Run], Sequence[Run]],
    steps: StepNumbers,
    changes: Iterable[tuple[Run, Run, Changes]],
    ways: tuple[frozenset[Group], Places],
) -> Samples:
    """Collect the times of all paths: of each step that both sides have and the window did not cut.

    A process that has no steps on either side has one sample a run. Threads that run free have samples of what a call
    takes, with all that is in it, not of what a step does.

    Args:
        sides: the runs of base and of head.
        steps: process -> pairs of step numbers.
        changes: what was renamed or wrapped keeps its number.
        ways: threads that run free; and the places of all runs.
    """
    loose, places = ways
    table = PathTable(places)
    for run in (*sides[0], *sides[1]):
        for group in run.groups:
            table.paths.root(group)
    naming = _Naming(table, places, {})
    aliases = _aliases(changes, naming)
    cells = Cells(table.paths.numbers), Cells(table.paths.numbers)
    for side in (0, 1):
        wanted = {process: {pair[side] for pair in pairs} for process, pairs in steps.items()}
        for at, run in enumerate(sides[side]):
            _sample(run, (side, at), (naming, aliases[side], loose), wanted, cells[side])
    return Samples(table, cells)


class _Naming(NamedTuple):
    """How paths are named: all paths, the places of all runs, and those of the paths of each run, found once."""

    table: PathTable
    places: Places
    known: dict[Run, "array[int]"]

    def times_of(self, run: Run) -> tuple[PathTimes, list[int]]:
        """A run's times, and the numbers of its steps."""
        return run.path_times(self.table.paths.group_numbers)

    def given(self, run: Run) -> "array[int]":
        """The places of all paths of a run, as it calls them."""
        if run not in self.known:
            times, _ = self.times_of(run)
            self.known[run] = self.places.of_paths(times.above, times.key, self.table.paths.groups)
        return self.known[run]

    def given_at(self, run: Run, rows: Sequence[int]) -> list[int]:
        """The places of some rows of a run, as it calls them; NOWHERE for NOWHERE."""
        times, _ = self.times_of(run)
        places = [*kernels.map_ids(times.path, self.given(run)), NOWHERE]  # which is -1: the last one
        return [*map(places.__getitem__, rows)]


# The kinds of changes after which a path goes by another name, or without one.
ALIASED = frozenset({"renamed", "wrapped", "unwrapped"})
# A place -> its last name in base; None: as if it were not there.
_Aliases = dict[int, int | None]


def _aliases(found: Iterable[tuple[Run, Run, Changes]], naming: _Naming) -> tuple[_Aliases, _Aliases]:
    """Paths under other names: those of base that were unwrapped, those of head that were renamed or wrapped.

    A path that the other side has too, because one of several calls was renamed, say, goes by its own name, and so does
    one of which something else has become in other places.
    """
    aliases: tuple[_Aliases, _Aliases] = ({}, {})
    for base, head, changes in found:
        if ALIASED.isdisjoint(changes.kinds):
            continue
        at = naming.given_at(base, changes.rows[0]), naming.given_at(head, changes.rows[1])
        own = _own_names((naming.given(base), naming.given(head)), changes.kinds, at)
        for kind, name, one, other in zip(changes.kinds, changes.names, *at, strict=True):
            if kind not in ALIASED or other in own[0] or one in own[1]:
                continue
            if other >= 0:
                aliases[1].setdefault(other, name >> 1 if one >= 0 else None)
            elif one >= 0:
                aliases[0].setdefault(one, None)
    return aliases


def _own_names(
    given: tuple[Sequence[int], Sequence[int]], kinds: Sequence[str], at: tuple[Sequence[int], Sequence[int]]
) -> tuple[set[int], set[int]]:
    """The places that base, and that head, calls by their own names: its paths, and of what something else has become.

    Args:
        given: all that there are.
        kinds: of changes.
        at: their places.
    """
    places = {*given[0]}, {*given[1]}
    if not ALIASED.issuperset(kinds):
        for kind, one, other in zip(kinds, *at, strict=True):
            if kind not in ALIASED:
                places[1].add(one)
                places[0].add(other)
        for of_side in places:
            of_side.discard(NOWHERE)
    return places


def _numbers(run: Run, naming: _Naming, aliases: _Aliases, side: int) -> tuple["array[int]", bytearray]:
    """The numbers of a run's paths in the table; and whether each is a path there, not what goes without a name."""
    table, (times, _) = naming.table, naming.times_of(run)
    counted = bytearray(b"\1") * len(times.above)
    if not aliases:
        return table.number_all(times.above, times.key), counted
    given = naming.given(run)
    names = [*map(aliases.get, given, times.key)]
    renamed = bytearray(map(ne, names, times.key))
    for path, above in enumerate(times.above):
        if above >= 0 and renamed[above]:
            renamed[path] = 1
    named = [name for name in names if name is not None]
    if len(named) == len(names):
        numbers = table.number_all(times.above, array("I", named))
    else:
        counted = bytearray(name is not None for name in names)
        renamed = bytearray(map(and_, renamed, counted))
        numbers = _numbers_of_named(times.above, names, table)
    table.show_all([*compress(numbers, renamed)], side, [*compress(given, renamed)])
    return numbers, counted


def _numbers_of_named(aboves: Iterable[int], names: Iterable[int | None], table: PathTable) -> "array[int]":
    """The numbers of paths; what is in one without a name is in what is around that. Theirs are not to be used."""
    numbers: list[int] = []
    for above, name in zip(aboves, names, strict=True):
        around = numbers[above] if above >= 0 else above
        numbers.append(around if name is None else table.paths.numbers.number(around, name))
    return array("I", (max(0, number) for number in numbers))


def _sample(
    run: Run,
    place: tuple[int, int],
    naming: tuple[_Naming, _Aliases, frozenset[Group]],
    wanted: Mapping[str, set[int]],
    cells: Cells,
) -> None:
    """Add the cells of one run; its place is its side, and its number there."""
    names, aliases, loose = naming
    side, at = place
    times, step_numbers = names.times_of(run)
    numbers, counted = _numbers(run, names, aliases, side)
    whole = run.whole_steps
    judged = {
        group: ({*whole[group.process]} & wanted.get(group.process, set())) if group.process in whole else {OUTSIDE}
        for group in run.groups
    }
    groups = _groups(times, names.table.paths.groups)
    if not loose.isdisjoint(groups):
        times = _by_the_call(times, groups, loose)
    columns = [times.cell_step, times.cell_path, times.calls, times.total, times.own, times.longest]
    if not all(counted) or any(not of_group.issuperset(step_numbers) for of_group in judged.values()):
        taken = [
            counted[path] and step_numbers[step] in judged[groups[path]]
            for path, step in zip(times.cell_path, times.cell_step, strict=True)
        ]
        columns = [array(column.typecode, compress(column, taken)) for column in columns]
    in_steps, paths, *rest = columns
    steps = step_numbers * len(in_steps) if len(step_numbers) == 1 else map(step_numbers.__getitem__, in_steps)
    cells.add(at, steps, CellTimes(kernels.map_ids(paths, numbers), *rest))


def _groups(times: PathTimes, groups: Sequence[Group]) -> Sequence[Group]:
    """The group of each path of a run."""
    if len(groups) == 1:
        return [*groups] * len(times.above)
    found: list[Group] = []
    for above in times.above:
        found.append(found[above] if above >= 0 else groups[-1 - above])
    return found


def _by_the_call(times: PathTimes, groups: Sequence[Group], loose: frozenset[Group]) -> PathTimes:
    """The same, but of threads that run free a cell is what one call of its root takes."""
    roots: dict[int, int] = {}
    for path, above in enumerate(times.above):
        if groups[path] in loose:
            roots[path] = path if above < 0 else roots[above]
    places = list(zip(times.cell_path, times.cell_step, strict=True))
    root_calls = {
        place: calls for place, calls in zip(places, times.calls, strict=True) if roots.get(place[0]) == place[0]
    }
    each = [root_calls.get((roots[path], step), 1) if path in roots else 1 for path, step in places]
    calls, total, own = (
        array("q", (value // many for value, many in zip(column, each, strict=True)))
        for column in (times.calls, times.total, times.own)
    )
    return times._replace(calls=array("q", (max(1, many) for many in calls)), total=total, own=own)
