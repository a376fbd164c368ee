"""The diff as Markdown: for a comment on a pull request."""

from stepscope.analysis.diff.finding import Finding
from stepscope.analysis.diff.result import Diff
from stepscope.analysis.diff.view import headline, labelled, notes, shown, told

__all__ = ["render_markdown"]

# What a comment can hold and a reader can read; the rest is counted.
MAX_ROWS = 50
MAX_TREE = 40_000
_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>#|~@"})


def render_markdown(diff: Diff) -> str:
    """The verdict as a heading, a table of findings, and the tree in a fold."""
    verdict, found, compared = headline(diff)
    lines = [f"### Trace diff: {verdict}{found}", "", compared, ""]
    if diff.findings:
        lines += ["| | name | base -> head | where |", "|---|---|---|---|"]
        lines += [_row(finding, diff.steps) for finding in diff.findings[:MAX_ROWS]]
        if len(diff.findings) > MAX_ROWS:
            lines.append(f"| | | | {len(diff.findings) - MAX_ROWS} more findings |")
        lines += ["", "<details><summary>In their places</summary>", "", *_fenced(diff.text()), "", "</details>", ""]
    lines += [f"- {_escaped(note)}" for note in notes(diff)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _row(finding: Finding, steps: int) -> str:
    where = finding.where
    place = " / ".join(map(shown, filter(None, (where.process, where.thread, *where.path))))
    cells = labelled(finding), shown(finding.name), told(finding, steps), place
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)


def _fenced(text: str) -> list[str]:
    """A code block that no run of backticks in the text can end."""
    longest = max((len(run) for run in _runs_of_backticks(text)), default=0)
    fence = "`" * max(3, longest + 1)
    body = text if len(text) <= MAX_TREE else text[:MAX_TREE].rpartition("\n")[0] + "\n..."
    return [f"{fence}text", body.rstrip("\n"), fence]


def _runs_of_backticks(text: str) -> list[str]:
    return [run for run in "".join(char if char == "`" else " " for char in text).split(" ") if run]
