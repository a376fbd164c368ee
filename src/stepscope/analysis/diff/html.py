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

__all__ = ["render_html"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #5f6873; --page: #fff; --rule: #d9dee4; --card: #f5f7f9;
  --worse: #b3261e; --better: #1b7340; --other: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --faint: #9aa4b0; --page: #14171a; --rule: #333a42;
  --card: #1c2126; --worse: #ff8a80; --better: #6fd08c; --other: #f0b849; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .faint { color: var(--faint); }
.worse { color: var(--worse); } .better { color: var(--better); } .other { color: var(--other); }
ul { list-style: none; margin: 0; padding-left: 1.2rem; border-left: 1px solid var(--rule); }
ul.root { padding-left: 0; border: 0; }
li { margin: .15rem 0; } code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
  border-bottom: 1px solid var(--rule); } th { color: var(--faint); font-weight: 600; }
aside { background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  padding: .5rem .8rem; margin: 1rem 0; }
"""


def render_html(diff: Diff) -> str:
    """One page of HTML."""
    verdict, found, compared = headline(diff)
    tone = "worse" if diff else "better"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Trace diff: {verdict}</title><style>{STYLE}</style></head><body>",
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
    return "\n".join([*parts, "</body></html>"]) + "\n"


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
    name = f'<span class="{tone}">{mark} <code>{escape(shown(finding.name))}</code></span>'
    return f"{name} {escape(describe(finding, steps))}"


def _context(branch: Branch) -> str:
    times = f' <span class="faint">{escape(told_times(*branch.times))}</span>' if branch.times else ""
    return f"<code>{escape(shown(branch.name))}</code>{times}"


def _row(finding: Finding, steps: int) -> str:
    where = finding.where
    place = " / ".join(map(shown, filter(None, (where.process, where.thread, *where.path))))
    tone = MARKS.get(finding.kind, OTHER_MARK)[1]
    cells = f'<td class="{tone}">{labelled(finding)}</td><td><code>{escape(shown(finding.name))}</code></td>'
    return f"<tr>{cells}<td>{escape(told(finding, steps))}</td><td><code>{escape(place)}</code></td></tr>"
