"""Places: the thread and the names around a row, as one number that all runs share."""

from collections.abc import Sequence

from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.run import NOWHERE, Run

__all__ = ["Places"]


class Places:
    """Numbers of places. A place is a thread, or a slice's name below another place."""

    def __init__(self) -> None:
        self._above: list[int] = []
        self._name: list[int] = []
        self._threads: dict[Group, int] = {}
        self._groups: dict[int, Group] = {}
        self._numbers: dict[int, int] = {}  # by a place and a name, in one: half of what a tuple takes
        self._known: dict[Run, dict[int, tuple[int, int]]] = {}

    def around(self, run: Run, row: int) -> tuple[int, int]:
        """The place around a row, and the number of its step."""
        above = run.parent[row]
        if above < 0:
            return self.thread(run.group_of(row)), run.step_of_root(row)
        known = self._known.setdefault(run, {})
        if above not in known:
            chain = [above]
            while (outer := run.parent[chain[-1]]) >= 0 and outer not in known:
                chain.append(outer)
            for inner in reversed(chain):
                outer = run.parent[inner]
                place, step = known[outer] if outer >= 0 else self.around(run, inner)
                known[inner] = self.inside(place, run.names[inner] >> 1), step
        return known[above]

    def around_all(self, run: Run, rows: Sequence[int]) -> list[int]:
        """The places around some rows of a run; NOWHERE for NOWHERE."""
        parent, track = run.parent, run.trace.columns.track
        above = [parent[row] if row >= 0 else NOWHERE for row in rows]
        one_in = dict(zip(above, rows, strict=True))
        known = {outer: self.around(run, row)[0] for outer, row in one_in.items() if outer >= 0}
        threads = {number: self.thread(run.groups[number]) for number in {track[row] for row in rows if row >= 0}}
        return [
            known[outer] if outer >= 0 else threads[track[row]] if row >= 0 else NOWHERE
            for outer, row in zip(above, rows, strict=True)
        ]

    def steps_of(self, run: Run, rows: Sequence[int]) -> list[int]:
        """The number of the step of each of some rows of a run."""
        parent = run.parent
        above = [parent[row] for row in rows]
        one_in = dict(zip(above, rows, strict=True))
        known = {outer: self.around(run, row)[1] for outer, row in one_in.items() if outer >= 0}
        return [known[outer] if outer >= 0 else run.step_of_root(row) for outer, row in zip(above, rows, strict=True)]

    def thread(self, group: Group) -> int:
        """The place that is a thread."""
        number = self._threads.setdefault(group, len(self._above))
        if number == len(self._above):
            self._groups[number] = group
            self._above.append(NOWHERE)
            self._name.append(NOWHERE)
        return number

    def inside(self, place: int, name: int) -> int:
        """The place below another one."""
        number = self._numbers.setdefault(place << 32 | name, len(self._above))
        if number == len(self._above):
            self._above.append(place)
            self._name.append(name)
        return number

    def find(self, group: Group, path: Sequence[int]) -> int | None:
        """The number of a place, if it is known."""
        at = self._threads.get(group)
        for name in path:
            at = self._numbers.get(at << 32 | name) if at is not None else None
        return at

    def group_of(self, place: int) -> Group:
        """The thread that a place is in."""
        while self._above[place] >= 0:
            place = self._above[place]
        return self._groups[place]

    def name_of(self, place: int) -> int:
        """The last name on the way to a place."""
        return self._name[place]

    def depth_of(self, place: int) -> int:
        """How many names lead to a place."""
        depth = 0
        while self._above[place] >= 0:
            place, depth = self._above[place], depth + 1
        return depth

    def path_of(self, place: int) -> tuple[int, ...]:
        """The names from the root to a place; none for a thread."""
        names: list[int] = []
        while self._above[place] >= 0:
            names.append(self._name[place])
            place = self._above[place]
        return tuple(reversed(names))

    def of_paths(self, above: Sequence[int], key: Sequence[int], groups: Sequence[Group]) -> list[int]:
        """The places of all paths of a run, as PathTimes has them.

        Args:
            above: of each path, or -1 - its group's number.
            key: their names.
            groups: by number.
        """
        found: list[int] = []
        threads = [self.thread(group) for group in groups]
        numbers, added, names = self._numbers, self._above, self._name
        for outer, name in zip(above, key, strict=True):
            place = found[outer] if outer >= 0 else threads[-1 - outer]
            number = numbers.setdefault(place << 32 | name, len(added))
            if number == len(added):
                added.append(place)
                names.append(name)
            found.append(number)
        return found
