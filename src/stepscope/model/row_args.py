"""Arguments by row, in memory as plain dicts, which nobody gets to see but as what cannot be changed.

A million objects that show them so, made beforehand, take 64 MB, and the garbage collector would go through all of them
as long as the trace is there: it does not follow a dict of texts and numbers.
"""

from collections.abc import ItemsView, Iterator, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["RowArgs", "plain_args"]

Args = Mapping[str, Any]


class RowArgs(Mapping[int, Args]):
    """Row -> arguments.

    Attributes:
        plain: the same, to be read only.
    """

    __slots__ = ("plain",)

    def __init__(self, plain: dict[int, dict[str, Any]]) -> None:
        self.plain = plain

    def __len__(self) -> int:
        return len(self.plain)

    def __iter__(self) -> Iterator[int]:
        return iter(self.plain)

    def __contains__(self, row: object) -> bool:
        return row in self.plain

    def __eq__(self, other: object) -> bool:
        return self.plain == other.plain if isinstance(other, RowArgs) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment] # as a dict

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.plain!r})"

    def __getitem__(self, row: int) -> Args:
        return MappingProxyType(self.plain[row])

    def get(self, row: int, default: Any = None) -> Any:
        """A row's arguments, or the default."""
        args = self.plain.get(row)
        return default if args is None else MappingProxyType(args)

    def items(self) -> ItemsView[int, Args]:
        """Rows and their arguments."""
        return _Items(self)


class _Items(ItemsView[int, Args]):
    """The items of arguments by row."""

    _mapping: RowArgs

    def __iter__(self) -> Iterator[tuple[int, Args]]:
        return ((row, MappingProxyType(args)) for row, args in self._mapping.plain.items())


def plain_args(args: Mapping[int, Args]) -> Mapping[int, Args]:
    """The arguments of a trace's rows, quicker to go through; they must not be changed."""
    return args.plain if isinstance(args, RowArgs) else args
