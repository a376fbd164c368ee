"""Samples: what each path took in each step of each run, on both sides, by one numbering of paths."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress
from typing import NamedTuple

from stepscope.analysis.diff.cells import Cells
from stepscope.analysis.diff.change import Changes
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.places import Places
from stepscope.analysis.diff.run import NOWHERE, OUTSIDE, Run
from stepscope.core.trees import CellTimes, PathTimes

__all__ = ["PathTable", "Samples", "sample_times"]

StepNumbers = Mapping[str, Sequence[tuple[int, int]]]


class PathTable:
    """The paths of all runs. A path's number is above that of the path around it.

    Attributes:
        above: the path around each, or -1 - its group's number.
        name: what each is called: a number of words.
        groups: number -> group.
        shown: for base and for head: the places of those paths that go by other names there.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self.above: list[int] = []
        self.name: list[int] = []
        self.groups: list[Group] = []
        self.group_numbers: dict[Group, int] = {}
        self.shown: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._numbers: dict[int, int] = {}  # by both numbers of a path, in one: half of what a tuple takes
        self._by_shown: dict[int, int] = {}

    def group_number(self, group: Group) -> int:
        """The number of a group, new or known."""
        number = self.group_numbers.setdefault(group, len(self.groups))
        if number == len(self.groups):
            self.groups.append(group)
        return number

    def number(self, above: int, name: int) -> int:
        """The number of a path, new or known."""
        number = self._numbers.setdefault(above << 32 | name, len(self.above))
        if number == len(self.above):
            self.above.append(above)
            self.name.append(name)
        return number

    def number_all(self, above: Iterable[int], name: Iterable[int]) -> list[int]:
        """The numbers of all paths of a run, as PathTimes has them."""
        found: list[int] = []
        known, count = self._numbers, len(self.above)
        add, add_above, add_name = found.append, self.above.append, self.name.append
        for outer, last in zip(above, name, strict=True):
            around = found[outer] if outer >= 0 else outer
            number = known.setdefault(around << 32 | last, count)
            if number == count:
                add_above(around)
                add_name(last)
                count += 1
            add(number)
        return found

    def show(self, number: int, side: int, place: int) -> None:
        """Let a path go by other names on one side: those of a place."""
        self.shown[side].setdefault(number, place)
        self._by_shown.setdefault(place, number)

    def find(self, group: Group, path: Sequence[int]) -> int | None:
        """The number of a path, by the names of either side, if it is known."""
        at: int | None = -1 - self.group_number(group)
        for name in path:
            at = self._numbers.get(at << 32 | name) if at is not None else None
        if at is None and (place := self._places.find(group, path)) is not None:
            return self._by_shown.get(place)
        return at

    def group_of(self, number: int) -> Group:
        """The group that a path's root is in."""
        while number >= 0:
            number = self.above[number]
        return self.groups[-1 - number]

    def is_inside(self, number: int, other: int) -> bool:
        """Whether a path is another one, or inside of it."""
        while number > other:
            number = self.above[number]
        return number == other

    def depth_of(self, number: int, side: int) -> int:
        """How many names path_of has."""
        if number in self.shown[side]:
            return self._places.depth_of(self.shown[side][number])
        return self._depth(number)

    def count_inside(self, number: int, inside: Iterable[int], depth: int, but: AbstractSet[int]) -> int:
        """How many of the paths inside one are of that depth in head, and of other names than those."""
        shown, names = self.shown[1], self.name
        plain = self._depth(number) + 1 == depth
        count = 0
        for path in inside:
            if path in shown:
                count += self.depth_of(path, 1) == depth and self.name_of(path, 1) not in but
            elif plain:
                count += names[path] not in but
        return count

    def _depth(self, number: int) -> int:
        depth = 0
        while number >= 0:
            number, depth = self.above[number], depth + 1
        return depth

    def name_of(self, number: int, side: int) -> int:
        """The last name that path_of has."""
        place = self.shown[side].get(number)
        return self.name[number] if place is None else self._places.name_of(place)

    def path_of(self, number: int, side: int) -> tuple[int, ...]:
        """The names from the root to a path, as they are on one side."""
        if number in self.shown[side]:
            return self._places.path_of(self.shown[side][number])
        names: list[int] = []
        while number >= 0:
            names.append(self.name[number])
            number = self.above[number]
        return tuple(reversed(names))


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
            table.group_number(group)
    given: dict[Run, list[int]] = {}
    aliases = _aliases(changes, (table, places, given))
    cells = Cells(table.above), Cells(table.above)
    for side in (0, 1):
        wanted = {process: {pair[side] for pair in pairs} for process, pairs in steps.items()}
        for at, run in enumerate(sides[side]):
            _sample(run, (side, at), (table, aliases[side], loose, (places, given)), wanted, cells[side])
    return Samples(table, cells)


# The kinds of changes after which a path goes by another name, or without one.
ALIASED = frozenset({"renamed", "wrapped", "unwrapped"})
# A place -> its last name in base; None: as if it were not there.
_Aliases = dict[int, int | None]


def _aliases(
    found: Iterable[tuple[Run, Run, Changes]], naming: tuple[PathTable, Places, dict[Run, list[int]]]
) -> tuple[_Aliases, _Aliases]:
    """Paths under other names: those of base that were unwrapped, those of head that were renamed or wrapped.

    A path that the other side has too, because one of several calls was renamed, say, goes by its own name, and so does
    one of which something else has become in other places.
    """
    table, places, given = naming
    aliases: tuple[_Aliases, _Aliases] = ({}, {})
    for base, head, changes in found:
        if ALIASED.isdisjoint(changes.kinds):
            continue
        for run in {base, head} - {*given}:
            given[run] = _places_of(run, table, places)
        taken = {*given[base]}, {*given[head]}
        paths = [run.path_times(table.group_numbers)[0].path for run in (base, head)]
        at = [
            [of_run[path[row]] if row >= 0 else NOWHERE for row in rows]
            for rows, of_run, path in zip(changes.rows, (given[base], given[head]), paths, strict=True)
        ]
        for kind, one, other in zip(changes.kinds, *at, strict=True):
            if kind not in ALIASED:
                taken[1].add(one)
                taken[0].add(other)
        for kind, name, one, other in zip(changes.kinds, changes.names, *at, strict=True):
            if kind not in ALIASED or other in taken[0] or one in taken[1]:
                continue
            if other >= 0:
                aliases[1].setdefault(other, name >> 1 if one >= 0 else None)
            elif one >= 0:
                aliases[0].setdefault(one, None)
    return aliases


def _places_of(run: Run, table: PathTable, places: Places) -> list[int]:
    """The places of all paths of a run, as it calls them."""
    times, _ = run.path_times(table.group_numbers)
    return places.of_paths(times.above, times.key, table.groups)


def _numbers(
    times: PathTimes, table: PathTable, renaming: tuple[_Aliases, Sequence[int]], side: int
) -> tuple[list[int], bytearray]:
    """The numbers of a run's paths in the table; and whether each is a path there, not what goes without a name."""
    aliases, given = renaming
    counted = bytearray(b"\1") * len(times.above)
    if not aliases:
        return table.number_all(times.above, times.key), counted
    numbers: list[int] = []
    renamed = bytearray(len(counted))
    for number, (above, name, place) in enumerate(zip(times.above, times.key, given, strict=True)):
        around = above if above < 0 else numbers[above]
        alias = aliases.get(place, name)
        renamed[number] = alias != name or (above >= 0 and renamed[above])
        if alias is None:
            counted[number] = 0
            numbers.append(around)
            continue
        numbers.append(table.number(around, alias))
        if renamed[number]:
            table.show(numbers[number], side, place)
    return numbers, counted


def _sample(
    run: Run,
    place: tuple[int, int],
    naming: tuple[PathTable, _Aliases, frozenset[Group], tuple[Places, dict[Run, list[int]]]],
    wanted: Mapping[str, set[int]],
    cells: Cells,
) -> None:
    """Add the cells of one run; its place is its side, and its number there."""
    table, aliases, loose, (places, known) = naming
    side, at = place
    times, step_numbers = run.path_times(table.group_numbers)
    given = (known.get(run) or _places_of(run, table, places)) if aliases else []
    numbers, counted = _numbers(times, table, (aliases, given), side)
    whole = run.whole_steps
    judged = {
        group: ({*whole[group.process]} & wanted.get(group.process, set())) if group.process in whole else {OUTSIDE}
        for group in run.groups
    }
    groups = _groups(times, table)
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
    named = array("I", map(numbers.__getitem__, paths))
    cells.add(at, map(step_numbers.__getitem__, in_steps), CellTimes(named, *rest))


def _groups(times: PathTimes, table: PathTable) -> list[Group]:
    """The group of each path of a run."""
    groups: list[Group] = []
    for above in times.above:
        groups.append(groups[above] if above >= 0 else table.groups[-1 - above])
    return groups


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
