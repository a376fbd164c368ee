"""Files that a command reads and writes, with a bar on the terminal while they are large."""

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stepscope.cli.trouble import printable

__all__ = ["LARGE_BYTES", "LARGE_ROWS", "opened", "watched"]

# Below this, reading or writing is over before a bar has been looked at.
LARGE_BYTES = 32 << 20
LARGE_ROWS = 250_000


class _Watched(io.FileIO):
    """A file that tells where its reader stands."""

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        super().__init__(path)
        self._tell = tell

    def readinto(self, buffer: "memoryview") -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        self._tell(self.tell())
        return count


@contextmanager
def opened(path: Path, doing: str = "reading") -> Iterator[io.BufferedReader]:
    """Open a file to be read; while it is, stderr shows how far, if it is a terminal and the file is large.

    Raises:
        OSError: it cannot be opened.
    """
    if not sys.stderr.isatty() or path.stat().st_size < LARGE_BYTES:
        with path.open("rb") as file:
            yield file
        return
    with _bar(doing, path, path.stat().st_size) as tell, io.BufferedReader(_Watched(path, tell)) as file:
        yield file  # type: ignore[misc] # typeshed has BufferedReader generic in its raw stream


def watched(pieces: Iterable[bytes], path: Path, rows: int) -> Iterator[bytes]:
    """The pieces of a file that is written; meanwhile stderr shows how much, if it is a terminal and they are many.

    Args:
        pieces: what is encoded while it is written: how much it will be nobody knows.
        path: where it goes.
        rows: how many are encoded.
    """
    if not sys.stderr.isatty() or rows < LARGE_ROWS:
        yield from pieces
        return
    with _bar("writing", path, None) as tell:
        size = 0
        for piece in pieces:
            yield piece
            size += len(piece)
            tell(size)


@contextmanager
def _bar(doing: str, path: Path, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar; what it gives moves it to so many bytes."""
    columns = (
        TextColumn(f"{doing} {{task.fields[name]}}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total, name=printable(path.name))
        yield lambda at: bar.update(task, completed=at)
