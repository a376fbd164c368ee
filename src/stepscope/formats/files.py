"""Files: which formats there are, and writing a trace in one of them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stepscope.model.errors import ExportError
from stepscope.model.output import write_whole
from stepscope.model.trace import Trace

__all__ = ["FORMATS", "Format", "format_named", "write", "write_as"]


@dataclass(frozen=True)
class Format:
    """One way to write a trace.

    Attributes:
        name: what handlers and commands call it.
        suffix: how its files end by default; ".gz" may follow.
        suffixes: every ending it is known by.
        encode: trace -> bytes, in pieces.
    """

    name: str
    suffix: str
    suffixes: tuple[str, ...]
    encode: Callable[[Trace], Iterator[bytes]]


def _encode_chrome(trace: Trace) -> Iterator[bytes]:
    from stepscope.formats.chrome import encode_chrome

    return encode_chrome(trace)


def _encode_perfetto(trace: Trace) -> Iterator[bytes]:
    from stepscope.formats.perfetto import encode_perfetto

    return encode_perfetto(trace)


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        # torch's own ending, which is the one the TensorBoard plugin looks for.
        Format("chrome", ".pt.trace.json", (".json",), _encode_chrome),
        Format("perfetto", ".pftrace", (".pftrace", ".perfetto-trace"), _encode_perfetto),
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
    return write_whole(path, _encoded(trace, form), exclusive=exclusive)


def _encoded(trace: Trace, form: Format) -> Iterator[bytes]:
    """As the format encodes; what it raises at once is raised while the file is written, like the rest."""
    yield from form.encode(trace)
