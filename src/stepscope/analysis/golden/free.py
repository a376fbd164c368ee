"""Threads that run free of the steps, in a golden: which kinds of calls they make and what each does, not how many.

How many calls of such a thread fell into the window is chance, as the diff's own rules say (analysis/diff/pace.py and
loose.py), and so is what is left of a call at its edge. A golden has of each kind of call the trees that whole calls
had, with the arguments that all of them had alike.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from stepscope.analysis.diff.identity import Group, identify
from stepscope.analysis.diff.loose import fixed_args
from stepscope.analysis.diff.pace import free_runners
from stepscope.analysis.diff.rules import MIN_WHOLE
from stepscope.analysis.diff.run import Run
from stepscope.analysis.diff.words import Words
from stepscope.core.rows import CUT, INSTANT
from stepscope.model.trace import Trace

if TYPE_CHECKING:
    from array import array

__all__ = ["FREE", "NO_FREE", "Free", "find_free", "without_free"]

# What stands behind a thread's name.
FREE = " free"


class Free(NamedTuple):
    """The threads of a trace that run free.

    Attributes:
        tracks: theirs.
        args: row -> the arguments that all rows of its kind have; of whole calls, where there are enough to say what
            they do, and all that is inside of them. They alone are told.
    """

    tracks: frozenset[int]
    args: Mapping[int, dict[str, Any]]


NO_FREE = Free(frozenset(), {})


def find_free(trace: Trace, words: Words, parent: "array[int]") -> Free:
    """Find what runs free in a trace, by the same rule as in a diff.

    Args:
        trace: without what is set aside.
        words: with the rules.
        parent: as nest() has it.
    """
    if words.rules.free_threads != "loosely" or len(trace.tracks) < 2:
        return NO_FREE
    # By pid: processes of one name are apart in a golden.
    named = identify([trace], [trace], words).tracks[0][0]
    groups = [Group(str(track.pid), group.thread) for track, group in zip(trace.tracks, named, strict=True)]
    runners = free_runners([[Run(trace, groups, words)]])
    tracks = frozenset(number for number, group in enumerate(groups) if group in runners)
    if not tracks:
        return NO_FREE
    inside: defaultdict[int, list[int]] = defaultdict(list)
    roots: defaultdict[Group, list[int]] = defaultdict(list)
    columns = trace.columns
    for row, above in enumerate(parent):
        if columns.track[row] in tracks:
            if above >= 0:
                inside[above].append(row)
            elif not columns.kind[row] & CUT:
                roots[groups[columns.track[row]]].append(row)
    args: dict[int, dict[str, Any]] = {}
    for rows in roots.values():
        todo = [kind for kind in _kinds(trace, rows) if len(kind) >= MIN_WHOLE or columns.kind[kind[0]] & INSTANT]
        while todo:
            kind = todo.pop()
            fixed = fixed_args([words.compared(trace.args.get(row, {})) for row in kind]) if words.rules.args else {}
            args.update((row, fixed) for row in kind)
            todo += _kinds(trace, [row for outer in kind for row in inside[outer]])
    return Free(tracks, args)


def _kinds(trace: Trace, rows: Sequence[int]) -> list[list[int]]:
    """Rows of one place by their names and kinds."""
    found: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for row in rows:
        found[trace.columns.name[row], trace.columns.kind[row]].append(row)
    return list(found.values())


def without_free(texts: Iterable[str]) -> list[list[str]]:
    """The lines of several goldens without the threads that run free in any of them, and flows from or to those."""
    all_lines = [text.split("\n") for text in texts]
    names = {
        line.strip().removesuffix(FREE).removeprefix("thread ")
        for lines in all_lines
        for line in lines
        if line.strip().startswith("thread ") and line.endswith(FREE)
    }
    return [list(_others(lines, names)) for lines in all_lines]


def _others(lines: Iterable[str], names: set[str]) -> Iterator[str]:
    within = -1  # the indent of a thread that is left out
    for line in lines:
        words = line.lstrip(" ")
        indent = len(line) - len(words)
        if within >= 0 and indent > within:
            continue
        within = -1
        keyword, _, name = words.removesuffix(FREE).partition(" ")
        if keyword in ("thread", "lane") and name in names:
            within = indent
        elif keyword != "flow" or not any(f" in {name}" in words for name in names):
            yield line
