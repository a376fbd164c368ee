"""Gathering: the same change in many places of one kind, and in many steps, is one finding with a count."""

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.places import Places
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.structure import Change

__all__ = ["gather"]


class _Seen(NamedTuple):
    """A change, and where it is.

    Attributes:
        rank: where it stands among those of one finding: the number of its pair of runs, and its rows, whichever side
            they are on.
        base, head: the runs.
        change: what is different.
        step, head_step: the steps of its first rows; OUTSIDE where it has none.
    """

    rank: tuple[int, int, int]
    base: Run
    head: Run
    change: Change
    step: int
    head_step: int


# A row, its place and its step, on a side that has none.
_NOWHERE = (-1, -1, OUTSIDE)


def gather(found: Sequence[tuple[Run, Run, Sequence[Change]]], places: Places) -> list[Finding]:
    """Make findings of the changes of all runs."""
    gathered: defaultdict[tuple[Any, ...], list[_Seen]] = defaultdict(list)
    around = places.around
    for number, (base, head, changes) in enumerate(found):
        for change in changes:
            kind, what, name, _, _, _, (rows, head_rows), key = change
            row, place, step = (rows[0], *around(base, rows[0])) if rows else _NOWHERE
            head_row, head_place, head_step = (head_rows[0], *around(head, head_rows[0])) if head_rows else _NOWHERE
            rank = (number, row, head_row) if row < head_row else (number, head_row, row)
            seen = _Seen(rank, base, head, change, step, head_step)
            gathered[kind, what, place, head_place, name, key].append(seen)
    texts = next((base.words.texts for base, _, _ in found), [])
    told = _Wheres(places, texts)
    return [_finding(seen, key[2:4], told, texts) for key, seen in gathered.items()]


class _Wheres:
    """Places in words; what changes together is in one place of the same steps."""

    def __init__(self, places: Places, texts: Sequence[str]) -> None:
        self._places = places
        self._texts = texts
        self._known: dict[tuple[int, tuple[int, ...]], Where] = {}

    def steps(self, seen: Sequence[_Seen], side: int) -> tuple[int, ...]:
        """The steps of base or of head that changes are in, in order."""
        steps = {one.head_step for one in seen} if side else {one.step for one in seen}
        for one in seen:
            rows = one.change.rows[side]
            if len(rows) > 1:
                run = one.head if side else one.base
                steps.update([self._places.around(run, row)[1] for row in rows])
        steps.discard(OUTSIDE)
        return tuple(sorted(steps))

    def where(self, place: int, steps: tuple[int, ...]) -> Where:
        """The place in words."""
        key = place, steps
        known = self._known.get(key)
        if known is None:
            group = self._places.group_of(place)
            path = tuple(self._texts[name] for name in self._places.path_of(place))
            known = self._known[key] = Where(group.process, group.thread, path, steps)
        return known


_RANK = attrgetter("rank")


def _finding(seen: Sequence[_Seen], at: tuple[int, int], told: _Wheres, texts: Sequence[str]) -> Finding:
    base_where = told.where(at[0], told.steps(seen, 0)) if at[0] >= 0 else None
    head_where = told.where(at[1], told.steps(seen, 1)) if at[1] >= 0 else None
    where = head_where or base_where or Where()
    first = min(seen, key=_RANK) if len(seen) > 1 else seen[0]
    kind, what, name, base, head, unit, _, _ = first.change
    note, visits = "", 1
    if len(seen) > 1:
        visits = len({(one.rank[0], one.step if at[1] < 0 else one.head_step) for one in seen})
        varies = any(one.change.base != base or one.change.head != head for one in seen)
        if varies and unit == "args":
            note = "the first of several"
        elif varies and unit == "calls":
            base, head = sum(one.change.base for one in seen), sum(one.change.head for one in seen)
            note = f"{base} and {head} calls in all {len(seen)} places"
    return Finding(
        kind,
        what,
        where,
        texts[name],
        base,
        head,
        len(seen),
        unit,
        base_where if base_where is not where and base_where != where else None,
        note=note,
        per_step=len(seen) // visits if len(seen) % visits == 0 else 0,
    )
