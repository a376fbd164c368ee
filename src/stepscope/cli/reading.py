"""How commands read a trace: their common options, the bar, and errors in the command line's own words."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from stepscope import FormatError, Trace
from stepscope.cli.opening import opened
from stepscope.cli.trouble import Trouble
from stepscope.formats.files import read_from
from stepscope.formats.source import Source

__all__ = ["STDIN", "limit_option", "problem_lines", "read_trace", "reading_options", "refuse_bomb"]

STDIN = Path("-")
# What the library's errors advise, as options.
OPTIONS = (("strict=False", "--non-strict"), ("max_bytes", "--max-bytes"))


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that read traces: non_strict and max_bytes."""
    strictness = click.option(
        "--non-strict", is_flag=True, help="Read what is whole of a damaged file, and say what is not."
    )
    return strictness(limit_option(command))


def limit_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add max_bytes."""
    return click.option(
        "--max-bytes",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many bytes may come out of a compressed file. By default 8 GiB, and no more than 400 times its size.",
    )(command)


def refuse_bomb(path: Path, max_bytes: int | None) -> None:
    """Decompress a file and keep nothing, for readers that have no limit.

    Raises:
        Trouble: more comes out of it than the limit.
        OSError: it cannot be read.
    """
    with opened(path, "decompressing") as file, _in_own_words():
        source = Source(file, str(path), max_bytes)
        while source.inflating and source.read():
            pass


def read_trace(path: Path, *, non_strict: bool, max_bytes: int | None) -> Trace:
    """Read a file, or stdin for "-".

    Raises:
        Trouble: it is no trace, or damaged.
        OSError: it cannot be read.
    """
    with _in_own_words():
        if path == STDIN:
            return read_from(sys.stdin.buffer, "stdin", strict=not non_strict, max_bytes=max_bytes)
        with opened(path) as file:
            return read_from(file, str(path), strict=not non_strict, max_bytes=max_bytes)


@contextmanager
def _in_own_words() -> Iterator[None]:
    """Errors name options, not arguments."""
    try:
        yield
    except FormatError as error:
        message = str(error)
        for argument, option in OPTIONS:
            message = message.replace(argument, option)
        raise Trouble(message) from error


def problem_lines(path: Path, trace: Trace) -> list[str]:
    """What is not as it was in a trace, a line for each kind."""
    return [f"{path}: {each.count} {each.kind}: {each.example}" for each in trace.problems]
