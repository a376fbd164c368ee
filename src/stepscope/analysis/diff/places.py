"""Places: the thread and the names around a row, as one number that all runs share."""

from array import array
from collections.abc import Sequence

from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.paths import Paths
from stepscope.analysis.diff.run import NOWHERE, Run

__all__ = ["Places"]

# A thread is a path of this name alone, which no slice has: there are fewer names.
_THREAD = 2**32 - 1


class Places:
    """Numbers of places. A place is a thread, or a slice's name below another place."""

    def __init__(self) -> None:
        self._paths = Paths()
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
        return self._paths.numbers.number(self._paths.root(group), _THREAD)

    def inside(self, place: int, name: int) -> int:
        """The place below another one."""
        return self._paths.numbers.number(place, name)

    def find(self, group: Group, path: Sequence[int]) -> int | None:
        """The number of a place, if it is known."""
        return self._paths.find(group, (_THREAD, *path))

    def group_of(self, place: int) -> Group:
        """The thread that a place is in."""
        return self._paths.group_of(place)

    def name_of(self, place: int) -> int:
        """The last name on the way to a place."""
        return self._paths.numbers.name(place)

    def depth_of(self, place: int) -> int:
        """How many names lead to a place."""
        return self._paths.depth_of(place) - 1

    def path_of(self, place: int) -> tuple[int, ...]:
        """The names from the root to a place; none for a thread."""
        return self._paths.names_of(place)[1:]

    def of_paths(self, above: "array[int]", key: "array[int]", groups: Sequence[Group]) -> "array[int]":
        """The places of all paths of a run, as PathTimes has them.

        Args:
            above: of each path, or -1 - its group's number.
            key: their names.
            groups: by number.
        """
        return self._paths.numbers.number_all(above, key, array("q", map(self.thread, groups)))
