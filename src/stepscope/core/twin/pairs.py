"""Pairs of numbers."""

from array import array

__all__ = ["number_pairs"]


def number_pairs(first: "array[int]", second: "array[int]", /) -> "array[int]":
    """The number of each pair, by first appearance.

    Args:
        first: array 'q'.
        second: array 'I', of the same length.

    Returns:
        An array 'I' of that length.
    """
    known: dict[tuple[int, int], int] = {}
    return array("I", [known.setdefault(pair, len(known)) for pair in zip(first, second, strict=True)])
