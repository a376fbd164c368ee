"""What all our pages share: one file of HTML that needs nothing else, in the colours that the reader has chosen."""

from html import escape

from stepscope.analysis.table import one_line

__all__ = ["PAGE_END", "page_begin", "shown"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #5f6873; --page: #fff; --rule: #d9dee4; --card: #f5f7f9;
  --data: #0969da; --worse: #b3261e; --better: #1b7340; --other: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --faint: #9aa4b0; --page: #14171a; --rule: #333a42;
  --card: #1c2126; --data: #4493f8; --worse: #ff8a80; --better: #6fd08c; --other: #f0b849; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .faint { color: var(--faint); }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
  border-bottom: 1px solid var(--rule); } th { color: var(--faint); font-weight: 600; }
aside { background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  padding: .5rem .8rem; margin: 1rem 0; }
svg { width: 100%; height: auto; } text { font-size: 12px; fill: var(--faint); }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } svg, tr, aside { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
PAGE_END = "</body></html>\n"


def page_begin(title: str, style: str) -> str:
    """All of a page before what is in it.

    Args:
        title: its name, as text.
        style: more CSS than all pages have.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{shown(title)}</title><style>{STYLE}{style}</style></head><body>\n"
    )


def shown(text: str) -> str:
    """A user's text on one line of a page."""
    return escape(one_line(text))
