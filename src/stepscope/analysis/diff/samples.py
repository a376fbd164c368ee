"""Samples: what each path took in each step of each run, on both sides, by one numbering of paths."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.structure import Change

__all__ = ["Cell", "PathTable", "Samples", "sample_times"]

StepNumbers = Mapping[str, Sequence[tuple[int, int]]]


class Cell(NamedTuple):
    """One path in one step of one run: ns, but for calls."""

    run: int
    step: int
    calls: int
    total: int
    own: int
    longest: int


class PathTable:
    """The paths of all runs. A path's number is above that of the path around it.

    Attributes:
        above: the path around each, or -1 - its group's number.
        name: what each is called: a number of words.
        groups: number -> group.
        shown: for base and for head: the names of those paths that go by others there.
    """

    def __init__(self) -> None:
        self.above: list[int] = []
        self.name: list[int] = []
        self.groups: list[Group] = []
        self.group_numbers: dict[Group, int] = {}
        self.shown: tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]] = ({}, {})
        self._numbers: dict[tuple[int, int], int] = {}
        self._by_shown: dict[tuple[Group, tuple[int, ...]], int] = {}

    def group_number(self, group: Group) -> int:
        """The number of a group, new or known."""
        number = self.group_numbers.setdefault(group, len(self.groups))
        if number == len(self.groups):
            self.groups.append(group)
        return number

    def number(self, above: int, name: int) -> int:
        """The number of a path, new or known."""
        number = self._numbers.setdefault((above, name), len(self.above))
        if number == len(self.above):
            self.above.append(above)
            self.name.append(name)
        return number

    def show(self, number: int, side: int, path: tuple[int, ...]) -> None:
        """Let a path go by other names on one side."""
        self.shown[side].setdefault(number, path)
        self._by_shown.setdefault((self.group_of(number), path), number)

    def find(self, group: Group, path: Sequence[int]) -> int | None:
        """The number of a path, by the names of either side, if it is known."""
        at: int | None = -1 - self.group_number(group)
        for name in path:
            at = self._numbers.get((at, name)) if at is not None else None
        return self._by_shown.get((group, tuple(path))) if at is None else at

    def group_of(self, number: int) -> Group:
        """The group that a path's root is in."""
        while number >= 0:
            number = self.above[number]
        return self.groups[-1 - number]

    def path_of(self, number: int, side: int) -> tuple[int, ...]:
        """The names from the root to a path, as they are on one side."""
        if number in self.shown[side]:
            return self.shown[side][number]
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
    cells: tuple[dict[int, list[Cell]], dict[int, list[Cell]]]


def sample_times(
    sides: tuple[Sequence[Run], Sequence[Run]], steps: StepNumbers, changes: Iterable[tuple[Run, Run, Sequence[Change]]]
) -> Samples:
    """Collect the times of all paths: of each step that both sides have and the window did not cut.

    A process that has no steps on either side has one sample a run.

    Args:
        sides: the runs of base and of head.
        steps: process -> pairs of step numbers.
        changes: what was renamed or wrapped keeps its number.
    """
    table = PathTable()
    for run in (*sides[0], *sides[1]):
        for group in run.groups:
            table.group_number(group)
    aliases = _aliases(changes, table)
    cells: tuple[dict[int, list[Cell]], dict[int, list[Cell]]] = ({}, {})
    for side in (0, 1):
        wanted = {process: {pair[side] for pair in pairs} for process, pairs in steps.items()}
        for at, run in enumerate(sides[side]):
            _sample(run, (side, at), (table, aliases[side]), wanted, cells[side])
    return Samples(table, cells)


_Path = tuple[Group, tuple[int, ...]]
# The kinds of changes after which a path goes by another name, or without one.
ALIASED = ("renamed", "wrapped", "unwrapped")
# A path -> its last name in base; None: as if it were not there.
_Aliases = dict[_Path, int | None]


def _aliases(found: Iterable[tuple[Run, Run, Sequence[Change]]], table: PathTable) -> tuple[_Aliases, _Aliases]:
    """Paths under other names: those of base that were unwrapped, those of head that were renamed or wrapped.

    A path that the other side has too, because one of several calls was renamed, say, goes by its own name, and so does
    one of which something else has become in other places.
    """
    aliases: tuple[_Aliases, _Aliases] = ({}, {})
    for base, head, changes in found:
        if not any(change.kind in ALIASED for change in changes):
            continue
        taken = [_paths(run, table) for run in (base, head)]
        at = [[_place(run, rows) for run, rows in zip((base, head), one.rows, strict=True)] for one in changes]
        for change, (one, other) in zip(changes, at, strict=True):
            if change.kind not in ALIASED:
                taken[1].add(one)
                taken[0].add(other)
        for change, (one, other) in zip(changes, at, strict=True):
            if change.kind not in ALIASED or other in taken[0] or one in taken[1]:
                continue
            if other:
                aliases[1].setdefault(other, change.name if one else None)
            elif one:
                aliases[0].setdefault(one, None)
    return aliases


def _place(run: Run, rows: Sequence[int]) -> _Path | None:
    """The path of the first of some rows."""
    return (run.group_of(rows[0]), run.path_of(rows[0])) if rows else None


def _paths(run: Run, table: PathTable) -> "set[_Path | None]":
    """All paths of a run, as it calls them."""
    times, _ = run.path_times(table.group_numbers)
    paths: list[tuple[int, ...]] = []
    groups: list[Group] = []
    for above, name in zip(times.above, times.key, strict=True):
        paths.append((name,) if above < 0 else (*paths[above], name))
        groups.append(table.groups[-1 - above] if above < 0 else groups[above])
    return set(zip(groups, paths, strict=True))


def _sample(
    run: Run,
    place: tuple[int, int],
    naming: tuple[PathTable, _Aliases],
    wanted: Mapping[str, set[int]],
    cells: dict[int, list[Cell]],
) -> None:
    """Add the cells of one run; its place is its side, and its number there."""
    table, aliases = naming
    side, at = place
    times, step_numbers = run.path_times(table.group_numbers)
    numbers: list[int] = []
    counted: list[bool] = []
    groups: list[Group] = []
    given: dict[int, tuple[int, ...]] = {}
    for number, (above, name) in enumerate(zip(times.above, times.key, strict=True)):
        group = table.groups[-1 - above] if above < 0 else groups[above]
        groups.append(group)
        around = above if above < 0 else numbers[above]
        alias: int | None = name
        if aliases:
            given[number] = (*given.get(above, ()), name)
            alias = aliases.get((group, given[number]), name)
        numbers.append(around if alias is None else table.number(around, alias))
        counted.append(alias is not None)
        if aliases and alias is not None and given[number] != table.path_of(numbers[number], 0):
            table.show(numbers[number], side, given[number])
    whole = run.whole_steps
    judged = {
        group.process: ({*whole[group.process]} & wanted.get(group.process, set()))
        if group.process in whole
        else {OUTSIDE}
        for group in run.groups
    }
    columns = (times.cell_path, times.cell_step, times.calls, times.total, times.own, times.longest)
    for path, step, *sums in zip(*columns, strict=True):
        number = step_numbers[step]
        if counted[path] and number in judged[groups[path].process]:
            cells.setdefault(numbers[path], []).append(Cell(at, number, *sums))
