"""Forests: whether pairs of rows are rows of them, and the children of such a pair."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array

    from stepscope.core.trees import Forest

__all__ = ["check_pairs", "levels_of"]


def check_pairs(kernel: str, forests: "tuple[Forest, Forest]", pairs: tuple["array[int]", "array[int]"]) -> None:
    """Refuse pairs of what are no rows.

    Raises:
        ValueError: one of them is none; it names the kernel that was called.
    """
    many = len(forests[0].full), len(forests[1].full)
    for at, (one, other) in enumerate(zip(*pairs, strict=True)):
        if one >= many[0] or other >= many[1]:
            message = f"{kernel}: pair {at} is ({one}, {other}): there are {many[0]} and {many[1]} rows"
            raise ValueError(message)


def levels_of(
    kernel: str, forests: "tuple[Forest, Forest]", pair: tuple[int, int]
) -> tuple["array[int]", "array[int]"]:
    """The children of a row of each forest.

    Raises:
        ValueError: a child does not stand behind its parent.
    """
    levels = []
    for forest, row in zip(forests, pair, strict=True):
        start, end = forest.starts[row : row + 2]
        children = forest.children[start:end]
        if start > end or end > len(forest.children) or any(not row < one < len(forest.full) for one in children):
            message = f"{kernel}: children of row {pair[0]} of base, or of row {pair[1]} of head, are no rows behind it"
            raise ValueError(message)
        levels.append(children)
    return levels[0], levels[1]
