"""A run: one trace, made ready to be compared: its trees, hashes, steps, and the times of its paths."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import compress, count
from typing import Any

from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.words import Words
from stepscope.core import kernels
from stepscope.core.trees import Forest, Labels, PathIds, PathTimes, Trees
from stepscope.model.nesting import nest
from stepscope.model.trace import CUT, INSTANT, Trace

__all__ = ["NOWHERE", "OUTSIDE", "Run"]

_STEP_NAME = "ProfilerStep"
_STEP = re.compile(_STEP_NAME + r"\s*#\s*(\d{1,18})\Z")
# The number of no step: what is before, between and after them, and a process that has none.
OUTSIDE = -1
# The row that is none, and its place.
NOWHERE = -1
# What the window cut of a thread that runs free: how long it took is not known.
UNTIMED = -2


class Run:
    """One trace as the comparison reads it.

    Attributes:
        trace: the trace.
        words: of all traces.
        groups: the group of each track.
        names: array 'I', per row: the number of its name, doubled, plus 1 for an instant.
        parent: as kernels.hash_trees takes it: steps are set apart from what is around them.
        labels: what tells a row from another besides what is inside it.
        trees: their hashes.
        steps: process -> step's number -> its row; in order of time.
        stepping: the groups that have steps.
        roots: group -> step's number -> rows; in order of time.
    """

    def __init__(self, trace: Trace, groups: Sequence[Group], words: Words) -> None:
        self.trace = trace
        self.words = words
        self.groups = groups
        columns = trace.columns
        parent, self._own = nest(trace)
        self._keys = words.keys_of(trace)
        doubled = [2 * key for key in self._keys]
        self.names = array("I", map(doubled.__getitem__, columns.name))
        if self._has_instants():
            for row, kind in enumerate(columns.kind):
                self.names[row] += kind & INSTANT
        self.steps, self.stepping = self._find_steps(parent)
        for rows in self.steps.values():
            for row in rows.values():
                if parent[row] >= 0:
                    parent[row] = -2 - parent[row]
        self.parent = parent
        cats = array("Q", bytes(8 * len(trace.strings)))
        used = kernels.distinct_ids(columns.cat) if words.rules.categories else array("I")
        for cat, bits in zip(used, kernels.hash_texts([trace.strings[cat] for cat in used]), strict=True):
            cats[cat] = bits
        self.labels = Labels(words.hashes_of(self._keys), cats, words.args_of(trace))
        self.trees: Trees = kernels.hash_trees(columns, parent, self.labels, ordered=words.rules.order == "keep")
        self._root_steps: dict[int, int] = {}
        # Where roots of threads that run free are sampled, which are in no step otherwise.
        self._sampled: dict[int, int] = {}
        self._times: tuple[PathTimes, list[int]] | None = None
        self.roots = self._find_roots()

    def release(self, groups: Iterable[Group]) -> None:
        """Take threads out of the steps: of one that runs free, it is chance in which step a call begins.

        Their calls are timed in the step that they begin in, unless the window cut them.
        """
        kind = self.trace.columns.kind
        for group in groups:
            rows = sorted(row for of_step in self.roots.get(group, {}).values() for row in of_step)
            for row in rows:
                self._sampled[row] = UNTIMED if kind[row] & CUT else self._root_steps[row]
                self._root_steps[row] = OUTSIDE
            if rows:
                self.roots[group] = {OUTSIDE: rows}

    def children(self, row: int) -> list[int]:
        """The rows directly inside one, in order of time."""
        starts, rows = self._inside
        return rows[starts[row + 1] : starts[row + 2]].tolist()

    def above(self, row: int) -> Iterator[int]:
        """A row, then the rows around it, outwards."""
        while row >= 0:
            yield row
            row = self.parent[row]

    def end_of(self, row: int) -> int:
        """When a row ends, in ns."""
        columns = self.trace.columns
        return columns.ts[row] + columns.dur[row]

    def is_cut(self, row: int) -> bool:
        """Whether the window cut a row."""
        return bool(self.trace.columns.kind[row] & CUT)

    def step_of(self, row: int) -> int:
        """The number of a row's step, or OUTSIDE."""
        *_, root = self.above(row)
        return self._root_steps[root]

    def step_of_root(self, row: int) -> int:
        """The same, of a row that is a root."""
        return self._root_steps[row]

    def group_of(self, row: int) -> Group:
        """The group of a row's track."""
        return self.groups[self.trace.columns.track[row]]

    def _has_instants(self) -> bool:
        return bool(self.trace.columns.kind.tobytes().translate(None, bytes((0, CUT))))

    def args_hashes(self, rows: Iterable[int]) -> Iterator[int]:
        """A hash of the arguments of each of some rows."""
        return map(self.labels.args.__getitem__, rows)

    def cat_of(self, row: int) -> str:
        """A row's category; "" if categories are not compared."""
        return self.trace.strings[self.trace.columns.cat[row]] if self.words.rules.categories else ""

    def args_of(self, row: int) -> dict[str, Any]:
        """What of a row's arguments is compared."""
        args = self.trace.args.get(row)
        return self.words.compared(args) if args and self.words.rules.args else {}

    def path_of(self, row: int) -> tuple[int, ...]:
        """The numbers of the names from the root to a row."""
        columns = self.trace.columns
        return tuple(self._keys[columns.name[at]] for at in self.above(row))[::-1]

    @cached_property
    def whole_steps(self) -> dict[str, list[int]]:
        """The numbers of the steps that the recorded window did not cut, of each process."""
        kind = self.trace.columns.kind
        return {
            process: [number for number, row in rows.items() if not kind[row] & CUT]
            for process, rows in self.steps.items()
        }

    def path_times(self, group_numbers: Mapping[Group, int]) -> tuple[PathTimes, list[int]]:
        """Times by path and step; they are found once.

        Args:
            group_numbers: of all groups; the same at each call.

        Returns:
            The times, whose steps are places in the list of step numbers that follows.
        """
        if self._times is None:
            self._times = self._time(group_numbers)
        return self._times

    def _time(self, group_numbers: Mapping[Group, int]) -> tuple[PathTimes, list[int]]:
        sampled = {**self._root_steps, **self._sampled}
        numbers = sorted(set(sampled.values()))
        place = {number: at for at, number in enumerate(numbers)}
        steps = array("I", bytes(4 * len(self.trace)))
        for row, number in sampled.items() if len(numbers) > 1 else ():
            steps[row] = place[number]
        groups = array("I", (group_numbers[group] for group in self.groups))
        ids = PathIds(self._keys, groups, steps)
        return kernels.time_paths(self.trace.columns, self._own, self.parent, ids), numbers

    def _find_steps(self, parent: "array[int]") -> tuple[dict[str, dict[int, int]], frozenset[Group]]:
        """The first slice of each step's number, of each process, and the groups that they are of."""
        strings = self.trace.strings
        named = (
            [at for at, text in enumerate(strings) if _STEP_NAME in text] if _STEP_NAME in "\n".join(strings) else ()
        )
        numbers = {at: int(found[1]) for at in named if (found := _STEP.match(self.trace.strings[at]))}
        steps: dict[str, dict[int, int]] = {}
        if not numbers:
            return steps, frozenset()
        columns = self.trace.columns
        taken: set[int] = set()
        for row in compress(count(), map(numbers.__contains__, columns.name)):
            if not columns.kind[row] & INSTANT:
                name = columns.name[row]
                rows = steps.setdefault(self.groups[columns.track[row]].process, {})
                if numbers[name] not in rows and not any(above in taken for above in self._around(parent, row)):
                    rows[numbers[name]] = row
                    taken.add(row)
        return steps, frozenset(self.groups[columns.track[row]] for row in taken)

    @staticmethod
    def _around(parent: "array[int]", row: int) -> Iterator[int]:
        while (row := parent[row]) >= 0:
            yield row

    @cached_property
    def forest(self) -> Forest:
        """The trees of all rows, for walk_alike."""
        starts, children = self._inside
        return Forest(*self.trees, self.names, starts[1:], children)

    @cached_property
    def _inside(self) -> tuple["array[int]", "array[int]"]:
        """Where each row's children are, by 1 + its number, and they."""
        above = array("I", [row + 1 if row >= 0 else 0 for row in self.parent])
        return kernels.place_ids(above, len(above) + 1)

    def _find_roots(self) -> dict[Group, dict[int, list[int]]]:
        """Put each root into the step that it begins in."""
        columns, groups = self.trace.columns, self.groups
        own_step = {row: number for rows in self.steps.values() for number, row in rows.items()}
        edges = {process: self._edges(rows) for process, rows in self.steps.items()}
        found: dict[Group, dict[int, list[int]]] = {
            group: {} for group, track in zip(groups, self.trace.tracks, strict=True) if track.kind != "counter"
        }
        roots = [row for row, above in enumerate(self.parent) if above < 0]
        if not self.steps and len({*columns.track}) == 1:
            self._root_steps = dict.fromkeys(roots, OUTSIDE)
            found[groups[columns.track[0]]] = {OUTSIDE: roots}
            return found
        for row in roots:
            group = groups[columns.track[row]]
            number = own_step.get(row)
            if number is None:
                number = _step_at(columns.ts[row], *edges[group.process]) if group.process in edges else OUTSIDE
            self._root_steps[row] = number
            of_step = found[group]
            if number in of_step:
                of_step[number].append(row)
            else:
                of_step[number] = [row]
        return found

    def _edges(self, rows: Mapping[int, int]) -> tuple[list[int], list[int], list[int]]:
        """Steps by time: where they begin, where they end, their numbers."""
        columns = self.trace.columns
        spans = sorted((columns.ts[row], columns.ts[row] + columns.dur[row], number) for number, row in rows.items())
        return [span[0] for span in spans], [span[1] for span in spans], [span[2] for span in spans]


def _step_at(ts: int, starts: list[int], ends: list[int], numbers: list[int]) -> int:
    at = bisect_right(starts, ts) - 1
    return numbers[at] if at >= 0 and ts < ends[at] else OUTSIDE
