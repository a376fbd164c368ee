"""Forests of bare numbers, as the kernels of comparison take them."""

from array import array
from collections.abc import Sequence

from hypothesis import strategies as st

from stepscope.core.trees import Forest, Trees

# (full, shape, name) of a row, and which row it is in: one before it, or none.
Row = tuple[int, int, int, int]
NONE = -1


def forest_of(rows: Sequence[Row]) -> Forest:
    inside: list[list[int]] = [[] for _ in rows]
    for at, row in enumerate(rows):
        if row[3] != NONE:
            inside[row[3]].append(at)
    starts, children = array("I", [0]), array("I")
    for of_row in inside:
        children.extend(of_row)
        starts.append(len(children))
    full, shape, name = ([row[column] for row in rows] for column in range(3))
    inner = [1 + sum(shape[one] for one in of_row) if of_row else 0 for of_row in inside]
    labels = [one % 3 for one in full]
    own = [5 * one + label for one, label in zip(name, labels, strict=True)]
    trees = Trees(*(array("Q", column) for column in (full, shape, inner, labels, own)))
    return Forest(*trees, array("I", name), starts, children)


def rows_of(*members: int, shape: Sequence[int] = (), name: Sequence[int] = ()) -> Forest:
    """A root, 0, with children of these trees."""
    some = zip(members, shape or [0] * len(members), name or [0] * len(members), strict=True)
    return forest_of([(99, 0, 0, NONE), *((*one, 0) for one in some)])


@st.composite
def forests(draw: st.DrawFn, most: int = 60) -> Forest:
    """Of few different trees, so that many are equal; with up to 40 children in one place."""
    many = draw(st.integers(1, most))
    numbers = st.integers(0, draw(st.sampled_from((1, 3, 100)))) | st.just(2**64 - 1)
    rows: list[Row] = [(0, 0, 0, NONE)]
    for at in range(1, many):
        above = draw(st.sampled_from((0, max(0, at - 2), at - 1)))
        rows.append((draw(numbers), draw(st.integers(0, 1)), draw(st.integers(0, 1)), above))
    return forest_of(rows)
