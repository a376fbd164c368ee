"""Loose comparison: threads that run free of the steps, by what kinds of calls they make and what each call does.

How many calls fell into the window is chance, and so is what is left of a call at its edge. What is compared is told
from whole calls alone, and only where there are enough of them: a kind of call is new or gone if one side makes
MIN_SEEN of them and the other none; a call does something else if at least MIN_WHOLE whole ones of each side agree.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median_low
from typing import Any, NamedTuple

from stepscope.analysis.diff.change import NO_MORE, Changes
from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.rules import MIN_SEEN, MIN_WHOLE
from stepscope.analysis.diff.run import NOWHERE, OUTSIDE, Run
from stepscope.analysis.diff.structure import compare_call
from stepscope.analysis.diff.values import loose_flows
from stepscope.analysis.diff.words import canonical
from stepscope.model.trace import CUT

__all__ = ["Loose", "compare_loose_flows", "compare_loosely", "fixed_args"]

_Sides = tuple[Sequence[Run], Sequence[Run]]
_Found = list[tuple[Run, Run, Changes]]


class Loose(NamedTuple):
    """A thread that runs free of the steps, as far as it could be compared.

    Attributes:
        process, thread: what it is called.
        base_calls, head_calls: how many calls it began.
        too_few: names of what differs where there are too few whole calls to tell whether that is chance.
    """

    process: str
    thread: str
    base_calls: int
    head_calls: int
    too_few: tuple[str, ...] = ()


class _Call(NamedTuple):
    """A call of one run."""

    run: Run
    row: int

    @property
    def name(self) -> int:
        return self.run.names[self.row]

    @property
    def is_whole(self) -> bool:
        return not self.run.trace.columns.kind[self.row] & CUT

    def inside(self) -> "list[_Call]":
        return [_Call(self.run, row) for row in self.run.children(self.row)]


# Calls of one name below one path: of base and of head.
_Kind = tuple[Sequence[_Call], Sequence[_Call]]


def compare_loosely(sides: _Sides, group: Group) -> tuple[_Found, Loose]:
    """Compare one thread that runs free.

    Args:
        sides: all runs of base and of head.
        group: the thread; both sides have it, perhaps not in all runs.

    Returns:
        The changes, and what was compared.
    """
    calls = [[_Call(run, row) for run in side for row in _roots(run, group)] for side in sides]
    comparison = _Loosely()
    comparison.compare((calls[0], calls[1]))
    loose = Loose(group.process, group.thread, len(calls[0]), len(calls[1]), tuple(sorted(comparison.few)))
    return comparison.found, loose


def compare_loose_flows(process: str, sides: _Sides, loose: frozenset[Group]) -> Iterator[Finding]:
    """Flows from or to threads that run free: whether there are any, not how many."""
    counts = [sum((loose_flows(process, run, loose) for run in side), Counter[str]()) for side in sides]
    for name in sorted({*counts[0], *counts[1]}):
        one, other = counts[0][name], counts[1][name]
        if min(one, other) == 0 and max(one, other) >= MIN_SEEN:
            yield Finding("missing" if one else "new", "flow", Where(process), name, one, other, unit="calls")


def _roots(run: Run, group: Group) -> Sequence[int]:
    return run.roots.get(group, {}).get(OUTSIDE, ())


def _text(call: _Call) -> str:
    return call.run.words.texts[call.name >> 1]


class _Loosely:
    """One thread while it is compared.

    Attributes:
        found: the changes, with the runs that they are between.
        few: names of what cannot be told.
    """

    def __init__(self) -> None:
        self.found: _Found = []
        self.few: set[str] = set()
        self._todo: list[_Kind] = []

    def compare(self, roots: _Kind) -> None:
        kinds = _by_name(roots)
        for one, other in kinds.values():
            if one and other:
                self._todo.append((one, other))
            elif len(one) + len(other) < MIN_SEEN:
                self.few.add(_text((*one, *other)[0]))
            else:
                self._come_or_gone((one, other), roots)
        while self._todo:
            self._compare_kind(self._todo.pop())

    def _compare_kind(self, kind: _Kind) -> None:
        """Compare the calls of one name below one path, and hand on those inside of them."""
        fulls = [{call.run.trees.full[call.row] for call in side} for side in kind]
        if fulls[0] == fulls[1]:
            return
        self._compare_labels(kind)
        whole = [call for call in kind[0] if call.is_whole], [call for call in kind[1] if call.is_whole]
        shapes = [{call.run.trees.shape[call.row] for call in side} for side in whole]
        if min(map(len, whole)) < MIN_WHOLE:
            if not shapes[0] & shapes[1] and any(call.run.trees.inner[call.row] for side in kind for call in side):
                self.few.add(_text(kind[0][0]))
        elif len(shapes[0]) == len(shapes[1]) == 1:
            if shapes[0] != shapes[1]:
                one, other = whole[0][0], whole[1][0]
                self.found.append((one.run, other.run, compare_call(one.run, other.run, (one.row, other.row))))
        else:
            self._compare_counts(whole)
        inside = [[child for call in side for child in call.inside()] for side in kind]
        self._todo += [both for both in _by_name((inside[0], inside[1])).values() if all(both)]

    def _compare_counts(self, whole: _Kind) -> None:
        """Calls whose shape varies: how often each name is in one is a range, and ranges that are apart differ."""
        inside = [[call.inside() for call in side] for side in whole]
        counts = [[Counter(child.name for child in children) for children in side] for side in inside]
        for name in sorted({name for side in counts for count in side for name in count}):
            one, other = ([count[name] for count in side] for side in counts)
            if max(one) >= min(other) and max(other) >= min(one):
                continue
            side = 1 if min(other) > max(one) else 0
            rows = next([child for child in children if child.name == name] for children in inside[side] if children)
            one_sided = max(counts[side ^ 1][at][name] for at in range(len(counts[side ^ 1]))) == 0
            kind = _come_or_gone_kind(name, side) if one_sided else ("fewer", "more")[side]
            self._add((whole[0][0].run, whole[1][0].run), side, rows, (kind, median_low(one), median_low(other)))

    def _come_or_gone(self, kind: _Kind, roots: _Kind) -> None:
        """A kind of call that one side makes and the other does not."""
        side = 1 if kind[1] else 0
        rows = [kind[side][0]]
        change = _come_or_gone_kind(rows[0].name, side), len(kind[0]), len(kind[1])
        self._add((roots[0][0].run, roots[1][0].run), side, rows, change)

    def _add(self, runs: tuple[Run, Run], side: int, calls: Sequence[_Call], change: tuple[str, int, int]) -> None:
        """Add a change that is there on one side."""
        run, (kind, *counts), changes = calls[0].run, change, Changes()
        row, *others = (call.row for call in calls if call.run is run)
        rows, more = ((NOWHERE, row), ([], others)) if side else ((row, NOWHERE), (others, []))
        changes.add(kind, calls[0].name, rows, (counts[0], counts[1]), more=more if others else NO_MORE)
        self.found.append((runs[0], run, changes) if side else (run, runs[1], changes))

    def _compare_labels(self, kind: _Kind) -> None:
        """Categories and arguments that all calls of each side agree on."""
        if min(map(len, kind)) < MIN_WHOLE:
            return
        labels = [[(call.run.cat_of(call.row), call.run.args_of(call.row)) for call in side] for side in kind]
        one, other = kind[0][0], kind[1][0]
        changes, rows = Changes(), (one.row, other.row)
        cats = [{cat for cat, _ in side} for side in labels]
        if len(cats[0]) == len(cats[1]) == 1 and cats[0] != cats[1]:
            both = min(cats[0]), min(cats[1])
            changes.add("category", one.name, rows, both, both)
        fixed = [fixed_args([args for _, args in side]) for side in labels]
        never = [{key for _, args in side for key in args} for side in labels]
        keys = [
            key
            for key in sorted({**fixed[0], **fixed[1]})
            if (key in fixed[0] or key not in never[0])
            and (key in fixed[1] or key not in never[1])
            and (key not in fixed[0] or key not in fixed[1] or canonical(fixed[0][key]) != canonical(fixed[1][key]))
        ]
        if keys:
            left, right = ({key: args[key] for key in keys if key in args} for args in fixed)
            changes.add("args", one.name, rows, (left, right), tuple(keys))
        if changes:
            self.found.append((one.run, other.run, changes))


def _by_name(calls: _Kind) -> dict[int, tuple[list[_Call], list[_Call]]]:
    """The calls of both sides by their names."""
    found: defaultdict[int, tuple[list[_Call], list[_Call]]] = defaultdict(lambda: ([], []))
    for side in (0, 1):
        for call in calls[side]:
            found[call.name][side].append(call)
    return dict(sorted(found.items()))


def _come_or_gone_kind(name: int, side: int) -> str:
    return ("missing", "new")[side] if name & 1 else ("removed", "added")[side]


def fixed_args(all_args: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The arguments that are the same in all of several calls."""
    first = all_args[0]
    texts = {key: canonical(value) for key, value in first.items()}
    return {
        key: first[key]
        for key, text in texts.items()
        if all(key in args and canonical(args[key]) == text for args in all_args)
    }
