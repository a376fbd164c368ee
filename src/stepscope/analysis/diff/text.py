"""The diff as text for a terminal: a tree, each finding in its place, and in words beside it."""

from collections.abc import Iterator
from textwrap import wrap
from typing import NamedTuple

from stepscope.analysis.diff.finding import Finding
from stepscope.analysis.diff.result import Diff
from stepscope.analysis.diff.view import (
    MARKS,
    OTHER_MARK,
    Branch,
    build_view,
    describe,
    headline,
    notes,
    shown,
    told_times,
)

__all__ = ["render_text"]

COLORS = {"worse": "\x1b[31m", "better": "\x1b[32m", "other": "\x1b[33m", "same": "\x1b[2m", "bold": "\x1b[1m"}
RESET = "\x1b[0m"
MIN_WIDTH = 40


class _Line(NamedTuple):
    """A line of the tree.

    Attributes:
        stem, below: the branches before it, and before what follows in it.
        label: its mark and name.
        beside: what stands beside it.
        tone: a key of COLORS.
    """

    stem: str
    below: str
    label: str
    beside: str
    tone: str


def render_text(diff: Diff, *, color: bool, width: int) -> str:
    """The verdict in the first line, then the tree, then what is not known."""
    width = max(width, MIN_WIDTH)

    def paint(text: str, tone: str) -> str:
        return f"{COLORS[tone]}{text}{RESET}" if color and text else text

    verdict, found, compared = headline(diff)
    lines = [f"{paint(verdict, 'worse' if diff else 'better')}{found}"]
    if len(verdict) + len(found) + len(compared) + 3 <= width:
        lines[0] += f" ({compared})"
    else:
        lines.append(f"({compared})")
    tree = list(_lines(build_view(diff), diff.steps))
    column = min(max((len(line.stem + line.label) for line in tree if line.beside), default=0), width // 2) + 2
    for line in tree:
        label = f"{paint(line.stem, 'same')}{paint(line.label, line.tone)}"
        below = paint(line.below, "same")
        lines += _laid_out((label, below), line, (column, width))
    for note in notes(diff):
        lines += wrap(note, width, subsequent_indent="    ", break_long_words=False)
    return "\n".join(lines) + "\n"


def _laid_out(painted: tuple[str, str], line: _Line, room: tuple[int, int]) -> list[str]:
    """A line, and more below it where what stands beside it is too long."""
    label, below = painted
    column, width = room
    length = len(line.stem) + len(line.label)
    if not line.beside:
        return [label]
    parts = wrap(line.beside, max(width - column, MIN_WIDTH // 2), break_long_words=False)
    lines = [label] if length + 2 > column else [label + " " * (column - length) + parts.pop(0)]
    return [*lines, *(f"{below}{' ' * (column - len(line.below))}{part}" for part in parts)]


def _lines(root: Branch, steps: int) -> Iterator[_Line]:
    """The lines of a tree. Trees may be deeper than Python's own stack."""
    todo: list[Iterator[_Line | tuple[Branch, str]]] = [_inside(root, "", steps)]
    while todo:
        for item in todo[-1]:
            if not isinstance(item, _Line):
                todo.append(_inside(*item, steps))
                break
            yield item
        else:
            todo.pop()


def _inside(branch: Branch, indent: str, steps: int) -> Iterator[_Line | tuple[Branch, str]]:
    """The lines of what is directly in a branch, and behind each the branch to go into, with its indent."""
    others = branch.around.others if branch.around else 0
    total = len(branch.besides) + len(branch.branches) + bool(others)
    stems = [("├─ ", "│  ")] * (total - 1) + [("└─ ", "   ")]
    rest = iter([(indent + stem, indent + below) for stem, below in stems])
    for finding in branch.besides:
        yield _finding_line(next(rest), finding, steps)
    for inside in branch.branches.values():
        stem, below = next(rest)
        for at, finding in enumerate(inside.findings):
            yield _finding_line((below if at else stem, below), finding, steps)
        if not inside.findings:
            times = told_times(*inside.times) if inside.times else ""
            yield _Line(stem, below, shown(inside.name), times, "same")
        yield inside, below
    if others:
        yield _Line(*next(rest), f"... {others} more, the same", "", "same")


def _finding_line(stems: tuple[str, str], finding: Finding, steps: int) -> _Line:
    mark, tone = MARKS.get(finding.kind, OTHER_MARK)
    return _Line(*stems, f"{mark} {shown(finding.name)}", describe(finding, steps), tone)
