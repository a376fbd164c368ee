"""Gathering: the same change in many places of one kind, and in many steps, is one finding with a count.

A program that does something else at each slice has a finding for each, of which a reader sees a thousand at most. They
are kept as numbers here: which changes are one finding, in which place, of what name. The words of a finding are made
when somebody reads it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.places import NOWHERE, Places
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.structure import Change, values_of
from stepscope.analysis.diff.words import Words

__all__ = ["Gathered"]

# What changes must share to be one finding: kind, what, place in base, place in head, name, and the change's own key.
_Key = tuple[str, str, int, int, int, Any]
# Where kind, what, name and key are in a Change.
_PARTS = itemgetter(0, 1, 2, 7)


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


class Gathered:
    """The changes of all runs, as findings; in order of the first change of each.

    Attributes:
        keys: what the changes of each share.
        words: of all runs.
    """

    def __init__(self, found: Sequence[tuple[Run, Run, Sequence[Change]]], places: Places, words: Words) -> None:
        self.words = words
        self._places = places
        self._found = found
        self._starts: list[int] = []
        self._told: dict[int, tuple[str, str, tuple[str, ...]]] = {}
        self._wheres: dict[tuple[int, tuple[int, ...]], Where] = {}
        # The number of the first change of each key, and those of all where there are more.
        first: dict[_Key, int] = {}
        self._more: dict[int, list[int]] = {}
        number = 0
        for base, head, changes in found:
            self._starts.append(number)
            around = [
                places.around_all(run, [change[6][side][0] if change[6][side] else NOWHERE for change in changes])
                for side, run in enumerate((base, head))
            ]
            for (kind, what, name, key), place, head_place in zip(map(_PARTS, changes), *around, strict=True):
                known = first.setdefault((kind, what, place, head_place, name, key), number)
                if known != number:
                    self._more.setdefault(known, [known]).append(number)
                number += 1
        self.keys = list(first)
        self._first = list(first.values())

    def __len__(self) -> int:
        return len(self.keys)

    def finding(self, number: int) -> Finding:
        """One of them, in words."""
        kind, what, place, head_place, name, _ = self.keys[number]
        first = self._first[number]
        seen = [self._seen(change) for change in self._more.get(first, (first,))]
        base_where = self._where(place, self._steps(seen, 0)) if place >= 0 else None
        head_where = self._where(head_place, self._steps(seen, 1)) if head_place >= 0 else None
        where = head_where or base_where or Where()
        shown = min(seen, key=_RANK)
        base, head = values_of(shown.change, shown.base, shown.head)
        unit, note, visits = shown.change.unit, "", 1
        if len(seen) > 1:
            visits = len({(one.rank[0], one.step if head_place < 0 else one.head_step) for one in seen})
            varies = any(values_of(one.change, one.base, one.head) != (base, head) for one in seen)
            if varies and unit == "args":
                note = "the first of several"
            elif varies and unit == "calls":
                base, head = sum(one.change.base for one in seen), sum(one.change.head for one in seen)
                note = f"{base} and {head} calls in all {len(seen)} places"
        return Finding(
            kind,
            what,
            where,
            self.words.texts[name],
            base,
            head,
            len(seen),
            unit,
            base_where if base_where is not where and base_where != where else None,
            note=note,
            per_step=len(seen) // visits if len(seen) % visits == 0 else 0,
        )

    def names_of(self, number: int) -> Iterator[str]:
        """The names by which a finding is chosen."""
        kind, _, place, head_place, name, key = self.keys[number]
        for around in (place, head_place):
            if around >= 0:
                yield from self.place(around)[2]
        yield self.words.texts[name]
        if kind == "renamed":
            yield self.words.texts[key]

    def place(self, number: int) -> tuple[str, str, tuple[str, ...]]:
        """A place in words: process, thread and the names around."""
        known = self._told.get(number)
        if known is None:
            group = self._places.group_of(number)
            path = tuple(self.words.texts[name] for name in self._places.path_of(number))
            known = self._told[number] = group.process, group.thread, path
        return known

    def _seen(self, number: int) -> _Seen:
        """A change by its number."""
        pair = bisect_right(self._starts, number) - 1
        base, head, changes = self._found[pair]
        change = changes[number - self._starts[pair]]
        rows, head_rows = change.rows
        row, step = (rows[0], self._places.around(base, rows[0])[1]) if rows else (NOWHERE, OUTSIDE)
        head_row, head_step = (
            (head_rows[0], self._places.around(head, head_rows[0])[1]) if head_rows else (NOWHERE, OUTSIDE)
        )
        rank = (pair, row, head_row) if row < head_row else (pair, head_row, row)
        return _Seen(rank, base, head, change, step, head_step)

    def _steps(self, seen: Sequence[_Seen], side: int) -> tuple[int, ...]:
        """The steps of base or of head that changes are in, in order."""
        steps = {one.head_step for one in seen} if side else {one.step for one in seen}
        for one in seen:
            rows = one.change.rows[side]
            if len(rows) > 1:
                run = one.head if side else one.base
                steps.update([self._places.around(run, row)[1] for row in rows])
        steps.discard(OUTSIDE)
        return tuple(sorted(steps))

    def _where(self, place: int, steps: tuple[int, ...]) -> Where:
        """A place in words; what changes together is in one place of the same steps."""
        key = place, steps
        known = self._wheres.get(key)
        if known is None:
            known = self._wheres[key] = Where(*self.place(place), steps)
        return known


_RANK = itemgetter(0)
