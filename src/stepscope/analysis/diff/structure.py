"""Structure: the call trees of two runs, and every change between them.

Equal subtrees cost nothing. What is on one side only is looked for elsewhere on the other side, so that what has moved
is one change; what is left has come, gone, or is called more or less often.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, pairwise, takewhile
from operator import ne
from typing import NamedTuple

from stepscope.analysis.diff.align import MAX_CELLS
from stepscope.analysis.diff.change import AND_MORE, NO_MORE, Changes, keys_apart
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.run import NOWHERE, OUTSIDE, Run
from stepscope.analysis.diff.siblings import Common, Siblings, pair_rest, pair_siblings
from stepscope.core import kernels

__all__ = ["Structure", "Threads", "compare_call", "compare_trees"]

# How many names an order of siblings shows.
MAX_SHOWN = 8


class Structure(NamedTuple):
    """How two runs differ.

    Attributes:
        changes: in no particular order.
        gone: rows whose subtrees are accounted for: of base and of head. Flows from and to there are no finding.
    """

    changes: Changes
    gone: tuple[set[int], set[int]]


class _Level(NamedTuple):
    """Siblings to be compared: rows of base and of head.

    Attributes:
        cut: whether the window cut what is around those of base, and of head.
        like: levels that have it in common are paired alike; None for roots.
        common: what they have in common; None if that is not known yet.
    """

    base: Sequence[int]
    head: Sequence[int]
    ordered: bool
    cut: tuple[bool, bool] = (False, False)
    like: object | None = None
    common: Common | None = None


class _Left(NamedTuple):
    """What is on one side only among some siblings, and all of them: rows of base and of head.

    Attributes:
        apart: whether it is known that no name is on both sides.
    """

    rows: tuple[Sequence[int], Sequence[int]]
    siblings: tuple[Sequence[int], Sequence[int]]
    apart: bool


class Threads(NamedTuple):
    """The threads of one process that are compared.

    Attributes:
        groups: they are in both sides.
        unordered: those whose order is free.
        unpaced: those that run free of the steps: what they do in all steps is compared at once.
    """

    groups: Sequence[Group]
    unordered: frozenset[Group]
    unpaced: frozenset[Group]


def compare_trees(base: Run, head: Run, threads: Threads, steps: Sequence[tuple[int, int]]) -> Structure:
    """Compare the trees of one process.

    Args:
        base: the run that is known.
        head: the run to compare with it.
        threads: those of the process.
        steps: pairs of step numbers that both have; and (OUTSIDE, OUTSIDE), if what is in no step is to be compared.
    """
    comparison = _Comparison(base, head, dict(steps))
    for group in threads.groups:
        ordered = base.words.rules.order == "keep" and group not in threads.unordered
        roots = base.roots.get(group, {}), head.roots.get(group, {})
        paced = group not in threads.unpaced
        for one, other in (pair for pair in steps if paced and pair != (OUTSIDE, OUTSIDE)):
            comparison.add_level(roots[0].get(one, ()), roots[1].get(other, ()), ordered=ordered)
        rest = [pair for pair in steps if pair == (OUTSIDE, OUTSIDE) or not paced]
        both = [sorted(row for pair in rest for row in roots[side].get(pair[side], ())) for side in (0, 1)]
        comparison.add_level(*both, ordered=ordered)
    comparison.run()
    return Structure(comparison.changes, comparison.gone)


def compare_call(base: Run, head: Run, rows: tuple[int, int]) -> Changes:
    """Compare what is inside of one call of each run; not its arguments and categories, nor those inside."""
    comparison = _Comparison(base, head, {}, labels=False)
    comparison.add_level(rows[:1], rows[1:], ordered=base.words.rules.order == "keep")
    comparison.run()
    return comparison.changes


class _Comparison:
    """Two runs while they are compared; with labels, arguments and categories too."""

    def __init__(self, base: Run, head: Run, steps: Mapping[int, int], *, labels: bool = True) -> None:
        self.runs = base, head
        self.steps = steps
        self.labels = labels
        self.changes = Changes()
        self.gone: tuple[set[int], set[int]] = (set(), set())
        self.todo: list[_Level] = []
        # Rows that are the same ones, but for what is inside them, and for their labels.
        self.same: tuple[array[int], array[int]] = (array("I"), array("I"))
        self.left: list[_Left] = []
        self.paired: dict[object, tuple[Siblings | None, tuple[Sequence[int], Sequence[int]]]] = {}

    def add_level(self, base: Sequence[int], head: Sequence[int], *, ordered: bool) -> None:
        """Let siblings be compared; one of each side that has one name is the same one."""
        if len(base) == len(head) == 1 and self.runs[0].names[base[0]] == self.runs[1].names[head[0]]:
            if self.runs[0].trees.full[base[0]] != self.runs[1].trees.full[head[0]]:
                self._add_same([(base[0], head[0])])
        else:
            self.todo.append(_Level(base, head, ordered))

    def run(self) -> None:
        """Compare all levels, then what they have left over."""
        self.todo.reverse()
        while self.todo or self.same[0]:
            self._walk()
            while self.todo:
                level = self.todo.pop()
                siblings = self._pair(level)
                if siblings:
                    self._take(level, siblings)
        moved = self._find_moved()
        self._count_left(0, moved[0])
        self._count_left(1, moved[1])

    def _add_same(self, pairs: Iterable[tuple[int, int]]) -> None:
        for pair in pairs:
            self.same[0].append(pair[0])
            self.same[1].append(pair[1])

    def _walk(self) -> None:
        """Go down where both sides are alike, to the levels that must be compared."""
        base, head = self.runs
        ordered = base.words.rules.order == "keep"
        walked = kernels.walk_alike(base.forest, head.forest, self.same, ordered=ordered)
        self.same = array("I"), array("I")
        if self.labels:
            self._compare_labels(*walked.same)
        common = self._common(walked.apart, ordered=ordered)
        for one, other, (known, pattern) in zip(*walked.apart, common, strict=True):
            inside = base.children(one), head.children(other)
            cut = base.is_cut(one), head.is_cut(other)
            like = pattern or (base.trees.full[one], head.trees.full[other])
            self.todo.append(_Level(*inside, ordered=ordered, cut=cut, like=like, common=known))

    def _common(self, rows: tuple["array[int]", "array[int]"], *, ordered: bool) -> Iterable[tuple[Common | None, int]]:
        """What the children of pairs of rows have in common, and their pattern; None for those that are many."""
        paired = kernels.pair_levels(self.runs[0].forest, self.runs[1].forest, rows, MAX_CELLS, ordered=ordered)
        pairs, found = ([*zip(*of_some, strict=True)] for of_some in (paired.pairs, paired.found))
        bounds = pairwise(paired.starts), pairwise(paired.found_starts)
        for order, pattern, (start, end), (found_start, found_end) in zip(
            paired.order, paired.pattern, *bounds, strict=True
        ):
            yield Common(order == 1, pairs[start:end], found[found_start:found_end]) if order else None, pattern

    def _pair(self, level: _Level) -> Siblings | None:
        """Pair the siblings of a level; those that are like others, such as layers, are paired alike."""
        rows, is_sorted = level[:2], level.common is not None and not level.ordered
        if is_sorted:  # as pair_levels has them
            full = [run.trees.full for run in self.runs]
            rows = sorted(rows[0], key=full[0].__getitem__), sorted(rows[1], key=full[1].__getitem__)
        if level.like in self.paired and (level.ordered or is_sorted):
            siblings, others = self.paired[level.like]
            return siblings and siblings.of_rows(
                dict(zip(others[0], rows[0], strict=True)), dict(zip(others[1], rows[1], strict=True))
            )
        if level.common is None:
            siblings = pair_siblings(*self.runs, rows, ordered=level.ordered)
        else:
            siblings = pair_rest(*self.runs, rows, level.common, ordered=level.ordered)
        if level.like is not None:
            self.paired[level.like] = siblings, rows
        return siblings

    def _take(self, level: _Level, siblings: Siblings) -> None:
        base, head = self.runs
        ordered = base.words.rules.order == "keep"
        if siblings.renamed:
            self._renamed(siblings.renamed)
        if siblings.reordered:
            self._reordered(level, siblings.reordered)
        # A leaf is renamed only if its labels are the same.
        inner = base.trees.inner
        self._add_same(siblings.same + [pair for pair in siblings.renamed if inner[pair[0]]])
        for row, inside_of in siblings.wrapped:
            self.changes.add("wrapped", head.names[row], (NOWHERE, row), (0, 1))
            self.add_level(inside_of, head.children(row), ordered=ordered)
        for row, inside_of in siblings.unwrapped:
            self.changes.add("unwrapped", base.names[row], (row, NOWHERE), (1, 0))
            self.add_level(base.children(row), inside_of, ordered=ordered)
        self._leave(level, siblings)

    def _leave(self, level: _Level, siblings: Siblings) -> None:
        """Keep what one side has alone until all levels are known; not what a cut explains."""
        left = siblings.removed, siblings.added
        if not left[0] and not left[1]:
            return
        stay: list[Sequence[int]] = []
        for side, rows in enumerate(left):
            beyond = _at_the_ends(level[:2][side], {*rows}) if level.cut[side ^ 1] and not level.cut[side] else set()
            self.gone[side].update(beyond)
            stay.append([row for row in rows if row not in beyond] if beyond else rows)
        self.left.append(_Left((stay[0], stay[1]), level[:2], siblings.apart))

    def _renamed(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Add a change for each pair; both are slices, or both are instants."""
        rows = [one for one, _ in pairs], [other for _, other in pairs]
        old, new = ([*map(run.names.__getitem__, of_side)] for run, of_side in zip(self.runs, rows, strict=True))
        self.changes.add_all(["renamed"] * len(pairs), old, rows, [name >> 1 for name in new])

    def _reordered(self, level: _Level, pairs: Sequence[tuple[int, int]]) -> None:
        """One change for all siblings that are out of order, under the name of the first by the alphabet."""
        texts = self.runs[0].words.texts
        moved = [one for one, _ in pairs], [other for _, other in pairs]
        spread: list[int] = []
        for rows, out in zip(level[:2], moved, strict=True):  # which rise
            spread += bisect_left(rows, min(out)), bisect_left(rows, max(out))
        first, end = min(spread), max(spread) + 1
        names = [run.names for run in self.runs]
        shown = [
            (*[of_run[row] >> 1 for row in rows[first : min(end, first + MAX_SHOWN)]],)
            + (() if min(end, len(rows)) - first <= MAX_SHOWN else (AND_MORE,))
            for of_run, rows in zip(names, level[:2], strict=True)
        ]
        name = min([names[0][one] >> 1 for one in moved[0]], key=texts.__getitem__)
        name = name << 1 | names[1][moved[1][0]] & 1
        more = moved[0][1:], moved[1][1:]
        self.changes.add("reordered", name, pairs[0], None, (shown[0], shown[1]), more=more)

    def _compare_labels(self, ones: Sequence[int], others: Sequence[int]) -> None:
        """Compare rows of base and of head, pair by pair, that are one in all but what is inside them."""
        base, head = self.runs
        cats = [
            map(run.labels.cats.__getitem__, map(run.trace.columns.cat.__getitem__, rows))
            for run, rows in ((base, ones), (head, others))
        ]
        args = base.args_hashes(ones), head.args_hashes(others)
        pairs = zip(ones, others, strict=True)
        for pair in compress(pairs, map(ne, *cats)):
            of_both = base.cat_of(pair[0]), head.cat_of(pair[1])
            self.changes.add("category", base.names[pair[0]], pair, of_both, of_both)
        pairs = zip(ones, others, strict=True)
        apart = [*compress(pairs, map(ne, *args))]
        names = [base.names[one] for one, _ in apart]
        keys = [keys_apart(base, head, pair) for pair in apart]
        rows = [one for one, _ in apart], [other for _, other in apart]
        self.changes.add_all(["args"] * len(apart), names, rows, keys)

    def _find_moved(self) -> tuple[set[int], set[int]]:
        """Pair what only one side has with the same elsewhere in the same step on the other side: the rows of both."""
        base, head = self.runs
        moved: tuple[set[int], set[int]] = (set(), set())
        rows = [[row for left in self.left for row in left.rows[side]] for side in (0, 1)]
        if {*map(base.names.__getitem__, rows[0])}.isdisjoint(map(head.names.__getitem__, rows[1])):
            return moved
        full = base.trees.full, head.trees.full
        common = {*map(full[0].__getitem__, rows[0])} & {*map(full[1].__getitem__, rows[1])}
        waiting: dict[tuple[int, int, int], list[int]] = {}
        for row in sorted((row for row in rows[1] if full[1][row] in common), reverse=True):
            waiting.setdefault((full[1][row], head.names[row], head.step_of(row)), []).append(row)
        for row in sorted(row for row in rows[0] if full[0][row] in common):
            step = base.step_of(row)
            same = waiting.get((full[0][row], base.names[row], self.steps.get(step, step)))
            if not same:
                continue
            other = same.pop()
            paths = self._shown_path(base, row), self._shown_path(head, other)
            self.changes.add("moved", base.names[row], (row, other), paths, paths)
            moved[0].add(row)
            moved[1].add(other)
        self.gone[0].update(moved[0])
        self.gone[1].update(moved[1])
        return moved

    @staticmethod
    def _shown_path(run: Run, row: int) -> tuple[str, ...]:
        return (run.group_of(row).thread, *(run.words.texts[name] for name in run.path_of(row)[:-1]))

    def _count_left(self, side: int, moved: set[int]) -> None:
        """One change for each name that one side has more of among the children of one parent."""
        start = len(self.changes)
        for left in self.left:
            rows = [row for row in left.rows[side] if row not in moved] if moved else left.rows[side]
            if rows:
                self.gone[side].update(rows)
                self._count_names(side, rows, left)
        self.changes.sort(start, side)

    def _count_names(self, side: int, rows: Sequence[int], left: _Left) -> None:
        """Add a change for each name of some rows that are left among their siblings."""
        of_rows = [*map(self.runs[side].names.__getitem__, rows)]
        come_or_gone = (("removed", "missing"), ("added", "new"))[side]
        if left.apart and len({*of_rows}) == len(rows) == len(left.siblings[side]):
            kinds = [come_or_gone[name & 1] for name in of_rows]
            nowhere = [NOWHERE] * len(rows)
            self.changes.add_all(kinds, of_rows, (nowhere, rows) if side else (rows, nowhere), [None] * len(rows))
            return
        first: dict[int, list[int]] = {}
        for name, row in sorted(zip(of_rows, rows, strict=True)):
            first.setdefault(name, []).append(row)
        both = [
            Counter(map(run.names.__getitem__, siblings))
            for run, siblings in zip(self.runs, left.siblings, strict=True)
        ]
        counts, others = both[side], both[side ^ 1]
        for name, (row, *more) in first.items():
            count, other = counts[name], others[name]
            kind = ("fewer", "more")[side] if other else come_or_gone[name & 1]
            if side:
                self.changes.add(kind, name, (NOWHERE, row), (other, count), more=([], more) if more else NO_MORE)
            else:
                self.changes.add(kind, name, (row, NOWHERE), (count, other), more=(more, []) if more else NO_MORE)


def _at_the_ends(siblings: Sequence[int], left: set[int]) -> set[int]:
    """Which of those that one side has alone stand before or behind all others.

    Where the other side is cut, they may have come beyond the window's edge.
    """
    return {*takewhile(left.__contains__, siblings), *takewhile(left.__contains__, reversed(siblings))}
