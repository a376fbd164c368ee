"""Arrays of ids: which there are, and what they become."""

from array import array

__all__ = ["distinct_ids", "invert_order", "map_ids"]


def distinct_ids(ids: "array[int]", /) -> "array[int]":
    """Each id once, by first appearance."""
    return array("I", dict.fromkeys(ids))


def map_ids(ids: "array[int]", table: "array[int]") -> "array[int]":
    """What a table says of each id."""
    return array("I", map(table.__getitem__, ids))


def invert_order(order: "array[int]", /) -> "array[int]":
    """Where each row has gone, of the row that each place has."""
    places = array("I", bytes(4 * len(order)))
    for at, row in enumerate(order):
        places[row] = at
    return places
