"""The changes between two runs, each in one place of one step; and how arguments differ."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stepscope.analysis.diff.run import Run
from stepscope.analysis.diff.words import canonical

__all__ = ["AND_MORE", "NO_MORE", "Change", "Changes", "keys_apart", "values_of"]

# What differs if and only if it is told apart in text; 0.0 and -0.0 do not.
_EXACT = frozenset({int, str, bool})
_NO_ARGS: Mapping[str, Any] = {}
NO_MORE: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
# Behind the numbers of names that an order of siblings shows, if it has more of them.
AND_MORE = -1
# What base and head of a kind are told in; of others, in calls.
_UNITS = {"renamed": "name", "moved": "path", "reordered": "order", "args": "args", "category": "category"}
# What a change has besides its columns: values, and more.
_Besides = tuple[tuple[Any, Any] | None, tuple[Sequence[int], Sequence[int]]]
_NOTHING: _Besides = None, NO_MORE


class Change(NamedTuple):
    """One change in one place of one step.

    Attributes:
        kind, what, name: as a Finding has them.
        values: what it is in base and in head; None if values_of makes them.
        rows: the first of base and of head; NOWHERE where it is not.
        key: what changes must share to be one finding, besides kind, place and name.
        more: the other rows of base and of head, if it is of several.
    """

    kind: str
    what: str
    name: int
    values: tuple[Any, Any] | None
    rows: tuple[int, int]
    key: Any
    more: tuple[Sequence[int], Sequence[int]]

    @property
    def unit(self) -> str:
        """What base and head are told in."""
        return _UNITS.get(self.kind, "calls")


class Changes:
    """The changes between two runs, in columns: where every slice is one, hardly any of them is asked for.

    Attributes:
        kinds: of each.
        names: numbers of names, doubled, plus 1 for an instant.
        rows: of base and of head: the first of each; NOWHERE where it is not.
        keys: what each must share with others to be one finding with them, besides kind, place and name.
    """

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.names: list[int] = []
        self.rows: tuple[list[int], list[int]] = ([], [])
        self.keys: list[Any] = []
        self._besides: dict[int, _Besides] = {}

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, at: int) -> Change:
        name, rows = self.names[at], (self.rows[0][at], self.rows[1][at])
        values, more = self._besides.get(at, _NOTHING)
        what = "instant" if name & 1 else "slice"
        return Change(self.kinds[at], what, name >> 1, values, rows, self.keys[at], more)

    def add(
        self,
        kind: str,
        name: int,
        rows: tuple[int, int],
        values: tuple[Any, Any] | None = None,
        key: Any = None,
        *,
        more: tuple[Sequence[int], Sequence[int]] = NO_MORE,
    ) -> None:
        """Add one; its name as `names` has it, the rest as a Change has it."""
        if values or more is not NO_MORE:
            self._besides[len(self.kinds)] = values, more
        self.add_all((kind,), (name,), ((rows[0],), (rows[1],)), (key,))

    def add_all(
        self,
        kinds: Sequence[str],
        names: Sequence[int],
        rows: tuple[Sequence[int], Sequence[int]],
        keys: Sequence[Any],
    ) -> None:
        """Add several, each of one row on each side at most, whose values values_of makes."""
        self.kinds += kinds
        self.names += names
        self.keys += keys
        for side in (0, 1):
            self.rows[side].extend(rows[side])

    def sort(self, start: int, side: int) -> None:
        """Put those from a number on in order of their rows of one side."""
        rows = self.rows[side]
        if rows[start:] == sorted(rows[start:]):
            return
        order = sorted(range(start, len(rows)), key=rows.__getitem__)
        for column in (self.kinds, self.names, self.keys, *self.rows):
            column[start:] = [*map(column.__getitem__, order)]
        if self._besides:
            moved = {at: self._besides.pop(was) for at, was in enumerate(order, start) if was in self._besides}
            self._besides.update(moved)


def values_of(change: Change, base: Run, head: Run) -> tuple[Any, Any]:
    """What a change is in base and in head."""
    if change.values:
        return change.values
    if change.kind == "args":
        return _args_apart(base, head, change.rows)
    if change.kind == "renamed":
        return base.words.texts[change.name], head.words.texts[change.key]
    if change.kind == "reordered":
        texts = base.words.texts
        shown = [tuple("..." if name == AND_MORE else texts[name] for name in names) for names in change.key]
        return shown[0], shown[1]
    return int(change.rows[0] >= 0), int(change.rows[1] >= 0)


def keys_apart(base: Run, head: Run, rows: tuple[int, int]) -> tuple[str, ...]:
    """What must be the same for other arguments to be one finding: which they are."""
    left, right = base.trace.args.get(rows[0], _NO_ARGS), head.trace.args.get(rows[1], _NO_ARGS)
    if len(left) == len(right) == 1 and left.keys() == right.keys():
        return (*left,)
    apart = _args_apart(base, head, rows)
    return (*apart[0],) if len(apart[0]) == len(apart[1]) else (*sorted({*apart[0], *apart[1]}),)


def _args_apart(base: Run, head: Run, rows: tuple[int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those arguments of two rows that are compared and differ."""
    words, all_args = base.words, (base.trace.args, head.trace.args)
    left, right = (args.get(row, _NO_ARGS) for args, row in zip(all_args, rows, strict=True))
    apart: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for key in sorted({*left, *right}):
        if not words.is_compared[key]:
            continue
        if key in left and key in right:
            one, other = left[key], right[key]
            if type(one) is type(other) and type(one) in _EXACT and one == other:
                continue
            one, other = words.normal_value(one), words.normal_value(other)
            if canonical(one) == canonical(other):
                continue
            apart[0][key], apart[1][key] = one, other
        else:
            side = 0 if key in left else 1
            apart[side][key] = words.normal_value((left, right)[side][key])
    return apart
