"""Files that a command reads: opened once, with a bar on the terminal if they are large."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from stepscope.cli.trouble import printable

__all__ = ["LARGE_BYTES", "opened"]

# Below this, reading is over before a bar has been looked at.
LARGE_BYTES = 32 << 20


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
    columns = (
        TextColumn(f"{doing} {{task.fields[name]}}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=path.stat().st_size, name=printable(path.name))
        with io.BufferedReader(_Watched(path, lambda at: bar.update(task, completed=at))) as file:
            yield file  # type: ignore[misc] # typeshed has BufferedReader generic in its raw stream
