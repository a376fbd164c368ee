"""Slices that have begun on one track: which of them an end is of, and what becomes of those without one.

An end is of the innermost open slice that has its name and category; one that says no name, or no category, is of any.
A slice that never ends is cut where the slice around it ended, or at the end of the file.

Source: Perfetto's SliceTracker. It also cuts a slice whose end comes after that of the slice around it; here it keeps
its own end, and the containment rule gives it a lane.
"""

from stepscope.core.rows import CUT, Columns

__all__ = ["OpenSlices"]

_Key = tuple[str, str]


class _Open:
    """One that has begun."""

    __slots__ = ("category", "end", "name", "row", "start")

    def __init__(self, row: int, start: int, name: str, category: str) -> None:
        self.row = row
        self.start = start
        self.name = name
        self.category = category
        self.end: int | None = None


class OpenSlices:
    """The open slices of one track, in order of time.

    Args:
        columns: where their rows are.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        # Innermost last. One that has ended stays below those that have not.
        self._stack: list[_Open] = []
        # What is open by (name, category), and with "" for either; made when an end is not of the innermost, so that
        # no file makes every end look at every beginning.
        self._index: dict[_Key, list[_Open]] | None = None

    @property
    def any_open(self) -> bool:
        """Whether some slice has no end."""
        return bool(self._stack)

    def begin(self, row: int, ts: int, name: str, category: str) -> None:
        """Open a slice whose row has been made."""
        slice_ = _Open(row, ts, name, category)
        self._stack.append(slice_)
        if self._index is not None:
            self._add(self._index, slice_)

    def end(self, ts: int, name: str, category: str) -> int | None:
        """End a slice; returns its row, or None if there is none to end."""
        if not self._stack:
            return None
        found: _Open | None = self._stack[-1]
        if found is not None and not (name in ("", found.name) and category in ("", found.category)):
            found = self._find((name, category))
        if found is None:
            return None
        found.end = ts
        self._columns.dur[found.row] = ts - found.start
        while self._stack and self._stack[-1].end is not None:
            self._stack.pop()
        if not self._stack:
            self._index = None
        return found.row

    def cut(self, last: int) -> None:
        """End what is still open."""
        around: list[int] = []
        for slice_ in self._stack:
            while around and around[-1] < slice_.start:
                around.pop()
            if slice_.end is None:
                end = around[-1] if around else max(last, slice_.start)
                self._columns.dur[slice_.row] = end - slice_.start
                self._columns.kind[slice_.row] |= CUT
            else:
                around.append(slice_.end)
        self._stack.clear()

    def _find(self, key: _Key) -> _Open | None:
        if self._index is None:
            self._index = {}
            for slice_ in self._stack:
                self._add(self._index, slice_)
        candidates = self._index.get(key, [])
        while candidates and candidates[-1].end is not None:
            candidates.pop()
        return candidates[-1] if candidates else None

    @staticmethod
    def _add(index: dict[_Key, list[_Open]], slice_: _Open) -> None:
        for key in {
            (slice_.name, slice_.category),
            (slice_.name, ""),
            ("", slice_.category),
            ("", ""),
        }:
            index.setdefault(key, []).append(slice_)
