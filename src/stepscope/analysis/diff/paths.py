"""Paths: the names from a root to something, as one number; and the names of a number."""

from collections.abc import Iterable

from stepscope.analysis.diff.identity import Group
from stepscope.core import kernels

__all__ = ["Paths"]


class Paths:
    """Numbers of paths. A path is a name below another path, or below a root: -1 - the number of a group.

    Attributes:
        numbers: of all paths.
        groups: number -> group.
        group_numbers: group -> number.
    """

    def __init__(self) -> None:
        self.numbers = kernels.PathNumbers()
        self.groups: list[Group] = []
        self.group_numbers: dict[Group, int] = {}

    def root(self, group: Group) -> int:
        """The root of a group, new or known."""
        number = self.group_numbers.setdefault(group, len(self.groups))
        if number == len(self.groups):
            self.groups.append(group)
        return -1 - number

    def find(self, group: Group, names: Iterable[int]) -> int | None:
        """The number of a path, if it is known; the root for no names."""
        at: int | None = self.root(group)
        for name in names:
            at = self.numbers.find(at, name) if at is not None else None
        return at

    def group_of(self, number: int) -> Group:
        """The group that a path's root is of."""
        while number >= 0:
            number = self.numbers.around(number)
        return self.groups[-1 - number]

    def depth_of(self, number: int) -> int:
        """How many names a path has."""
        depth = 0
        while number >= 0:
            number, depth = self.numbers.around(number), depth + 1
        return depth

    def names_of(self, number: int) -> tuple[int, ...]:
        """The names from the root to a path."""
        names: list[int] = []
        while number >= 0:
            names.append(self.numbers.name(number))
            number = self.numbers.around(number)
        return tuple(reversed(names))
