"""Gathering: the same change in many places of one kind, and in many steps, is one finding with a count."""

from collections.abc import Sequence
from typing import Any

from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.structure import Change

__all__ = ["gather"]

Key = tuple[Any, ...]


class _Gathered:
    """Changes that are one finding."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.count = 0
        self.steps: tuple[set[int], set[int]] = (set(), set())
        self.values: list[tuple[Any, Any]] = []

    def add(self, change: Change, runs: tuple[Run, Run]) -> None:
        self.count += 1
        self.values.append((change.base, change.head))
        for side, run in enumerate(runs):
            self.steps[side].update(run.step_of(row) for row in change.rows[side])


def gather(found: Sequence[tuple[Run, Run, Sequence[Change]]]) -> list[Finding]:
    """Make findings of the changes of all runs."""
    gathered: dict[Key, _Gathered] = {}
    places: dict[Key, list[tuple[Group, tuple[str, ...]] | None]] = {}
    for base, head, changes in found:
        for change in changes:
            at = [_place(run, rows) for run, rows in zip((base, head), change.rows, strict=True)]
            key = (change.kind, change.what, *at, change.name, change.key)
            places[key] = at
            gathered.setdefault(key, _Gathered(change)).add(change, (base, head))
    texts = next((base.words.texts for base, _, _ in found), [])
    return [_finding(one, places[key], texts) for key, one in gathered.items()]


def _place(run: Run, rows: tuple[int, ...]) -> tuple[Group, tuple[str, ...]] | None:
    """The thread and the path around a change, on one side."""
    if not rows:
        return None
    return run.group_of(rows[0]), tuple(run.words.texts[name] for name in run.path_of(rows[0])[:-1])


def _finding(one: _Gathered, at: list[tuple[Group, tuple[str, ...]] | None], texts: Sequence[str]) -> Finding:
    wheres = [_where(place, steps) for place, steps in zip(at, one.steps, strict=True)]
    where = wheres[1] or wheres[0] or Where()
    change = one.change
    base, head, note = change.base, change.head, ""
    if change.unit == "calls" and len({*one.values}) > 1:
        base, head = (sum(value[side] for value in one.values) for side in (0, 1))
        note = f"{base} and {head} calls in all {one.count} places"
    elif change.unit == "args" and len({repr(value) for value in one.values}) > 1:
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
        wheres[0] if wheres[0] and wheres[0] != where else None,
        note=note,
    )


def _where(at: tuple[Group, tuple[str, ...]] | None, steps: set[int]) -> Where | None:
    if at is None:
        return None
    group, path = at
    return Where(group.process, group.thread, path, tuple(sorted(steps - {OUTSIDE})))
