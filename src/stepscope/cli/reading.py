"""How commands read a trace: their common options, the bar, and errors in the command line's own words."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stepscope import FormatError, Trace
from stepscope.cli.opening import opened
from stepscope.cli.trouble import Trouble
from stepscope.formats.files import read_from

__all__ = ["STDIN", "problem_lines", "read_trace", "reading_options"]

STDIN = Path("-")
# What the library's errors advise, as options.
OPTIONS = (("strict=False", "--non-strict"), ("max_bytes", "--max-bytes"))


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that read traces: non_strict and max_bytes."""
    strictness = click.option(
        "--non-strict", is_flag=True, help="Read what is whole of a damaged file, and say what is not."
    )
    limit = click.option(
        "--max-bytes",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many bytes may come out of a compressed file. By default 8 GiB, and no more than 400 times its size.",
    )
    return strictness(limit(command))


def read_trace(path: Path, *, non_strict: bool, max_bytes: int | None) -> Trace:
    """Read a file, or stdin for "-".

    Raises:
        Trouble: it is no trace, or damaged.
        OSError: it cannot be read.
    """
    try:
        if path == STDIN:
            return read_from(sys.stdin.buffer, "stdin", strict=not non_strict, max_bytes=max_bytes)
        with opened(path) as file:
            return read_from(file, str(path), strict=not non_strict, max_bytes=max_bytes)
    except FormatError as error:
        message = str(error)
        for argument, option in OPTIONS:
            message = message.replace(argument, option)
        raise Trouble(message) from error


def problem_lines(path: Path, trace: Trace) -> list[str]:
    """What is not as it was in a trace, a line for each kind."""
    return [f"{path}: {each.count} {each.kind}: {each.example}" for each in trace.problems]
