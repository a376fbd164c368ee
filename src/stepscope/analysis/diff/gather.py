"""Gathering: the same change in many places of one kind, and in many steps, is one finding with a count."""

from collections.abc import Sequence
from typing import Any

from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.places import Places
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.structure import Change

__all__ = ["gather"]


class _Gathered:
    """Changes that are one finding.

    Attributes:
        change: the first of them, which is the same from both sides.
        at: its places in base and in head, or -1.
        count: how many there are.
        steps: of base and of head.
        visits: the steps of the runs that have it.
        base, head: the sums of their values, if those are calls.
        varies: whether their values differ.
    """

    __slots__ = ("at", "base", "change", "count", "head", "rank", "steps", "varies", "visits")

    def __init__(self, change: Change, rank: tuple[Any, ...], at: Sequence[int]) -> None:
        self.change = change
        self.rank = rank
        self.at = at
        self.count = self.base = self.head = 0
        self.steps: tuple[set[int], set[int]] = (set(), set())
        self.visits: set[tuple[int, int]] = set()
        self.varies = False

    def add(self, change: Change, rank: tuple[Any, ...]) -> None:
        self.count += 1
        self.varies = self.varies or change.base != self.change.base or change.head != self.change.head
        if rank < self.rank:
            self.change, self.rank = change, rank
        if change.unit == "calls":
            self.base += change.base
            self.head += change.head


def gather(found: Sequence[tuple[Run, Run, Sequence[Change]]], places: Places) -> list[Finding]:
    """Make findings of the changes of all runs."""
    gathered: dict[tuple[Any, ...], _Gathered] = {}
    for number, (base, head, changes) in enumerate(found):
        for change in changes:
            around = [
                [places.around(run, row) for row in rows] for run, rows in zip((base, head), change.rows, strict=True)
            ]
            at = [side[0][0] if side else -1 for side in around]
            key = (change.kind, change.what, *at, change.name, change.key)
            one, rank = gathered.get(key), _rank(number, change)
            if one is None:
                one = gathered[key] = _Gathered(change, rank, at)
            one.add(change, rank)
            for side in (0, 1):
                one.steps[side].update([step for _, step in around[side]])
            one.visits.add((number, (around[1] or around[0])[0][1]))
    texts = next((base.words.texts for base, _, _ in found), [])
    told = _Wheres(places, texts)
    return [_finding(one, told, texts) for one in gathered.values()]


def _rank(number: int, change: Change) -> tuple[Any, ...]:
    """Where a change stands among those of one finding: by its rows, whichever side they are on."""
    return number, *sorted(rows[0] if rows else -1 for rows in change.rows)


class _Wheres:
    """Places in words; what changes together is in one place of the same steps."""

    def __init__(self, places: Places, texts: Sequence[str]) -> None:
        self._places = places
        self._texts = texts
        self._known: dict[tuple[int, tuple[int, ...]], Where] = {}

    def where(self, place: int, steps: set[int]) -> Where | None:
        """The place in words, or None for -1."""
        if place < 0:
            return None
        key = place, tuple(sorted(steps - {OUTSIDE}))
        known = self._known.get(key)
        if known is None:
            group = self._places.group_of(place)
            path = tuple(self._texts[name] for name in self._places.path_of(place))
            known = self._known[key] = Where(group.process, group.thread, path, key[1])
        return known


def _finding(one: _Gathered, told: _Wheres, texts: Sequence[str]) -> Finding:
    base_where, head_where = (told.where(place, steps) for place, steps in zip(one.at, one.steps, strict=True))
    where = head_where or base_where or Where()
    change = one.change
    base, head, note = change.base, change.head, ""
    if change.unit == "calls" and one.varies:
        base, head = one.base, one.head
        note = f"{base} and {head} calls in all {one.count} places"
    elif change.unit == "args" and one.varies:
        note = "the first of several"
    return Finding(
        change.kind,
        change.what,
        where,
        texts[change.name],
        base,
        head,
        one.count,
        change.unit,
        base_where if base_where and base_where != where else None,
        note=note,
        per_step=one.count // len(one.visits) if one.count % len(one.visits) == 0 else 0,
    )
