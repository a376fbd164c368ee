"""One change between two runs, in one place of one step; and how arguments differ."""

from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from stepscope.analysis.diff.run import Run
from stepscope.analysis.diff.words import canonical

__all__ = ["NO_MORE", "ROWS", "Change", "keys_apart", "made", "values_of"]

# What differs if and only if it is told apart in text; 0.0 and -0.0 do not.
_EXACT = frozenset({int, str, bool})
_NO_ARGS: Mapping[str, Any] = {}
NO_MORE: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


class Change(NamedTuple):
    """One change in one place of one step.

    Attributes:
        kind, what, name, base, head, unit: as a Finding has them; but of arguments base and head are None, until
            values_of makes them.
        row, head_row: the first row of base and of head; NOWHERE where it is not.
        key: what changes must share to be one finding, besides kind, place and name.
        more: the other rows of base and of head, if it is of several.
    """

    kind: str
    what: str
    name: int
    base: Any
    head: Any
    unit: str
    row: int
    head_row: int
    key: Any = None
    more: tuple[tuple[int, ...], tuple[int, ...]] = NO_MORE


# The rows of base and of head.
ROWS = itemgetter(6), itemgetter(7)
# A Change, in a third of the time that its own call takes.
made = partial(tuple.__new__, Change)


def values_of(change: Change, base: Run, head: Run) -> tuple[Any, Any]:
    """What a change is in base and in head; arguments are found out only now."""
    if change.unit == "args" and change.base is None:
        return _args_apart(base, head, (change.row, change.head_row))
    return change.base, change.head


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
