"""Gathering: the same change in many places of one kind, and in many steps, is one finding with a count.

A program that does something else at each slice has a finding for each, of which a reader sees a thousand at most. They
are kept as numbers here: which changes are one finding, in which place, of what name. The words of a finding are made
when somebody reads it.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from stepscope.analysis.diff.change import NO_MORE, Change, Changes, values_of
from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.places import Places
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.words import Words
from stepscope.core import kernels

__all__ = ["Gathered"]


class _Part(NamedTuple):
    """The changes of one finding between two runs, of base and of head."""

    runs: tuple[Run, Run]
    changes: list[Change]


class Gathered:
    """The changes of all runs, as findings; in order of the first change of each.

    Attributes:
        kinds: of each.
        names: number of the name of each, doubled, plus 1 for an instant.
        places: in base and in head, where each is; NOWHERE where it is not.
        keys: what else the changes of each share; of what is renamed, the number of its new name.
        kins: the same number for those that share kind and places, counted by first appearance.
        words: of all runs.
    """

    def __init__(self, found: Sequence[tuple[Run, Run, Changes]], places: Places, words: Words) -> None:
        self.words = words
        self._places = places
        self._found = found
        self._starts: list[int] = []
        self._told: dict[int, tuple[str, str, tuple[str, ...]]] = {}
        self._wheres: dict[tuple[int, tuple[int, ...]], Where] = {}
        self.kinds: list[str] = []
        self.names = array("I")
        self.places = array("q"), array("q")
        self.keys: list[Any] = []
        for *runs, changes in found:
            self._starts.append(len(self.kinds))
            self.kinds += changes.kinds
            self.names.extend(changes.names)
            self.keys += changes.keys
            for side, run in enumerate(runs):
                self.places[side].extend(places.around_all(run, changes.rows[side]))
        # The number of the first change of each, and those of all where there are more.
        self._first: Sequence[int] = range(len(self.kinds))
        self._more: dict[int, list[int]] = {}
        self.kins = self._number(self.kinds, array("I", bytes(4 * len(self.kinds))))
        for of_side in self.places:
            self.kins = kernels.number_pairs(of_side, self.kins)
        numbers = kernels.number_pairs(array("q", self.kins), self.names)
        if self.keys.count(None) < len(self.keys):
            numbers = self._number(self.keys, numbers)
        if numbers and numbers[-1] + 1 < len(numbers):
            self._gather(numbers)

    @staticmethod
    def _number(keys: Sequence[Any], numbers: "array[int]") -> "array[int]":
        """Numbers by first appearance for changes that have one of these keys and one number."""
        codes: defaultdict[Any, int] = defaultdict(count().__next__)
        return kernels.number_pairs(array("q", map(codes.__getitem__, keys)), numbers)

    def _gather(self, numbers: "array[int]") -> None:
        """Let one change of each finding stand for all of them."""
        first: list[int] = []
        for at, number in enumerate(numbers):
            if number == len(first):
                first.append(at)
            else:
                self._more.setdefault(first[number], [first[number]]).append(at)
        self._first = first
        self.kinds, self.keys = ([*map(column.__getitem__, first)] for column in (self.kinds, self.keys))
        self.names, self.kins = (array("I", map(column.__getitem__, first)) for column in (self.names, self.kins))
        base, head = (array("q", map(column.__getitem__, first)) for column in self.places)
        self.places = base, head

    def __len__(self) -> int:
        return len(self.kinds)

    def finding(self, number: int) -> Finding:
        """One of them, in words."""
        place, head_place = self.places_of(number)
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
            of_all = (values_of(one, *part.runs) for part in parts for one in part.changes)
            if unit == "calls":
                counts = [*of_all]
                if any(one != (base, head) for one in counts):
                    base, head = map(sum, zip(*counts, strict=True))
                    note = f"{base} and {head} calls in all {len(numbers)} places"
            elif unit == "args" and any(one != (base, head) for one in of_all):
                note = "the first of several"
        return Finding(
            shown.kind,
            shown.what,
            where,
            self.words.texts[shown.name],
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
        for around in self.places_of(number):
            if around >= 0:
                yield from self.place(around)[2]
        yield self.words.texts[self.names[number] >> 1]
        if self.kinds[number] == "renamed":
            yield self.words.texts[self.keys[number]]

    def name_in_head(self, number: int) -> str:
        """What a finding is about, as head has it."""
        return self.words.texts[self.keys[number] if self.kinds[number] == "renamed" else self.names[number] >> 1]

    def places_of(self, number: int) -> tuple[int, int]:
        """Where a finding is in base and in head."""
        return self.places[0][number], self.places[1][number]

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
            row = changes[0].rows[side]
            step = self._places.around(runs[side], row)[1] if row >= 0 else OUTSIDE
            return () if step == OUTSIDE else (step,)
        steps: set[int] = set()
        for runs, changes in parts:
            rows = [change.rows[side] for change in changes if change.rows[side] >= 0]
            rows += [row for change in changes if change.more is not NO_MORE for row in change.more[side]]
            steps.update(self._places.steps_of(runs[side], rows))
        steps.discard(OUTSIDE)
        return tuple(sorted(steps))

    def _visits(self, parts: Sequence[_Part], side: int) -> int:
        """In how many steps of all runs changes are."""
        steps = (self._places.steps_of(runs[side], [one.rows[side] for one in changes]) for runs, changes in parts)
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
    return min(change.rows), max(change.rows)
