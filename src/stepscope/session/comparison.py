"""diff() and overlay(): two sides, each a trace, a file, or several, compared."""

import os
from collections.abc import Iterable
from typing import Any

from stepscope.analysis.diff import Diff, Rules, compare
from stepscope.analysis.diff.overlay import lay_over
from stepscope.formats.files import read
from stepscope.model.errors import DiffError
from stepscope.model.trace import Trace

__all__ = ["diff", "overlay"]

One = Trace | str | os.PathLike[str]
Side = One | Iterable[One]


def diff(base: Side, head: Side, **rules: Any) -> Diff:
    """Say whether head does something else than base, or the same more slowly.

    Processes and threads are known by name and role, steps by number or contents: never by pid, tid or time. Structure,
    arguments, categories, counters and flows are compared, and times: slower or faster is what is large and more than
    noise.

        >>> if found := diff(base, head, order="ignore"):
        ...     print(found.text())

    Args:
        base: a trace or the path of one, in any format, or several of repeated runs. What it does in any of them is
            known.
        head: the same, of what is to be judged. More runs make times more certain.
        rules: fields of stepscope.analysis.diff.Rules, which says what they are and what they are by default.

    Returns:
        What is different; it is true if something is.

    Raises:
        DiffError: there is no such rule, or it cannot have that value; or a side is no traces.
        FormatError, OSError: a file cannot be read.
    """
    return compare(_traces("base", base), _traces("head", head), Rules.of(rules))


def overlay(base: Side, head: Side, found: Diff) -> Trace:
    """Both traces on one timeline, aligned by step, with what diff() has found on tracks of their own.

    Args:
        base: as diff() was given it; of several runs, the first is shown.
        head: the same.
        found: what diff() has returned.

    Returns:
        A trace to be written by stepscope.write.

    Raises:
        DiffError: a side is no traces.
        FormatError, OSError: a file cannot be read.
    """
    return lay_over(_traces("base", base)[0], _traces("head", head)[0], found)


def _traces(name: str, side: Any) -> list[Trace]:
    if isinstance(side, (Trace, str, os.PathLike)):
        return [_trace(name, side)]
    traces = [_trace(name, one) for one in side] if isinstance(side, Iterable) else [_trace(name, side)]
    if not traces:
        message = f"{name} has no trace. Pass one, or a list of those of repeated runs."
        raise DiffError(message)
    return traces


def _trace(name: str, one: Any) -> Trace:
    if isinstance(one, Trace):
        return one
    if isinstance(one, (str, os.PathLike)):
        return read(one)
    message = f"{name} has a {type(one).__name__}. Pass a Trace, such as prof.trace, a path, or a list of them."
    raise DiffError(message)
