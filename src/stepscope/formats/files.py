"""Files: which formats there are, and how one is written whole or not at all.

A temporary file in the same folder, fsync, rename. What cannot be written is an ExportError that names path,
reason and fix, and leaves nothing behind.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stepscope.model.errors import ExportError, FormatError
from stepscope.model.trace import Problem, Trace

if TYPE_CHECKING:
    from stepscope.formats.source import Source

__all__ = ["FORMATS", "Format", "format_named", "make_folder", "read", "read_from", "write", "write_as"]


@dataclass(frozen=True)
class Format:
    """One way to write a trace, and to read it.

    Attributes:
        name: what handlers and commands call it.
        suffix: how its files end by default; ".gz" may follow.
        suffixes: every ending it is known by.
        encode: trace -> bytes, in pieces.
        sniff: whether a file that begins with these bytes is of this format.
        read: the file, and whether to be strict -> trace.
    """

    name: str
    suffix: str
    suffixes: tuple[str, ...]
    encode: Callable[[Trace], Iterator[bytes]]
    sniff: Callable[[bytes], bool]
    read: Callable[["Source", bool], Trace]


def _encode_chrome(trace: Trace) -> Iterator[bytes]:
    from stepscope.formats.chrome import encode_chrome

    return encode_chrome(trace)


def _encode_perfetto(trace: Trace) -> Iterator[bytes]:
    from stepscope.formats.perfetto import encode_perfetto

    return encode_perfetto(trace)


def _sniff_chrome(head: bytes) -> bool:
    from stepscope.formats.chrome_read import sniff_chrome

    return sniff_chrome(head)


def _read_chrome(source: "Source", strict: bool) -> Trace:
    from stepscope.formats.chrome_read import read_chrome

    return read_chrome(source, strict=strict)


def _sniff_perfetto(head: bytes) -> bool:
    return head[:1] == b"\n"  # field 1 of a Trace, a packet


def _read_perfetto(source: "Source", strict: bool) -> Trace:
    from stepscope.formats.perfetto_read import decode_perfetto

    content = source.rest()
    if source.damage and strict:
        message = f"{source.name}: byte {len(content)}: {source.damage}. Pass strict=False to read what is before it."
        raise FormatError(message)
    limit = {} if source.max_bytes is None else {"max_bytes": source.max_bytes}
    trace = decode_perfetto(content, source.name, strict=strict, **limit)
    if not source.damage:
        return trace
    return trace.with_problems(sorted([*trace.problems, Problem("compression", 1, source.damage)]))


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        # torch's own ending, which is the one the TensorBoard plugin looks for.
        Format("chrome", ".pt.trace.json", (".json",), _encode_chrome, _sniff_chrome, _read_chrome),
        Format(
            "perfetto",
            ".pftrace",
            (".pftrace", ".perfetto-trace"),
            _encode_perfetto,
            _sniff_perfetto,
            _read_perfetto,
        ),
    )
}

DISK_BATCH_BYTES = 4 << 20
FIXES = {
    errno.ENOSPC: "Free some space, or write to another disk.",
    errno.EDQUOT: "Free some space, or write to another disk.",
    errno.EFBIG: "Raise the limit on file sizes (ulimit -f), or record fewer steps.",
    errno.EACCES: "Choose a folder this user may write to.",
    errno.EPERM: "Choose a folder this user may write to.",
    errno.EROFS: "Choose a folder on a disk that is not read-only.",
    errno.ENOENT: "Create the folder first.",
    errno.ENOTDIR: "Choose a path whose parent is a folder.",
    errno.EEXIST: "Choose another path, or remove the file that is in its place.",
    errno.EISDIR: "Give the path of a file, not of a folder.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def format_named(name: str) -> Format:
    """The format of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        message = f"no format is called {name!r}; there are {', '.join(map(repr, FORMATS))}"
        raise ValueError(message)
    return FORMATS[name]


def read(path: str | os.PathLike[str], *, strict: bool = True, max_bytes: int | None = None) -> Trace:
    """Read a trace: Chrome JSON or Perfetto protobuf, plain or compressed with gzip, by what is in it, not by its name.

    Args:
        path: the file.
        strict: raise where a part of the file is not as it should be. Otherwise what is whole is read, as far as the
            file makes sense, and what is not is counted in the trace's problems.
        max_bytes: how many bytes may come out of a compressed file; by default 8 GiB, and no more than 400 times what
            went in.

    Raises:
        FormatError: it is no trace; a part of it is damaged, and strict; or it is larger than max_bytes inside.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        return read_from(file, os.fspath(path), strict=strict, max_bytes=max_bytes)


def read_from(file: BinaryIO, name: str, *, strict: bool = True, max_bytes: int | None = None) -> Trace:
    """As `read`, from an open file; errors call it by the name."""
    from stepscope.formats.source import Source

    source = Source(file, name, max_bytes)
    for candidate in FORMATS.values():
        if candidate.sniff(source.head):
            return candidate.read(source, strict)
    message = (
        f"{name}: byte 0: {_shown(source.head)} is the beginning of no trace. "
        f"Give a file of Chrome JSON or Perfetto protobuf, plain or compressed with gzip."
    )
    raise FormatError(message)


def _shown(head: bytes) -> str:
    return repr(head[:16]) if len(head) <= 16 else f"{head[:16]!r}..."


def write(trace: Trace, path: str | os.PathLike[str]) -> Path:
    """Write a trace in the format that the path's ending names, compressed if it ends in .gz.

    Raises:
        ExportError: the ending names no format, or the file cannot be written.
    """
    name = os.fspath(path).removesuffix(".gz")
    for candidate in FORMATS.values():
        if name.endswith(candidate.suffixes):
            return write_as(trace, path, candidate)
    endings = ", ".join(suffix for row in FORMATS.values() for suffix in row.suffixes)
    message = f"{os.fspath(path)}: the ending names no format. Use one of {endings}, each with or without .gz."
    raise ExportError(message)


def write_as(trace: Trace, path: str | os.PathLike[str], form: Format, *, exclusive: bool = False) -> Path:
    """Write a trace in a given format, compressed if the path ends in .gz.

    Args:
        trace: what to write.
        path: where to.
        form: how.
        exclusive: leave an existing file alone and raise FileExistsError, so that the caller can take another name.

    Raises:
        ExportError: the file cannot be written.
        FileExistsError: exclusive, and there is one.
    """
    target = Path(path)
    try:
        pieces = form.encode(trace)
        if _is_device(target):
            with target.open("wb") as file:
                _write_pieces(file, pieces, compress=target.suffix == ".gz")
        else:
            _write_whole(target, pieces, exclusive=exclusive)
    except FileExistsError:
        if exclusive:
            raise
        raise _export_error(target, FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))) from None
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path is a ValueError, a loop of links may be
        raise _export_error(target, error) from error  # a RuntimeError
    return target


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and those above it, if they are not there.

    Raises:
        ExportError: something else is in its place, or it may not be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _export_error(folder, error, "the folder cannot be made") from error
    return folder


def _export_error(path: Path, error: Exception, what: str = "the file cannot be written") -> ExportError:
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number else str(error)
    fix = FIXES.get(number or 0, "Choose another path.")
    return ExportError(f"{path}: {what}: {reason}. {fix}")


def _is_device(path: Path) -> bool:
    """Whether the path is something a rename must not replace, such as /dev/null or a pipe."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return not stat.S_ISREG(mode)


def _write_whole(path: Path, pieces: Iterator[bytes], *, exclusive: bool) -> None:
    """Write beside the path, then take its name."""
    target = path if exclusive else path.resolve()  # a link keeps pointing at what it pointed at
    # By chance, not by pid: containers that share a folder have the same pids.
    beside = target.parent / f".stepscope-{os.urandom(8).hex()}.tmp"
    number = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        with open(number, "wb") as file:  # noqa: PTH123 - a descriptor has no Path
            _write_pieces(file, pieces, compress=path.suffix == ".gz")
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            _take_free_name(beside, target)
        else:
            beside.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def _begin_to_disk(number: int, start: int, length: int) -> None:
    """Let the system write to disk while the encoder goes on: otherwise fsync waits for all of it at the end.

    The advice is about reading, but what it does to pages that are not on disk yet is to send them there.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # a pipe or a file system that takes no advice
            os.posix_fadvise(number, start, length, os.POSIX_FADV_DONTNEED)


def _take_free_name(beside: Path, target: Path) -> None:
    """Rename without replacing: a link fails if the name is taken, in one step on every file system with links."""
    try:
        os.link(beside, target)
    except FileExistsError:
        raise
    except OSError:
        target.touch(exist_ok=False)
        try:
            beside.replace(target)
        except OSError:
            target.unlink(missing_ok=True)
            raise


def _write_pieces(file: BinaryIO, pieces: Iterator[bytes], *, compress: bool) -> None:
    if not compress:
        begun = written = 0
        for piece in pieces:
            written += file.write(piece)
            if written - begun >= DISK_BATCH_BYTES:
                file.flush()
                _begin_to_disk(file.fileno(), begun, written - begun)
                begun = written
        return
    from isal import igzip

    # No name and no time inside: the same trace is the same file.
    with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed:
        for piece in pieces:
            packed.write(piece)
