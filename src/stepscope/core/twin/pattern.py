"""Patterns: what is equal to what in a level, and in which order; not what it is."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepscope.core.twin.forest import levels_of
from stepscope.core.twin.trees import MASK, mix

if TYPE_CHECKING:
    from array import array

    from stepscope.core.trees import Forest

__all__ = ["pattern_of"]

# With more members than this, or with more children, a level has no pattern.
MOST_MEMBERS = 48
MOST_INSIDE = 256
# The places of columns of a forest.
_SHAPE, _INNER, _NAME = 1, 2, 5


def pattern_of(
    kernel: str,
    forests: "tuple[Forest, Forest]",
    pair: tuple[int, int],
    members: tuple["array[int]", "array[int]"],
    around: Sequence[int],
) -> int:
    """A hash, never 0, of what is equal to what among some members, and in which order.

    Args:
        kernel: the one that was called.
        forests: trees of both sides.
        pair: the rows that the members are in.
        members: rows of base and of head.
        around: numbers that go into it too.

    Returns:
        0 if they are too many.

    Raises:
        ValueError: a child of a member does not stand behind it.
    """
    if sum(map(len, members)) > MOST_MEMBERS:
        return 0
    told = [*around, *map(len, members)]
    keys: list[list[int]] = [
        [column[row] for forest, rows in zip(forests, members, strict=True) for column in (forest[at],) for row in rows]
        for at in range(6)
    ]
    firsts = [_firsts(column) for column in keys]
    for member, inner in enumerate(keys[_INNER]):
        told += [first[column[member]] for first, column in zip(firsts, keys, strict=True)]
        told.append(int(inner != 0))
    inside = 0
    for side, forest in enumerate(forests):
        for row in members[side]:
            if forest.inner[row]:
                children = levels_of(kernel, forests, (row, pair[1]) if side == 0 else (pair[0], row))[side]
                inside += len(children)
                told.append(len(children))
                for child in children:
                    told.append(firsts[_SHAPE].get(forest.shape[child], len(keys[0])))
                    told.append(firsts[_NAME].get(forest.name[child], len(keys[0])))
    return _hash(told) | 1 if inside <= MOST_INSIDE else 0


def _firsts(column: Sequence[int]) -> dict[int, int]:
    """Where each value is first."""
    found: dict[int, int] = {}
    for at, value in enumerate(column):
        found.setdefault(value, at)
    return found


def _hash(told: Iterable[int]) -> int:
    bits = 0
    for value in told:
        bits = mix(5 * bits + value + 1 & MASK)
    return bits
