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
    tree = list(_lines(build_view(diff), "", diff.steps))
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


def _lines(branch: Branch, indent: str, steps: int) -> Iterator[_Line]:
    """The lines of what is in a branch."""
    others = branch.around.others if branch.around else 0
    inside = list(branch.branches.values())
    total = len(branch.besides) + len(inside) + bool(others)
    for at in range(total):
        last = at == total - 1
        stem, below = (indent + "└─ ", indent + "   ") if last else (indent + "├─ ", indent + "│  ")
        if at < len(branch.besides):
            yield _finding_line((stem, below), branch.besides[at], steps)
        elif at < len(branch.besides) + len(inside):
            yield from _branch_lines(inside[at - len(branch.besides)], (stem, below), steps)
        else:
            yield _Line(stem, below, f"... {others} more, the same", "", "same")


def _finding_line(stems: tuple[str, str], finding: Finding, steps: int) -> _Line:
    mark, tone = MARKS.get(finding.kind, OTHER_MARK)
    return _Line(*stems, f"{mark} {shown(finding.name)}", describe(finding, steps), tone)


def _branch_lines(branch: Branch, stems: tuple[str, str], steps: int) -> Iterator[_Line]:
    """The line of a branch, one for each of its findings, and those of what is in it."""
    stem, below = stems
    for at, finding in enumerate(branch.findings):
        yield _finding_line((below if at else stem, below), finding, steps)
    if not branch.findings:
        times = told_times(*branch.times) if branch.times else ""
        yield _Line(stem, below, shown(branch.name), times, "same")
    yield from _lines(branch, below, steps)
