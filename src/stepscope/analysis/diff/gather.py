"""Gathering: the same change in many places of one kind, and in many steps, is one finding with a count.

A program that does something else at each slice has a finding for each, of which a reader sees a thousand at most. They
are kept as numbers here: which changes are one finding, in which place, of what name. The words of a finding are made
when somebody reads it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from stepscope.analysis.diff.change import NO_MORE, ROWS, Change, values_of
from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.places import Places
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.words import Words

__all__ = ["Gathered"]

# What changes must share to be one finding: kind, what, place in base, place in head, name, and the change's own key.
_Key = tuple[str, str, int, int, int, Any]
# Where kind, what, name and key are in a Change.
_KIND, _WHAT, _NAME, _OWN = (itemgetter(part) for part in (0, 1, 2, 8))


class _Part(NamedTuple):
    """The changes of one finding between two runs, of base and of head."""

    runs: tuple[Run, Run]
    changes: list[Change]


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
        keys: list[_Key] = []
        for base, head, changes in found:
            self._starts.append(len(keys))
            around = (places.around_all(run, [*map(of, changes)]) for run, of in zip((base, head), ROWS, strict=True))
            kinds, whats, names, own = (map(part, changes) for part in (_KIND, _WHAT, _NAME, _OWN))
            keys += zip(kinds, whats, *around, names, own, strict=True)
        # The number of the first change of each key, and those of all where there are more.
        self.keys: Sequence[_Key] = keys
        self._first: Sequence[int] = range(len(keys))
        self._more: dict[int, list[int]] = {}
        if len({*keys}) < len(keys):
            first: dict[_Key, int] = {}
            for number, key in enumerate(keys):
                known = first.setdefault(key, number)
                if known != number:
                    self._more.setdefault(known, [known]).append(number)
            self.keys, self._first = list(first), list(first.values())

    def __len__(self) -> int:
        return len(self.keys)

    def finding(self, number: int) -> Finding:
        """One of them, in words."""
        kind, what, place, head_place, name, _ = self.keys[number]
        numbers = self._more.get(self._first[number]) or (self._first[number],)
        parts = self._parts(numbers)
        base_where = self._where(place, self._steps(parts, 0)) if place >= 0 else None
        head_where = self._where(head_place, self._steps(parts, 1)) if head_place >= 0 else None
        where = head_where or base_where or Where()
        # What is shown is the first one, whichever side is base.
        shown = min(parts[0].changes, key=_rank) if len(numbers) > 1 else parts[0].changes[0]
        base, head = values_of(shown, *parts[0].runs)
        unit, note, visits = shown.unit, "", 1
        if len(numbers) > 1:
            visits = self._visits(parts, 1 if head_place >= 0 else 0)
            varies = any(values_of(one, *part.runs) != (base, head) for part in parts for one in part.changes)
            if varies and unit == "args":
                note = "the first of several"
            elif varies and unit == "calls":
                changes = [one for part in parts for one in part.changes]
                base, head = sum(one.base for one in changes), sum(one.head for one in changes)
                note = f"{base} and {head} calls in all {len(numbers)} places"
        return Finding(
            kind,
            what,
            where,
            self.words.texts[name],
            base,
            head,
            len(numbers),
            unit,
            base_where if base_where is not where and base_where != where else None,
            note=note,
            per_step=len(numbers) // visits if len(numbers) % visits == 0 else 0,
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

    def _parts(self, numbers: Sequence[int]) -> list[_Part]:
        """Changes by their numbers, which rise, for each pair of runs."""
        parts: list[_Part] = []
        end = -1
        for number in numbers:
            if number >= end:
                pair = bisect_right(self._starts, number)
                base, head, changes = self._found[pair - 1]
                start, end = self._starts[pair - 1], self._starts[pair - 1] + len(changes)
                parts.append(_Part((base, head), []))
            parts[-1].changes.append(changes[number - start])
        return parts

    def _steps(self, parts: Sequence[_Part], side: int) -> tuple[int, ...]:
        """The steps of base or of head that changes are in, in order."""
        (runs, changes), *others = parts
        if not others and len(changes) == 1 and changes[0].more is NO_MORE:
            row = ROWS[side](changes[0])
            step = self._places.around(runs[side], row)[1] if row >= 0 else OUTSIDE
            return () if step == OUTSIDE else (step,)
        steps: set[int] = set()
        for runs, changes in parts:
            rows = [row for row in map(ROWS[side], changes) if row >= 0]
            rows += [row for change in changes if change.more is not NO_MORE for row in change.more[side]]
            steps.update(self._places.steps_of(runs[side], rows))
        steps.discard(OUTSIDE)
        return tuple(sorted(steps))

    def _visits(self, parts: Sequence[_Part], side: int) -> int:
        """In how many steps of all runs changes are."""
        steps = (self._places.steps_of(runs[side], [*map(ROWS[side], changes)]) for runs, changes in parts)
        return sum(len({*of_part}) for of_part in steps)

    def _where(self, place: int, steps: tuple[int, ...]) -> Where:
        """A place in words; what changes together is in one place of the same steps."""
        key = place, steps
        known = self._wheres.get(key)
        if known is None:
            known = self._wheres[key] = Where(*self.place(place), steps)
        return known


def _rank(change: Change) -> tuple[int, int]:
    """Where a change stands among those of one finding between two runs: by its rows, whichever side they are on."""
    row, head_row = change.row, change.head_row
    return (row, head_row) if row < head_row else (head_row, row)
