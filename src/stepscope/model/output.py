"""Output: a file is written whole or not at all.

A temporary file in the same folder, fsync, rename. What cannot be written is an ExportError that names path,
reason and fix, and leaves nothing behind.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from stepscope.core import kernels
from stepscope.model.errors import ExportError

__all__ = ["make_folder", "write_whole"]

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


def write_whole(path: str | os.PathLike[str], pieces: Iterable[bytes], *, exclusive: bool = False) -> Path:
    """Write a file of these bytes, compressed if the path ends in .gz.

    Args:
        path: where to.
        pieces: the bytes, which may be made while they are written.
        exclusive: leave an existing file alone and raise FileExistsError, so that the caller can take another name.

    Raises:
        ExportError: the file cannot be written.
        FileExistsError: exclusive, and there is one.
    """
    target = Path(path)
    try:
        if _is_device(target):
            with target.open("wb") as file:
                _write_pieces(file, pieces, compress=target.suffix == ".gz")
        else:
            _write_beside(target, pieces, exclusive=exclusive)
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


def _write_beside(path: Path, pieces: Iterable[bytes], *, exclusive: bool) -> None:
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


def _write_pieces(file: BinaryIO, pieces: Iterable[bytes], *, compress: bool) -> None:
    if not compress:
        begun = written = 0
        for piece in pieces:
            written += file.write(piece)
            if written - begun >= DISK_BATCH_BYTES:
                file.flush()
                if kernels.begin_to_disk(file.fileno(), begun, written - begun):
                    begun = written
        return
    from isal import igzip

    # No name and no time inside: the same trace is the same file.
    with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed:
        for piece in pieces:
            packed.write(piece)
