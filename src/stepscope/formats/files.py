"""Files: which formats there are, how one is told by its content, and reading and writing a trace in them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stepscope.model.errors import ExportError, FormatError
from stepscope.model.output import write_whole
from stepscope.model.trace import Problem, Trace

if TYPE_CHECKING:
    from stepscope.formats.source import Source

__all__ = ["FORMATS", "Format", "format_in", "format_named", "format_of", "read", "read_from", "write", "write_as"]


@dataclass(frozen=True)
class Format:
    """One way to write a trace, and to read it.

    Attributes:
        name: what handlers and commands call it.
        suffix: how its files end by default; ".gz" may follow.
        suffixes: every ending it is known by.
        encode: trace -> bytes, in pieces.
        sniff: whether a file that begins with these bytes is of this format; None for one that is not read.
        read: the file, and whether to be strict -> trace; None for one that is not read.
    """

    name: str
    suffix: str
    suffixes: tuple[str, ...]
    encode: Callable[[Trace], Iterator[bytes]]
    sniff: Callable[[bytes], bool] | None = None
    read: Callable[["Source", bool], Trace] | None = None


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


def _encode_folded(trace: Trace) -> Iterator[bytes]:
    from stepscope.formats.folded import encode_folded

    return encode_folded(trace)


def _encode_speedscope(trace: Trace) -> Iterator[bytes]:
    from stepscope.formats.speedscope import encode_speedscope

    return encode_speedscope(trace)


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
        # For flame graphs: they have no room for all that is in a trace, so there is no way back.
        Format("folded", ".folded", (".folded", ".collapsed"), _encode_folded),
        Format("speedscope", ".speedscope.json", (".speedscope.json",), _encode_speedscope),
    )
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


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that a path's ending names: the longest one, with or without .gz behind it.

    Raises:
        ExportError: it names none.
    """
    name = os.fspath(path).removesuffix(".gz")
    endings = {suffix: row for row in FORMATS.values() for suffix in row.suffixes}
    for suffix in sorted(endings, key=len, reverse=True):
        if name.endswith(suffix):
            return endings[suffix]
    message = (
        f"{os.fspath(path)}: the ending names no format. Use one of {', '.join(endings)}, each with or without .gz."
    )
    raise ExportError(message)


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
    return _sniffed(source)[1](source, strict)


def format_in(path: str | os.PathLike[str]) -> Format:
    """The format that a file's first bytes show, whatever it is called.

    Raises:
        FormatError: they are those of no trace.
        OSError: it cannot be read.
    """
    from stepscope.formats.source import Source

    with Path(path).open("rb") as file:
        return _sniffed(Source(file, os.fspath(path)))[0]


def _sniffed(source: "Source") -> tuple[Format, Callable[["Source", bool], Trace]]:
    """The format that a file begins like, and how it is read."""
    for candidate in FORMATS.values():
        if candidate.sniff and candidate.read and candidate.sniff(source.head):
            return candidate, candidate.read
    message = (
        f"{source.name}: byte 0: {_shown(source.head)} is the beginning of no trace. "
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
    return write_as(trace, path, format_of(path))


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
    return write_whole(path, _encoded(trace, form), exclusive=exclusive)


def _encoded(trace: Trace, form: Format) -> Iterator[bytes]:
    """As the format encodes; what it raises at once is raised while the file is written, like the rest."""
    yield from form.encode(trace)
