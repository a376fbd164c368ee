"""Arguments by row, most of them as the JSON text that they were read as: parsed when somebody asks.

A million rows whose arguments all differ are five times as large as objects as their text is, and take as long to make
as all the rest of a file to read.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence
from heapq import merge
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stepscope.core.values import freeze_args
from stepscope.model.row_args import plain_args

if TYPE_CHECKING:
    from stepscope.core.rows import PickedArgs

__all__ = ["ArgsPacker", "PackedArgs", "items_with"]

Args = Mapping[str, Any]
NOTHING: Mapping[int, Args] = MappingProxyType({})


class PackedArgs(Mapping[int, Args]):
    """Row -> arguments, in order of rows.

    Args:
        texts: those that are packed.
        rows: of them, rising.
        places: of each, its place in texts.
        others: those that are not.
    """

    __slots__ = ("_others", "_places", "_rows", "_texts")

    def __init__(
        self, texts: "_Texts", rows: "array[int]", places: "Sequence[int] | None", others: dict[int, Args]
    ) -> None:
        self._texts = texts
        self._rows = rows
        self._places = places if places is not None else range(len(rows))
        self._others = others

    def __len__(self) -> int:
        return len(self._rows) + len(self._others)

    def __iter__(self) -> Iterator[int]:
        return merge(self._rows, sorted(self._others))

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and (row in self._others or self._at(row) >= 0)

    def __getitem__(self, row: int) -> Args:
        if (other := self._others.get(row)) is not None:
            return MappingProxyType(other)
        at = self._at(row)
        if at < 0:
            raise KeyError(row)
        return self._texts[self._places[at]]

    def items(self) -> ItemsView[int, Args]:
        """Rows and their arguments; no row is looked for."""
        return _Items(self)

    def pairs(self) -> Iterator[tuple[int, Args]]:
        """What `items` iterates over."""
        packed = ((row, self._texts[place]) for row, place in zip(self._rows, self._places, strict=True))
        others = ((row, MappingProxyType(self._others[row])) for row in sorted(self._others))
        return merge(packed, others, key=lambda pair: pair[0]) if self._others else packed

    def pairs_with(self, key: str) -> Iterator[tuple[int, Args]]:
        """Those whose arguments have a key."""
        found = self._texts.with_key(key)
        rows = zip(self._rows, self._places, strict=True)
        pairs = [(row, self._texts[place]) for row, place in rows if found[place]] if any(found) else []
        pairs += [(row, MappingProxyType(args)) for row, args in self._others.items() if key in args]
        return iter(sorted(((row, args) for row, args in pairs if key in args), key=lambda pair: pair[0]))

    def placed(self, order: "array[int] | None") -> "PackedArgs":
        """The same for rows in another order: row -> the one that it was; None: the same one."""
        others = {row: args for row, args in self._others.items() if args}
        if order is None:
            return PackedArgs(self._texts, self._rows, self._places, others)
        packed = array("I", bytes(4 * len(order)))
        for place, row in zip(self._places, self._rows, strict=True):
            packed[row] = place + 1
        rows = array("I", (at for at, row in enumerate(order) if packed[row]))
        places = array("I", (packed[row] - 1 for row in order if packed[row]))
        if others:
            others = {at: others[row] for at, row in enumerate(order) if row in others}
        return PackedArgs(self._texts, rows, places, others)

    def mapped(self, change: Callable[[Args], Args]) -> "PackedArgs":
        """The same with each row's arguments changed, which none of them is packed for any more."""
        return PackedArgs(_Texts(), array("I"), None, {row: change(args) for row, args in self.pairs()})

    def _at(self, row: int) -> int:
        at = bisect_left(self._rows, row) if row >= 0 else len(self._rows)
        return at if at < len(self._rows) and self._rows[at] == row else -1


class _Items(ItemsView[int, Args]):
    """The items of packed arguments."""

    _mapping: PackedArgs

    def __iter__(self) -> Iterator[tuple[int, Args]]:
        return self._mapping.pairs()


class _Texts(Sequence[Args]):
    """JSON objects, one behind the other, each parsed when asked for."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("q")
        self._loose = bytearray()

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: int) -> Args:  # type: ignore[override] # no slices of it are asked for
        import orjson

        start = self._ends[place - 1] if place else 0
        args = orjson.loads(self._text[start : self._ends[place]])
        return MappingProxyType(freeze_args(args) if self._loose[place] else args)

    def extend(self, picked: "PickedArgs") -> None:
        """Add more."""
        before = len(self._text)
        self._text += picked.text
        self._ends.extend(array("q", (before + end for end in picked.ends)) if before else picked.ends)
        self._loose += picked.loose.tobytes()

    def with_key(self, key: str) -> bytearray:
        """Which of them have a key; some may be marked that have it as a value, or further inside."""
        import orjson

        marks, spelled = bytearray(len(self._ends)), orjson.dumps(key)
        at = self._text.find(spelled)
        while at >= 0:
            place = bisect_right(self._ends, at)
            marks[place] = 1
            at = self._text.find(spelled, self._ends[place])
        return marks


class ArgsPacker:
    """Collects the arguments of rows that come in order.

    Attributes:
        others: row -> arguments, for those that are not packed.
    """

    def __init__(self) -> None:
        self.others: dict[int, Args] = {}
        self._texts = _Texts()
        self._rows = array("I")

    def extend(self, picked: "PickedArgs") -> None:
        """Add what has been picked, whose rows stand behind all before."""
        self._texts.extend(picked)
        self._rows.extend(picked.rows)

    def pack(self, inserted: Sequence[int] = (), more: Mapping[int, Args] = NOTHING) -> PackedArgs:
        """All of them.

        Args:
            inserted: how many of the rows stand before each of some others, rising: they move what is behind them.
            more: the arguments of those others, by their final rows.
        """
        rows, others = self._rows, self.others
        if inserted:
            rows = array("I", (row + bisect_right(inserted, row) for row in rows))
            others = {row + bisect_right(inserted, row): args for row, args in others.items()}
        return PackedArgs(self._texts, rows, None, {**others, **more})


def items_with(args: Mapping[int, Args], key: str) -> Iterator[tuple[int, Args]]:
    """The rows whose arguments have a key, and they."""
    if isinstance(args, PackedArgs):
        return args.pairs_with(key)
    return ((row, MappingProxyType(given)) for row, given in plain_args(args).items() if key in given)
