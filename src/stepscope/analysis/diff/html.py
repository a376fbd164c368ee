"""The diff as one page: the verdict, the tree, and all findings; it needs nothing else and runs nothing."""

from collections.abc import Iterator
from html import escape

from stepscope.analysis.diff.finding import Finding
from stepscope.analysis.diff.result import Diff
from stepscope.analysis.diff.view import (
    MARKS,
    MAX_FINDINGS,
    OTHER_MARK,
    Branch,
    build_view,
    describe,
    headline,
    labelled,
    notes,
    shown,
    told,
    told_times,
)
from stepscope.analysis.page import PAGE_END, page_begin
from stepscope.analysis.table import one_line

__all__ = ["render_html"]

STYLE = """
.worse { color: var(--worse); } .better { color: var(--better); } .other { color: var(--other); }
ul { list-style: none; margin: 0; padding-left: 1.2rem; border-left: 1px solid var(--rule); }
ul.root { padding-left: 0; border: 0; }
li, summary { padding-left: 1.1rem; text-indent: -1.1rem; } li { margin: .15rem 0; } summary { cursor: pointer; }
li:has(> details) { padding-left: 0; text-indent: 0; } details > ul { margin-left: .3rem; text-indent: 0; }
@media (max-width: 44rem) { thead { display: none; } tr, td { display: block; } td { border: 0; padding: .1rem 0; }
  tr { padding: .4rem 0; border-bottom: 1px solid var(--rule); } td:empty { display: none; } }
"""


def render_html(diff: Diff) -> str:
    """One page of HTML."""
    verdict, found, compared = headline(diff)
    tone = "worse" if diff else "better"
    parts = [
        page_begin(f"Trace diff: {verdict}", STYLE).rstrip(),
        f'<h1>Trace diff: <span class="{tone}">{verdict}</span>{escape(found)}</h1>',
        f'<p class="faint">{escape(compared)}</p>',
    ]
    told = list(notes(diff))
    if told:
        parts.append("<aside>" + "".join(f"<p>{escape(note)}</p>" for note in told) + "</aside>")
    if diff.findings:
        parts += ["<h2>In their places</h2>", '<ul class="root">', *_items(build_view(diff), diff.steps), "</ul>"]
        parts += ['<h2>All findings</h2><div class="scroll"><table><thead><tr>']
        parts += [f"<th>{title}</th>" for title in ("kind", "name", "base -&gt; head", "where")]
        parts += [
            "</tr></thead><tbody>",
            *(_row(finding, diff.steps) for finding in diff.findings[:MAX_FINDINGS]),
            "</tbody></table></div>",
        ]
    return "\n".join([*parts, PAGE_END])


def _items(root: Branch, steps: int) -> Iterator[str]:
    """The list items of a tree. Trees may be deeper than Python's own stack."""
    todo: list[Iterator[str | Branch]] = [_inside(root, steps)]
    while todo:
        for item in todo[-1]:
            if isinstance(item, Branch):
                todo.append(_inside(item, steps))
                break
            yield item
        else:
            todo.pop()


def _inside(branch: Branch, steps: int) -> Iterator[str | Branch]:
    """The list items of what is directly in a branch, and where the branches inside them go."""
    for finding in branch.besides:
        yield f"<li>{_marked(finding, steps)}</li>"
    for inside in branch.branches.values():
        title = "<br>".join(_marked(finding, steps) for finding in inside.findings) or _context(inside)
        if inside.besides or inside.branches or (inside.around and inside.around.others):
            yield f"<li><details open><summary>{title}</summary><ul>"
            yield inside
            yield "</ul></details></li>"
        else:
            yield f"<li>{title}</li>"
    if branch.around and branch.around.others:
        yield f'<li class="faint">{branch.around.others} more, the same</li>'


def _marked(finding: Finding, steps: int) -> str:
    mark, tone = MARKS.get(finding.kind, OTHER_MARK)
    name = f'<span class="{tone}">{mark} {_name(finding.name)}</span>'
    return f"{name} {escape(describe(finding, steps))}"


def _context(branch: Branch) -> str:
    times = f' <span class="faint">{escape(told_times(*branch.times))}</span>' if branch.times else ""
    return f"{_name(branch.name)}{times}"


def _name(text: str) -> str:
    """A name in code; one that is cut is there whole where the pointer rests on it."""
    short, whole = shown(text), one_line(text)
    title = f' title="{escape(whole)}"' if short != whole else ""
    return f"<code{title}>{escape(short)}</code>"


def _row(finding: Finding, steps: int) -> str:
    where = finding.where
    place = " / ".join(map(shown, filter(None, (where.process, where.thread, *where.path))))
    tone = MARKS.get(finding.kind, OTHER_MARK)[1]
    cells = f'<td class="{tone}">{labelled(finding)}</td><td>{_name(finding.name)}</td>'
    return f"<tr>{cells}<td>{escape(told(finding, steps))}</td><td><code>{escape(place)}</code></td></tr>"
