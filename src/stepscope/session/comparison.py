"""diff() and overlay(): two sides, each a trace, a file, a log folder, or several, compared."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stepscope.analysis.diff import Diff, Rules, compare
from stepscope.analysis.diff.overlay import lay_over
from stepscope.formats.files import read
from stepscope.formats.folders import read_recorded
from stepscope.model.errors import DiffError
from stepscope.model.trace import Trace

__all__ = ["diff", "overlay"]

One = Trace | str | os.PathLike[str]
Side = One | Iterable[One]


def diff(base: Side, head: Side, *, newest: int | None = None, **rules: Any) -> Diff:
    """Say whether head does something else than base, or the same more slowly.

    Processes and threads are known by name and role, steps by number or contents: never by pid, tid or time. Structure,
    arguments, categories, counters and flows are compared, and times: slower or faster is what is large and more than
    noise.

        >>> if found := diff(base, head, order="ignore"):
        ...     print(found.text())

    Args:
        base: a trace, the path of one, in any format, or of a folder that a handler has written to, whose cycles are
            read, each once; or several of these. What it does in any of its runs is known.
        head: the same, of what is to be judged. More runs make times more certain.
        newest: of a folder, how many runs of each rank to take, the last ones; None for all.
        rules: fields of stepscope.analysis.diff.Rules, which says what they are and what they are by default.

    Returns:
        What is different; it is true if something is.

    Raises:
        DiffError: there is no such rule, or it cannot have that value; or a side is no traces.
        FormatError, OSError: a file cannot be read, or there is no trace in a folder.
    """
    made = Rules.of(rules)
    if newest is not None and (isinstance(newest, bool) or not isinstance(newest, int) or newest < 1):
        message = f"newest must be a number of runs, 1 or more, got {newest!r}. Leave it out to take all."
        raise DiffError(message)
    return compare(_traces("base", base, newest), _traces("head", head, newest), made)


def overlay(base: Side, head: Side, found: Diff) -> Trace:
    """Both traces on one timeline, aligned by step, with what diff() has found on tracks of their own.

    Args:
        base: as diff() was given it; of several runs the first is shown, and of a folder the newest.
        head: the same.
        found: what diff() has returned.

    Returns:
        A trace to be written by stepscope.write.

    Raises:
        DiffError: a side is no traces.
        FormatError, OSError: a file cannot be read, or there is no trace in a folder.
    """
    return lay_over(_traces("base", base, 1)[0], _traces("head", head, 1)[0], found)


def _traces(name: str, side: Any, newest: int | None) -> list[Trace]:
    several = isinstance(side, Iterable) and not isinstance(side, (Trace, str, os.PathLike))
    traces = [trace for one in (side if several else (side,)) for trace in _read(name, one, newest)]
    if not traces:
        message = f"{name} has no trace. Pass one, or a list of those of repeated runs."
        raise DiffError(message)
    return traces


def _read(name: str, one: Any, newest: int | None) -> list[Trace]:
    if isinstance(one, Trace):
        return [one]
    if isinstance(one, (str, os.PathLike)):
        return [recorded.trace for recorded in read_recorded(Path(one), read, newest)]
    message = f"{name} has a {type(one).__name__}. Pass a Trace, such as prof.trace, a path, or a list of them."
    raise DiffError(message)
