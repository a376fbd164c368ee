"""Log folders: their recorded cycles, each once, whatever formats it is there in, and which run it is of.

A run is one execution of a program; it has a cycle, or several, for each of its ranks, and for their child processes.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from stepscope.formats.files import FORMATS, format_of
from stepscope.formats.source import Source
from stepscope.model.errors import ExportError, FormatError
from stepscope.model.trace import Trace

__all__ = ["Recorded", "is_trace", "newest_session", "newest_trace", "read_recorded"]

# In the first bytes of what a child process of a profile has written, in every format: a key of `Origin.session`.
OF_A_CHILD = b'"profile_pid"'


class Recorded(NamedTuple):
    """One cycle.

    Attributes:
        path: the file that it was read from.
        trace: what was recorded.
    """

    path: Path
    trace: Trace

    @property
    def rank(self) -> int:
        """Of the process that was recorded."""
        return self.trace.origin.rank

    @property
    def run(self) -> tuple[object, ...]:
        """What the cycles of one rank of one run share, those of its child processes too: host and profile's pid.

        A file that does not say is a run of its own.
        """
        origin = self.trace.origin
        pid = origin.session.get("profile_pid", origin.pid)
        return (origin.rank, origin.host, pid) if origin.host and pid else (origin.rank, self.path)

    @property
    def cycle(self) -> object:
        """What is the same for two files of one cycle; a trace without an id is nothing but itself."""
        origin = self.trace.origin
        return (self.run, origin.pid, origin.trace_id, origin.base_ns) if origin.trace_id else self.path


def is_trace(path: Path) -> bool:
    """Whether its name is that of a file that can be read."""
    try:
        return path.is_file() and format_of(path).read is not None
    except ExportError:
        return False


def newest_trace(folder: Path) -> Path:
    """The trace of a folder that was written last; one of a child process only if there is no other.

    Raises:
        FormatError: there is none.
        OSError: the folder, or a file in it, cannot be read.
    """
    found = [path for path in folder.iterdir() if is_trace(path)]
    if not found:
        raise _no_trace(folder)
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    return next((path for path in found if not _is_of_a_child(path)), found[0])


def newest_session(folder: Path) -> Path:
    """As `newest_trace`; if that cycle is there in several formats, the one that is read soonest."""
    stem = _stem(newest_trace(folder))
    (chosen,) = _once(path for path in folder.iterdir() if is_trace(path) and _stem(path) == stem)
    return chosen


def _is_of_a_child(path: Path) -> bool:
    with path.open("rb") as file:
        return OF_A_CHILD in Source(file, path.name).head


def _no_trace(folder: Path) -> FormatError:
    """The error for a folder in which there is none."""
    return FormatError(
        f"{folder}: there is no trace in this folder. Give one that a handler has written to, or a file."
    )


def read_recorded(path: Path, read: Callable[[Path], Trace], newest: int | None = None) -> list[Recorded]:
    """Read a file, or the cycles of a folder.

    Args:
        path: of a file, or of a folder that a handler has written to, or several in turn.
        read: how to read a file.
        newest: how many runs of each rank, the last ones; None for all.

    Returns:
        Of a folder: by rank, the newest run first, its cycles in the order of time.

    Raises:
        FormatError: there is no trace in the folder.
        OSError: the folder cannot be read.
    """
    if not path.is_dir():
        return [Recorded(path, read(path))]
    found: dict[object, Recorded] = {}
    for inside in _once(inside for inside in path.iterdir() if is_trace(inside)):
        recorded = Recorded(inside, read(inside))
        found.setdefault(recorded.cycle, recorded)
    if not found:
        raise _no_trace(path)
    runs: dict[tuple[object, ...], list[Recorded]] = {}
    for recorded in sorted(found.values(), key=_time):
        runs.setdefault(recorded.run, []).append(recorded)
    chosen: list[Recorded] = []
    for rank in sorted({recorded.rank for recorded in found.values()}):
        of_rank = [cycles for cycles in runs.values() if cycles[0].rank == rank]
        of_rank.sort(key=lambda cycles: _time(cycles[-1]), reverse=True)
        chosen += (recorded for cycles in of_rank[:newest] for recorded in cycles)
    return chosen


def _time(recorded: Recorded) -> tuple[int, str]:
    """When it was recorded; or, if the file does not say, written."""
    return recorded.trace.origin.clocks.realtime_ns or recorded.path.stat().st_mtime_ns, recorded.path.name


def _once(paths: Iterable[Path]) -> list[Path]:
    """One file of those that are called alike but for their format: a handler writes a cycle in several."""
    preferred = list(FORMATS.values())[::-1]  # the protobuf is the smaller one, and read sooner
    chosen: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (preferred.index(format_of(path)), path.name)):
        chosen.setdefault(_stem(path), path)
    return sorted(chosen.values())


def _stem(path: Path) -> str:
    """The name without the ending of its format."""
    name = path.name.removesuffix(".gz")
    form = format_of(path)
    endings = sorted({form.suffix, *form.suffixes}, key=len, reverse=True)
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), name)
