"""What the kernels of comparison hand over: the hashes of call trees, and times by path and step."""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Mapping

__all__ = [
    "ArgsLabels",
    "CellTimes",
    "Forest",
    "Labels",
    "Looked",
    "Medians",
    "PairedLevels",
    "PathIds",
    "PathTimes",
    "Suspects",
    "Tiers",
    "Trees",
    "Walked",
]


class Labels(NamedTuple):
    """What tells a row from another in a tree's hash.

    Attributes:
        names, cats: array 'Q', a hash per string id.
        args: array 'Q', a hash per row, 0 for a row without arguments; shape (rows,).
    """

    names: "array[int]"
    cats: "array[int]"
    args: "array[int]"


class ArgsLabels(NamedTuple):
    """How arguments become a hash.

    Attributes:
        is_compared: a dict that knows of every key, asked for or not yet, whether it is compared.
        normal: a dict that has every text, seen or not yet, without what belongs to one run only.
        other: makes the hash of arguments that are not all numbers and text.
    """

    is_compared: "Mapping[str, bool]"
    normal: "Mapping[str, str]"
    other: "Callable[[Mapping[str, Any]], int]"


class Trees(NamedTuple):
    """The hashes of each row's subtree; shape (rows,) each.

    Attributes:
        full: array 'Q', of names, categories, arguments and kinds of the row and all below it.
        shape: array 'Q', of names and kinds alone.
        inner: array 'Q', as shape, of what is below the row without itself; 0 where nothing is.
        label: array 'Q', of the category, arguments and kind of the row alone.
        own: array 'Q', of its name, arguments and kind: what a call is known by whatever is in it.
    """

    full: "array[int]"
    shape: "array[int]"
    inner: "array[int]"
    label: "array[int]"
    own: "array[int]"


class PathIds(NamedTuple):
    """What rows are called, and where and when they are.

    Attributes:
        keys: array 'I', per string id; rows whose names have one key, below one path, have one path.
        groups: array 'I', per track; roots of one group and one key have one path.
        steps: array 'I', per row; read at roots, all below them is in their step.
    """

    keys: "array[int]"
    groups: "array[int]"
    steps: "array[int]"


class PathTimes(NamedTuple):
    """Rows by path, and their times by path and step. A path is a row's name below those around it.

    Attributes:
        path, step: array 'I', per row; shape (rows,).
        above: array 'q', the path around each path, or -1 - its track's group; shape (paths,).
        key: array 'I', what each path is called; shape (paths,).
        cell_path, cell_step: array 'I', one cell for each path in each step that it is in; shape (cells,).
        calls, total, own, longest: array 'q', the number of slices of a cell, and ns: their sum, what of it is not in
            other slices, and the longest one. Sums end at 2**63 - 1. Instants are in no cell.
    """

    path: "array[int]"
    step: "array[int]"
    above: "array[int]"
    key: "array[int]"
    cell_path: "array[int]"
    cell_step: "array[int]"
    calls: "array[int]"
    total: "array[int]"
    own: "array[int]"
    longest: "array[int]"


class CellTimes(NamedTuple):
    """Cells of one side; shape (cells,) each.

    Attributes:
        path: array 'I'.
        calls, total, own, longest: array 'q', as PathTimes has them.
    """

    path: "array[int]"
    calls: "array[int]"
    total: "array[int]"
    own: "array[int]"
    longest: "array[int]"


class Looked(NamedTuple):
    """What is looked for in cells.

    Attributes:
        least_ns: how far apart medians of both sides must be, and
        ratio: how many times as large the larger one must be.
        min_cells: how many cells both sides together must have for a call to be out of line.
        longest_ns: how long it must be.
    """

    least_ns: float
    ratio: float
    min_cells: int
    longest_ns: int


class Medians(NamedTuple):
    """What each path usually takes in a step, in ns; array 'd', shape (paths,) each. 0 for a path without cells.

    Attributes:
        calls, total, own: of its cells.
    """

    calls: "array[float]"
    total: "array[float]"
    own: "array[float]"


class Suspects(NamedTuple):
    """The paths to be looked at.

    Attributes:
        both: how many paths have cells on both sides.
        timed: array 'I', those of them whose usual time, own or total, is far enough apart, or that usually have more
            calls on one side.
        outlying: array 'I', those of which a call is long enough. Both rise.
    """

    both: int
    timed: "array[int]"
    outlying: "array[int]"


class Tiers(NamedTuple):
    """A list of siblings: what they are in each tier of likeness. Arrays 'Q'. What is equal in one has one name.

    Attributes:
        full: whole subtrees.
        shape: their shapes.
        own: names and arguments: what calls are known by whatever is in them.
        name: names.
    """

    full: "array[int]"
    shape: "array[int]"
    own: "array[int]"
    name: "array[int]"


class Forest(NamedTuple):
    """Trees, and what is inside of what.

    Attributes:
        full, shape, inner, label, own: array 'Q', per row, as Trees has them.
        name: array 'I', per row; equal for equal names.
        starts: array 'I', shape (rows + 1,): where each row's children begin, and one past the last.
        children: array 'I', rows; a row's children stand behind it.
    """

    full: "array[int]"
    shape: "array[int]"
    inner: "array[int]"
    label: "array[int]"
    own: "array[int]"
    name: "array[int]"
    starts: "array[int]"
    children: "array[int]"


class Walked(NamedTuple):
    """Pairs of rows of two forests, two arrays 'I' each.

    Attributes:
        same: rows that are the same ones; both before what is inside of them.
        apart: those of them whose children are not alike.
    """

    same: "tuple[array[int], array[int]]"
    apart: "tuple[array[int], array[int]]"


class PairedLevels(NamedTuple):
    """Which of the children of pairs of rows are the same ones, level by level: those of one pair are a level.

    Attributes:
        order: array 'B', shape (levels,): 1 if the hashes of base's children are the lesser ones, or the same; 2 if
            those of head are; 0 if they are too many and not paired.
        pattern: array 'Q', shape (levels,): the same for levels in which the same are equal to one another, in the same
            places: what became of each member is in the same place in all of them. 0 where all members of a side are
            paired, or where it is not known.
        starts: array 'I', shape (levels + 1,): where the pairs of each level begin.
        pairs: two arrays 'I', rows of base and of head that are the same ones, both in order.
        found_starts, found: the same of those that are not in order, as align_rest has them.
    """

    order: "array[int]"
    pattern: "array[int]"
    starts: "array[int]"
    pairs: "tuple[array[int], array[int]]"
    found_starts: "array[int]"
    found: "tuple[array[int], array[int]]"
